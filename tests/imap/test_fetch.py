"""FETCH answers: each way of making them, and messages that go while they are made."""

import re

import pytest

from imap_steps import Client, run_steps
from preau.imap.fetch import ROWS, changed_positions, cut_positions
from preau.imap.steps import BrokenAnswer, Work
from preau.storage.api import FlagOp, MessageReader, Uid, Unavailable

MULTIPART = (
    b"From: Jeanne <jeanne@ecole.example>\r\nSubject: Sortie\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--b--\r\n"
)


def client_with(*messages: bytes) -> Client:
    client = Client()
    client.add(*messages, date=1_700_000_000)
    client.say(b"SELECT INBOX")
    return client


def fetched(client: Client, line: bytes) -> bytes:
    sent, answer = run_steps(client.begin(line))
    assert answer.startswith(b"OK"), answer
    return sent


def gone(client: Client, *uids: int) -> None:
    mail, mailbox = client.account.mail, client.session.selected.mailbox.id
    mail.store_flags(mailbox, [Uid(uid) for uid in uids], FlagOp.ADD, frozenset({"\\Deleted"}))
    mail.expunge(mailbox, [Uid(uid) for uid in uids])


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (b"FLAGS", b"* 1 FETCH (FLAGS ())\r\n"),
        (b"(UID FLAGS)", b"* 1 FETCH (UID 1 FLAGS ())\r\n"),
        (b"(UID RFC822.SIZE)", b"* 1 FETCH (UID 1 RFC822.SIZE 264)\r\n"),
        (b"INTERNALDATE", b'* 1 FETCH (INTERNALDATE "14-Nov-2023 22:13:20 +0000")\r\n'),
        (
            b"BODY.PEEK[HEADER.FIELDS (Subject)]",
            b"* 1 FETCH (BODY[HEADER.FIELDS (Subject)] {19}\r\nSubject: Sortie\r\n\r\n)\r\n",
        ),
        (
            b"BODY.PEEK[HEADER.FIELDS (Subject)]<9.4>",
            b"* 1 FETCH (BODY[HEADER.FIELDS (Subject)]<9> {4}\r\nSort)\r\n",
        ),
        (b"(UID BODY.PEEK[1])", b"* 1 FETCH (UID 1 BODY[1] {7}\r\nBonjour)\r\n"),
        (b"BODY.PEEK[2.MIME]", b"* 1 FETCH (BODY[2.MIME] {27}\r\nContent-Type: text/html\r\n\r\n)\r\n"),
        (b"BODY.PEEK[3]", b"* 1 FETCH (BODY[3] NIL)\r\n"),
        (b"BODY.PEEK[]<0.5>", b"* 1 FETCH (BODY[]<0> {5}\r\nFrom:)\r\n"),
        (b"BODY.PEEK[]<1000.5>", b"* 1 FETCH (BODY[]<1000> {0}\r\n)\r\n"),
        (
            b"BODY.PEEK[HEADER.FIELDS.NOT (From Content-Type MIME-Version)]",
            b"* 1 FETCH (BODY[HEADER.FIELDS.NOT (From Content-Type MIME-Version)] {19}\r\nSubject: Sortie\r\n\r\n)\r\n",
        ),
        (b"RFC822.HEADER", b"* 1 FETCH (RFC822.HEADER {131}\r\n" + MULTIPART[:131] + b")\r\n"),
        (b"(BODY.PEEK[1]<0.3> BODY.PEEK[2])", b"* 1 FETCH (BODY[1]<0> {3}\r\nBon BODY[2] {8}\r\n<p>x</p>)\r\n"),
    ],
    ids=lambda value: value.decode()[:40] if isinstance(value, bytes) and not value.startswith(b"*") else "",
)
def test_items(items: bytes, expected: bytes) -> None:
    size = len(MULTIPART)
    head = MULTIPART.index(b"\r\n\r\n") + 4
    expected = expected.replace(b"RFC822.SIZE 264", b"RFC822.SIZE %d" % size)
    expected = expected.replace(b"{131}\r\n" + MULTIPART[:131], b"{%d}\r\n%b" % (head, MULTIPART[:head]))
    assert fetched(client_with(MULTIPART), b"FETCH 1 " + items) == expected


def test_the_whole_message_comes_back_octet_by_octet() -> None:
    sent = fetched(client_with(MULTIPART), b"FETCH 1 BODY.PEEK[]")
    assert sent == b"* 1 FETCH (BODY[] {%d}\r\n%b)\r\n" % (len(MULTIPART), MULTIPART)


