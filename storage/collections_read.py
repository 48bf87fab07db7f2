"""Items of collections read: listed from their rows, opened from their files, and what differs since a token.

Many at once cost one statement a batch and, an item, one file opened, read and closed: the key of each stands wrapped in its
row. A file that was replaced between the two is looked for again.

Owns reading. Never looks into an item: whoever speaks the protocol handed in its facts.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from .api import (
    Changes,
    CollectionId,
    Href,
    InvalidSyncToken,
    Item,
    NotFound,
    SyncToken,
    Unavailable,
)
from .collections_files import read_item
from .collections_index import Row, files_query, items_query, parse_item
from .collections_list import CollectionList, as_text
from .collections_schema import OPEN_END, OPEN_START
from .mail_context import MailContext
from .seal import SealKind, open_bytes

_BATCH = 500
_SMALL = 32_768
_ROOM = 12_288
"""Octets of an item's file beside its own, if its facts are not very long."""
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


class ItemReading(CollectionList):
    """The half of FileCollections that reads items. Any thread."""

    def __init__(self, context: MailContext) -> None:
        """See CollectionList."""
        super().__init__(context)
        self._deks: dict[int, bytes] = {}  # item id: wrapped DEK that reading worked out, on its way into the index

    def items(self, collection: CollectionId, hrefs: Sequence[Href] | None = None) -> Iterator[Item]:
        """See Collections."""
        self._need(collection)
        return self._all(collection) if hrefs is None else self._named(collection, hrefs)

    def _named(self, collection: CollectionId, hrefs: Sequence[Href]) -> Iterator[Item]:
        query = items_query("collection = ? AND href IN (SELECT value FROM json_each(?)) ORDER BY href")
        for batch in _batches(hrefs):
            yield from map(parse_item, self._context.reader.rows(query, (collection, batch)))

    def _all(self, collection: CollectionId) -> Iterator[Item]:
        query, last = items_query("collection = ? AND href > ? ORDER BY href LIMIT ?"), ""
        while True:  # a statement a batch: what is read after a pause is of the newest commit
            rows = self._context.reader.rows(query, (collection, last, _BATCH))
            yield from map(parse_item, rows)
            if len(rows) < _BATCH:
                return
            last = rows[-1][0]

    def overlapping(
        self, collection: CollectionId, component: str | None, start: int | None, end: int | None
    ) -> Iterator[Item]:
        """See Collections."""
        self._need(collection)
        query = items_query("collection = ?1 AND ends >= ?2 AND starts < ?3 AND (?4 IS NULL OR component = ?4) ORDER BY href")
        bounds = (OPEN_START if start is None else start, OPEN_END if end is None else end)
        return map(parse_item, self._context.reader.rows(query, (collection, *bounds, component)))

    def read_item(self, collection: CollectionId, href: Href) -> tuple[Item, bytes]:
        """See Collections."""
        directory = self._need(collection)
        for _ in range(3):
            row = self._context.reader.first(files_query("collection = ? AND href = ?"), (collection, as_text(href)))
            if row is None:
                raise NotFound(href)
            try:
                return parse_item(row), self._read(row, directory)
            except FileNotFoundError:
                continue  # replaced between the row and the file: look again
        raise Unavailable("the file of an item is not there")

    def read_items(self, collection: CollectionId, hrefs: Sequence[Href] | None = None) -> Iterator[tuple[Item, bytes]]:
        """See Collections."""
        directory = self._need(collection)
        for rows in self._located(collection, hrefs):
            for row in rows:
                try:
                    found = parse_item(row), self._read(row, directory)
                except FileNotFoundError:
                    try:
                        found = self.read_item(collection, row[0])
                    except NotFound:
                        continue  # deleted meanwhile
                yield found

    def _located(self, collection: CollectionId, hrefs: Sequence[Href] | None) -> Iterator[Sequence[Row]]:
        if hrefs is None:
            query, last = files_query("collection = ? AND href > ? ORDER BY href LIMIT ?"), ""
            while rows := self._context.reader.rows(query, (collection, last, _BATCH)):
                yield rows
                last = rows[-1][0]
            return
        query = files_query("collection = ? AND href IN (SELECT value FROM json_each(?)) ORDER BY href")
        for batch in _batches(hrefs):
            yield self._context.reader.rows(query, (collection, batch))

    def _read(self, row: Row, directory: str) -> bytes:
        data = self._read_small(row, directory)
        return self._read_any(row, directory) if data is None else data

    def _read_small(self, row: Row, directory: str) -> bytes | None:
        """The fast way, for a file that is read at once and whose row has all else; None: take the other one.

        Raise FileNotFoundError, Unavailable.
        """
        size = row[2]
        _, file, sealed, wrapped = row[-4:]
        # Without a suffix, what is not sealed may have its facts in front.
        if size > _SMALL or (wrapped is None if sealed else "." not in file):
            return None
        context, wrapping = self._context, self._context.wrapping
        if sealed and wrapping is None:
            return None
        # No more than it takes: for a large buffer the C library asks the kernel for fresh memory each time.
        content = _read_at_once(directory + file, size + _ROOM)
        if len(content) == size + _ROOM:
            return None
        if sealed and wrapping is not None:
            # What stands before the octets, the row tells as well: both are of one transaction.
            dek = wrapping.unwrap(wrapped)
            content, _ = open_bytes(content, account=context.account, kind=SealKind.ITEM, dek=dek)
            content = content[4 + int.from_bytes(content[:4], "big") :]
        if len(content) != size:
            raise Unavailable("the file of an item has another size than its row")
        return content

    def _read_any(self, row: Row, directory: str) -> bytes:
        number, file, sealed, wrapped = row[-4:]
        context = self._context
        dek = context.wrapping.unwrap(wrapped) if wrapped is not None and context.wrapping is not None else None
        stored, opened = read_item(
            Path(directory + file),
            sealed=bool(sealed),
            account=context.account,
            secret_key=context.keys.secret,
            dek=dek,
            limit=context.limits.item_size,
        )
        if len(stored.data) != row[2]:
            raise Unavailable("the file of an item has another size than its row")
        if dek is None and opened is not None and context.wrapping is not None:
            self._deks[number] = context.wrapping.wrap(opened)
        return stored.data

    # -- changes

    def changes(self, collection: CollectionId, since: SyncToken | None, limit: int | None = None) -> Changes:
        """See Collections."""
        self._need(collection)
        if since is not None:
            now = self._context.reader.first("SELECT token FROM collection WHERE id = ?", (collection,))
            if now == (since,):
                return Changes([], [], since, truncated=False)  # what most ask for, most of the time
        # One more than asked tells of the rest; a transaction changes at most two hrefs of a collection (a move in it).
        asked = -1 if limit is None else max(1, limit) + 2
        after = 0 if since is None else since
        head, here, gone = self._context.reader.together(
            ("SELECT token, floor FROM collection WHERE id = ?", (collection,)),
            (items_query("collection = ? AND token > ? ORDER BY token, href LIMIT ?"), (collection, after, asked)),
            (
                "SELECT href, token FROM item_gone WHERE collection = ? AND token > ? ORDER BY token, href LIMIT ?",
                (collection, after, 0 if since is None else asked),
            ),
        )
        if not head:
            raise NotFound(f"no collection {collection}")
        token, floor = head[0]
        if since is not None and not floor <= since <= token:
            raise InvalidSyncToken(f"token {since}")
        # Rows of items and of tombstones: both begin with the href and end with the token, and come in order of that.
        rows: Sequence[Row] = sorted([*here, *gone], key=_by_token) if gone else here
        cut = len(rows) if limit is None else max(1, limit)
        # A token stands between transactions: what one of them changed is told together.
        while cut < len(rows) and rows[cut][-1] == rows[cut - 1][-1]:
            cut += 1
        truncated = cut < len(rows)
        return Changes(
            changed=[parse_item(row) for row in rows[:cut] if len(row) > 2],
            gone=[Href(row[0]) for row in rows[:cut] if len(row) == 2],
            sync_token=SyncToken(rows[cut - 1][-1] if truncated else token),
            truncated=truncated,
        )


def _by_token(row: Row) -> tuple[int, str]:
    return row[-1], row[0]


def _read_at_once(path: str, most: int) -> bytes:
    """The first `most` octets of a file. Raise FileNotFoundError, Unavailable."""
    try:
        descriptor = os.open(path, _READING)
        try:
            return os.read(descriptor, most)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unavailable(os.strerror(error.errno or 0)) from error


def _batches(hrefs: Sequence[Href]) -> Iterator[str]:
    """Hrefs, each once and in order, as JSON lists."""
    wanted = sorted({as_text(href) for href in hrefs})
    for begin in range(0, len(wanted), _BATCH):
        yield json.dumps(wanted[begin : begin + _BATCH])
