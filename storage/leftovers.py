"""What interrupted steps left in an account, taken away by itself once somebody has it open (docs/durability.md).

A process that dies leaves nothing that was promised undone, but it leaves things: rows in caches, sidecars a second behind,
a file or directory whose transaction never came. Some seconds after an account was opened they are looked for, in the
background, by whoever holds it that long: taken in, written anew or removed. What may belong to somebody at work waits.

Owns the order of these steps and that none of them keeps another from being taken. Each belongs to its own module.
"""

import logging
import random
import time
from collections.abc import Callable
from functools import partial

from . import collections_leftovers, mail_mailboxes
from .adoption_directories import look_for_mailboxes
from .adoption_seal import plain_mailboxes, seal_plain_files
from .api import MailboxId, NotFound, StoreError
from .collections_leftovers import clear_collections
from .heap import give_back_later
from .mail_context import MailContext, mtime_of

log = logging.getLogger("preau.storage")

DELAY = 5.0
"""Seconds after the opening: whoever only delivers, or asks for a status, has gone by then."""
QUIET = 1.0
"""Seconds in which nobody in this process worked with mail."""
PATIENCE = 900.0
"""Seconds after which it need not be quiet."""
SEALED_AT_ONCE = 200
"""Files of a mailbox sealed after one opening: who switches sealing on has more, and they must not hold up the end."""
_UNSURE = 2.0


def clear_later(context: MailContext, delay: float | None = None) -> None:
    """Have what is left over taken away, if the account stays open for so long, when the process is quiet.

    It costs more than signing in, and all accounts are opened at once when it was all processes that died, or on a Monday.
    """
    wait = DELAY if delay is None else delay
    at_last = time.monotonic() + wait + PATIENCE

    def when_quiet() -> None:
        now = time.monotonic()
        if now - context.background.busy < QUIET and now < at_last:
            again = min(QUIET + random.random() * DELAY, at_last - now)  # noqa: S311  # spreads work
            context.background.submit(("left over", context.account), when_quiet, delay=again, idle=True)
        else:
            clear(context)

    context.background.submit(("left over", context.account), when_quiet, delay=wait, idle=True)


def clear(context: MailContext) -> None:
    """Take away what is left over; what is too young yet, later. [background]"""

    def attempt(step: Callable[[], object]) -> None:
        try:
            step()
        except StoreError as error:
            log.warning("something left over stays for now", extra={"account": context.account, "error": str(error)})

    attempt(lambda: _look_at_mailboxes(context))
    attempt(context.sidecars.catch_up)
    if context.paths.cache_db.exists():
        attempt(lambda: context.cache.sweep(context.reader))
        context.cache.relax()  # of all accounts that are open just one or two write a moment later
    if context.paths.fts_db.exists():
        attempt(context.text.sweep)
    attempt(lambda: mail_mailboxes.clear_trash(context))
    attempt(lambda: _seal_what_is_plain(context))
    give_back_later(context.background)
    if clear_collections(context, attempt):
        clear_later(context, collections_leftovers.YOUNG + _UNSURE)


def _seal_what_is_plain(context: MailContext) -> None:
    """Files of others that were taken in by a process that died before it sealed them."""
    for mailbox, _ in plain_mailboxes(context):
        job = partial(seal_plain_files, context, mailbox, SEALED_AT_ONCE)
        context.background.submit(("seal", context.account, mailbox), job)


def _look_at_mailboxes(context: MailContext) -> None:
    """Files and directories of mail without rows are taken in, also in mailboxes that nobody opens."""
    if not context.may_adopt:
        return
    look_for_mailboxes(context)
    for number, name in context.reader.rows("SELECT id, dir FROM mailbox"):
        try:
            path = context.directory_path(name)
        except NotFound:
            continue
        if not context.is_clean(MailboxId(number), (mtime_of(path / "cur"), mtime_of(path / "new"))):
            context.look(MailboxId(number))
