"""SORT (RFC 5256, RFC 5957)."""

import random

import pytest

from imap_steps import Client, make_site
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
    sizes = MemoryMail.sizes
    monkeypatch.setattr(MemoryMail, "sizes", lambda self, mailbox, uids: sizes(self, mailbox, [Uid(u) for u in uids if u != 2]))
    assert client.say(b"SORT (SIZE) UTF-8 ALL")[0] == ["* SORT 2 4 3 1"]


def test_what_could_not_be_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    client.add(*MESSAGES)
    client.say(b"SELECT INBOX")
    sizes = MemoryMail.sizes
    with monkeypatch.context() as broken:
        broken.setattr(MemoryMail, "sizes", lambda self, mailbox, uids: sizes(self, mailbox, [Uid(u) for u in uids if u != 1]))
        assert client.say(b"SORT (SIZE) UTF-8 ALL")[0] == ["* SORT 1 4 2 3"]
    assert client.say(b"SORT (SIZE) UTF-8 ALL")[0] == ["* SORT 4 2 3 1"]


def test_what_was_read_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    client.add(*MESSAGES)
    client.say(b"SELECT INBOX")
    asked: list[list[Uid]] = []
    sizes = MemoryMail.sizes

    def watched(self: MemoryMail, mailbox: object, uids: list[Uid]) -> list[tuple[Uid, int, int]]:
        asked.append(list(uids))
        return list(sizes(self, mailbox, uids))  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(MemoryMail, "sizes", watched)
    other = Client(client.store, client.site)
    other.say(b"SELECT INBOX")
    for _ in range(2):
        assert client.say(b"SORT (SIZE) UTF-8 ALL")[0] == ["* SORT 4 2 3 1"]
        assert other.say(b"SORT (REVERSE SIZE) UTF-8 ALL")[0] == ["* SORT 1 3 2 4"]
    client.add(b"Subject: short\r\n\r\n")
    client.say(b"NOOP")
    assert client.say(b"SORT (SIZE) UTF-8 ALL")[0] == ["* SORT 5 4 2 3 1"]
    client.say(b"STORE 2 +FLAGS (\\Deleted)")
    client.say(b"EXPUNGE")
    assert client.say(b"SORT (SIZE) UTF-8 ALL")[0] == ["* SORT 4 3 2 1"]
    assert list(client.session.selected.kept.table.uids) == [1, 3, 4, 5]
    assert client.say(b"UID SORT (SIZE) UTF-8 ALL")[0] == ["* SORT 5 4 3 1"]
    assert asked == [[1, 2, 3, 4], [5]]


def test_an_order_that_is_kept_is_that_of_the_moment() -> None:
    """Two sessions share it, mail comes and goes: always as somebody finds it who looks for the first time."""
    dice = random.Random(5256)
    one = Client()
    two = Client(one.store, one.site)
    subjects = (b"banane", b"Re: banane", b"Abricot", b"\xc3\xa9t\xc3\xa9", b"")
    names = (b"a", b"b", b"c")
    orders = (b"SUBJECT", b"REVERSE SUBJECT", b"DATE", b"SUBJECT REVERSE DATE", b"REVERSE FROM SIZE", b"DISPLAYTO", b"ARRIVAL")

    def deliver() -> None:
        one.add(
            b"From: %b@x.example\r\nTo: %b <a@x>\r\nSubject: %b\r\nDate: %d Jan 2024 00:00:00 +0000\r\n\r\n%b"
            % (dice.choice(names), dice.choice(names), dice.choice(subjects), dice.randrange(1, 9), b"x" * dice.randrange(9))
        )

    for _ in range(8):
        deliver()
    for client in (one, two):
        client.say(b"SELECT INBOX")
    for _ in range(150):
        match dice.randrange(6):
            case 0 | 1:
                deliver()
            case 2:
                victim = one.account.mail.open(one.account.mail.find("INBOX").id).uids
                if len(victim) > 4:
                    one.say(b"UID STORE %d +FLAGS (\\Deleted)" % dice.choice(victim))
                    one.say(b"EXPUNGE")
            case _:
                pass
        client = dice.choice((one, two))
        if dice.random() < 0.6:
            client.say(b"NOOP")  # without it a session still counts what has gone
        what = dice.choice((b"ALL", b"ALL", b"SUBJECT banane", b"UNDELETED", b"LARGER 110", b"UID 3:7"))
        line = b"SORT (%b) UTF-8 %b" % (dice.choice(orders), what)
        if dice.random() < 0.3:
            line = b"THREAD %b UTF-8 %b" % (dice.choice((b"REFERENCES", b"ORDEREDSUBJECT")), what)
        stranger = Client(one.store, make_site())
        stranger.say(b"SELECT INBOX")
        view = client.session.selected
        known = list(view.uids[: view.count])
        there = set(stranger.session.selected.uids)
        numbers = answer_of(client, line)
        if len(known) == len(there.union(known)):
            uids = [number and known[number - 1] for number in numbers]
            assert uids == answer_of(stranger, b"UID " + line)
        else:
            assert {known[number - 1] for number in numbers if number} <= there
        assert answer_of(client, b"UID " + line) == answer_of(stranger, b"UID " + line)


def answer_of(client: Client, line: bytes) -> list[int]:
    """Numbers of the SORT or THREAD line, in order; 0 for a parenthesis."""
    lines, answer = client.say(line)
    assert answer.startswith("OK ")
    (told,) = [line for line in lines if line.startswith(("* SORT", "* THREAD"))]
    return [int(word) for word in told.replace("(", " 0 ").replace(")", " 0 ").split()[2:]]