def test_a_large_message_comes_in_pieces_with_partial_ranges() -> None:
    message = b"Subject: large\r\n\r\n" + b"".join(b"%078d\r\n" % n for n in range(10_000))
    client = client_with(message)
    pieces = [step for step in client.begin(b"FETCH 1 BODY.PEEK[]") if isinstance(step, bytes)]
    assert max(map(len, pieces)) <= 131_072
    assert b"".join(pieces) == b"* 1 FETCH (BODY[] {%d}\r\n%b)\r\n" % (len(message), message)
    for offset, length in ((0, 10), (200_000, 300_000), (len(message) - 3, 100)):
        part = message[offset : offset + length]
        sent = fetched(client, b"FETCH 1 BODY.PEEK[]<%d.%d>" % (offset, length))
        assert sent == b"* 1 FETCH (BODY[]<%d> {%d}\r\n%b)\r\n" % (offset, len(part), part)
    assert fetched(client, b"FETCH 1 BODY.PEEK[TEXT]<0.4>") == b"* 1 FETCH (BODY[TEXT]<0> {4}\r\n0000)\r\n"
    assert fetched(client, b"FETCH 1 BODY.PEEK[1]<1.4>") == b"* 1 FETCH (BODY[1]<1> {4}\r\n0000)\r\n"


def test_uid_fetch_answers_with_uids_asked_for_or_not() -> None:
    client = client_with(b"A: b\r\n\r\n")
    assert fetched(client, b"UID FETCH 1 FLAGS") == b"* 1 FETCH (UID 1 FLAGS ())\r\n"
    assert fetched(client, b"UID FETCH 1 RFC822.SIZE") == b"* 1 FETCH (UID 1 RFC822.SIZE 8)\r\n"
    assert fetched(client, b"UID FETCH 99 FLAGS") == b""


def test_batches_are_the_same_as_one_by_one() -> None:
    client = Client()
    client.fill(ROWS * 2 + 7)
    client.say(b"SELECT INBOX")
    items = b"(UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (Subject)])"
    together = fetched(client, b"FETCH 1:* " + items)
    single = b"".join(fetched(client, b"FETCH %d %b" % (n, items)) for n in range(1, ROWS * 2 + 8))
    assert together == single
    scattered = fetched(client, b"FETCH 1,3,70:71,135 " + items)
    assert re.findall(rb"Subject: (\d+)", scattered) == [b"1", b"3", b"70", b"71", b"135"]


def test_reading_marks_as_seen_once_and_tells_so() -> None:
    client = client_with(b"A: b\r\n\r\nx", b"A: b\r\n\r\ny")
    client.say(b"STORE 2 +FLAGS.SILENT (\\Seen)")
    before = client.session.selected.mailbox.highestmodseq
    sent = fetched(client, b"FETCH 1:2 BODY[TEXT]")
    assert sent == (b"* 1 FETCH (FLAGS (\\Seen) BODY[TEXT] {1}\r\nx)\r\n* 2 FETCH (FLAGS (\\Seen) BODY[TEXT] {1}\r\ny)\r\n")
    assert client.session.selected.mailbox.highestmodseq == before + 1
    assert fetched(client, b"FETCH 1:2 BODY[TEXT]") == (
        b"* 1 FETCH (BODY[TEXT] {1}\r\nx)\r\n* 2 FETCH (BODY[TEXT] {1}\r\ny)\r\n"
    )


def test_reading_in_a_read_only_mailbox_marks_nothing() -> None:
    client = Client()
    client.add(b"A: b\r\n\r\nx")
    client.say(b"EXAMINE INBOX")
    assert fetched(client, b"FETCH 1 BODY[TEXT]") == b"* 1 FETCH (BODY[TEXT] {1}\r\nx)\r\n"
    assert fetched(client, b"FETCH 1 FLAGS") == b"* 1 FETCH (FLAGS ())\r\n"


def test_a_group_is_marked_when_its_turn_comes() -> None:
    client = Client()
    client.fill(600)
    client.say(b"SELECT INBOX")
    works = 0
    steps = client.begin(b"FETCH 1:* BODY[TEXT]")
    value: object = None
    texts = 0
    while texts < 300:
        step = steps.send(value)
        value = None
        if isinstance(step, Work):
            works += 1
            value = step.call()
        elif isinstance(step, bytes):
            texts += step.count(b"FETCH (")
    steps.close()  # the client leaves
    assert works == 2
    client.session.selected.mailbox.refresh()
    assert sum(mask & 1 for mask in client.session.selected.mailbox.flags) == 512


