"""Rows of collections and items: read into values, written within a transaction.

Owns the statements over the tables of collections_schema.py, and what one change to an item touches: its row, the
collection's token and count, the tombstone, the account's octets, the file to be removed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from .api import (
    NO_PROPERTIES,
    CollectionId,
    CollectionInfo,
    CollectionKind,
    Href,
    Item,
    ItemFacts,
    NotFound,
    OverQuota,
    SyncToken,
)
from .collections_rules import render_properties
from .collections_schema import COLLECTIONS_GONE_KEPT, GONE_KEPT, OPEN_END, OPEN_START

Row = Sequence[Any]

_ITEM = (
    "href, etag, size, modified, content_type, uid, component, "
    f"nullif(starts, {OPEN_START}), nullif(ends, {OPEN_END}), recurs, schedule_tag, text, item.properties, item.token"
)
_FILE = "item.id, file, sealed, dek"

ROOM = "size + coalesce(length(item.properties), 0)"
"""What room_of tells of an item, in SQL."""


def items_query(where: str) -> str:
    """A statement for items: rows that parse_item takes."""
    return f"SELECT {_ITEM} FROM item WHERE {where}"  # noqa: S608  # our own words


def located_query(where: str) -> str:
    """The same, and behind it item id, file, sealed, dek, the collection's kind and directory."""
    where = f"FROM item JOIN collection ON collection.id = item.collection WHERE {where}"
    return f"SELECT {_ITEM}, {_FILE}, kind, dir {where}"


def files_query(where: str) -> str:
    """The same without kind and directory: for who reads many of one collection."""
    return f"SELECT {_ITEM}, {_FILE} FROM item WHERE {where}"  # noqa: S608  # our own words


def collections_query(where: str) -> str:
    """A statement for collections: rows that parse_collection takes."""
    return f"SELECT id, kind, name, properties, token, touched, created, items FROM collection WHERE {where}"  # noqa: S608  # our own words


def parse_collection(row: Row) -> CollectionInfo:
    """A row of collections_query."""
    number, kind, name, properties, token, touched, created, items = row
    return CollectionInfo(
        id=CollectionId(number),
        kind=CollectionKind(kind),
        name=name,
        properties=json.loads(properties),
        sync_token=SyncToken(token),
        touched=SyncToken(touched),
        created=created,
        items=items,
    )


def parse_item(row: Row) -> Item:
    """A row of items_query; more columns may follow."""
    href, etag, size, modified, content_type, uid, component, start, end, recurs, schedule_tag, text, properties = row[:13]
    facts = ItemFacts(content_type, uid, component, start, end, recurs == 1, schedule_tag, text)
    return Item(href, etag, size, modified, facts, NO_PROPERTIES if properties is None else json.loads(properties))


# ---------------------------------------------------------------------------------------------------------------------
# Within a transaction


def find_collection(connection: apsw.Connection, collection: CollectionId) -> CollectionInfo:
    """The collection. Raise NotFound."""
    row = connection.execute(collections_query("id = ?"), (collection,)).fetchone()
    if row is None:
        raise NotFound(f"no collection {collection}")
    return parse_collection(row)


def is_taken(connection: apsw.Connection, kind: CollectionKind, name: str) -> bool:
    """Whether a collection of that kind and name is there."""
    found = connection.execute("SELECT 1 FROM collection WHERE kind = ? AND name = ?", (kind.value, name)).fetchone()
    return found is not None


def insert_collection(
    connection: apsw.Connection,
    kind: CollectionKind,
    name: str,
    properties: Mapping[str, str],
    directory: str,
    *,
    created: int,
    token: int = 1,
    floor: int = 0,
    complete: bool = True,
) -> CollectionInfo:
    """Enter a collection whose directory is there and whose name is free."""
    touched = next_account_token(connection)
    number = connection.execute("UPDATE collections SET last = last + 1 RETURNING last").get
    connection.execute(
        "INSERT INTO collection (id, kind, name, dir, properties, token, floor, complete, touched, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, kind.value, name, directory, json.dumps(dict(properties)), token, floor, complete, touched, created),
    )
    connection.execute("DELETE FROM collection_gone WHERE kind = ? AND name = ?", (kind.value, name))
    return CollectionInfo(CollectionId(number), kind, name, dict(properties), SyncToken(token), touched, created)


def with_below(connection: apsw.Connection, info: CollectionInfo) -> list[CollectionInfo]:
    """The collection and, of a plain one, all below it: parents first."""
    if info.kind is not CollectionKind.PLAIN:
        return [info]
    prefix = f"{info.name}/"
    rows = connection.execute(
        collections_query("kind = ? AND substr(name, 1, ?) = ? ORDER BY name"), (info.kind.value, len(prefix), prefix)
    )
    return [info, *map(parse_collection, rows)]


def rename_collection(connection: apsw.Connection, info: CollectionInfo, name: str, token: SyncToken) -> None:
    """Give a collection a name that is free."""
    connection.execute("UPDATE collection SET name = ?, touched = ? WHERE id = ?", (name, token, info.id))
    _leave_tombstone(connection, info, token)
    connection.execute("DELETE FROM collection_gone WHERE kind = ? AND name = ?", (info.kind.value, name))


def drop_collection(connection: apsw.Connection, info: CollectionInfo, token: SyncToken) -> None:
    """Delete a collection's rows, and its items', and leave a tombstone."""
    octets = connection.execute(f"SELECT coalesce(sum({ROOM}), 0) FROM item WHERE collection = ?", (info.id,)).get  # noqa: S608  # our own words
    make_room(connection, -octets, None)
    connection.execute("DELETE FROM item WHERE collection = ?", (info.id,))
    connection.execute("DELETE FROM item_gone WHERE collection = ?", (info.id,))
    connection.execute("DELETE FROM collection WHERE id = ?", (info.id,))
    _leave_tombstone(connection, info, token)


