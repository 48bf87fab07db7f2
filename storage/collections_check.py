"""Collections and items in `store verify`: rows against files, counts against rows, files against their seals.

A file that no row names is what a crash left before its transaction, or after the one that took its row: nobody was told
that it is kept, so it may go, once it is too old to belong to a PUT under way. A row without its file is told and kept.

Owns what is compared. Never removes what a row names, nor a directory that holds items.
"""

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from . import atomic
from .api import CollectionId, CollectionKind, StoreError
from .check_report import Report
from .collections_files import (
    DESCRIPTION,
    Description,
    item_files,
    lone_facts,
    read_description,
    read_item,
    remove_item,
    write_description,
)
from .collections_index import find_collection, located_query, parse_item
from .collections_rebuild import take_up_items
from .collections_rules import render_etag
from .mail_context import MailContext
from .paths import is_opaque

_YOUNG = 600  # seconds
_AT_ONCE = 500


def check_collections(context: MailContext, report: Report, read_files: bool) -> None:
    """Everything about an account's collections; `read_files`: also open every item (needs the secret key)."""
    rows = context.reader.rows("SELECT id, kind, dir, name FROM collection ORDER BY name, kind")
    known = {directory for _, _, directory, _ in rows}
    for kind in CollectionKind:
        _check_folder(context, report, context.paths.collection_folder(kind), known)
    for number, kind, directory, name in rows:
        path = context.paths.collection(CollectionKind(kind), directory)
        _check_description(context, report, number, path, name)
        _check_count(context, report, number, name)
        _check_items(context, report, number, path, name)
        if read_files and (context.wrapping is not None or not context.sealing):
            _check_content(context, report, number, name)


def _check_folder(context: MailContext, report: Report, folder: Path, known: set[str]) -> None:
    noted = {path.partition("/")[2] for (path,) in context.reader.rows("SELECT path FROM item_unlink")}
    for directory in _listed(folder):
        if directory.name in known or directory.name in noted or not is_opaque(directory.name) or _is_young(directory):
            continue
        empty = next(item_files(directory), None) is None
        mend = partial(atomic.remove_tree, directory) if empty else None
        report.add("directory without collection", "", directory.name, mend)


def _check_description(context: MailContext, report: Report, number: CollectionId, path: Path, name: str) -> None:
    with context.db.read() as connection:
        info = find_collection(connection, number)
    right = Description(info.kind, info.name, info.properties, info.created)
    # One of before descriptions told when a collection was made is as good.
    if read_description(path, context.keys.index) in (right, replace(right, created=0)):
        return

    def mend() -> None:
        atomic.make_directories(path, below=context.paths.directory)
        write_description(path, context.paths.tmp, right, context.keys.index if context.sealing else None)

    report.add("collection's description differs", name, DESCRIPTION, mend)


def _check_count(context: MailContext, report: Report, number: CollectionId, name: str) -> None:
    counted = "(SELECT count(*) FROM item WHERE collection = collection.id)"
    statement = f"SELECT items, {counted} FROM collection WHERE id = ?"  # noqa: S608  # our own words
    noted, right = context.reader.first(statement, (number,)) or (0, 0)
    if noted != right:
        mend = f"UPDATE collection SET items = {counted} WHERE id = ?"  # noqa: S608  # our own words
        report.add("counters differ", name, f"{noted} items, counted {right}", lambda: context.change(mend, (number,)))


def _check_items(context: MailContext, report: Report, number: CollectionId, path: Path, name: str) -> None:
    # After a rebuild items are entered when somebody with the secret key first asks for them: that is now.
    if context.reader.first("SELECT complete FROM collection WHERE id = ?", (number,)) != (1,):
        take_up_items(context, number)
    there = {file.name: file for file in item_files(path)}
    listed = list(there)
    # Rows after the listing: what came in between has its file all the same.
    rows = context.reader.rows("SELECT file, href FROM item WHERE collection = ?", (number,))
    complete = context.reader.first("SELECT complete FROM collection WHERE id = ?", (number,))
    for file, href in rows:
        if there.pop(file, None) is None and not (path / file).exists():
            report.add("item without file", name, href, None)
    if complete != (1,):
        report.add("items not taken up yet", name, "opened with the secret key they will be", None)
        return
    for whole in there.values():
        if not _is_young(whole):
            report.add("file without item", name, whole.name, partial(remove_item, whole))
    for beside in lone_facts(path, [*listed, *(file for file, _ in rows)]):
        if not _is_young(beside):
            report.add("file without item", name, beside.name, partial(atomic.unlink, beside))


def _check_content(context: MailContext, report: Report, number: CollectionId, name: str) -> None:
    last = ""
    while True:
        query = located_query("item.collection = ? AND href > ? ORDER BY href LIMIT ?")
        rows = context.reader.rows(query, (number, last, _AT_ONCE))
        for row in rows:
            item, (_, file, sealed, wrapped, kind, directory) = parse_item(row), row[-6:]
            try:
                dek = context.wrapping.unwrap(wrapped) if wrapped is not None and context.wrapping is not None else None
                stored, _ = read_item(
                    context.paths.collection(CollectionKind(kind), directory) / file,
                    sealed=bool(sealed),
                    account=context.account,
                    secret_key=context.keys.secret,
                    dek=dek,
                    limit=context.limits.item_size,
                )
            except FileNotFoundError:
                continue  # told above, or replaced meanwhile
            except StoreError as error:
                report.add("item does not open", name, f"{item.href}: {error}", None)
                continue
            told = (render_etag(stored.data), len(stored.data), stored.href, stored.properties)
            if told != (item.etag, item.size, item.href, item.properties):
                report.add("item differs from its row", name, item.href, None)
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1][0]


def _listed(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except OSError:
        return []


def _is_young(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime < _YOUNG
    except OSError:
        return True  # gone meanwhile
