"""SQLite files of the store: opened, encrypted and kept at the present schema in one way.

Owns the pragmas, the page encryption (SQLite3 Multiple Ciphers, cipher `aegis`, a raw 32-byte key) and the versions of
schemas: forward migrations only; a file of a newer version is refused, never read by guesswork.
Never holds a table of anybody: each module brings its own `Schema`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import apsw

from . import atomic
from .api import Unavailable

BUSY_TIMEOUT = 30_000  # milliseconds
KEY_BYTES = 32
_CHECKPOINT = 256  # pages of the WAL

_BROKEN = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
_PASSING = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.FullError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.NoMemError,
    apsw.ProtocolError,
    apsw.PermissionsError,
    apsw.InterruptError,
)


class DamagedDatabase(Unavailable):
    """Not a database under this key: the wrong key, or damage. What can be made again may be deleted."""


class InDoubt(Unavailable):
    """A commit whose flush failed: it is taken back here, but its pages lie in the log.

    Whoever recovers the log after a crash may find it there, as if it had succeeded. So what it would have named must stay.
    """


class NewerSchema(Unavailable):
    """Written by a later version of Préau."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables one module keeps in a database, at their present version.

    `script` makes them at `version`. `migrations[n]` (a script, or a function of the connection) leads from n to n + 1.
    """

    name: str
    version: int
    script: str
    migrations: Mapping[int, "str | Callable[[apsw.Connection], None]"] = field(default_factory=dict)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn SQLite's errors into the store's: damage, or try again later. A faulty statement stays what it is."""
    try:
        yield
    except _BROKEN as error:
        raise DamagedDatabase(f"{name} is damaged or the key is another") from error
    except _PASSING as error:
        raise Unavailable(f"{name}: {type(error).__name__}") from error


def commit(connection: apsw.Connection) -> None:
    """COMMIT. Raise InDoubt when nobody knows what a crash would make of it, else as SQLite does."""
    try:
        connection.execute("COMMIT")
    except (apsw.IOError, apsw.FullError) as error:  # full: perhaps only behind the frame that commits
        raise InDoubt(f"a commit was not flushed ({type(error).__name__})") from error


def open_database(
    path: Path, key: bytes | None, *schemas: Schema, synchronous: Literal["FULL", "NORMAL"], query_only: bool = False
) -> apsw.Connection:
    """Open `path`, making it and the tables of `schemas` when they lack. `key`: 32 bytes, None for a plain file.

    Raise DamagedDatabase (wrong key, corrupt), NewerSchema, Unavailable. A connection is one thread's at a time.
    """
    if key is not None and len(key) != KEY_BYTES:
        raise ValueError("a database key has 32 bytes")
    # Made here because SQLite would give it 0644; the WAL and its index take their mode from this file.
    atomic.create_empty(path)
    with translated(path.name):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            _prepare(connection, key, synchronous)
            _migrate(connection, schemas, path.name)
            if query_only:
                connection.pragma("query_only", True)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: apsw.Connection, key: bytes | None, synchronous: str) -> None:
    connection.set_busy_timeout(BUSY_TIMEOUT)
    if key is not None:
        connection.pragma("cipher", "aegis")
        # `raw:` takes the key as it is; a passphrase (and `hexkey`, which is one) runs a key derivation of 57 ms.
        connection.execute(f"PRAGMA key = 'raw:{key.hex()}'", can_cache=False)  # a kept statement would keep the key
    connection.pragma("page_size", 8192)
    if connection.pragma("journal_mode") != "wal":
        _switch_to_wal(connection)
    connection.pragma("synchronous", synchronous)
    connection.pragma("cache_size", -4096)
    connection.pragma("temp_store", "MEMORY")  # a temporary file would hold clear text
    connection.pragma("journal_size_limit", 16 * 1024 * 1024)
    if synchronous == "FULL":
        # A flush costs half as much when the WAL is written over than when it grows, so it begins again early.
        connection.wal_autocheckpoint(_CHECKPOINT)
    # No mmap_size: measured, it gains nothing under page encryption, and a read error in a mapping kills the process.


def _switch_to_wal(connection: apsw.Connection) -> None:
    # Once in a file's life. The switch needs the exclusive lock, for which SQLite's own busy handler does not wait.
    deadline = time.monotonic() + BUSY_TIMEOUT / 1000
    while True:
        try:
            connection.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _migrate(connection: apsw.Connection, schemas: tuple[Schema, ...], name: str) -> None:
    if all(version == schema.version for schema, version in zip(schemas, _versions(connection, schemas), strict=True)):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID")
        for schema, version in zip(schemas, _versions(connection, schemas), strict=True):
            _bring_forward(connection, schema, version, name)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _versions(connection: apsw.Connection, schemas: tuple[Schema, ...]) -> list[int | None]:
    try:
        there = dict(connection.execute("SELECT part, version FROM schema"))
    except apsw.SQLError:  # no such table: a new file
        there = {}
    return [there.get(schema.name) for schema in schemas]


def _bring_forward(connection: apsw.Connection, schema: Schema, version: int | None, name: str) -> None:
    if version is None:
        connection.execute(schema.script)
    elif version > schema.version:
        raise NewerSchema(f"{name}: {schema.name} is of version {version}, this Préau knows {schema.version}")
    else:
        for step in range(version, schema.version):
            migration = schema.migrations[step]
            if callable(migration):
                migration(connection)
            else:
                connection.execute(migration)
    connection.execute(
        "INSERT INTO schema VALUES (?, ?) ON CONFLICT (part) DO UPDATE SET version = excluded.version",
        (schema.name, schema.version),
    )
