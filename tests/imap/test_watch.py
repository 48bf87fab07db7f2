"""Who is told that a mailbox changed."""

from collections.abc import Callable

import pytest

from imap_steps import ACCOUNT, Client, make_site
from preau.imap.kept import Shelf, Table
from preau.imap.session import Session
from preau.imap.watch import Watch
from preau.storage.api import AccountId, Change, MailboxId, Unavailable
from preau.storage.memory import MemoryStore


class Turns:
    """A loop that turns when told."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def soon(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def turn(self) -> int:
        calls, self.calls = self.calls, []
        for call in calls:
            call()
        return len(calls)


def two_sessions() -> tuple[Turns, Watch, list[Session], MailboxId, list[str], Client]:
    turns = Turns()
    watch = Watch(turns.soon)
    store = MemoryStore()
    told: list[str] = []
    sessions = []
    client = Client(store, make_site())
    mailbox = client.account.mail.find("INBOX").id
    for name in ("one", "two"):
        session = Session(make_site())
        session.account = client.account
        session.news = lambda name=name: told.append(name)
        session.view = watch.open(session, mailbox, read_only=False)
        sessions.append(session)
    return turns, watch, sessions, mailbox, told, client


def test_many_changes_are_one_look_and_all_sessions_hear_of_it() -> None:
    turns, watch, sessions, mailbox, told, client = two_sessions()
    client.fill(3)
    for modseq in range(3):
        watch.change(Change(ACCOUNT, mailbox, modseq))
    assert told == []
    assert turns.turn() == 1
    assert sorted(told) == ["one", "two"]
    assert sessions[0].view is not None
    assert len(sessions[0].view.mailbox.uids) == 3


def test_sessions_share_the_mailbox_and_the_texts_of_flags() -> None:
    _, _, (one, two), _, _, _ = two_sessions()
    assert one.view is not None
    assert two.view is not None
    assert one.view.mailbox is two.view.mailbox
    assert one.view.texts is two.view.texts


def test_changes_elsewhere_are_nobodys_business() -> None:
    turns, watch, _, mailbox, told, _ = two_sessions()
    watch.change(Change(ACCOUNT, mailbox + 1, 1))
    watch.change(Change(ACCOUNT, 0, 1))
    assert turns.turn() == 0
    assert told == []


def test_who_left_is_not_told() -> None:
    turns, watch, (one, two), mailbox, told, _ = two_sessions()
    watch.close(one)
    one.view = None
    watch.change(Change(ACCOUNT, mailbox, 1))
    watch.poll()
    turns.turn()
    assert told == ["two"]
    watch.close(two)
    watch.change(Change(ACCOUNT, mailbox, 1))
    assert turns.turn() == 0


def test_a_poll_looks_at_what_somebody_may_idle_on() -> None:
    turns, watch, (one, two), _, told, _ = two_sessions()
    watch.poll()
    turns.turn()
    assert sorted(told) == ["one", "two"]
    one.news = two.news = None
    watch.poll()
    assert turns.turn() == 0


def test_only_what_is_selected_concerns_anybody() -> None:
    _, watch, (one, two), mailbox, _, _ = two_sessions()
    assert watch.concerns(Change(ACCOUNT, mailbox, 1))
    assert not watch.concerns(Change(ACCOUNT, mailbox + 1, 1))
    assert not watch.concerns(Change(AccountId("b" * 26), mailbox, 1))
    watch.close(one)
    assert watch.concerns(Change(ACCOUNT, mailbox, 1))
    watch.close(two)
    assert not watch.concerns(Change(ACCOUNT, mailbox, 1))


def test_who_selects_is_told_of_before_the_mailbox_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is committed in between would be neither seen nor told."""
    watch = Watch(lambda call: call())
    client = Client(MemoryStore(), make_site())
    mailbox = client.account.mail.find("INBOX").id
    session = Session(make_site())
    session.account = client.account
    opened = client.account.mail.open(mailbox)
    concerned: list[bool] = []

    def look(self: object) -> bool:
        concerned.append(watch.concerns(Change(ACCOUNT, mailbox, 1)))
        return False

    monkeypatch.setattr(type(opened), "refresh", look)
    watch.open(session, mailbox, read_only=False)
    assert concerned == [True]

    def fail(self: object) -> bool:
        raise Unavailable("no disk")

    other = Session(make_site())
    other.account = client.account
    monkeypatch.setattr(type(opened), "refresh", fail)
    with pytest.raises(Unavailable):
        watch.open(other, mailbox, read_only=False)
    assert watch.concerns(Change(ACCOUNT, mailbox, 1))


def test_what_is_kept_goes_with_the_last_session(monkeypatch: pytest.MonkeyPatch) -> None:
    _, watch, (one, two), mailbox, _, _ = two_sessions()
    shelf = Shelf()
    assert one.view is not None
    assert two.view is not None
    assert one.view.kept is two.view.kept
    monkeypatch.setattr(one.view.kept, "_shelf", shelf)
    monkeypatch.setattr(watch, "_shelf", shelf)
    one.view.kept.take(Table(1, one.view.uids, {}))
    watch.close(one)
    assert len(shelf) == 1
    two.view.mailbox = one.account.mail.open(mailbox)  # type: ignore[union-attr]  # signed in
    monkeypatch.setattr(watch, "_watched", {})  # deleted and made again meanwhile
    watch.close(two)
    assert len(shelf) == 0
