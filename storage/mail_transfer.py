"""Messages between mailboxes and out of them: COPY, MOVE, EXPUNGE, and the files that are left over.

COPY links the file into the target (no octet is copied), flushes the directory, then commits the rows. MOVE commits the
row that appears and the one that goes in one transaction: there is no moment in which the message is in neither mailbox.
What goes leaves its file's name in the `unlink` table, in that transaction; the file is removed in the background and the
name cleared, so that a crash between the two never brings mail back (storage-imap.md 4.4).

Owns that order. Never reads a message.
"""

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import apsw

from .api import Copied, MailboxId, NotFound, StoreError, Uid, Unavailable
from .atomic import Directory
from .index_messages import MessageRow, Placed, Removed, now, put_in, read_rows, take_out, translated_flags
from .mail_after import after_transfer
from .mail_append import check_files_lie_in
from .mail_context import MailContext
from .maildir import INFO, file_name

log = logging.getLogger("preau.storage")

_SYSTEM = 31


def find_file(directory: Path, base: str) -> Path | None:
    """The file of a base name, whatever flags its name shows, in cur/ or new/. [listdir]"""
    for part in ("cur", "new"):
        try:
            names = os.listdir(directory / part)
        except OSError:
            continue
        for name in names:
            if name.startswith(base) and name.partition(INFO)[0] == base:
                return directory / part / name
    return None


def transfer(context: MailContext, source: MailboxId, uids: Sequence[Uid], target: MailboxId, *, move: bool) -> Copied:
    """COPY or MOVE; see Mail.copy and Mail.move."""
    context.directory_name(target)  # NotFound for the target comes first
    with context.db.read() as connection:
        rows = read_rows(connection, source, uids)
    links: _Links | None = None
    try:
        links = _Links(context, source, target)
        with context.own_change(target, links.cur) as change:
            for uid, row in rows:
                links.add(uid, row, keep_delivery=move)
        if links.made:
            links.cur.sync()
        made = links.made

        def insert(connection: apsw.Connection) -> tuple[Placed, list[Uid], Removed | None]:
            return _insert(context, connection, source, target, made, move, (change.before, change.after))

        placing, sources, removed = context.db.transact(insert)
    except BaseException as error:
        # After an error of the disk the commit is in doubt: then the links stay, for adoption to judge.
        if links is not None and not isinstance(error, Unavailable):
            links.take_back(links.made)
        if isinstance(error, FileNotFoundError):
            raise NotFound("the mailbox has gone") from error
        raise
    if len(sources) < len(links.made):
        links.take_back(links.made.keys() - set(sources))
    pairs = list(zip(sources, placing.uids, strict=True))
    after_transfer(context, source, target, pairs, placing, removed)
    return Copied(placing.uidvalidity, sources, placing.uids)


@dataclass(frozen=True, slots=True)
class _Link:
    """A file's second name: its base, and the flags it shows."""

    base: str
    shown: int

    @property
    def name(self) -> str:
        return file_name(self.base, self.shown)


class _Links:
    """The links of one transfer, by the source's UID."""

    def __init__(self, context: MailContext, source: MailboxId, target: MailboxId) -> None:
        """Raise NotFound, FileNotFoundError, Unavailable."""
        self.cur = context.cur(target)
        self.made: dict[Uid, _Link] = {}
        self._context = context
        self._from = context.cur(source)

    def add(self, uid: Uid, row: MessageRow, *, keep_delivery: bool) -> None:
        """A link of the message's file, unless that has gone. Raise FileNotFoundError (the target), Unavailable."""
        base = self._context.new_base(size=row.size, email_id=row.email_id, delivery=row.delivery if keep_delivery else None)
        link = _Link(base, row.fflags & _SYSTEM)
        try:
            self._from.link(file_name(row.fname, row.fflags), self.cur, link.name)
        except FileNotFoundError:
            found = find_file(self._from.path.parent, row.fname)
            if found is None:
                return
            try:
                Directory(found.parent).link(found.name, self.cur, link.name)
            except FileNotFoundError:
                return
        self.made[uid] = link

    def take_back(self, uids: Iterable[Uid]) -> None:
        """Remove links whose rows were not put in."""
        for uid in uids:
            with contextlib.suppress(StoreError):
                self.cur.unlink(self.made[uid].name)


def _insert(
    context: MailContext,
    connection: apsw.Connection,
    source: MailboxId,
    target: MailboxId,
    linked: Mapping[Uid, _Link],
    move: bool,
    mtimes: tuple[int, int],
) -> tuple[Placed, list[Uid], Removed | None]:
    # Read again: flags may have changed, and messages gone, since the links were made.
    present = read_rows(connection, source, list(linked))
    sources = [uid for uid, _ in present]
    saved = now()
    rows = translated_flags(connection, source, target, [row for _, row in present])
    rows = [
        replace(
            row,
            # Not those of the row as it is now: what a name was given since would be taken for a change by others.
            fflags=linked[uid].shown,
            savedate=saved,
            delivery=row.delivery if move else None,
            fname=linked[uid].base,
        )
        for uid, row in zip(sources, rows, strict=True)
    ]
    removed = take_out(connection, source, sources, only_deleted=False) if move else None
    # A move never fails for lack of room: it takes none.
    placed = put_in(connection, target, rows, room=None if move else context.quota, mtimes=mtimes, ours=True)
    check_files_lie_in(context.cur(target, check=False), rows, placed)
    return placed, sources, removed
