"""The spool: messages that were answered with 250 and belong to nobody's mailbox yet (RFC 5321 section 4.2.5).

Theory of operation. A message is one file, `<id>.msg`, sealed with the queue's key: its octets, behind them its envelope (JSON)
and the envelope's length (4 octets, big-endian). It is written under `tmp`, flushed, and renamed into `incoming`; then the
directory is flushed. From there on the message survives a power cut, and 250 may be said.

It stays there while the queue tries it for the first time, which is all that most messages need. What has to wait gets its name
in `active` instead (activate), where nobody but the queue reaches it. Once every recipient is settled it is removed. The
envelope stays with the message for as long as there is something to do: a lost queue.db is made again from both folders.

Whoever receives mail holds only the public half of the key: it cannot read what it has written. Owns names, order and
format of the files. Never decides what becomes of a message: that is the queue's.
"""

import contextlib
import json
import os
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..storage import atomic
from ..storage.api import NotFound, Unavailable
from ..storage.seal import InvalidSeal, SealKind, SealReader, SealWriter, open_sealed

SUFFIX = ".msg"
MAX_ENVELOPE = 16_777_216
"""Octets of an envelope: some ten thousand recipients with all their parameters."""

_VERSION = 2
_LENGTH = struct.Struct(">I")
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

    __slots__ = ("_done", "_file", "_seal", "_spool", "id", "size")

    def __init__(self, spool: "Spool", identifier: str) -> None:
        """Made by Spool.new alone."""
        self.id = identifier
        self.size = 0  # octets written so far
        self._spool = spool
        self._done = False
        self._file = atomic.NewFile(identifier + SUFFIX, directory=spool.folder("tmp"))
        self._seal = SealWriter(self._file, spool.public_key, None, SealKind.SPOOL)

    def write(self, data: bytes) -> None:
        """Add octets. Raise Unavailable. [inline up to 256 KiB]"""
        try:
            self._seal.write(data)
        except (FileNotFoundError, FileExistsError) as error:
            raise Unavailable("the spool's tmp has gone, or holds a message of that name") from error
        self.size += len(data)

    def commit(self, envelope: Envelope) -> str:
        """Make the message durable and tell the queue; its id. Raise Unavailable: then it is not there. [thread]"""
        if self._done:
            raise ValueError("committed or aborted before")
        self._done = True
        spool = self._spool
        name = self.id + SUFFIX
        try:
            note = render_envelope(self.id, envelope, self.size)
            self._seal.write(note + _LENGTH.pack(len(note)))
            self._seal.finish()
            self._file.sync()
            incoming = spool.folder("incoming")
            self._file.publish_in(incoming, name)
        except (FileNotFoundError, FileExistsError) as error:
            self._file.abort()
            raise Unavailable("a folder of the spool has gone, or tmp holds a message of that name") from error
        except BaseException:
            self._file.abort()
            raise
        try:
            incoming.sync()
        except BaseException:
            # It must not be delivered after the sender was told that it was not taken.
            with contextlib.suppress(Unavailable):
                incoming.unlink(name)
            raise
        spool.hint(self.id)
        return self.id

    def abort(self) -> None:
        """Throw the message away. Does nothing after commit, never raises."""
        if not self._done:
            self._done = True
            self._file.abort()


