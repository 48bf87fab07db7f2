"""SORT (RFC 5256, RFC 5957)."""

import pytest

from imap_steps import Client
from preau.storage.api import Uid
from preau.storage.memory_mail import MemoryMail

MESSAGES = (
    b"From: Zoe <zoe@ecole.example>\r\nTo: Bob <bob@x.example>\r\nSubject: Re: banane\r\n"
    b"Date: Tue, 2 Jan 2024 10:00:00 +0100\r\n\r\n" + b"x" * 300,
    b'From: "alain" <q@ecole.example>\r\nTo: ann@x.example\r\nSubject: Abricot\r\nDate: Tue, 2 Jan 2024 09:30:00 +0000\r\n\r\n',
    b"Subject: BANANE\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nCc: carl@x.example\r\n\r\n" + b"x" * 100,
    b"From: =?utf-8?q?=C3=89loi?= <eloi@ecole.example>\r\nSubject: \xc3\xa9t\xc3\xa9\r\n\r\nno date",
)


def sorted_by(criteria: bytes, rest: bytes = b"UTF-8 ALL") -> list[str]:
    client = Client()
    client.add(*MESSAGES, date=1_704_150_000)  # Mon, 1 Jan 2024 23:00:00 +0000
    client.say(b"SELECT INBOX")
    lines, answer = client.say(b"SORT (%b) %b" % (criteria, rest))
    assert answer == "OK SORT completed"
    return lines[0].split()[2:]


@pytest.mark.parametrize(
    ("criteria", "order"),
    [
        (b"ARRIVAL", "1 2 3 4"),
        (b"REVERSE ARRIVAL", "1 2 3 4"),  # equal ones stay in the mailbox's order
        (b"SIZE", "4 2 3 1"),
        (b"REVERSE SIZE", "1 3 2 4"),
        (b"DATE", "3 4 1 2"),  # in UTC; without a date by arrival
        (b"SUBJECT", "2 1 3 4"),
        (b"REVERSE SUBJECT", "4 1 3 2"),
        (b"SUBJECT DATE", "2 3 1 4"),
        (b"SUBJECT REVERSE DATE", "2 1 3 4"),
        (b"SUBJECT DATE SUBJECT", "2 3 1 4"),
        (b"FROM", "3 4 2 1"),
        (b"TO", "3 4 2 1"),
        (b"CC", "1 2 4 3"),
        (b"DISPLAYFROM", "3 2 4 1"),
        (b"DISPLAYTO", "3 4 2 1"),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_criteria(criteria: bytes, order: str) -> None:
    assert sorted_by(criteria) == order.split()


def test_only_what_was_found_is_sorted() -> None:
    assert sorted_by(b"SUBJECT", b"UTF-8 SUBJECT banane") == ["1", "3"]
    assert sorted_by(b"SUBJECT", b"US-ASCII TEXT nowhere") == []


def test_uids_modseq_and_refusals() -> None:
    client = Client()
    client.add(*MESSAGES)
    client.say(b"SELECT INBOX")
    client.say(b"STORE 1 +FLAGS (\\Deleted)")
    client.say(b"EXPUNGE")
    assert client.say(b"UID SORT (SIZE) UTF-8 ALL")[0] == ["* SORT 4 2 3"]
    lines, _ = client.say(b"SORT (SIZE) UTF-8 MODSEQ 1")
    assert lines[-1].startswith("* SORT 3 1 2 (MODSEQ ")
    assert client.say(b"SORT (SIZE) KOI8-R ALL")[1].startswith("NO [BADCHARSET ")
    assert client.say(b"SORT RETURN (COUNT) (SIZE) UTF-8 ALL")[1].startswith("BAD ")


def test_messages_that_go_meanwhile_sort_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store no longer has counts as empty."""
    client = Client()
    client.add(*MESSAGES)
    client.say(b"SELECT INBOX")
    facts = MemoryMail.facts
    monkeypatch.setattr(MemoryMail, "facts", lambda self, mailbox, uids: facts(self, mailbox, [Uid(u) for u in uids if u != 2]))
    assert client.say(b"SORT (SIZE) UTF-8 ALL")[0] == ["* SORT 2 4 3 1"]
