"""Messages' rows against their files, and files against their seals (part of `store verify`).

Owns what is compared for one mailbox: which files are there, under which names, whether each opens to its last octet with
the size its row says. Never removes a message; a second file of the same name gets a name of its own and is taken in.
"""

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import adoption, atomic
from .adoption_files import inspect
from .api import MailboxId, StoreError, Uid
from .check_report import Report
from .index_reader import Row, select
from .index_schema import LF_ENDS, SEALED
from .mail_context import MailContext, new_email_id
from .mail_fetch import open_row
from .maildir import INFO, file_name, split_name
from .seal import InvalidSeal

_AT_ONCE = 500
_PIECE = 1 << 20
_HEADER = 36
_KEY_ID = slice(28, 36)


def check_files(
    context: MailContext, report: Report, mailbox: MailboxId, name: str, read_files: bool, progress: Callable[[int], None]
) -> None:
    """Everything about the files of one mailbox."""
    try:
        directory = context.directory(mailbox)
        _check_names(context, report, mailbox, name, directory)
    except (FileNotFoundError, StoreError) as error:
        report.fault("mailbox cannot be read", name, str(error), None)
        return
    if read_files and (context.wrapping is not None or not context.sealing):
        _check_content(context, report, mailbox, name, progress)


def _check_names(context: MailContext, report: Report, mailbox: MailboxId, name: str, directory: Path) -> None:
    files: dict[str, list[Path]] = {}
    for part in ("cur", "new"):
        for file in os.listdir(directory / part):
            if not file.startswith("."):
                files.setdefault(file.partition(INFO)[0], []).append(directory / part / file)
    with context.db.snapshot() as connection:
        bounds = (mailbox << 32, mailbox << 32 | 0xFFFFFFFF)
        known: dict[str, int] = dict(select(connection, "SELECT fname, fflags FROM msg WHERE id BETWEEN ? AND ?", bounds))
        leaving = {
            base for (base,) in select(connection, "SELECT fname FROM unlink WHERE dir = ?", (context.directory_name(mailbox),))
        }
    for base, paths in files.items():
        if len(paths) > 1:
            # The one that the row means stays: it has the name the row expects.
            expected = directory / "cur" / file_name(base, known.get(base, 0))
            paths = sorted(paths, key=expected.__ne__)
            # One in new/ and one in cur/ the next look settles, as a crash between link and unlink leaves them.
            settled = len({path.parent for path in paths}) == len(paths)
            tell = report.left if settled else report.fault
            tell("two files of one name", name, paths[1].name, partial(_give_names, context, directory, paths[1:]))
    missing = [base for base in known if base not in files]
    unknown = [
        (paths[0].parent.name, paths[0].name) for base, paths in files.items() if base not in known and base not in leaving
    ]
    unknown, _ = adoption.without_young(context, directory, unknown)
    if missing:
        report.fault("rows without file", name, f"{len(missing)}: {missing[0]}", lambda: adoption.look(context, mailbox))
    if unknown:
        report.left("files without row", name, f"{len(unknown)}: {unknown[0][1]}", lambda: adoption.look(context, mailbox))


def _give_names(context: MailContext, directory: Path, extra: list[Path]) -> None:
    for path in extra:
        base, _, letters = path.name.partition(INFO)
        twin = next((other for other in _files_of(directory, base) if other != path), None)
        if twin is not None and os.path.samestat(os.lstat(path), os.lstat(twin)):
            atomic.unlink(path)  # another name of the same file
            continue
        size = os.lstat(path).st_size
        fresh = context.new_base(size=size, email_id=new_email_id())
        # Not our marker: it is to be taken in at once, and its size is not known to be right.
        atomic.rename(path, directory / "cur" / f"{fresh.replace('.preau-', '.found-', 1)}{INFO}{letters}")


def _files_of(directory: Path, base: str) -> list[Path]:
    return [
        directory / part / file
        for part in ("cur", "new")
        for file in os.listdir(directory / part)
        if split_name(file)[0] == base
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Content


def _check_content(
    context: MailContext, report: Report, mailbox: MailboxId, name: str, progress: Callable[[int], None]
) -> None:
    position, last = mailbox << 32, mailbox << 32 | 0xFFFFFFFF
    done = 0
    while True:
        rows = context.reader.rows(
            "SELECT id, fname, fflags, size, form, dek FROM msg WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
            (position, last, _AT_ONCE),
        )
        if not rows:
            return
        for row in rows:
            _check_message(context, report, mailbox, name, row)
            done += 1
            if done % 100 == 0:
                progress(done)
        position = rows[-1][0]


def _check_message(context: MailContext, report: Report, mailbox: MailboxId, name: str, row: Row) -> None:
    number, base, shown, size, form, dek = row
    uid = Uid(number & 0xFFFFFFFF)
    try:
        _read_through(context, mailbox, uid, (base, shown, size, form, dek))
        return
    except FileNotFoundError:
        return
    except StoreError as error:
        reason = error
    if not _is_there(context, mailbox, base):
        return  # told as a row without file
    where = f"UID {uid}: {reason}"
    if form & SEALED and dek is not None:
        try:
            _read_through(context, mailbox, uid, (base, shown, size, form, None))
        except StoreError:
            pass
        else:
            forget = "UPDATE msg SET dek = NULL WHERE id = ?"
            report.fault("wrapped key does not open", name, where, lambda: context.change(forget, (number,)))
            return
    report.fault(*_fault(context, mailbox, name, row, where))


def _read_through(context: MailContext, mailbox: MailboxId, uid: Uid, row: Row) -> None:
    with open_row(context, mailbox, uid, row) as reader:
        offset = 0
        while offset < reader.size:
            data = reader.read(offset, _PIECE)
            if not data:
                raise InvalidSeal("shorter than its row says")
            offset += len(data)


def _is_there(context: MailContext, mailbox: MailboxId, base: str) -> bool:
    return bool(_files_of(context.directory(mailbox), base))


def _fault(
    context: MailContext, mailbox: MailboxId, name: str, row: Row, where: str
) -> tuple[str, str, str, Callable[[], object] | None]:
    """What is wrong with a file that does not read as its row says."""
    number, base, _, size, form, _ = row
    path = _files_of(context.directory(mailbox), base)[0]
    try:
        found = inspect(path, context.account, context.keys.secret if context.sealing else None)
    except (FileNotFoundError, StoreError):
        return "file cannot be read", name, where, None
    if form & SEALED and not found.form & SEALED:
        return _seal_fault(context, path), name, where, None

    def mend() -> None:
        wrapped = context.wrapping.wrap(found.dek) if found.dek is not None and context.wrapping is not None else None
        context.change(
            "UPDATE msg SET size = ?, form = ?, dek = ? WHERE id = ?",
            (found.size, found.form & (SEALED | LF_ENDS), wrapped, number),
        )
        context.cache.drop([number])
        context.text.drop([number])

    return "row says another form or size", name, f"{where}; {size} in the row, {found.size} in the file", mend


def _seal_fault(context: MailContext, path: Path) -> str:
    """A sealed file that does not open: for which key it says it was sealed tells the kind of fault."""
    descriptor = atomic.open_for_reading(path)
    try:
        head = os.pread(descriptor, _HEADER, 0)
    finally:
        os.close(descriptor)
    if head[_KEY_ID] != hashlib.sha256(context.keys.public).digest()[:8]:
        return "sealed for another account or key"
    return "sealed file does not open"
