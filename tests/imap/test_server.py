"""The life of a worker: who is let in, whose session ends, and how it all stops."""

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from own_imap import PASSWORD, AnyKeys, OnePassword, OwnImap, account_of, own_imap
from preau.auth.api import Attempt, CredentialId, Denied, Granted, Revocation, SessionId
from preau.daemon.listener import Listener, bind_tcp, bind_unix
from preau.imap.connection import Phase
from preau.imap.server import ImapServer, ImapSettings
from preau.storage.memory import MemoryStore


def connect(own: OwnImap) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", own.port), timeout=20)
    assert client.recv(4096).startswith(b"* OK ")
    return client


def login(own: OwnImap, name: str = "ana") -> socket.socket:
    client = connect(own)
    client.sendall(b"a LOGIN %b %b\r\n" % (name.encode(), PASSWORD.encode()))
    assert client.recv(4096).startswith(b"a OK ")
    return client


def on_loop(own: OwnImap, call: Callable[..., Any], *args: Any) -> Any:
    async def run() -> Any:
        return call(*args)

    return asyncio.run_coroutine_threadsafe(run(), own.loop).result(20)


def is_alive(client: socket.socket) -> bool:
    client.sendall(b"n NOOP\r\n")
    return client.recv(4096) == b"n OK NOOP completed\r\n"


@pytest.mark.parametrize(
    ("revocation", "ended"),
    [
        pytest.param(Revocation(account=account_of("ana")), {"ana"}, id="account"),
        pytest.param(Revocation(session=SessionId("s2")), {"bob"}, id="session"),
        pytest.param(Revocation(credential=CredentialId("password")), {"ana", "bob"}, id="credential"),
        pytest.param(Revocation(account=account_of("ana"), session=SessionId("s2")), set(), id="both must match"),
        pytest.param(Revocation(), set(), id="nothing named"),
    ],
)
def test_a_revocation_ends_the_sessions_it_names(tmp_path: Path, revocation: Revocation, ended: set[str]) -> None:
    with own_imap(tmp_path) as own:
        clients = {"ana": login(own, "ana"), "bob": login(own, "bob")}
        for callback in own.authenticator.callbacks:
            on_loop(own, callback, revocation)
        for name, client in clients.items():
            if name in ended:
                assert client.recv(4096).startswith(b"* BYE [UNAVAILABLE] ")
                assert client.recv(4096) == b""
            else:
                assert is_alive(client)
            client.close()


class Rechecked(OnePassword):
    async def check_session(self, session: SessionId) -> bool:
        return session != "s1"


def test_after_the_stream_was_lost_every_session_is_asked_about(tmp_path: Path) -> None:
    with own_imap(tmp_path, authenticator=Rechecked()) as own:
        first, second = login(own), login(own)
        for callback in own.authenticator.callbacks:
            on_loop(own, callback, Revocation(lost=True))
        assert first.recv(4096).startswith(b"* BYE [UNAVAILABLE] ")
        assert is_alive(second)
        first.close()
        second.close()


class Slow(OnePassword):
    """Grants, then is told to revoke before the account is open."""

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        answer = await super().authenticate(attempt)
        assert isinstance(answer, Granted)
        for callback in self.callbacks:
            callback(Revocation(session=answer.session))
        return answer


