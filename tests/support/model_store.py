"""Stores that stand for processes over one account, in one thread: what is done in the background is done when said.

`Workers` opens the account once a process, each with its own databases and its own end of the bus. `CheckedMail` is the
Mail that sessions get: each change is worked out from the truth first, and then must be what the store answers.
"""

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from model_truth import Box, Known, Rows
from preau.storage.account import FileAccount
from preau.storage.api import (
    FIRST_KEYWORD_BIT,
    SYSTEM_FLAGS,
    AccountKeys,
    Appended,
    Copied,
    Draft,
    FlagOp,
    Flags,
    MailboxId,
    ModSeq,
    Stored,
    StoreLimits,
    Uid,
)
from preau.storage.background import Background
from preau.storage.changes import open_bus
from preau.storage.store import FileStore
from store_contract import ANNE, KEYS


class ByHand(Background):
    """Background work that waits until `run` is called; delays mean nothing."""

    def __init__(self) -> None:
        """Nothing waits."""
        super().__init__(0)
        self.jobs: dict[Hashable, tuple[Callable[[], None], bool]] = {}

    def submit(
        self, key: Hashable, run: Callable[[], None], *, delay: float = 0.0, latest: float = 0.0, idle: bool = False
    ) -> None:
        """See Background."""
        self.jobs.setdefault(key, (run, idle))

    def run(self, key: Hashable) -> None:
        """Do one."""
        self.jobs.pop(key)[0]()

    def settle(self) -> None:
        """Do all that waits now, and what comes of it, looks that may as well be taken later aside."""
        for _ in range(20):
            keys = [key for key, (_, idle) in self.jobs.items() if not idle]
            if not keys:
                return
            for key in keys:
                if key in self.jobs:
                    self.run(key)
        raise AssertionError(f"never quiet: {list(self.jobs)}")

    def finish(self, account: Hashable) -> None:
        """See Background."""
        self.settle()

    def close(self) -> None:
        """See Background."""
        self.settle()


class Process:
    """One process: its store, its end of the bus, the account open in it."""

    def __init__(self, root: Path, run: Path, name: str, keys: AccountKeys, *, sealing: bool) -> None:
        """Open."""
        self.name = name
        self.bus = open_bus(run, name)
        self.store = FileStore(root, sealing=sealing, limits=StoreLimits(), bus=self.bus)
        self.background = self.store.background = ByHand()
        account = self.store.open_account(ANNE, keys)
        assert isinstance(account, FileAccount)
        self.account = account
        self.context = account.context

    def close(self) -> None:
        """Close all."""
        self.account.close()
        self.store.close()
        self.bus.close()


class Observer:
    """Reads the truth off the index, by a process that takes no other part."""

    def __init__(self, process: Process) -> None:
        """Begin at now."""
        self._reader = process.context.reader
        self.boxes: dict[MailboxId, Box] = {}
        self._version = -1

    def rows(self, mailbox: MailboxId) -> Rows:
        """The mailbox as the index has it."""
        head, messages, gone, words = self._reader.together(
            ("SELECT uidnext, highestmodseq, messages, unseen, deleted FROM mailbox WHERE id = ?", (mailbox,)),
            ("SELECT id & 4294967295, flags, modseq FROM msg WHERE id >> 32 = ?", (mailbox,)),
            ("SELECT id & 4294967295, modseq FROM gone WHERE id >> 32 = ?", (mailbox,)),
            ("SELECT name FROM keyword WHERE mailbox = ? ORDER BY bit", (mailbox,)),
        )
        named = [*SYSTEM_FLAGS.items(), *((word, 1 << bit) for bit, (word,) in enumerate(words, FIRST_KEYWORD_BIT))]
        known = {uid: Known(frozenset(name for name, bit in named if mask & bit), modseq) for uid, mask, modseq in messages}
        uidnext, highest, *counters = head[0]
        unseen = sum("\\Seen" not in each.flags for each in known.values())
        deleted = sum("\\Deleted" in each.flags for each in known.values())
        assert counters == [len(known), unseen, deleted], (counters, len(known), unseen, deleted)
        return Rows(known, uidnext, highest, dict(gone))

    def observe(self, *, flags: dict[MailboxId, Sequence[int]] | None = None) -> None:
        """Have all boxes take the present state."""
        version = self._reader.version()
        if version == self._version:
            return
        self._version = version
        for mailbox, box in self.boxes.items():
            box.observe(self.rows(mailbox), flags=(flags or {}).get(mailbox, ()))


