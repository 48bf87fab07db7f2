"""Calendars, address books and plain collections of one account: rows in index.db, an opaque sealed file an item.

The invariants are those of mail (storage-imap.md 4.4). A committed row always has a durable file: it is written, flushed
and named before the transaction begins. Files whose row went stand in `item_unlink` from that very transaction until they
are removed, so a crash brings nothing back. A collection's token rises by one in each transaction that changes an item in
it; all that a transaction changes there shares it; tombstones tell which hrefs went.

Preconditions are looked at twice: before the file is written, to spare the flush of what would be refused, and inside the
transaction, where they count.

Owns what changes items; collections_list.py has the collections themselves, collections_read.py the reading. Never looks into
an item: whoever speaks the protocol hands in its facts.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import apsw

from .api import (
    AlreadyExists,
    CollectionId,
    Conflict,
    ETag,
    Forbidden,
    Href,
    Item,
    ItemFacts,
    NotFound,
    Put,
    StoreError,
    SyncToken,
    TooLarge,
    Unavailable,
)
from .collections_files import StoredItem, facts_file, write_item
from .collections_files import remove_item as remove_item_file
from .collections_index import (
    add_item,
    count_items,
    find_item,
    find_place,
    find_uid,
    make_room,
    next_token,
    remove_item,
    replace_file,
)
from .collections_list import as_text
from .collections_read import ItemReading
from .collections_rules import bound_facts, check_segment, merge_item_properties, render_etag, room_of
from .database import InDoubt

T = TypeVar("T")

_ATTEMPTS = 5


class _Overtaken(StoreError):
    """Another changed it between the file and the transaction: what was written is not what is to be kept."""


class _Written(NamedTuple):
    """A durable file that no row names yet."""

    path: Path
    sealed: bool
    wrapped: bytes | None

    def is_there(self) -> bool:
        """Whether it still lies there: asked within the transaction that names it (collections_leftovers.py)."""
        return self.path.exists() and (self.sealed or facts_file(self.path).exists())


class FileCollections(ItemReading):
    """The Collections of the file store. Any thread."""

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
        new = Item(href, render_etag(data), len(data), int(time.time()), bound_facts(facts, self._context.limits))

        def prepare(connection: apsw.Connection) -> Item:
            old = find_item(connection, collection, href)
            if if_none_match and old is not None:
                raise Conflict("there already")
            if if_match is not None and (old is None or old.etag != if_match):
                raise Conflict("changed meanwhile")
            item = new if old is None else new._replace(properties=old.properties)
            self._check_place(connection, collection, item)
            return item

        return _settled(lambda: self._enter(collection, data, prepare))

    def set_item_properties(self, collection: CollectionId, href: Href, changes: Mapping[str, str | None]) -> Item:
        """See Collections."""
        return _settled(lambda: self._set_item_properties(collection, href, changes))

    def _set_item_properties(self, collection: CollectionId, href: Href, changes: Mapping[str, str | None]) -> Item:
        # An item's file tells all of it, so it is written anew: clients seldom set properties of items.
        source, data = self.read_item(collection, href)
        item = source._replace(properties=merge_item_properties(source.properties, changes))
        if item == source:
            return source
        context = self._context
        more = room_of(item) - room_of(source)
        file = self._write(collection, item, data)

        def change(connection: apsw.Connection) -> list[str]:
            if find_item(connection, collection, href) != source or not file.is_there():
                raise _Overtaken
            directory = context.paths.collection(*find_place(connection, collection))
            make_room(connection, more, context.quota)
            old = replace_file(connection, collection, item, file=file.path.name, sealed=file.sealed, dek=file.wrapped)
            self._tidy(connection)
            return [self._removal.note(connection, directory / old)]

        self._removal.remove(self._commit(file, change))
        context.announce(collection, 0)
        return item

    def delete_item(self, collection: CollectionId, href: Href, *, if_match: ETag | None = None) -> SyncToken:
        """See Collections."""
        self._need(collection)

        def remove(connection: apsw.Connection) -> tuple[SyncToken, str]:
            old = find_item(connection, collection, Href(as_text(href)))
            if old is None:
                raise NotFound(href)
            if if_match is not None and old.etag != if_match:
                raise Conflict("changed meanwhile")
            token = next_token(connection, collection)
            path = self._take_out(connection, collection, old, token)
            self._tidy(connection)
            return token, path

        token, path = self._context.db.transact(remove)
        self._removal.remove([path])
        self._context.announce(collection, token)
        return token

    def copy_item(
        self,
        collection: CollectionId,
        href: Href,
        target: CollectionId,
        new_href: Href,
        *,
        overwrite: bool,
        move: bool,
        if_match: ETag | None = None,
    ) -> Put:
        """See Collections."""
        check_segment(new_href)
        self._need(target)
        if (collection, href) == (target, new_href):
            self.read_item(collection, href)
            raise Forbidden("onto itself")
        return _settled(
            lambda: self._copy_item(collection, href, target, new_href, overwrite=overwrite, move=move, if_match=if_match)
        )

    def _copy_item(
        self,
        collection: CollectionId,
        href: Href,
        target: CollectionId,
        new_href: Href,
        *,
        overwrite: bool,
        move: bool,
        if_match: ETag | None,
    ) -> Put:
        source, data = self.read_item(collection, href)
        if if_match is not None and source.etag != if_match:
            raise Conflict("changed meanwhile")
        item = source._replace(href=new_href, modified=int(time.time()))
        within = move and collection == target

        def prepare(connection: apsw.Connection) -> Item:
            if find_item(connection, collection, href) != source:
                raise _Overtaken
            if not overwrite and find_item(connection, target, new_href) is not None:
                raise AlreadyExists(new_href)
            self._check_place(connection, target, item, *([href] if within else []))
            return item

        told: list[SyncToken] = []

        def take_out(connection: apsw.Connection, token: SyncToken) -> str:
            token = token if within else next_token(connection, collection)
            told.append(token)
            return self._take_out(connection, collection, source, token)

        put = self._enter(target, data, prepare, take_out if move else None)
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
        data: bytes,
        prepare: Callable[[apsw.Connection], Item],
        take_out: Callable[[apsw.Connection, SyncToken], str] | None = None,
    ) -> Put:
        """Write the file of what `prepare` makes, then the transaction that names it. Raise _Overtaken when that differs."""
        context = self._context
        with context.db.read() as connection:
            find_place(connection, collection)
            item = prepare(connection)
        file = self._write(collection, item, data)

        def change(connection: apsw.Connection) -> tuple[Put, list[str]]:
            find_place(connection, collection)
            if prepare(connection) != item or not file.is_there():
                raise _Overtaken
            token = next_token(connection, collection)
            gone = [] if take_out is None else [take_out(connection, token)]
            old = find_item(connection, collection, item.href)
            if old is not None:
                gone.append(self._take_out(connection, collection, old, token))
            make_room(connection, room_of(item), context.quota if take_out is None else None)
            name, sealed, wrapped = file.path.name, file.sealed, file.wrapped
            add_item(connection, collection, item, file=name, sealed=sealed, dek=wrapped, token=token)
            self._tidy(connection)
            return Put(item, old is None, token), gone

        put, gone = self._commit(file, change)
        self._removal.remove(gone)
        context.announce(collection, put.sync_token)
        return put

    def _write(self, collection: CollectionId, item: Item, data: bytes) -> _Written:
        context = self._context
        with context.db.read() as connection:
            directory = context.paths.collection(*find_place(connection, collection))
        stored = StoredItem(item.href, item.facts, item.modified, time.time_ns(), data, item.properties)
        try:
            path, dek = write_item(directory, context.paths.tmp, stored, public_key=context.public_key, account=context.account)
        except FileNotFoundError as error:
            if directory.is_dir():
                raise Unavailable("the draft has gone") from error  # swept as an old one: the clock jumped
            raise NotFound("the collection is gone") from error
        wrapped = context.wrapping.wrap(dek) if dek is not None and context.wrapping is not None else None
        return _Written(path, dek is not None, wrapped)

    def _commit(self, file: _Written, change: Callable[[apsw.Connection], T]) -> T:
        """Run the transaction that names a file; when it is refused the file goes again, in doubt it stays."""
        try:
            return self._context.db.transact(change)
        except InDoubt:
            raise
        except StoreError:
            remove_item_file(file.path)
            raise

    def _take_out(self, connection: apsw.Connection, collection: CollectionId, item: Item, token: SyncToken) -> str:
        """Delete an item's row within a transaction; the path to remove after it."""
        directory = self._context.paths.collection(*find_place(connection, collection))
        path = directory / remove_item(connection, collection, item.href, token)
        make_room(connection, -room_of(item), None)
        return self._removal.note(connection, path)

    def _tidy(self, connection: apsw.Connection) -> None:
        """Within somebody's transaction, so that it costs no flush: forget removed paths, keep DEKs worked out."""
        self._removal.forget_removed(connection)
        deks, self._deks = self._deks, {}
        connection.executemany("UPDATE item SET dek = ? WHERE id = ?", [(dek, number) for number, dek in deks.items()])


def _settled(attempt: Callable[[], T]) -> T:
    """Try until nobody else came between. Raise Unavailable when they always do."""
    for _ in range(_ATTEMPTS):
        try:
            return attempt()
        except _Overtaken:
            continue
    raise Unavailable("others change it all the time")
