"""Our role `smtp` over a spool in a folder, with an `auth` that knows three people and one password."""

import asyncio
import base64
import hashlib
import hmac
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from lmtp import Lmtp
from preau.auth.api import (
    Attempt,
    AuthUnavailable,
    CredentialId,
    Denied,
    Granted,
    Identity,
    LocalRecipient,
    Reason,
    Recipients,
    Revocation,
    ScramAttempt,
    ScramExchange,
    ScramGranted,
    Service,
    SessionId,
)
from preau.daemon.listener import Listener, bind_tcp
from preau.daemon.tls import ServerTls
from preau.smtp.intake import Rooms
from preau.smtp.modes import SessionLimits
from preau.smtp.server import MODES, SmtpServer, SmtpSettings
from preau.smtp.spool import Envelope, Spool
from preau.storage.api import AccountId
from preau.storage.paths import render_account_id
from preau.suite.certificates import make_ca, make_leaf, now_utc

PASSWORD = "correct horse"
NOW = 1_795_572_307
PEOPLE = {
    f"{name}@ecole.example": render_account_id(bytes([n]) * 16) for n, name in enumerate(("anne", "bob", "élise"), start=1)
}
ANNE, BOB = PEOPLE["anne@ecole.example"], PEOPLE["bob@ecole.example"]
SECRET = X25519PrivateKey.from_private_bytes(bytes(range(32)))
SALT = b"salt of the house"
LIMITS = SessionLimits(message_size=100_000)


class FakeAuth:
    """ecole.example: anne, bob, élise, a group `tous`, `full` with a quota, and what a test adds."""

    def __init__(self) -> None:
        self.addresses: dict[str, Recipients | Exception] = {
            address: Recipients((LocalRecipient(account, address, None, True),), ()) for address, account in PEOPLE.items()
        }
        both = [LocalRecipient(account, address, None, True) for address, account in PEOPLE.items()][:2]
        self.addresses["tous@ecole.example"] = Recipients(both, ["parent@elsewhere.example"])
        self.addresses["ailleurs@ecole.example"] = Recipients((), ["someone@elsewhere.example"])
        self.addresses["full@ecole.example"] = Recipients((LocalRecipient(ANNE, "full@ecole.example", 1_000, True),), ())
        self.addresses["moved@ecole.example"] = Recipients((LocalRecipient(ANNE, "moved@ecole.example", None, False),), ())
        self.connected = True
        self.tells_domains = True
        self.attempts: list[Attempt] = []
        self.scram_attempts: list[ScramAttempt] = []
        self.verdict: Callable[[Attempt], Granted | Denied] | None = None
        self.live: dict[SessionId, tuple[AccountId, str]] = {}
        self.closed: list[SessionId] = []
        self.listeners: list[Callable[[Revocation], None]] = []
        self.may_send_fails = False
        self._count = 0

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        self.attempts.append(attempt)
        await asyncio.sleep(0)
        if self.verdict is not None:
            return self.verdict(attempt)
        return self._granted(attempt.login) if attempt.secret == PASSWORD else Denied(Reason.CREDENTIALS, "REF123")

    def _granted(self, login: str) -> Granted | Denied:
        address = login.casefold()
        account = PEOPLE.get(address)
        if account is None:
            return Denied(Reason.CREDENTIALS, "REF123")
        self._count += 1
        session = SessionId(f"s{self._count}")
        self.live[session] = account, address
        return Granted(Identity(account, address), session, CredentialId("app:1"), frozenset({Service.SMTP}), b"t", 2**31)

    async def begin_scram(self, attempt: ScramAttempt) -> ScramExchange | Denied:
        self.scram_attempts.append(attempt)
        bare = attempt.message.removeprefix(b"n,,")
        nonce = bare.partition(b",r=")[2]
        challenge = b"r=" + nonce + b"ours,s=" + base64.b64encode(SALT) + b",i=4096"
        return ScramExchange((bare + b"|" + challenge).decode(), challenge)

    async def finish_scram(self, exchange: ScramExchange, response: bytes) -> ScramGranted | Denied:
        bare, _, challenge = exchange.id.encode().partition(b"|")
        expected, signature = scram_proof(PASSWORD, bare, challenge)
        if response != expected:
            return Denied(Reason.CREDENTIALS, "REF123")
        granted = self._granted(bare.removeprefix(b"n=").partition(b",")[0].decode())
        return granted if isinstance(granted, Denied) else ScramGranted(granted, signature)

    async def lookup(self, address: str) -> Recipients:
        local, _, domain = address.casefold().rpartition("@")
        served = domain == "ecole.example"
        answer = self.addresses.get(f"{local.partition('+')[0]}@{domain}", Recipients((), ()))
        if isinstance(answer, Exception):
            raise answer
        return Recipients(answer.local, answer.outside, served if self.tells_domains else None)

    async def may_send(self, session: SessionId, address: str) -> bool:
        if self.may_send_fails:
            raise AuthUnavailable("not now")
        local, _, domain = address.casefold().rpartition("@")
        return session in self.live and self.live[session][1] == f"{local.partition('+')[0]}@{domain}"

    async def close_session(self, session: SessionId) -> None:
        self.closed.append(session)
        self.live.pop(session, None)

    async def check_session(self, session: SessionId) -> bool:
        return session in self.live

    def on_revoke(self, callback: Callable[[Revocation], None]) -> None:
        self.listeners.append(callback)

    def revoke(self, revocation: Revocation) -> None:
        """Push one."""
        for listener in self.listeners:
            listener(revocation)


