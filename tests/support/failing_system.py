"""A disk that fails at a chosen call, once or from then on: every call of atomic.system and of SQLite's files counts.

SQLite's calls are reached through a VFS between it and the one that encrypts (and so above encryption): writing, flushing,
cutting off and opening. One counter counts all of both, in the order in which they are made.

Databases that were not closed within the block are read within one only: SQLite does not encrypt its log through a VFS that
it does not know.

Owns counting and failing. Which error comes out of it is what tests ask.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw

from preau.storage import atomic
from preau.storage.atomic import System

_PYTHON = ("open", "write", "truncate", "fdatasync", "fsync", "rename", "link", "unlink", "mkdir", "rmtree")


class Faults:
    """Counts the calls of one thread, and fails chosen ones."""

    def __init__(self) -> None:
        """Fail nothing yet."""
        self.calls: list[str] = []
        self.struck = 0
        self._thread = threading.get_ident()
        self._chosen: Callable[[int, str], int] = lambda number, name: 0

    def choose(self, chosen: Callable[[int, str], int]) -> None:
        """`chosen`: the errno of a call by its number (from 0) and name, 0 for none. Counting begins anew."""
        self.calls.clear()
        self.struck = 0
        self._chosen = chosen

    def come(self, name: str) -> int:
        """A call; the errno it fails with, or 0."""
        if threading.get_ident() != self._thread:
            return 0
        number = len(self.calls)
        self.calls.append(name)
        failure = self._chosen(number, name)
        self.struck += bool(failure)
        return failure


class FailingSystem(System):
    """In the place of atomic.system."""

    def __init__(self, faults: Faults) -> None:
        """Count with `faults`."""
        for name in _PYTHON:
            setattr(self, name, self._wrapped(name, getattr(System, name), faults))

    def _wrapped(self, name: str, real: Any, faults: Faults) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            reading = name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not reading and (failure := faults.come(name)):
                raise OSError(failure, os.strerror(failure))
            return real(*arguments, **named)

        return call


def _raise(failure: int, kind: type[apsw.Error]) -> None:
    if failure == errno.ENOSPC:
        raise apsw.FullError("database or disk is full")
    if failure:
        raise kind("disk I/O error")


class _File(apsw.VFSFile):
    def __init__(self, faults: Faults, base: str, name: Any, flags: list[int]) -> None:
        self._faults = faults
        super().__init__(base, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        _raise(self._faults.come("sqlite write"), apsw.IOError)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        _raise(self._faults.come("sqlite sync"), apsw.IOError)
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:
        _raise(self._faults.come("sqlite truncate"), apsw.IOError)
        super().xTruncate(newsize)


class _Vfs(apsw.VFS):
    def __init__(self, faults: Faults, base: str) -> None:
        self._faults = faults
        self._base = base
        super().__init__("preau-failing", base, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        _raise(self._faults.come("sqlite open"), apsw.CantOpenError)
        return _File(self._faults, self._base, name, flags)


@contextmanager
def failing() -> Iterator[Faults]:
    """For the length of a block every file of ours and of SQLite's opened in it can be made to fail."""
    faults = Faults()
    usual = atomic.system
    vfs = _Vfs(faults, apsw.vfs_names()[0])
    atomic.system = FailingSystem(faults)
    try:
        yield faults
    finally:
        atomic.system = usual
        vfs.unregister()
