"""How the processes over one store tell each other what they committed (unix datagrams in RUN/changes).

Theory of operation. Each process binds one datagram socket in the directory; who commits a change sends it to those that
watch its account. A datagram is a hint, not the truth: it may be lost (a full receiver, a process starting), and the receiver
then sees the change at its next look at the index. So nothing here waits: sends are non-blocking, a full queue drops, a socket
nobody reads any more (its process died) is removed from the directory.

Beside its socket a process keeps a board, a file with a bit for each account it watches (several share one: it may hear of
strangers), which senders read. Waking a process costs both more than a delivery's whole index, and most have no use for most
changes. Who watches sets the bit before it reads the index, who sends looks after the commit: one of both sees the other.
A process without a board hears everything.

The directory is listed again only when its mtime changes. Datagrams that do not parse are dropped: any process of the
store's group could write there.

Owns the socket, the board, their names and the wire form. Never reads the index.
"""

import contextlib
import errno
import logging
import os
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from .api import AccountId, Change, ChangeBus, StoreError
from .paths import parse_account_id, render_account_id

log = logging.getLogger("preau.storage")

_FORM = struct.Struct("!B16sqq")
_VERSION = 1
_SOCKET = re.compile(r"[a-z0-9-]{1,40}\.sock\Z")
_MAX_PATH = 100  # sun_path holds 108 octets
_DRAINED_AT_ONCE = 512
_BOARD = 1_024  # octets: 8,192 bits
_ALL = b"\xff"


def tell(listeners: list[Callable[[Change], None]], change: Change) -> None:
    """Call each listener; a fault of one is logged, and is nobody else's: the change is committed."""
    for callback in listeners:
        try:
            callback(change)
        except Exception:
            log.exception("a listener failed")


@lru_cache(maxsize=4_096)
def _octets(account: AccountId) -> bytes:
    """The account in a datagram. Raise StoreError for what is no account."""
    return parse_account_id(account)


@lru_cache(maxsize=4_096)
def _account(octets: bytes) -> AccountId:
    return AccountId(render_account_id(octets))


def _bit(octets: bytes) -> int:
    """The bit of an account on a board; their first octets are random."""
    return int.from_bytes(octets[:4], "big") % (8 * _BOARD)


class _Peer:
    """Another process: its socket, and its board as long as somebody looks at it. Any thread."""

    __slots__ = ("_board", "path")

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        try:
            self._board = os.open(_board_of(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            self._board = -1

    def __del__(self) -> None:
        if self._board >= 0:
            os.close(self._board)

    def watches(self, bit: int) -> bool:
        """Whether the account of this bit may be among those it watches."""
        if self._board < 0:
            return True
        try:
            return bool((os.pread(self._board, 1, bit >> 3) or _ALL)[0] >> (bit & 7) & 1)
        except OSError:
            return True


def _board_of(path: Path) -> Path:
    return path.with_suffix(".watch")


def _removed_if_dead(path: Path) -> bool:
    """Remove a socket, and its board, that was bound once and is read by nobody: its process is gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno != errno.ECONNREFUSED:
                return False
        else:
            return False
    for name in (path, _board_of(path)):
        with contextlib.suppress(OSError):
            name.unlink()
    return True


class DatagramBus:
    """A ChangeBus over a directory of datagram sockets. drain() from one thread, all else from any."""

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
        self._peers: list[_Peer] = []
        self._seen_mtime = -1
        self._watched: Counter[int] = Counter()  # holders of each bit
        self._board = _make_board(_board_of(self._path))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()  # left by a process of our name that died
            self._socket.bind(str(self._path))
            self._path.chmod(0o660)
        except OSError:
            os.close(self._board)
            self._socket.close()
            raise

    def announce(self, change: Change) -> None:
        """Tell every other process that watches the account, and this one's listeners. Never blocks, never raises."""
        try:
            octets = _octets(change.account)
            data = _FORM.pack(_VERSION, octets, change.object, change.modseq)
        except (StoreError, struct.error):
            return
        bit = _bit(octets)
        for peer in self._others():
            if not peer.watches(bit):
                continue
            try:
                self._socket.sendto(data, peer.path)
            except BlockingIOError:
                continue  # its queue is full: it has reasons enough to look
            except OSError:
                self._seen_mtime = -1  # its process is gone
        self._tell(change)

    def _others(self) -> list[_Peer]:
        try:
            mtime = os.stat(self._directory).st_mtime_ns
            with self._lock:
                if mtime != self._seen_mtime:
                    own = self._path.name
                    paths = [self._directory / name for name in os.listdir(self._directory) if _SOCKET.match(name)]
                    self._peers = [_Peer(path) for path in paths if path.name != own and not _removed_if_dead(path)]
                    self._seen_mtime = mtime
                return self._peers
        except OSError:
            return []

    def _tell(self, change: Change) -> None:
        tell(self._listeners, change)

    def listen(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` for each change announced in this process (from the announcing thread) or drained from others."""
        self._listeners.append(callback)
        with self._lock:
            for bit in self._watched:
                self._set(bit, True)

    def watch(self, account: AccountId) -> None:
        """See ChangeBus."""
        bit = _bit(_octets(account))
        with self._lock:
            self._watched[bit] += 1
            # Without a listener nobody here wants to know: a process that only writes is left alone.
            if self._watched[bit] == 1 and self._listeners:
                self._set(bit, True)

    def unwatch(self, account: AccountId) -> None:
        """See ChangeBus."""
        bit = _bit(_octets(account))
        with self._lock:
            self._watched[bit] -= 1
            if self._watched[bit] <= 0:
                del self._watched[bit]
                self._set(bit, False)

    def _set(self, bit: int, value: bool) -> None:
        if self._board < 0:
            return
        octet = os.pread(self._board, 1, bit >> 3)[0]
        mask = 1 << (bit & 7)
        os.pwrite(self._board, bytes((octet | mask if value else octet & ~mask,)), bit >> 3)

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
                self._tell(Change(_account(account), number, modseq))

    def close(self) -> None:
        """Leave: close the socket and take its name away."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            with self._lock:
                board, self._board = self._board, -1
                os.close(board)
            for path in (self._path, _board_of(self._path)):
                with contextlib.suppress(OSError):
                    path.unlink()


def _make_board(path: Path) -> int:
    """An empty board: a new file, since who reads the old one of this name reads of a process that is gone. Raise OSError."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    board = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        os.fchmod(board, 0o640)  # whatever the umask: the other roles are of the group
        os.pwrite(board, bytes(_BOARD), 0)
    except OSError:
        os.close(board)
        raise
    return board


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

    def watch(self, account: AccountId) -> None:
        """Nobody else tells anything."""

    def unwatch(self, account: AccountId) -> None:
        """Nobody else tells anything."""

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
