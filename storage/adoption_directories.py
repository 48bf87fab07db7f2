"""Mailboxes that other software made: Maildir++ directories without a row (see adoption.py).

Owns which directories count: a name that stands for a mailbox name we would take, with cur/ in it, no link. Directories of
deleted mailboxes on their way to trash/ do not. What one lacks of cur/, new/ and tmp/ is made: others make only what they
need, and a full disk or a crash stops our own CREATE between them.

A name with a hash stands for none: only we give such. What a CREATE that was stopped left under one is removed if it is empty;
CREATE makes directories within its transaction, and this is one, so nothing goes that is being made.
"""

import logging
import os
import stat

import apsw

from . import atomic
from .api import MailboxId, StoreError
from .index_mailboxes import INBOX, checked_name, insert_mailbox
from .mail_context import MailContext
from .maildir import mailbox_name

log = logging.getLogger("preau.storage")


def strange_directories(context: MailContext) -> list[str]:
    """Directories that look like mailboxes and have no row. Raise Unavailable. [thread]"""
    known = {name for (name,) in context.reader.rows("SELECT dir FROM mailbox UNION ALL SELECT dir FROM trash")}
    return [name for name in _directories(context) if name not in known]


def is_clutter(context: MailContext, directory: str) -> bool:
    """Whether a directory without a row will go by itself: taken in, or removed as an empty one of ours. [thread]"""
    name = mailbox_name(directory)
    if name is None:
        return _is_ours_and_empty(context, directory)
    try:
        name = checked_name(name, context.limits)
    except StoreError:
        return False
    return name != INBOX and context.reader.first("SELECT 1 FROM mailbox WHERE name = ?", (name,)) is None


def _is_ours_and_empty(context: MailContext, directory: str) -> bool:
    path = context.paths.maildir / directory
    try:
        return "~" in directory and not any(os.listdir(path / part) for part in ("cur", "new") if (path / part).exists())
    except OSError:
        return False


def look_for_mailboxes(context: MailContext) -> list[MailboxId]:
    """Give rows to the directories that have none; their ids. Raise Unavailable. [thread]"""
    if not strange_directories(context):
        return []

    # Listed again inside the transaction: a mailbox of ours has its directory a moment before its row.
    def adopt(connection: apsw.Connection) -> list[MailboxId]:
        taken = {name for (name,) in connection.execute("SELECT dir FROM mailbox UNION ALL SELECT dir FROM trash")}
        names = {name for (name,) in connection.execute("SELECT name FROM mailbox")}
        made: list[MailboxId] = []
        for directory in sorted(_directories(context)):
            if directory in taken:
                continue
            name = mailbox_name(directory)
            if name is None and _is_ours_and_empty(context, directory):
                atomic.remove_tree(context.paths.maildir / directory)
            if name is None or len(names) >= context.limits.mailboxes:
                continue
            try:
                name = checked_name(name, context.limits)
            except StoreError:
                continue
            if name in names or name == INBOX:
                continue
            for part in ("cur", "new", "tmp"):
                atomic.make_directory(context.paths.maildir / directory / part)
            mailbox, _ = insert_mailbox(connection, name)
            connection.execute("UPDATE mailbox SET dir = ? WHERE id = ?", (directory, mailbox))
            names.add(name)
            made.append(mailbox)
        return made

    made = context.db.transact(adopt)
    for mailbox in made:
        context.forget(mailbox)
        context.sidecars.changed(mailbox)
        context.look(mailbox)
    if made:
        log.info("mailboxes taken in", extra={"account": context.account, "number": len(made)})
        context.announce(0, 0)
    return made


def _directories(context: MailContext) -> list[str]:
    found = []
    try:
        names = os.listdir(context.paths.maildir)
    except OSError:
        return []
    for name in names:
        if not name.startswith(".") or not name.isascii():
            continue
        path = context.paths.maildir / name
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode) and stat.S_ISDIR(os.lstat(path / "cur").st_mode):
                found.append(name)
        except OSError:
            continue
    return found
