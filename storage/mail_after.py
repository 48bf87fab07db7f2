"""What follows a commit and may be lost: cached rows of copies, the word to others, and work handed to the background.

Each piece is made again when it is missing: cache and text from files, names and sidecars by the next job, unlinks from
their table. So an error here is logged and never reaches who asked for the change: that is on disk.

Owns which jobs follow which change. Never changes what is true.
"""

import logging
import time
from collections.abc import Sequence

from .api import MailboxId, Uid
from .flag_names import write_flag_names
from .heap import give_back_later
from .index_messages import Placed, Removed
from .mail_context import MailContext
from .mail_derive import Derived
from .mail_unlink import remove_files

log = logging.getLogger("preau.storage")

_QUIET = 30.0  # seconds
_NAMES_DELAY = 2.0  # seconds: flags that follow one another are written into names once


def keep_derived(context: MailContext, rows: Sequence[tuple[int, bytes, Derived]]) -> None:
    """What was worked out of new messages (id, prefix, the rest) on its way into cache and search text."""
    context.waiting.add(rows)
    context.text.add(rows)


def after_append(context: MailContext, mailbox: MailboxId, placed: Placed, *, keywords: bool) -> None:
    """Messages came in."""
    after_use(context)
    if any(placed.fresh):
        context.sidecars.changed(mailbox)
        context.announce(mailbox, placed.modseq)
        if keywords:
            after_flags(context, mailbox)


def after_flags(context: MailContext, mailbox: MailboxId) -> None:
    """Flags changed: file names are to show them."""
    context.background.submit(
        ("names", context.account, mailbox), lambda: write_flag_names(context, mailbox), delay=_NAMES_DELAY
    )


def after_removal(context: MailContext, mailbox: MailboxId, removed: Removed) -> None:
    """Messages went: files, cached rows and search text follow."""
    ids = [mailbox << 32 | uid for uid, _, _ in removed.files]
    if not ids:
        return
    context.doomed.update(ids)
    context.announce(mailbox, removed.modseq)
    context.background.submit(("unlink", context.account), lambda: remove_files(context))
    context.background.submit(("doomed", context.account), lambda: drop_doomed(context))


def after_transfer(
    context: MailContext,
    source: MailboxId,
    target: MailboxId,
    pairs: Sequence[tuple[Uid, Uid]],
    placed: Placed,
    removed: Removed | None,
) -> None:
    """Messages were copied or moved; `pairs` has their UIDs in source and target."""
    ids = [(source << 32 | old, target << 32 | new) for old, new in pairs]
    context.waiting.copy(ids)
    context.text.copy_later(ids)
    if ids:
        context.sidecars.changed(target)
        context.announce(target, placed.modseq)
        after_flags(context, target)
    if removed is not None:
        after_removal(context, source, removed)


def after_use(context: MailContext) -> None:
    """The account was worked with: give back memory once it is quiet."""
    context.last_used = context.background.busy = time.monotonic()
    rest_later(context)


def rest_later(context: MailContext) -> None:
    """Have memory given back once the account was not worked with for a while."""
    context.background.submit(("quiet", context.account), lambda: relax(context), delay=_QUIET, idle=True)


def relax(context: MailContext) -> None:
    """Close what is opened again when it is needed, unless the account was worked with just now. [background]"""
    if time.monotonic() - context.last_used < _QUIET:
        context.background.submit(("quiet later", context.account), lambda: relax(context), delay=_QUIET, idle=True)
        return
    context.db.relax()
    context.reader.rest()
    context.cache.relax()
    context.text.close()
    context.relax()
    give_back_later(context.background)


def drop_doomed(context: MailContext) -> None:
    """Forget cached rows and search text of messages that went. Raise Unavailable. [background]"""
    ids = list(context.doomed)
    if ids:
        context.waiting.write()  # what is to be copied from these rows is copied first
        context.cache.drop(ids)
        context.text.drop(ids)
        context.doomed.difference_update(ids)
