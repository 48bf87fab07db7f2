"""Text search: fts.db, an index that may lag or be lost while the answer stays exact (RFC 9051 section 6.4.4).

Theory of operation. `packed` keeps, for each message, its normalised text compressed, `text` the header fields that are
asked for most, in the clear. `trigram` is a contentless FTS5 table over the same text: the messages that hold all
trigrams of the needle are candidates, and each is verified in `packed`. The fields that relays add (Received, signatures,
X-...) stay out of it: their random letters would make it three times as large, and they lie in `trace`, through which a
TEXT search goes in line, uncompressed. A row enters `text` when its message is stored,
which is cheap, and `trigram` later (index_pending); until then, and for needles of one or two characters, the text is
searched in line. A message that has no row, or of whose text a limit left something out, is looked at itself. So the
index decides how fast an answer comes, never what it is.

Ids are `mailbox_id << 32 | uid`. Everything in fts.db can be made again from the messages: it may be deleted.

Owns fts.db. Never opens a message itself: the caller's `read` does.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw
import zstandard

from ..formats.text import EVERYTHING, LINE, IndexedText, extract_message, normalise
from .api import TextField, TextKey
from .database import Schema, translated
from .search_memo import Criterion, SearchMemo

SCHEMA = Schema(
    name="search",
    version=1,
    script="""
        CREATE TABLE text (
            id INTEGER PRIMARY KEY,
            pending INTEGER NOT NULL,   -- not in trigram yet
            complete INTEGER NOT NULL,  -- 0: the message holds text that is not here
            subject TEXT, sender TEXT, recipient TEXT, cc TEXT, bcc TEXT  -- normalised values, one a line; NULL: no such field
        );
        CREATE INDEX text_pending ON text (pending) WHERE pending = 1;
        CREATE INDEX text_complete ON text (complete);
        CREATE TABLE packed (id INTEGER PRIMARY KEY, text BLOB NOT NULL);
        CREATE TABLE trace (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
        CREATE VIRTUAL TABLE trigram
            USING fts5(text, content = '', contentless_delete = 1, tokenize = 'trigram', detail = none);
    """,
)

_COLUMNS = {"subject": "subject", "from": "sender", "to": "recipient", "cc": "cc", "bcc": "bcc"}
_TRACE_FIELDS = frozenset(
    {"received", "received-spf", "authentication-results", "domainkey-signature", "autocrypt", "face", "openpgp"}
)
_TRACE_PREFIXES = ("x-", "arc-", "dkim-")
_SEPARATOR = "\0"  # between header, structure and body of a packed text; normalised text holds none
_MAX_TRIGRAMS = 24  # of a needle that are looked up; more would hardly narrow the candidates
_LEVEL = -1  # of compression: a third more octets than at 3, and out again in less than half the time
_FEW = 200  # so many ids are looked up one by one, more of them as a range


def holds(text: IndexedText, key: TextKey) -> bool:
    """Whether the text of a message meets the criterion: what an answer means, with or without an index.

    HEADER: the needle is in a value of that field; an empty one asks whether the field is there. BODY: in the body.
    TEXT: in the body or in any header field, of the message or of its parts, written as `name: value`.
    """
    needle = normalise(key.needle)
    match key.field:
        case TextField.HEADER:
            return any(needle in value for value in text.values(key.header))
        case TextField.BODY:
            return needle in text.body
        case TextField.TEXT:
            return needle in text.body or needle in text.header or needle in text.structure


class SearchIndex:
    """The search index of one account over its connection to fts.db (opened with SCHEMA). One thread at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        """Use `connection`; its owner closes it."""
        self._connection = connection
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._decompressor = zstandard.ZstdDecompressor()
        self._memo = SearchMemo()

    # -- writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what is written within one transaction. Each call below is one of its own otherwise. Raise Unavailable."""
        connection = self._connection
        if connection.in_transaction:
            yield
            return
        with translated("fts.db"):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def add(self, id: int, text: IndexedText) -> None:
        """Keep the text of a message; it is found from now on. An earlier text of that id is replaced."""
        columns: dict[str, str | None] = {}
        for name, column in _COLUMNS.items():
            values = list(text.values(name))
            columns[column] = LINE.join(values) if values else None
        own, trace = _split_trace(text.header)
        packed = self._compressor.compress(_SEPARATOR.join((own, text.structure, text.body)).encode())
        with self.transaction():
            self._forget([id])
            self._connection.execute(
                "INSERT INTO text VALUES (?, 1, ?, ?, ?, ?, ?, ?)", (id, int(text.complete), *columns.values())
            )
            self._connection.execute("INSERT INTO packed VALUES (?, ?)", (id, packed))
            if trace:
                self._connection.execute("INSERT INTO trace VALUES (?, ?)", (id, trace))

    def copy(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Give each second id what is kept for the first, without reading a message. A source without text is left out."""
        pairs = list(pairs)
        with self.transaction():
            self._forget([target for _, target in pairs])
            self._connection.executemany(
                "INSERT INTO text SELECT ?2, 1, complete, subject, sender, recipient, cc, bcc FROM text WHERE id = ?1", pairs
            )
            self._connection.executemany("INSERT INTO packed SELECT ?2, text FROM packed WHERE id = ?1", pairs)
            self._connection.executemany("INSERT INTO trace SELECT ?2, text FROM trace WHERE id = ?1", pairs)

    def remove(self, ids: Iterable[int]) -> None:
        """Forget messages; ids that are not there do not matter."""
        ids = list(ids)
        with self.transaction():
            self._forget(ids)

    def _forget(self, ids: Sequence[int]) -> None:
        connection = self._connection
        for id in ids:
            pending = connection.execute("SELECT pending FROM text WHERE id = ?", (id,)).get
            if pending is None:
                continue
            if not pending:
                connection.execute("DELETE FROM trigram WHERE rowid = ?", (id,))
            connection.execute("DELETE FROM text WHERE id = ?", (id,))
            connection.execute("DELETE FROM packed WHERE id = ?", (id,))
            connection.execute("DELETE FROM trace WHERE id = ?", (id,))

    def index_pending(self, limit: int = 32) -> int:
        """Put up to `limit` waiting texts into the trigram table; how many. About 2 ms each, one write transaction."""
        connection = self._connection
        with self.transaction():
            rows = connection.execute(
                "SELECT id, packed.text FROM text JOIN packed USING (id) WHERE pending = 1 LIMIT ?", (limit,)
            ).fetchall()
            for id, packed in rows:
                assert isinstance(packed, bytes)
                document = self._decompressor.decompress(packed).decode().replace(_SEPARATOR, LINE)
                connection.execute("INSERT INTO trigram (rowid, text) VALUES (?, ?)", (id, document))
                connection.execute("UPDATE text SET pending = 0 WHERE id = ?", (id,))
        return len(rows)

    # -- reading

    def pending(self) -> int:
        """How many texts wait for index_pending()."""
        with translated("fts.db"):
            return int(self._connection.execute("SELECT count(*) FROM text WHERE pending = 1").get)

    def missing(self, ids: Sequence[int]) -> list[int]:
        """Those of `ids` without text here: add() them, and searches need not read them again."""
        with translated("fts.db"):
            there = {id for (id,) in self._rows("SELECT id FROM text WHERE", ids)}
        return [id for id in ids if id not in there]

    def has_all(self, ids: Sequence[int]) -> bool:
        """Whether the whole text of all these is here: then none needs to be read for a search."""
        first, last = min(ids), max(ids)
        bound: list[Any]
        if last - first + 1 == len(ids):
            query, bound = "id BETWEEN ? AND ?", [first, last]
        else:
            query, bound = "id IN carray(?)", [apsw.carray(array("q", ids))]
        with translated("fts.db"):
            count = self._connection.execute(f"SELECT count(*) FROM text WHERE complete = 1 AND {query}", bound).get  # noqa: S608
        return bool(count == len(ids))

    def search(
        self, ids: Sequence[int], key: TextKey, read: Callable[[int], bytes | None], *, uidvalidity: int | None = None
    ) -> set[int]:
        """Which of the messages `ids` (ascending, of one mailbox) meet the criterion: exactly those for which holds() says so.

        `read` gives a whole message, or None when it is gone; it is called for messages that have no text here, and for
        those of whose text something is left out and that was not found in the rest. What is found out is remembered for as
        long as the mailbox has that UIDVALIDITY, if one is given. Raise Unavailable.
        """
        needle = normalise(key.needle)
        if not ids or (not needle and key.field is not TextField.HEADER):
            return set(ids)
        if uidvalidity is None:
            return self._search(ids, key, needle, read)[0]
        criterion = Criterion(ids[0] >> 32, uidvalidity, key.field, normalise(key.header), needle)
        known, rest = self._memo.recall(criterion, ids)
        if not rest:
            return known
        hits, for_good = self._search(rest, key, needle, read)
        hits |= known
        if for_good:
            self._memo.keep(criterion, ids, hits)
        return hits

    def _search(
        self, ids: Sequence[int], key: TextKey, needle: str, read: Callable[[int], bytes | None]
    ) -> tuple[set[int], bool]:
        """(hits, whether that is all from whole texts that are here)."""
        wanted = set(ids)
        with translated("fts.db"), self._snapshot():
            whole = self.has_all(ids)
            if key.field is TextField.HEADER:
                hits = self._search_header(ids, wanted, key.header, needle)
            else:
                hits = self._search_text(ids, wanted, needle, key.field)
            unsure = set() if whole else wanted - hits
            if unsure:
                unsure.difference_update(id for (id,) in self._rows("SELECT id FROM text WHERE complete = 1 AND", ids))
        for id in sorted(unsure):
            message = read(id)
            if message is not None and holds(extract_message(message, EVERYTHING), key):
                hits.add(id)
        return hits, whole

    def _search_header(self, ids: Sequence[int], wanted: set[int], name: str, needle: str) -> set[int]:
        column = _COLUMNS.get(normalise(name))
        if column is not None:
            # An empty needle is in every value, but not in NULL.
            select = f"SELECT id FROM text WHERE instr({column}, ?) AND"  # noqa: S608 - one of our five columns
            return {id for (id,) in self._rows(select, ids, needle)} & wanted
        start = f"{normalise(name)}: "
        # The name is written before each value, so it is a needle as good as another when there is none.
        search = needle if len(needle) >= 3 else start
        texts = self._traces(ids, wanted, search) if _is_trace(start) else self._texts(*self._candidates(ids, wanted, search))
        return {id for id, text in texts if _in_field(text, start.encode(), needle.encode())}

    def _search_text(self, ids: Sequence[int], wanted: set[int], needle: str, field: TextField) -> set[int]:
        texts = self._texts(*self._candidates(ids, wanted, needle))
        octets = needle.encode()
        if field is TextField.BODY:
            separator = _SEPARATOR.encode()
            return {id for id, text in texts if text.find(octets, text.rindex(separator) + 1) >= 0}
        return {id for id, text in texts if octets in text} | {id for id, _ in self._traces(ids, wanted, needle)}

    def _traces(self, ids: Sequence[int], wanted: set[int], needle: str) -> Iterator[tuple[int, bytes]]:
        """The trace fields of messages that have the needle somewhere in them."""
        for id, text in self._rows("SELECT id, text FROM trace WHERE instr(text, ?) AND", ids, needle):
            if id in wanted:
                yield id, text.encode()

    def _candidates(self, ids: Sequence[int], wanted: set[int], needle: str) -> tuple[set[int], set[int]]:
        """(those whose trigrams fit, those that the trigram table cannot answer for)."""
        if len(needle) < 3:
            return set(), {id for (id,) in self._rows("SELECT id FROM text WHERE", ids)} & wanted
        trigrams = list(dict.fromkeys(needle[i : i + 3] for i in range(len(needle) - 2)))
        step = -(-len(trigrams) // _MAX_TRIGRAMS)
        query = " AND ".join('"{}"'.format(trigram.replace('"', '""')) for trigram in trigrams[::step])
        found = self._connection.execute(
            "SELECT rowid FROM trigram WHERE trigram MATCH ? AND rowid BETWEEN ? AND ?", (query, min(wanted), max(wanted))
        )
        others = {id for (id,) in self._rows("SELECT id FROM text WHERE pending = 1 AND", ids)}
        return {id for (id,) in found} & wanted, others & wanted

    def _texts(self, candidates: set[int], others: set[int]) -> Iterator[tuple[int, bytes]]:
        """Texts in UTF-8, in which a needle in UTF-8 is found where the characters would be."""
        ids = candidates | others
        decompress = self._decompressor.decompress
        for id, packed in self._rows("SELECT id, text FROM packed WHERE", sorted(ids)):
            if id in ids:
                yield id, decompress(packed)

    def _rows(self, select: str, ids: Sequence[int], *bound: str) -> Iterator[tuple[Any, ...]]:
        """Rows of `select ... WHERE [condition AND]` for ids: exactly these when few, else for all in their range."""
        if not ids:
            return iter(())
        if len(ids) <= _FEW:
            marks = ",".join("?" * len(ids))
            return iter(self._connection.execute(f"{select} id IN ({marks}) ORDER BY id", (*bound, *ids)))
        return iter(self._connection.execute(f"{select} id BETWEEN ? AND ? ORDER BY id", (*bound, min(ids), max(ids))))

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """One state of the database for several queries, so that no row slips from pending to indexed between them."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")


def _is_trace(line: str) -> bool:
    """Whether a header line (`name: value`) is of the fields that relays add, more noise than text."""
    return line.startswith(_TRACE_PREFIXES) or line.partition(":")[0] in _TRACE_FIELDS


def _split_trace(header: str) -> tuple[str, str]:
    """Header lines apart from trace lines, and these."""
    own: list[str] = []
    trace: list[str] = []
    for line in header.split(LINE):
        (trace if _is_trace(line) else own).append(line)
    return LINE.join(own), LINE.join(trace)


def _in_field(text: bytes, start: bytes, needle: bytes) -> bool:
    """Whether one of the header lines at the beginning of a stored text begins with `start` and holds `needle` behind it."""
    lines = text.partition(_SEPARATOR.encode())[0].split(LINE.encode())
    return any(line.startswith(start) and line.find(needle, len(start)) >= 0 for line in lines)
