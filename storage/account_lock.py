"""Who has an account open: each process a shared lock, whoever remakes its index the only one.

Owns the file `lock` in the account's directory (flock, so that it goes with its process). It keeps `store rebuild` from
remaking an index that a daemon is working with; daemons among themselves are ordered by SQLite, and politely: the file's
first octet is a turnstile (an OFD lock, apart from the flock). Whoever wants to write goes through it with the next
transaction as its own, and others wait before it; without it a busy process takes SQLite's lock again before a waiting
one wakes, for seconds on end.
"""

import errno
import fcntl
import os
import struct
import time
from pathlib import Path

from .api import Unavailable

_PATIENCE = 10.0  # seconds
_STEP = 0.05
_TURN_STEP = 0.0007  # seconds
_RANGE = struct.Struct("hhqqi4x")  # struct flock


class AccountLock:
    """The lock of one account, held until release()."""

    __slots__ = ("_descriptor",)

    def __init__(self, directory: Path, *, alone: bool, patience: float = _PATIENCE) -> None:
        """Take it, shared or `alone`. Raise Unavailable when others hold it for longer than `patience` seconds."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(directory / "lock", flags, 0o660)
        except OSError as error:
            raise Unavailable(f"the account's lock: {os.strerror(error.errno or 0)}") from error
        try:
            self._take(fcntl.LOCK_EX if alone else fcntl.LOCK_SH, patience)
        except BaseException:
            os.close(self._descriptor)
            raise

    def try_alone(self) -> bool:
        """Be the only one, if nobody else is there; a shared lock may be lost by trying. Raise Unavailable."""
        try:
            self._take(fcntl.LOCK_EX, 0.0)
        except Unavailable:
            return False
        return True

    def share(self) -> None:
        """Let others in again. Raise Unavailable."""
        self._take(fcntl.LOCK_SH, _PATIENCE)

    def _take(self, kind: int, patience: float) -> None:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                    raise Unavailable(f"the account's lock: {os.strerror(error.errno or 0)}") from error
            if time.monotonic() >= deadline:
                raise Unavailable("the account is open in another process")
            time.sleep(_STEP)

    def release(self) -> None:
        """Give it back."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class Turnstile:
    """Who writes next, among processes. A courtesy: what may be written is SQLite's to say, with or without it."""

    __slots__ = ("_descriptor", "_directory")

    def __init__(self, directory: Path) -> None:
        """Open nothing yet: who only reads never goes through it."""
        self._directory = directory
        self._descriptor = -1

    def enter(self, until: float) -> bool:
        """Wait until nobody else is in it, by the monotonic clock no longer than `until`; whether that came.

        With the file `lock`, made when it is not there. Without it nobody waits here.
        """
        while not self._set(fcntl.F_WRLCK):
            if time.monotonic() >= until:
                return False
            time.sleep(_TURN_STEP)
        return True

    def leave(self) -> None:
        """Let the next one in."""
        self._set(fcntl.F_UNLCK)

    def _set(self, kind: int) -> bool:
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                self._descriptor = os.open(self._directory / "lock", flags, 0o660)
            except OSError:
                return True
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _RANGE.pack(kind, os.SEEK_SET, 0, 1, 0))
        except OSError as error:
            return error.errno not in (errno.EAGAIN, errno.EACCES)
        return True

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
