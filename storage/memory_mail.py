"""Mail of one account in dicts (see memory.py): mailboxes, messages, flags.

Owns nothing that other modules use but MemoryMail. Says in the plainest way what storage/api.py's Mail promises.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from .api import (
    DELETED,
    DELIMITER,
    SEEN,
    AlreadyExists,
    Appended,
    Copied,
    Draft,
    Facts,
    FlagOp,
    Flags,
    Forbidden,
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
    UidValidity,
)
from .memory_records import Mailbox, MemoryReader, MemoryWriter, Message, parse_name
from .memory_text import header_fields, local_day, matches, rendered
from .memory_view import MemoryOpenMailbox

if TYPE_CHECKING:
    from .memory import MemoryAccount

_DEFAULTS = {
    "INBOX": "",
    "Drafts": "\\Drafts",
    "Sent": "\\Sent",
    "Junk": "\\Junk",
    "Trash": "\\Trash",
    "Archive": "\\Archive",
}


class MemoryMail:
    """See Mail."""

    def __init__(self, account: "MemoryAccount") -> None:
        """Make the default mailboxes."""
        self._account = account
        self._limits = account.limits
        self._boxes: dict[MailboxId, Mailbox] = {}
        self._views: dict[MailboxId, MemoryOpenMailbox] = {}
        self._subscribed = set(_DEFAULTS)
        self._last_id = 0
        self._last_uidvalidity = 0
        self._last_email = 0
        for name, use in _DEFAULTS.items():
            self._make(name, frozenset({use} - {""}))

    # -- mailboxes

    def _make(self, name: str, special_use: frozenset[str] = frozenset()) -> Mailbox:
        if len(self._boxes) >= self._limits.mailboxes:
            raise Forbidden(f"more than {self._limits.mailboxes} mailboxes")
        self._last_id += 1
        self._last_uidvalidity = max(int(self._account.clock()), self._last_uidvalidity + 1)
        box = Mailbox(MailboxId(self._last_id), name, UidValidity(self._last_uidvalidity), special_use)
        self._boxes[box.id] = box
        return box

    def _make_parents(self, name: str) -> None:
        parts = name.split(DELIMITER)
        for end in range(1, len(parts)):
            if self._named(DELIMITER.join(parts[:end])) is None:
                self._make(DELIMITER.join(parts[:end]))

    def _named(self, name: str) -> Mailbox | None:
        return next((box for box in self._boxes.values() if box.name == name), None)

    def _box(self, mailbox: MailboxId) -> Mailbox:
        try:
            return self._boxes[mailbox]
        except KeyError:
            raise NotFound(f"no mailbox {mailbox}") from None

    def _info(self, box: Mailbox) -> MailboxInfo:
        subscribed = box.name in self._subscribed
        return MailboxInfo(box.id, box.name, box.uidvalidity, box.special_use, subscribed, f"F{box.id}")

    def mailboxes(self) -> Sequence[MailboxInfo]:
        """See Mail."""
        with self._account.lock:
            return sorted(map(self._info, self._boxes.values()), key=lambda info: (info.name != "INBOX", info.name))

    def subscriptions(self) -> Sequence[str]:
        """See Mail."""
        return sorted(self._subscribed)

    def find(self, name: str) -> MailboxInfo:
        """See Mail."""
        with self._account.lock:
            box = self._named(parse_name(name, self._limits))
            if box is None:
                raise NotFound(name)
            return self._info(box)

    def status(self, mailboxes: Sequence[MailboxId]) -> Sequence[MailboxStatus]:
        """See Mail."""
        with self._account.lock:
            return [_status(self._boxes[mailbox]) for mailbox in mailboxes if mailbox in self._boxes]

    def create(self, name: str, *, special_use: frozenset[str] = frozenset()) -> MailboxInfo:
        """See Mail."""
        with self._account.lock:
            name = parse_name(name, self._limits)
            if self._named(name) is not None:
                raise AlreadyExists(name)
            lacking = sum(self._named(parent) is None for parent in _parents(name)) + 1
            if len(self._boxes) + lacking > self._limits.mailboxes:
                raise Forbidden(f"more than {self._limits.mailboxes} mailboxes")
            self._make_parents(name)
            box = self._make(name, special_use)
            self._account.announce(0, 0)
            return self._info(box)

    def delete(self, name: str) -> None:
        """See Mail."""
        with self._account.lock:
            box = self._box(self.find(name).id)
            if box.name == "INBOX":
                raise Forbidden("INBOX stays")
            self._account.charge(-sum(len(message.data) for message in box.messages.values()))
            del self._boxes[box.id]
            box.deleted = True
            self._account.announce(0, 0)
            self._account.announce(box.id, box.highestmodseq)

    def rename(self, name: str, new_name: str) -> None:
        """See Mail."""
        with self._account.lock:
            box = self._box(self.find(name).id)
            new_name = parse_name(new_name, self._limits)
            if self._named(new_name) is not None:
                raise AlreadyExists(new_name)
            if box.name == "INBOX":
                self._rename_inbox(box, new_name)
                return
            if new_name.startswith(box.name + DELIMITER):
                raise Forbidden("a mailbox cannot go below itself")
            moved = {box: new_name}
            for child in self._boxes.values():
                if child.name.startswith(box.name + DELIMITER):
                    moved[child] = parse_name(new_name + child.name[len(box.name) :], self._limits)
            if any(self._named(target) is not None for target in moved.values()):
                raise AlreadyExists("a child of that name is there already")
            lacking = sum(self._named(parent) is None for parent in _parents(new_name))
            if len(self._boxes) + lacking > self._limits.mailboxes:
                raise Forbidden(f"more than {self._limits.mailboxes} mailboxes")
            self._make_parents(new_name)
            for child, target in moved.items():
                child.name = target
            self._account.announce(0, 0)

    def _rename_inbox(self, inbox: Mailbox, new_name: str) -> None:
        self.move(inbox.id, list(inbox.messages), self.create(new_name).id)

    def subscribe(self, name: str, subscribed: bool) -> None:
        """See Mail."""
        with self._account.lock:
            name = parse_name(name, self._limits)
            if subscribed:
                self._subscribed.add(name)
            else:
                self._subscribed.discard(name)
            self._account.announce(0, 0)

    def forget_all(self) -> None:
        """The account was deleted: its mailboxes are gone."""
        for box in self._boxes.values():
            box.deleted = True
        self._boxes.clear()

    # -- messages in

    def new_message(self, *, prefix: bytes = b"", twin: MessageWriter | None = None) -> MessageWriter:
        """See Mail."""
        return MemoryWriter(self._account, prefix)

    def append(self, mailbox: MailboxId, drafts: Sequence[Draft]) -> Appended:
        """See Mail."""
        with self._account.lock:
            box = self._box(mailbox)
            writers = [cast(MemoryWriter, draft.writer) for draft in drafts]
            if any(writer.gone for writer in writers):
                raise ValueError("a draft was thrown away or appended before")
            twins = {message.delivery_id: message.uid for message in box.messages.values() if message.delivery_id}
            fresh = [writer.size for draft, writer in zip(drafts, writers, strict=True) if draft.delivery_id not in twins]
            self._account.check_room(sum(fresh))
            masks = self._masks(box, [draft.flags for draft in drafts])
            modseq = box.next_modseq() if fresh else box.highestmodseq
            uids = []
            for draft, writer, mask in zip(drafts, writers, masks, strict=True):
                writer.gone = True
                if draft.delivery_id is not None and draft.delivery_id in twins:
                    uids.append(twins[draft.delivery_id])
                    continue
                self._account.charge(writer.size)
                self._last_email += 1
                now = int(self._account.clock())
                date = now if draft.internal_date is None else draft.internal_date
                email_id = f"M{self._last_email:016x}"
                message = Message(Uid(0), bytes(writer.data), mask, modseq, date, now, email_id, draft.delivery_id)
                uids.append(box.add(message))
                if draft.delivery_id is not None:
                    twins[draft.delivery_id] = message.uid
            if fresh:
                self._account.announce(box.id, modseq)
            return Appended(box.uidvalidity, uids, modseq)

    def _masks(self, box: Mailbox, wanted: Sequence[Flags]) -> list[int]:
        """The flags of several messages as bits, all or none."""
        before = list(box.keywords)
        try:
            return [box.mask(flags) for flags in wanted]
        except Forbidden:
            box.keywords[:] = before
            raise

    # -- open mailboxes

    def open(self, mailbox: MailboxId) -> OpenMailbox:
        """See Mail."""
        with self._account.lock:
            box = self._box(mailbox)
            view = self._views.get(mailbox)
            if view is None:
                view = self._views[mailbox] = MemoryOpenMailbox(box, self._account.lock, lambda: self._views.pop(mailbox))
            view.holders += 1
            return view

    def is_warm(self, mailbox: MailboxId) -> bool:
        """See Mail."""
        return True

    def vanished_since(self, mailbox: MailboxId, modseq: ModSeq) -> Sequence[Uid] | None:
        """See Mail."""
        with self._account.lock:
            box = self._box(mailbox)
            if modseq < box.gone_floor:
                return None
            return sorted(uid for uid, when in box.gone.items() if when > modseq)

    def forget_gone(self, mailbox: MailboxId) -> None:
        """Forget which UIDs are gone, as a store does with old ones: for tests of what a client is told then."""
        with self._account.lock:
            box = self._box(mailbox)
            box.gone.clear()
            box.gone_floor = box.highestmodseq

    # -- messages out

    def _present(self, mailbox: MailboxId, uids: Sequence[Uid]) -> list[Message]:
        with self._account.lock:
            return self._box(mailbox).present(uids)

    def facts(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[Facts]:
        """See Mail."""
        for m in self._present(mailbox, uids):
            yield Facts(m.uid, len(m.data), m.internal_date, m.save_date, m.email_id, "T" + m.email_id[1:])

    def sizes(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, int, int]]:
        """See Mail."""
        for m in self._present(mailbox, uids):
            yield m.uid, len(m.data), m.internal_date

    def rendered(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Iterator[tuple[Uid, bytes, int]]:
        """See Mail."""
        for message in self._present(mailbox, uids):
            text, envelope_length = rendered(message.data)
            yield message.uid, text, envelope_length

    def header_fields(self, mailbox: MailboxId, uids: Sequence[Uid], names: Sequence[bytes]) -> Iterator[tuple[Uid, bytes]]:
        """See Mail."""
        for message in self._present(mailbox, uids):
            yield message.uid, header_fields(message.data, names)

    def read_message(self, mailbox: MailboxId, uid: Uid) -> MessageReader:
        """See Mail."""
        for message in self._present(mailbox, [uid]):
            return MemoryReader(message.data)
        raise NotFound(f"no message {uid}")

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
        with self._account.lock:
            box = self._box(mailbox)
            messages = box.present(uids)
            failed = [m.uid for m in messages if unchanged_since is not None and m.modseq > unchanged_since]
            bits = self._masks(box, [flags])[0]
            change: Callable[[int], int] = {
                FlagOp.REPLACE: lambda old: bits,
                FlagOp.ADD: lambda old: old | bits,
                FlagOp.REMOVE: lambda old: old & ~bits,
            }[op]
            changed = [m for m in messages if m.uid not in failed and change(m.flags) != m.flags]
            if changed:
                modseq = box.next_modseq()
                for message in changed:
                    message.flags, message.modseq = change(message.flags), modseq
                self._account.announce(box.id, modseq)
            return Stored(box.highestmodseq, [message.uid for message in changed], failed)

    def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> Sequence[Uid]:
        """See Mail."""
        with self._account.lock:
            box = self._box(mailbox)
            among = box.present(list(box.messages) if uids is None else uids)
            marked = [message.uid for message in among if message.flags & DELETED]
            if marked:
                modseq = box.next_modseq()
                for uid in marked:
                    self._account.charge(-len(box.remove(uid, modseq).data))
                self._account.announce(box.id, modseq)
            return marked

    def copy(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """See Mail."""
        with self._account.lock:
            return self._copy(mailbox, uids, target, charge=True)

    def _copy(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId, *, charge: bool) -> Copied:
        source, destination = self._box(mailbox), self._box(target)
        messages = source.present(uids)
        if not messages:
            return Copied(destination.uidvalidity, [], [])
        if charge:
            self._account.check_room(sum(len(message.data) for message in messages))
        masks = self._masks(destination, [source.names(message.flags) for message in messages])
        modseq = destination.next_modseq()
        now = int(self._account.clock())
        given = []
        for message, mask in zip(messages, masks, strict=True):
            self._account.used += len(message.data)
            copy = Message(Uid(0), message.data, mask, modseq, message.internal_date, now, message.email_id)
            given.append(destination.add(copy))
        self._account.announce(destination.id, modseq)
        return Copied(destination.uidvalidity, [message.uid for message in messages], given)

    def move(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """See Mail."""
        with self._account.lock:
            copied = self._copy(mailbox, uids, target, charge=False)
            if copied.source:
                box = self._box(mailbox)
                modseq = box.next_modseq()
                for uid in copied.source:
                    self._account.charge(-len(box.remove(uid, modseq).data))
                self._account.announce(box.id, modseq)
            return copied

    # -- search

    def search_text(self, mailbox: MailboxId, key: TextKey, uids: Sequence[Uid]) -> set[Uid]:
        """See Mail."""
        return {message.uid for message in self._present(mailbox, uids) if matches(message.data, key)}

    def sent_dates(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        """See Mail."""
        return {message.uid: local_day(message.data, message.internal_date) for message in self._present(mailbox, uids)}


def _parents(name: str) -> list[str]:
    parts = name.split(DELIMITER)
    return [DELIMITER.join(parts[:end]) for end in range(1, len(parts))]


def _status(box: Mailbox) -> MailboxStatus:
    messages = box.messages.values()
    return MailboxStatus(
        id=box.id,
        messages=len(messages),
        unseen=sum(not message.flags & SEEN for message in messages),
        deleted=sum(bool(message.flags & DELETED) for message in messages),
        size=sum(len(message.data) for message in messages),
        uidnext=box.uidnext,
        uidvalidity=box.uidvalidity,
        highestmodseq=box.highestmodseq,
    )
