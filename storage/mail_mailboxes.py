"""Mailboxes with their directories: made, deleted, renamed, subscribed.

A directory is made before the row that names it is committed, and removed after the row is gone: it is moved to trash/
(noted in the index, so that a crash cannot bring it back) and emptied there in the background. RENAME changes rows alone;
a mailbox keeps its directory (decisions 21). Renaming INBOX moves its messages into a new mailbox (RFC 9051 section 6.3.6).

Owns the order of rows and directories. The rules of names stand in index_mailboxes.
"""

import logging
import os
from collections.abc import Sequence

import apsw

from . import atomic
from .api import MailboxId, MailboxInfo, StoreError
from .index_mailboxes import (
    DEFAULT_MAILBOXES,
    INBOX,
    checked_name,
    delete_rows,
    find_mailbox,
    insert_mailbox,
    insert_with_parents,
    rename_rows,
    set_subscribed,
)
from .mail_context import MailContext, mtime_of
from .mail_transfer import transfer

log = logging.getLogger("preau.storage")

_SUBDIRECTORIES = ("cur", "new", "tmp")


def make_defaults(context: MailContext) -> None:
    """INBOX and the other mailboxes of a new account. Does nothing when there is any. Raise Unavailable."""

    def change(connection: apsw.Connection) -> None:
        if connection.execute("SELECT 1 FROM mailbox LIMIT 1").get is not None:
            return
        made = []
        for name, special_use in DEFAULT_MAILBOXES:
            made.append(insert_mailbox(connection, name, special_use))
            set_subscribed(connection, name, True, context.limits.mailboxes)
        make_directories(context, connection, made)

    if context.reader.rows("SELECT 1 FROM mailbox LIMIT 1"):
        return
    context.db.transact(change)
    context.sidecars.changed_list()


def make_directories(context: MailContext, connection: apsw.Connection, made: Sequence[tuple[MailboxId, str]]) -> None:
    """The directories of mailboxes, durable; and their mtimes as known. Raise Unavailable."""
    for mailbox, name in made:
        path = context.directory_path(name)
        atomic.make_directory(path, durable=False)
        for part in _SUBDIRECTORIES:
            atomic.make_directory(path / part, durable=False)
        if name:
            atomic.create_empty(path / "maildirfolder")  # tells Maildir++ software that the quota is the account's
        atomic.fsync_dir(path)
        connection.execute(
            "UPDATE mailbox SET cur_mtime = ?, new_mtime = ? WHERE id = ?",
            (mtime_of(path / "cur"), mtime_of(path / "new"), mailbox),
        )
    atomic.fsync_dir(context.paths.maildir)


def create(context: MailContext, name: str, special_use: frozenset[str]) -> MailboxInfo:
    """See Mail.create."""
    name = checked_name(name, context.limits)
    uses = " ".join(sorted(special_use))

    def change(connection: apsw.Connection) -> list[tuple[MailboxId, str]]:
        made = insert_with_parents(connection, name, uses, context.limits)
        make_directories(context, connection, made)
        return made

    made = context.db.transact(change)
    _tell(context, [mailbox for mailbox, _ in made])
    return find_mailbox(context.reader, name)


def delete(context: MailContext, name: str) -> None:
    """See Mail.delete."""
    name = checked_name(name, context.limits)
    mailbox = context.db.transact(lambda connection: delete_rows(connection, name))
    context.forget(mailbox)
    _tell(context, [mailbox])
    try:
        move_to_trash(context)  # now, so that a mailbox made under the same name finds its directory free
    except StoreError as error:
        log.warning("a deleted mailbox's directory stays for now", extra={"account": context.account, "error": str(error)})
    context.background.submit(("trash", context.account), lambda: empty_trash(context))


def move_to_trash(context: MailContext) -> None:
    """Move away the directories of deleted mailboxes. Raise Unavailable."""
    rows = context.reader.rows("SELECT dir, mailbox FROM trash")
    if not rows:
        return
    trash = context.paths.directory / "trash"
    atomic.make_directory(trash)
    for name, mailbox in rows:
        try:
            atomic.rename(context.directory_path(name), trash / str(mailbox))
        except FileNotFoundError:
            continue  # moved before
    atomic.fsync_dir(context.paths.maildir)
    atomic.fsync_dir(trash)


def empty_trash(context: MailContext) -> None:
    """Remove what deleted mailboxes left: directories, cached rows, snapshots. Raise Unavailable. [background]"""
    move_to_trash(context)
    for name, mailbox in context.reader.rows("SELECT dir, mailbox FROM trash"):
        atomic.remove_tree(context.paths.directory / "trash" / str(mailbox))
        atomic.unlink(context.paths.snapshot(MailboxId(mailbox)))
        first, last = mailbox << 32, mailbox << 32 | 0xFFFFFFFF
        context.waiting.write()
        context.cache.drop_range(first, last)
        context.text.drop_range(first, last)
        context.change("DELETE FROM trash WHERE dir = ?", (name,))


def clear_trash(context: MailContext) -> None:
    """Remove directories in trash/ that a power cut brought back and nothing notes. Raise Unavailable. [background]"""
    trash = context.paths.directory / "trash"
    try:
        left = set(os.listdir(trash))  # before the notes: a directory is noted before it comes here
    except OSError:
        return
    if left:
        noted = {str(mailbox) for (mailbox,) in context.reader.rows("SELECT mailbox FROM trash")}
        for name in left - noted:
            atomic.remove_tree(trash / name)


def rename(context: MailContext, name: str, new_name: str) -> None:
    """See Mail.rename."""
    name, new_name = checked_name(name, context.limits), checked_name(new_name, context.limits)
    if name == INBOX:
        _rename_inbox(context, new_name)
        return

    def change(connection: apsw.Connection) -> tuple[list[MailboxId], list[tuple[MailboxId, str]]]:
        renamed, made = rename_rows(connection, name, new_name, context.limits)
        make_directories(context, connection, made)
        return renamed, made

    renamed, made = context.db.transact(change)
    _tell(context, renamed + [mailbox for mailbox, _ in made])


def _rename_inbox(context: MailContext, new_name: str) -> None:
    inbox = find_mailbox(context.reader, INBOX).id
    target = create(context, new_name, frozenset()).id
    rows = context.reader.rows(
        "SELECT id & 4294967295 FROM msg WHERE id BETWEEN ? AND ?", (inbox << 32, inbox << 32 | 0xFFFFFFFF)
    )
    transfer(context, inbox, [uid for (uid,) in rows], target, move=True)


def subscribe(context: MailContext, name: str, subscribed: bool) -> None:
    """See Mail.subscribe."""
    name = checked_name(name, context.limits)
    limit = 2 * context.limits.mailboxes
    context.db.transact(lambda connection: set_subscribed(connection, name, subscribed, limit))
    _tell(context, [])


def _tell(context: MailContext, mailboxes: Sequence[MailboxId]) -> None:
    for mailbox in mailboxes:
        context.sidecars.changed(mailbox)
    if not mailboxes:
        context.sidecars.changed_list()
    context.announce(0, 0)
    for mailbox in mailboxes:
        context.announce(mailbox, 0)