class CheckedMail:
    """The Mail of one session: what changes messages is held to the model, everything else is the store's own."""

    def __init__(self, mail: Any, observer: Observer, missing: Callable[[MailboxId], set[int]]) -> None:
        """`missing`: UIDs whose file other software took away."""
        self._mail = mail
        self._observer = observer
        self._missing = missing
        self.last: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mail, name)

    def append(self, mailbox: MailboxId, drafts: Sequence[Draft]) -> Appended:
        """See Mail."""
        box = self._box(mailbox)
        begin, highest = box.rows.uidnext, box.rows.highest
        box.came = set(range(begin, begin + len(drafts)))
        appended: Appended = self._mail.append(mailbox, drafts)
        self._observer.observe()
        assert list(appended.uids) == list(range(begin, begin + len(drafts))), appended
        assert appended.modseq == highest + 1
        for uid, draft in zip(appended.uids, drafts, strict=True):
            assert box.rows.messages[uid] == (draft.flags, appended.modseq)
        box.came = set()
        self.last = appended
        return appended

    def store_flags(
        self,
        mailbox: MailboxId,
        uids: Sequence[Uid],
        op: FlagOp,
        flags: Flags,
        *,
        unchanged_since: ModSeq | None = None,
    ) -> Stored:
        """See Mail."""
        box = self._box(mailbox)
        expected, highest = box.stored(uids, op, flags, unchanged_since), box.rows.highest
        stored: Stored = self._mail.store_flags(mailbox, uids, op, flags, unchanged_since=unchanged_since)
        self._observer.observe(flags={mailbox: expected.changed})
        assert (list(stored.changed), list(stored.failed)) == (expected.changed, expected.failed), (stored, expected)
        assert stored.modseq == highest + bool(expected.changed)
        for uid, after in expected.flags.items():
            assert box.rows.messages[uid].flags == after
        self.last = stored
        return stored

    def expunge(self, mailbox: MailboxId, uids: Sequence[Uid] | None = None) -> Sequence[Uid]:
        """See Mail."""
        box = self._box(mailbox)
        expected = box.removed(uids)
        box.went |= set(expected)
        removed: Sequence[Uid] = self._mail.expunge(mailbox, uids)
        self._observer.observe()
        assert list(removed) == expected
        assert not expected or not set(expected) & box.rows.messages.keys()
        self.last = removed
        return removed

    def copy(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """See Mail."""
        return self._transfer(mailbox, uids, target, move=False)

    def move(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
        """See Mail."""
        return self._transfer(mailbox, uids, target, move=True)

    def _transfer(self, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId, *, move: bool) -> Copied:
        source, box = self._box(mailbox), self._box(target)
        there = sorted(set(uids) & (source.rows.messages.keys() - self._missing(mailbox)))
        begin = box.rows.uidnext
        box.came = set(range(begin, begin + len(there)))
        flags = [source.rows.messages[uid].flags for uid in there]
        if move:
            source.went |= set(there)
        copied: Copied = (self._mail.move if move else self._mail.copy)(mailbox, uids, target)
        self._observer.observe()
        assert (list(copied.source), list(copied.destination)) == (there, sorted(box.came)), copied
        for old, new, each in zip(there, copied.destination, flags, strict=True):
            assert box.rows.messages[new].flags == each
            if old in source.content:
                box.content[new] = source.content[old]
        box.came = set()
        self.last = copied
        return copied

    def _box(self, mailbox: MailboxId) -> Box:
        self._observer.observe()
        return self._observer.boxes[mailbox]


class CheckedAccount:
    """An Account whose mail is checked."""

    def __init__(self, process: Process, observer: Observer, missing: Callable[[MailboxId], set[int]]) -> None:
        """Of that process."""
        self.id = process.account.id
        self.observer = observer
        self.mail = CheckedMail(process.account.mail, observer, missing)
        self.collections = process.account.collections

    def quota(self) -> Any:
        """See Account."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing: the process holds it."""


def pick_job(random: random.Random, processes: Sequence[Process]) -> Iterator[tuple[Process, Hashable]]:
    """One waiting job of some process, if any waits."""
    waiting = [(process, key) for process in processes for key in process.background.jobs]
    if waiting:
        yield random.choice(waiting)


__all__ = ["ANNE", "KEYS", "ByHand", "CheckedAccount", "CheckedMail", "Observer", "Process", "pick_job"]
