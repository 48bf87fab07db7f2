"""Rows of messages in index.db: put in, flags changed, taken out (each function inside a write transaction).

Owns the counters of a mailbox and its MODSEQ: every change of messages goes through here, and
    messages, unseen, deleted, bytes, uidnext, highestmodseq (mailbox) and bytes (account)
stay what the rows say. Rows changed by one call share one MODSEQ; a call that changes nothing raises none.
Never touches a file: the caller has put it in place before, or removes it after.
"""

import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apsw

from .api import (
    DELETED,
    FIRST_KEYWORD_BIT,
    MAX_KEYWORDS,
    SEEN,
    SYSTEM_FLAGS,
    FlagOp,
    Flags,
    Forbidden,
    MailboxId,
    ModSeq,
    NotFound,
    OverQuota,
    Stored,
    Uid,
    UidValidity,
)
from .index_reader import Row, chosen, ordered_batches, rows_of
from .index_schema import GONE_KEPT

MAX_KEYWORD_LENGTH = 200

_MAX_UID = 0xFFFFFFFE
_BATCH = 20_000


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A row of msg about to be put in."""

    flags: int
    fflags: int
    idate: int
    savedate: int
    size: int
    email_id: int
    thread_id: int
    form: int
    dek: bytes | None
    delivery: bytes | None
    fname: str


@dataclass(frozen=True, slots=True)
class Placed:
    """Where rows went. `fresh`: whether the row is new; else `uids` has the one that was there, and `spare` says whether
    the file that was just put in place is another than that row's, hence one too many.
    """

    uidvalidity: UidValidity
    modseq: ModSeq
    uids: list[Uid]
    fresh: list[bool]
    spare: list[bool]


@dataclass(frozen=True, slots=True)
class Removed:
    """Rows taken out: (UID, base name, flags in the name) each, ascending."""

    modseq: ModSeq
    files: list[tuple[Uid, str, int]]


def used_bytes(connection: apsw.Connection) -> int:
    """Octets the account's messages take."""
    return int(connection.execute("SELECT bytes FROM account").get)


def put_in(
    connection: apsw.Connection,
    mailbox: MailboxId,
    rows: Sequence[MessageRow],
    *,
    room: int | None,
    mtimes: tuple[int, int] = (0, 0),
    ours: bool = False,
) -> Placed:
    """Insert rows with the next UIDs. `room`: octets the account may have in all, None for no limit.

    `mtimes`: of cur/ before and after our own change of it (see index_mailboxes.note_own_change).

    A row whose name or delivery is there already takes that UID: adoption was faster, or a delivery is tried again. `ours`: who
    brings it knows more of it than adoption, which reads its file alone: then it gets these flags and dates.
    Raise NotFound, OverQuota, Forbidden (UIDs used up).
    """
    found = connection.execute("SELECT uidvalidity, uidnext, highestmodseq FROM mailbox WHERE id = ?", (mailbox,)).get
    if found is None:
        raise NotFound("no such mailbox")
    uidvalidity, uidnext, highest = found
    if room is not None and used_bytes(connection) + sum(row.size for row in rows) > room:
        raise OverQuota("no room left")
    if uidnext + len(rows) - 1 > _MAX_UID:
        raise Forbidden("the mailbox has used up its UIDs")
    modseq = highest + 1
    if len(rows) > 1 and _insert_all(connection, mailbox, uidnext, modseq, rows):
        added = rows
        uids, fresh, spare = [Uid(uidnext + place) for place in range(len(rows))], [True] * len(rows), [False] * len(rows)
    else:
        uids, fresh, spare, added, corrected = [], [], [], [], False
        for row in rows:
            uid = Uid(uidnext + len(added))
            fresh.append(insert_row(connection, mailbox, uid, modseq, row))
            if fresh[-1]:
                uids.append(uid)
                spare.append(False)
                added.append(row)
            else:
                twin, name = _twin_of(connection, mailbox, row)
                uids.append(twin)
                spare.append(name != row.fname)
                corrected |= ours and name == row.fname and _correct(connection, mailbox, twin, row, modseq)
        if corrected:
            connection.execute("UPDATE mailbox SET highestmodseq = ? WHERE id = ?", (modseq, mailbox))
            highest = modseq
    if not added:
        return Placed(UidValidity(uidvalidity), ModSeq(highest), uids, fresh, spare)
    size = sum(row.size for row in added)
    connection.execute(
        "UPDATE mailbox SET uidnext = ?, highestmodseq = ?, messages = messages + ?, unseen = unseen + ?, "
        "deleted = deleted + ?, bytes = bytes + ?, cur_mtime = iif(cur_mtime = ?, ?, cur_mtime) WHERE id = ?",
        (
            *(uidnext + len(added), modseq, len(added), sum(not row.flags & SEEN for row in added)),
            *(sum(bool(row.flags & DELETED) for row in added), size, *mtimes, mailbox),
        ),
    )
    connection.execute("UPDATE account SET bytes = bytes + ?", (size,))
    return Placed(UidValidity(uidvalidity), ModSeq(modseq), uids, fresh, spare)


