"""The mail of one account: the Mail protocol over index.db, cache.db, the Maildir and the search text.

Owns nothing but which module answers which call, the views that are open in this process, and what is caught up on when
an account is opened: files named in `unlink`, directories in `trash`, names and sidecars that are behind.
Never blocks the loop: what may take long is handed to the store's background.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence

from . import adoption, mail_append, mail_fetch, mail_mailboxes, mail_transfer
from .adoption_directories import look_for_mailboxes
from .api import (
    SYSTEM_FLAGS,
    Appended,
    Copied,
    Draft,
    Facts,
    FlagOp,
    Flags,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageReader,
    MessageWriter,
    ModSeq,
    NotFound,
    OpenMailbox,
    Stored,
    TextKey,
    Uid,
)
from .index_mailboxes import checked_name, find_mailbox, list_mailboxes, read_status
from .index_messages import change_flags, take_out
from .mail_after import after_flags, after_removal, after_use
from .mail_context import MailContext, mtime_of
from .mail_text import MailText
from .mail_unlink import remove_files
from .mail_writer import SealedMessageWriter
from .open_mailbox import SMALL, SharedMailbox
from .sidecar import UIDLIST, Sidecars

_LOOK_EVERY = 1.0


class FileMail:
    """The Mail of the file store."""

    def __init__(self, context: MailContext) -> None:
        """Make what a new account lacks, and have finished what a crash left. Raise Unavailable. [thread]"""
        self._context = context
        context.look = self._look
        context.text = MailText(context)
        context.sidecars = Sidecars(context)
        self._root_mtime = 0
        self._next_look = 0.0
        mail_mailboxes.make_defaults(context)
        self._catch_up()

    def _catch_up(self) -> None:
        context = self._context
        unlinks, mailboxes, trash = context.reader.together(
            ("SELECT 1 FROM unlink LIMIT 1", ()), ("SELECT id, dir FROM mailbox", ()), ("SELECT 1 FROM trash LIMIT 1", ())
        )
        if unlinks:
            context.background.submit(("unlink", context.account), lambda: remove_files(context))
        maildir = str(context.paths.maildir)
        for mailbox, name in mailboxes:
            if not os.path.exists(os.path.join(maildir, name, UIDLIST)):
                context.sidecars.changed(mailbox)
        if trash:
            context.background.submit(("trash", context.account), lambda: mail_mailboxes.empty_trash(context))

    def _look(self, mailbox: MailboxId, *, delay: float = 0.0) -> None:
        context = self._context
        if context.may_adopt:
            key = ("look later" if delay else "look", context.account, mailbox)
            context.background.submit(key, lambda: adoption.look_quietly(context, mailbox), delay=delay, idle=bool(delay))

    def release(self) -> None:
        """The account is closed."""
        self._context.text.close()

    # -- mailboxes

    def mailboxes(self) -> Sequence[MailboxInfo]:
        """See Mail."""
        self._look_at_root()
        return list_mailboxes(self._context.reader)

    def _look_at_root(self) -> None:
        context, now = self._context, time.monotonic()
        if now < self._next_look or not context.may_adopt:
            return
        self._next_look = now + _LOOK_EVERY
        mtime = mtime_of(context.paths.maildir)
        if mtime != self._root_mtime:
            self._root_mtime = mtime
            context.background.submit(("directories", context.account), self._look_for_mailboxes)

    def _look_for_mailboxes(self) -> None:
        look_for_mailboxes(self._context)

    def subscriptions(self) -> Sequence[str]:
        """See Mail."""
        return [name for (name,) in self._context.reader.rows("SELECT name FROM subscription ORDER BY name")]

    def find(self, name: str) -> MailboxInfo:
        """See Mail."""
        return find_mailbox(self._context.reader, checked_name(name, self._context.limits))

    def status(self, mailboxes: Sequence[MailboxId]) -> Sequence[MailboxStatus]:
        """See Mail."""
        return read_status(self._context.reader, mailboxes)

    def create(self, name: str, *, special_use: frozenset[str] = frozenset()) -> MailboxInfo:
        """See Mail."""
        return mail_mailboxes.create(self._context, name, special_use)

    def delete(self, name: str) -> None:
        """See Mail."""
        mail_mailboxes.delete(self._context, name)

    def rename(self, name: str, new_name: str) -> None:
        """See Mail."""
        mail_mailboxes.rename(self._context, name, new_name)

    def subscribe(self, name: str, subscribed: bool) -> None:
        """See Mail."""
        mail_mailboxes.subscribe(self._context, name, subscribed)

    # -- messages in

    def new_message(self, *, prefix: bytes = b"", twin: MessageWriter | None = None) -> MessageWriter:
        """See Mail."""
        context = self._context
        return SealedMessageWriter(
            context.tmp(),
            context.account,
            context.public_key,
            prefix=prefix,
            twin=twin if isinstance(twin, SealedMessageWriter) else None,
            limit=context.limits.message_size,
            room=None if context.quota is None else max(0, context.quota - context.used()),
        )

    def append(self, mailbox: MailboxId, drafts: Sequence[Draft]) -> Appended:
        """See Mail."""
        return mail_append.append(self._context, mailbox, drafts)

    # -- open mailboxes

    def open(self, mailbox: MailboxId) -> OpenMailbox:
        """See Mail."""
        context = self._context
        view = context.open.get(mailbox)
        if view is None or view.deleted:
            if context.may_adopt and not context.is_clean(mailbox, self._mtimes(mailbox)):
                adoption.look(context, mailbox)
            view = SharedMailbox(context, mailbox, self._look)
            view.load()
            # Two threads may have loaded it at once: the first one in stays.
            there = context.open.setdefault(mailbox, view)
            if there.deleted:
                context.open[mailbox] = view
            else:
                view = there
            after_use(context)
            context.sidecars.changed(mailbox)  # a process that died may have left them behind
        view.holders += 1
        return view

    def _mtimes(self, mailbox: MailboxId) -> tuple[int, int]:
        directory = self._context.directory(mailbox)
        return mtime_of(directory / "cur"), mtime_of(directory / "new")

    def is_warm(self, mailbox: MailboxId) -> bool:
        """See Mail."""
        context = self._context
        view = context.open.get(mailbox)
        if view is not None and not view.deleted:
            return True
        row = context.reader.first("SELECT messages FROM mailbox WHERE id = ?", (mailbox,))
        if row is None:
            return True  # open() says NotFound, at once
        if context.may_adopt and not context.is_clean(mailbox, self._mtimes(mailbox)):
            return False
        return row[0] <= SMALL or context.paths.snapshot(mailbox).exists()

    def vanished_since(self, mailbox: MailboxId, modseq: ModSeq) -> Sequence[Uid] | None:
        """See Mail."""
        head, rows = self._context.reader.together(
            ("SELECT gone_floor FROM mailbox WHERE id = ?", (mailbox,)),
            ("SELECT id & 4294967295 FROM gone WHERE id >> 32 = ? AND modseq > ?", (mailbox, modseq)),
        )
        if not head:
            raise NotFound("no such mailbox")
        if modseq < head[0][0]:
            return None
        return sorted(Uid(uid) for (uid,) in rows)

    # -- messages out

    def facts(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[Facts]:
        """See Mail."""
        return mail_fetch.facts(self._context, mailbox, uids)

    def sizes(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, int, int]]:
        """See Mail."""
        return mail_fetch.sizes(self._context, mailbox, uids)

    def rendered(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, bytes, int]]:
        """See Mail."""
        return mail_fetch.rendered(self._context, mailbox, uids)

    def header_fields(self, mailbox: MailboxId, uids: Sequence[Uid], names: Sequence[bytes]) -> Iterator[tuple[Uid, bytes]]:
        """See Mail."""
        return mail_fetch.header_fields(self._context, mailbox, uids, names)

    def read_message(self, mailbox: MailboxId, uid: Uid) -> MessageReader:
        """See Mail."""
        return mail_fetch.read_message(self._context, mailbox, uid)

    # -- changes

    def store_flags(
        self,
        mailbox: MailboxId,
        uids: Sequence[Uid],
        op: FlagOp,
        flags: Flags,
        *,
        unchanged_since: ModSeq | None = None,
        waits: bool = True,
    ) -> Stored:
        """See Mail."""
        context = self._context
        if waits:
            stored = context.db.transact(lambda connection: change_flags(connection, mailbox, uids, op, flags, unchanged_since))
        else:
            with context.db.write(waits=False) as connection:
                stored = change_flags(connection, mailbox, uids, op, flags, unchanged_since)
        after_use(context)
        if stored.changed:
            context.announce(mailbox, stored.modseq)
            after_flags(context, mailbox)
            if not flags <= SYSTEM_FLAGS.keys():
                context.sidecars.changed(mailbox)  # the keyword may be new
        return stored

    def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> Sequence[Uid]:
        """See Mail."""
        removed = self._context.db.transact(lambda connection: take_out(connection, mailbox, uids, only_deleted=True))
        after_removal(self._context, mailbox, removed)
        return [uid for uid, _, _ in removed.files]

    def copy(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """See Mail."""
        return mail_transfer.transfer(self._context, mailbox, uids, target, move=False)

    def move(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """See Mail."""
        return mail_transfer.transfer(self._context, mailbox, uids, target, move=True)

    # -- search

    def search_text(self, mailbox: MailboxId, key: TextKey, uids: Sequence[Uid]) -> set[Uid]:
        """See Mail."""
        after_use(self._context)
        return self._context.text.search(mailbox, key, uids)

    def sent_dates(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        """See Mail."""
        return mail_fetch.sent_dates(self._context, mailbox, uids)
