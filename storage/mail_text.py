"""Search text of one account: kept when messages come in, indexed by trigrams in the background (see search.py).

The text of a new message is taken from the octets that passed by, in the background; a bounded amount of them waits, and
beyond that whoever brings more does the work. What has no text when a search comes (the file was deleted, the message came
from other software) is read from its file first. So indexing may lag, the answer never does.

Owns fts.db's connections, and the queue. When the file is damaged or of another key it is deleted and begun anew.
"""

import logging
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import apsw

from ..formats.text import LINE, IndexedText, TextLimits, extract_text, header_lines
from .api import MailboxId, NotFound, StoreError, TextKey, Uid
from .cache import delete_database, inode_of
from .cache_sweep import SWEPT_SCHEMA, find_strays
from .database import DamagedDatabase, NewerSchema, open_database, translated
from .held import HELD
from .index_reader import UID_MASK
from .mail_context import MailContext
from .mail_derive import Derived, structure_of
from .mail_fetch import DAMAGED, read_message
from .search import SCHEMA, SearchIndex

log = logging.getLogger("preau.storage")

_AT_ONCE = 32
_OCTETS_AT_ONCE = 1024 * 1024  # of messages: their texts are in memory together
_INDEXED_AT_ONCE = 8  # about 16 ms: with the pause that follows, half of one processor at most
_DELAY = 0.3  # seconds: text is taken once no message came for so long,
_LATEST = 5.0  # or after so long
_TRIGRAM_DELAY = 1.0
_BREATH = 0.02
_UNINDEXED = 2_000  # texts that may wait for a quiet moment

Added = tuple[int, bytes, Derived]
"""id, prefix of this copy, what its octets gave."""


class _Connections:
    """fts.db: one connection that writes, one that searches, each opened when it is first needed: most accounts are not
    searched in, and most processes have nothing to write.
    """

    def __init__(self, context: MailContext) -> None:
        """Nothing is open yet."""
        self._path, self._key = context.paths.fts_db, context.cache_key
        self._open: dict[bool, tuple[apsw.Connection, SearchIndex]] = {}
        self.inode = (0, 0)  # of what is open

    def index(self, *, writing: bool) -> tuple[apsw.Connection, SearchIndex]:
        """The connection that writes, or the one that searches. Raise Unavailable."""
        if writing not in self._open:
            connection = open_database(
                self._path, self._key, SCHEMA, SWEPT_SCHEMA, synchronous="NORMAL", query_only=not writing
            )
            self._open[writing] = connection, SearchIndex(connection)
            self.inode = inode_of(self._path)
        return self._open[writing]

    def close(self, *, writing: bool) -> None:
        """Close one of both."""
        if writing in self._open:
            self._open.pop(writing)[0].close()


