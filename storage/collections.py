"""Calendars, address books and plain collections of one account: rows in index.db, an opaque sealed file an item.

The invariants are those of mail (storage-imap.md 4.4). A committed row always has a durable file: it is written, flushed
and named before the transaction begins. Files whose row went stand in `item_unlink` from that very transaction until they
are removed, so a crash brings nothing back. A collection's token rises by one in each transaction that changes an item in
it; all that a transaction changes there shares it; tombstones tell which hrefs went.

Preconditions are looked at twice: before the file is written, to spare the flush of what would be refused, and inside the
transaction, where they count.

Owns the rules of the Collections protocol. Never looks into an item: whoever speaks the protocol hands in its facts.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import apsw

from . import atomic
from .api import (
    AlreadyExists,
    Changes,
    CollectionId,
    CollectionInfo,
    CollectionKind,
    Conflict,
    ETag,
    Forbidden,
    Href,
    InvalidSyncToken,
    Item,
    ItemFacts,
    NotFound,
    Put,
    StoreError,
    SyncToken,
    TooLarge,
    Unavailable,
)
from .collections_files import Description, StoredItem, make_collection, read_item, write_description, write_item
from .collections_files import remove_item as remove_item_file
from .collections_index import (
    Row,
    add_item,
    collections_query,
    count_items,
    find_collection,
    find_item,
    find_place,
    find_uid,
    insert_collection,
    is_taken,
    items_query,
    located_query,
    make_room,
    next_token,
    parse_collection,
    parse_item,
    remove_item,
)
from .collections_rebuild import take_up, take_up_items
from .collections_rules import bound_facts, check_properties, check_segment, render_etag
from .collections_schema import OPEN_END, OPEN_START
from .mail_context import MailContext

_BATCH = 500


class FileCollections:
    """The Collections of the file store. Any thread."""

    def __init__(self, context: MailContext) -> None:
        """Make the default collections at first use; take up what is there when the index was lost. Raise Unavailable."""
        self._context = context
        self._removed: list[str] = []  # paths removed, whose note in item_unlink may go
        self._deks: dict[int, bytes] = {}  # item id: wrapped DEK that reading worked out, on its way into the index
        self._incomplete = take_up(context, self._description_key)
        for (path,) in context.reader.rows("SELECT path FROM item_unlink"):
            self._remove(path)

    @property
    def _description_key(self) -> bytes | None:
        return self._context.keys.index if self._context.sealing else None

    # -- collections

    def collections(self, kind: CollectionKind | None = None) -> Sequence[CollectionInfo]:
        """See Collections."""
        rows = self._context.reader.rows(collections_query("TRUE ORDER BY name, kind"))
        return [info for info in map(parse_collection, rows) if kind in (None, info.kind)]

    def find(self, kind: CollectionKind, name: str) -> CollectionInfo:
        """See Collections."""
        row = self._context.reader.first(collections_query("kind = ? AND name = ?"), (kind.value, _text(name)))
        if row is None:
            raise NotFound(name)
        return parse_collection(row)

    def create(self, kind: CollectionKind, name: str, properties: Mapping[str, str]) -> CollectionInfo:
        """See Collections."""
        check_segment(name)
        check_properties(properties)
        context = self._context
        with context.db.read() as connection:
            self._check_new(connection, kind, name)
        directory = make_collection(context.paths, Description(kind, name, properties), self._description_key)

        def insert(connection: apsw.Connection) -> CollectionInfo:
            self._check_new(connection, kind, name)
            return insert_collection(connection, kind, name, properties, directory)

        try:
            info = context.db.transact(insert)
        except StoreError:
            atomic.remove_tree(context.paths.collection(kind, directory))
            raise
        context.announce(0, 0)
        return info

    def _check_new(self, connection: apsw.Connection, kind: CollectionKind, name: str) -> None:
        if is_taken(connection, kind, name):
            raise AlreadyExists(name)
        if connection.execute("SELECT count(*) FROM collection").get >= self._context.limits.collections:
            raise Forbidden(f"more than {self._context.limits.collections} collections")

    def delete(self, collection: CollectionId) -> None:
        """See Collections."""
        context = self._context

        def remove(connection: apsw.Connection) -> str:
            path = self._relative(context.paths.collection(*find_place(connection, collection)))
            size = connection.execute("SELECT coalesce(sum(size), 0) FROM item WHERE collection = ?", (collection,)).get
            make_room(connection, -size, None)
            connection.execute("DELETE FROM item WHERE collection = ?", (collection,))
            connection.execute("DELETE FROM item_gone WHERE collection = ?", (collection,))
            connection.execute("DELETE FROM collection WHERE id = ?", (collection,))
            self._note_unlink(connection, path)
            return path

        self._remove(context.db.transact(remove))
        context.announce(0, 0)

    def set_properties(self, collection: CollectionId, changes: Mapping[str, str | None]) -> CollectionInfo:
        """See Collections."""
        context = self._context

        def change(connection: apsw.Connection) -> CollectionInfo:
            info = find_collection(connection, collection)
            merged = {**info.properties, **changes}
            properties = {name: value for name, value in merged.items() if value is not None}
            check_properties(properties)
            connection.execute("UPDATE collection SET properties = ? WHERE id = ?", (json.dumps(properties), collection))
            # Inside the transaction: two processes cannot leave the older of two descriptions behind.
            directory = context.paths.collection(*find_place(connection, collection))
            description = Description(info.kind, info.name, properties)
            write_description(directory, context.paths.tmp, description, self._description_key)
            return replace(info, properties=properties)

        info = context.db.transact(change)
        context.announce(0, 0)
        return info

    # -- items out

    def items(self, collection: CollectionId, hrefs: Sequence[Href] | None = None) -> Iterator[Item]:
        """See Collections."""
        self._need(collection)
        return self._all(collection) if hrefs is None else self._named(collection, hrefs)

    def _named(self, collection: CollectionId, hrefs: Sequence[Href]) -> Iterator[Item]:
        query = items_query("collection = ? AND href IN (SELECT value FROM json_each(?)) ORDER BY href")
        wanted = sorted({_text(href) for href in hrefs})
        for begin in range(0, len(wanted), _BATCH):
            rows = self._context.reader.rows(query, (collection, json.dumps(wanted[begin : begin + _BATCH])))
            yield from map(parse_item, rows)

    def _all(self, collection: CollectionId) -> Iterator[Item]:
        query, last = items_query("collection = ? AND href > ? ORDER BY href LIMIT ?"), ""
        while True:
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
        self._need(collection)
        for _ in range(3):
            row = self._context.reader.first(located_query("collection = ? AND href = ?"), (collection, _text(href)))
            if row is None:
                raise NotFound(href)
            try:
                return parse_item(row), self._read(row)
            except FileNotFoundError:
                continue  # replaced between the row and the file: look again
        raise Unavailable("the file of an item is not there")

    def _read(self, row: Row) -> bytes:
        number, file, sealed, wrapped, kind, directory = row[-6:]
        context = self._context
        dek = context.wrapping.unwrap(wrapped) if wrapped is not None and context.wrapping is not None else None
        stored, opened = read_item(
            context.paths.collection(CollectionKind(kind), directory) / file,
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

    # -- items in

    def put_item(
        self,
        collection: CollectionId,
        href: Href,
        data: bytes,
        facts: ItemFacts,
        *,
        if_match: ETag | None = None,
        if_none_match: bool = False,
    ) -> Put:
        """See Collections."""
        check_segment(href)
        if len(data) > self._context.limits.item_size:
            raise TooLarge(f"more than {self._context.limits.item_size} octets")
        self._need(collection)
        item = Item(href, render_etag(data), len(data), int(time.time()), bound_facts(facts, self._context.limits))

        def check(connection: apsw.Connection) -> None:
            old = find_item(connection, collection, href)
            if if_none_match and old is not None:
                raise Conflict("there already")
            if if_match is not None and (old is None or old.etag != if_match):
                raise Conflict("changed meanwhile")
            self._check_place(connection, collection, item)

        return self._enter(collection, item, data, check)

    def delete_item(self, collection: CollectionId, href: Href, *, if_match: ETag | None = None) -> SyncToken:
        """See Collections."""
        self._need(collection)

        def remove(connection: apsw.Connection) -> tuple[SyncToken, str]:
            old = find_item(connection, collection, Href(_text(href)))
            if old is None:
                raise NotFound(href)
            if if_match is not None and old.etag != if_match:
                raise Conflict("changed meanwhile")
            token = next_token(connection, collection)
            path = self._take_out(connection, collection, old, token)
            self._tidy(connection)
            return token, path

        token, path = self._context.db.transact(remove)
        self._remove(path)
        self._context.announce(collection, token)
        return token

    def copy_item(
        self, collection: CollectionId, href: Href, target: CollectionId, new_href: Href, *, overwrite: bool, move: bool
    ) -> Put:
        """See Collections."""
        check_segment(new_href)
        self._need(target)
        source, data = self.read_item(collection, href)
        if (collection, href) == (target, new_href):
            raise Forbidden("onto itself")
        item = replace(source, href=new_href, modified=int(time.time()))
        within = move and collection == target

        def check(connection: apsw.Connection) -> None:
            here = find_item(connection, collection, href)
            if here is None or here.etag != source.etag:
                raise Conflict("changed meanwhile")
            if not overwrite and find_item(connection, target, new_href) is not None:
                raise AlreadyExists(new_href)
            self._check_place(connection, target, item, *([href] if within else []))

        told: list[SyncToken] = []

        def take_out(connection: apsw.Connection, token: SyncToken) -> str:
            token = token if within else next_token(connection, collection)
            told.append(token)
            return self._take_out(connection, collection, source, token)

        put = self._enter(target, item, data, check, take_out if move else None)
        if move and not within:
            self._context.announce(collection, told[-1])
        return put

    def _check_place(self, connection: apsw.Connection, collection: CollectionId, item: Item, *leaving: Href) -> None:
        """Raise Conflict, Forbidden unless the item may stand there; `leaving`: hrefs that go in the same step."""
        if item.facts.uid is not None:
            taken = find_uid(connection, collection, item.facts.uid)
            if taken is not None and taken != item.href and taken not in leaving:
                raise Conflict("the UID is taken", uid_conflict=taken)
        new = not leaving and find_item(connection, collection, item.href) is None
        if new and count_items(connection, collection) >= self._context.limits.items:
            raise Forbidden(f"more than {self._context.limits.items} items")

    def _enter(
        self,
        collection: CollectionId,
        item: Item,
        data: bytes,
        check: Callable[[apsw.Connection], None],
        take_out: Callable[[apsw.Connection, SyncToken], str] | None = None,
    ) -> Put:
        """Write the file, then run the transaction that names it; when that is refused the file goes again."""
        context = self._context
        with context.db.read() as connection:
            directory = context.paths.collection(*find_place(connection, collection))
            check(connection)
        stored = StoredItem(item.href, item.facts, item.modified, time.time_ns(), data)
        try:
            path, dek = write_item(directory, context.paths.tmp, stored, public_key=context.public_key, account=context.account)
        except FileNotFoundError as error:
            raise NotFound("the collection is gone") from error
        wrapped = context.wrapping.wrap(dek) if dek is not None and context.wrapping is not None else None

        def change(connection: apsw.Connection) -> tuple[Put, list[str]]:
            find_place(connection, collection)
            check(connection)
            token = next_token(connection, collection)
            gone = [] if take_out is None else [take_out(connection, token)]
            old = find_item(connection, collection, item.href)
            if old is not None:
                gone.append(self._take_out(connection, collection, old, token))
            make_room(connection, item.size, context.quota if take_out is None else None)
            add_item(connection, collection, item, file=path.name, sealed=dek is not None, dek=wrapped, token=token)
            self._tidy(connection)
            return Put(item, old is None, token), gone

        try:
            put, gone = context.db.transact(change)
        except StoreError:
            remove_item_file(path)
            raise
        for old_path in gone:
            self._remove(old_path)
        context.announce(collection, put.sync_token)
        return put

    def _take_out(self, connection: apsw.Connection, collection: CollectionId, item: Item, token: SyncToken) -> str:
        """Delete an item's row within a transaction; the path to remove after it."""
        directory = self._context.paths.collection(*find_place(connection, collection))
        path = self._relative(directory / remove_item(connection, collection, item.href, token))
        make_room(connection, -item.size, None)
        self._note_unlink(connection, path)
        return path

    # -- changes

    def changes(self, collection: CollectionId, since: SyncToken | None, limit: int | None = None) -> Changes:
        """See Collections."""
        self._need(collection)
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
        events: list[tuple[int, str, Item | None]] = [(row[-1], row[0], parse_item(row)) for row in here]
        events += [(when, href, None) for href, when in gone]
        events.sort(key=lambda event: event[:2])
        cut = len(events) if limit is None else max(1, limit)
        # A token stands between transactions: what one of them changed is told together.
        while cut < len(events) and events[cut][0] == events[cut - 1][0]:
            cut += 1
        truncated = cut < len(events)
        return Changes(
            changed=[item for _, _, item in events[:cut] if item is not None],
            gone=[Href(href) for _, href, item in events[:cut] if item is None],
            sync_token=SyncToken(events[cut - 1][0] if truncated else token),
            truncated=truncated,
        )

    # -- what surrounds it

    def _need(self, collection: CollectionId) -> None:
        """Raise NotFound unless the collection is there; after a loss of the index, take up its items first."""
        if self._context.reader.first("SELECT 1 FROM collection WHERE id = ?", (collection,)) is None:
            raise NotFound(f"no collection {collection}")
        if collection in self._incomplete and take_up_items(self._context, collection):
            self._incomplete.discard(collection)

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._context.paths.dav))

    def _note_unlink(self, connection: apsw.Connection, path: str) -> None:
        connection.execute("INSERT OR IGNORE INTO item_unlink VALUES (?)", (path,))

    def _remove(self, path: str) -> None:
        """Remove a file or directory noted in item_unlink. What fails stays noted, and is tried when next opened."""
        try:
            whole = self._context.paths.dav / path
            if path.count("/") == 1:
                atomic.remove_tree(whole)
            else:
                remove_item_file(whole)
        except StoreError:
            return
        self._removed.append(path)

    def _tidy(self, connection: apsw.Connection) -> None:
        """Within somebody's transaction, so that it costs no flush: forget removed paths, keep DEKs worked out."""
        removed, self._removed = self._removed, []
        connection.executemany("DELETE FROM item_unlink WHERE path = ?", [(path,) for path in removed])
        deks, self._deks = self._deks, {}
        connection.executemany("UPDATE item SET dek = ? WHERE id = ?", [(dek, number) for number, dek in deks.items()])


def _text(name: str) -> str:
    """A name that can be looked for: lone surrogates, which no name here has, do not reach SQLite."""
    return name.encode("utf-8", "replace").decode()
