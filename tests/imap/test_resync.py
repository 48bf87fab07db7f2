"""What a client that comes back is told (RFC 7162 section 3.2)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imap_steps import Client
from preau.imap.resync import absent, matched_uid, render_ranges, runs
from preau.imap.sequence import parse_sequence_set
from preau.storage.api import FlagOp, Uid
from preau.storage.memory_mail import MemoryMail


def client_with(count: int, *, gone: list[int]) -> tuple[Client, int, int]:
    """(client, UIDVALIDITY, HIGHESTMODSEQ before some went); QRESYNC is enabled, nothing selected."""
    client = Client()
    client.fill(count)
    mail = client.account.mail
    info = mail.find("INBOX")
    before = mail.status([info.id])[0].highestmodseq
    remove(client, gone)
    client.say(b"ENABLE QRESYNC")
    return client, info.uidvalidity, before


def remove(client: Client, gone: list[int]) -> None:
    mail, uids = client.account.mail, [Uid(uid) for uid in gone]
    mail.store_flags(mail.find("INBOX").id, uids, FlagOp.ADD, frozenset({"\\Deleted"}))
    mail.expunge(mail.find("INBOX").id, uids)


def told(client: Client, line: bytes) -> list[str]:
    """VANISHED and FETCH lines of an answer that went well."""
    lines, answer = client.say(line)
    assert answer.startswith("OK "), answer
    return [line for line in lines if "VANISHED" in line or "FETCH" in line]


def test_enable_qresync_brings_condstore() -> None:
    client = Client()
    assert client.say(b"ENABLE QRESYNC CONDSTORE")[0] == ["* ENABLED CONDSTORE QRESYNC"]
    assert client.session.condstore
    assert client.say(b"ENABLE QRESYNC")[0] == ["* ENABLED"]
    other = Client()
    assert other.say(b"ENABLE QRESYNC")[0] == ["* ENABLED QRESYNC"]
    assert other.session.condstore


@pytest.mark.parametrize("line", [b"SELECT INBOX (QRESYNC (1 1))", b"UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)"])
def test_not_enabled(line: bytes) -> None:
    client = Client()
    client.say(b"SELECT INBOX")
    assert client.say(line)[1] == "BAD QRESYNC is not enabled"
    assert client.session.view is not None  # section 3.2.5: verified before a mailbox is closed


@pytest.mark.parametrize(
    ("parameters", "vanished"),
    [
        (b"", "2:3,6"),
        (b" 1:9", "2:3,6"),
        (b" 3:7", "3,6"),
        (b" 1,4", None),
        (b" 1:9 (1:2 1,4)", "6"),
        (b" (1:3 1,4:5)", "6"),
        (b" (1,2 1,3)", "2:3,6"),
        (b" (1:4294967295 1:4294967295)", "2:3,6"),
        (b" (5 8)", None),
    ],
)
@pytest.mark.parametrize("forgotten", [False, True])
def test_select_tells_what_went(
    parameters: bytes, vanished: str | None, forgotten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, validity, before = client_with(8, gone=[2, 3, 6])
    if forgotten:
        monkeypatch.setattr(MemoryMail, "vanished_since", lambda self, mailbox, modseq: None)
    lines = told(client, b"SELECT INBOX (QRESYNC (%d %d%b))" % (validity, before, parameters))
    assert lines == ([f"* VANISHED (EARLIER) {vanished}"] if vanished else [])


def test_select_tells_flags_of_known_messages_only() -> None:
    client, validity, before = client_with(4, gone=[])
    mail = client.account.mail
    mail.store_flags(mail.find("INBOX").id, [Uid(2), Uid(4)], FlagOp.ADD, frozenset({"\\Seen"}))
    after = before + 1
    line = b"SELECT INBOX (QRESYNC (%d %d%b))"
    both = [f"* {n} FETCH (UID {n} FLAGS (\\Seen) MODSEQ ({after}))" for n in (2, 4)]
    assert told(client, line % (validity, before, b"")) == both
    assert told(client, line % (validity, before, b" 1:3")) == both[:1]
    assert told(client, line % (validity, after, b"")) == []
    assert told(client, line % (validity + 1, before, b"")) == []


def test_fetch_reports_the_end_of_the_mailbox_too() -> None:
    """`1:*` of who asks what vanished goes to the last UID ever given."""
    client, _, before = client_with(3, gone=[1, 2, 3])
    client.say(b"SELECT INBOX")
    assert told(client, b"UID FETCH 1:* FLAGS (CHANGEDSINCE %d VANISHED)" % before) == ["* VANISHED (EARLIER) 1:3"]
    assert told(client, b"UID FETCH 2 FLAGS (CHANGEDSINCE %d VANISHED)" % before) == ["* VANISHED (EARLIER) 2"]


def test_vanished_stands_for_expunge() -> None:
    client, _, before = client_with(5, gone=[])
    client.say(b"SELECT INBOX")
    remove(client, [2, 3])
    owed = f"* OK [HIGHESTMODSEQ {before}] More is told later"  # section 3.2: what it may come back with
    assert client.say(b"FETCH 1 UID")[0] == ["* 1 FETCH (UID 1)", owed]
    assert client.say(b"NOOP")[0] == ["* VANISHED 2:3"]
    remove(client, [5])
    lines = told(client, b"UID FETCH 1:* FLAGS (CHANGEDSINCE %d VANISHED)" % before)
    assert lines == ["* VANISHED 5", "* VANISHED (EARLIER) 2:3,5"]
    client.say(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
    lines, answer = client.say(b"EXPUNGE")
    assert lines == ["* VANISHED 1"]
    assert answer.startswith("OK [HIGHESTMODSEQ ")
    assert client.say(b"CLOSE") == ([], "OK CLOSE completed")  # section 3.2.8: no HIGHESTMODSEQ


def test_a_body_that_marks_carries_uid_and_modseq() -> None:
    client, _, _ = client_with(1, gone=[])
    client.say(b"SELECT INBOX")
    line = told(client, b"FETCH 1 BODY[TEXT]")[0]
    assert "UID 1" in line
    assert "MODSEQ (" in line


def test_ranges() -> None:
    assert render_ranges(runs([1, 2, 3, 5, 9, 10])) == b"1:3,5,9:10"
    assert runs([]) == []
    assert absent([3, 5], 2, [(1, 4294967294)]) == [(1, 2), (4, 4), (6, 4294967294)]
    assert absent([3, 5], 1, [(3, 5)]) == [(4, 5)]


@settings(max_examples=60)
@given(st.sets(st.integers(1, 60)), st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=4))
def test_absent_is_what_is_not_there(there: set[int], pieces: list[tuple[int, int]]) -> None:
    bounds = []
    low = 0
    for step, length in pieces:
        low += step
        bounds.append((low, low + length))
        low += length + 1
    uids = sorted(there)
    wanted = {n for first, last in bounds for n in range(first, last + 1)} - there
    found = absent(uids, len(uids), bounds)
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(wanted)


def test_matched_uid_stops_at_the_first_difference() -> None:
    client, _, _ = client_with(6, gone=[2])
    client.say(b"SELECT INBOX")
    view = client.session.selected

    def matched(numbers: bytes, uids: bytes) -> int:
        return matched_uid(view, parse_sequence_set(numbers), parse_sequence_set(uids))

    assert matched(b"1:3", b"1,3:4") == 4
    assert matched(b"1:3", b"1:3") == 1
    assert matched(b"9", b"9") == 0
