"""A connection under clients that are fast, slow, rude or gone: over real sockets, with the memory store."""

import asyncio
import gc
import re
import socket
import ssl
import threading
import time
import zlib
from asyncio.sslproto import SSLProtocol
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from imap_steps import KEYS
from instance import wait_for
from own_imap import PASSWORD, OnePassword, OwnImap, account_of, own_imap
from preau.auth.api import Attempt, Denied, Granted, SessionId
from preau.imap.connection import Connection, Phase
from preau.imap.server import ImapSettings
from preau.storage.api import Account, Appended, Draft, FlagOp, MailboxId, Uid
from preau.storage.memory import MemoryBus, MemoryStore
from preau.storage.memory_mail import MemoryMail


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnImap]:
    settings = ImapSettings(plaintext_ok=True, append_limit=1_000_000, bad_commands=5, failed_logins=3)
    with own_imap(tmp_path_factory.mktemp("own"), settings=settings) as server:
        yield server


class Line:
    """A raw client."""

    def __init__(self, own: OwnImap, login: str = "", *, tls: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", own.tls_port if tls else own.port), timeout=20)
        if tls:
            self.socket = own.client_tls.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rb")
        assert self.line().startswith(b"* OK ")
        if login:
            self.send(b"l LOGIN %b %b\r\n" % (login.encode(), PASSWORD.encode()))
            assert self.until(b"l").startswith(b"l OK")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> bytes:
        return self.file.readline()

    def until(self, tag: bytes) -> bytes:
        """All up to the tagged answer, which is what comes back."""
        while not (line := self.line()).startswith(tag + b" "):
            assert line, "the server closed"
        return line

    def rest(self) -> bytes:
        """All there is until the server closes."""
        return self.file.read()

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def account(own: OwnImap, login: str) -> Account:
    return own.store.open_account(account_of(login), KEYS)


def fill(own: OwnImap, login: str, *messages: bytes) -> list[Uid]:
    mail = account(own, login).mail
    drafts = []
    for message in messages:
        writer = mail.new_message()
        writer.write(message)
        writer.finish()
        drafts.append(Draft(writer))
    return list(mail.append(mail.find("INBOX").id, drafts).uids)


# -- fast clients


def test_ten_thousand_noops_in_one_go_are_answered_in_order(own: OwnImap) -> None:
    with Line(own, "noop") as client:
        count = 10_000
        sender = threading.Thread(target=client.send, args=(b"".join(b"n%d NOOP\r\n" % n for n in range(count)),))
        sender.start()
        answers = [client.line() for _ in range(count)]
        sender.join()
        assert answers == [b"n%d OK NOOP completed\r\n" % n for n in range(count)]


def test_who_sends_no_more_is_answered_what_it_asked_for(own: OwnImap) -> None:
    # As `printf ... | nc -N` does; 9,000 commands take several turns of the loop.
    count = 9_000
    with Line(own, "half") as client:
        client.send(b"".join(b"n%d NOOP\r\n" % n for n in range(count)) + b"s SELECT INBOX\r\nf FETCH 1 FLAGS\r\ni IDLE\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        said = client.rest()
        assert said.startswith(b"n0 OK NOOP completed\r\nn1 OK")
        assert said.count(b" OK NOOP completed\r\n") == count
        assert b"\r\nf BAD" in said
        assert said.endswith(b"\r\n+ idling\r\n")


def test_commands_behind_a_slow_one_wait_for_it(own: OwnImap) -> None:
    fill(own, "order", b"A: b\r\n\r\nx")
    with Line(own, "order") as client:
        client.send(b"a SELECT INBOX\r\nb STORE 1 +FLAGS (\\Flagged)\r\nc FETCH 1 FLAGS\r\nd SEARCH TEXT x\r\ne LOGOUT\r\n")
        said = client.rest()
        tags = re.findall(rb"^([a-e]) ", said, re.MULTILINE)
        assert tags == [b"a", b"b", b"c", b"d", b"e"]
        assert said.count(b"* 1 FETCH (FLAGS (\\Flagged))") == 2


def test_a_client_that_does_not_read_holds_up_its_command_not_the_server(own: OwnImap) -> None:
    message = b"Subject: big\r\n\r\n" + b"x" * 500_000 + b"\r\n"
    fill(own, "slow", *[message] * 20)
    with Line(own, "slow") as slow, Line(own, "other") as other:
        slow.send(b"a SELECT INBOX\r\nb FETCH 1:* BODY.PEEK[]\r\nc NOOP\r\n")
        slow.until(b"a")
        (connection,) = [c for c in own.server.connections() if c.session.account is account_held(own, "slow")]
        for _ in range(200):
            other.send(b"n NOOP\r\n")
            other.until(b"n")
            if connection.phase is Phase.HELD:
                break
        assert connection.phase is Phase.HELD
        assert connection.waiting_octets() < 3_000_000
        said = b""
        while not said.endswith(b"c OK NOOP completed\r\n"):
            said += slow.socket.recv(262_144)
        assert said.count(b"Subject: big") >= 19  # the first may lie in the line reader's buffer


def account_held(own: OwnImap, login: str) -> Account:
    held = account(own, login)
    held.close()
    return held


# -- rude clients


@pytest.mark.parametrize(
    "rude",
    [
        pytest.param(b"\x00\xff\xfe\r\n", id="binary"),
        pytest.param(b"a" * 200_000 + b"\r\n", id="endless line"),
        pytest.param(b"a LOGIN {99999999999999999999}\r\n", id="huge literal"),
        pytest.param(b"a LOGIN {5000+}\r\n" + b"x" * 5000 + b"\r\n", id="literal over the limit, sent anyway"),
        pytest.param(b"a APPEND INBOX {10}\r\n", id="APPEND before login"),
        pytest.param(b"a FETCH 1 FLAGS\r\n", id="selected command before login"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="HTTP"),
        pytest.param(b"\r\n\r\n\r\n", id="empty lines"),
        pytest.param(b"a UID\r\n", id="half a command"),
        pytest.param(b"a IDLE\r\nDONE\r\n", id="IDLE before login"),
    ],
)
def test_rude_clients_get_an_answer_and_others_do_not_notice(own: OwnImap, rude: bytes) -> None:
    with Line(own) as client, Line(own, "calm") as other:
        client.send(rude)
        answer = client.line()
        assert re.match(rb"(\*|a|GET) (BAD|NO|BYE) ", answer), answer
        other.send(b"n NOOP\r\n")
        assert other.until(b"n") == b"n OK NOOP completed\r\n"


def test_too_many_bad_commands_end_the_connection(own: OwnImap) -> None:
    with Line(own, "bad") as client:
        client.send(b"".join(b"b%d NONSENSE\r\n" % n for n in range(10)))
        said = client.rest()
        assert said.count(b" BAD ") == 5
        assert said.endswith(b"* BYE Too many bad commands\r\n")


def test_a_good_command_between_forgives_the_bad_ones(own: OwnImap) -> None:
    with Line(own, "mixed") as client:
        for n in range(10):
            client.send(b"b%d NONSENSE\r\nn%d NOOP\r\n" % (n, n))
            client.until(b"n%d" % n)


def test_five_wrong_passwords(own: OwnImap) -> None:
    with Line(own) as client:
        client.send(b"".join(b"l%d LOGIN ana wrong\r\n" % n for n in range(10)))
        said = client.rest()
        assert said.count(b"NO [AUTHENTICATIONFAILED] ") == 3
        assert b"* BYE [UNAVAILABLE] " in said.rsplit(b"\r\n", 2)[-2]


# -- clients that go


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"a APPEND INBOX {1000}\r\n", id="before the literal"),
        pytest.param(b"a APPEND INBOX {1000+}\r\nSubject: half", id="in the literal"),
        pytest.param(b"a APPEND INBOX {5+}\r\nA: b\n", id="before the end of the command"),
        pytest.param(b"a APPEND INBOX {5+}\r\nA: b\n {1000+}\r\nxx", id="in the second message"),
        pytest.param(b"a LOGIN {5", id="in a command line"),
        pytest.param(b"a IDLE\r\n", id="in IDLE"),
    ],
)
def test_a_client_that_goes_half_way_leaves_nothing_behind(own: OwnImap, begun: bytes) -> None:
    client = Line(own, "gone")
    client.send(begun)
    client.close()
    with Line(own, "gone") as other:
        for _ in range(500):
            other.send(b"s STATUS INBOX (MESSAGES)\r\n")
            assert other.line() == b"* STATUS INBOX (MESSAGES 0)\r\n"
            other.until(b"s")
            if len(own.server.connections()) == 1:
                break
        assert len(own.server.connections()) == 1


