"""queue.db: what is in the queue, and how far each recipient has come.

Theory of operation. A message is a row, its recipients are rows of their own; a recipient waits, or is settled. What is to
be told to the sender is noted in the same transaction as what it tells of (a notice), under the queue id that the bounce
will have: if the power fails between noting and writing it, it is written at the next start, and once. A message leaves
when nobody waits and nothing is to be told; its id is remembered for a while, so that files which a power cut brought back
are known for what they are.

Writes go through one thread and are gathered: what comes while a transaction runs enters in the next one together, and
each caller goes on when its own is on disk (synchronous FULL). A message that was just taken needs no flush of its own: the
spool has it, and tells it again when a power cut takes its rows back; the flush of what came of it takes them along.
Reads are short, on the loop's own connection.

The file is encrypted with a key derived from the queue's secret. It can be lost: the messages still in `active` are then
taken again: who got it in a mailbox here finds its twin, who got it elsewhere may get it twice.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

import apsw
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..daemon.log import logger
from ..storage import atomic
from ..storage.api import StoreError
from ..storage.database import DamagedDatabase, Schema, open_database, translated
from .spool import Envelope, SpoolRecipient

log = logger("smtp")

T = TypeVar("T")

_Write = tuple[Callable[[apsw.Connection], Any], Callable[[Any], object] | None, bool]
"""What is called in the transaction, what behind it, and whether its commit is to be flushed."""

_SCHEMA = Schema(
    "queue",
    1,
    """
    CREATE TABLE message (
        id TEXT PRIMARY KEY,
        envelope TEXT NOT NULL,        -- JSON, without recipients
        received INTEGER NOT NULL,
        held INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE recipient (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        message TEXT NOT NULL REFERENCES message (id),
        address TEXT NOT NULL,
        notify TEXT NOT NULL,          -- comma-separated
        orcpt TEXT NOT NULL,
        member INTEGER NOT NULL,       -- came out of a group: not expanded again
        state INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        next_try INTEGER NOT NULL,
        warned INTEGER NOT NULL,
        tried_at INTEGER NOT NULL,     -- the last outcome: when, what, by whom
        verdict TEXT NOT NULL,
        status TEXT NOT NULL,
        reply TEXT NOT NULL,
        host TEXT NOT NULL
    );
    CREATE INDEX recipient_due ON recipient (next_try) WHERE state = 0;
    CREATE INDEX recipient_message ON recipient (message);
    CREATE TABLE notice (
        id TEXT PRIMARY KEY,           -- queue id of the bounce to come
        message TEXT NOT NULL,
        kind TEXT NOT NULL,
        recipients TEXT NOT NULL       -- JSON, as they were then
    ) WITHOUT ROWID;
    CREATE INDEX notice_message ON notice (message);
    CREATE TABLE finished (id TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
    """,
)
_BATCH = 200  # calls in one transaction


class State(IntEnum):
    """Where a recipient stands: WAITING, or settled."""

    WAITING = 0
    DONE = 1
    FAILED = 2
    CANCELLED = 3  # deleted by an operator


@dataclass(frozen=True, slots=True)
class Queued:
    """A recipient's row."""

    row: int
    message: str
    address: str
    notify: frozenset[str]
    orcpt: str
    member: bool
    state: State
    attempts: int
    next_try: int
    warned: bool
    tried_at: int
    verdict: str
    status: str
    reply: str
    host: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the sender: `kind` is failed, delayed or success; `recipients`: rows as they were then."""

    id: str
    message: str
    kind: str
    recipients: tuple[Queued, ...]


def database_key(secret: bytes) -> bytes:
    """The key of queue.db, from the queue's secret."""
    return HKDF(SHA256(), 32, salt=None, info=b"preau queue.db").derive(secret)


def open_queue_database(path: Path, key: bytes) -> tuple[apsw.Connection, bool]:
    """queue.db, made anew when it is damaged (the old one is kept beside it); whether it was. Raise Unavailable. [thread]"""
    try:
        return open_database(path, key, _SCHEMA, synchronous="FULL"), False
    except DamagedDatabase:
        for suffix in ("", "-wal", "-shm"):
            try:
                atomic.rename(path.with_name(path.name + suffix), path.with_name(f"{path.name}.damaged{suffix}"))
            except FileNotFoundError:
                pass
        return open_database(path, key, _SCHEMA, synchronous="FULL"), True


class QueueStore:
    """queue.db, open. Use it from one event loop."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Open or make it. `rebuilt` tells whether a damaged one was put aside. Raise Unavailable."""
        self._writer, self.rebuilt = open_queue_database(path, key)
        try:
            self._reader = open_database(path, key, _SCHEMA, synchronous="FULL", query_only=True)
        except BaseException:
            self._writer.close()
            raise
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="queue-db")
        self._waiting: list[tuple[_Write, asyncio.Future[Any]]] = []
        self._running: asyncio.Future[list[tuple[Any, Exception | None]]] | None = None

    async def close(self) -> None:
        """Finish what is being written and close."""
        while self._running is not None:
            await asyncio.wait([self._running])
        self._thread.shutdown()
        self._writer.close()
        self._reader.close()

    # -- writing

    async def write(
        self, call: Callable[[apsw.Connection], T], then: Callable[[T], object] | None = None, *, flush: bool = True
    ) -> T:
        """Run `call` in a transaction; when this returns it is on disk. `call` may run twice. Raise Unavailable.

        `then` is called with its result behind the commit, in the same thread: what it raises is logged, and is to be done
        another time. Without `flush` it is on disk with the next transaction that has it, and a power cut before takes it back.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(((call, then, flush), future))
        self._next()
        # Shielded: what was handed over is written, whoever still waits for it.
        return await asyncio.shield(future)

    def _next(self) -> None:
        if self._waiting and self._running is None:
            batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, [write for write, _ in batch])
            self._running = running
            running.add_done_callback(lambda done: self._written([future for _, future in batch], done))

    def _written(
        self, futures: list["asyncio.Future[Any]"], done: "asyncio.Future[list[tuple[Any, Exception | None]]]"
    ) -> None:
        self._running = None
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        results = [(None, error)] * len(futures) if error is not None else done.result()
        for future, (result, problem) in zip(futures, results, strict=True):
            if future.done():
                continue
            if problem is None:
                future.set_result(result)
            else:
                future.set_exception(problem)
                future.exception()  # who asked may be gone
        self._next()

    def _run(self, writes: list["_Write"]) -> list[tuple[Any, Exception | None]]:
        try:
            with translated("queue.db"):
                self._writer.pragma("synchronous", "FULL" if any(flush for _, _, flush in writes) else "NORMAL")
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    results = [call(self._writer) for call, _, _ in writes]
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
        except Exception as error:
            if len(writes) == 1:
                return [(None, error)]
            # One that cannot be done must not keep the others out.
            return [done for write in writes for done in self._run([write])]
        for result, (_, then, _) in zip(results, writes, strict=True):
            if then is not None:
                try:
                    then(result)
                except StoreError as error:
                    log.warning("left for another time", reason=str(error))
                except Exception as bug:  # what was asked for is committed, and is not undone by it
                    log.incident("not done behind a commit", bug)
        return [(result, None) for result in results]

    # -- reading

    def is_known(self, identifier: str) -> bool:
        """Whether the message is in the queue now. [inline]"""
        return self._first("SELECT 1 FROM message WHERE id = ?", identifier) is not None

    def is_finished(self, identifier: str) -> bool:
        """Whether the message was in the queue and left it. [inline]"""
        return self._first("SELECT 1 FROM finished WHERE id = ?", identifier) is not None

    def envelope(self, identifier: str) -> Envelope | None:
        """The envelope, without recipients; None when the message is not there. [inline]"""
        found = self._first("SELECT envelope FROM message WHERE id = ?", identifier)
        return None if found is None else Envelope(recipients=(), **json.loads(found[0]))

    def is_held(self, identifier: str) -> bool:
        """Whether an operator holds the message. [inline]"""
        found = self._first("SELECT held FROM message WHERE id = ?", identifier)
        return found is not None and bool(found[0])

    def due(self, now: int, limit: int) -> list[str]:
        """Messages with recipients to try, those first that have waited longest. [inline]"""
        query = """
            SELECT recipient.message, MIN(recipient.next_try) AS first FROM recipient
            JOIN message ON message.id = recipient.message
            WHERE recipient.state = 0 AND recipient.next_try <= ? AND message.held = 0
            GROUP BY recipient.message ORDER BY first LIMIT ?
        """
        return [str(row[0]) for row in self._all(query, now, limit)]

    def next_try(self, now: int) -> int | None:
        """When the next recipient is due after `now`; None: nobody waits. [inline]"""
        query = """
            SELECT recipient.next_try FROM recipient JOIN message ON message.id = recipient.message
            WHERE recipient.state = 0 AND recipient.next_try > ? AND message.held = 0 ORDER BY recipient.next_try LIMIT 1
        """
        found = self._first(query, now)
        return None if found is None else int(found[0])

    def waits_beyond(self, end: int) -> bool:
        """Whether somebody's next try is later than that. [inline]"""
        return self._first("SELECT 1 FROM recipient WHERE state = 0 AND next_try > ? LIMIT 1", end) is not None

    def waiting(self, identifier: str, now: int) -> list[Queued]:
        """Recipients of a message that are to be tried. [inline]"""
        query = "SELECT * FROM recipient WHERE message = ? AND state = 0 AND next_try <= ? ORDER BY row"
        return [_queued(row) for row in self._all(query, identifier, now)]

    def recipients(self, identifier: str) -> list[Queued]:
        """All recipients of a message. [inline]"""
        query = "SELECT * FROM recipient WHERE message = ? ORDER BY row"
        return [_queued(row) for row in self._all(query, identifier)]

    def notices(self) -> list[Notice]:
        """What is still to be told. [inline]"""
        return [
            Notice(identifier, message, kind, tuple(_queued(row) for row in json.loads(rows)))
            for identifier, message, kind, rows in self._all("SELECT id, message, kind, recipients FROM notice ORDER BY id")
        ]

    def idle(self) -> list[str]:
        """Messages with nothing left to do: a crash came between the last outcome and their leaving. [inline]"""
        query = """
            SELECT id FROM message WHERE NOT EXISTS (SELECT 1 FROM recipient WHERE message = id AND state = 0)
            AND NOT EXISTS (SELECT 1 FROM notice WHERE notice.message = message.id)
        """
        return [str(row[0]) for row in self._all(query)]

    def messages(self, after: str, limit: int, address: str = "") -> list[tuple[str, bool]]:
        """(id, held) in the order of ids, those of a sender or recipient if an address is given. [inline]"""
        query = """
            SELECT id, held FROM message WHERE id > ? AND (? = '' OR json_extract(envelope, '$.reverse_path') = ? COLLATE NOCASE
            OR EXISTS (SELECT 1 FROM recipient WHERE message = id AND address = ? COLLATE NOCASE)) ORDER BY id LIMIT ?
        """
        return [(str(row[0]), bool(row[1])) for row in self._all(query, after, address, address, address, limit)]

    def counts(self) -> tuple[int, int, int]:
        """Messages, of which held, and recipients that wait. [inline]"""
        found = self._first(
            "SELECT COUNT(*), COALESCE(SUM(held), 0), (SELECT COUNT(*) FROM recipient WHERE state = 0) FROM message"
        )
        assert found is not None
        return int(found[0]), int(found[1]), int(found[2])

    def _first(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        with translated("queue.db"):
            found: tuple[Any, ...] | None = self._reader.execute(query, values).fetchone()
            return found

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with translated("queue.db"):
            found: list[Any] = self._reader.execute(query, values).fetchall()
            return found


# ---------------------------------------------------------------------------------------------------------------------
# What is written; each is called inside QueueStore.write


def insert_message(connection: apsw.Connection, identifier: str, envelope: Envelope, now: int) -> list[Queued] | None:
    """Note a message of the spool: its recipients; None when it is known, or was. Raise nothing of its own."""
    if is_finished(connection, identifier):
        return None
    fields = {name: getattr(envelope, name) for name in Envelope.__slots__ if name != "recipients"}
    connection.execute("INSERT OR IGNORE INTO message VALUES (?, ?, ?, 0)", (identifier, json.dumps(fields), envelope.received))
    if connection.changes() == 0:
        return None
    return _insert_recipients(connection, identifier, envelope.recipients, set(), now, member=False)


def is_finished(connection: apsw.Connection, identifier: str) -> bool:
    """Whether the message was in the queue and left it."""
    return connection.execute("SELECT 1 FROM finished WHERE id = ?", (identifier,)).fetchone() is not None


def insert_recipients(
    connection: apsw.Connection, identifier: str, recipients: Sequence[SpoolRecipient], now: int, *, member: bool
) -> None:
    """Add recipients to a message, those left out that it has had already."""
    query = "SELECT address FROM recipient WHERE message = ?"
    known = {_same(str(row[0])) for row in connection.execute(query, (identifier,))}
    _insert_recipients(connection, identifier, recipients, known, now, member=member)


def _insert_recipients(
    connection: apsw.Connection,
    identifier: str,
    recipients: Sequence[SpoolRecipient],
    known: set[str],
    now: int,
    *,
    member: bool,
) -> list[Queued]:
    added = []
    for each in recipients:
        if (same := _same(each.address)) in known:
            continue
        known.add(same)
        connection.execute(
            "INSERT INTO recipient (message, address, notify, orcpt, member, state, attempts, next_try, warned, tried_at,"
            " verdict, status, reply, host) VALUES (?, ?, ?, ?, ?, 0, 0, ?, 0, 0, '', '', '', '')",
            (identifier, each.address, ",".join(sorted(each.notify)), each.orcpt, int(member), now),
        )
        row = connection.last_insert_rowid()
        address, notify, orcpt = each.address, each.notify, each.orcpt
        added.append(Queued(row, identifier, address, notify, orcpt, member, State.WAITING, 0, now, False, 0, "", "", "", ""))
    return added


def _same(address: str) -> str:
    # RFC 5321 section 2.4: a local part is its host's to read, its case included.
    local, at, domain = address.rpartition("@")
    return local + at + domain.casefold()


def update_recipient(connection: apsw.Connection, one: Queued) -> bool:
    """Write what a try brought; False when the recipient was settled meanwhile (deleted)."""
    connection.execute(
        "UPDATE recipient SET state = ?, attempts = ?, next_try = ?, warned = ?, tried_at = ?, verdict = ?, status = ?,"
        " reply = ?, host = ? WHERE row = ? AND state = 0",
        (
            int(one.state),
            one.attempts,
            one.next_try,
            int(one.warned),
            one.tried_at,
            one.verdict,
            one.status,
            one.reply,
            one.host,
            one.row,
        ),
    )
    return connection.changes() > 0


def insert_notice(connection: apsw.Connection, notice: Notice) -> None:
    """Note what is to be told."""
    rows = json.dumps([_plain(each) for each in notice.recipients])
    connection.execute("INSERT INTO notice VALUES (?, ?, ?, ?)", (notice.id, notice.message, notice.kind, rows))


def bring_forward(connection: apsw.Connection, end: int, now: int) -> None:
    """Have tried now whose next try is later than `end`."""
    connection.execute("UPDATE recipient SET next_try = ? WHERE state = 0 AND next_try > ?", (now, end))


def finish(connection: apsw.Connection, identifier: str, now: int) -> bool:
    """Let the message leave if nothing is left to do; whether it did. Its id is remembered: see forget_finished."""
    query = """
        SELECT 1 FROM recipient WHERE message = ?1 AND state = 0 UNION ALL SELECT 1 FROM notice WHERE message = ?1 LIMIT 1
    """
    if connection.execute(query, (identifier,)).fetchone() is not None:
        return False
    connection.execute("DELETE FROM recipient WHERE message = ?", (identifier,))
    connection.execute("DELETE FROM message WHERE id = ?", (identifier,))
    connection.execute("INSERT OR REPLACE INTO finished VALUES (?, ?)", (identifier, now))
    return True


def forget_finished(connection: apsw.Connection, now: int, *, keep: int = 604_800) -> None:
    """Forget ids of messages that left more than `keep` seconds ago: no power cut brings their files back any more."""
    connection.execute("DELETE FROM finished WHERE at < ?", (now - keep,))


_FIELDS = tuple(Queued.__slots__)  # in the order of the table's columns


def _queued(row: Sequence[Any]) -> Queued:
    values = dict(zip(_FIELDS, row, strict=True))
    values["notify"] = frozenset(filter(None, str(values["notify"]).split(",")))
    values["state"] = State(values["state"])
    values["member"], values["warned"] = bool(values["member"]), bool(values["warned"])
    return Queued(**values)


def _plain(one: Queued) -> list[Any]:
    values = {name: getattr(one, name) for name in _FIELDS}
    values["notify"] = ",".join(sorted(one.notify))
    return [int(value) if isinstance(value, State | bool) else value for value in values.values()]
