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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import apsw

from . import atomic
from .api import Copied, MailboxId, NotFound, StoreError, Uid, Unavailable
from .index_mailboxes import note_own_change
from .index_messages import MessageRow, Placed, Removed, now, put_in, read_rows, take_out, translated_flags
from .mail_after import after_transfer
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
    target_cur = context.directory(target) / "cur"
    source_directory = context.directory(source)
    with context.db.read() as connection:
        rows = dict(read_rows(connection, source, uids))
    linked: dict[Uid, str] = {}
    placed: list[Path] = []
    try:
        with context.own_change(target, target_cur) as change:
            for uid, row in rows.items():
                base = _link(context, source_directory, target_cur, row, keep_delivery=move)
                if base is not None:
                    linked[uid] = base
                    placed.append(target_cur / file_name(base, row.fflags & _SYSTEM))
        if placed:
            atomic.fsync_dir(target_cur)

        def insert(connection: apsw.Connection) -> tuple[Placed, list[Uid], Removed | None]:
            copied, gone = _insert(context, connection, source, target, linked, move)
            note_own_change(connection, target, change)
            return (*copied, gone)

        placing, sources, removed = context.db.transact(insert)
    except BaseException as error:
        # After an error of the disk the commit is in doubt: then the links stay, for adoption to judge.
        if not isinstance(error, Unavailable):
            _unlink_all(placed)
        if isinstance(error, FileNotFoundError):
            raise NotFound("the mailbox has gone") from error
        raise
    taken = {linked[uid] for uid in sources}
    _unlink_all([path for path in placed if path.name.partition(INFO)[0] not in taken])
    pairs = list(zip(sources, placing.uids, strict=True))
    after_transfer(context, source, target, pairs, placing, removed)
    return Copied(placing.uidvalidity, sources, placing.uids)


def _link(context: MailContext, directory: Path, cur: Path, row: MessageRow, *, keep_delivery: bool) -> str | None:
    """A link of the message's file in `cur`; its base name, or None when the file has gone."""
    base = context.new_base(size=row.size, email_id=row.email_id, delivery=row.delivery if keep_delivery else None)
    final = cur / file_name(base, row.fflags & _SYSTEM)
    try:
        atomic.link(directory / "cur" / file_name(row.fname, row.fflags), final)
    except FileNotFoundError:
        found = find_file(directory, row.fname)
        if found is None:
            return None
        try:
            atomic.link(found, final)
        except FileNotFoundError:
            return None
    return base


def _insert(
    context: MailContext,
    connection: apsw.Connection,
    source: MailboxId,
    target: MailboxId,
    linked: dict[Uid, str],
    move: bool,
) -> tuple[tuple[Placed, list[Uid]], Removed | None]:
    # Read again: flags may have changed, and messages gone, since the links were made.
    present = read_rows(connection, source, list(linked))
    sources = [uid for uid, _ in present]
    saved = now()
    rows = translated_flags(connection, source, target, [row for _, row in present])
    rows = [
        replace(
            row,
            fflags=row.fflags & _SYSTEM,  # what the link's name shows
            savedate=saved,
            delivery=row.delivery if move else None,
            fname=linked[uid],
        )
        for uid, row in zip(sources, rows, strict=True)
    ]
    removed = take_out(connection, source, sources, only_deleted=False) if move else None
    # A move never fails for lack of room: it takes none.
    placed = put_in(connection, target, rows, room=None if move else context.quota)
    return (placed, sources), removed


def _unlink_all(paths: Sequence[Path]) -> None:
    for path in paths:
        with contextlib.suppress(StoreError):
            atomic.unlink(path)
