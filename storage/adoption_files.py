"""Single files of other software on their way into the index (see adoption.py).

Owns how a strange file is read (sealed by us, plain with CRLF, plain with LF), renamed so that its name can be kept in a
row, and moved to cur/.
Never trusts a name: links, directories, FIFOs are passed over; a name that a row or a sidecar cannot hold is replaced.
"""

import contextlib
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from . import atomic
from .api import AccountId, StoreError
from .index_messages import MessageRow, now
from .index_schema import LF_ENDS, SEALED
from .mail_context import MailContext, new_email_id
from .mail_derive import Derived, derive_from
from .mail_reader import LfReader, PlainReader
from .maildir import NAMED_FLAGS, file_name, is_plain_base, parse_base, split_name
from .seal import MAGIC, InvalidSeal, SealKind, looks_sealed, open_sealed

log = logging.getLogger("preau.storage")

_PIECE = 262_144
_SYSTEM = 31


@dataclass(frozen=True, slots=True)
class Adoptee:
    """A file that lies in cur/ and wants a row."""

    path: Path
    row: MessageRow
    derived: Derived


def prepare(context: MailContext, directory: Path, part: str, name: str, *, rename: bool = False) -> Adoptee | None:
    """Look into a file and bring it under a name in cur/ that a row can hold; None for what is no message.

    `rename`: under another name in any case, because a second file has this one.

    Raise FileNotFoundError (it went), Unavailable.
    """
    path = directory / part / name
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        return None
    base, flags, _ = split_name(name)
    own = parse_base(base)
    found = inspect(path, context.account, context.keys.secret if context.sealing else None)
    size = found.size
    dek = None if found.dek is None or context.wrapping is None else context.wrapping.wrap(found.dek)
    email_id = own.email_id if own else new_email_id()
    delivery = own.delivery if own else None
    flags &= NAMED_FLAGS
    final = directory / "cur" / file_name(base, flags)
    if rename or not is_plain_base(base) or not _is_named(path, final, status):
        # A name that nobody has: of two processes that are at it, one finds the file gone.
        base = context.new_base(size=size, email_id=email_id, delivery=delivery)
        final = directory / "cur" / file_name(base, flags)
        atomic.rename(path, final)
    elif final != path:
        atomic.unlink(path)
    row = MessageRow(
        flags=flags & _SYSTEM,  # letters of keywords mean something only with the table of whoever wrote them
        fflags=flags,
        idate=int(status.st_mtime),
        savedate=now(),
        size=size,
        email_id=email_id,
        thread_id=found.derived.thread_id,
        form=found.form,
        dek=dek,
        delivery=delivery,
        fname=base,
    )
    return Adoptee(final, row, found.derived)


def _is_named(path: Path, final: Path, status: os.stat_result) -> bool:
    """Give a file its name in cur/, beside the one it has; False when another file has that.

    By a link: a rename would replace what is there. Another process may have done it just now: then it is this very file.
    """
    if path == final:
        return True
    try:
        atomic.link(path, final)
    except FileExistsError:
        return os.path.samestat(status, os.lstat(final))
    return True


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file holds."""

    form: int
    size: int  # RFC822.SIZE
    dek: bytes | None
    derived: Derived


def inspect(path: Path, account: AccountId, secret_key: bytes | None) -> Inspected:
    """Read a whole file. One with the magic that does not open counts as plain (decisions 17), and is reported.

    Raise FileNotFoundError, Unavailable.
    """
    descriptor = atomic.open_for_reading(path)
    try:
        if secret_key is not None and looks_sealed(os.pread(descriptor, len(MAGIC), 0)):
            try:
                with open_sealed(os.dup(descriptor), account=account, kind=SealKind.MESSAGE, secret_key=secret_key) as sealed:
                    return Inspected(SEALED, sealed.size, sealed.dek, derive_from(sealed))
            except InvalidSeal:
                log.warning("a sealed file does not open: taken as it is", extra={"account": account, "file": path.name})
        return _inspect_plain(descriptor)
    finally:
        os.close(descriptor)


def _inspect_plain(descriptor: int) -> Inspected:
    there = os.fstat(descriptor).st_size
    bare, last, offset = 0, b"", 0
    while data := os.pread(descriptor, _PIECE, offset):
        crlf = data.count(b"\r\n") + (last == b"\r" and data[:1] == b"\n")
        bare += data.count(b"\n") - crlf
        last = data[-1:]
        offset += len(data)
    plain = PlainReader(os.dup(descriptor), there)
    reader: PlainReader | LfReader = LfReader(plain, there + bare) if bare else plain
    with reader:
        return Inspected(LF_ENDS if bare else 0, reader.size, None, derive_from(reader))


def discard(adoptee: Adoptee) -> None:
    """Remove a file that is one too many."""
    with contextlib.suppress(StoreError):
        atomic.unlink(adoptee.path)
