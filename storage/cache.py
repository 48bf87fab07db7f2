"""cache.db: what FETCH asks for, rendered at delivery (never needed, made again from the files when it is not there).

`r` is b"ENVELOPE (...) BODYSTRUCTURE (...)" exactly as IMAP sends it, `envlen` the length of its first half. `s`, in a table of
its own so that a FETCH of envelopes need not read past it, holds the header fields that clients ask for, octet by octet as
they stand in the message:

    key NUL field NUL field ... NUL CRLF

The key has a letter for each field that follows, in the message's own order, repeats included; few different keys exist,
so what a list of names selects is worked out once a key. A message whose header holds a NUL, or more such fields than
MAX_FIELDS, has s NULL: it is read from its file.

Owns the table, the list of names and the two encodings. Never the truth: the file may be deleted under a running server.
"""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import apsw

from ..formats.headers import raw_fields
from .api import Unavailable
from .cache_sweep import SWEPT_SCHEMA, find_strays
from .database import DamagedDatabase, NewerSchema, Schema, open_database, translated
from .index_reader import IndexReader

_TABLES = """
CREATE TABLE cache (
    id INTEGER PRIMARY KEY,       -- as msg.id in index.db
    sent INTEGER,                 -- days since 1970 of the Date field, in its own zone; NULL: no such date
    envlen INTEGER NOT NULL,
    r BLOB NOT NULL
);
CREATE TABLE slots (
    id INTEGER PRIMARY KEY,
    s BLOB                        -- NULL: the fields must be read from the file
);
"""

CACHE_SCHEMA = Schema(name="cache", version=2, script=_TABLES, migrations={1: "DROP TABLE cache;" + _TABLES})

# Who asks: Thunderbird (all of the first three lines, and Received), Outlook, K-9, iOS and macOS Mail, (neo)mutt, Delta Chat.
# Not here: DKIM-Signature, Authentication-Results. Few ask for them, and they are long.
CACHED_NAMES: tuple[bytes, ...] = (
    *(b"FROM", b"TO", b"CC", b"BCC", b"SUBJECT", b"DATE", b"MESSAGE-ID", b"PRIORITY", b"X-PRIORITY", b"REFERENCES"),
    *(b"NEWSGROUPS", b"IN-REPLY-TO", b"CONTENT-TYPE", b"REPLY-TO", b"RECEIVED", b"SENDER", b"LIST-ID", b"LIST-UNSUBSCRIBE"),
    *(b"IMPORTANCE", b"DISPOSITION-NOTIFICATION-TO", b"RETURN-PATH", b"DELIVERED-TO", b"MIME-VERSION"),
    *(b"CONTENT-TRANSFER-ENCODING", b"CONTENT-DESCRIPTION", b"CONTENT-DISPOSITION", b"LIST-POST", b"LIST-SUBSCRIBE"),
    *(b"X-MSMAIL-PRIORITY", b"X-MSOESREC", b"X-REF", b"SENSITIVITY", b"X-LABEL", b"LINES", b"X-ORIGINAL-TO"),
    *(b"X-K9MAIL-IDENTITY", b"X-UNIFORM-TYPE-IDENTIFIER", b"X-UNIVERSALLY-UNIQUE-IDENTIFIER", b"AUTO-SUBMITTED"),
    *(b"CHAT-VERSION", b"PRECEDENCE", b"USER-AGENT", b"X-MAILER", b"RESENT-FROM", b"RESENT-TO", b"RESENT-DATE"),
    *(b"X-SPAM-FLAG", b"X-SPAM-STATUS", b"CONTENT-LANGUAGE", b"THREAD-TOPIC", b"THREAD-INDEX"),
)
_LETTER = {name: 33 + number for number, name in enumerate(CACHED_NAMES)}
MAX_FIELDS = 100
MAX_SLOTS = 65_536  # octets; a longer header is read from the file
_MEMO_KEYS = 4_096
_MEMO_LISTS = 64