_INSERT = "INSERT OR IGNORE INTO msg VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _bindings(number: int, modseq: int, row: MessageRow) -> tuple[Any, ...]:
    return (
        *(number, modseq, row.flags, row.fflags, row.idate, row.savedate, row.size),
        *(row.email_id, row.thread_id, row.form, row.dek, row.delivery, row.fname),
    )


def _insert_all(connection: apsw.Connection, mailbox: int, uid: int, modseq: int, rows: Sequence[MessageRow]) -> bool:
    """Insert rows from `uid` on; False, and nothing done, when one of them is there already."""
    before = connection.total_changes()
    connection.execute("SAVEPOINT rows")
    base = mailbox << 32
    connection.executemany(_INSERT, (_bindings(base | number, modseq, row) for number, row in enumerate(rows, uid)))
    whole = connection.total_changes() - before == len(rows)
    if not whole:
        connection.execute("ROLLBACK TO rows")
    connection.execute("RELEASE rows")
    return whole


def insert_row(connection: apsw.Connection, mailbox: int, uid: int, modseq: int, row: MessageRow) -> bool:
    """Insert a row as it is, without counting it; False when its UID, name or delivery is there already."""
    connection.execute(_INSERT, _bindings(mailbox << 32 | uid, modseq, row))
    return bool(connection.changes())


def _twin_of(connection: apsw.Connection, mailbox: MailboxId, row: MessageRow) -> tuple[Uid, str]:
    found = (
        connection.execute(
            "SELECT id & 4294967295, fname FROM msg WHERE id >> 32 = ? AND fname = ?", (mailbox, row.fname)
        ).fetchone()
        or connection.execute("SELECT id & 4294967295, fname FROM msg WHERE delivery = ?", (row.delivery,)).fetchone()
    )
    assert found is not None
    return Uid(found[0]), found[1]


def _correct(connection: apsw.Connection, mailbox: MailboxId, uid: Uid, row: MessageRow, modseq: int) -> bool:
    """Give what adoption took in the flags and dates of its delivery; whether that changes anything."""
    number = mailbox << 32 | uid
    before = connection.execute("SELECT flags, idate, delivery FROM msg WHERE id = ?", (number,)).fetchone()
    if before is None or before == (row.flags, row.idate, row.delivery):
        return False
    connection.execute(
        "UPDATE OR IGNORE msg SET flags = ?, idate = ?, savedate = ?, delivery = ?, modseq = ? WHERE id = ?",
        (row.flags, row.idate, row.savedate, row.delivery, modseq, number),
    )
    unseen = (not row.flags & SEEN) - (not before[0] & SEEN)
    count(connection, mailbox, unseen=unseen, deleted=bool(row.flags & DELETED) - bool(before[0] & DELETED))
    return True


def count(
    connection: apsw.Connection, mailbox: MailboxId, *, messages: int = 0, unseen: int = 0, deleted: int = 0, size: int = 0
) -> None:
    """Add to the counters of a mailbox, and to the account's."""
    connection.execute(
        "UPDATE mailbox SET messages = messages + ?, unseen = unseen + ?, deleted = deleted + ?, bytes = bytes + ? "
        "WHERE id = ?",
        (messages, unseen, deleted, size, mailbox),
    )
    if size:
        connection.execute("UPDATE account SET bytes = bytes + ?", (size,))


def next_modseq(connection: apsw.Connection, mailbox: MailboxId) -> ModSeq:
    """Raise the mailbox's MODSEQ by one. Raise NotFound."""
    modseq = connection.execute(
        "UPDATE mailbox SET highestmodseq = highestmodseq + 1 WHERE id = ? RETURNING highestmodseq", (mailbox,)
    ).get
    if modseq is None:
        raise NotFound("no such mailbox")
    return ModSeq(modseq)


# ---------------------------------------------------------------------------------------------------------------------
# Flags


def system_bits(flags: Iterable[str]) -> int:
    """The bits of the system flags among these."""
    return sum(SYSTEM_FLAGS.get(flag, 0) for flag in set(flags))


