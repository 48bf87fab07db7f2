"""A message on its way in: sealed and looked at while it is written, in no mailbox until it is appended.

Owns the order of a write: size and quota are checked before the octets go on, the file lies in the account's tmp under a
random name, sealed from its first octet on, and finish() makes it durable. A writer that is dropped takes its file along.
Never gives the file its final name: mail_append does.
"""

import os
import weakref
from collections.abc import Callable
from pathlib import Path

from .api import AccountId, OverQuota, TooLarge, Unavailable
from .atomic import Directory, NewFile
from .index_schema import SEALED
from .mail_derive import Derivation, Derived
from .seal import SealKind, SealWriter

_OPEN, _FINISHED, _TAKEN, _ABORTED = range(4)


class SealedMessageWriter:
    """The MessageWriter of the file store; with `public_key` None the file is plain. One thread at a time."""

    def __init__(
        self,
        tmp: Directory,
        account: AccountId,
        public_key: bytes | None,
        *,
        prefix: bytes,
        twin: "SealedMessageWriter | None",
        limit: int,
        room: int | None,
    ) -> None:
        """Begin; the file is made in `tmp` with the first octets that go out to the disk.

        `limit`: octets a message may have; `room`: octets the account has left, or None.

        Raise TooLarge, OverQuota (the prefix alone), Unavailable.
        """
        self.size = 0
        self.prefix = prefix
        self.form = 0 if public_key is None else SEALED
        self.derived: Derived | None = None
        self._limit = limit
        self._room = room
        self._state = _OPEN
        self._derivation: Derivation = Derivation() if twin is None else twin._derivation
        self._file = NewFile(f"m{os.urandom(12).hex()}", directory=tmp)
        self._sealed: SealWriter | None = None
        self._forget = weakref.finalize(self, _abort, self._file, os.getpid())
        try:
            if public_key is not None:
                self._sealed = SealWriter(self._file, public_key, account, SealKind.MESSAGE)
            self._put: Callable[[bytes], None] = self._file.write if self._sealed is None else self._sealed.write
            if prefix:
                self._grow(len(prefix))
                self._put(prefix)
        except BaseException:
            self.abort()
            raise

    @property
    def dek(self) -> bytes | None:
        """The key of the sealed file."""
        return None if self._sealed is None else self._sealed.dek

    @property
    def gone(self) -> bool:
        """Whether it was appended or thrown away before."""
        return self._state in (_TAKEN, _ABORTED)

    @property
    def path(self) -> Path:
        """Where the file lies now."""
        return self._file.path

    def write(self, data: bytes) -> None:
        """Add octets. Raise TooLarge, OverQuota, Unavailable."""
        if self._state != _OPEN:
            raise ValueError("the message is finished")
        offset = self.size - len(self.prefix)
        self._grow(len(data))
        try:
            self._put(data)
        except FileNotFoundError as error:
            raise Unavailable("the account's tmp has gone") from error
        self._derivation.feed(offset, data)

    def _grow(self, octets: int) -> None:
        size = self.size + octets
        if size > self._limit:
            raise TooLarge(f"a message has at most {self._limit} octets")
        if self._room is not None and size > self._room:
            raise OverQuota("no room left")
        self.size = size

    def finish(self) -> None:
        """Flush to disk. Raise Unavailable. A second call does nothing."""
        if self._state != _OPEN:
            return
        try:
            if self._sealed is not None:
                self._sealed.finish()
            self._file.sync()
        except FileNotFoundError as error:
            raise Unavailable("the account's tmp has gone") from error
        self.derived = self._derivation.finish(self.size - len(self.prefix))
        self._state = _FINISHED

    def publish(self, directory: Directory, name: str, *, mtime: int | None) -> None:
        """Give the file its name, and a time unless that is now. Only once finished. Raise Unavailable, FileNotFoundError
        (directory).

        The caller flushes the directory.
        """
        if mtime is not None:
            self._file.set_mtime(mtime)
        try:
            self._file.publish_in(directory, name)
        except FileNotFoundError as error:
            if self.path.exists():
                raise
            raise Unavailable("the draft has gone") from error  # swept as an old one: the clock jumped
        self._state = _TAKEN
        self._forget.detach()

    def abort(self) -> None:
        """Throw away. Does nothing after an append took it."""
        if self._state != _TAKEN:
            self._state = _ABORTED
            self._forget.detach()
            self._file.abort()


def _abort(file: NewFile, process: int) -> None:
    if os.getpid() == process:
        file.abort()
