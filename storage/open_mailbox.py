"""A mailbox as one worker process sees it: three arrays, kept up with the index by deltas.

Theory of operation. uids, flags and modseqs run in parallel, ascending by UID. refresh() asks SQLite whether anybody
committed (5 microseconds); if so, and the mailbox's MODSEQ rose, it reads what changed and what went since then. New
messages are appended to the arrays and flags changed in place; when messages went, new arrays take the old ones' place, so
that a session which holds the old `uids` keeps its sequence numbers until it may tell EXPUNGE (imap/view.py).

Two logs answer the sessions: UIDs removed a generation, UIDs changed a MODSEQ. When the index has forgotten tombstones
that would be needed, or a count does not fit, the mailbox is read whole and compared.

Opening reads snap/<mailbox>, if it fits, and the delta since; the last close writes it, and so does every thousandth change.
At most once a second refresh() also stats cur/ and new/ and has a look taken in the background when others were there.

Owns the arrays. Loop thread only, but for load(), which open() may run in a thread. Never writes to the index.
"""

import logging
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import cast

from . import atomic
from .api import MailboxId, ModSeq, NotFound, Stored, StoreError, Uid, UidValidity
from .index_reader import Row
from .mail_context import MailContext, mtime_of
from .snapshot import MAX_BYTES, Snapshot, parse_snapshot, render_snapshot

log = logging.getLogger("preau.storage")

SMALL = 2_000
"""Messages up to which a mailbox is read from the index in about a millisecond: no snapshot is needed, nor written."""

_SNAPSHOT_EVERY = 1_000
_LOOK_EVERY = 1.0
_LOG_LIMIT = 100_000
_MANY = 64

_MAILBOX = "SELECT uidvalidity, uidnext, highestmodseq, gone_floor, name, messages FROM mailbox WHERE id = ?"
_ALL = "SELECT id & 4294967295, flags, modseq FROM msg WHERE id BETWEEN ? AND ?"
# One statement, so that all of it is of one commit: the mailbox, what changed since a MODSEQ, and what went.
_DELTA = """
SELECT uidvalidity, uidnext, highestmodseq, gone_floor, name, messages, 0 FROM mailbox WHERE id = ?1
UNION ALL SELECT id & 4294967295, flags, modseq, 0, '', 0, 1 FROM msg WHERE id >> 32 = ?1 AND modseq > ?2
UNION ALL SELECT id & 4294967295, 0, 0, 0, '', 0, 2 FROM gone WHERE id >> 32 = ?1 AND modseq > ?2
"""


