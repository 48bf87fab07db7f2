"""Our IMAP server in a thread of the test's process, over a memory store, with an authenticator that knows one password."""

import asyncio
import base64
import datetime
import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID

from preau.auth.api import (
    Attempt,
    CredentialId,
    Denied,
    Granted,
    Identity,
    Reason,
    Recipients,
    Revocation,
    Service,
    SessionId,
)
from preau.daemon.listener import Listener, bind_tcp
from preau.daemon.tls import ServerTls
from preau.imap.server import ImapServer, ImapSettings
from preau.storage.api import AccountId, AccountKeys, ChangeBus, Store
from preau.storage.memory import MemoryBus, MemoryStore
from scram_fake import OneScram

PASSWORD = "secret"


def account_of(login: str) -> AccountId:
    """The account behind a login."""
    return AccountId(base64.b32encode(hashlib.sha256(login.encode()).digest()[:16]).decode("ascii").rstrip("=").lower())


class OnePassword(OneScram):
    """An Authenticator for whom every login exists and PASSWORD opens it; its ticket is the account's id."""

    connected = True

    def __init__(self) -> None:
        """Nobody listens for revocations yet."""
        super().__init__()
        self.callbacks: list[Callable[[Revocation], None]] = []
        self.closed: list[SessionId] = []
        self._count = 0

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        """See Authenticator."""
        if attempt.secret != PASSWORD:
            return Denied(Reason.CREDENTIALS, "REF123")
        self._count += 1
        account = account_of(attempt.login)
        return Granted(
            Identity(account, attempt.login),
            SessionId(f"s{self._count}"),
            CredentialId("password"),
            frozenset({Service.IMAP}),
            account.encode("ascii"),
            2**31,
        )

    async def lookup(self, address: str) -> Recipients:
        """See Authenticator."""
        return Recipients((), ())

    async def close_session(self, session: SessionId) -> None:
        """See Authenticator."""
        self.closed.append(session)

    async def check_session(self, session: SessionId) -> bool:
        """See Authenticator."""
        return True

    def on_revoke(self, callback: Callable[[Revocation], None]) -> None:
        """See Authenticator."""
        self.callbacks.append(callback)


_SECRET = X25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = AccountKeys(
    public=_SECRET.public_key().public_bytes_raw(), secret=_SECRET.private_bytes_raw(), index=b"i" * 32, cache=b"c" * 32
)


class AnyKeys:
    """A KeyHolder with the same keys for everybody."""

    async def unwrap(self, ticket: bytes) -> AccountKeys:
        """See KeyHolder."""
        return KEYS

    async def delivery_keys(self, account: AccountId) -> AccountKeys:
        """See KeyHolder."""
        return replace(KEYS, secret=None)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@dataclass(frozen=True, slots=True)
class OwnImap:
    """A running server: its ports, the client's TLS context, and the authenticator it asks."""

    port: int
    tls_port: int
    client_tls: ssl.SSLContext
    authenticator: OnePassword
    loop: asyncio.AbstractEventLoop
    server: ImapServer
    store: Store


@contextmanager
def own_imap(
    folder: Path,
    *,
    settings: ImapSettings | None = None,
    store: Store | None = None,
    bus: ChangeBus | None = None,
    authenticator: OnePassword | None = None,
) -> Iterator[OwnImap]:
    """Run the server on two loopback ports, one of them TLS; passwords are taken without TLS too."""
    if store is None:
        bus = MemoryBus()
        store = MemoryStore(bus=bus)
    certificate, key = make_certificate(folder)
    client_tls = ssl.create_default_context(cafile=str(certificate))
    authenticator = authenticator or OnePassword()
    plain, tls = bind_tcp("127.0.0.1", 0), bind_tcp("127.0.0.1", 0)
    # A loop that tells what it was left with: a task or a transport that nobody ended fails the test.
    loop = asyncio.new_event_loop()
    faults: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))
    server = ImapServer(
        settings or ImapSettings(plaintext_ok=True),
        store,
        authenticator,
        AnyKeys(),
        tls=ServerTls(certificate, key),
        bus=bus,
        version="test",
    )
    loop_thread = threading.Thread(target=loop.run_forever, name="own-imap")
    loop_thread.start()
    try:
        listeners = [Listener("imap", plain), Listener("imaps", tls, tls=True)]
        asyncio.run_coroutine_threadsafe(server.start(listeners), loop).result(10)
        yield OwnImap(plain.getsockname()[1], tls.getsockname()[1], client_tls, authenticator, loop, server, store)
        asyncio.run_coroutine_threadsafe(server.drain(1.0), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        loop_thread.join(10)
        loop.close()
        store.close()
        if bus is not None:
            bus.close()
    assert not faults, faults
