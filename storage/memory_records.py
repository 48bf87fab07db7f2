"""What the mail of the memory store is made of (see memory.py): mailboxes, messages, writers, readers, names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .api import (
    DELIMITER,
    FIRST_KEYWORD_BIT,
    MAX_KEYWORDS,
    SYSTEM_FLAGS,
    Flags,
    Forbidden,
    InvalidName,
    MailboxId,
    ModSeq,
    StoreLimits,
    TooLarge,
    Uid,
    UidValidity,
)

if TYPE_CHECKING:
    from .memory import MemoryAccount


_FIRST_UID, _FIRST_MODSEQ, _NO_MODSEQ = Uid(1), ModSeq(1), ModSeq(0)


@dataclass(slots=True, eq=False)
class Message:
    """A message in a mailbox."""

    uid: Uid
    data: bytes
    flags: int
    modseq: ModSeq
    internal_date: int
    save_date: int
    email_id: str
    delivery_id: str | None = None


@dataclass(slots=True, eq=False)
class Mailbox:
    """A mailbox: its messages by ascending UID and the UIDs that are gone."""

    id: MailboxId
    name: str
    uidvalidity: UidValidity
    special_use: frozenset[str] = frozenset()
    uidnext: Uid = _FIRST_UID
    highestmodseq: ModSeq = _FIRST_MODSEQ
    messages: dict[Uid, Message] = field(default_factory=dict)
    gone: dict[Uid, ModSeq] = field(default_factory=dict)
    gone_floor: ModSeq = _NO_MODSEQ
    keywords: list[str] = field(default_factory=list)
    deleted: bool = False

    def next_modseq(self) -> ModSeq:
        """One more: what a command that changes something gives to all it changes."""
        self.highestmodseq = ModSeq(self.highestmodseq + 1)
        return self.highestmodseq

    def mask(self, flags: Flags) -> int:
        """Flag names as bits, with new keywords added to the table. Raise Forbidden."""
        bits = 0
        for name in sorted(flags):
            if name.startswith("\\"):
                if name not in SYSTEM_FLAGS:
                    raise Forbidden(f"no such system flag: {name}")
                bits |= SYSTEM_FLAGS[name]
                continue
            known = [keyword.casefold() for keyword in self.keywords]
            if name.casefold() not in known:
                if len(known) >= MAX_KEYWORDS:
                    raise Forbidden(f"more than {MAX_KEYWORDS} keywords in one mailbox")
                self.keywords.append(name)
                known.append(name.casefold())
            bits |= 1 << (FIRST_KEYWORD_BIT + known.index(name.casefold()))
        return bits

    def names(self, bits: int) -> Flags:
        """Bits as flag names."""
        system = [name for name, bit in SYSTEM_FLAGS.items() if bits & bit]
        return frozenset(system + [name for i, name in enumerate(self.keywords) if bits >> FIRST_KEYWORD_BIT + i & 1])

    def add(self, message: Message) -> Uid:
        """Give the message the next UID and keep it."""
        message.uid = self.uidnext
        self.messages[message.uid] = message
        self.uidnext = Uid(self.uidnext + 1)
        return message.uid

    def remove(self, uid: Uid, modseq: ModSeq) -> Message:
        """Take a message out and remember that it went."""
        self.gone[uid] = modseq
        return self.messages.pop(uid)

    def present(self, uids: Sequence[Uid]) -> list[Message]:
        """Those of `uids` that are here, ascending."""
        return [self.messages[uid] for uid in sorted(set(uids)) if uid in self.messages]


class MemoryWriter:
    """See MessageWriter."""

    def __init__(self, account: "MemoryAccount", prefix: bytes) -> None:
        """Begin with the prefix."""
        self._account = account
        self.size = 0
        self.data = bytearray()
        self.gone = False
        self.write(prefix)

    def write(self, data: bytes) -> None:
        """See MessageWriter."""
        if self.size + len(data) > self._account.limits.message_size:
            raise TooLarge(f"more than {self._account.limits.message_size} octets")
        self._account.check_room(self.size + len(data))
        self.data += data
        self.size += len(data)

    def finish(self) -> None:
        """See MessageWriter."""

    def abort(self) -> None:
        """See MessageWriter."""
        if not self.gone:
            self.data.clear()
            self.gone = True


class MemoryReader:
    """See MessageReader."""

    def __init__(self, data: bytes) -> None:
        """Open."""
        self._data = data
        self.size = len(data)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """See MessageReader."""
        return self._data[offset:] if length is None else self._data[offset : offset + length]

    def close(self) -> None:
        """See MessageReader."""

    def __enter__(self) -> "MemoryReader":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def parse_name(name: str, limits: StoreLimits) -> str:
    """The name as kept: a first part `inbox` in any case is `INBOX`. Raise InvalidName."""
    parts = name.split(DELIMITER)
    if any(part in ("", ".", "..") for part in parts) or len(parts) > limits.mailbox_depth:
        raise InvalidName("empty, `.` or `..` parts, or too deep")
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in name):
        raise InvalidName("control characters")
    if len(name.encode()) > limits.mailbox_name:
        raise InvalidName("too long")
    if parts[0].upper() == "INBOX":
        parts[0] = "INBOX"
    return DELIMITER.join(parts)
