"""The index of one account, shared by its mail and its collections: one writer, several readers, one commit for many.

Theory of operation. Several processes write index.db, several threads of each. Within a process, transact() queues a
change; whoever gets the writer runs all that are queued in one BEGIN IMMEDIATE ... COMMIT, each under a savepoint, so one
flush of the disk answers for all of them and a change that fails takes back only itself. Between processes SQLite's own
lock orders the transactions (30 s, fairly by a turnstile). A change reads what it needs (uidnext, modseq) inside its own.

transact() returns after the commit is on disk (synchronous=FULL). If the commit itself fails, every change of it raises
Unavailable and none of them happened; if its flush failed, InDoubt: a crash may bring them back (database.InDoubt).

Readers are taken from a small pool, for the time of one batch: never keep one over a yield to a caller.
Never knows a table; `Schema`s come from the modules that own them.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Literal, TypeVar

import apsw

from .account_lock import Turnstile
from .api import Unavailable, WouldWait
from .database import BUSY_TIMEOUT, Schema, commit, open_database, translated

T = TypeVar("T")

_IDLE_READERS = 4
_BATCH = 64  # changes a commit: bounds how long the first of them waits
_BUSY_STEP = 0.0005  # seconds


class _Queued(Generic[T]):
    __slots__ = ("change", "done", "error", "result")

    def __init__(self, change: Callable[[apsw.Connection], T]) -> None:
        self.change = change
        self.done = False
        self.error: BaseException | None = None
        self.result: T | None = None


class AccountDatabase:
    """An encrypted SQLite file with one writer connection and a pool of readers. Any thread may call."""

    def __init__(
        self,
        path: Path,
        key: bytes | None,
        *schemas: Schema,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        is_open: bool = False,
    ) -> None:
        """Open it, making it at first use. Raise DamagedDatabase, NewerSchema, Unavailable.

        `is_open`: the caller has a connection of its own, so the file is there and whole; the writer, which most sessions
        never need, is opened with the first change.
        """
        self.path = path
        self._key = key
        self._schemas = schemas
        self._synchronous = synchronous
        self._writer: apsw.Connection | None = None if is_open else self._new_writer()
        self._file = _identity(path)
        self._turnstile = Turnstile(path.parent)
        # Who has the writer. Not a plain lock: those whose change was committed by another must not queue for it again.
        self._turn = threading.Condition()
        self._taken = False
        self._queue: deque[_Queued[object]] = deque()
        self._readers: list[apsw.Connection] = []
        self._watch: apsw.Connection | None = None
        self._watching = threading.Lock()
        self._closed = False

    # -- reading

    @contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """A read-only connection for a moment; single statements each see the newest commit. Raise Unavailable."""
        with translated(self.path.name):
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._new_reader()
            try:
                yield connection
            finally:
                if self._closed or len(self._readers) >= _IDLE_READERS:
                    connection.close()
                else:
                    self._readers.append(connection)

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """A read-only connection whose statements all see the same commit."""
        with self.read() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    def is_current(self) -> bool:
        """Whether its file still has its name."""
        return _identity(self.path) == self._file

    def _check(self) -> None:
        """Raise Unavailable once closed, or when its file was taken away: nothing may be promised in a file without a name,
        nor a new one be made in its place. Whoever opens the account next, when nobody holds it any more, rebuilds it."""
        if self._closed:
            raise Unavailable(f"{self.path.name} is closed")
        if not self.is_current():
            raise Unavailable(f"{self.path.name} was taken away")

    def _new_reader(self) -> apsw.Connection:
        self._check()
        return open_database(self.path, self._key, *self._schemas, synchronous=self._synchronous, query_only=True)

    # -- writing

    def _new_writer(self) -> apsw.Connection:
        return open_database(self.path, self._key, *self._schemas, synchronous=self._synchronous)

    def transact(self, change: Callable[[apsw.Connection], T]) -> T:
        """Run `change` in a write transaction, perhaps with others; its result once that is on disk.

        What `change` raises is raised here and leaves nothing behind. It may run in another thread than the caller's, must
        not call transact() itself, and must not wait for anything that does. Raise also Unavailable.
        """
        mine: _Queued[T] = _Queued(change)
        with self._turn:
            self._queue.append(mine)  # type: ignore[arg-type]  # a result's type is its caller's affair
            while self._taken and not mine.done:
                self._turn.wait()
            lead = not mine.done
            self._taken = self._taken or lead
        if lead:
            try:
                while not mine.done:  # more than a batch may be queued before it
                    self._run_batch()
            finally:
                self._give_turn()
        if mine.error is not None:
            try:
                raise mine.error
            finally:
                mine.error = None  # no cycle of traceback and frame
        return mine.result  # type: ignore[return-value]  # set, since done without error

    @contextmanager
    def _my_turn(self, *, waits: bool = True) -> Iterator[None]:
        with self._turn:
            while self._taken:
                if not waits:
                    raise WouldWait("another thread writes")
                self._turn.wait()
            self._taken = True
        try:
            yield
        finally:
            self._give_turn()

    def _give_turn(self) -> None:
        with self._turn:
            self._taken = False
            self._turn.notify_all()

    @contextmanager
    def write(self, *, waits: bool = True) -> Iterator[apsw.Connection]:
        """The writer in a transaction of one's own, committed when the block ends well. Raise Unavailable.

        Without `waits` for who runs on a loop: raise WouldWait when anybody else writes or is about to, and for the first
        change of all, which opens the writer.
        """
        with self._my_turn(waits=waits), translated(self.path.name):
            connection = self._begin(waits=waits)
            try:
                yield connection
                commit(connection)
            except BaseException:
                _roll_back(connection)
                raise

    def _begin(self, *, waits: bool = True) -> apsw.Connection:
        self._check()
        if self._writer is None:
            if not waits:
                raise WouldWait("the writer is not open")
            self._writer = self._new_writer()
        if waits:
            begin_in_turn(self._writer, self._turnstile)
        elif not begun_at_once(self._writer, self._turnstile):
            raise WouldWait("another process writes")
        return self._writer

    def _run_batch(self) -> None:
        batch: list[_Queued[object]] = []
        while self._queue and len(batch) < _BATCH:
            batch.append(self._queue.popleft())
        try:
            with translated(self.path.name):
                connection = self._begin()
                try:
                    if len(batch) == 1:
                        self._run_alone(connection, batch[0])
                    else:
                        for queued in batch:
                            self._run_one(connection, queued)
                    commit(connection)
                except BaseException:
                    _roll_back(connection)
                    raise
        except BaseException as error:
            # Nothing was committed: whoever has no error of their own shares this one's fate.
            for queued in batch:
                if queued.error is None:
                    queued.error = _twin(error)
            if not isinstance(error, Exception):
                raise
        finally:
            for queued in batch:
                queued.done = True

    def _run_alone(self, connection: apsw.Connection, queued: _Queued[object]) -> None:
        """The only change of a batch: it needs no savepoint, since what it raises takes back nothing but itself."""
        try:
            with translated(self.path.name):
                queued.result = queued.change(connection)
        except Exception as error:
            queued.error = error
            raise

    def _run_one(self, connection: apsw.Connection, queued: _Queued[object]) -> None:
        """One change of a batch. What it raises is its own, unless SQLite took the whole transaction back with it."""
        connection.execute("SAVEPOINT change")
        try:
            with translated(self.path.name):
                queued.result = queued.change(connection)
        except Exception as error:
            queued.error = error
            if not connection.in_transaction:
                raise Unavailable("the transaction was taken back") from error
            connection.execute("ROLLBACK TO change")
        connection.execute("RELEASE change")

    def data_version(self) -> int:
        """A number that differs from the last one when anybody has committed since: 4 microseconds.

        It compares on one connection only, hence one of its own. apsw's Connection.data_version() will not do: without a
        read on that connection it never notices another's commit.
        """
        with self._watching, translated(self.path.name):
            if self._watch is None:
                self._watch = self._new_reader()
            return int(self._watch.execute("PRAGMA data_version").get)

    def relax(self) -> None:
        """Give back memory after a quiet time: close the readers, let go of the writer's pages."""
        while self._readers:
            try:
                self._readers.pop().close()
            except IndexError:
                break  # taken just now
        with self._my_turn():
            if self._writer is not None and not self._closed:
                self._writer.pragma("shrink_memory")

    def close(self) -> None:
        """Close all connections. A call under way ends first; later ones raise Unavailable."""
        with self._my_turn():
            self._closed = True
            self._turnstile.close()
            if self._writer is not None:
                self._writer.close()
            while self._readers:
                self._readers.pop().close()
        with self._watching:
            if self._watch is not None:
                self._watch.close()
                self._watch = None