class SpoolMessage:
    """A message of the spool, open for reading (a MessageSource). Owns the file; one thread at a time."""

    __slots__ = ("_id", "_length", "_reader", "size")

    def __init__(self, identifier: str, reader: SealReader) -> None:
        """Made by Spool.open alone. Raise Unavailable for a file that is no message."""
        self._id = identifier
        self._reader = reader
        end = reader.size - _LENGTH.size
        if end < 0:
            raise Unavailable("not a message of the spool")
        (self._length,) = _LENGTH.unpack(reader.read(end))
        self.size = end - self._length
        if self.size < 0 or self._length > MAX_ENVELOPE:
            raise Unavailable("not a message of the spool")

    @property
    def dek(self) -> bytes:
        """What opens the file again, more cheaply than the queue's key."""
        return self._reader.dek

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """See MessageSource."""
        end = self.size if length is None else min(self.size, offset + length)
        return self._reader.read(offset, end - offset) if offset < end else b""

    def envelope(self) -> Envelope:
        """Its envelope. Raise Unavailable (another message's, or none)."""
        return parse_envelope(self._id, self._reader.read(self.size, self._length))

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def __enter__(self) -> "SpoolMessage":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


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
        self._folders: dict[str, atomic.Directory] = {}
        atomic.make_directory(root)
        for name in ("tmp", "incoming", "active"):
            atomic.make_directory(root / name)

    # -- who receives

    def new(self, identifier: str = "") -> SpoolWriter:
        """Begin a message; `identifier`: one that must come out the same when it is tried again. Raise Unavailable. [inline]"""
        if identifier:
            self.folder("tmp").unlink(_file(identifier))
        return SpoolWriter(self, identifier or self.new_id())

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
        """Ids of messages not tried yet, or being tried for the first time, oldest first. Raise Unavailable. [thread]"""
        return self._list("incoming")

    def active(self) -> list[str]:
        """Ids of messages that wait for another try, oldest first. Raise Unavailable. [thread]"""
        return self._list("active")

    def sync_incoming(self) -> None:
        """Make certain what incoming() lists: its writer may not have come so far. Raise Unavailable. [thread]"""
        self.folder("incoming").sync()

    def envelope(self, identifier: str) -> Envelope:
        """The envelope of a message. Raise NotFound, Unavailable (damaged, or not for this key). [thread]"""
        with self.open(identifier) as message:
            return message.envelope()

    def open(self, identifier: str, dek: bytes | None = None) -> SpoolMessage:
        """A message; close it. `dek`: of an earlier opening. Raise NotFound, Unavailable. [inline]"""
        if dek is not None:
            with contextlib.suppress(InvalidSeal):  # a report that was written again has another
                return self._open(identifier, dek)
        return self._open(identifier, None)

    def _open(self, identifier: str, dek: bytes | None) -> SpoolMessage:
        name = _file(identifier)
        for folder in ("incoming", "active"):  # it goes from one to the other, not back
            with contextlib.suppress(FileNotFoundError):
                descriptor = self.folder(folder).open_regular(name)
                reader = open_sealed(descriptor, account=None, kind=SealKind.SPOOL, secret_key=self._secret_key, dek=dek)
                try:
                    return SpoolMessage(identifier, reader)
                except BaseException:
                    reader.close()
                    raise
        raise NotFound("no such message in the queue")

    def activate(self, identifiers: Iterable[str]) -> None:
        """Give messages of `incoming` their name in `active`; done twice is done. Raise Unavailable. [thread]

        Not flushed: whatever moment the power fails in, one of both folders names it, and the queue looks into both.
        """
        incoming, active = self.folder("incoming"), self.folder("active")
        for identifier in identifiers:
            name = _file(identifier)
            with contextlib.suppress(FileNotFoundError):
                incoming.rename(name, active, name)

    def remove(self, identifier: str) -> None:
        """Remove a message, wherever it lies; not there is done. Raise Unavailable. [thread]

        Not flushed: what a power cut puts back is known to be finished.
        """
        name = _file(identifier)
        for folder in ("incoming", "active"):
            self.folder(folder).unlink(name)

    def sweep(self, older: float = 86_400.0) -> int:
        """Remove what crashes left: drafts untouched for `older` seconds. [thread]"""
        count = 0
        for name in self._names("tmp"):
            path = self.root / "tmp" / name
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_mtime < self._clock() - older and atomic.unlink(path):
                    count += 1
        return count

    def path(self, folder: str, identifier: str) -> Path:
        """Where a file lies. Raise NotFound for what is no id."""
        return self.root / folder / _file(identifier)

    def folder(self, name: str) -> atomic.Directory:
        """A folder of the spool, open. Raise FileNotFoundError, Unavailable."""
        held = self._folders.get(name)
        if held is None or not held.is_current():
            held = self._folders[name] = atomic.Directory(self.root / name)
        return held

    def _list(self, folder: str) -> list[str]:
        length = _ID_LENGTH + len(SUFFIX)
        return sorted(name[:_ID_LENGTH] for name in self._names(folder) if len(name) == length and name.endswith(SUFFIX))

    def _names(self, folder: str) -> list[str]:
        try:
            return os.listdir(self.root / folder)
        except OSError as error:
            raise atomic.unavailable(error, self.root / folder) from error


def _file(identifier: str) -> str:
    """The name of a message's file. Raise NotFound for what is no id."""
    if len(identifier) != _ID_LENGTH or not identifier.isalnum() or not identifier.isascii():
        raise NotFound("not a queue id")
    return identifier + SUFFIX


def render_envelope(identifier: str, envelope: Envelope, size: int) -> bytes:
    """An envelope as JSON that names its message, which has `size` octets."""
    fields: dict[str, Any] = {"version": _VERSION, "id": identifier}
    fields |= {name: getattr(envelope, name) for name in Envelope.__slots__}
    fields["size"] = size
    fields["recipients"] = [[each.address, sorted(each.notify), each.orcpt] for each in envelope.recipients]
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def parse_envelope(identifier: str, plain: bytes) -> Envelope:
    """The envelope of this message from its JSON. Raise Unavailable for another's, or what is none."""
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