class Client(Lmtp):
    """A client of raw octets that can begin TLS and sign in."""

    async def ehlo(self) -> str:
        assert (await self.reply()).startswith("220 ")
        answer = await self.ask("EHLO client.example")
        assert answer.startswith("250-")
        return answer

    async def start_tls(self, context: ssl.SSLContext) -> str:
        assert (await self.ask("STARTTLS")).startswith("220 ")
        await self.writer.start_tls(context, server_hostname="localhost")
        return await self.ask("EHLO client.example")

    async def sign_in(self, login: str = "anne@ecole.example", password: str = PASSWORD) -> str:
        return await self.ask("AUTH PLAIN " + plain(login, password))

    async def close(self) -> None:
        try:
            await super().close()
        except OSError:
            pass  # TLS that did not end well, as a test wanted

    async def send(self, message: bytes, *recipients: str, sender: str = "anne@ecole.example") -> str:
        """A whole transaction, every step expected to go well but the last."""
        assert (await self.ask(f"MAIL FROM:<{sender}>")).startswith("250"), sender
        for recipient in recipients:
            assert (await self.ask(f"RCPT TO:<{recipient}>")).startswith("250"), recipient
        assert (await self.ask("DATA")).startswith("354")
        await self.say(message + b".\r\n")
        return await self.reply()


def plain(login: str, password: str, authzid: str = "") -> str:
    """A response of PLAIN."""
    return base64.b64encode(f"{authzid}\0{login}\0{password}".encode()).decode()


def b64(text: str) -> str:
    """A response of LOGIN."""
    return base64.b64encode(text.encode()).decode()