@pytest.mark.parametrize("slow", [False, True])
def test_a_session_revoked_while_it_is_being_opened_ends_too(
    tmp_path: Path, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if slow:  # each command is one turn of the loop or more: the revocation comes before the next one is looked for
        monkeypatch.setattr("preau.imap.connection.TURN_SECONDS", -1.0)
    with own_imap(tmp_path, authenticator=Slow()) as own:
        client = connect(own)
        client.sendall(b"a LOGIN ana secret\r\n")
        with client.makefile("rb") as lines:
            said = lines.read()
        assert said.startswith(b"a OK ")
        assert b"* BYE [UNAVAILABLE] " in said
        client.close()


def test_each_end_of_a_session_is_told_to_auth(tmp_path: Path) -> None:
    with own_imap(tmp_path) as own:
        client = login(own)
        client.sendall(b"z LOGOUT\r\n")
        assert client.recv(4096).startswith(b"* BYE ")
        client.close()
        dropped = login(own)
        dropped.close()
    assert sorted(own.authenticator.closed) == ["s1", "s2"]


def test_too_many_connections_from_one_address(tmp_path: Path) -> None:
    settings = ImapSettings(plaintext_ok=False, connections_per_address=2, grace_seconds=60)
    with own_imap(tmp_path, settings=settings) as own:
        first, second = connect(own), connect(own)
        third = socket.create_connection(("127.0.0.1", own.port), timeout=20)
        assert third.recv(4096) == b"* BYE [LIMIT] Too many connections\r\n"
        assert third.recv(4096) == b""
        for client in (first, second, third):
            client.close()


def test_who_only_stands_there_gives_way(tmp_path: Path) -> None:
    settings = ImapSettings(plaintext_ok=False, connections_per_address=2, grace_seconds=0)
    with own_imap(tmp_path, settings=settings) as own:
        first, second, third = connect(own), connect(own), connect(own)
        assert first.recv(4096) == b"* BYE [LIMIT] Too many connections\r\n"
        assert first.recv(4096) == b""
        for client in (second, third):
            client.sendall(b"a NOOP\r\n")
            assert client.recv(4096) == b"a OK NOOP completed\r\n"
        for client in (first, second, third):
            client.close()


def test_those_who_signed_in_do_not_count_for_their_address(tmp_path: Path) -> None:
    settings = ImapSettings(plaintext_ok=True, connections_per_account=2)
    with own_imap(tmp_path, settings=settings) as own:
        clients = [login(own), login(own), login(own, "bob")]
        extra = connect(own)
        extra.sendall(b"a LOGIN ana secret\r\n")
        assert extra.recv(4096).startswith(b"a NO [LIMIT] ")
        clients[0].sendall(b"z LOGOUT\r\n")
        while clients[0].recv(4096):
            pass
        extra.sendall(b"b LOGIN ana secret\r\n")
        assert extra.recv(4096).startswith(b"b OK ")
        for client in (*clients, extra):
            client.close()


def test_draining_lets_answers_finish_and_says_goodbye(tmp_path: Path) -> None:
    with own_imap(tmp_path) as own:
        idle, waiting = login(own), connect(own)
        idle.sendall(b"i IDLE\r\n")
        assert idle.recv(4096) == b"+ idling\r\n"
        started = time.monotonic()
        asyncio.run_coroutine_threadsafe(own.server.drain(10.0), own.loop).result(20)
        assert time.monotonic() - started < 8
        for client in (idle, waiting):
            assert client.recv(4096).startswith(b"* BYE [UNAVAILABLE] ")
            client.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", own.port), timeout=5)


@pytest.mark.parametrize(
    ("doing", "phase", "seconds", "reason"),
    [
        pytest.param(b"", Phase.NEXT, 61, b"[UNAVAILABLE] Login took too long", id="not signed in"),
        pytest.param(b"", Phase.NEXT, 59, None, id="not signed in yet"),
        pytest.param(b"a LOGIN ana secret\r\n", Phase.NEXT, 1799, None, id="quiet"),
        pytest.param(b"a LOGIN ana secret\r\n", Phase.NEXT, 1801, b"Autologout: no command for too long", id="too quiet"),
        pytest.param(b"a LOGIN ana secret\r\nb IDLE\r\n", Phase.IDLING, 7200, None, id="idling"),
        pytest.param(
            b"a LOGIN ana secret\r\nb APPEND INBOX {10}\r\n",
            Phase.ASKING,
            301,
            b"Autologout: no command for too long",
            id="APPEND",
        ),
    ],
)
def test_deadlines(tmp_path: Path, doing: bytes, phase: Phase, seconds: float, reason: bytes | None) -> None:
    with own_imap(tmp_path) as own:
        client = connect(own)
        client.sendall(doing)
        with client.makefile("rb") as lines:
            for _ in range(doing.count(b"\r\n")):
                lines.readline()
        (connection,) = own.server.connections()
        for _ in range(1000):
            if on_loop(own, lambda: connection.phase) is phase:
                break
        assert on_loop(own, connection.overdue, connection.since + seconds) == reason
        if reason:
            on_loop(own, connection.bye, reason)
            assert client.recv(4096) == b"* BYE " + reason + b"\r\n"
        client.close()


def test_a_tls_listener_needs_a_certificate() -> None:
    async def start() -> None:
        listening = bind_tcp("127.0.0.1", 0)
        server = ImapServer(ImapSettings(), MemoryStore(), OnePassword(), AnyKeys())
        try:
            with pytest.raises(ValueError, match="certificate"):
                await server.start([Listener("imaps", listening, tls=True)])
        finally:
            listening.close()
            await server.drain(0.1)

    asyncio.run(start())


def test_a_unix_listener_is_local(tmp_path: Path) -> None:
    async def talk() -> bytes:
        server = ImapServer(ImapSettings(plaintext_ok=True), MemoryStore(), OnePassword(), AnyKeys())
        await server.start([Listener("imap", bind_unix(tmp_path / "imap.sock"))])
        reader, writer = await asyncio.open_unix_connection(tmp_path / "imap.sock")
        await reader.readline()
        writer.write(b"a LOGIN ana secret\r\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        await server.drain(1.0)
        return answer

    assert asyncio.run(talk()).startswith(b"a OK ")
