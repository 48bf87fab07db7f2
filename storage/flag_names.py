"""Flags into file names, lazily: what STORE changed in the index is shown to other software by and by.

A row keeps in `fflags` the flags that its file's name shows. Where `flags` differ, the file is renamed and `fflags` set. A
file that is not under the expected name was renamed by somebody else: adoption merges that change first (three ways:
name, fflags, flags), and the names follow afterwards. Renames are flushed before `fflags` is committed: a name that a power
cut gave its old flags back would else be taken for a change by others, and undo a STORE that was answered.

Owns renaming for flags. Never changes flags.
"""

import logging
from collections.abc import Sequence

import apsw

from .api import MailboxId, NotFound, StoreError
from .atomic import Directory
from .index_mailboxes import note_own_change
from .index_reader import Row, select
from .mail_context import MailContext
from .maildir import NAMED_FLAGS, file_name

log = logging.getLogger("preau.storage")

_AT_ONCE = 100  # a transaction: it keeps other writers waiting
_DIFFERING = (
    "SELECT id, fname, flags & ?1, fflags FROM msg WHERE id > ?2 AND id <= ?3 AND (flags & ?1) <> fflags ORDER BY id LIMIT ?4"
)


def write_flag_names(context: MailContext, mailbox: MailboxId) -> None:
    """Rename the files of a mailbox whose names do not show their flags. Raise Unavailable. [background]"""
    try:
        cur = context.cur(mailbox)
    except (NotFound, FileNotFoundError):
        return
    position, last = mailbox << 32, mailbox << 32 | 0xFFFFFFFF
    lost = False
    while True:
        with context.db.read() as connection:
            rows = select(connection, _DIFFERING, (NAMED_FLAGS, position, last, _AT_ONCE))
        if not rows:
            break
        position = rows[-1][0]
        lost |= _rename(context, mailbox, cur, rows)
    if lost:
        context.look(mailbox)


def _rename(context: MailContext, mailbox: MailboxId, cur: Directory, rows: Sequence[Row]) -> bool:
    """Rename and note one batch; whether a file was not where it should be."""
    lost = False

    # The renames happen within the transaction: adoption, which looks at names within one of its own, sees a name and its
    # fflags both before or both after, and never takes our rename for a change of others.
    def change(connection: apsw.Connection) -> None:
        nonlocal lost
        renamed: list[tuple[int, int]] = []
        with context.own_change(mailbox, cur) as own:
            for number, base, _, _ in rows:
                now = "SELECT flags & ?, fflags FROM msg WHERE id = ? AND fname = ?"
                for flags, shown in select(connection, now, (NAMED_FLAGS, number, base)):
                    try:
                        cur.rename(file_name(base, shown), cur, file_name(base, flags))
                    except FileNotFoundError:
                        lost = True
                    except StoreError as error:
                        log.warning("flags not written into a name", extra={"account": context.account, "error": str(error)})
                    else:
                        renamed.append((flags, number))
        if renamed:
            cur.sync()
            connection.executemany("UPDATE msg SET fflags = ? WHERE id = ?", renamed)
        note_own_change(connection, mailbox, own)

    context.db.transact(change)
    return lost