CacheRow = tuple[int, int | None, int, bytes, bytes | None]
"""id, sent, envlen, r, s."""

Chooser = Callable[[bytes], bytes]


def render_slots(header: bytes) -> bytes | None:
    """The header fields that are kept, of a header block with CRLF line ends; None when they must be read from the file."""
    if b"\0" in header:
        return None
    key = bytearray()
    fields = [b""]
    for name, raw in raw_fields(header):
        letter = _LETTER.get(name.upper())
        if letter is not None:
            key.append(letter)
            fields.append(raw if raw.endswith(b"\n") else raw + b"\r\n")
    if len(key) > MAX_FIELDS:
        return None
    fields[0] = bytes(key)
    fields.append(b"\r\n")
    slots = b"\0".join(fields)
    return slots if len(slots) <= MAX_SLOTS else None


class FieldChoosers:
    """For each list of names, a function from `s` to the header block of just these fields. One a process is enough."""

    __slots__ = ("_choosers",)

    def __init__(self) -> None:
        """Nothing worked out yet."""
        self._choosers: dict[tuple[bytes, ...], Chooser | None] = {}

    def chooser(self, names: Sequence[bytes]) -> Chooser | None:
        """The function for these names (any case); None when one of them is not kept."""
        wanted = tuple(names)
        try:
            return self._choosers[wanted]
        except KeyError:
            letters = [_LETTER.get(name.upper()) for name in wanted]
            made = None if None in letters else _make_chooser(frozenset(filter(None, letters)))
            if len(self._choosers) >= _MEMO_LISTS:
                self._choosers.clear()
            self._choosers[wanted] = made
            return made


def _make_chooser(letters: frozenset[int]) -> Chooser:
    memo: dict[bytes, Callable[[list[bytes]], tuple[bytes, ...]]] = {}
    join = b"".join

    def choose(slots: bytes) -> bytes:
        parts = slots.split(b"\0")
        getter = memo.get(parts[0])
        if getter is None:
            places = [number for number, letter in enumerate(parts[0], 1) if letter in letters]
            # At least two places, so that itemgetter gives a tuple; the last part is the empty line.
            getter = itemgetter(*places, -1) if places else itemgetter(slice(-1, None))
            if len(memo) >= _MEMO_KEYS:
                memo.clear()
            memo[parts[0]] = getter
        return join(getter(parts))

    return choose


