import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

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
from preau.auth.client import SocketAuthenticator, SocketKeyHolder, decode
from preau.daemon.rpc import RpcConnection, RpcRefused, RpcServer
from preau.storage.api import AccountId

ATTEMPT = Attempt(Service.IMAP, "anne@example.com", "hunter2", "192.0.2.1", True, client="x" * 500)
GRANTED = {
    "account": "a" * 26,
    "address": "anne@example.com",
    "name": "Anne",
    "session": "s1",
    "credential": "app:3",
    "scopes": ["imap", "smtp"],
    "ticket": base64.b64encode(b"signed").decode(),
    "expires": 99,
    "quota": None,
}


class FakeAuth:
    """The other end: answers as it is told, remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Any] = {"subscribe": {}}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.subscribers: list[RpcConnection] = []
        self._server = RpcServer(self._handle)

    async def up(self) -> None:
        self._server = RpcServer(self._handle)
        await self._server.listen(self.path)

    async def down(self) -> None:
        self.subscribers.clear()
        await self._server.close()

    async def _handle(self, op: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        self.asked.append((op, fields))
        answer = self.answers.get(op)
        if answer is None:
            raise RpcRefused("no answer for this")
        if op == "subscribe":
            self.subscribers.append(connection)
        assert isinstance(answer, dict)
        return answer


def run(tmp_path: Path, test: Callable[[FakeAuth, SocketAuthenticator], Awaitable[None]]) -> None:
    async def running() -> None:
        fake = FakeAuth(tmp_path / "auth-imap.sock")
        client = SocketAuthenticator(fake.path, timeout=5.0)
        try:
            await asyncio.wait_for(test(fake, client), 20)
        finally:
            await client.close()
            await fake.down()

    asyncio.run(running())


def test_a_login_is_granted(tmp_path: Path) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        fake.answers["authenticate"] = {"granted": GRANTED}
        await fake.up()
        await client.start()
        assert client.connected
        assert await client.authenticate(ATTEMPT) == Granted(
            Identity(AccountId("a" * 26), "anne@example.com", "Anne"),
            SessionId("s1"),
            CredentialId("app:3"),
            frozenset({Service.IMAP, Service.SMTP}),
            b"signed",
            99,
        )
        op, fields = fake.asked[-1]
        assert op == "authenticate"
        assert fields == {
            "service": "imap",
            "login": "anne@example.com",
            "secret": "hunter2",
            "address": "192.0.2.1",
            "tls": True,
            "mechanism": "PLAIN",
            "client": "x" * 64,
            "authzid": "",
        }

    run(tmp_path, test)


def test_a_login_is_denied(tmp_path: Path) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        fake.answers["authenticate"] = {"denied": {"reason": "locked", "reference": "R-7", "retry_after": 30}}
        await fake.up()
        assert await client.authenticate(ATTEMPT) == Denied(Reason.LOCKED, "R-7", 30)  # start() came by itself

    run(tmp_path, test)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="neither"),
        pytest.param({"granted": {**GRANTED, "ticket": "?"}}, id="no base64"),
        pytest.param({"granted": {**GRANTED, "ticket": 7}}, id="no text"),
        pytest.param({"granted": {**GRANTED, "scopes": ["telnet"]}}, id="unknown scope"),
        pytest.param({"granted": []}, id="no object"),
        pytest.param({"denied": {"reason": "mood", "reference": "x"}}, id="unknown reason"),
    ],
)
def test_an_answer_that_is_none_is_temporary_and_never_a_wrong_password(tmp_path: Path, answer: dict[str, Any]) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        fake.answers["authenticate"] = answer
        await fake.up()
        with pytest.raises(AuthUnavailable):
            await client.authenticate(ATTEMPT)

    run(tmp_path, test)


def test_without_auth_no_login_is_taken(tmp_path: Path) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        await client.start()
        assert not client.connected
        with pytest.raises(AuthUnavailable):
            await client.authenticate(ATTEMPT)
        with pytest.raises(AuthUnavailable):
            await client.lookup("anne@example.com")
        with pytest.raises(AuthUnavailable):
            await client.check_session(SessionId("s"))
        await client.close_session(SessionId("s"))  # never raises
        assert fake.asked == []

    run(tmp_path, test)


def test_a_refused_subscription_takes_no_login(tmp_path: Path) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        fake.answers = {"authenticate": {"granted": GRANTED}}
        await fake.up()
        with pytest.raises(AuthUnavailable, match="no revocation stream"):
            await client.authenticate(ATTEMPT)
        assert {op for op, _ in fake.asked} == {"subscribe"}

    run(tmp_path, test)


def test_revocations_arrive_and_one_bad_listener_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        seen: asyncio.Queue[Revocation] = asyncio.Queue()

        def broken(revocation: Revocation) -> None:
            raise ZeroDivisionError

        client.on_revoke(broken)
        client.on_revoke(seen.put_nowait)
        await fake.up()
        await client.start()
        (subscriber,) = fake.subscribers
        subscriber.push({"push": "weather", "account": "x"})
        subscriber.push({"push": "revoke", "why": "nobody"})
        subscriber.push({"push": "revoke", "account": "a" * 26, "why": "locked"})
        subscriber.push({"push": "revoke", "account": "a" * 26, "credential": "app:3", "session": None})
        assert await seen.get() == Revocation(account=AccountId("a" * 26), why="locked")
        assert await seen.get() == Revocation(AccountId("a" * 26), CredentialId("app:3"))
        assert seen.empty()

    run(tmp_path, test)
    assert "revocation not carried out" in caplog.text


def test_a_lost_stream_is_told_and_renewed(tmp_path: Path) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        seen: asyncio.Queue[Revocation] = asyncio.Queue()
        client.on_revoke(seen.put_nowait)
        fake.answers["check_session"] = {"live": True}
        await fake.up()
        await client.start()
        await fake.down()
        assert (await seen.get()).lost
        assert not client.connected
        with pytest.raises(AuthUnavailable):
            await client.authenticate(ATTEMPT)
        await fake.up()
        back = await seen.get()
        assert back.lost
        assert "back" in back.why
        assert client.connected
        assert len(fake.subscribers) == 1
        assert await client.check_session(SessionId("s")) is True
        fake.answers["check_session"] = {"live": "yes"}
        assert await client.check_session(SessionId("s")) is False
        fake.answers["close_sessions"] = {}
        await client.close_session(SessionId("s"))
        assert fake.asked[-1] == ("close_sessions", {"sessions": ["s"]})

    run(tmp_path, test)


def test_sessions_that_end_together_are_told_together(tmp_path: Path) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        await fake.up()
        await client.start()
        fake.answers["close_sessions"] = {}
        ids = [f"s{number}" for number in range(300)]
        ending = [asyncio.create_task(client.close_session(SessionId(each))) for each in ids]
        await asyncio.sleep(0)
        ending[0].cancel()  # who stops waiting keeps nobody's end from being told
        await asyncio.gather(*ending, return_exceptions=True)
        told = [fields["sessions"] for op, fields in fake.asked if op == "close_sessions"]
        assert len(told) == 3
        assert [each for part in told for each in part] == ids
        late = asyncio.create_task(client.close_session(SessionId("late")))
        await asyncio.sleep(0)
        await client.close()
        await late
        assert fake.asked[-1] == ("close_sessions", {"sessions": ["late"]})

    run(tmp_path, test)


def test_lookup(tmp_path: Path) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        fake.answers["lookup"] = {
            "local": [{"account": "a" * 26, "address": "anne@example.com", "quota": 5, "accepts": False}],
            "outside": ["bob@elsewhere.example"],
        }
        await fake.up()
        assert await client.lookup("all@example.com") == Recipients(
            (LocalRecipient(AccountId("a" * 26), "anne@example.com", 5, False),), ("bob@elsewhere.example",)
        )
        for served in (True, False):
            fake.answers["lookup"] = {"local": [], "outside": [], "served": served}
            assert await client.lookup("x@example.com") == Recipients((), (), served)
        wrongs: list[dict[str, Any]] = [{}, {"local": [{}], "outside": []}, {"local": None, "outside": []}]
        for wrong in wrongs:
            fake.answers["lookup"] = wrong
            with pytest.raises(AuthUnavailable):
                await client.lookup("all@example.com")

    run(tmp_path, test)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_another_length_are_no_keys(tmp_path: Path, size: int) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        good, bad = (base64.b64encode(bytes(n)).decode() for n in (32, size))
        await fake.up()
        holder = SocketKeyHolder(fake.path)
        for name in ("public", "secret", "index", "cache"):
            fake.answers["unwrap"] = {**dict.fromkeys(("public", "secret", "index", "cache"), good), name: bad}
            with pytest.raises(AuthUnavailable):
                await holder.unwrap(b"ticket")
        await holder.close()

    run(tmp_path, test)


@pytest.mark.parametrize("value", [None, 7, "a", "é", "YQ", "YQ==\n"])
def test_only_base64_is_decoded(value: object) -> None:
    with pytest.raises(ValueError, match=r"base64|ASCII"):
        decode(value)


@pytest.mark.parametrize(
    ("answer", "may"),
    [({"may": True}, True), ({"may": False}, False), ({}, False), ({"may": 1}, False), ({"may": "true"}, False)],
    ids=["yes", "no", "nothing", "a number", "a word"],
)
def test_may_send(tmp_path: Path, answer: dict[str, Any], may: bool) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        fake.answers["may_send"] = answer
        await fake.up()
        assert await client.may_send(SessionId("s1"), "anne@example.com") is may
        assert fake.asked[-1] == ("may_send", {"session": "s1", "address": "anne@example.com"})

    run(tmp_path, test)


SCRAM = ScramAttempt(Service.IMAP, b"n,,n=anne,r=abc", "192.0.2.1", True, "x" * 500)
DENIED = {"reason": "credentials", "reference": "7K2F", "retry_after": 0}


def test_a_proof_goes_there_and_back(tmp_path: Path) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        fake.answers["scram_begin"] = {"exchange": "e1", "challenge": base64.b64encode(b"r=abcd").decode()}
        fake.answers["scram_finish"] = {"granted": GRANTED, "final": base64.b64encode(b"v=AAAA").decode()}
        await fake.up()
        begun = await client.begin_scram(SCRAM)
        assert begun == ScramExchange("e1", b"r=abcd")
        assert fake.asked[-1][1] == {
            "service": "imap",
            "message": base64.b64encode(SCRAM.message).decode(),
            "address": "192.0.2.1",
            "tls": True,
            "client": "x" * 64,
        }
        assert isinstance(begun, ScramExchange)
        ended = await client.finish_scram(begun, b"c=biws")
        assert fake.asked[-1] == ("scram_finish", {"exchange": "e1", "response": base64.b64encode(b"c=biws").decode()})
        assert isinstance(ended, ScramGranted)
        assert (ended.final, ended.granted.session) == (b"v=AAAA", "s1")
        fake.answers["scram_begin"] = fake.answers["scram_finish"] = {"denied": DENIED}
        assert await client.begin_scram(SCRAM) == Denied(Reason.CREDENTIALS, "7K2F")
        assert await client.finish_scram(begun, b"c=biws") == Denied(Reason.CREDENTIALS, "7K2F")

    run(tmp_path, test)


@pytest.mark.parametrize(
    "answer",
    [{}, {"exchange": "e1"}, {"exchange": "e1", "challenge": "&"}, {"granted": GRANTED}, {"granted": {}, "final": ""}],
)
def test_answers_to_a_proof_that_are_none(tmp_path: Path, answer: dict[str, Any]) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        fake.answers["scram_begin"] = fake.answers["scram_finish"] = answer
        await fake.up()
        if "challenge" not in answer or answer["challenge"] == "&":
            with pytest.raises(AuthUnavailable):
                await client.begin_scram(SCRAM)
        with pytest.raises(AuthUnavailable):
            await client.finish_scram(ScramExchange("e1", b""), b"")

    run(tmp_path, test)


def test_no_proof_without_the_revocation_stream(tmp_path: Path) -> None:
    async def test(fake: FakeAuth, client: SocketAuthenticator) -> None:
        with pytest.raises(AuthUnavailable, match="stream"):
            await client.begin_scram(SCRAM)
        with pytest.raises(AuthUnavailable, match="stream"):
            await client.finish_scram(ScramExchange("e1", b""), b"")

    run(tmp_path, test)
