"""index.db of an account anew, from its files and sidecars (decisions 22).

What comes back: mailboxes with names, ids, special use, keywords and subscriptions from their descriptions (a directory's
own name where there is none); messages listed in a sidecar with their UIDs, dates and threads; flags as file names show
them. Messages that no sidecar lists come above the next UID and 10,000 more, so that no UID a client may have seen means
another message. MODSEQs begin above all that ever were. Where a mailbox's sidecar is gone, it gets a new UIDVALIDITY.

The new index is made beside the old one and takes its place whole; caches, search text and snapshots are removed.

Owns the reading back. Never changes or removes a message's file.
"""

import logging
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from . import atomic
from .account_db import AccountDatabase
from .account_lock import AccountLock
from .adoption_files import inspect
from .api import DELETED, FIRST_KEYWORD_BIT, MAX_KEYWORDS, SEEN, AccountId, AccountKeys, MailboxId, StoreError, StoreLimits
from .cache import delete_database
from .collections_schema import COLLECTIONS_SCHEMA
from .index_mailboxes import DEFAULT_MAILBOXES, INBOX, checked_name, new_object_id
from .index_messages import MessageRow, insert_row
from .index_reader import IndexReader
from .index_schema import MAIL_SCHEMA, SEALED
from .mail_context import new_email_id
from .maildir import INFO, NAMED_FLAGS, OwnName, is_plain_base, mailbox_name, parse_base, split_name
from .paths import AccountPaths
from .seal import MAGIC, InvalidSeal, looks_sealed, plain_size
from .sidecar import DESCRIPTION, SUBSCRIPTIONS, UIDLIST, Listed, UidList, describe, read_json, read_uidlist

log = logging.getLogger("preau.storage")

UID_GAP = 10_000

Progress = Callable[[str, int, int], None]
"""Told now and then: what is worked on, how much of it is done, how much there is."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild brought back."""

    mailboxes: int
    messages: int
    kept: int  # messages with the UIDs they had
    skipped: int  # files that could not be read


@dataclass(slots=True)
class _Found:
    """A mailbox directory and what its sidecars say."""

    dir: str
    path: Path
    description: dict[str, Any]
    uidlist: UidList | None
    name: str = ""
    id: int = 0
    files: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Counts:
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0
    kept: int = 0
    skipped: int = 0


def rebuild_account(
    root: Path,
    account: AccountId,
    keys: AccountKeys,
    *,
    sealing: bool,
    limits: StoreLimits | None = None,
    progress: Progress | None = None,
) -> Rebuilt:
    """Make index.db anew. The present one is kept as `index.db.before`. Raise Unavailable (the account is open elsewhere)."""
    paths = AccountPaths(root, account)
    atomic.make_directories(paths.directory, below=root)
    lock = AccountLock(paths.directory, alone=True)
    try:
        return rebuild_index(paths, keys, sealing=sealing, limits=limits or StoreLimits(), progress=progress)
    finally:
        lock.release()


def is_lost(paths: AccountPaths) -> bool:
    """Whether there is mail of an account but no index."""
    return not paths.index_db.exists() and ((paths.maildir / UIDLIST).exists() or (paths.maildir / DESCRIPTION).exists())


def rebuild_index(
    paths: AccountPaths, keys: AccountKeys, *, sealing: bool, limits: StoreLimits, progress: Progress | None = None
) -> Rebuilt:
    """rebuild_account for who holds the account's lock alone. Raise Unavailable."""
    for path in (paths.maildir, paths.tmp, paths.snap):
        atomic.make_directory(path)
    fresh = paths.directory / "index.db.new"
    delete_database(fresh)
    # Collections take up their own again when they find their tables empty.
    db = AccountDatabase(fresh, keys.index if sealing else None, MAIL_SCHEMA, COLLECTIONS_SCHEMA)
    try:
        with db.write() as connection:
            rebuilt = _fill(connection, paths, keys if sealing else None, limits, progress or _silent)
    finally:
        db.close()
    for cache in (paths.cache_db, paths.fts_db):
        delete_database(cache)
    atomic.remove_tree(paths.snap)
    before = paths.directory / "index.db.before"
    delete_database(before)
    if paths.index_db.exists():
        atomic.rename(paths.index_db, before)
    delete_database(paths.index_db)  # what is left of its WAL
    atomic.rename(fresh, paths.index_db)
    atomic.fsync_dir(paths.directory)
    log.warning(
        "index made anew",
        extra={"account": paths.account, "mailboxes": rebuilt.mailboxes, "messages": rebuilt.messages, "kept": rebuilt.kept},
    )
    return rebuilt


def _tell(progress: Progress, name: str, before: int, total: int, number: int) -> None:
    progress(name, before + number, total)


def _silent(what: str, done: int, total: int) -> None:
    pass


# ---------------------------------------------------------------------------------------------------------------------
# Mailboxes


