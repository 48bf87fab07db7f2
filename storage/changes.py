"""How the processes over one store tell each other what they committed (unix datagrams in RUN/changes).

Theory of operation. Each process binds one datagram socket in the directory and sends every change to all others there.
A datagram is a hint, not the truth: it may be lost (a full receiver, a process starting), and the receiver then sees the
change at its next look at the index. So nothing here waits: sends are non-blocking, a full queue drops, a socket nobody
reads any more (its process died) is removed from the directory.

The directory is listed again only when its mtime changes. Datagrams that do not parse are dropped: any process of the
store's group could write there.

Owns the socket, its name and the wire form. Never reads the index.
"""

import contextlib
import errno
import logging
import os
import re
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from .api import AccountId, Change, ChangeBus, StoreError
from .paths import parse_account_id, render_account_id

log = logging.getLogger("preau.storage")

_FORM = struct.Struct("!B16sqq")
_VERSION = 1
_SOCKET = re.compile(r"[a-z0-9-]{1,40}\.sock\Z")
_MAX_PATH = 100  # sun_path holds 108 octets
_DRAINED_AT_ONCE = 512


def tell(listeners: list[Callable[[Change], None]], change: Change) -> None:
    """Call each listener; a fault of one is logged, and is nobody else's: the change is committed."""
    for callback in listeners:
        try:
            callback(change)
        except Exception:
            log.exception("a listener failed")


class DatagramBus:
    """A ChangeBus over a directory of datagram sockets. announce() from any thread; drain() from one."""

    def __init__(self, directory: Path, name: str) -> None:
        """Bind `name`.sock in `directory`, which must be there. Raise OSError, ValueError (a bad name, a path too long)."""
        if not _SOCKET.match(f"{name}.sock"):
            raise ValueError(f"not a socket name: {name!r}")
        self._directory = directory
        self._path = directory / f"{name}.sock"
        if len(os.fsencode(self._path)) > _MAX_PATH:
            raise ValueError(f"path too long for a socket: {self._path}")
        self._listeners: list[Callable[[Change], None]] = []
        self._lock = threading.Lock()
        self._peers: list[str] = []
        self._seen_mtime = -1
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()  # left by a process of our name that died
            self._socket.bind(str(self._path))
            self._path.chmod(0o660)
        except OSError:
            self._socket.close()
            raise

    def announce(self, change: Change) -> None:
        """Tell every other process, and this one's listeners. Never blocks, never raises."""
        try:
            data = _FORM.pack(_VERSION, parse_account_id(change.account), change.object, change.modseq)
        except (StoreError, struct.error):
            return
        for path in self._others():
            try:
                self._socket.sendto(data, path)
            except BlockingIOError:
                continue  # its queue is full: it has reasons enough to look
            except OSError as error:
                if error.errno == errno.ECONNREFUSED:  # bound once, read by nobody: its process is gone
                    with contextlib.suppress(OSError):
                        os.unlink(path)
                self._seen_mtime = -1
        self._tell(change)

    def _others(self) -> list[str]:
        try:
            mtime = os.stat(self._directory).st_mtime_ns
            with self._lock:
                if mtime != self._seen_mtime:
                    own = self._path.name
                    self._peers = [
                        str(self._directory / name)
                        for name in os.listdir(self._directory)
                        if name != own and _SOCKET.match(name)
                    ]
                    self._seen_mtime = mtime
                return self._peers
        except OSError:
            return []

    def _tell(self, change: Change) -> None:
        tell(self._listeners, change)

    def listen(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` for each change announced in this process (from the announcing thread) or drained from others."""
        self._listeners.append(callback)

    def fileno(self) -> int:
        """Readable when another process announced something: then call drain()."""
        return self._socket.fileno()

    def drain(self) -> None:
        """Hand what came from other processes to the listeners; a bounded number at once."""
        for _ in range(_DRAINED_AT_ONCE):
            try:
                data = self._socket.recv(_FORM.size + 1)
            except OSError:
                return
            if len(data) != _FORM.size:
                continue
            version, account, number, modseq = _FORM.unpack(data)
            if version == _VERSION:
                self._tell(Change(AccountId(render_account_id(account)), number, modseq))

    def close(self) -> None:
        """Leave: close the socket and take its name away."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            with contextlib.suppress(OSError):
                self._path.unlink()


class SilentBus:
    """A ChangeBus for a process alone with its store: only its own listeners hear."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._listeners: list[Callable[[Change], None]] = []

    def announce(self, change: Change) -> None:
        """Tell this process's listeners."""
        tell(self._listeners, change)

    def listen(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` for each change announced in this process."""
        self._listeners.append(callback)

    def fileno(self) -> int:
        """Nothing to wait for: -1."""
        return -1

    def drain(self) -> None:
        """Nothing comes from others."""

    def close(self) -> None:
        """Nothing to leave."""


def open_bus(run_dir: Path, name: str) -> ChangeBus:
    """Join the processes over a store: RUN/changes/<name>.sock (a role and its process number). Raise OSError, ValueError."""
    directory = run_dir / "changes"
    directory.mkdir(mode=0o2770, parents=True, exist_ok=True)
    return DatagramBus(directory, name)
