"""SCRAM-SHA-256 on the line, by a client nobody here wrote, and by clients that lose heart half-way."""

import base64
import socket
import threading
from pathlib import Path

import pytest
from scramp import ScramException

from own_imap import PASSWORD, OnePassword, OwnImap, own_imap
from preau.auth.api import (
    AuthUnavailable,
    Denied,
    Reason,
    Revocation,
    ScramAttempt,
    ScramExchange,
    ScramGranted,
    SessionId,
)
from preau.imap.settings import ImapSettings
from scram_fake import Prover

COMMAND = b"a AUTHENTICATE SCRAM-SHA-256"


class Client:
    """A raw client over TLS."""

    def __init__(self, own: OwnImap) -> None:
        raw = socket.create_connection(("127.0.0.1", own.tls_port), timeout=20)
        self.socket = own.client_tls.wrap_socket(raw, server_hostname="localhost")
        self.file = self.socket.makefile("rb")
        self.greeting = self.file.readline()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()
        self.socket.close()

    def say(self, line: str | bytes) -> str:
        """The next line for this one."""
        self.socket.sendall((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.file.readline().decode().removesuffix("\r\n")

    def challenge(self, line: str | bytes) -> str:
        answer = self.say(line)
        assert answer.startswith("+ "), answer
        return answer[2:]

    def rest(self) -> bytes:
        return self.file.read()


@pytest.mark.parametrize("at_once", [True, False], ids=["initial response", "asked for"])
@pytest.mark.parametrize("last", ["", "="], ids=["nothing", "equals sign"])
def test_who_proves_is_in(tmp_path: Path, at_once: bool, last: str) -> None:
    with own_imap(tmp_path) as own, Client(own) as client:
        assert b" AUTH=SCRAM-SHA-256 AUTH=PLAIN " in client.greeting
        prover = Prover("marie", PASSWORD)
        if at_once:
            challenge = client.challenge(COMMAND + b" " + prover.first().encode())
        else:
            assert client.challenge(COMMAND) == ""
            challenge = client.challenge(prover.first())
        prover.check(client.challenge(prover.final(challenge)))
        answer = client.say(last)
        assert answer.startswith("a OK [CAPABILITY IMAP4rev1 ")
        assert "AUTH=" not in answer
        assert client.say("b SELECT INBOX").startswith("* ")


def test_who_does_not_prove_is_told_so_like_any_other(tmp_path: Path) -> None:
    with own_imap(tmp_path, settings=ImapSettings(plaintext_ok=True, failed_logins=3)) as own, Client(own) as client:
        said = client.say("a LOGIN marie wrong")
        for _ in range(2):
            prover = Prover("marie", "wrong")
            challenge = client.challenge(COMMAND + b" " + prover.first().encode())
            answer = client.say(prover.final(challenge))
            assert answer == said
        assert client.rest().startswith(b"* BYE [UNAVAILABLE]")
        assert own.authenticator.closed == []


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        ([b"*"], "a BAD Cancelled"),
        ([b"!!"], "a BAD Not what"),
        ([base64.b64encode(b"n,,n=marie")], "a BAD Not what"),
        ([base64.b64encode(b"p=tls-exporter,,n=marie,r=abc")], "a BAD Not what"),
        ([b""], "a BAD Not what"),
        ([base64.b64encode(b"n,,n=marie,r=abc"), b"*"], "a BAD Cancelled"),
        ([base64.b64encode(b"n,,n=marie,r=abc"), b""], "a BAD Not what"),
        ([base64.b64encode(b"n,,n=marie,r=abc"), base64.b64encode(b"c=biws,r=abc")], "a BAD Not what"),
    ],
    ids=["cancelled", "not base64", "no nonce", "binding", "empty", "cancelled later", "no final", "no proof"],
)
def test_broken_exchanges(tmp_path: Path, lines: list[bytes], answer: str) -> None:
    with own_imap(tmp_path) as own, Client(own) as client:
        client.challenge(COMMAND)
        for line in lines[:-1]:
            client.challenge(line)
        assert client.say(lines[-1]).startswith(answer)
        assert client.say("b LOGIN marie " + PASSWORD).startswith("b OK")


def _at_the_end(client: Client, login: str = "marie") -> Prover:
    """All but the last, empty, response."""
    prover = Prover(login, PASSWORD)
    challenge = client.challenge(COMMAND + b" " + prover.first().encode())
    prover.check(client.challenge(prover.final(challenge)))
    return prover