class Cache:
    """cache.db of one account: one connection that reads inline, one that writes in threads.

    When the file is damaged, of another key or version, it is deleted and begun anew; when it was deleted, its connections
    are opened anew (`check_file`).
    """

    def __init__(self, path: Path, key: bytes | None) -> None:
        """Opened, and made when it is not there, with its first use: who only looks whether there is mail needs none."""
        self._path = path
        self._key = key
        self._opening = threading.RLock()
        self._reading: IndexReader | None = None
        self._writing: IndexReader | None = None
        self._inodes: dict[bool, tuple[int, int]] = {}  # of what was opened last to read and to write
        self._closed = False

    @property
    def reader(self) -> IndexReader:
        """The connection that reads. Raise Unavailable."""
        return self._reading or self._open()

    def _open(self) -> IndexReader:
        with self._opening:
            if self._reading is None:
                self._reading = self._connect(query_only=True)
            return self._reading

    def _connect(self, *, query_only: bool) -> IndexReader:
        if self._closed:
            raise Unavailable(f"{self._path.name} is closed")
        return IndexReader(self._open_whole(query_only), self._path.name, anew=partial(self._open_whole, query_only))

    def _open_whole(self, query_only: bool) -> apsw.Connection:
        try:
            connection = self._open_file(query_only)
        except (DamagedDatabase, NewerSchema):
            delete_database(self._path)
            connection = self._open_file(query_only)
        self._inodes[query_only] = inode_of(self._path)
        return connection

    def _open_file(self, query_only: bool) -> apsw.Connection:
        schemas = (CACHE_SCHEMA, SWEPT_SCHEMA)
        return open_database(self._path, self._key, *schemas, synchronous="NORMAL", query_only=query_only)

    def _writer(self) -> IndexReader:
        """The connection that writes, opened when it is first needed. Raise Unavailable."""
        with self._opening:
            if self._writing is None:
                self._writing = self._connect(query_only=False)
            return self._writing

    def relax(self) -> None:
        """Give back memory after a quiet time."""
        for connection in (self._reading, self._writing):
            if connection is not None:
                connection.rest()

    def check_file(self) -> None:
        """Open anew if the file is another one by now (deleted by hand, or by a process that found it damaged)."""
        with self._opening:
            now = inode_of(self._path)
            if any(opened != now for opened in tuple(self._inodes.values())):
                self._let_go()

    def _let_go(self) -> None:
        for connection in (self._reading, self._writing):
            if connection is not None:
                connection.close()
        self._reading = self._writing = None
        self._inodes.clear()

    def put(self, rows: Iterable[CacheRow]) -> None:
        """Keep rows. Not durable, and not missed. Raise Unavailable. [thread]"""
        rows = list(rows)
        statements = (
            ("INSERT OR REPLACE INTO cache VALUES (?, ?, ?, ?)", [row[:4] for row in rows]),
            ("INSERT OR REPLACE INTO slots VALUES (?, ?)", [(row[0], row[4]) for row in rows]),
        )
        try:
            self._many(*statements)
        except Unavailable:
            self.check_file()
            self._many(*statements)

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Keep rows under further ids: (old, new) each. Raise Unavailable. [thread]"""
        self._many(
            ("INSERT OR REPLACE INTO cache SELECT ?2, sent, envlen, r FROM cache WHERE id = ?1", pairs),
            ("INSERT OR REPLACE INTO slots SELECT ?2, s FROM slots WHERE id = ?1", pairs),
        )

    def drop(self, ids: Sequence[int]) -> None:
        """Forget rows by id. Raise Unavailable. [thread]"""
        rows = [(number,) for number in ids]
        self._many(("DELETE FROM cache WHERE id = ?", rows), ("DELETE FROM slots WHERE id = ?", rows))

    def drop_range(self, first: int, last: int) -> None:
        """Forget all rows from `first` to `last`. Raise Unavailable. [thread]"""
        rows = [(first, last)]
        self._many(
            ("DELETE FROM cache WHERE id BETWEEN ? AND ?", rows),
            ("DELETE FROM slots WHERE id BETWEEN ? AND ?", rows),
        )

    def sweep(self, index: IndexReader) -> int:
        """Forget rows whose messages went while nobody was left to drop them; how many. Raise Unavailable. [background]"""
        with translated(self._path.name), self._writer().alone() as connection:
            strays = find_strays(connection, "cache", index)
            if not strays:
                return 0
            connection.execute("BEGIN IMMEDIATE")
            try:
                rows = [(number,) for number in strays.ids]
                connection.executemany("DELETE FROM cache WHERE id = ?", rows)
                connection.executemany("DELETE FROM slots WHERE id = ?", rows)
                strays.note(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            return len(strays.ids)

    def _many(self, *statements: tuple[str, Sequence[tuple[Any, ...]]]) -> None:
        """Statements with their rows of bindings, in one transaction."""
        with translated(self._path.name), self._writer().alone() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, rows in statements:
                    connection.executemany(statement, rows)
            finally:
                _end(connection)

    def close(self) -> None:
        """Close both connections; later calls raise Unavailable."""
        with self._opening:
            self._closed = True
            self._let_go()


def _end(connection: apsw.Connection) -> None:
    # A cache keeps what went in before an error: nobody relies on all or nothing.
    if connection.in_transaction:
        connection.execute("COMMIT")


def inode_of(path: Path) -> tuple[int, int]:
    """Which file a path names: another pair once it was replaced."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def delete_database(path: Path) -> None:
    """Remove a database that can be made again, with its WAL. Raise Unavailable."""
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        try:
            name.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"{name.name} cannot be removed") from error