def begin_in_turn(connection: apsw.Connection, turnstile: Turnstile) -> None:
    """BEGIN IMMEDIATE, before any process that comes later. Raise apsw.BusyError after BUSY_TIMEOUT.

    Within the turnstile SQLite is asked every half millisecond: its own handler soon sleeps 0.1 s between two tries, in which
    others begin and end.
    """
    until = time.monotonic() + BUSY_TIMEOUT / 1000
    turnstile.enter(until)
    connection.set_busy_timeout(0)
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except apsw.BusyError:
                if time.monotonic() >= until:
                    raise
            time.sleep(_BUSY_STEP)
    finally:
        connection.set_busy_timeout(BUSY_TIMEOUT)
        turnstile.leave()


def begun_at_once(connection: apsw.Connection, turnstile: Turnstile) -> bool:
    """BEGIN IMMEDIATE if no process writes or waits to."""
    if not turnstile.enter(0.0):
        return False
    connection.set_busy_timeout(0)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except apsw.BusyError:
        return False
    finally:
        connection.set_busy_timeout(BUSY_TIMEOUT)
        turnstile.leave()
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        there = os.stat(path)
    except OSError:
        return None
    return there.st_dev, there.st_ino


def _twin(error: BaseException) -> Unavailable:
    """The same failure as an exception of one's own: several threads must not raise one object."""
    twin = type(error)(*error.args) if isinstance(error, Unavailable) else Unavailable("the transaction was not finished")
    twin.__cause__ = error.__cause__
    return twin


def _roll_back(connection: apsw.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
