"""Files that other software put into the Maildir are sealed in the background, under the same UID (decisions 17).

A crash at any point leaves one file that a row names, and at most one more that is named in `unlink`:

1. the sealed file is written and flushed; its name to come is noted in `unlink`, as one to be removed in an hour;
2. within one transaction it gets that name and the directory is flushed, the row takes it, the note is taken back, and the old
   name is noted for removal.

What is read stays the same octets (lone LFs become CRLF, as they were read before), so no MODSEQ rises.
Owns that order.
"""

import logging
import os
import time

import apsw

from .api import MailboxId, NotFound, StoreError
from .atomic import Directory, NewFile
from .index_mailboxes import note_own_change
from .index_reader import Row, select
from .index_schema import SEALED
from .mail_context import MailContext
from .mail_reader import AnyReader, open_message
from .mail_unlink import ABANDONED, remove_files
from .maildir import file_name
from .seal import SealKind, SealWriter

log = logging.getLogger("preau.storage")

_AT_ONCE = 50
_PIECE = 262_144

_PLAIN = "SELECT id, fname, fflags, size, form, emailid FROM msg WHERE id > ? AND id <= ? AND form & ? = 0 ORDER BY id LIMIT ?"


def plain_mailboxes(context: MailContext) -> list[tuple[MailboxId, int]]:
    """Mailboxes where files lie plain that are to be sealed, and how many. Reads every row. Raise Unavailable. [background]"""
    if not context.sealing:
        return []
    with context.db.read() as connection:
        return select(connection, "SELECT id >> 32, count(*) FROM msg WHERE form & ? = 0 GROUP BY 1", (SEALED,))


def seal_plain_files(context: MailContext, mailbox: MailboxId, most: int | None = None) -> None:
    """Seal what lies plain in a mailbox, `most` files of it. Raise Unavailable. [background]"""
    try:
        cur = context.cur(mailbox)
    except (NotFound, FileNotFoundError):
        return
    position, last = mailbox << 32, mailbox << 32 | 0xFFFFFFFF
    done = 0
    while context.public_key is not None and (most is None or done < most):
        with context.db.read() as connection:
            rows = select(connection, _PLAIN, (position, last, SEALED, _AT_ONCE))
        if not rows:
            break
        for row in rows:
            _seal(context, mailbox, cur, row)
        position, done = rows[-1][0], done + len(rows)
    context.sidecars.changed(mailbox, anew=True)
    context.background.submit(("unlink", context.account), lambda: remove_files(context))


def _seal(context: MailContext, mailbox: MailboxId, cur: Directory, row: Row) -> None:
    _, base, shown, size, form, email_id = row
    name = file_name(base, shown)
    fresh = context.new_base(size=size, email_id=email_id)
    file = NewFile(f"s{fresh[:60]}", directory=context.tmp())
    try:
        with open_message(cur, name, size, form, context.account, secret_key=None, dek=None) as reader:
            dek = _copy(context, reader, file)
        file.sync()
        status = os.lstat(cur.path / name)
        os.utime(file.path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
    except FileNotFoundError:
        file.abort()  # renamed or taken away meanwhile: the next look tells
        return
    except (StoreError, OSError) as error:
        file.abort()
        log.warning("a plain file is not sealed", extra={"account": context.account, "error": str(error)})
        return
    _replace(context, mailbox, cur, row, fresh, dek, file)


def _copy(context: MailContext, reader: AnyReader, file: NewFile) -> bytes:
    assert context.public_key is not None
    sealed = SealWriter(file, context.public_key, context.account, SealKind.MESSAGE)
    offset = 0
    while data := reader.read(offset, _PIECE):
        sealed.write(data)
        offset += len(data)
    sealed.finish()
    return sealed.dek


def _replace(context: MailContext, mailbox: MailboxId, cur: Directory, row: Row, fresh: str, dek: bytes, file: NewFile) -> None:
    number, base, shown = row[:3]
    directory = context.directory_name(mailbox)
    later = int(time.time()) + ABANDONED
    wrapped = None if context.wrapping is None else context.wrapping.wrap(dek)

    def announce(connection: apsw.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO unlink VALUES (?, ?, ?, ?)", (directory, fresh, shown, later))

    context.db.transact(announce)

    def take(connection: apsw.Connection) -> None:
        # Whoever removes what an hour made old (a clock that jumps makes it old at once) takes the note with it: then the file
        # must not be there for adoption to find.
        noted = connection.execute("SELECT 1 FROM unlink WHERE dir = ? AND fname = ?", (directory, fresh)).get
        if noted is None:
            return
        with context.own_change(mailbox, cur) as change:
            file.publish_in(cur, file_name(fresh, shown))
        cur.sync()
        connection.execute(
            "UPDATE msg SET fname = ?, fflags = ?, form = ?, dek = ? WHERE id = ? AND fname = ?",
            (fresh, shown, SEALED, wrapped, number, base),
        )
        if connection.changes():
            connection.execute("DELETE FROM unlink WHERE dir = ? AND fname = ?", (directory, fresh))
            connection.execute("INSERT OR REPLACE INTO unlink VALUES (?, ?, ?, 0)", (directory, base, shown))
        else:
            connection.execute("UPDATE unlink SET after = 0 WHERE dir = ? AND fname = ?", (directory, fresh))
        note_own_change(connection, mailbox, change)

    try:
        context.db.transact(take)
    except FileNotFoundError:
        log.warning("a plain file is not sealed", extra={"account": context.account, "error": "the draft has gone"})
    finally:
        file.abort()  # unless it was published
