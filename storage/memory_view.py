"""An open mailbox of the memory store: parallel arrays that change only at refresh (see OpenMailbox)."""

import threading
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .api import MailboxId, ModSeq, Stored, Uid, UidValidity

if TYPE_CHECKING:
    from .memory_records import Mailbox


class MemoryOpenMailbox:
    """See OpenMailbox."""

    def __init__(self, box: "Mailbox", lock: threading.RLock, let_go: Callable[[], object]) -> None:
        """Read the mailbox as it is."""
        self._box = box
        self._lock = lock
        self._let_go = let_go
        self.holders = 0
        self.id: MailboxId = box.id
        self.uidvalidity: UidValidity = box.uidvalidity
        self.uids = array("Q")
        self.flags = array("Q")
        self.modseqs = array("Q")
        self.generation = 0
        self._gone: list[tuple[int, Uid]] = []  # generation, UID
        self.deleted = False
        self._read()

    def _read(self) -> None:
        box = self._box
        self.name = box.name
        self.uidnext: Uid = box.uidnext
        self.highestmodseq: ModSeq = box.highestmodseq
        self.keywords: Sequence[str] = tuple(box.keywords)
        gone = [Uid(uid) for uid in self.uids if uid not in box.messages]
        if gone:
            # Sessions keep the old array and its length for their sequence numbers: leave it as it is.
            self.generation += 1
            self._gone += [(self.generation, uid) for uid in gone]
            self.uids, self.flags, self.modseqs = array("Q"), array("Q"), array("Q")
        for position, message in enumerate(box.messages.values()):
            if position < len(self.uids):
                self.flags[position], self.modseqs[position] = message.flags, message.modseq
            else:
                self.uids.append(message.uid)
                self.flags.append(message.flags)
                self.modseqs.append(message.modseq)

    def refresh(self, stored: Stored | None = None) -> bool:
        """See OpenMailbox."""
        with self._lock:
            box = self._box
            before = (self.deleted, self.name, self.uidnext, self.highestmodseq, tuple(self.keywords))
            if box.deleted:
                self.deleted = True
            elif before[1:] != (box.name, box.uidnext, box.highestmodseq, tuple(box.keywords)):
                self._read()
            return before != (self.deleted, self.name, self.uidnext, self.highestmodseq, tuple(self.keywords))

    def gone_since(self, generation: int) -> Sequence[Uid]:
        """See OpenMailbox."""
        return sorted(uid for when, uid in self._gone if when > generation)

    def changed_since(self, modseq: ModSeq) -> Sequence[Uid]:
        """See OpenMailbox."""
        return [Uid(uid) for uid, when in zip(self.uids, self.modseqs, strict=True) if when > modseq]

    def close(self) -> None:
        """See OpenMailbox."""
        self.holders -= 1
        if not self.holders:
            self._let_go()