class SharedMailbox:
    """The OpenMailbox of the file store, one for all sessions of a process on that mailbox."""

    def __init__(self, context: MailContext, mailbox: MailboxId, look: Callable[[MailboxId], None]) -> None:
        """An empty view; load() fills it. `look` has the directories looked at in the background."""
        self._context = context
        self._look = look
        self.id = mailbox
        self.name = ""
        self.uidvalidity = UidValidity(0)
        self.uidnext = Uid(1)
        self.highestmodseq = ModSeq(0)
        self.uids: array[int] = array("I")
        self.flags: array[int] = array("Q")
        self.modseqs: array[int] = array("Q")
        self.generation = 0
        self.keywords: Sequence[str] = ()
        self.deleted = False
        self.holders = 0
        self._version = -1
        self._next_look = 0.0
        self._gone: list[array[int]] = []  # [generation] -> UIDs removed by the refresh that led to generation + 1
        self._changes: list[tuple[int, list[int]]] = []  # (MODSEQ reached, UIDs)
        self._changes_size = 0
        self._changes_floor = ModSeq(0)  # the log is whole for what is above
        self._since_snapshot = 0

    # -- loading

    def load(self) -> None:
        """Fill the view: from its snapshot if that fits, else from the index. Raise NotFound, Unavailable."""
        self._version = self._context.reader.version()
        snapshot = self._read_snapshot()
        if snapshot is not None:
            self.uids, self.flags, self.modseqs = snapshot.uids, snapshot.flags, snapshot.modseqs
            self.uidvalidity, self.highestmodseq = snapshot.uidvalidity, snapshot.highestmodseq
            self._catch_up(loading=True)
        else:
            self._read_whole(loading=True)
        if self.deleted:
            raise NotFound("no such mailbox")
        self._gone.clear()
        self._changes.clear()
        self._changes_size = 0
        self.generation = 0
        self._changes_floor = self.highestmodseq
        self._since_snapshot = 0 if snapshot is not None else len(self.uids)
        self._read_keywords()

    def _read_snapshot(self) -> Snapshot | None:
        try:
            data = atomic.read_file(self._context.paths.snapshot(self.id), limit=MAX_BYTES)
        except (FileNotFoundError, StoreError):
            return None
        return parse_snapshot(data, self.id, self._context.cache_key)

    def _read_keywords(self) -> None:
        rows = self._context.reader.rows("SELECT name FROM keyword WHERE mailbox = ? ORDER BY bit", (self.id,))
        self.keywords = [name for (name,) in rows]

    # -- catching up

    def refresh(self, stored: Stored | None = None) -> bool:
        """See OpenMailbox.refresh."""
        if self.deleted:
            return False
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            self._look_at_directories()
        version = self._context.reader.version()
        if version == self._version:
            return False
        self._version = version
        taken = stored is not None and self._take(stored)
        return self._catch_up() or taken

    def _take(self, stored: Stored) -> bool:
        """A change of flags as it was made, if it is the next one; whether it was. Else it is read like others."""
        changed, keep, add = stored.changed, stored.keep, stored.add
        if not changed or not (keep or add) or stored.modseq != self.highestmodseq + 1 or self._has_unknown(add):
            return False
        uids, flags, modseqs = self.uids, self.flags, self.modseqs
        first = bisect_left(uids, changed[0])
        end = first + len(changed)
        if uids[first:end] == array("I", changed):
            # A run without holes (one, or STORE 1:*).
            flags[first:end] = array("Q", [bits & keep | add for bits in flags[first:end]])
            modseqs[first:end] = array("Q", (stored.modseq,)) * len(changed)
        else:
            places = [bisect_left(uids, uid) for uid in changed]
            if any(place == len(uids) or uids[place] != uid for place, uid in zip(places, changed, strict=True)):
                return False
            for place in places:
                flags[place] = flags[place] & keep | add
                modseqs[place] = stored.modseq
        self.highestmodseq = stored.modseq
        self._log_changes(stored.modseq, list(changed))
        self._since_snapshot += len(changed)
        return True

    def _has_unknown(self, bits: int) -> bool:
        """Whether there are keywords among these flags whose names were not read yet."""
        return bool(bits >> (5 + len(self.keywords)))

    def _look_at_directories(self) -> None:
        try:
            directory = self._context.directory(self.id)
            mtimes = (mtime_of(directory / "cur"), mtime_of(directory / "new"))
            if not self._context.is_clean(self.id, mtimes):
                self._look(self.id)
        except StoreError as error:
            log.warning("directory not looked at", extra={"account": self._context.account, "error": str(error)})

    def _catch_up(self, *, loading: bool = False) -> bool:
        rows = self._context.reader.rows(_DELTA, (self.id, self.highestmodseq))
        if not rows or rows[0][6] != 0:
            self.deleted = True
            return True
        uidvalidity, uidnext, highest, gone_floor, name, messages, _ = rows[0]
        if highest == self.highestmodseq and uidvalidity == self.uidvalidity and not loading:
            self.name = name
            return False
        if gone_floor > self.highestmodseq or uidvalidity != self.uidvalidity or highest < self.highestmodseq:
            return self._read_whole(loading=loading)
        self.name, self.uidnext = name, Uid(uidnext)
        gone = [row[0] for row in rows if row[6] == 2]
        changed = [row[:3] for row in rows if row[6] == 1]
        if gone:
            self._remove(gone)
        if changed:
            changed.sort()
            if not self._apply(changed):
                return self._read_whole(loading=loading)
        before, self.highestmodseq = self.highestmodseq, ModSeq(highest)
        if len(self.uids) != messages:
            # Counters or the snapshot are wrong; the rows are right.
            return self._read_whole(loading=loading)
        self._since_snapshot += len(changed) + len(gone)
        if self._since_snapshot >= _SNAPSHOT_EVERY and not loading:
            self._write_snapshot()
        return bool(highest != before)

    def _apply(self, rows: list[Row]) -> bool:
        """Rows (UID, flags, MODSEQ) ascending into the arrays; False when one of them cannot have come in order."""
        uids, flags, modseqs = self.uids, self.flags, self.modseqs
        last = uids[-1] if uids else 0
        place = bisect_left(uids, rows[0][0])
        seen = 0
        named, all_bits, all_modseqs = zip(*rows, strict=True)
        if uids[place : place + len(rows)] == array("I", named):
            # A run without holes (STORE 1:*).
            flags[place : place + len(rows)] = array("Q", all_bits)
            modseqs[place : place + len(rows)] = array("Q", all_modseqs)
            for bits in set(all_bits):
                seen |= bits
            rows = []
        for uid, bits, modseq in rows:
            seen |= bits
            if uid > last:
                uids.append(uid)
                flags.append(bits)
                modseqs.append(modseq)
                last = uid
                continue
            place = bisect_left(uids, uid, place)
            if uids[place] != uid:
                return False
            flags[place] = bits
            modseqs[place] = modseq
        if self._has_unknown(seen):
            self._read_keywords()
        self._log_changes(max(all_modseqs), list(named))
        return True

    def _log_changes(self, modseq: int, uids: list[int]) -> None:
        self._changes.append((modseq, uids))
        self._changes_size += len(uids)
        while self._changes and self._changes_size > _LOG_LIMIT:
            floor, dropped = self._changes.pop(0)
            self._changes_size -= len(dropped)
            self._changes_floor = ModSeq(floor)

    def _remove(self, gone: Sequence[int]) -> None:
        here = self.uids
        places = []
        for uid in sorted(gone):
            place = bisect_left(here, uid)
            if place < len(here) and here[place] == uid:
                places.append(place)
        if not places:
            return
        removed = array("I", [here[place] for place in places])
        self.uids = _without(self.uids, places)
        self.flags = _without(self.flags, places)
        self.modseqs = _without(self.modseqs, places)
        self._gone.append(removed)
        self.generation += 1

    def _read_whole(self, *, loading: bool) -> bool:
        """Read all rows; what differs from the arrays counts as removed or changed."""
        bounds = (self.id << 32, self.id << 32 | 0xFFFFFFFF)
        head, rows = self._context.reader.together((_MAILBOX, (self.id,)), (_ALL, bounds))
        if not head:
            self.deleted = True
            return True
        uidvalidity, uidnext, highest, _, name, messages = head[0]
        self.name, self.uidnext, self.uidvalidity = name, Uid(uidnext), UidValidity(uidvalidity)
        if len(rows) != messages:
            log.warning("counters differ from rows", extra={"account": self._context.account, "mailbox": self.id})
        columns = list(zip(*rows, strict=True)) or [(), (), ()]
        new_uids, new_flags, new_modseqs = array("I", columns[0]), array("Q", columns[1]), array("Q", columns[2])
        if loading:
            self.uids, self.flags, self.modseqs = new_uids, new_flags, new_modseqs
        else:
            self._remove(sorted(set(self.uids).difference(new_uids)))
            before = dict(zip(self.uids, zip(self.flags, self.modseqs, strict=True), strict=True))
            changed = [row for row in rows if before.get(row[0]) != (row[1], row[2])]
            if changed and not self._apply(changed):
                # Rows below the last UID that were not here before (a repair): sessions must count anew.
                self._gone.append(array("I"))
                self.generation += 1
            self.uids, self.flags, self.modseqs = new_uids, new_flags, new_modseqs
            self._changes_floor = ModSeq(max(self._changes_floor, highest))
            self._read_keywords()
        self.highestmodseq = ModSeq(highest)
        self._since_snapshot += len(rows)
        return True

    # -- what sessions ask

    def gone_since(self, generation: int) -> Sequence[Uid]:
        """See OpenMailbox.gone_since."""
        logs = self._gone[max(0, generation) :]
        if len(logs) == 1:
            return [Uid(uid) for uid in logs[0]]
        return sorted(Uid(uid) for gone in logs for uid in gone)

    def changed_since(self, modseq: ModSeq) -> Sequence[Uid]:
        """See OpenMailbox.changed_since."""
        if modseq >= self.highestmodseq:
            return ()
        first = bisect_right(self._changes, int(modseq), key=lambda entry: entry[0])
        entries = [uids for _, uids in self._changes[first:]]
        if modseq < self._changes_floor or sum(map(len, entries)) > max(_MANY, len(self.uids) // 8):
            # Not in the log, or so many that looking at all takes less time.
            return cast(list[Uid], [uid for uid, changed in zip(self.uids, self.modseqs, strict=True) if changed > modseq])
        candidates = entries[0] if len(entries) == 1 else sorted({uid for uids in entries for uid in uids})
        here, modseqs = self.uids, self.modseqs
        found = []
        for uid in candidates:
            place = bisect_left(here, uid)
            if place < len(here) and here[place] == uid and modseqs[place] > modseq:
                found.append(Uid(uid))
        return found

    def close(self) -> None:
        """See OpenMailbox.close."""
        self.holders -= 1
        if self.holders > 0:
            return
        if self._context.open.get(self.id) is self:
            del self._context.open[self.id]
        if not self.deleted and self._since_snapshot > 0:
            self._write_snapshot()

    def _write_snapshot(self) -> None:
        self._since_snapshot = 0
        if len(self.uids) <= SMALL:
            return
        context, path = self._context, self._context.paths.snapshot(self.id)
        snapshot = Snapshot(self.id, self.uidvalidity, self.highestmodseq, self.uids[:], self.flags[:], self.modseqs[:])

        def write() -> None:
            atomic.make_directory(path.parent)
            atomic.replace_file(path, render_snapshot(snapshot, context.cache_key), durable=False)

        context.background.submit(("snapshot", context.account, self.id), write)


def _without(values: "array[int]", places: list[int]) -> "array[int]":
    """A copy without the values at these places (ascending)."""
    if len(places) == 1:
        return values[: places[0]] + values[places[0] + 1 :]
    kept = array(values.typecode)
    begin = 0
    for place in places:
        kept += values[begin:place]
        begin = place + 1
    kept += values[begin:]
    return kept
