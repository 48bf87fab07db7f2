"""The role behind its sockets, with the clients that the daemons use."""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from scramp import ScramClient

from auth_bench import PASSWORD, FakeKeySource, attempt
from preau.auth.api import (
    AuthUnavailable,
    Denied,
    Granted,
    Reason,
    Revocation,
    ScramAttempt,
    ScramExchange,
    ScramGranted,
    Service,
)
from preau.auth.client import SocketAuthenticator
from preau.auth.engine import EngineSettings
from preau.auth.offline import InUse, hold_lock
from preau.auth.server import ADMIN_OPS, AuthServer, AuthSettings, check_arguments
from preau.daemon.listener import Listener, bind_unix
from preau.daemon.role import Role
from preau.daemon.rpc import RpcClient, RpcRefused

MARIE = "marie@ecole.example"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: the path of a Unix socket has 107 octets."""
    path = Path(tempfile.mkdtemp(prefix="preau-auth-"))
    yield path
    shutil.rmtree(path)


def settings_for(folder: Path, **changes: object) -> AuthSettings:
    values: dict[str, object] = {
        "run": folder,
        "database": folder / "auth.db",
        "lock": folder / "lock",
        "traces": folder / "traces",
        "engine": EngineSettings(domains=("ecole.example",), default_domain="ecole.example"),
        "patience": 0.3,
    }
    return AuthSettings(**{**values, **changes})  # type: ignore[arg-type]  # by name


class Served:
    """A server and ways to it."""

    def __init__(self, folder: Path, server: AuthServer) -> None:
        self.folder = folder
        self.server = server
        self._stack = contextlib.AsyncExitStack()

    async def authenticator(self, role: str) -> SocketAuthenticator:
        found = SocketAuthenticator(self.folder / f"auth-{role}.sock", timeout=20)
        await found.start()
        self._stack.push_async_callback(found.close)
        return found

    def client(self, name: str) -> RpcClient:
        found = RpcClient(self.folder / f"{name}.sock", timeout=20, max_frame=16_777_216)
        self._stack.push_async_callback(found.close)
        return found

    async def close(self) -> None:
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def serving(folder: Path, **changes: object) -> AsyncIterator[Served]:
    server = AuthServer(settings_for(folder, **changes), FakeKeySource())
    await server.start([])
    served = Served(folder, server)
    try:
        yield served
    finally:
        await served.close()
        await server.drain(1)


async def ask(client: RpcClient, op: str, **fields: object) -> object:
    return (await client.call(op, **fields))["result"]


async def add_marie(served: Served) -> str:
    admin = served.client("admin")
    await ask(admin, "user_add", address=MARIE, password=PASSWORD)
    made = await ask(admin, "app_password_add", address=MARIE, label="Telephone")
    assert isinstance(made, dict)
    return str(made["password"])


def test_it_is_a_role(folder: Path) -> None:
    role: Role = AuthServer(settings_for(folder), FakeKeySource())
    assert role


def test_signing_in_through_the_socket(folder: Path) -> None:
    async def scenario() -> None:
        async with serving(folder) as served:
            phone = await add_marie(served)
            imap = await served.authenticator("imap")
            answer = await imap.authenticate(attempt(MARIE, phone))
            assert isinstance(answer, Granted)
            assert answer.identity.address == MARIE
            assert answer.scopes == frozenset(Service)
            assert isinstance(await imap.authenticate(attempt("marie", PASSWORD)), Granted)
            refused = await imap.authenticate(attempt(MARIE, "wrong password here"))
            assert isinstance(refused, Denied)
            assert await imap.check_session(answer.session)
            await imap.close_session(answer.session)
            assert served.server.engine is not None
            events = served.server.engine.traces.of_account(answer.identity.account)
            assert [event["ev"] for event in events].count("sess.close") == 1
            raw = served.client("auth-imap")
            for wrong in (None, "s", [1], ["s"] * 2_000, ["s" * 5_000]):
                with pytest.raises(RpcRefused):
                    await raw.call("close_sessions", sessions=wrong)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("role", "service", "may"),
    [
        ("imap", Service.IMAP, True),
        ("imap", Service.SMTP, False),
        ("smtp", Service.SMTP, True),
        ("smtp", Service.IMAP, False),
        ("dav", Service.CALDAV, True),
        ("dav", Service.WEBDAV, True),
        ("dav", Service.SIEVE, False),
        ("managesieve", Service.SIEVE, True),
        ("delivery", Service.IMAP, False),
        ("queue", Service.SMTP, False),
    ],
)
def test_a_role_signs_in_to_its_own_services_only(folder: Path, role: str, service: Service, may: bool) -> None:
    async def scenario() -> None:
        async with serving(folder) as served:
            phone = await add_marie(served)
            there = await served.authenticator(role)
            if may:
                assert isinstance(await there.authenticate(attempt(MARIE, phone, service=service)), Granted)
            else:
                with pytest.raises(AuthUnavailable, match="does not sign in"):
                    await there.authenticate(attempt(MARIE, phone, service=service))

    asyncio.run(scenario())


def test_lookups_are_for_those_who_move_mail(folder: Path) -> None:
    async def scenario() -> None:
        async with serving(folder) as served:
            await add_marie(served)
            await ask(served.client("admin"), "group_add", address="team@ecole.example", members=[MARIE, "a@x.example"])
            for role in ("delivery", "queue", "smtp"):
                found = await (await served.authenticator(role)).lookup("team@ecole.example")
                assert ([one.address for one in found.local], list(found.outside)) == ([MARIE], ["a@x.example"])
                assert found.served is True
            with pytest.raises(AuthUnavailable, match="no op"):
                await (await served.authenticator("imap")).lookup(MARIE)

    asyncio.run(scenario())


def test_proving_an_app_password_through_the_socket(folder: Path) -> None:
    async def scenario() -> None:
        async with serving(folder) as served:
            phone = await add_marie(served)
            imap = await served.authenticator("imap")
            for secret, right in ((phone, True), (phone[:-1], False)):
                client = ScramClient(["SCRAM-SHA-256"], MARIE, secret)
                message = client.get_client_first().encode()
                begun = await imap.begin_scram(ScramAttempt(Service.IMAP, message, "192.0.2.7", True))
                assert isinstance(begun, ScramExchange)
                client.set_server_first(begun.challenge.decode())
                final = client.get_client_final().encode()
                ended = await imap.finish_scram(begun, final)
                if right:
                    assert isinstance(ended, ScramGranted)
                    client.set_server_final(ended.final.decode())
                    assert ended.granted.identity.address == MARIE
                    assert await imap.check_session(ended.granted.session)
                else:
                    assert isinstance(ended, Denied)
                with pytest.raises(AuthUnavailable, match="exchange"):
                    await imap.finish_scram(begun, final)
            refused = await imap.begin_scram(ScramAttempt(Service.IMAP, message, "192.0.2.7", False))
            assert isinstance(refused, Denied)
            assert refused.reason is Reason.CLEARTEXT
            with pytest.raises(AuthUnavailable, match="does not sign in"):
                await imap.begin_scram(ScramAttempt(Service.SMTP, message, "192.0.2.7", True))
            with pytest.raises(RpcRefused, match="base64"):
                await served.client("auth-imap").call("scram_finish", exchange="x", response="&")

    asyncio.run(scenario())


def test_submission_asks_whose_an_address_is(folder: Path) -> None:
    async def scenario() -> None:
        async with serving(folder) as served:
            phone = await add_marie(served)
            smtp = await served.authenticator("smtp")
            answer = await smtp.authenticate(attempt(MARIE, phone, service=Service.SMTP))
            assert isinstance(answer, Granted)
            assert await smtp.may_send(answer.session, "marie+tag@ecole.example")
            assert not await smtp.may_send(answer.session, "paul@ecole.example")
            with pytest.raises(AuthUnavailable, match="no op"):
                await (await served.authenticator("imap")).may_send(answer.session, MARIE)

    asyncio.run(scenario())


def test_revocations_reach_every_daemon_before_the_operator_is_answered(folder: Path) -> None:
    """T4, as far as auth goes."""

    async def scenario() -> None:
        async with serving(folder) as served:
            phone = await add_marie(served)
            admin = served.client("admin")
            heard: list[tuple[str, Revocation]] = []
            sessions = []
            for role in ("imap", "imap", "smtp", "dav"):
                there = await served.authenticator(role)
                there.on_revoke(lambda revocation, role=role: heard.append((role, revocation)))  # type: ignore[misc]  # bound now
                service = {"imap": Service.IMAP, "smtp": Service.SMTP, "dav": Service.CALDAV}[role]
                answer = await there.authenticate(attempt(MARIE, phone, service=service))
                assert isinstance(answer, Granted)
                sessions.append((there, answer))
            await ask(admin, "app_password_revoke", address=MARIE, credential="app:1")
            for _ in range(100):
                if len(heard) == 4:
                    break
                await asyncio.sleep(0.01)
            assert {(revocation.account, revocation.credential) for _, revocation in heard} == {
                (sessions[0][1].identity.account, "app:1")
            }
            assert len(heard) == 4
            for there, answer in sessions:
                assert not await there.check_session(answer.session)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("op", "fields", "sentence"),
    [
        pytest.param("user_add", {}, "address is missing", id="missing"),
        pytest.param("user_add", {"address": 5}, "address is not", id="number for text"),
        pytest.param("user_add", {"address": MARIE, "admin": "yes"}, "admin is not", id="text for truth"),
        pytest.param("user_add", {"address": MARIE, "odd": 1}, "no argument 'odd'", id="unknown"),
        pytest.param("user_import", {"rows": [{"address": 1}]}, "rows is not", id="a cell that is no text"),
        pytest.param("user_import", {"rows": ["x"]}, "rows is not", id="a row that is none"),
        pytest.param("group_add", {"address": MARIE, "members": "x"}, "members is not", id="text for a list"),
        pytest.param("group_add", {"address": MARIE, "members": [1]}, "members is not", id="list of numbers"),
        pytest.param("traces_show", {"address": MARIE, "since": True}, "since is not", id="truth for a number"),
        pytest.param("_account", {"address": MARIE}, "no op", id="not an act"),
        pytest.param("actor", {}, "no op", id="an attribute"),
        pytest.param("user_show", {"address": MARIE}, "no account", id="what the act refuses"),
    ],
)
def test_the_admin_socket_checks_what_it_is_asked(folder: Path, op: str, fields: dict[str, object], sentence: str) -> None:
    async def scenario() -> None:
        async with serving(folder) as served:
            with pytest.raises(RpcRefused, match=sentence):
                await served.client("admin").call(op, **fields)

    asyncio.run(scenario())


def test_self_is_no_argument() -> None:
    with pytest.raises(RpcRefused, match="no argument 'self'"):
        check_arguments("user_add", {"self": 1, "address": MARIE})


def test_every_method_of_the_administration_is_an_op(folder: Path) -> None:
    async def scenario() -> None:
        async with serving(folder) as served:
            await add_marie(served)
            admin = served.client("admin")
            asked: dict[str, dict[str, object]] = {
                "user_import": {"rows": [{"address": "paul@ecole.example"}], "app_passwords": True},
                "user_list": {},
                "user_show": {"address": MARIE},
                "user_lock": {"address": MARIE, "reason": "test"},
                "user_unlock": {"address": MARIE},
                "user_password": {"address": MARIE, "password": "tout autre chose ici"},
                "user_quota": {"address": MARIE, "octets": 5_000_000},
                "group_add": {"address": "team@ecole.example", "members": [MARIE]},
                "group_list": {},
                "group_show": {"address": "team@ecole.example"},
                "group_member": {"address": "team@ecole.example", "member": "paul@ecole.example", "present": True},
                "totp_add": {"address": MARIE},
                "totp_remove": {"address": MARIE},
                "app_password_list": {"address": MARIE},
                "account_id": {"address": MARIE},
                "traces_show": {"address": MARIE, "since": 0},
                "traces_verify": {},
                "why": {"reference": "7K2F"},
                "user_delete": {"address": MARIE},
            }
            for op, fields in asked.items():
                await ask(admin, op, **fields)
            assert set(ADMIN_OPS) == {*asked, "user_add", "app_password_add", "app_password_revoke"}
            verified = await ask(admin, "traces_verify")
            assert isinstance(verified, dict)
            assert verified["ok"]

    asyncio.run(scenario())


def test_an_import_larger_than_a_usual_frame_passes_the_admin_socket(folder: Path) -> None:
    async def scenario() -> None:
        async with serving(folder) as served:
            rows = [{"address": f"user{number}@ecole.example", "name": "x" * 100} for number in range(1000)]
            answer = await ask(served.client("admin"), "user_import", rows=rows, app_passwords=True)
            assert isinstance(answer, dict)
            assert answer["added"] == 1000

    asyncio.run(scenario())


def test_a_second_auth_on_the_same_database_does_not_start(folder: Path) -> None:
    async def scenario() -> None:
        async with serving(folder):
            other = AuthServer(settings_for(folder), FakeKeySource())
            with pytest.raises(InUse):
                await other.start([])
            await other.drain(0)

    asyncio.run(scenario())
    os.close(hold_lock(folder / "lock"))  # free again


def test_it_waits_for_the_key_holder_and_says_so_when_that_is_too_long(folder: Path) -> None:
    async def scenario() -> None:
        keys = FakeKeySource(down=True)
        server = AuthServer(settings_for(folder, patience=20), keys)
        start = asyncio.create_task(server.start([]))
        await asyncio.sleep(0.05)
        keys.down = False
        await start
        await server.drain(0)
        keys.down = True
        impatient = AuthServer(settings_for(folder, patience=0), keys)
        with pytest.raises(AuthUnavailable):
            await impatient.start([])
        await impatient.drain(0)

    asyncio.run(scenario())


def test_sockets_that_were_handed_over_are_used(folder: Path) -> None:
    async def scenario() -> None:
        path = folder / "given.sock"
        server = AuthServer(settings_for(folder, roles=("smtp",)), FakeKeySource())
        await server.start([Listener("auth-imap", bind_unix(path))])
        client = SocketAuthenticator(path)
        await client.start()
        assert isinstance(await client.authenticate(attempt(MARIE, "x")), Denied)
        assert (folder / "auth-smtp.sock").exists()
        assert not (folder / "auth-imap.sock").exists()
        await client.close()
        await server.drain(0)

    asyncio.run(scenario())


def test_a_listener_of_somebody_else_is_refused(folder: Path) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as unbound:
            server = AuthServer(settings_for(folder), FakeKeySource())
            with pytest.raises(ValueError, match="imaps"):
                await server.start([Listener("imaps", unbound)])

    asyncio.run(scenario())


def test_sockets_are_for_their_owner_alone(folder: Path) -> None:
    async def scenario() -> None:
        async with serving(folder):
            modes = {name: (folder / name).stat().st_mode & 0o777 for name in os.listdir(folder) if name.endswith(".sock")}
            assert set(modes.values()) == {0o600}
            assert len(modes) == 7

    asyncio.run(scenario())
