"""Finished messages into a mailbox (the crash order of storage-imap.md 4.4).

The file is durable under tmp; it is renamed into cur/, the directory is flushed; then its row is committed; then we answer.
A crash before the commit leaves a file without a row, which adoption takes in later: a message may then be there twice if
its sender tries again without a delivery id, but it is never lost.

Owns that order. Never seals or looks into messages: the writer did.
"""

import contextlib
import logging
import os
from collections.abc import Sequence
from dataclasses import replace

import apsw

from .api import SYSTEM_FLAGS, Appended, Draft, Forbidden, MailboxId, NotFound, OverQuota, StoreError, Unavailable
from .atomic import Directory
from .database import InDoubt
from .index_messages import MessageRow, Placed, flag_bits, now, put_in, system_bits
from .mail_after import after_append, keep_derived
from .mail_context import MailContext, OwnChange, new_email_id
from .mail_writer import SealedMessageWriter
from .maildir import delivery_hash, file_name

log = logging.getLogger("preau.storage")


def append(
    context: MailContext,
    mailbox: MailboxId,
    drafts: Sequence[Draft],
) -> Appended:
    """See Mail.append."""
    writers = [_own_writer(draft) for draft in drafts]
    saved = now()
    rows = [_row(context, mailbox, draft, writer, saved) for draft, writer in zip(drafts, writers, strict=True)]
    placed: list[str] = []
    cur: Directory | None = None
    try:
        cur = context.cur(mailbox)
        with context.own_change(mailbox, cur) as change:
            for row, writer in zip(rows, writers, strict=True):
                name = file_name(row.fname, row.fflags)
                writer.publish(cur, name, mtime=None if row.idate == saved else row.idate)
                placed.append(name)
        cur.sync()
        found = context.db.transact(lambda connection: _insert(context, connection, mailbox, drafts, rows, change))
    except FileNotFoundError as error:
        _take_back(context, mailbox, cur, placed, rows)
        raise NotFound("the mailbox has gone") from error
    except InDoubt:
        raise  # a crash may bring the rows back, and then a retry takes its twin: the files stay, for adoption to judge
    except StoreError as error:
        _take_back(context, mailbox, cur, placed, rows, certain=isinstance(error, NotFound | OverQuota | Forbidden))
        raise
    for name, spare in zip(placed, found.spare, strict=True):
        if spare:
            with contextlib.suppress(StoreError):
                cur.unlink(name)
    _after(context, mailbox, found, drafts, writers)
    return Appended(found.uidvalidity, found.uids, found.modseq)


def _own_writer(draft: Draft) -> SealedMessageWriter:
    if not isinstance(draft.writer, SealedMessageWriter):
        raise TypeError("a draft of another store")
    if draft.writer.gone:
        raise ValueError("a draft was thrown away or appended before")
    draft.writer.finish()
    return draft.writer


def _row(context: MailContext, mailbox: MailboxId, draft: Draft, writer: SealedMessageWriter, saved: int) -> MessageRow:
    delivery = None if draft.delivery_id is None else delivery_hash(mailbox, draft.delivery_id)
    email_id = new_email_id()
    dek = None
    if context.wrapping is not None and writer.dek is not None:
        dek = context.wrapping.wrap(writer.dek)
    return MessageRow(
        flags=0,  # set in the transaction, where keywords get their bits
        fflags=system_bits(draft.flags),
        idate=saved if draft.internal_date is None else draft.internal_date,
        savedate=saved,
        size=writer.size,
        email_id=email_id,
        thread_id=email_id if writer.derived is None else writer.derived.thread_id,
        form=writer.form,
        dek=dek,
        delivery=delivery,
        fname=context.new_base(size=writer.size, email_id=email_id, delivery=delivery),
    )


def _insert(
    context: MailContext,
    connection: apsw.Connection,
    mailbox: MailboxId,
    drafts: Sequence[Draft],
    rows: list[MessageRow],
    change: OwnChange,
) -> Placed:
    flagged = [
        replace(row, flags=flag_bits(connection, mailbox, draft.flags, make=True)) if draft.flags else row
        for row, draft in zip(rows, drafts, strict=True)
    ]
    placed = put_in(connection, mailbox, flagged, room=context.quota, mtimes=(change.before, change.after), ours=True)
    check_files_lie_in(context.cur(mailbox, check=False), rows, placed)
    return placed


def check_files_lie_in(cur: Directory, rows: Sequence[MessageRow], placed: Placed) -> None:
    """Raise Unavailable unless each file is still where its row says, within the transaction that put the rows in.

    Adoption removes what it takes for the file of a delivery that was tried again, within one, too: a file of this very
    moment, when the clock jumps or this process was stopped for long.
    """
    folder = f"{cur.path}/"
    needed = (row for row, spare in zip(rows, placed.spare, strict=True) if not spare)
    if not all(os.path.lexists(folder + file_name(row.fname, row.fflags)) for row in needed):
        raise Unavailable("a file has gone before its transaction")


def _take_back(
    context: MailContext,
    mailbox: MailboxId,
    cur: Directory | None,
    placed: list[str],
    rows: list[MessageRow],
    *,
    certain: bool = True,
) -> None:
    """Remove files whose rows were refused. When it is not certain that they were, ask; in doubt the file stays."""
    if cur is None:
        return
    for name, row in zip(placed, rows, strict=False):
        try:
            if not certain and context.reader.first("SELECT 1 FROM msg WHERE id >> 32 = ? AND fname = ?", (mailbox, row.fname)):
                continue
            cur.unlink(name)
        except StoreError as error:
            log.warning("a refused message stays as a file", extra={"account": context.account, "error": str(error)})


def _after(
    context: MailContext,
    mailbox: MailboxId,
    found: Placed,
    drafts: Sequence[Draft],
    writers: list[SealedMessageWriter],
) -> None:
    """What may be lost: cached answers, search text, the word to others."""
    fresh = [(uid, writer) for uid, writer, new in zip(found.uids, writers, found.fresh, strict=True) if new]
    rows = [(mailbox << 32 | uid, writer.prefix, writer.derived) for uid, writer in fresh if writer.derived is not None]
    keep_derived(context, rows)
    keywords = any(flag not in SYSTEM_FLAGS for draft in drafts for flag in draft.flags)
    after_append(context, mailbox, found, keywords=keywords)
