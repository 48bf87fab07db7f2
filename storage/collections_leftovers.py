"""What an interrupted PUT, MKCOL, PROPPATCH or DELETE left of collections: found, and taken away (docs/durability.md).

Descriptions are written again from their rows. A file or an empty directory that no row names is what a process left that
died before its transaction: nobody was told that it is kept, so it goes. It goes within a transaction, and whoever is about
to name it looks there, within theirs, whether it is still there: so nothing goes that is being written, whatever the clock
says; the age only spares who writes that trouble.

Owns what counts as left over. Never removes what a row names, nor a directory that holds items, nor many files of one
collection: an interrupted step leaves one, and many are a sign that an index of before was put back.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import apsw

from . import atomic
from .api import CollectionId, CollectionKind, NotFound
from .collections_files import (
    Description,
    facts_file,
    item_files,
    lone_facts,
    read_description,
    remove_item,
    write_description,
)
from .collections_index import find_collection, find_place
from .mail_context import MailContext
from .paths import is_opaque

log = logging.getLogger("preau.storage")

YOUNG = 600
"""Seconds for which a file without a row is left to whoever may be about to commit it."""
MANY = 20
"""Files of one collection without a row that no interrupted steps explain."""


@dataclass(frozen=True, slots=True)
class Strays:
    """Files of one collection that no row names."""

    items: list[Path]
    facts: list[Path]  # beside no item
    waiting: bool  # some more are young

    @property
    def many(self) -> bool:
        """Whether they are too many to be what interrupted steps left."""
        return len(self.items) > MANY


def find_strays(context: MailContext, collection: CollectionId) -> Strays:
    """Files without a row, old enough to belong to nobody at work. Raise NotFound, Unavailable."""
    with context.db.read() as connection:
        path = context.paths.collection(*find_place(connection, collection))
    there = {file.name: file for file in item_files(path)}
    # Rows after the listing: what came in between has its file all the same.
    named = {name for (name,) in context.reader.rows("SELECT file FROM item WHERE collection = ?", (collection,))}
    noted = {name for (name,) in context.reader.rows("SELECT path FROM item_unlink")}
    below = path.relative_to(context.paths.dav)
    items = [file for name, file in there.items() if name not in named and str(below / name) not in noted]
    facts = list(lone_facts(path, [*there, *named]))
    old_items = [file for file in items if not is_young(file)]
    old_facts = [file for file in facts if not is_young(file)]
    return Strays(old_items, old_facts, len(old_items) + len(old_facts) < len(items) + len(facts))


def stray_directories(context: MailContext) -> Iterator[tuple[Path, bool]]:
    """Directories that no collection's row names, and whether they hold no item. Raise Unavailable."""
    rows = context.reader.rows("SELECT dir FROM collection UNION ALL SELECT path FROM item_unlink")
    named = {name.rpartition("/")[2] for (name,) in rows}
    for kind in CollectionKind:
        for directory in _listed(context.paths.collection_folder(kind)):
            if directory.name not in named and is_opaque(directory.name):
                yield directory, next(item_files(directory), None) is None


def is_described(context: MailContext, connection: apsw.Connection, collection: CollectionId) -> bool:
    """Whether collection.json says what its row says. Raise NotFound."""
    right = _description(connection, collection)
    path = context.paths.collection(*find_place(connection, collection))
    # One of before descriptions told when a collection was made is as good.
    return read_description(path, context.keys.index) in (right, replace(right, created=0))


def describe(context: MailContext, collection: CollectionId) -> None:
    """Write collection.json anew from its row, within a transaction, as whoever changes it does. Raise Unavailable."""

    def write(connection: apsw.Connection) -> None:
        if is_described(context, connection, collection):
            return
        path = context.paths.collection(*find_place(connection, collection))
        atomic.make_directories(path, below=context.paths.directory)
        key = context.keys.index if context.sealing else None
        write_description(path, context.paths.tmp, _description(connection, collection), key)

    context.db.transact(write)


def _description(connection: apsw.Connection, collection: CollectionId) -> Description:
    info = find_collection(connection, collection)
    return Description(info.kind, info.name, info.properties, info.created)


def remove_stray_item(context: MailContext, collection: CollectionId, path: Path) -> None:
    """Remove an item's file, and what lies beside it, unless a row came to name it. Raise Unavailable."""

    def remove(connection: apsw.Connection) -> None:
        named = "SELECT 1 FROM item WHERE collection = ? AND file = ?"
        if connection.execute(named, (collection, path.name)).get is None:
            remove_item(path)

    context.db.transact(remove)


def remove_stray_facts(context: MailContext, collection: CollectionId, path: Path) -> None:
    """Remove what lies beside no item, unless one came. Raise Unavailable."""

    def remove(connection: apsw.Connection) -> None:
        rows = connection.execute("SELECT file FROM item WHERE collection = ?", (collection,))
        if not any(facts_file(path.with_name(str(name))) == path for (name,) in rows):
            atomic.unlink(path)

    context.db.transact(remove)


def remove_stray_directory(context: MailContext, path: Path) -> None:
    """Remove a directory without items, unless a row came to name it. Raise Unavailable."""

    def remove(connection: apsw.Connection) -> None:
        if connection.execute("SELECT 1 FROM collection WHERE dir = ?", (path.name,)).get is None:
            atomic.remove_tree(path)

    context.db.transact(remove)


def clear_collections(context: MailContext, attempt: Callable[[Callable[[], object]], None]) -> bool:
    """Take away what is left over; whether something is too young yet. `attempt` runs a step that may fail by itself."""
    waiting = False
    for number, items, complete in context.reader.rows("SELECT id, items, complete FROM collection"):
        try:
            waiting |= _clear_one(context, CollectionId(number), items, complete, attempt)
        except NotFound:
            continue  # deleted meanwhile
    for directory, empty in stray_directories(context):
        if is_young(directory):
            waiting = True
        elif empty:
            attempt(partial(remove_stray_directory, context, directory))
    return waiting


def _clear_one(
    context: MailContext, number: CollectionId, items: int, complete: int, attempt: Callable[[Callable[[], object]], None]
) -> bool:
    with context.db.read() as connection:
        path = context.paths.collection(*find_place(connection, number))
        described = is_described(context, connection, number)
    if not described:
        attempt(partial(describe, context, number))
    if not complete or _entries(path) == items * (1 if context.sealing else 2) + 1:
        return False  # as many as there are to be: nothing is over
    strays = find_strays(context, number)
    if strays.many:
        log.error("many files without item", extra={"account": context.account, "collection": number})
        return strays.waiting
    for file in strays.items:
        attempt(partial(remove_stray_item, context, number, file))
    for file in strays.facts:
        attempt(partial(remove_stray_facts, context, number, file))
    if strays.items or strays.facts:
        log.info("files without item removed", extra={"account": context.account, "number": len(strays.items)})
    return strays.waiting


def _entries(path: Path) -> int:
    try:
        return len(os.listdir(path))
    except OSError:
        return 0


def _listed(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except OSError:
        return []


def is_young(path: Path) -> bool:
    """Whether it was made just now. A time to come counts as old: a clock that was wrong must not keep anything for long."""
    try:
        return abs(time.time() - path.lstat().st_mtime) < YOUNG
    except OSError:
        return True  # gone meanwhile
