"""Mailboxes that sessions of this process have selected, and who is to be told when they change.

Owns one entry a mailbox: the store's OpenMailbox, the texts of its flags, what SORT and THREAD keep, its sessions. A change
said by the store's bus makes the mailbox refresh once, however many changes were said before this process got round to it,
and then every session on it is told that there may be news. Never writes to a client.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..storage.api import AccountId, Change, MailboxId, OpenMailbox, StoreError
from .kept import Kept, Shelf
from .session import Session
from .view import FlagTexts, View

_Key = tuple[AccountId, MailboxId]


@dataclass(slots=True)
class _Watched:
    mailbox: OpenMailbox
    texts: FlagTexts
    kept: Kept
    sessions: set[Session] = field(default_factory=set)


class Watch:
    """The selected mailboxes of a process. On the loop's thread only, but for concerns()."""

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """`soon` calls a function at the loop's next turn."""
        self._soon = soon
        self._watched: dict[_Key, _Watched] = {}
        self._changed: set[_Key] = set()
        self._shelf = Shelf()

    def open(self, session: Session, mailbox: MailboxId, *, read_only: bool) -> View:
        """Select for a session. Raise NotFound."""
        assert session.account is not None
        opened = session.account.mail.open(mailbox)
        key = (session.account.id, mailbox)
        watched = self._watched.get(key)
        if watched is None or watched.mailbox is not opened:
            if watched is not None:
                self._shelf.drop(watched.kept)
            watched = self._watched[key] = _Watched(opened, FlagTexts(opened), Kept(self._shelf))
        watched.sessions.add(session)
        # Behind the entry: what is committed from now on is either seen here or told to concerns().
        try:
            opened.refresh()
        except StoreError:
            self._leave(session, key, watched)
            opened.close()
            raise
        return View(opened, watched.texts, watched.kept, read_only=read_only)

    def close(self, session: Session) -> None:
        """Let go of what the session has selected, if anything."""
        if session.view is None or session.account is None:
            return
        key = (session.account.id, session.view.mailbox.id)
        watched = self._watched.get(key)
        if watched is not None and watched.mailbox is session.view.mailbox:
            self._leave(session, key, watched)
        else:
            self._shelf.drop(session.view.kept)  # of a mailbox that was deleted, and is there again under its number
        session.view.mailbox.close()

    def _leave(self, session: Session, key: _Key, watched: _Watched) -> None:
        watched.sessions.discard(session)
        if not watched.sessions:
            del self._watched[key]
            self._shelf.drop(watched.kept)

    def concerns(self, change: Change) -> bool:
        """Whether somebody here has selected what changed. From any thread."""
        return (change.account, change.object) in self._watched

    def change(self, change: Change) -> None:
        """The bus says that something was committed."""
        key = (change.account, MailboxId(change.object))
        if key in self._watched:
            if not self._changed:
                self._soon(self._look)
            self._changed.add(key)

    def poll(self) -> None:
        """Look at every mailbox that somebody idles on: changes that were said and lost, and foreign hands in the Maildir."""
        idle = {key for key, watched in self._watched.items() if any(session.news for session in watched.sessions)}
        if idle and not self._changed:
            self._soon(self._look)
        self._changed |= idle

    def _look(self) -> None:
        changed, self._changed = self._changed, set()
        for key in changed:
            watched = self._watched.get(key)
            if watched is None:
                continue
            # Told even if refresh() finds nothing: a command of another session here may have looked before.
            watched.mailbox.refresh()
            for session in list(watched.sessions):
                if session.news is not None:
                    session.news()
