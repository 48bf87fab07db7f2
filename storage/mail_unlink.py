"""Files left over: removed once no row names them any more (storage-imap.md 4.4).

The transaction that takes a row away puts its file's name into `unlink`. Here the file is removed, the directory flushed,
then the name cleared; a crash in between is repaired by doing it again. Without the flush a power cut could bring the file
back when its name is cleared already, and adoption would take it for a new message. Several processes may do it at once.

A name with a time to wait for (`after`) is of a file that a row may be about to take (adoption_seal.py): it is removed within
the transaction that clears its name, so that neither the clock nor a process that was stopped for hours can cost a message.

Owns that table's end of life. Never decides what goes.
"""

import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import apsw

from . import atomic
from .api import MailboxId, NotFound, Unavailable
from .atomic import Directory
from .index_mailboxes import note_own_change
from .mail_context import MailContext
from .maildir import INFO, file_name

ABANDONED = 3_600
"""Seconds after which a file that no row took is removed."""

_UNLINKED_AT_ONCE = 500


def remove_files(context: MailContext) -> None:
    """Remove the files named in `unlink`, then forget the names. Raise Unavailable. [background]"""
    _remove_abandoned(context)
    while True:
        rows = context.reader.rows("SELECT dir, fname, fflags FROM unlink WHERE after = 0 LIMIT ?", (_UNLINKED_AT_ONCE,))
        if not rows:
            return
        by_directory: dict[str, list[tuple[str, int]]] = {}
        for name, base, flags in rows:
            by_directory.setdefault(name, []).append((base, flags))
        for name, files in by_directory.items():
            _remove_in(context, name, files)
        context.change("DELETE FROM unlink WHERE dir = ? AND fname = ?", *[(name, base) for name, base, _ in rows])
        if len(rows) < _UNLINKED_AT_ONCE:
            return


def _remove_abandoned(context: MailContext) -> None:
    now = int(time.time())
    # What would have to wait for longer than anybody lets it was noted by a clock that was ahead.
    rows = context.reader.rows(
        "SELECT dir, fname FROM unlink WHERE after > 0 AND (after <= ? OR after > ?)", (now, now + 2 * ABANDONED)
    )
    for name, base in rows:
        context.db.transact(partial(_remove_noted, context, name, base))


def _remove_noted(context: MailContext, name: str, base: str, connection: apsw.Connection) -> None:
    connection.execute("DELETE FROM unlink WHERE dir = ? AND fname = ? AND after > 0", (name, base))
    if connection.changes():  # else a row took it meanwhile
        with suppress(NotFound):
            directory = context.directory_path(name)
            for part in ("cur", "new"):
                _unlink_listed(directory / part, {base})


def _remove_in(context: MailContext, name: str, files: list[tuple[str, int]]) -> None:
    try:
        directory = context.directory_path(name)
    except NotFound:
        return
    row = context.reader.first("SELECT id FROM mailbox WHERE dir = ?", (name,))
    mailbox = MailboxId(row[0] if row else 0)
    try:
        cur = context.cur(mailbox) if mailbox else Directory(directory / "cur")
    except (NotFound, FileNotFoundError):
        return
    missed: set[str] = set()
    with context.own_change(mailbox, cur) as change:
        for base, flags in files:
            try:
                if not cur.unlink(file_name(base, flags)):
                    missed.add(base)
            except Unavailable:
                missed.add(base)
        if missed:
            # Renamed by others, or removed before a crash: one listing settles all of them.
            for part in ("cur", "new"):
                _unlink_listed(directory / part, missed)
    cur.sync()
    if mailbox:
        context.db.transact(lambda connection: note_own_change(connection, mailbox, change))


def _unlink_listed(directory: Path, bases: set[str]) -> None:
    try:
        names = os.listdir(directory)
    except OSError:
        return
    found = [file for file in names if file.partition(INFO)[0] in bases]
    for file in found:
        atomic.unlink(directory / file)
    if found:
        atomic.fsync_dir(directory)