def test_messages_that_are_refused(own: OwnImap) -> None:
    with Line(own, "refused") as client:
        client.send(b"a APPEND Nowhere {10}\r\n")
        assert client.line().startswith(b"a NO [TRYCREATE] ")
        client.send(b"b APPEND Nowhere {10+}\r\n0123456789\r\n")
        assert client.line().startswith(b"b NO [TRYCREATE] ")
        client.send(b"c APPEND INBOX {1000001}\r\n")
        assert client.line().startswith(b"c NO [TOOBIG] ")
        client.send(b"d APPEND INBOX {1000001+}\r\n" + b"x" * 1_000_001 + b"\r\ne NOOP\r\n")
        assert client.line().startswith(b"d NO [TOOBIG] ")
        assert client.until(b"e").startswith(b"e OK")
        client.send(b"f APPEND INBOX {5+}\r\nA: b\n garbage\r\ng STATUS INBOX (MESSAGES)\r\n")
        assert client.line().startswith(b"f BAD ")
        assert client.line() == b"* STATUS INBOX (MESSAGES 0)\r\n"


# -- other sessions


def test_idle_hears_of_mail_flags_and_expunges_as_they_happen(own: OwnImap) -> None:
    fill(own, "idle", b"A: b\r\n\r\n1", b"A: b\r\n\r\n2")
    with Line(own, "idle") as client:
        client.send(b"a SELECT INBOX\r\nb IDLE\r\n")
        client.until(b"a")
        assert client.line() == b"+ idling\r\n"
        mail = account(own, "idle").mail
        inbox = mail.find("INBOX").id
        fill(own, "idle", b"A: b\r\n\r\n3")
        assert client.line() == b"* 3 EXISTS\r\n"
        mail.store_flags(inbox, [Uid(2)], FlagOp.ADD, frozenset({"\\Deleted"}))
        assert client.line() == b"* 2 FETCH (FLAGS (\\Deleted))\r\n"
        mail.expunge(inbox)
        assert client.line() == b"* 2 EXPUNGE\r\n"
        client.send(b"DONE\r\nc NOOP\r\n")
        assert client.line() == b"b OK IDLE completed\r\n"
        assert client.line() == b"c OK NOOP completed\r\n"


