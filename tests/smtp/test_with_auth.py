"""The role `smtp` with the real role `auth` behind its socket: no fake between them."""

import asyncio
import base64
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from scramp import ScramClient

from auth_bench import PASSWORD, FakeKeySource
from own_smtp import LIMITS, SECRET, Client, b64, make_certificate, plain
from preau.auth.client import SocketAuthenticator
from preau.auth.engine import EngineSettings
from preau.auth.server import AuthServer, AuthSettings
from preau.daemon.listener import Listener, bind_tcp
from preau.daemon.rpc import RpcClient
from preau.daemon.tls import ServerTls
from preau.smtp.server import SmtpServer, SmtpSettings
from preau.smtp.spool import Spool

MARIE, PAUL = "marie@ecole.example", "paul@ecole.example"
MESSAGE = b"From: Marie <marie+x@ecole.example>\r\nSubject: x\r\n\r\nbonjour\r\n"


class House:
    """Both roles."""

    def __init__(self, spool: Spool, admin: RpcClient, ports: dict[str, int], client_tls: ssl.SSLContext) -> None:
        self.spool = spool
        self.ports = ports
        self.client_tls = client_tls
        self.app_password = ""
        self._admin = admin
        self._clients: list[Client] = []

    async def ask(self, op: str, **fields: object) -> dict[str, object]:
        answer: dict[str, object] = (await self._admin.call(op, **fields))["result"]
        return answer

    async def connect(self, name: str) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.ports[name]))
        self._clients.append(client)
        await client.ehlo()
        if name == "submission":
            assert "AUTH SCRAM-SHA-256 PLAIN LOGIN" in await client.start_tls(self.client_tls)
        return client

    async def signed_in(self) -> Client:
        client = await self.connect("submission")
        assert (await client.ask(f"AUTH PLAIN {plain(MARIE, self.app_password)}")).startswith("235 ")
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        await self._admin.close()


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    auth = AuthServer(
        AuthSettings(
            run=folder,
            database=folder / "auth.db",
            lock=folder / "lock",
            traces=folder / "traces",
            engine=EngineSettings(domains=("ecole.example",), default_domain="ecole.example"),
        ),
        FakeKeySource(),
    )
    await auth.start([])
    authenticator = SocketAuthenticator(folder / "auth-smtp.sock")
    await authenticator.start()
    spool = Spool(folder / "queue", SECRET.public_key().public_bytes_raw(), SECRET.private_bytes_raw())
    tls = ServerTls(*make_certificate(folder))
    server = SmtpServer(spool, authenticator, SmtpSettings("mx.ecole.example", scram=True, limits=LIMITS), tls)
    listeners = [Listener(name, bind_tcp("127.0.0.1", 0)) for name in ("smtp", "submission")]
    await server.start(listeners)
    made = House(
        spool,
        RpcClient(folder / "admin.sock", max_frame=16_777_216),
        {each.name: each.socket.getsockname()[1] for each in listeners},
        ssl.create_default_context(cafile=folder / "ca.pem"),
    )
    try:
        await made.ask("user_add", address=MARIE, password=PASSWORD)
        await made.ask("user_add", address=PAUL, password=PASSWORD)
        await made.ask("group_add", address="tous@ecole.example", members=[MARIE, PAUL])
        given = await made.ask("app_password_add", address=MARIE, label="Telephone")
        made.app_password = str(given["password"])
        yield made
    finally:
        await made.close()
        await server.drain(1)
        await authenticator.close()
        await auth.drain(1)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: the path of a Unix socket has 107 octets."""
    path = Path(tempfile.mkdtemp(prefix="preau-smtp-"))
    yield path
    shutil.rmtree(path)


def run(folder: Path, test: Callable[[House], Awaitable[None]]) -> None:
    async def running() -> None:
        async with house(folder) as made:
            await asyncio.wait_for(test(made), 30)

    asyncio.run(running())


def test_marie_writes_to_everybody(folder: Path) -> None:
    async def test(made: House) -> None:
        client = await made.signed_in()
        for sender, answer in (
            (MARIE, "250"),
            ("Marie+shop@ecole.example", "250"),
            (PAUL, "550 5.7.1"),
            ("x@y.example", "550"),
        ):
            assert (await client.ask(f"MAIL FROM:<{sender}>")).startswith(answer)
            await client.ask("RSET")
        recipients = (PAUL, "paul+x@ecole.example", "tous@ecole.example", "someone@elsewhere.example")
        assert (await client.send(MESSAGE, *recipients, sender=MARIE)).startswith("250 2.0.0 ok, queued as ")
        (identifier,) = made.spool.incoming()
        assert [each.address for each in made.spool.envelope(identifier).recipients] == list(recipients)
        assert (await client.send(MESSAGE.replace(b"marie", b"paul"), PAUL, sender=MARIE)).startswith("550 5.7.1")
        await client.ask(f"MAIL FROM:<{MARIE}>")
        # Nothing but auth says which domains are ours.
        assert (await client.ask("RCPT TO:<nobody@ecole.example>")).startswith("550 5.1.1")

    run(folder, test)


def test_mail_from_outside_is_for_those_who_are_here(folder: Path) -> None:
    async def test(made: House) -> None:
        client = await made.connect("smtp")
        await client.ask("MAIL FROM:<x@outside.example>")
        for recipient, answer in (
            (MARIE, "250 2.1.5"),
            ("marie+x@ecole.example", "250 2.1.5"),
            ("tous@ecole.example", "250 2.1.5"),
            ("nobody@ecole.example", "550 5.1.1"),
            ("someone@elsewhere.example", "550 5.7.1"),
            ("someone%elsewhere.example@ecole.example", "550 5.1.1"),
            ('"someone@elsewhere.example"@ecole.example', "550 5."),
        ):
            assert (await client.ask(f"RCPT TO:<{recipient}>")).startswith(answer), recipient

    run(folder, test)


@pytest.mark.parametrize("right", [True, False])
def test_scram_with_an_app_password(folder: Path, right: bool) -> None:
    async def test(made: House) -> None:
        client = await made.connect("submission")
        scram = ScramClient(["SCRAM-SHA-256"], MARIE, made.app_password if right else "aaaaa-aaaaa-aaaaa-aaaaa")
        answer = await client.ask(f"AUTH SCRAM-SHA-256 {b64(scram.get_client_first())}")
        scram.set_server_first(base64.b64decode(answer[4:]).decode())
        answer = await client.ask(b64(scram.get_client_final()))
        if right:
            scram.set_server_final(base64.b64decode(answer[4:]).decode())
            assert (await client.ask("")).startswith("235 2.7.0")
        else:
            assert answer.startswith("535 5.7.8")

    run(folder, test)


@pytest.mark.parametrize("how", ["app_password_revoke", "user_lock"])
def test_a_revocation_ends_the_session(folder: Path, how: str) -> None:
    async def test(made: House) -> None:
        client = await made.signed_in()
        for line in (f"MAIL FROM:<{MARIE}>", f"RCPT TO:<{PAUL}>", "DATA"):
            await client.ask(line)
        if how == "user_lock":
            await made.ask(how, address=MARIE, reason="lost")
        else:
            (row,) = await made.ask("app_password_list", address=MARIE)
            assert isinstance(row, dict)
            await made.ask(how, address=MARIE, credential=str(row["id"]))
        assert (await client.reply()).startswith("421 4.7.0")
        assert made.spool.incoming() == []

    run(folder, test)
