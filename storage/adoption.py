"""Changes made behind our back: files that other software put, took away or renamed in a Maildir (storage-imap.md 4.6).

Theory of operation. The index knows each file by its base name, and the flags its name last showed. A listing of cur/ and
new/ is compared with that:

* an unknown name is a new message: it is read once (size with CRLF, structure), moved from new/ to cur/, and given the next
  UID. A name with our own marker is left alone for ten minutes: its delivery may be about to commit;
* a name that is missing in two listings is gone: its row goes as in EXPUNGE;
* other flags in a name than `fflags` are a change by others: bit by bit they are merged into the row's flags, which may have
  changed meanwhile in other bits.

The listing that counts is compared inside the write transaction, so nothing of ours can come between. mtimes tell when
there is something to look for; one younger than two seconds cannot be trusted to show a second change, so the look is
repeated.

Owns the comparison. Never follows links, never takes a file from outside the two directories.
"""

import logging
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from . import atomic
from .adoption_files import Adoptee, discard, prepare
from .adoption_seal import seal_plain_files
from .api import DELETED, SEEN, MailboxId, NotFound, StoreError, Uid
from .index_messages import Placed, Removed, count, next_modseq, put_in, take_out
from .index_reader import select
from .mail_after import after_append, after_flags, after_removal, keep_derived
from .mail_context import MailContext, mtime_of
from .maildir import INFO, NAMED_FLAGS, file_name, parse_base, split_name

log = logging.getLogger("preau.storage")

YOUNG = 600
"""Seconds for which a file with our marker and without a row belongs to whoever is delivering it."""

_UNSURE = 2.0
_AT_ONCE = 200
_PASSES = 3


@dataclass(slots=True)
class _Listing:
    """What lies in a mailbox's directory: base name -> (subdirectory, name)."""

    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    doubles: list[tuple[str, str]] = field(default_factory=list)  # names in new/ of files that are in cur/ as well
    mtimes: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class _Differences:
    unknown: list[tuple[str, str]] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)  # base -> id
    renamed: list[tuple[int, str, int]] = field(default_factory=list)  # id, base, flags shown


def look(context: MailContext, mailbox: MailboxId) -> bool:
    """Take in what others did to a mailbox's directory; whether there was anything. Raise NotFound, Unavailable. [thread]"""
    changed = False
    for _ in range(_PASSES):
        try:
            again = _look_once(context, mailbox, context.directory(mailbox))
        except FileNotFoundError:
            # Its directory was taken away, or is not mounted. Forgetting all mail is not ours to decide: `store verify` tells.
            log.error("a mailbox has no directory", extra={"account": context.account, "mailbox": mailbox})
            return changed
        if not again:
            break
        changed = True  # and once more: taking files in moved them, so the mtimes tell nothing now
    return changed


def _look_once(context: MailContext, mailbox: MailboxId, directory: Path) -> bool:
    listing = _list(directory)
    differences = _compare(context, mailbox, listing)
    unknown, waiting = without_young(context, directory, differences.unknown)
    changed = False
    if doubles := _distinct(directory, listing):
        changed |= _adopt(context, mailbox, directory, doubles, rename=True)
    for begin in range(0, len(unknown), _AT_ONCE):
        changed |= _adopt(context, mailbox, directory, unknown[begin : begin + _AT_ONCE])
    if differences.missing:
        again = _list(directory)
        missing = {base: number for base, number in differences.missing.items() if base not in again.files}
        changed |= _forget_missing(context, mailbox, directory, missing)
    if differences.renamed:
        changed |= _merge_flags(context, mailbox, directory, differences.renamed)
    _settle(context, mailbox, listing, waiting)
    return changed


def _list(directory: Path) -> _Listing:
    listing = _Listing(mtimes=(mtime_of(directory / "cur"), mtime_of(directory / "new")))
    for part in ("new", "cur"):  # a name in both counts as in cur
        try:
            names = os.listdir(directory / part)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise atomic.unavailable(error, directory / part) from error
        for name in names:
            if not name.startswith("."):
                base = name.partition(INFO)[0]
                if part == "cur" and base in listing.files and listing.files[base][0] == "new":
                    listing.doubles.append(listing.files[base])
                listing.files[base] = (part, name)
    return listing


