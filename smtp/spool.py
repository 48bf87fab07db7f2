"""The spool: messages that were answered with 250 and belong to nobody's mailbox yet (RFC 5321 section 4.2.5).

Theory of operation. A message is two files, sealed with the queue's key: `<id>.msg`, its octets, and `<id>.env`, its
envelope. They are written under `tmp`, flushed, and renamed into `incoming`, the envelope last; then the directory is
flushed. From there on the message survives a power cut, and 250 may be said. A message is there when its envelope is: a
`.msg` alone is what a crash left, and nobody was told that it was taken.

The queue gives both files a second name in `active` (activate), notes the message in its database and then removes the
first names (forget_incoming). Once every recipient is settled it removes the rest, the envelope first (remove). The
envelope stays with the message for as long as there is something to do: a lost queue.db is made again from `active`.

Whoever receives mail holds only the public half of the key: it cannot read what it has written. Owns names, order and
format of the files. Never decides what becomes of a message: that is the queue's.
"""

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..storage import atomic
from ..storage.api import NotFound, Unavailable
from ..storage.seal import SealKind, SealReader, SealWriter, open_bytes, open_sealed, seal_bytes

BODY, ENVELOPE = ".msg", ".env"
MAX_ENVELOPE = 16_777_216
"""Octets of an envelope file: some ten thousand recipients with all their parameters."""

T = TypeVar("T")

_VERSION = 1
_ID_LENGTH = 18


@dataclass(frozen=True, slots=True)
class SpoolRecipient:
    """Whom the message is for, and what the sender wants to hear of it (RFC 3461 sections 4.1 and 4.2).

    `notify`: NEVER, or some of SUCCESS, FAILURE, DELAY; empty: not said.  `orcpt`: `type;address`, decoded; "": not said.
    """

    address: str
    notify: frozenset[str] = frozenset()
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was said before DATA. `reverse_path`: "" is the null path.  `received`: seconds since 1970 UTC.

    `ret`: FULL, HDRS or "".  `envid`: decoded.  `account`: the submitter's account id, "" for mail from outside.
    `peer`: address it came from, "" for what was made here.
    """

    reverse_path: str
    recipients: tuple[SpoolRecipient, ...]
    received: int
    size: int = 0  # octets; filled in by commit
    body: str = "7BIT"  # 8BITMIME, BINARYMIME
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    account: str = ""
    peer: str = ""


class MessageSource(Protocol):
    """Octets of a message to be read piece by piece."""

    size: int

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Octets from `offset`. Raise Unavailable. [inline up to 256 KiB]"""


class SpoolWriter:
    """A message on its way in: sealed as it is written, gone if never committed. One thread at a time."""

    __slots__ = ("_done", "_file", "_seal", "_spool", "id")

    def __init__(self, spool: "Spool", identifier: str) -> None:
        """Made by Spool.new alone."""
        self.id = identifier
        self._spool = spool
        self._done = False
        self._file = atomic.NewFile(spool.path("tmp", identifier, BODY))
        try:
            self._seal = SealWriter(self._file, spool.public_key, None, SealKind.SPOOL)
        except BaseException:
            self._file.abort()
            raise

    @property
    def size(self) -> int:
        """Octets written so far."""
        return self._seal.size

    def write(self, data: bytes) -> None:
        """Add octets. Raise Unavailable. [inline up to 256 KiB]"""
        self._seal.write(data)

    def commit(self, envelope: Envelope) -> str:
        """Make the message durable and tell the queue; its id. Raise Unavailable: then it is not there. [thread]"""
        if self._done:
            raise ValueError("committed or aborted before")
        self._done = True
        spool = self._spool
        note = atomic.NewFile(spool.path("tmp", self.id, ENVELOPE))
        try:
            self._seal.finish()
            self._file.sync()
            note.write(render_envelope(self.id, replace(envelope, size=self.size), spool.public_key))
            note.sync()
            # Both names lie in one directory: a single flush makes them durable.
            self._file.publish(spool.path("incoming", self.id, BODY), fsync_dir=False)
            note.publish(spool.path("incoming", self.id, ENVELOPE), fsync_dir=False)
            atomic.fsync_dir(spool.root / "incoming")
        except BaseException:
            self._file.abort()
            note.abort()
            # What has its name already must not be delivered after the sender was told that it was not taken.
            for suffix in (ENVELOPE, BODY):
                with contextlib.suppress(Unavailable):
                    atomic.unlink(spool.path("incoming", self.id, suffix))
            raise
        spool.hint(self.id)
        return self.id

    def abort(self) -> None:
        """Throw the message away. Does nothing after commit, never raises."""
        if not self._done:
            self._done = True
            self._file.abort()