def _fill(
    connection: apsw.Connection, paths: AccountPaths, keys: AccountKeys | None, limits: StoreLimits, progress: Progress
) -> Rebuilt:
    found = _find_mailboxes(paths)
    _settle_names(found, limits)
    _settle_ids(found)
    uidvalidity = max([int(time.time()) & 0x7FFFFFFF, *(box.uidlist.uidvalidity for box in found if box.uidlist)])
    # No mailbox changes a thousand times a second for long; but a clock that was ahead may have told more, once.
    modseq = max([time.time_ns() // 1_000_000, *(_told(box, "modseq") for box in found)])
    token = max(time.time_ns() // 1_000_000 << 8, _told(found[0], "token") + 1)  # 256,000 changes a second
    connection.execute("UPDATE collections SET token = ?", (token,))
    total = sum(len(box.files) for box in found)
    done = kept = messages = skipped = 0
    used: set[bytes] = set()
    for box in found:
        if box.uidlist is None:
            uidvalidity += 1
        _insert_mailbox(connection, box, box.uidlist.uidvalidity if box.uidlist else uidvalidity, modseq)
        counts = _Counts()
        reader = _Reader(connection, paths, keys, box, modseq, counts, used)
        uidnext = reader.read(partial(_tell, progress, box.name, done, total))
        connection.execute(
            "UPDATE mailbox SET uidnext = ?, messages = ?, unseen = ?, deleted = ?, bytes = ? WHERE id = ?",
            (uidnext, counts.messages, counts.unseen, counts.deleted, counts.size, box.id),
        )
        connection.execute("UPDATE account SET bytes = bytes + ?", (counts.size,))
        done += len(box.files)
        kept, messages, skipped = kept + counts.kept, messages + counts.messages, skipped + counts.skipped
        progress(box.name, done, total)
    connection.execute(
        "UPDATE account SET uidvalidity = ?, mailbox = ?", (uidvalidity, max((box.id for box in found), default=0))
    )
    index = IndexReader(connection, paths.index_db.name)
    for box in found:  # before the index is there: what it gives out is never more than is told of it
        atomic.replace_file(box.path / DESCRIPTION, describe(index, MailboxId(box.id)), tmp=paths.tmp)
    for name in _subscriptions(paths, limits):
        connection.execute("INSERT OR IGNORE INTO subscription VALUES (?)", (name,))
    return Rebuilt(len(found), messages, kept, skipped)


def _told(box: _Found, name: str) -> int:
    number = box.description.get(name)
    return number if isinstance(number, int) and 0 < number < 1 << 60 else 0


def _find_mailboxes(paths: AccountPaths) -> list[_Found]:
    found = [_look_at("", paths.maildir)]
    for name in sorted(os.listdir(paths.maildir)):
        path = paths.maildir / name
        if name.startswith(".") and name.isascii() and _is_directory(path) and _is_directory(path / "cur"):
            found.append(_look_at(name, path))
    return found


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _look_at(name: str, path: Path) -> _Found:
    for part in ("cur", "new", "tmp"):
        atomic.make_directory(path / part)
    description = read_json(path / DESCRIPTION)
    if not isinstance(description, dict) or description.get("kind") != "mailbox":
        description = {}
    found = _Found(name, path, description, read_uidlist(path / UIDLIST))
    found.files = sorted(file for file in os.listdir(path / "cur") if not file.startswith("."))
    return found


def _settle_names(found: list[_Found], limits: StoreLimits) -> None:
    """A name for each, none twice: the description's, the directory's, or one that says where it was found."""
    taken: set[str] = set()
    for box in found:
        candidates = (
            [INBOX] if not box.dir else [box.description.get("name"), mailbox_name(box.dir), f"Recovered {box.dir[1:13]}"]
        )
        for number in range(1, 1_000):
            candidates.append(f"Recovered {number}")
        for candidate in candidates:
            try:
                name = checked_name(candidate, limits) if isinstance(candidate, str) else ""
            except StoreError:
                continue
            if name and name not in taken and (name != INBOX or not box.dir):
                box.name = name
                taken.add(name)
                break


def _settle_ids(found: list[_Found]) -> None:
    taken: set[int] = set()
    without = []
    for box in found:
        for number in (box.description.get("id"), box.uidlist.mailbox if box.uidlist else None):
            if isinstance(number, int) and 0 < number < 1 << 30 and number not in taken:
                box.id = number
                taken.add(number)
                break
        else:
            without.append(box)
    following = max(taken, default=0)
    for box in without:
        following += 1
        box.id = following


def _insert_mailbox(connection: apsw.Connection, box: _Found, uidvalidity: int, modseq: int) -> None:
    uses = box.description.get("special_use")
    special_use = " ".join(use for use in uses if isinstance(use, str)) if isinstance(uses, list) else ""
    if not box.description:
        special_use = dict(DEFAULT_MAILBOXES).get(box.name, "")
    object_id = box.description.get("object_id") or (box.uidlist.object_id if box.uidlist else None)
    if not isinstance(object_id, str) or connection.execute("SELECT 1 FROM mailbox WHERE object_id = ?", (object_id,)).get:
        object_id = new_object_id()
    connection.execute(
        "INSERT INTO mailbox (id, name, dir, uidvalidity, highestmodseq, gone_floor, special_use, object_id) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (box.id, box.name, box.dir, uidvalidity, modseq, modseq, special_use, object_id),
    )
    for number, keyword in enumerate(_keywords(box)):
        connection.execute("INSERT INTO keyword VALUES (?, ?, ?)", (box.id, FIRST_KEYWORD_BIT + number, keyword))


def _keywords(box: _Found) -> list[str]:
    keywords = box.description.get("keywords")
    if not isinstance(keywords, list):
        return []
    return [keyword for keyword in keywords[:MAX_KEYWORDS] if isinstance(keyword, str)]


def _subscriptions(paths: AccountPaths, limits: StoreLimits) -> list[str]:
    names = read_json(paths.maildir / SUBSCRIPTIONS)
    if not isinstance(names, list):
        return [name for name, _ in DEFAULT_MAILBOXES]
    return [name for name in names[: 2 * limits.mailboxes] if isinstance(name, str)]


# ---------------------------------------------------------------------------------------------------------------------
# Messages


class _Reader:
    """Reads the files of one mailbox back into rows."""

    def __init__(
        self,
        connection: apsw.Connection,
        paths: AccountPaths,
        keys: AccountKeys | None,
        box: _Found,
        modseq: int,
        counts: _Counts,
        used: set[bytes],
    ) -> None:
        self._connection = connection
        self._account = paths.account
        self._keys = keys
        self._box = box
        self._modseq = modseq
        self._counts = counts
        self._used = used  # delivery ids: a crash may have left two files of one
        self._known = (1 << (FIRST_KEYWORD_BIT + len(_keywords(box)))) - 1

    def read(self, progress: Callable[[int], None]) -> int:
        """Rows for all files; the next UID."""
        uidlist = self._box.uidlist
        listed = uidlist.messages if uidlist else {}
        uidnext = uidlist.uidnext if uidlist else 1
        taken: set[int] = set()
        unlisted: list[str] = []
        for number, name in enumerate(self._box.files):
            message = listed.get(name.partition(INFO)[0])
            if message is None or message.uid in taken or message.uid <= 0:
                unlisted.append(name)
            elif self._insert(name, message, message.uid):
                taken.add(message.uid)
                self._counts.kept += 1
            if number % 500 == 0:
                progress(number)
        if unlisted and uidlist is not None:
            uidnext += UID_GAP
        for number, name in enumerate(unlisted):
            if self._insert(name, None, uidnext):
                uidnext += 1
            if number % 500 == 0:
                progress(len(self._box.files) - len(unlisted) + number)
        return uidnext

    def _insert(self, name: str, listed: Listed | None, uid: int) -> bool:
        path = self._box.path / "cur" / name
        base, flags, _ = split_name(name)
        if not is_plain_base(base):
            return False  # adoption gives it another name, and takes it in
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                return False
            form, size, thread_id = self._inspect(path, base, listed, status.st_size)
        except (OSError, StoreError) as error:
            log.error("a file cannot be read", extra={"account": self._account, "file": name, "error": str(error)})
            self._counts.skipped += 1
            return False
        own = parse_base(base)
        row = MessageRow(
            flags=flags & self._known,
            fflags=flags & NAMED_FLAGS,
            idate=listed.idate if listed else int(status.st_mtime),
            savedate=listed.savedate if listed else int(status.st_mtime),
            size=size,
            email_id=own.email_id if own else new_email_id(),
            thread_id=thread_id,
            form=form,
            dek=None,
            delivery=self._delivery(own),
            fname=base,
        )
        if not insert_row(self._connection, self._box.id, uid, self._modseq, row):
            return False
        self._counts.messages += 1
        self._counts.unseen += not row.flags & SEEN
        self._counts.deleted += bool(row.flags & DELETED)
        self._counts.size += size
        return True

    def _delivery(self, own: OwnName | None) -> bytes | None:
        if own is None or own.delivery is None or own.delivery in self._used:
            return None
        self._used.add(own.delivery)
        return own.delivery

    def _inspect(self, path: Path, base: str, listed: Listed | None, there: int) -> tuple[int, int, int]:
        """form, size, thread. A file of ours that is listed is not read whole: its magic and its length tell enough."""
        own = parse_base(base)
        if listed is not None and own is not None:
            descriptor = atomic.open_for_reading(path)
            try:
                sealed = self._keys is not None and looks_sealed(os.pread(descriptor, len(MAGIC), 0))
            finally:
                os.close(descriptor)
            try:
                size = plain_size(there) if sealed else there
            except InvalidSeal:
                size = -1
            if size == own.size:
                return SEALED if sealed else 0, size, listed.thread_id
        found = inspect(path, self._account, self._keys.secret if self._keys is not None else None)
        return found.form, found.size, found.derived.thread_id