def test_idle_hears_of_what_comes_while_it_is_told_of_what_came(own: OwnImap, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each piece of text takes a turn of its own, and the second message comes between the pieces about the first.
    monkeypatch.setattr("preau.imap.connection.TURN_SECONDS", -1.0)
    second, turn = [b"A: b\r\n\r\n2"], Connection._turn

    def interrupted(connection: Connection) -> None:
        if second and connection.session.view is not None and connection.session.view.count == 1:
            fill(own, "again", second.pop())
            asyncio.get_running_loop().call_later(0.2, turn, connection)
        else:
            turn(connection)

    monkeypatch.setattr(Connection, "_turn", interrupted)
    with Line(own, "again") as client:
        client.send(b"a SELECT INBOX\r\nb IDLE\r\n")
        while client.line() != b"+ idling\r\n":
            pass
        fill(own, "again", b"A: b\r\n\r\n1")
        assert client.line() == b"* 1 EXISTS\r\n"
        while (line := client.line()) != b"* 2 EXISTS\r\n":
            assert line
        assert not second


def test_idle_ends_with_anything_but_done(own: OwnImap) -> None:
    with Line(own, "idler") as client:
        client.send(b"a IDLE\r\n")
        assert client.line() == b"+ idling\r\n"
        client.send(b"b NOOP\r\n")
        assert client.line().startswith(b"a BAD ")


def test_an_expunge_by_another_session_while_bodies_are_sent(own: OwnImap) -> None:
    message = b"Subject: s\r\n\r\n" + b"y" * 300_000 + b"\r\n"
    fill(own, "race", *[message] * 30)
    with Line(own, "race") as reader, Line(own, "race") as other:
        reader.send(b"a SELECT INBOX\r\n")
        reader.until(b"a")
        reader.send(b"b FETCH 1:* (UID BODY.PEEK[])\r\n")
        other.send(b"c SELECT INBOX\r\nd STORE 30 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\n")
        assert other.until(b"e").startswith(b"e OK")
        numbers = []
        while (line := reader.line()) and not line.startswith(b"b "):
            if found := re.match(rb"\* (\d+) FETCH \(UID \d+ BODY\[\] \{(\d+)\}", line):
                numbers.append(int(found[1]))
                assert reader.file.read(int(found[2])) == message
                assert reader.line() == b")\r\n"
            else:
                assert b"EXPUNGE" not in line
        assert numbers == list(range(1, 30))
        assert line.startswith(b"b NO [EXPUNGEISSUED] ")
        reader.send(b"f NOOP\r\n")
        assert reader.line() == b"* 30 EXPUNGE\r\n"


def test_a_deleted_mailbox_says_goodbye_to_who_has_it_selected(own: OwnImap) -> None:
    with Line(own, "delete") as client, Line(own, "delete") as other:
        client.send(b"a CREATE Gone\r\nb SELECT Gone\r\nc IDLE\r\n")
        while client.line() != b"+ idling\r\n":
            pass
        other.send(b"d DELETE Gone\r\n")
        assert other.until(b"d").startswith(b"d OK")
        assert client.rest().endswith(b"* BYE [UNAVAILABLE] The selected mailbox was deleted\r\n")


def test_deleting_the_selected_mailbox_oneself_only_deselects(own: OwnImap) -> None:
    with Line(own, "delete") as client:
        client.send(b'a CREATE Mine\r\nb SELECT Mine\r\nc DELETE Mine\r\nd CHECK\r\ne LIST "" Mine\r\n')
        assert client.until(b"c").startswith(b"c OK")
        assert client.until(b"d").startswith(b"d BAD")
        assert client.until(b"e").startswith(b"e OK")


# -- TLS


def test_what_is_injected_behind_starttls_is_thrown_away(own: OwnImap) -> None:
    raw = socket.create_connection(("127.0.0.1", own.port), timeout=20)
    assert raw.recv(4096).startswith(b"* OK ")
    raw.sendall(b"a STARTTLS\r\nevil LOGIN mallory secret\r\nevi")
    assert raw.recv(4096) == b"a OK Begin TLS negotiation now\r\n"
    with own.client_tls.wrap_socket(raw, server_hostname="localhost") as secure:
        secure.sendall(b"b NOOP\r\n")
        assert secure.recv(4096) == b"b OK NOOP completed\r\n"
        secure.sendall(b"c STARTTLS\r\n")
        assert secure.recv(4096) == b"c BAD TLS is on already\r\n"


def test_a_handshake_that_is_none_ends_the_connection_alone(own: OwnImap) -> None:
    with socket.create_connection(("127.0.0.1", own.tls_port), timeout=20) as raw:
        raw.sendall(b"a LOGIN ana secret\r\n" * 10)
        assert b"OK" not in raw.recv(4096)
    with Line(own, "after", tls=True) as client:
        client.send(b"n NOOP\r\n")
        assert client.until(b"n").startswith(b"n OK")


def test_a_client_that_goes_in_the_handshake(own: OwnImap) -> None:
    raw = socket.create_connection(("127.0.0.1", own.tls_port), timeout=20)
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    raw.sendall(outgoing.read()[:50])
    raw.close()
    with Line(own, "after", tls=True) as client:
        client.send(b"n NOOP\r\n")
        assert client.until(b"n").startswith(b"n OK")


def test_who_leaves_before_the_handshake_leaves_nothing(own: OwnImap) -> None:
    def connections() -> int:
        return len(own.server._host.connections) if own.server._host else 0

    before = connections()
    for _ in range(20):
        socket.create_connection(("127.0.0.1", own.tls_port), timeout=20).close()
    with Line(own, "after", tls=True):  # accepted behind them
        pass
    deadline = time.monotonic() + 20
    while connections() > before:
        assert time.monotonic() < deadline, "connections that nobody has are still counted"
        time.sleep(0.01)


# -- threads and neighbours


class Gate(OnePassword):
    """Lets the login `held` wait until told."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.open = threading.Event()

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        if attempt.login == "held":
            self.entered.set()
            await asyncio.get_running_loop().run_in_executor(None, self.open.wait, 20)
        return await super().authenticate(attempt)


def test_who_leaves_while_being_let_in_leaves_no_session(tmp_path: Path) -> None:
    gate = Gate()
    store = MemoryStore()
    with own_imap(tmp_path, store=store, bus=MemoryBus(), authenticator=gate) as own:
        client = Line(own)
        client.send(b"a LOGIN held secret\r\n")
        assert gate.entered.wait(20)
        client.close()
        with Line(own, "other") as other:
            other.send(b"n NOOP\r\n")
            other.until(b"n")
        gate.open.set()
    assert set(gate.closed) == {SessionId("s1"), SessionId("s2")}


def test_who_leaves_while_its_append_is_written_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = threading.Event(), threading.Event()
    appending = MemoryMail.append

    def slowly(self: MemoryMail, mailbox: MailboxId, drafts: list[Draft]) -> Appended:
        entered.set()
        assert leave.wait(20)
        return appending(self, mailbox, drafts)

    monkeypatch.setattr(MemoryMail, "append", slowly)
    with own_imap(tmp_path) as own:
        client = Line(own, "ana")
        client.send(b"a APPEND INBOX {9+}\r\nA: b\r\n\r\nx\r\n")
        assert entered.wait(20)
        client.close()
        with Line(own, "ana") as other:
            other.send(b"s SELECT INBOX\r\n")
            other.until(b"s")
            other.send(b"i IDLE\r\n")
            assert other.line() == b"+ idling\r\n"
            leave.set()
            assert other.line() == b"* 1 EXISTS\r\n"


def test_a_bug_is_answered_with_a_reference_and_the_session_goes_on(own: OwnImap, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(self: MemoryMail) -> list[str]:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(MemoryMail, "subscriptions", bug)
    with Line(own, "bug") as client:
        client.send(b'a LIST "" "*"\r\nb NOOP\r\n')
        answer = client.until(b"a")
        assert re.fullmatch(rb"a NO \[SERVERBUG\] Internal error, reference [0-9a-f]{8}\r\n", answer)
        assert client.until(b"b").startswith(b"b OK")


# -- COMPRESS (RFC 4978)


class Deflated(Line):
    """A client after COMPRESS DEFLATE."""

    def __init__(self, own: OwnImap, login: str, *, behind: bytes = b"") -> None:
        super().__init__(own, login)
        self.out, self.inside = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)
        self.said = b""
        self.send(b"z COMPRESS DEFLATE\r\n" + (self.pressed(behind) if behind else b""))
        assert self.until(b"z") == b"z OK Compression begins now\r\n"

    def pressed(self, text: bytes) -> bytes:
        return self.out.compress(text) + self.out.flush(zlib.Z_SYNC_FLUSH)

    def hear(self, end: bytes) -> bytes:
        """All that is said, up to `end` or until the server closes."""
        while end not in self.said:
            octets = self.socket.recv(65_536)
            if not octets:
                break
            self.said += self.inside.decompress(octets)
        said, self.said = self.said, b""
        return said


def test_what_comes_behind_compress_is_compressed(own: OwnImap) -> None:
    with Deflated(own, "pressed", behind=b"a NOOP\r\nb SELECT INBOX\r\n") as client:
        assert b"b OK [READ-WRITE]" in client.hear(b"b OK")


def test_messages_go_both_ways_compressed(own: OwnImap) -> None:
    message = b"Subject: x\r\n\r\n" + b"".join(b"line %d\r\n" % n for n in range(50_000))
    with Deflated(own, "bulk") as client:
        client.send(client.pressed(b"a APPEND INBOX {%d+}\r\n%b\r\nb SELECT INBOX\r\n" % (len(message), message)))
        assert b"a OK [APPENDUID" in client.hear(b"b OK [READ-WRITE]")
        client.send(client.pressed(b"c FETCH 1 BODY.PEEK[]\r\n"))
        assert message in client.hear(b"c OK")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param(b"A" * 120_000_000, b"BYE ", id="a line without end"),
        pytest.param(b"a APPEND INBOX {60000000+}\r\n" + bytes(60_000_000), b"TOOBIG", id="a message too large"),
    ],
)
def test_a_compression_bomb_is_met_as_what_it_holds(own: OwnImap, text: bytes, answer: bytes) -> None:
    with Deflated(own, "bomb") as client, Line(own, "calm") as other:
        bomb = client.pressed(text)
        assert len(bomb) < 200_000
        client.send(bomb)
        other.send(b"n NOOP\r\n")
        assert other.until(b"n") == b"n OK NOOP completed\r\n"
        assert answer in client.hear(answer)


def test_what_is_no_deflate_ends_the_connection(own: OwnImap) -> None:
    with Deflated(own, "plain") as client:
        client.send(b"a NOOP\r\n" * 10)
        assert client.hear(b"never") == b""


def test_half_handshakes_leave_nothing_for_the_collector(own: OwnImap) -> None:
    # Thousands a second come in an attack.
    def there() -> int:
        return sum(isinstance(one, SSLProtocol | Connection) for one in gc.get_objects())

    gc.collect()
    before = there()
    gc.disable()
    try:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", own.tls_port), 10) as stranger:
                stranger.sendall(b"\x16\x03\x01\x02\x00\x01")
                wait_for(lambda: any(one.phase is Phase.HANDSHAKE for one in own.server.connections()))
            wait_for(lambda: not own.server.connections())
        wait_for(lambda: there() <= before)
    finally:
        gc.enable()
