"""The collections of one account: made, renamed, deleted, and what differs among them.

Their rows are the truth; a description lies with each one's files for the day the index is lost. It is written within the
transaction, last: two processes cannot leave the older of two behind, and what a crash leaves ahead of its row, verify mends.

Owns the rules for collections themselves. Never touches an item but by taking its collection away.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import apsw

from . import atomic
from .api import (
    AlreadyExists,
    CollectionChanges,
    CollectionId,
    CollectionInfo,
    CollectionKind,
    Forbidden,
    InvalidSyncToken,
    NotFound,
    StoreError,
    SyncToken,
    Unavailable,
)
from .collections_files import Description, make_collection, write_description
from .collections_index import (
    collections_query,
    drop_collection,
    find_collection,
    find_place,
    insert_collection,
    is_taken,
    next_account_token,
    parse_collection,
    rename_collection,
    with_below,
)
from .collections_rebuild import take_up, take_up_items
from .collections_removal import Removal
from .collections_rules import check_name, check_properties, merge_properties, parent_of
from .database import InDoubt
from .mail_context import MailContext


class CollectionList:
    """The half of FileCollections that is about collections. Any thread."""

    def __init__(self, context: MailContext) -> None:
        """Make the default collections at first use; take up what is there when the index was lost. Raise Unavailable."""
        self._context = context
        self._incomplete = take_up(context, self._description_key)
        self._removal = Removal(context)

    @property
    def _description_key(self) -> bytes | None:
        return self._context.keys.index if self._context.sealing else None

    def collections(self, kind: CollectionKind | None = None) -> Sequence[CollectionInfo]:
        """See Collections."""
        rows = self._context.reader.rows(collections_query("TRUE ORDER BY name, kind"))
        return [info for info in map(parse_collection, rows) if kind in (None, info.kind)]

    def find(self, kind: CollectionKind, name: str) -> CollectionInfo:
        """See Collections."""
        row = self._context.reader.first(collections_query("kind = ? AND name = ?"), (kind.value, as_text(name)))
        if row is None:
            raise NotFound(name)
        return parse_collection(row)

    def create(self, kind: CollectionKind, name: str, properties: Mapping[str, str]) -> CollectionInfo:
        """See Collections."""
        check_name(kind, name)
        check_properties(properties)
        context, created = self._context, int(time.time())
        with context.db.read() as connection:
            self._check_new(connection, kind, name)
        directory = make_collection(context.paths, Description(kind, name, properties, created), self._description_key)

        def insert(connection: apsw.Connection) -> CollectionInfo:
            self._check_new(connection, kind, name)
            if not context.paths.collection(kind, directory).is_dir():
                raise Unavailable("the new collection's directory was taken for one left over")
            return insert_collection(connection, kind, name, properties, directory, created=created)

        try:
            info = context.db.transact(insert)
        except InDoubt:
            raise  # a crash may bring the row back
        except StoreError:
            atomic.remove_tree(context.paths.collection(kind, directory))
            raise
        context.announce(0, 0)
        return info

    def _check_new(self, connection: apsw.Connection, kind: CollectionKind, name: str) -> None:
        _check_free(connection, kind, name)
        if connection.execute("SELECT count(*) FROM collection").get >= self._context.limits.collections:
            raise Forbidden(f"more than {self._context.limits.collections} collections")

    def delete(self, collection: CollectionId) -> None:
        """See Collections."""
        context = self._context

        def remove(connection: apsw.Connection) -> list[str]:
            token, paths = next_account_token(connection), []
            for info in with_below(connection, find_collection(connection, collection)):
                paths.append(self._removal.note(connection, context.paths.collection(*find_place(connection, info.id))))
                drop_collection(connection, info, token)
            return paths

        self._removal.remove(context.db.transact(remove))
        context.announce(0, 0)

    def set_properties(self, collection: CollectionId, changes: Mapping[str, str | None]) -> CollectionInfo:
        """See Collections."""

        def change(connection: apsw.Connection) -> CollectionInfo:
            info = find_collection(connection, collection)
            properties, token = merge_properties(info.properties, changes), next_account_token(connection)
            connection.execute(
                "UPDATE collection SET properties = ?, touched = ? WHERE id = ?", (json.dumps(properties), token, collection)
            )
            info = replace(info, properties=properties, touched=token)
            self._describe(connection, info)
            return info

        info = self._context.db.transact(change)
        self._context.announce(0, 0)
        return info

    def move_collection(self, collection: CollectionId, name: str) -> CollectionInfo:
        """See Collections."""

        def change(connection: apsw.Connection) -> CollectionInfo:
            moved = find_collection(connection, collection)
            check_name(moved.kind, name)
            if name == moved.name or (moved.kind is CollectionKind.PLAIN and name.startswith(f"{moved.name}/")):
                raise Forbidden("onto or into itself")
            _check_free(connection, moved.kind, name)
            token, renamed = next_account_token(connection), []
            for info in with_below(connection, moved):
                new = replace(info, name=name + info.name[len(moved.name) :], touched=token)
                check_name(new.kind, new.name)
                if is_taken(connection, new.kind, new.name):
                    raise AlreadyExists(new.name)
                rename_collection(connection, info, new.name, token)
                renamed.append(new)
            for new in renamed:
                self._describe(connection, new)
            return renamed[0]

        info = self._context.db.transact(change)
        self._context.announce(0, 0)
        return info

    def _describe(self, connection: apsw.Connection, info: CollectionInfo) -> None:
        directory = self._context.paths.collection(*find_place(connection, info.id))
        description = Description(info.kind, info.name, info.properties, info.created)
        write_description(directory, self._context.paths.tmp, description, self._description_key)

    def collection_changes(self, since: SyncToken | None) -> CollectionChanges:
        """See Collections."""
        after = 0 if since is None else since
        ((token, floor),), here, gone = self._context.reader.together(
            ("SELECT token, floor FROM collections", ()),
            (collections_query("touched > ? ORDER BY name, kind"), (after,)),
            ("SELECT kind, name FROM collection_gone WHERE ? AND token > ? ORDER BY name, kind", (since is not None, after)),
        )
        if since is not None and not floor <= since <= token:
            raise InvalidSyncToken(f"token {since}")
        return CollectionChanges(
            changed=[parse_collection(row) for row in here],
            gone=[(CollectionKind(kind), name) for kind, name in gone],
            sync_token=SyncToken(token),
        )

    def _need(self, collection: CollectionId) -> str:
        """The directory of a collection, with a slash. Raise NotFound. After a loss of the index, take up its items first."""
        row = self._context.reader.first("SELECT kind, dir FROM collection WHERE id = ?", (collection,))
        if row is None:
            raise NotFound(f"no collection {collection}")
        if collection in self._incomplete and take_up_items(self._context, collection):
            self._incomplete.discard(collection)
        return f"{self._context.paths.collection(CollectionKind(row[0]), row[1])}/"


def _check_free(connection: apsw.Connection, kind: CollectionKind, name: str) -> None:
    if is_taken(connection, kind, name):
        raise AlreadyExists(name)
    parent = parent_of(kind, name)
    if parent is not None and not is_taken(connection, CollectionKind.PLAIN, parent):
        raise NotFound(parent)


def as_text(name: str) -> str:
    """A name that can be looked for: lone surrogates, which no name here has, do not reach SQLite."""
    return name.encode("utf-8", "replace").decode()