def test_messages_expunged_by_others_are_left_out_and_the_answer_is_no() -> None:
    client = client_with(*[b"A: b\r\n\r\n%d" % n for n in range(1, 6)])
    gone(client, 2, 4)
    for items in (b"FLAGS", b"RFC822.SIZE", b"BODY.PEEK[TEXT]", b"(FLAGS BODY.PEEK[HEADER.FIELDS (A)])"):
        client.session.selected.mailbox.refresh()
        sent, answer = run_steps(client.begin(b"FETCH 1:5 " + items))
        assert answer == b"NO [EXPUNGEISSUED] Some messages are gone"
        assert [int(n) for n in re.findall(rb"\* (\d+) FETCH", sent)] == [1, 3, 5]
        assert b"EXPUNGE\r\n" not in sent
    assert fetched(client, b"UID FETCH 1:5 RFC822.SIZE").count(b" FETCH ") == 3


def test_a_message_expunged_while_others_are_sent() -> None:
    client = Client()
    client.fill(ROWS * 3)
    client.say(b"SELECT INBOX")
    steps = client.begin(b"FETCH 1:* (FLAGS RFC822.SIZE)")
    first = next(steps)
    assert isinstance(first, bytes)
    gone(client, ROWS + 1, ROWS * 2 + 1)
    client.session.selected.mailbox.refresh()
    sent, answer = run_steps(steps)
    numbers = [int(n) for n in re.findall(rb"\* (\d+) FETCH", first + sent)]
    assert numbers == [n for n in range(1, ROWS * 3 + 1) if n not in (ROWS + 1, ROWS * 2 + 1)]
    assert answer.startswith(b"NO [EXPUNGEISSUED]")


class Failing:
    """A reader whose disk fails behind `good` octets."""

    def __init__(self, size: int, good: int) -> None:
        self.size = size
        self._good = good

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        end = self.size if length is None else min(self.size, offset + length)
        if end > self._good:
            raise Unavailable("I/O error")
        return b"x" * (end - offset)

    def close(self) -> None:
        pass

    def __enter__(self) -> MessageReader:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def test_a_message_that_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(b"A: b\r\n\r\n1", b"A: b\r\n\r\n2")
    reading = client.account.mail.read_message
    mail_type = type(client.account.mail)
    monkeypatch.setattr(
        mail_type, "read_message", lambda self, mailbox, uid: Failing(1000, 0) if uid == 1 else reading(mailbox, uid)
    )
    sent, answer = run_steps(client.begin(b"FETCH 1:2 BODY.PEEK[TEXT]"))
    assert sent == b"* 2 FETCH (BODY[TEXT] {1}\r\n2)\r\n"
    assert answer.startswith(b"NO [UNAVAILABLE]")


def test_half_a_literal_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_with(b"A: b\r\n\r\n1")
    monkeypatch.setattr(type(client.account.mail), "read_message", lambda self, mailbox, uid: Failing(1_000_000, 500_000))
    with pytest.raises(BrokenAnswer):
        run_steps(client.begin(b"FETCH 1 BODY.PEEK[]"))


def test_changed_since_leaves_what_did_not_change() -> None:
    client = Client()
    client.fill(4)
    client.say(b"SELECT INBOX")
    since = client.session.selected.mailbox.highestmodseq
    client.say(b"STORE 2,4 +FLAGS.SILENT (\\Flagged)")
    sent = fetched(client, b"FETCH 1:3 (FLAGS) (CHANGEDSINCE %d)" % since)
    assert client.session.condstore
    told, fetch = sent.split(b"\r\n")[:-1]
    assert told.startswith(b"* OK [HIGHESTMODSEQ ")
    assert fetch == b"* 2 FETCH (UID 2 FLAGS (\\Flagged) MODSEQ (%d))" % (since + 1)


def test_positions_are_cut_into_groups() -> None:
    groups = list(cut_positions([range(5), range(7, 8), range(10, 14)], 4))
    assert groups == [[range(4)], [range(4, 5), range(7, 8), range(10, 12)], [range(12, 14)]]


def test_changed_positions_join_runs() -> None:
    client = Client()
    client.fill(10)
    client.say(b"SELECT INBOX")
    view = client.session.selected
    changed = [Uid(uid) for uid in (1, 3, 4, 5, 9)]
    assert changed_positions(view, [range(2, 6), range(8, 10)], 0, changed) == [range(2, 5), range(8, 9)]
    assert changed_positions(view, [range(10)], view.mailbox.highestmodseq, changed) == []