def scram_proof(password: str, bare: bytes, challenge: bytes) -> tuple[bytes, bytes]:
    """RFC 5802 section 3, by hand: the client's final message, and the server's that answers it."""

    def mac(key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, "sha256")

    nonce = challenge.partition(b",")[0]
    without_proof = b"c=biws," + nonce
    message = b",".join((bare, challenge, without_proof))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), SALT, 4096)
    client_key = mac(salted, b"Client Key")
    signature = mac(hashlib.sha256(client_key).digest(), message)
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    final = b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), message))
    return without_proof + b",p=" + base64.b64encode(proof), final


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key; `ca.pem` beside them is what clients trust."""
    ca = make_ca("ecole.example", [], now_utc())
    leaf = make_leaf(ca, "ecole.example", [], now_utc())
    for name, pem in (("ca.pem", ca.certificate), ("cert.pem", leaf.certificate), ("key.pem", leaf.key)):
        (folder / name).write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


class World:
    """Everything of one test. Listeners have the names of their ports."""

    def __init__(
        self, folder: Path, settings: SmtpSettings | None = None, *, with_tls: bool = False, rooms: Rooms | None = None
    ) -> None:
        self.auth = FakeAuth()
        self.spool = Spool(
            folder / "queue", SECRET.public_key().public_bytes_raw(), SECRET.private_bytes_raw(), clock=lambda: NOW
        )
        writing = Spool(folder / "queue", SECRET.public_key().public_bytes_raw())  # as the role has it
        self.certificate = folder / "ca.pem"
        self.client_tls = ssl.create_default_context()
        tls = None
        if with_tls:
            tls = ServerTls(*make_certificate(folder))
            self.client_tls.load_verify_locations(self.certificate)
        self.server = SmtpServer(
            writing,
            self.auth,
            settings or SmtpSettings(hostname="mx.ecole.example", domain="ecole.example", plaintext_ok=True, limits=LIMITS),
            tls,
            rooms=rooms,
            clock=lambda: NOW,
        )
        names = [name for name in MODES if with_tls or name != "submissions"]
        self.listeners = [Listener(name, bind_tcp("127.0.0.1", 0), tls=name == "submissions") for name in names]
        self.ports: dict[str, int] = {each.name: each.socket.getsockname()[1] for each in self.listeners}
        self._clients: list[Client] = []

    async def connect(self, name: str = "smtp", *, tls: bool = False) -> Client:
        """A connection, nothing read yet."""
        context = self.client_tls if tls else None
        streams = await asyncio.open_connection(
            "127.0.0.1", self.ports[name], ssl=context, server_hostname="localhost" if tls else None
        )
        self._clients.append(Client(*streams))
        return self._clients[-1]

    async def signed_in(self) -> Client:
        """A connection of anne's to submission, in the clear."""
        client = await self.connect("submission")
        await client.ehlo()
        assert (await client.sign_in()).startswith("235 ")
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    def queued(self) -> list[tuple[Envelope, bytes]]:
        """What was taken, oldest first."""
        found = []
        for identifier in self.spool.incoming():
            reader = self.spool.open(identifier)
            found.append((self.spool.envelope(identifier), reader.read(0, reader.size)))
            reader.close()
        return found

    def leftovers(self) -> list[str]:
        """Drafts that nobody finished."""
        return sorted(path.name for path in (self.spool.root / "tmp").iterdir())


def run(
    folder: Path,
    test: Callable[[World], Awaitable[None]],
    settings: SmtpSettings | None = None,
    *,
    with_tls: bool = False,
    rooms: Rooms | None = None,
) -> World:
    """Serve for one test, within 30 seconds."""

    async def running() -> World:
        world = World(folder, settings, with_tls=with_tls, rooms=rooms)
        await world.server.start(world.listeners)
        try:
            await asyncio.wait_for(test(world), 30)
        finally:
            await world.close()
            await world.server.drain(1.0)
        assert world.leftovers() == []
        assert world.server._caps.connections == 0
        return world

    return asyncio.run(running())


@contextmanager
def own_smtp(folder: Path, settings: SmtpSettings | None = None) -> Iterator[World]:
    """A server in a thread of the test's process, with TLS, for clients that are programs."""
    started, stopping = threading.Event(), asyncio.Event()
    made: list[World] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def running() -> None:
        world = World(folder, settings, with_tls=True)
        await world.server.start(world.listeners)
        made.append(world)
        loops.append(asyncio.get_running_loop())
        started.set()
        await stopping.wait()
        await world.server.drain(1.0)

    thread = threading.Thread(target=lambda: asyncio.run(running()), name="own-smtp")
    thread.start()
    try:
        assert started.wait(20), "the server did not start"
        yield made[0]
    finally:
        if loops:
            loops[0].call_soon_threadsafe(stopping.set)
        thread.join(20)