class MailText:
    """The search of one account's mail. Any thread."""

    def __init__(self, context: MailContext) -> None:
        """Open nothing yet: fts.db is opened at first use."""
        self._context = context
        self._limits = TextLimits(part=context.limits.indexed_text)
        self._open: _Connections | None = None
        self._writing = threading.RLock()
        self._reading = threading.RLock()
        self._opening = threading.Lock()
        self._queue: deque[Added] = deque()
        self._copies: deque[tuple[int, int]] = deque()
        self._unindexed = 0

    # -- connections

    def _index_for(self, *, writing: bool) -> tuple[apsw.Connection, SearchIndex]:
        """The connection that writes or the one that searches, opened anew when the file is not the one that was opened."""
        with self._opening:
            path = self._context.paths.fts_db
            if self._open is None or self._open.inode not in (inode_of(path), (0, 0)):
                self._open = _Connections(self._context)  # the old one is closed when nobody is within it any more
            try:
                return self._open.index(writing=writing)
            except (DamagedDatabase, NewerSchema) as error:
                log.warning("search text begun anew", extra={"account": self._context.account, "error": str(error)})
                delete_database(path)
                self._open = _Connections(self._context)
                return self._open.index(writing=writing)

    @contextmanager
    def _writer(self) -> Iterator[tuple[apsw.Connection, SearchIndex]]:
        with self._writing:
            opened = self._index_for(writing=True)
            try:
                yield opened
            except DamagedDatabase:
                self._begin_anew()
                raise

    def _begin_anew(self) -> None:
        with self._opening:
            self._open = None
            delete_database(self._context.paths.fts_db)

    def close(self) -> None:
        """Close the connections."""
        with self._writing, self._reading, self._opening:
            if self._open is not None:
                self._open.close(writing=True)
                self._open.close(writing=False)
                self._open = None

    def _stop_writing(self) -> None:
        """Close the connection that writes, until there is something to write again: it takes some 300 KiB."""
        with self._writing, self._opening:
            if self._open is not None:
                self._open.close(writing=True)

    # -- keeping up

    def add(self, rows: Sequence[Added]) -> None:
        """Messages came in: take their text, soon (now, when too much waits)."""
        if not rows:
            return
        self._unindexed += len(rows)
        self._queue.extend(rows)
        if HELD.full:
            self._take_texts()
        else:
            self._take_later()

    def _take_later(self) -> None:
        self._context.background.submit(("text", self._context.account), self._take_texts, delay=_DELAY, latest=_LATEST)

    def _take_texts(self) -> None:
        try:
            kept: list[int] = []
            with self._writer() as (_, index):
                while self._queue:
                    batch = self._next_batch()
                    texts = [(number, self._text(prefix, derived)) for number, prefix, derived in batch]
                    with index.transaction():
                        for number, text in texts:
                            index.add(number, text)
                    kept += [number for number, _ in texts]
                kept += self._copy_texts(index)
                self._drop_gone(index, kept)
        except StoreError as error:
            # Not lost: a search reads what has no text from its file.
            log.warning("search text not kept", extra={"account": self._context.account, "error": str(error)})
            return
        self.index_later()

    def _next_batch(self) -> list[Added]:
        batch: list[Added] = []
        octets = 0
        while self._queue and len(batch) < _AT_ONCE and octets < _OCTETS_AT_ONCE:
            batch.append(self._queue.popleft())
            octets += len(batch[-1][2].head)
        return batch

    def _text(self, prefix: bytes, derived: Derived) -> IndexedText:
        head = derived.head
        text = extract_text(lambda offset, length: head[offset : offset + length], derived.part, self._limits)
        header = text.header
        if prefix:
            header = LINE.join([*header_lines(prefix), header])
        return IndexedText(header, text.structure, text.body, text.complete and derived.complete)

    def index_later(self) -> None:
        """Have what waits put into the trigram table, once nothing comes in any more. What is not done at the end waits
        in the table for the next opening; until then it is searched in line.
        """
        self._context.background.submit(("trigrams", self._context.account), self._index, delay=_TRIGRAM_DELAY, idle=True)

    def _index(self) -> None:
        """A batch into the trigram table; the next one is another job, so that others have their turn."""
        quiet = time.monotonic() - self._context.background.busy > _TRIGRAM_DELAY
        if not quiet and self._unindexed < _UNINDEXED:
            self.index_later()  # whoever is served comes first, in any account
            return
        with self._writer() as (_, index):
            done = index.index_pending(_INDEXED_AT_ONCE)
        self._unindexed = max(0, self._unindexed - done)
        if done == _INDEXED_AT_ONCE:
            again = ("trigrams", self._context.account, "more")
            self._context.background.submit(again, self._index, delay=_BREATH, idle=True)
        else:
            self._stop_writing()

    def copy_later(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Messages were copied: (old, new) ids. Until the text is copied a search finds none, and reads the files."""
        if pairs:
            self._copies.extend(pairs)
            self._take_later()

    def _copy_texts(self, index: SearchIndex) -> list[int]:
        """Copy what is to be copied; the ids that got something."""
        pairs = []
        while self._copies:
            pairs.append(self._copies.popleft())
        if pairs:
            index.copy(pairs)
        return [new for _, new in pairs]

    def _drop_gone(self, index: SearchIndex, ids: Sequence[int]) -> None:
        """Forget what was just kept of messages that another process removed, and cleared up after, before."""
        if gone := self._context.gone_among(ids):
            sources = {old for old, _ in list(self._copies)}  # dropped by who moved them, once they are copied
            index.remove(number for number in gone if number not in sources)

    def drop(self, ids: Sequence[int]) -> None:
        """Messages went; what is to be copied from them is copied first. Raise Unavailable. [background]"""
        self._take_texts()
        with self._writer() as (_, index):
            index.remove(ids)

    def sweep(self) -> int:
        """Forget text whose messages went while nobody was left to drop it; how many. Raise Unavailable. [background]

        What others left out of the trigram table is put there.
        """
        with self._writer() as (connection, index), translated("fts.db"):
            strays = find_strays(connection, "text", self._context.reader)
            if strays:
                with index.transaction():
                    index.remove(strays.ids)
                    strays.note(connection)
            if index.pending():
                self.index_later()
            else:
                self._stop_writing()
            return len(strays.ids)

    def drop_range(self, first: int, last: int) -> None:
        """A mailbox went. Raise Unavailable. [background]"""
        with self._writer() as (connection, index):
            rows = connection.execute("SELECT id FROM text WHERE id BETWEEN ? AND ?", (first, last))
            index.remove([int(str(number)) for (number,) in rows.fetchall()])

    # -- searching

    def search(self, mailbox: MailboxId, key: TextKey, uids: Sequence[Uid]) -> set[Uid]:
        """See Mail.search_text. Raise Unavailable."""
        if not uids:
            return set()
        base = mailbox << 32
        ids = [base | uid for uid in sorted(uids)]
        row = self._context.reader.first("SELECT uidvalidity FROM mailbox WHERE id = ?", (mailbox,))
        uidvalidity = None if row is None else int(row[0])
        with self._reading:
            _, index = self._index_for(writing=False)
            missing = [] if index.has_all(ids) else index.missing(ids)
        if missing and (missing := self._here(missing)):
            self._read_missing(mailbox, missing)
        with self._reading:
            _, index = self._index_for(writing=False)
            found = index.search(ids, key, lambda number: self._whole(mailbox, number), uidvalidity=uidvalidity)
        return {Uid(number & UID_MASK) for number in self._here(sorted(found))}

    def _here(self, ids: Sequence[int]) -> list[int]:
        """Those of ascending ids that are still there."""
        if not ids:
            return []
        if len(ids) > (ids[-1] - ids[0]) // 3:
            rows = self._context.reader.rows("SELECT id FROM msg WHERE id BETWEEN ? AND ?", (ids[0], ids[-1]))
            wanted = set(ids)
            return [number for (number,) in rows if number in wanted]
        bound = apsw.carray(array("q", ids))
        return [number for (number,) in self._context.reader.rows("SELECT id FROM msg WHERE id IN carray(?)", (bound,))]

    def _read_missing(self, mailbox: MailboxId, ids: Sequence[int]) -> None:
        """Take the text of messages from their files. What waits in the queue is among them: it is taken first."""
        self._take_texts()
        with self._reading:
            missing = self._index_for(writing=False)[1].missing(ids)
        for begin in range(0, len(missing), _AT_ONCE):
            texts = []
            for number in missing[begin : begin + _AT_ONCE]:
                try:
                    with read_message(self._context, mailbox, Uid(number & 0xFFFFFFFF)) as reader:
                        texts.append((number, extract_text(reader.read, structure_of(reader), self._limits)))
                except (NotFound, *DAMAGED):
                    continue
            with self._writer() as (_, index):
                with index.transaction():
                    for number, text in texts:
                        index.add(number, text)
                self._drop_gone(index, [number for number, _ in texts])
        self.index_later()

    def _whole(self, mailbox: MailboxId, number: int) -> bytes | None:
        try:
            with read_message(self._context, mailbox, Uid(number & 0xFFFFFFFF)) as reader:
                return reader.read()
        except (NotFound, *DAMAGED):
            return None
