"""`store verify`: whether index, files, caches and sidecars of an account say the same; and, asked, made so again.

Works beside running daemons: it reads and mends through the same transactions. What is mended is what has one right answer
(counters from rows, rows from files, caches thrown away). What has none, such as a sealed file that does not open, is told
and left alone.

Owns the list of what can be wrong. Never removes a message.
"""

import os
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw

from . import atomic, mail_mailboxes
from .account import FileAccount
from .adoption_directories import is_clutter, look_for_mailboxes, strange_directories
from .adoption_seal import plain_mailboxes, seal_plain_files
from .api import DELETED, SEEN, AccountId, AccountKeys, MailboxId, StoreError, StoreLimits
from .changes import SilentBus
from .check_files import check_files
from .check_report import Finding, Report
from .collections_check import check_collections
from .collections_index import ROOM
from .database import open_database
from .index_reader import Row, select
from .mail_context import MailContext
from .mail_unlink import remove_files
from .search import SCHEMA as SEARCH_SCHEMA
from .sidecar import DESCRIPTION, SUBSCRIPTIONS, UIDLIST, describe, read_uidlist, render_subscriptions
from .store import FileStore

Progress = Callable[[str, int, int], None]
"""Told now and then: the mailbox, messages done, messages in all."""

_STALE = 86_400  # seconds


def verify_account(
    root: Path,
    account: AccountId,
    keys: AccountKeys,
    *,
    sealing: bool,
    repair: bool = False,
    read_files: bool = True,
    limits: StoreLimits | None = None,
    progress: Progress | None = None,
) -> list[Finding]:
    """Look at everything of an account. `read_files`: also open every message to its last octet (needs the secret key).

    Raise Unavailable when the index cannot be opened at all (then rebuild_account is the remedy).
    """
    store = FileStore(root, sealing=sealing, limits=limits or StoreLimits(), bus=SilentBus())
    with closing(store):
        opened = store.open_account(account, keys)
        assert isinstance(opened, FileAccount)
        with closing(opened):
            opened.context.look = _no_look  # what reading comes across is told, not mended by the way
            report = Report(opened.context, repair=repair)
            _check_all(opened.context, report, read_files, progress or _silent)
            return report.findings


def _no_look(mailbox: MailboxId, *, delay: float = 0.0) -> None:
    pass


def _silent(mailbox: str, done: int, total: int) -> None:
    pass


def _tell(progress: Progress, name: str, before: int, total: int, number: int) -> None:
    progress(name, before + number, total)


def _check_all(context: MailContext, report: Report, read_files: bool, progress: Progress) -> None:
    _check_database(context, report)
    for name in strange_directories(context):
        if is_clutter(context, name):
            report.left("directory without mailbox", "", name, lambda: look_for_mailboxes(context))
        else:
            report.fault("directory that can be no mailbox", "", name, None)
    boxes = context.reader.rows("SELECT id, name, messages FROM mailbox ORDER BY name")
    total = sum(messages for _, _, messages in boxes)
    done = 0
    for mailbox, name, messages in boxes:
        progress(name, done, total)
        _check_directory(context, report, mailbox, name)
        check_files(context, report, mailbox, name, read_files, partial(_tell, progress, name, done, total))
        _check_counters(context, report, mailbox, name)
        _check_sidecar(context, report, mailbox, name)
        done += messages
    for mailbox, number in plain_mailboxes(context):
        name = next((name for each, name, _ in boxes if each == mailbox), "")
        report.left("files not sealed yet", name, f"{number}", partial(seal_plain_files, context, mailbox))
    progress("", total, total)
    if _is_other(context.paths.maildir / SUBSCRIPTIONS, render_subscriptions(context), needed=False):
        report.left("sidecar behind", "", SUBSCRIPTIONS, context.sidecars.write_subscriptions)
    check_collections(context, report, read_files)
    _check_account(context, report)
    _check_leftovers(context, report)
    _check_caches(context, report)


def _check_database(context: MailContext, report: Report) -> None:
    for (text,) in context.reader.rows("PRAGMA quick_check(10)"):
        if text != "ok":
            report.fault("index damaged", "", str(text), None)


def _check_directory(context: MailContext, report: Report, mailbox: MailboxId, name: str) -> None:
    path = context.directory(mailbox)
    lacking = [part for part in ("cur", "new", "tmp") if not (path / part).is_dir()]
    if not lacking:
        return

    def mend() -> None:
        atomic.make_directory(path)
        for part in lacking:
            atomic.make_directory(path / part)

    report.fault("mailbox without directory", name, ", ".join(lacking), mend)


# ---------------------------------------------------------------------------------------------------------------------
# Numbers

_COUNTED = (
    "SELECT count(*), coalesce(sum(flags & ? = 0), 0), coalesce(sum(flags & ? <> 0), 0), coalesce(sum(size), 0), "
    "coalesce(max(id) & 4294967295, 0), coalesce(max(modseq), 0) FROM msg WHERE id BETWEEN ? AND ?"
)

_USED = f"(SELECT coalesce(sum(bytes), 0) FROM mailbox) + (SELECT coalesce(sum({ROOM}), 0) FROM item)"  # noqa: S608  # our own words


