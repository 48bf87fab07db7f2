"""What a session is told, and when."""

from typing import Any

import pytest

from imap_steps import Client
from preau.imap.view import SLICE, FlagTexts, View
from preau.storage.api import DELETED, SEEN, FlagOp, Uid


def selected(count: int) -> tuple[Client, View]:
    client = Client()
    client.fill(count)
    client.say(b"SELECT INBOX")
    return client, client.session.selected


def mark(client: Client, uids: list[int], *flags: str, op: FlagOp = FlagOp.ADD) -> None:
    client.account.mail.store_flags(client.session.selected.mailbox.id, [Uid(uid) for uid in uids], op, frozenset(flags))


def expunge(client: Client, *uids: int) -> None:
    mark(client, list(uids), "\\Deleted")
    client.account.mail.expunge(client.session.selected.mailbox.id, [Uid(uid) for uid in uids])


def told(view: View, *, may_expunge: bool = True, **how: Any) -> list[bytes]:
    view.mailbox.refresh()
    return b"".join(view.tell(may_expunge=may_expunge, **how)).split(b"\r\n")[:-1]


def test_nothing_is_told_when_nothing_happened() -> None:
    _, view = selected(3)
    assert told(view) == []


def test_new_mail_is_told_by_exists_without_its_flags() -> None:
    client, view = selected(2)
    client.fill(3)
    assert told(view) == [b"* 5 EXISTS"]
    assert told(view) == []


def test_expunges_are_told_with_numbers_that_move() -> None:
    client, view = selected(5)
    expunge(client, 2, 3, 5)
    assert told(view) == [b"* 2 EXPUNGE", b"* 2 EXPUNGE", b"* 3 EXPUNGE"]
    assert [view.position(uid) for uid in (1, 2, 4)] == [0, -1, 1]


def test_numbers_do_not_move_while_expunge_may_not_be_told() -> None:
    client, view = selected(4)
    expunge(client, 1)
    client.fill(1)
    assert told(view, may_expunge=False) == []
    assert view.position(Uid(4)) == 3
    assert view.owes_expunge()
    assert told(view) == [b"* 1 EXPUNGE", b"* 4 EXISTS"]


def test_a_message_that_came_and_went_unseen_is_not_mentioned() -> None:
    client, view = selected(1)
    uids = client.fill(2)
    expunge(client, uids[0])
    assert told(view) == [b"* 2 EXISTS"]


def test_flags_of_known_messages_are_told_while_an_expunge_is_owed() -> None:
    client, view = selected(3)
    expunge(client, 1)
    mark(client, [3], "\\Flagged")
    assert told(view, may_expunge=False) == [b"* 3 FETCH (FLAGS (\\Flagged))"]
    assert told(view) == [b"* 1 EXPUNGE"]


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ({}, b"* 2 FETCH (FLAGS (\\Seen))"),
        ({"uid": True}, b"* 2 FETCH (UID 2 FLAGS (\\Seen))"),
        ({"modseq": True}, b"* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (%d))"),
    ],
    ids=["plain", "uid", "modseq"],
)
def test_changed_flags(how: dict[str, bool], line: bytes) -> None:
    client, view = selected(3)
    mark(client, [2], "\\Seen")
    lines = told(view, **how)
    assert lines == [line % view.mailbox.highestmodseq if b"%d" in line else line]


def test_keywords_are_told_before_they_are_used() -> None:
    client, view = selected(1)
    mark(client, [1], "$Work")
    assert told(view) == [
        b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Work)",
        b"* OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Work \\*)] Flags kept",
        b"* 1 FETCH (FLAGS ($Work))",
    ]


def test_what_was_answered_is_told_again_only_when_changed_later() -> None:
    client, view = selected(2)
    mark(client, [1, 2], "\\Seen")
    view.mailbox.refresh()
    answered = dict.fromkeys((Uid(1), Uid(2)), int(view.mailbox.highestmodseq))
    mark(client, [2], "\\Draft")
    view.mailbox.refresh()
    assert b"".join(view.tell(may_expunge=False, answered=answered)) == b"* 2 FETCH (FLAGS (\\Seen \\Draft))\r\n"


def test_vanished_names_uids() -> None:
    client, view = selected(5)
    expunge(client, 2, 3, 5)
    assert told(view, vanished=True) == [b"* VANISHED 2:3,5"]


def test_many_changes_come_in_slices() -> None:
    client, view = selected(SLICE * 2 + 10)
    mark(client, list(view.uids), "\\Seen")
    view.mailbox.refresh()
    pieces = list(view.tell(may_expunge=True))
    assert len(pieces) == 3
    assert b"".join(pieces).count(b"FLAGS (\\Seen)") == SLICE * 2 + 10


def test_a_mailbox_that_moves_on_between_two_slices() -> None:
    client, view = selected(SLICE * 2)
    mark(client, list(view.uids), "\\Seen")
    view.mailbox.refresh()
    pieces = view.tell(may_expunge=False)
    first = next(pieces)
    expunge(client, 1, SLICE + 1)
    view.mailbox.refresh()
    rest = b"".join(pieces)
    assert first.count(b"\r\n") == SLICE
    assert rest.count(b"\r\n") == SLICE - 1
    assert rest.startswith(b"* %d FETCH" % (SLICE + 2))


def test_first_unseen() -> None:
    client, view = selected(4)
    assert view.first_unseen() == 1
    mark(client, [1, 2], "\\Seen", "\\Flagged")
    view.mailbox.refresh()
    assert view.first_unseen() == 3
    expunge(client, 3)
    view.mailbox.refresh()
    assert not view.is_current
    assert view.first_unseen() == 4
    mark(client, [4], "\\Seen")
    view.mailbox.refresh()
    assert view.first_unseen() == 0


def test_flag_texts_do_not_grow_without_end() -> None:
    _, view = selected(1)
    texts = FlagTexts(view.mailbox)
    assert texts[SEEN | DELETED] == "\\Seen \\Deleted"
    for mask in range(10_000):
        texts[mask]
    assert len(texts) <= 4096