@pytest.mark.parametrize(
    ("line", "answer"),
    [(b"*", "a BAD Cancelled"), (b"eA==", "a BAD Not what"), (b"!", "a BAD Not what"), (b"x" * 100_000, "a BAD ")],
    ids=["cancelled", "something", "not base64", "endless"],
)
def test_who_does_not_believe_us_is_not_in(tmp_path: Path, line: bytes, answer: str) -> None:
    with own_imap(tmp_path) as own:
        with Client(own) as client:
            _at_the_end(client)
            assert client.say(line).startswith(answer)
            assert b"* BYE" in client.rest()
        with Client(own) as client:
            assert client.say("b NOOP") == "b OK NOOP completed"
            assert own.server.connections()[0].session.account is None
        assert own.authenticator.closed == [SessionId("s1")]


def test_who_leaves_before_the_end_leaves_no_session(tmp_path: Path) -> None:
    with own_imap(tmp_path) as own:
        with Client(own) as client:
            _at_the_end(client)
        with Client(own) as client:
            client.say("b NOOP")
    assert own.authenticator.closed == [SessionId("s1")]


def test_a_revocation_before_the_last_response_is_heard(tmp_path: Path) -> None:
    with own_imap(tmp_path) as own, Client(own) as client:
        _at_the_end(client)
        done = threading.Event()

        def revoke() -> None:
            for callback in own.authenticator.callbacks:
                callback(Revocation(session=SessionId("s1"), why="stolen"))
            done.set()

        own.loop.call_soon_threadsafe(revoke)
        assert done.wait(20)
        answer = client.say("")
        assert (answer.startswith("a OK") and b"* BYE" in client.rest()) or answer.startswith("* BYE")


def test_nothing_else_is_taken_in_between(tmp_path: Path) -> None:
    with own_imap(tmp_path) as own, Client(own) as client:
        prover = Prover("marie", PASSWORD)
        client.challenge(COMMAND + b" " + prover.first().encode())
        assert client.say("b SELECT INBOX").startswith("a BAD")
        assert client.say("c SELECT INBOX").startswith("c BAD")


def test_an_imposter_is_seen_through(tmp_path: Path) -> None:
    class Imposter(OnePassword):
        async def finish_scram(self, exchange: ScramExchange, response: bytes) -> ScramGranted | Denied:
            ended = await super().finish_scram(exchange, response)
            assert isinstance(ended, ScramGranted)
            return ScramGranted(ended.granted, b"v=" + base64.b64encode(bytes(32)))

    with own_imap(tmp_path, authenticator=Imposter()) as own, Client(own) as client, pytest.raises(ScramException):
        _at_the_end(client)


class Answering(OnePassword):
    """One answer to whoever begins."""

    def __init__(self, answer: Denied | Exception) -> None:
        super().__init__()
        self.answer = answer

    async def begin_scram(self, attempt: ScramAttempt) -> ScramExchange | Denied:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (AuthUnavailable("down"), "a NO [UNAVAILABLE]"),
        (Denied(Reason.LOCKED, "7K2F", 60), "a NO ["),
        (Denied(Reason.CREDENTIALS, "7K2F"), "a NO [AUTHENTICATIONFAILED]"),
    ],
    ids=["unavailable", "locked", "refused"],
)
def test_who_may_not_even_begin(tmp_path: Path, answer: Denied | Exception, code: str) -> None:
    with own_imap(tmp_path, authenticator=Answering(answer)) as own, Client(own) as client:
        assert client.say(COMMAND + b" " + Prover("marie", PASSWORD).first().encode()).startswith(code)


def test_without_the_stream_of_revocations_nobody_begins(tmp_path: Path) -> None:
    authenticator = OnePassword()
    authenticator.connected = False
    with own_imap(tmp_path, authenticator=authenticator) as own, Client(own) as client:
        assert client.say(COMMAND + b" " + Prover("marie", PASSWORD).first().encode()).startswith("a NO [UNAVAILABLE]")
        assert authenticator.scram_open == {}


def test_switched_off_it_is_neither_told_nor_taken(tmp_path: Path) -> None:
    with own_imap(tmp_path, settings=ImapSettings(scram=False)) as own, Client(own) as client:
        assert b"SCRAM" not in client.greeting
        assert client.say(COMMAND).startswith("a NO [CANNOT]")


def test_no_plus(tmp_path: Path) -> None:
    with own_imap(tmp_path) as own, Client(own) as client:
        assert client.say("a AUTHENTICATE SCRAM-SHA-256-PLUS").startswith("a NO [CANNOT]")
        assert client.say("b AUTHENTICATE scram-sha-256").startswith("+ ")