def _check_counters(context: MailContext, report: Report, mailbox: MailboxId, name: str) -> None:
    bounds = (mailbox << 32, mailbox << 32 | 0xFFFFFFFF)

    def read(connection: apsw.Connection) -> tuple[Row, Row] | None:
        row = select(
            connection,
            "SELECT messages, unseen, deleted, bytes, uidnext, highestmodseq FROM mailbox WHERE id = ?",
            (mailbox,),
        )
        if not row:
            return None
        counted = select(connection, _COUNTED, (SEEN, DELETED, *bounds))[0]
        gone = select(connection, "SELECT coalesce(max(modseq), 0) FROM gone WHERE id BETWEEN ? AND ?", bounds)[0][0]
        right = (*counted[:4], max(row[0][4], counted[4] + 1), max(row[0][5], counted[5], gone))
        return row[0], right

    def mend(connection: apsw.Connection) -> None:
        both = read(connection)
        if both is not None and both[0] != both[1]:
            connection.execute(
                "UPDATE mailbox SET messages = ?, unseen = ?, deleted = ?, bytes = ?, uidnext = ?, highestmodseq = ? "
                "WHERE id = ?",
                (*both[1], mailbox),
            )

    with context.db.snapshot() as connection:
        both = read(connection)
    if both is not None and both[0] != both[1]:
        report.fault("counters differ", name, f"{both[0]}, counted {both[1]}", lambda: context.db.transact(mend))


def _check_account(context: MailContext, report: Report) -> None:
    noted, right = context.reader.rows(f"SELECT bytes, {_USED} FROM account")[0]  # noqa: S608  # our own words
    if noted != right:
        mend = f"UPDATE account SET bytes = {_USED}"  # noqa: S608  # our own words
        report.fault("account's size differs", "", f"{noted}, counted {right}", lambda: context.change(mend, ()))


def _check_sidecar(context: MailContext, report: Report, mailbox: MailboxId, name: str) -> None:
    try:
        directory = context.directory(mailbox)
        described = describe(context.reader, mailbox)
    except StoreError:
        return
    listed = read_uidlist(directory / UIDLIST)
    rows = context.reader.rows("SELECT fname FROM msg WHERE id BETWEEN ? AND ?", (mailbox << 32, mailbox << 32 | 0xFFFFFFFF))
    missing = len(rows) if listed is None else sum(base not in listed.messages for (base,) in rows)
    # A list that is not there yet is missed only by a mailbox that held a message once: a new account has none at first.
    used = bool(context.reader.rows("SELECT 1 FROM mailbox WHERE id = ? AND uidnext > 1", (mailbox,)))
    wrong = []
    if missing or (listed is None and used):
        wrong.append("none" if listed is None else f"{missing} messages not listed")
    if _is_other(directory / DESCRIPTION, described, used):
        wrong.append("described otherwise")
    if wrong:
        report.left("sidecar behind", name, ", ".join(wrong), lambda: context.sidecars.write(mailbox, anew=True))


def _is_other(path: Path, right: bytes, needed: bool) -> bool:
    """Whether a file says something else; one that is not there counts only where it is `needed`."""
    try:
        return atomic.read_file(path, limit=2 * len(right) + 1) != right
    except FileNotFoundError:
        return needed
    except StoreError:
        return True


# ---------------------------------------------------------------------------------------------------------------------
# What is left over


def _check_leftovers(context: MailContext, report: Report) -> None:
    now = int(time.time())
    left = context.reader.rows("SELECT count(*) FROM unlink WHERE after < ?", (now - 3_600,))[0][0]
    if left:
        report.left("files to be removed", "", f"{left}", lambda: remove_files(context))
    if context.reader.rows("SELECT 1 FROM trash LIMIT 1"):
        report.left("deleted mailboxes to be removed", "", "", lambda: mail_mailboxes.empty_trash(context))
    for path in _stale(context.paths.tmp, now - _STALE):
        report.left("draft left over", "", path.name, partial(atomic.unlink, path))


def _stale(tmp: Path, before: float) -> list[Path]:
    found = []
    try:
        with os.scandir(tmp) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < before:
                    found.append(Path(entry.path))
    except OSError:
        return []
    return found


def _check_caches(context: MailContext, report: Report) -> None:
    orphans = _orphans(context, [number for (number,) in context.cache.reader.rows("SELECT id FROM cache")])
    if orphans:
        report.left("cached rows of no message", "", f"{len(orphans)}", lambda: context.cache.drop(orphans))
    if not context.paths.fts_db.exists():
        return
    with closing(open_database(context.paths.fts_db, context.cache_key, SEARCH_SCHEMA, synchronous="NORMAL")) as connection:
        texts = [int(number) for (number,) in select(connection, "SELECT id FROM text")]
    strays = _orphans(context, texts)
    if strays:
        report.left("search text of no message", "", f"{len(strays)}", lambda: context.text.drop(strays))


def _orphans(context: MailContext, ids: list[int]) -> list[int]:
    here = {number for (number,) in context.reader.rows("SELECT id FROM msg")}
    return [number for number in ids if number not in here]
