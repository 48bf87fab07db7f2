"""What a mailbox must be: every state that it had, and the rules by which one may follow another.

`Box.observe` is shown the rows of the index after each step and refuses a step that no rule allows: a UID given twice, a
MODSEQ used twice, a change without a new MODSEQ, a message that went without anybody having removed it. What a call of
the store is to do is worked out here from the state before (`stored`, `removed`), never asked of the store.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from preau.storage.api import FlagOp, Flags, Uid

Content = str
"""What identifies a message's octets: its X-Id field."""


class Known(NamedTuple):
    """A message as it is now."""

    flags: Flags
    modseq: int


class Rows(NamedTuple):
    """A mailbox as the index has it."""

    messages: dict[int, Known]
    uidnext: int
    highest: int
    gone: dict[int, int]  # UID -> MODSEQ of its tombstone


@dataclass(slots=True)
class Expected:
    """What STORE must do."""

    changed: list[int]
    failed: list[int]
    flags: dict[int, Flags]


@dataclass(slots=True)
class Box:
    """One mailbox: the present, and the past that clients may still be at."""

    name: str
    rows: Rows = field(default_factory=lambda: Rows({}, 1, 0, {}))
    history: dict[int, dict[int, Flags]] = field(default_factory=dict)  # UID -> MODSEQ -> flags
    content: dict[int, Content] = field(default_factory=dict)
    came: set[int] = field(default_factory=set)  # UIDs that somebody may have put in by this step
    went: set[int] = field(default_factory=set)  # UIDs that somebody may have taken out
    others: dict[int, set[str]] = field(default_factory=dict)  # UID -> flags that other software wrote into its name
    strange: int = 0  # files that other software put in and nobody took yet
    changes: int = 0

    def observe(self, now: Rows, *, flags: Iterable[int] = ()) -> bool:
        """Take the present state, if it may follow: `flags` are the UIDs whose flags this step may change at will."""
        before, free = self.rows, set(flags)
        where = f"{self.name}: {before.uidnext}/{before.highest} -> {now.uidnext}/{now.highest}"
        assert now.highest >= before.highest, f"HIGHESTMODSEQ fell, {where}"
        assert now.uidnext >= before.uidnext, f"UIDNEXT fell, {where}"
        changed = False
        for uid, known in now.messages.items():
            old = before.messages.get(uid)
            if old == known:
                continue
            changed = True
            assert known.modseq <= now.highest, f"MODSEQ {known.modseq} of {uid} above the highest, {where}"
            assert known.modseq > before.highest, f"{uid} changed under an old MODSEQ {known.modseq}, {where}"
            if old is None:
                assert before.uidnext <= uid < now.uidnext, f"UID {uid} out of order, {where}"
                assert uid not in self.history, f"UID {uid} given twice, {where}"
                assert uid in self.came or self.strange > 0, f"UID {uid} from nowhere, {where}"
                self.strange -= uid not in self.came
            else:
                differs = old.flags ^ known.flags
                allowed = differs if uid in free else self.others.get(uid, set())
                assert differs <= allowed, f"{uid}: {set(differs)} changed by nobody, {where}"
            self.history.setdefault(uid, {})[known.modseq] = known.flags
        for uid in before.messages.keys() - now.messages.keys():
            changed = True
            assert uid in self.went, f"UID {uid} lost, {where}"
            assert before.highest < now.gone[uid] <= now.highest, f"tombstone of {uid} is old, {where}"
        assert not now.gone.keys() & now.messages.keys()
        assert before.gone.items() <= now.gone.items(), f"a tombstone changed, {where}"
        if changed:
            assert now.highest > before.highest, f"a change without MODSEQ, {where}"
            self.changes += 1
        self.rows = now
        return changed

    def stored(self, uids: Sequence[int], op: FlagOp, flags: Flags, since: int | None) -> Expected:
        """What STORE does now."""
        expected = Expected([], [], {})
        for uid in sorted(set(uids)):
            known = self.rows.messages.get(uid)
            if known is None:
                continue
            if since is not None and known.modseq > since:
                expected.failed.append(uid)
                continue
            after = applied(known.flags, op, flags)
            expected.flags[uid] = after
            if after != known.flags:
                expected.changed.append(uid)
        return expected

    def removed(self, uids: Sequence[int] | None) -> list[Uid]:
        """What EXPUNGE removes now."""
        named = self.rows.messages.keys() if uids is None else set(uids) & self.rows.messages.keys()
        return [Uid(uid) for uid in sorted(named) if "\\Deleted" in self.rows.messages[uid].flags]


def applied(before: Flags, op: FlagOp, flags: Flags) -> Flags:
    """Flags after STORE."""
    return {FlagOp.REPLACE: flags, FlagOp.ADD: before | flags, FlagOp.REMOVE: before - flags}[op]