def _compare(context: MailContext, mailbox: MailboxId, listing: _Listing) -> _Differences:
    found = _Differences()
    with context.db.snapshot() as connection:
        rows = select(
            connection,
            "SELECT id, fname, fflags FROM msg WHERE id BETWEEN ? AND ?",
            (mailbox << 32, mailbox << 32 | 0xFFFFFFFF),
        )
        names = select(connection, "SELECT fname FROM unlink WHERE dir = ?", (context.directory_name(mailbox),))
    leaving = {base for (base,) in names}
    files = listing.files
    known = set()
    for number, base, shown in rows:
        known.add(base)
        there = files.get(base)
        if there is None:
            found.missing[base] = number
        elif there[0] == "new" or there[1] != file_name(base, shown):
            flags = split_name(there[1])[1]
            if flags != shown:
                found.renamed.append((number, base, flags))
    found.unknown = [there for base, there in files.items() if base not in known and base not in leaving]
    return found


def _distinct(directory: Path, listing: _Listing) -> list[tuple[str, str]]:
    """Of files in new/ whose name is in cur/ too, those that are others: a crash may leave one file under both."""
    others = []
    for part, name in listing.doubles:
        twin = listing.files[name.partition(INFO)[0]]
        try:
            same = os.path.samestat(os.lstat(directory / part / name), os.lstat(directory / twin[0] / twin[1]))
        except OSError:
            continue
        if same:
            atomic.unlink(directory / part / name)
        else:
            others.append((part, name))
    return others


def without_young(context: MailContext, directory: Path, unknown: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], bool]:
    """Those that may be adopted now, and whether some must wait."""
    now = time.time()
    ready, waiting = [], False
    for part, name in unknown:
        if parse_base(name.partition(INFO)[0]) is not None:
            try:
                changed = os.lstat(directory / part / name).st_ctime
            except OSError:
                continue
            if abs(now - changed) < YOUNG:
                waiting = True
                continue
        ready.append((part, name))
    return ready, waiting


def _settle(context: MailContext, mailbox: MailboxId, listing: _Listing, waiting: bool) -> None:
    """Note that the directories held nothing more when they had these mtimes; look again where that is not sure."""
    context.set_clean(mailbox, listing.mtimes)
    if not waiting:
        context.change("UPDATE mailbox SET cur_mtime = ?, new_mtime = ? WHERE id = ?", (*listing.mtimes, mailbox))
    else:
        context.look(mailbox, delay=YOUNG + _UNSURE)
    if (
        abs(time.time() - max(listing.mtimes) / 1e9) < _UNSURE
    ):  # one to come is of a clock that was wrong: not looked at for ever
        context.look(mailbox, delay=_UNSURE + 0.1)


# ---------------------------------------------------------------------------------------------------------------------
# New files


def _adopt(
    context: MailContext, mailbox: MailboxId, directory: Path, files: Sequence[tuple[str, str]], *, rename: bool = False
) -> bool:
    adoptees: list[Adoptee] = []
    for part, name in files:
        try:
            adoptee = prepare(context, directory, part, name, rename=rename)
        except (StoreError, FileNotFoundError) as error:
            log.warning("a file is not taken in", extra={"account": context.account, "error": str(error)})
            continue
        if adoptee is not None:
            adoptees.append(adoptee)
    if not adoptees:
        return False
    atomic.fsync_dir(directory / "cur")
    name = context.directory_name(mailbox)

    def insert(connection: apsw.Connection) -> tuple[list[Adoptee], Placed]:
        kept = [adoptee for adoptee in adoptees if _still_to_adopt(connection, name, adoptee)]
        placed = put_in(connection, mailbox, [adoptee.row for adoptee in kept], room=None)
        for adoptee, spare in zip(kept, placed.spare, strict=True):
            if spare:  # a delivery that crashed, and was tried again. Within the transaction: see check_files_lie_in
                discard(adoptee)
        return kept, placed

    kept, placed = context.db.transact(insert)
    rows = []
    for adoptee, uid, fresh in zip(kept, placed.uids, placed.fresh, strict=True):
        if fresh:
            rows.append((mailbox << 32 | uid, b"", adoptee.derived))
    keep_derived(context, rows)
    if any(placed.fresh):
        log.info("files taken in", extra={"account": context.account, "mailbox": mailbox, "number": sum(placed.fresh)})
        after_append(context, mailbox, placed, keywords=True)
        if context.sealing:
            context.background.submit(("seal", context.account, mailbox), lambda: seal_plain_files(context, mailbox))
    return any(placed.fresh)