def _leave_tombstone(connection: apsw.Connection, info: CollectionInfo, token: SyncToken) -> None:
    connection.execute("INSERT OR REPLACE INTO collection_gone VALUES (?, ?, ?)", (info.kind.value, info.name, token))
    row = connection.execute(
        "SELECT token FROM collection_gone ORDER BY token DESC LIMIT 1 OFFSET ?", (COLLECTIONS_GONE_KEPT,)
    ).fetchone()
    if row is not None:
        connection.execute("DELETE FROM collection_gone WHERE token <= ?", row)
        connection.execute("UPDATE collections SET floor = ?", row)


def next_account_token(connection: apsw.Connection) -> SyncToken:
    """Raise the account's token by one."""
    return SyncToken(connection.execute("UPDATE collections SET token = token + 1 RETURNING token").get)


def find_place(connection: apsw.Connection, collection: CollectionId) -> tuple[CollectionKind, str]:
    """Kind and directory of the collection: where AccountPaths.collection finds it. Raise NotFound."""
    row = connection.execute("SELECT kind, dir FROM collection WHERE id = ?", (collection,)).fetchone()
    if row is None:
        raise NotFound(f"no collection {collection}")
    return CollectionKind(row[0]), str(row[1])


def find_item(connection: apsw.Connection, collection: CollectionId, href: Href) -> Item | None:
    """The item, or None."""
    row = connection.execute(items_query("collection = ? AND href = ?"), (collection, href)).fetchone()
    return None if row is None else parse_item(row)


def find_uid(connection: apsw.Connection, collection: CollectionId, uid: str) -> Href | None:
    """The href of the item with this UID, or None."""
    row = connection.execute("SELECT href FROM item WHERE collection = ? AND uid = ?", (collection, uid)).fetchone()
    return None if row is None else Href(row[0])


def count_items(connection: apsw.Connection, collection: CollectionId) -> int:
    """How many items it has."""
    return int(connection.execute("SELECT items FROM collection WHERE id = ?", (collection,)).get)


def make_room(connection: apsw.Connection, octets: int, quota: int | None) -> None:
    """Count octets that come (or go) towards the account's. Raise OverQuota."""
    used = connection.execute("UPDATE account SET bytes = bytes + ? RETURNING bytes", (octets,)).get
    if octets > 0 and quota is not None and used > quota:
        raise OverQuota(f"{used - octets} of {quota} octets are used, {octets} more do not fit")


def next_token(connection: apsw.Connection, collection: CollectionId) -> SyncToken:
    """Raise the collection's token by one, once a transaction, and the account's."""
    statement = "UPDATE collection SET token = token + 1, touched = ? WHERE id = ? RETURNING token"
    return SyncToken(connection.execute(statement, (next_account_token(connection), collection)).get)


def add_item(
    connection: apsw.Connection,
    collection: CollectionId,
    item: Item,
    *,
    file: str,
    sealed: bool,
    dek: bytes | None,
    token: SyncToken,
) -> None:
    """Insert the item, whose href is free; its octets are counted already."""
    facts = item.facts
    connection.execute(
        "INSERT INTO item (collection, href, file, sealed, dek, etag, size, modified, token, content_type, uid, component,"
        " starts, ends, recurs, schedule_tag, text, properties)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            collection,
            item.href,
            file,
            sealed,
            dek,
            item.etag,
            item.size,
            item.modified,
            token,
            facts.content_type,
            facts.uid,
            facts.component,
            OPEN_START if facts.start is None else facts.start,
            OPEN_END if facts.end is None else facts.end,
            facts.recurs,
            facts.schedule_tag,
            facts.text,
            render_properties(item.properties),
        ),
    )
    connection.execute("UPDATE collection SET items = items + 1 WHERE id = ?", (collection,))
    connection.execute("DELETE FROM item_gone WHERE collection = ? AND href = ?", (collection, item.href))


def replace_file(
    connection: apsw.Connection, collection: CollectionId, item: Item, *, file: str, sealed: bool, dek: bytes | None
) -> str:
    """Another file and other properties for an item that stays what it is; the name of the file it had."""
    where = (collection, item.href)
    old = connection.execute("SELECT file FROM item WHERE collection = ? AND href = ?", where).get
    connection.execute(
        "UPDATE item SET file = ?, sealed = ?, dek = ?, properties = ? WHERE collection = ? AND href = ?",
        (file, sealed, dek, render_properties(item.properties), *where),
    )
    return str(old)


def remove_item(connection: apsw.Connection, collection: CollectionId, href: Href, token: SyncToken) -> str:
    """Delete the item's row and leave a tombstone; the name of its file."""
    file = connection.execute("DELETE FROM item WHERE collection = ? AND href = ? RETURNING file", (collection, href)).get
    connection.execute("UPDATE collection SET items = items - 1 WHERE id = ?", (collection,))
    connection.execute("INSERT OR REPLACE INTO item_gone VALUES (?, ?, ?)", (collection, href, token))
    if token % 1_000 == 0:
        _forget_oldest(connection, collection)
    return str(file)


def _forget_oldest(connection: apsw.Connection, collection: CollectionId) -> None:
    row = connection.execute(
        "SELECT token FROM item_gone WHERE collection = ? ORDER BY token DESC LIMIT 1 OFFSET ?", (collection, GONE_KEPT)
    ).fetchone()
    if row is not None:
        connection.execute("DELETE FROM item_gone WHERE collection = ? AND token <= ?", (collection, row[0]))
        connection.execute("UPDATE collection SET floor = ? WHERE id = ?", (row[0], collection))
