"""Collections and items in `store verify`: rows against files, counts against rows, files against their seals.

Owns what is compared; what interrupted steps left is collections_leftovers.py's. A row without its file is told and kept.
"""

from functools import partial
from pathlib import Path

from .api import CollectionId, CollectionKind, StoreError
from .check_report import Report
from .collections_files import DESCRIPTION, item_files, read_item
from .collections_index import located_query, parse_item
from .collections_leftovers import (
    describe,
    find_strays,
    is_described,
    is_young,
    remove_stray_directory,
    remove_stray_facts,
    remove_stray_item,
    stray_directories,
)
from .collections_rebuild import take_up_items
from .collections_rules import render_etag
from .mail_context import MailContext

_AT_ONCE = 500


def check_collections(context: MailContext, report: Report, read_files: bool) -> None:
    """Everything about an account's collections; `read_files`: also open every item (needs the secret key)."""
    rows = context.reader.rows("SELECT id, kind, dir, name FROM collection ORDER BY name, kind")
    for found, empty in stray_directories(context):
        if not empty:
            report.fault("directory of items without collection", "", found.name, None)
        elif not is_young(found):
            report.left("directory without collection", "", found.name, partial(remove_stray_directory, context, found))
    for number, kind, directory, name in rows:
        path = context.paths.collection(CollectionKind(kind), directory)
        _check_description(context, report, number, name)
        _check_count(context, report, number, name)
        _check_items(context, report, number, path, name)
        if read_files and (context.wrapping is not None or not context.sealing):
            _check_content(context, report, number, name)


def _check_description(context: MailContext, report: Report, number: CollectionId, name: str) -> None:
    with context.db.read() as connection:
        described = is_described(context, connection, number)
    if not described:
        # Ahead by what was not answered, or lost: the row is the truth, and it is written anew from there.
        report.left("collection's description differs", name, DESCRIPTION, partial(describe, context, number))


def _check_count(context: MailContext, report: Report, number: CollectionId, name: str) -> None:
    counted = "(SELECT count(*) FROM item WHERE collection = collection.id)"
    statement = f"SELECT items, {counted} FROM collection WHERE id = ?"  # noqa: S608  # our own words
    noted, right = context.reader.first(statement, (number,)) or (0, 0)
    if noted != right:
        mend = f"UPDATE collection SET items = {counted} WHERE id = ?"  # noqa: S608  # our own words
        report.fault("counters differ", name, f"{noted} items, counted {right}", lambda: context.change(mend, (number,)))


def _check_items(context: MailContext, report: Report, number: CollectionId, path: Path, name: str) -> None:
    # After a rebuild items are entered when somebody with the secret key first asks for them: that is now.
    if context.reader.first("SELECT complete FROM collection WHERE id = ?", (number,)) != (1,):
        take_up_items(context, number)
    there = {file.name for file in item_files(path)}
    # Rows after the listing: what came in between has its file all the same.
    for file, href in context.reader.rows("SELECT file, href FROM item WHERE collection = ?", (number,)):
        if file not in there and not (path / file).exists():
            report.fault("item without file", name, href, None)
    if context.reader.first("SELECT complete FROM collection WHERE id = ?", (number,)) != (1,):
        report.left("items not taken up yet", name, "opened with the secret key they will be", None)
        return
    strays = find_strays(context, number)
    tell = report.fault if strays.many else report.left
    for whole in strays.items:
        tell("file without item", name, whole.name, partial(remove_stray_item, context, number, whole))
    for beside in strays.facts:
        tell("file without item", name, beside.name, partial(remove_stray_facts, context, number, beside))


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
                report.fault("item does not open", name, f"{item.href}: {error}", None)
                continue
            told = (render_etag(stored.data), len(stored.data), stored.href, stored.properties)
            if told != (item.etag, item.size, item.href, item.properties):
                report.fault("item differs from its row", name, item.href, None)
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1][0]