def flag_bits(connection: apsw.Connection, mailbox: MailboxId, flags: Iterable[str], *, make: bool) -> int:
    """The bits of flags; new keywords get one when `make`, else count for nothing. Raise Forbidden (58 are taken)."""
    bits = 0
    keywords: list[str] = []
    for flag in flags:
        bit = SYSTEM_FLAGS.get(flag)
        if bit is None:
            if not flag or flag.startswith("\\") or len(flag) > MAX_KEYWORD_LENGTH:
                raise Forbidden("not a flag that can be kept")
            keywords.append(flag)
        else:
            bits |= bit
    if not keywords:
        return bits
    known = {
        name.casefold(): bit for bit, name in connection.execute("SELECT bit, name FROM keyword WHERE mailbox = ?", (mailbox,))
    }
    for keyword in sorted(keywords):  # a frozenset has no order; keywords get their bits in one that repeats
        number = known.get(keyword.casefold())
        if number is None:
            if not make:
                continue
            if len(known) >= MAX_KEYWORDS:
                raise Forbidden(f"a mailbox has at most {MAX_KEYWORDS} keywords")
            number = FIRST_KEYWORD_BIT + len(known)
            connection.execute("INSERT INTO keyword VALUES (?, ?, ?)", (mailbox, number, keyword))
            known[keyword.casefold()] = number
        bits |= 1 << number
    return bits


def keyword_names(connection: apsw.Connection, mailbox: MailboxId) -> list[str]:
    """The keywords of a mailbox, that of FIRST_KEYWORD_BIT first."""
    return [name for (name,) in connection.execute("SELECT name FROM keyword WHERE mailbox = ? ORDER BY bit", (mailbox,))]


def change_flags(
    connection: apsw.Connection,
    mailbox: MailboxId,
    uids: Sequence[Uid],
    op: FlagOp,
    flags: Flags,
    unchanged_since: ModSeq | None,
) -> Stored:
    """STORE: flags become (flags & keep) | add. Raise NotFound, Forbidden."""
    highest = connection.execute("SELECT highestmodseq FROM mailbox WHERE id = ?", (mailbox,)).get
    if highest is None:
        raise NotFound("no such mailbox")
    bits = flag_bits(connection, mailbox, flags, make=op is not FlagOp.REMOVE)
    keep = {FlagOp.REPLACE: 0, FlagOp.ADD: -1, FlagOp.REMOVE: ~bits}[op]
    add = 0 if op is FlagOp.REMOVE else bits
    modseq = highest + 1
    changed: list[Uid] = []
    failed: list[Uid] = []
    unseen = deleted = 0
    for batch in ordered_batches(uids, _BATCH):
        rows = chosen(connection.execute(*rows_of(mailbox, batch, "flags, modseq", "msg")).fetchall(), batch)
        if unchanged_since is not None:
            failed += [row[0] for row in rows if row[2] > unchanged_since]
            rows = [row for row in rows if row[2] <= unchanged_since]
        rows = [row for row in rows if (row[1] & keep) | add != row[1]]
        if not rows:
            continue
        unseen += _difference(rows, keep, add, SEEN)
        deleted += _difference(rows, keep, add, DELETED)
        these = [Uid(row[0]) for row in rows]
        _update_flags(connection, mailbox, these, batch, keep, add, modseq)
        changed += these
    if not changed:
        return Stored(ModSeq(highest), (), failed)
    if unseen or deleted:
        count(connection, mailbox, unseen=-unseen, deleted=deleted)
    connection.execute("UPDATE mailbox SET highestmodseq = ? WHERE id = ?", (modseq, mailbox))
    return Stored(ModSeq(modseq), changed, failed, keep, add)


def _difference(rows: list[Row], keep: int, add: int, bit: int) -> int:
    """How many rows more than before will have the bit."""
    if add & bit:
        return sum(not row[1] & bit for row in rows)
    if not keep & bit:
        return -sum(bool(row[1] & bit) for row in rows)
    return 0


def _update_flags(
    connection: apsw.Connection, mailbox: MailboxId, uids: list[Uid], batch: list[Uid], keep: int, add: int, modseq: int
) -> None:
    base = mailbox << 32
    update = "UPDATE msg SET flags = (flags & ?1) | ?2, modseq = ?3 WHERE "
    if len(uids) == len(batch) and batch[-1] - batch[0] + 1 == len(batch):
        connection.execute(update + "id BETWEEN ?4 AND ?5", (keep, add, modseq, base | uids[0], base | uids[-1]))
    else:
        ids = array("q", [base | uid for uid in uids])
        connection.execute(update + "id IN carray(?4)", (keep, add, modseq, apsw.carray(ids)))