class Spool:
    """The spool of an instance. Calls may come from several threads and processes."""

    def __init__(
        self,
        root: Path,
        public_key: bytes,
        secret_key: bytes | None = None,
        *,
        hint_path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make what lacks of the folders. `secret_key`: None for who only writes.  `hint_path`: RUN/queue.sock.

        Raise Unavailable, FileNotFoundError (the folder above `root`).
        """
        self.root = root
        self.public_key = public_key
        self._secret_key = secret_key
        self._hint_path = hint_path
        self._clock = clock
        self._hints: socket.socket | None = None
        atomic.make_directory(root)
        for name in ("tmp", "incoming", "active"):
            atomic.make_directory(root / name)

    # -- who receives

    def new(self, identifier: str = "") -> SpoolWriter:
        """Begin a message; `identifier`: one that must come out the same when it is tried again. Raise Unavailable. [inline]"""
        if identifier:
            for suffix in (BODY, ENVELOPE):
                atomic.unlink(self.path("tmp", identifier, suffix))
            return SpoolWriter(self, identifier)
        return SpoolWriter(self, self.new_id())

    def free(self) -> int:
        """Octets that may still be written on its disk. [inline]"""
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize

    def new_id(self) -> str:
        """An id that no message has."""
        # The time first: ids sort by age. 40 random bits keep two messages of a second apart.
        return f"{int(self._clock()) & 0xFFFFFFFF:08x}{secrets.token_hex(5)}"

    def hint(self, identifier: str) -> None:
        """Tell the queue that something came in. May be lost: it looks by itself as well. Never raises, never waits."""
        if self._hint_path is None:
            return
        try:
            if self._hints is None:
                made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                made.setblocking(False)
                self._hints = made
            self._hints.sendto(identifier.encode("ascii"), os.fspath(self._hint_path))
        except OSError:
            pass

    def close(self) -> None:
        """Let go of the socket for hints."""
        if self._hints is not None:
            self._hints.close()
            self._hints = None

    # -- the queue

    def incoming(self) -> list[str]:
        """Ids of messages not taken yet, oldest first. Raise Unavailable. [thread]"""
        return self._list("incoming")

    def active(self) -> list[str]:
        """Ids of messages taken and not removed, oldest first. Raise Unavailable. [thread]"""
        return self._list("active")

    def envelope(self, identifier: str) -> Envelope:
        """The envelope of a message. Raise NotFound, Unavailable (damaged, or not for this key). [thread]"""
        data = self._find(identifier, ENVELOPE, lambda path: atomic.read_file(path, limit=MAX_ENVELOPE))
        plain, _ = open_bytes(data, account=None, kind=SealKind.SPOOL, secret_key=self._secret_key)
        return parse_envelope(identifier, plain)

    def open(self, identifier: str) -> SealReader:
        """The octets of a message; close the reader. Raise NotFound, Unavailable. [inline]"""
        descriptor = self._find(identifier, BODY, atomic.open_for_reading)
        return open_sealed(descriptor, account=None, kind=SealKind.SPOOL, secret_key=self._secret_key)

    def activate(self, identifiers: Sequence[str]) -> None:
        """Give messages of `incoming` a second name in `active`, durably; done twice is done. Raise Unavailable. [thread]

        A second name and not another one: whatever moment the power fails in, one of both directories has been flushed
        with the message in it.
        """
        for identifier in identifiers:
            for suffix in (BODY, ENVELOPE):
                with contextlib.suppress(FileExistsError, FileNotFoundError):
                    atomic.link(self.path("incoming", identifier, suffix), self.path("active", identifier, suffix))
        atomic.fsync_dir(self.root / "active")

    def forget_incoming(self, identifiers: Sequence[str]) -> None:
        """Remove the first names of messages that the queue has noted. Raise Unavailable. [thread]

        Not flushed: what a power cut puts back is found to be known.
        """
        for identifier in identifiers:
            for suffix in (ENVELOPE, BODY):
                atomic.unlink(self.path("incoming", identifier, suffix))

    def remove(self, identifier: str) -> None:
        """Remove a message, wherever it lies; not there is done. Raise Unavailable. [thread]"""
        for suffix in (ENVELOPE, BODY):
            for folder in ("active", "incoming"):
                atomic.unlink(self.path(folder, identifier, suffix))

    def sweep(self, older: float = 86_400.0) -> int:
        """Remove what crashes left: drafts and messages without an envelope, untouched for `older` seconds. [thread]"""
        count = 0
        for folder in ("tmp", "incoming", "active"):
            names = self._names(folder)
            for name in names:
                path = self.root / folder / name
                if folder != "tmp" and not (path.suffix == BODY and path.with_suffix(ENVELOPE).name not in names):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    if path.lstat().st_mtime < self._clock() - older and atomic.unlink(path):
                        count += 1
        return count

    def path(self, folder: str, identifier: str, suffix: str) -> Path:
        """Where a file lies. Raise NotFound for what is no id."""
        if len(identifier) != _ID_LENGTH or not identifier.isalnum() or not identifier.isascii():
            raise NotFound("not a queue id")
        return self.root / folder / (identifier + suffix)

    def _find(self, identifier: str, suffix: str, call: Callable[[Path], T]) -> T:
        for folder in ("incoming", "active"):
            with contextlib.suppress(FileNotFoundError):
                return call(self.path(folder, identifier, suffix))
        raise NotFound("no such message in the queue")

    def _list(self, folder: str) -> list[str]:
        names = self._names(folder)
        return sorted(
            name[:_ID_LENGTH]
            for name in names
            if len(name) == _ID_LENGTH + len(ENVELOPE) and name.endswith(ENVELOPE) and name[:_ID_LENGTH] + BODY in names
        )

    def _names(self, folder: str) -> set[str]:
        try:
            return set(os.listdir(self.root / folder))
        except OSError as error:
            raise atomic.unavailable(error, self.root / folder) from error


def render_envelope(identifier: str, envelope: Envelope, public_key: bytes) -> bytes:
    """An envelope file: JSON that names its message, sealed."""
    fields = asdict(envelope)
    fields["recipients"] = [[each.address, sorted(each.notify), each.orcpt] for each in envelope.recipients]
    text = json.dumps({"version": _VERSION, "id": identifier, **fields}, separators=(",", ":"), ensure_ascii=False)
    return seal_bytes(text.encode("utf-8", "surrogatepass"), public_key, None, SealKind.SPOOL)[0]


def parse_envelope(identifier: str, plain: bytes) -> Envelope:
    """The envelope of this message in its opened file. Raise Unavailable for another's, or what is none."""
    try:
        fields: dict[str, Any] = json.loads(plain)
        if fields.pop("version") != _VERSION or fields.pop("id") != identifier:
            raise Unavailable("an envelope of another version or message")
        fields["recipients"] = tuple(
            SpoolRecipient(address, frozenset(notify), orcpt) for address, notify, orcpt in fields["recipients"]
        )
        return Envelope(**fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unavailable("not an envelope") from error
