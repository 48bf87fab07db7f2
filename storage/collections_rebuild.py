"""Collections after the loss of index.db: taken up again from their files (decisions 22).

At first use nothing is there and the defaults are made. When directories are there but no row, the index was lost: each
description gives a collection, with a token above all that were given out, so that older ones are refused; its items come
from their own files as soon as somebody holds the secret key (whoever only delivers may add, and sees the rest later).

Owns nothing but this. Never removes a file.
"""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

import apsw

from .api import CollectionId, CollectionKind, Item, StoreError, SyncToken
from .collections_files import Description, is_sealed_file, item_files, make_collection, read_description, read_item
from .collections_index import (
    add_item,
    find_item,
    find_place,
    find_uid,
    insert_collection,
    is_taken,
    make_room,
    next_token,
)
from .collections_rules import DEFAULT_COLLECTIONS, parent_of, render_etag, room_of
from .mail_context import MailContext
from .paths import is_opaque

log = logging.getLogger("preau.storage")


def take_up(context: MailContext, key: bytes | None) -> set[CollectionId]:
    """See that the account's collections are in the index; those whose items are not yet. Raise Unavailable."""
    row = context.reader.first("SELECT ready FROM collections")
    if row is None or not row[0]:
        # All of it within the transaction: another process that opens the account now waits, then finds it done.
        context.db.transact(lambda connection: _make_ready(context, connection, key))
    return {CollectionId(number) for (number,) in context.reader.rows("SELECT id FROM collection WHERE NOT complete")}


def _make_ready(context: MailContext, connection: apsw.Connection, key: bytes | None) -> None:
    if connection.execute("SELECT ready FROM collections").get:
        return  # another process was first
    # Above every token ever given: those rise by one a change, this by 256,000 a second. A rebuild knows (INBOX's description
    # may have told it of more, from a time when the clock was ahead).
    now, told = time.time_ns(), int(str(connection.execute("SELECT token FROM collections").get))
    token, seconds = told if told > 1 else now // 1_000_000 << 8, now // 1_000_000_000
    found = _descriptions(context)
    if found:
        connection.execute("UPDATE collections SET token = ?, floor = ?", (token, token))
    for directory, there in found.items():
        name = directory if is_taken(connection, there.kind, there.name) else there.name
        insert_collection(
            connection,
            there.kind,
            name,
            there.properties,
            directory,
            created=there.created or seconds,
            token=token,
            floor=token,
            complete=False,
        )

    def make(kind: CollectionKind, name: str, properties: Mapping[str, str]) -> None:
        directory = make_collection(context.paths, Description(kind, name, properties, seconds), key)
        insert_collection(connection, kind, name, properties, directory, created=seconds)

    for there in found.values():
        # What lies below one whose description is lost stays reachable.
        parent = parent_of(there.kind, there.name)
        while parent is not None and not is_taken(connection, CollectionKind.PLAIN, parent):
            make(CollectionKind.PLAIN, parent, {})
            parent = parent_of(CollectionKind.PLAIN, parent)
    for kind, name, properties in DEFAULT_COLLECTIONS:
        if not is_taken(connection, kind, name):
            make(kind, name, properties)
    connection.execute("UPDATE collections SET ready = 1")


def _descriptions(context: MailContext) -> dict[str, Description]:
    """What lies below dav/: directory name to description."""
    found = {}
    for kind in CollectionKind:
        for directory in _directories(context.paths.collection_folder(kind)):
            description = read_description(directory, context.keys.index)
            if description is None:
                log.error("collection without a readable description", extra={"directory": directory.name})
                description = Description(kind, directory.name, {})
            found[directory.name] = description
    return found


def _directories(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if is_opaque(name) and (folder / name).is_dir()]


def take_up_items(context: MailContext, collection: CollectionId) -> bool:
    """Enter the items of a collection from their files; whether that could be done. Raise NotFound, Unavailable."""
    if context.sealing and context.keys.secret is None:
        return False
    with context.db.read() as connection:
        directory = context.paths.collection(*find_place(connection, collection))
        rows = connection.execute("SELECT file FROM item WHERE collection = ?", (collection,)).fetchall()
    known = {file for (file,) in rows}
    latest: dict[str, tuple[int, Path, Item, bool, bytes | None]] = {}
    for path in item_files(directory):
        if path.name in known:
            continue
        try:
            sealed = is_sealed_file(path)
            stored, dek = read_item(
                path,
                sealed=sealed,
                account=context.account,
                secret_key=context.keys.secret,
                dek=None,
                limit=context.limits.item_size,
            )
        except (StoreError, FileNotFoundError) as error:
            log.error("item not taken up", extra={"file": path.name, "error": str(error)})
            continue
        wrapped = context.wrapping.wrap(dek) if dek is not None and context.wrapping is not None else None
        etag, size = render_etag(stored.data), len(stored.data)
        item = Item(stored.href, etag, size, stored.modified, stored.facts, stored.properties)
        if item.href not in latest or latest[item.href][0] < stored.written:
            latest[item.href] = (stored.written, path, item, sealed, wrapped)

    def enter(connection: apsw.Connection) -> SyncToken:
        token = next_token(connection, collection)
        for _, path, item, sealed, wrapped in latest.values():
            taken = item.facts.uid is not None and find_uid(connection, collection, item.facts.uid) is not None
            if taken or find_item(connection, collection, item.href) is not None:
                continue  # came again since
            add_item(connection, collection, item, file=path.name, sealed=sealed, dek=wrapped, token=token)
            make_room(connection, room_of(item), None)
        connection.execute("UPDATE collection SET complete = 1 WHERE id = ?", (collection,))
        return token

    context.announce(collection, context.db.transact(enter))
    return True