def _still_to_adopt(connection: apsw.Connection, directory: str, adoptee: Adoptee) -> bool:
    leaving = connection.execute("SELECT 1 FROM unlink WHERE dir = ? AND fname = ?", (directory, adoptee.row.fname)).get
    return leaving is None and adoptee.path.exists()


# ---------------------------------------------------------------------------------------------------------------------
# Files that went, and other flags


def _forget_missing(context: MailContext, mailbox: MailboxId, directory: Path, missing: dict[str, int]) -> bool:
    def remove(connection: apsw.Connection) -> Removed | None:
        gone = []
        for base, number in missing.items():
            row = connection.execute("SELECT fname, fflags FROM msg WHERE id = ?", (number,)).fetchone()
            if row is None or row[0] != base:
                continue  # removed, or sealed under another name, since
            if not _is_there(directory / "cur" / file_name(base, row[1])):
                gone.append(Uid(number & 0xFFFFFFFF))
        return take_out(connection, mailbox, gone, only_deleted=False) if gone else None

    if not missing:
        return False
    removed = context.db.transact(remove)
    if removed is None or not removed.files:
        return False
    log.info("files have gone", extra={"account": context.account, "mailbox": mailbox, "number": len(removed.files)})
    after_removal(context, mailbox, removed)
    return True


def _is_there(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _merge_flags(context: MailContext, mailbox: MailboxId, directory: Path, renamed: Sequence[tuple[int, str, int]]) -> bool:
    """Bits that differ between a name and `fflags` were changed by others: they win, bit by bit."""

    def merge(connection: apsw.Connection) -> int:
        keywords = connection.execute("SELECT count(*) FROM keyword WHERE mailbox = ?", (mailbox,)).get
        known = NAMED_FLAGS & ((1 << (5 + keywords)) - 1)
        updates: list[tuple[int, int, int]] = []
        unseen = deleted = 0
        for number, base, shown in renamed:
            row = connection.execute("SELECT flags, fflags FROM msg WHERE id = ? AND fname = ?", (number, base)).fetchone()
            if row is None or row[1] == shown or not _shows(directory, base, shown):
                continue
            flags, before = row
            by_others = (shown ^ before) & known
            merged = (flags & ~by_others) | (shown & by_others)
            unseen += bool(flags & SEEN) - bool(merged & SEEN)
            deleted += bool(merged & DELETED) - bool(flags & DELETED)
            updates.append((merged, shown, number))
        if not updates:
            return 0
        modseq = next_modseq(connection, mailbox)
        connection.executemany(
            "UPDATE msg SET modseq = iif(flags = ?1, modseq, ?4), flags = ?1, fflags = ?2 WHERE id = ?3",
            [(*update, modseq) for update in updates],
        )
        count(connection, mailbox, unseen=unseen, deleted=deleted)
        return modseq

    modseq = context.db.transact(merge)
    if modseq:
        context.announce(mailbox, modseq)
        after_flags(context, mailbox)
    return bool(modseq)


def _shows(directory: Path, base: str, flags: int) -> bool:
    """Whether the file still has the name that the listing saw (or another spelling of it)."""
    if _is_there(directory / "cur" / file_name(base, flags)):
        return True
    for part in ("cur", "new"):
        try:
            names = os.listdir(directory / part)
        except OSError:
            continue
        for name in names:
            if name.startswith(base) and split_name(name)[:2] == (base, flags):
                return True
    return False


def look_quietly(context: MailContext, mailbox: MailboxId) -> None:
    """look(), for the background: a mailbox that has gone meanwhile is no fault."""
    try:
        look(context, mailbox)
    except NotFound:
        return
