"""Reads of index.db and cache.db that may run on the event loop: one connection, kept open, batches fetched whole.

A cursor is never left half read: it would hold back the connection's view of later commits (and WAL checkpoints).
A connection takes some 300 KiB, so it is closed when nobody has asked for a while, and opened anew by who asks next: a third
of a millisecond.

Owns the connection and its lock. Never writes.
"""

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

from .api import Uid, Unavailable
from .database import translated

Row = tuple[Any, ...]
UID_MASK = 0xFFFFFFFF


class IndexReader:
    """A read-only connection for short statements, from any thread, one at a time."""

    __slots__ = ("_anew", "_connection", "_lock", "_name", "_times")

    def __init__(self, connection: apsw.Connection, name: str, *, anew: Callable[[], apsw.Connection] | None = None) -> None:
        """Take over a connection. `anew`: opens another one after rest(), or raises Unavailable."""
        self._connection: apsw.Connection | None = connection
        self._anew = anew
        self._name = name
        self._times = 0  # opened anew
        self._lock = threading.RLock()

    def _open(self) -> apsw.Connection:
        """The connection; the lock is held."""
        if self._connection is None:
            if self._anew is None:
                raise Unavailable(f"{self._name} is closed")
            self._connection = self._anew()
            self._times += 1
        return self._connection

    def rows(self, statement: str, bindings: Sequence[Any] = ()) -> list[Row]:
        """All rows of a statement, of the newest commit. Raise Unavailable."""
        try:
            with self._lock:
                return (self._connection or self._open()).execute(statement, bindings).fetchall()
        except apsw.Error as error:
            raise self._refused(error) from error

    def first(self, statement: str, bindings: Sequence[Any] = ()) -> Row | None:
        """The first row, or None. Raise Unavailable."""
        rows = self.rows(statement, bindings)
        return rows[0] if rows else None

    def together(self, *statements: tuple[str, Sequence[Any]]) -> list[list[Row]]:
        """The rows of several statements, all of one commit. Raise Unavailable."""
        try:
            with self._lock:
                connection = self._connection or self._open()
                connection.execute("BEGIN")
                try:
                    return [connection.execute(text, bindings).fetchall() for text, bindings in statements]
                finally:
                    connection.execute("COMMIT")
        except apsw.Error as error:
            raise self._refused(error) from error

    def version(self) -> int:
        """Another number as soon as any other connection has committed, and after a rest (5 microseconds). Raise Unavailable.

        The pragma, not sqlite3_file_control: that one tells what the connection saw when it last read something.
        """
        try:
            with self._lock:
                connection = self._connection or self._open()
                # A connection's numbers begin anew with it.
                return self._times << 40 | int(connection.execute("PRAGMA data_version").get)
        except apsw.Error as error:
            raise self._refused(error) from error

    @contextmanager
    def alone(self) -> Iterator[apsw.Connection]:
        """The connection itself, for a moment, nobody else on it. Raise Unavailable."""
        with self._lock:
            yield self._open()

    def rest(self) -> None:
        """Give back memory after a quiet time: close the connection until it is needed again."""
        with self._lock:
            if self._anew is not None:
                self._close()

    def close(self) -> None:
        """Close the connection; later calls raise Unavailable."""
        with self._lock:
            self._anew = None
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _refused(self, error: apsw.Error) -> Unavailable:
        with translated(self._name):
            raise error
        raise AssertionError


def select(connection: apsw.Connection, statement: str, bindings: Sequence[Any] = ()) -> list[Row]:
    """All rows of a statement on a connection of one's own (within a transaction, or a reader of the pool)."""
    return connection.execute(statement, tuple(bindings)).fetchall()


def ordered_batches(uids: Sequence[Uid], size: int) -> Iterator[list[Uid]]:
    """UIDs ascending, each once, in pieces."""
    ordered = sorted(uids)
    for begin in range(0, len(ordered), size):
        batch = ordered[begin : begin + size]
        yield batch if len(set(batch)) == len(batch) else sorted(set(batch))


def rows_of(mailbox: int, batch: Sequence[Uid], columns: str, table: str) -> tuple[str, tuple[Any, ...]]:
    """A statement for the rows of ascending UIDs, by id; `columns` begin with the UID.

    One range where the UIDs lie close together (the caller leaves out what was not asked: see chosen), else one by one.
    """
    base = mailbox << 32
    if batch[-1] - batch[0] < 4 * len(batch) + 16:
        text = f"SELECT id & 4294967295, {columns} FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608  # our own words
        return text, (base | batch[0], base | batch[-1])
    ids = array("q", [base | uid for uid in batch])
    text = f"SELECT id & 4294967295, {columns} FROM {table} WHERE id IN carray(?) ORDER BY id"  # noqa: S608  # our own words
    return text, (apsw.carray(ids),)


def chosen(rows: list[Row], batch: Sequence[Uid]) -> list[Row]:
    """Of rows that a range brought, those whose UID (first column) is in `batch`."""
    if batch[-1] - batch[0] + 1 == len(batch):
        return rows  # a range without gaps
    wanted = set(batch)
    return [row for row in rows if row[0] in wanted]