# ---------------------------------------------------------------------------------------------------------------------
# Taking out


def take_out(connection: apsw.Connection, mailbox: MailboxId, uids: Sequence[Uid] | None, *, only_deleted: bool) -> Removed:
    """Remove rows (all, or those named; of these perhaps only the ones marked \\Deleted), leave tombstones, note the files.

    Raise NotFound.
    """
    found = connection.execute("SELECT dir, highestmodseq FROM mailbox WHERE id = ?", (mailbox,)).get
    if found is None:
        raise NotFound("no such mailbox")
    directory, highest = found
    rows: list[Row] = []
    columns = "flags, size, fname, fflags"
    if uids is None:
        base = mailbox << 32
        rows = connection.execute(
            f"SELECT id & 4294967295, {columns} FROM msg WHERE id BETWEEN ? AND ? AND (flags & ? OR ?)",  # noqa: S608  # our own words
            (base, base | 0xFFFFFFFF, DELETED, not only_deleted),
        ).fetchall()
    else:
        for batch in ordered_batches(uids, _BATCH):
            there = chosen(connection.execute(*rows_of(mailbox, batch, columns, "msg")).fetchall(), batch)
            rows += [row for row in there if row[1] & DELETED] if only_deleted else there
    if not rows:
        return Removed(ModSeq(highest), [])
    modseq = ModSeq(highest + 1)
    ids = array("q", [mailbox << 32 | row[0] for row in rows])
    connection.execute("INSERT OR REPLACE INTO gone SELECT value, ? FROM carray(?)", (modseq, apsw.carray(ids)))
    connection.execute("DELETE FROM msg WHERE id IN carray(?)", (apsw.carray(ids),))
    connection.executemany("INSERT OR REPLACE INTO unlink VALUES (?, ?, ?, 0)", [(directory, row[3], row[4]) for row in rows])
    count(
        connection,
        mailbox,
        messages=-len(rows),
        unseen=-sum(not row[1] & SEEN for row in rows),
        deleted=-sum(bool(row[1] & DELETED) for row in rows),
        size=-sum(row[2] for row in rows),
    )
    connection.execute("UPDATE mailbox SET highestmodseq = ? WHERE id = ?", (modseq, mailbox))
    _prune_gone(connection, mailbox)
    return Removed(modseq, [(Uid(row[0]), row[3], row[4]) for row in rows])


def _prune_gone(connection: apsw.Connection, mailbox: MailboxId) -> None:
    """Forget the oldest tombstones beyond GONE_KEPT, and say from where on they are whole."""
    floor = connection.execute(
        "SELECT modseq FROM gone WHERE id >> 32 = ? ORDER BY modseq DESC LIMIT 1 OFFSET ?", (mailbox, GONE_KEPT)
    ).get
    if floor is not None:
        connection.execute("DELETE FROM gone WHERE id >> 32 = ? AND modseq <= ?", (mailbox, floor))
        connection.execute("UPDATE mailbox SET gone_floor = max(gone_floor, ?) WHERE id = ?", (floor, mailbox))


def read_rows(connection: apsw.Connection, mailbox: MailboxId, uids: Sequence[Uid]) -> list[tuple[Uid, MessageRow]]:
    """Whole rows of those UIDs that are there, ascending."""
    columns = "flags, fflags, idate, savedate, size, emailid, threadid, form, dek, delivery, fname"
    rows: list[tuple[Uid, MessageRow]] = []
    for batch in ordered_batches(uids, _BATCH):
        there = chosen(connection.execute(*rows_of(mailbox, batch, columns, "msg")).fetchall(), batch)
        rows += [(Uid(row[0]), MessageRow(*row[1:])) for row in there]
    return rows


def translated_flags(
    connection: apsw.Connection, source: MailboxId, target: MailboxId, rows: list[MessageRow]
) -> list[MessageRow]:
    """Rows as they are to stand in another mailbox: keywords by that one's table. Raise Forbidden (58 are taken there)."""
    if source == target or not any(row.flags >> FIRST_KEYWORD_BIT for row in rows):
        return rows
    names = keyword_names(connection, source)
    known: dict[int, int] = {}
    translated = []
    for row in rows:
        bits = known.get(row.flags)
        if bits is None:
            keywords = [name for number, name in enumerate(names) if row.flags >> (FIRST_KEYWORD_BIT + number) & 1]
            bits = row.flags & 31 | flag_bits(connection, target, keywords, make=True)
            known[row.flags] = bits
        translated.append(replace(row, flags=bits))
    return translated


def now() -> int:
    """Seconds since 1970 UTC, for savedate."""
    return int(time.time())
