"""Collections of the file store: the contract, what lies on disk, crashes between two system calls, a lost index."""

import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from broken_system import Broken, Crash
from collections_contract import ADDRESSBOOK, CALENDAR, DATA, PLAIN, CollectionsContract, event
from preau.storage import atomic, collections_index, collections_leftovers
from preau.storage.account_db import AccountDatabase
from preau.storage.api import (
    Account,
    CollectionId,
    Conflict,
    Href,
    InvalidSyncToken,
    ItemFacts,
    Store,
    StoreLimits,
    SyncToken,
    Unavailable,
)
from preau.storage.check import verify_account
from preau.storage.collections_files import read_description, write_item
from preau.storage.paths import AccountPaths, is_opaque
from preau.storage.seal import MAGIC, open_blob, seal_blob
from preau.storage.store import open_store as open_file_store
from store_contract import ANNE, BRUNO, KEYS, StoreContract


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def sealing(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class TestCollections(CollectionsContract, StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path, sealing: bool) -> Iterator[Callable[..., Store]]:
        opened: list[Store] = []

        def open_again(limits: StoreLimits | None = None) -> Store:
            opened.append(open_file_store(tmp_path, sealing=sealing, limits=limits))
            return opened[-1]

        yield open_again
        for store in opened:
            store.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def reopen(root: Path, sealing: bool) -> Iterator[Callable[[], Account]]:
    """Anne's account, opened by a new process each time."""
    stores: list[Store] = []

    def again() -> Account:
        for store in stores:
            store.close()
        stores.append(open_file_store(root, sealing=sealing))
        return stores[-1].open_account(ANNE, KEYS[ANNE])

    yield again
    for store in stores:
        store.close()


def calendar_of(account: Account) -> CollectionId:
    return account.collections.find(CALENDAR, "calendar").id


def files_below(root: Path) -> list[Path]:
    """Items; nothing lies beside one that is not there, and nothing at all beside one that is sealed."""
    dav = AccountPaths(root, ANNE).dav
    items = sorted(path for path in dav.rglob("*") if path.is_file() and is_opaque(path.name.partition(".")[0]))
    facts = {path.with_name(f".{path.name[:26]}.facts") for path in items if not path.read_bytes().startswith(MAGIC)}
    assert set(dav.rglob(".*")) == facts
    return items


def test_nothing_on_disk_tells_names_or_contents(root: Path) -> None:
    store = open_file_store(root, sealing=True)
    account = store.open_account(ANNE, KEYS[ANNE])
    private = account.collections.create(CALENDAR, "Confidentiel", {"{DAV:}displayname": "Confidentiel"})
    facts = event("Confidentiel-uid")._replace(text="Confidentiel")
    account.collections.put_item(private.id, Href("Confidentiel.ics"), b"SUMMARY:Confidentiel", facts)
    account.close()
    store.close()
    for path in root.rglob("*"):
        assert b"Confidentiel" not in os.fsencode(path)
        if path.is_file():
            assert b"Confidentiel" not in path.read_bytes()
    assert all(path.read_bytes().startswith(MAGIC) for path in files_below(root))
    assert all(path.stat().st_mode & 0o007 == 0 for path in root.rglob("*"))


def test_a_file_moved_to_another_account_does_not_open(root: Path) -> None:
    store = open_file_store(root, sealing=True)
    anne = store.open_account(ANNE, KEYS[ANNE])
    # Bruno with Anne's keys: even then the place is bound.
    bruno = store.open_account(BRUNO, KEYS[ANNE])
    for account in (anne, bruno):
        account.collections.put_item(calendar_of(account), Href("a"), DATA, event("1"))
    one, two = (next(AccountPaths(root, a).dav.rglob("?" * 26 + "/" + "?" * 26)) for a in (ANNE, BRUNO))
    shutil.copyfile(one, two)
    assert anne.collections.read_item(calendar_of(anne), Href("a"))[1] == DATA
    with pytest.raises(Unavailable):
        bruno.collections.read_item(calendar_of(bruno), Href("a"))
    store.close()


def test_whoever_only_delivers_writes_and_does_not_read(root: Path) -> None:
    store = open_file_store(root, sealing=True)
    account = store.open_account(ANNE, replace(KEYS[ANNE], secret=None))
    put = account.collections.put_item(calendar_of(account), Href("a"), DATA, event("1", 5, 6))
    assert list(account.collections.overlapping(calendar_of(account), None, 5, 7)) == [put.item]
    with pytest.raises(Unavailable):
        account.collections.read_item(calendar_of(account), Href("a"))
    owner = store.open_account(ANNE, KEYS[ANNE])
    for _ in range(2):
        assert owner.collections.read_item(calendar_of(owner), Href("a")) == (put.item, DATA)
    # The key worked out by the first read goes into the row with the next change.
    owner.collections.put_item(calendar_of(owner), Href("b"), DATA, event("2"))
    assert owner.collections.read_item(calendar_of(owner), Href("a")) == (put.item, DATA)
    store.close()


def test_replaced_and_deleted_files_are_removed(root: Path, reopen: Callable[[], Account]) -> None:
    account = reopen()
    collections, calendar = account.collections, calendar_of(account)
    other = collections.create(ADDRESSBOOK, "other", {}).id
    collections.put_item(calendar, Href("a"), DATA, event("1"))
    collections.put_item(calendar, Href("a"), DATA + b"2", event("1"))
    assert len(files_below(root)) == 1
    collections.copy_item(calendar, Href("a"), other, Href("b"), overwrite=False, move=True)
    assert len(files_below(root)) == 1
    collections.delete(other)
    assert files_below(root) == []
    assert len(list(AccountPaths(root, ANNE).dav.rglob("collection.json"))) == 3


def test_a_refused_item_leaves_no_file(root: Path, reopen: Callable[[], Account]) -> None:
    account = reopen()
    collections, calendar = account.collections, calendar_of(account)
    collections.put_item(calendar, Href("a"), DATA, event("1"))
    with pytest.raises(Conflict):
        collections.put_item(calendar, Href("b"), DATA, event("1"))
    assert len(files_below(root)) == 1
    assert list(AccountPaths(root, ANNE).tmp.iterdir()) == []


@pytest.mark.parametrize("errno", [28, 5, 122], ids=["ENOSPC", "EIO", "EDQUOT"])
@pytest.mark.parametrize("call", ["write", "fdatasync", "rename", "fsync"])
def test_a_full_disk_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, reopen: Callable[[], Account], call: str, errno: int
) -> None:
    account = reopen()
    collections, calendar = account.collections, calendar_of(account)
    put = collections.put_item(calendar, Href("a"), DATA, event("1"))
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "system", Broken(call, OSError(errno, "broken")))
        with pytest.raises(Unavailable) as caught:
            collections.put_item(calendar, Href("a"), DATA + b"2", event("1"))
        assert caught.value.temporary
    assert collections.read_item(calendar, Href("a")) == (put.item, DATA)
    assert collections.find(CALENDAR, "calendar").sync_token == put.sync_token
    assert account.quota().used == len(DATA)


@pytest.mark.parametrize("call", ["write", "fdatasync", "rename", "fsync"])
def test_a_full_disk_leaves_properties_and_names(
    monkeypatch: pytest.MonkeyPatch, root: Path, sealing: bool, reopen: Callable[[], Account], call: str
) -> None:
    account = reopen()
    collections, calendar = account.collections, calendar_of(account)
    collections.put_item(calendar, Href("a"), DATA, event("1"))
    _plant(account)
    before = (collections.collection_changes(None), collections.read_item(calendar, Href("a")), account.quota())
    calls: list[Callable[[], object]] = [
        lambda: collections.set_item_properties(calendar, Href("a"), {"{x}a": "1"}),
        lambda: collections.set_properties(calendar, {"{x}a": "1"}),
        lambda: collections.move_collection(collections.find(PLAIN, "h/a").id, "h/z"),
    ]
    for change in calls:
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "system", Broken(call, OSError(28, "broken")))
            with pytest.raises(Unavailable):
                change()
        now = (collections.collection_changes(None), collections.read_item(calendar, Href("a")), account.quota())
        assert now == before
    assert len(files_below(root)) == 3
    account.close()
    assert _verified(root, sealing) <= {"collection's description differs"}


def _replace(account: Account) -> None:
    account.collections.put_item(calendar_of(account), Href("a"), DATA + b"new", event("1"))


def _remove(account: Account) -> None:
    account.collections.delete_item(calendar_of(account), Href("a"))


def _move(account: Account) -> None:
    target = account.collections.find(CALENDAR, "tasks").id
    account.collections.copy_item(calendar_of(account), Href("a"), target, Href("b"), overwrite=True, move=True)


def _drop(account: Account) -> None:
    account.collections.delete(account.collections.find(CALENDAR, "tasks").id)


def _make(account: Account) -> None:
    account.collections.create(CALENDAR, "new", {"{x}a": "1"})


def _describe(account: Account) -> None:
    account.collections.set_properties(calendar_of(account), {"{x}a": "1"})


def _set_dead_properties(account: Account) -> None:
    account.collections.set_item_properties(calendar_of(account), Href("a"), {"{x}a": "1"})


def _rename(account: Account) -> None:
    account.collections.move_collection(account.collections.find(PLAIN, "h/a").id, "h/z")


def _drop_tree(account: Account) -> None:
    account.collections.delete(account.collections.find(PLAIN, "h/a").id)


@pytest.mark.parametrize(
    "change", [_replace, _remove, _move, _drop, _make, _describe, _set_dead_properties, _rename, _drop_tree]
)
def test_a_crash_between_any_two_system_calls_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    sealing: bool,
    reopen: Callable[[], Account],
    change: Callable[[Account], None],
) -> None:
    """After each possible stop, what is told is the state before or the state after, and all of it can be read."""

    def tell(account: Account) -> object:
        told = []
        for info in account.collections.collections():
            items = [account.collections.read_item(info.id, item.href) for item in account.collections.items(info.id)]
            assert list(account.collections.read_items(info.id)) == items
            assert info.items == len(items)
            told.append((info.name, dict(info.properties), [(dict(item.properties), data) for item, data in items]))
        return told, account.quota().used

    monkeypatch.setattr(collections_leftovers, "YOUNG", -1)
    account = reopen()
    account.collections.put_item(calendar_of(account), Href("a"), DATA, event("1"))
    account.collections.put_item(account.collections.find(CALENDAR, "tasks").id, Href("b"), b"other", event("2"))
    _plant(account)
    before = tell(account)
    after: object = None
    for stop in range(100):
        account = reopen()
        assert tell(account) == before
        broken = Broken(stop, Crash())
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "system", broken)
            try:
                change(account)
            except Crash:
                pass
        account = reopen()
        now = tell(account)
        if now != before:
            after = after or now
            assert now == after
        assert _verified(root, sealing) <= _HARMLESS
        assert _verified(root, sealing) == set()
        items = [account.collections.items(info.id) for info in account.collections.collections()]
        assert len(files_below(root)) == len(list(chain(*items)))
        if not broken.struck:
            assert stop > 0
            break
        if now != before:
            _undo(account, change)
    else:
        pytest.fail("the change never came to its end")
    assert after is not None


_HARMLESS = {"file without item", "directory without collection", "collection's description differs"}
"""What a crash may leave behind: more than a row names, never less."""


def _verified(root: Path, sealing: bool) -> set[str]:
    """What verify finds about collections, and mends."""
    findings = verify_account(root, ANNE, KEYS[ANNE], sealing=sealing, repair=True)
    assert all(finding.repaired and not finding.fault for finding in findings)
    return {finding.kind for finding in findings if finding.kind != "sidecar behind"}  # mail's


def _plant(account: Account) -> None:
    for name in ("h/a", "h/a/b"):
        account.collections.put_item(account.collections.create(PLAIN, name, {}).id, Href("i"), b"i", ItemFacts("text/plain"))


def _undo(account: Account, change: Callable[[Account], None]) -> None:
    collections, calendar = account.collections, calendar_of(account)
    if change is _make:
        collections.delete(collections.find(CALENDAR, "new").id)
    elif change is _describe:
        collections.set_properties(calendar, {"{x}a": None})
    elif change is _set_dead_properties:
        collections.set_item_properties(calendar, Href("a"), {"{x}a": None})
    elif change is _rename:
        collections.move_collection(collections.find(PLAIN, "h/z").id, "h/a")
    elif change is _drop_tree:
        _plant(account)
    elif change is _drop:
        tasks = collections.create(CALENDAR, "tasks", DEFAULT_TASKS).id
        collections.put_item(tasks, Href("b"), b"other", event("2"))
    elif change is _move:
        tasks = collections.find(CALENDAR, "tasks").id
        collections.put_item(calendar, Href("a"), DATA, event("1"))
        collections.put_item(tasks, Href("b"), b"other", event("2"))
    else:
        collections.put_item(calendar, Href("a"), DATA, event("1"))


DEFAULT_TASKS = {
    "{DAV:}displayname": "Tâches",
    "{urn:ietf:params:xml:ns:caldav}supported-calendar-component-set": (
        '<comp xmlns="urn:ietf:params:xml:ns:caldav" name="VTODO"/>'
    ),
}


def _lose_index(root: Path) -> None:
    for path in AccountPaths(root, ANNE).directory.glob("index.db*"):
        path.unlink()


def test_a_lost_index_is_made_again_from_the_files(root: Path, reopen: Callable[[], Account]) -> None:
    account = reopen()
    made = account.collections.create(ADDRESSBOOK, "amis", {"{x}a": "é"})
    facts = event("1", 5, None)._replace(recurs=True, schedule_tag="t", text="Zoé")
    account.collections.put_item(made.id, Href("é.vcf"), DATA, facts)
    item = account.collections.set_item_properties(made.id, Href("é.vcf"), {"{x}p": "é"})
    account.collections.create(PLAIN, "h/a", {"{x}n": "1"})
    account.collections.create(PLAIN, "h/a/b", {})
    account.collections.move_collection(account.collections.find(PLAIN, "h/a").id, "h/c")
    used, old_changes = account.quota().used, account.collections.collection_changes(None)
    account.collections.put_item(calendar_of(account), Href("gone"), DATA, event("2"))
    account.collections.delete_item(calendar_of(account), Href("gone"))
    old_token = account.collections.find(ADDRESSBOOK, "amis").sync_token
    account.close()
    _lose_index(root)

    account = reopen()
    found = account.collections.find(ADDRESSBOOK, "amis")
    assert found.properties == made.properties
    assert found.created == made.created
    assert account.collections.find(PLAIN, "h/c").properties == {"{x}n": "1"}
    names = [info.name for info in account.collections.collections()]
    assert names == ["amis", "calendar", "contacts", "h/c", "h/c/b", "tasks"]
    assert account.collections.read_item(found.id, Href("é.vcf")) == (item, DATA)
    assert list(account.collections.items(calendar_of(account))) == []
    assert account.quota().used == used
    with pytest.raises(InvalidSyncToken):
        account.collections.collection_changes(old_changes.sync_token)
    assert account.collections.collection_changes(None).sync_token > old_changes.sync_token
    # Tokens of before are refused, those of now follow one another.
    with pytest.raises(InvalidSyncToken):
        account.collections.changes(found.id, old_token)
    token = account.collections.changes(found.id, None).sync_token
    assert token > old_token
    assert account.collections.put_item(found.id, Href("b"), DATA, event("3")).sync_token == token + 1


def test_after_a_loss_delivery_may_add_and_the_owner_sees_all(root: Path) -> None:
    store = open_file_store(root, sealing=True)
    account = store.open_account(ANNE, KEYS[ANNE])
    for href in ("a", "b"):
        account.collections.put_item(calendar_of(account), Href(href), DATA + href.encode(), event(href))
    account.close()
    store.close()
    _lose_index(root)
    store = open_file_store(root, sealing=True)
    account = store.open_account(ANNE, replace(KEYS[ANNE], secret=None))
    account.collections.put_item(calendar_of(account), Href("b"), b"newer", event("b"))
    account.close()
    account = store.open_account(ANNE, KEYS[ANNE])
    there = {
        item.href: account.collections.read_item(calendar_of(account), item.href)[1]
        for item in account.collections.items(calendar_of(account))
    }
    assert there == {"a": DATA + b"a", "b": b"newer"}
    store.close()


def test_what_lies_below_a_lost_description_stays_reachable(root: Path, reopen: Callable[[], Account]) -> None:
    account = reopen()
    for name in ("h/a", "h/a/b", "h/a/b/c"):
        account.collections.create(PLAIN, name, {})
    account.close()
    folder = AccountPaths(root, ANNE).collection_folder(PLAIN)
    key = KEYS[ANNE].index
    for directory in folder.iterdir():
        description = read_description(directory, key)
        if description is not None and description.name in ("h/a", "h/a/b"):
            (directory / "collection.json").write_bytes(b"{")
    _lose_index(root)
    account = reopen()
    names = {info.name for info in account.collections.collections(PLAIN)}
    assert {"h/a", "h/a/b", "h/a/b/c"} < names
    assert len(names) == 5  # the two that lost theirs are there under their directories' names


_VERSION_1 = """
CREATE TABLE collections (one INTEGER PRIMARY KEY CHECK (one = 1), ready INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE TABLE collection (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, dir TEXT NOT NULL UNIQUE, properties TEXT NOT NULL,
    token INTEGER NOT NULL, floor INTEGER NOT NULL, items INTEGER NOT NULL DEFAULT 0, complete INTEGER NOT NULL DEFAULT 1,
    UNIQUE (kind, name)
);
CREATE TABLE item (
    id INTEGER PRIMARY KEY, collection INTEGER NOT NULL, href TEXT NOT NULL, file TEXT NOT NULL, sealed INTEGER NOT NULL,
    dek BLOB, etag TEXT NOT NULL, size INTEGER NOT NULL, modified INTEGER NOT NULL, token INTEGER NOT NULL,
    content_type TEXT NOT NULL, uid TEXT, component TEXT, starts INTEGER NOT NULL, ends INTEGER NOT NULL,
    recurs INTEGER NOT NULL, schedule_tag TEXT, text TEXT NOT NULL,
    UNIQUE (collection, href)
);
"""
_AS_BEFORE = """
INSERT INTO old.collections SELECT one, ready, last FROM main.collections;
INSERT INTO old.collection SELECT id, kind, name, dir, properties, token, floor, items, complete FROM main.collection;
INSERT INTO old.item SELECT id, collection, href, file, sealed, dek, etag, size, modified, token, content_type, uid, component,
    starts, ends, recurs, schedule_tag, text FROM main.item;
DROP TABLE main.collections; DROP TABLE main.collection; DROP TABLE main.collection_gone; DROP TABLE main.item;
"""


def test_an_index_of_the_first_version_is_brought_forward(root: Path, sealing: bool, reopen: Callable[[], Account]) -> None:
    account = reopen()
    put = account.collections.put_item(calendar_of(account), Href("a"), DATA, event("1"))
    before = account.collections.collections()
    account.close()
    paths = AccountPaths(root, ANNE)
    with closing(AccountDatabase(paths.index_db, KEYS[ANNE].index if sealing else None)) as db, db.write() as connection:
        # The tables as they were, by way of temporary ones.
        connection.execute(_VERSION_1.replace("CREATE TABLE ", "CREATE TEMP TABLE "))
        connection.execute(_AS_BEFORE.replace("old.", "temp."))
        connection.execute(_VERSION_1.replace("CREATE TABLE ", "CREATE TABLE main."))
        for table in ("collections", "collection", "item"):
            connection.execute(f"INSERT INTO main.{table} SELECT * FROM temp.{table}")
            connection.execute(f"DROP TABLE temp.{table}")
        connection.execute("UPDATE schema SET version = 1 WHERE part = 'collections'")
    for description in paths.dav.rglob("collection.json"):
        _write_as_before(description, KEYS[ANNE].index if sealing else None)

    account = reopen()
    now = account.collections.collections()
    assert [replace(info, touched=SyncToken(0), created=0) for info in now] == [
        replace(info, touched=SyncToken(0), created=0) for info in before
    ]
    assert all(info.created > 0 for info in now)
    changes = account.collections.collection_changes(None)
    assert list(changes.changed) == list(now)
    assert account.collections.read_item(calendar_of(account), Href("a")) == (put.item, DATA)
    account.collections.set_item_properties(calendar_of(account), Href("a"), {"{x}a": "1"})
    account.collections.delete_item(calendar_of(account), Href("a"))
    assert [info.name for info in account.collections.collection_changes(changes.sync_token).changed] == ["calendar"]
    account.close()
    assert _verified(root, sealing) == set()


def _write_as_before(path: Path, key: bytes | None) -> None:
    data = path.read_bytes()
    fields = json.loads(data if key is None else open_blob(key, b"collection", data))
    del fields["created"]
    data = json.dumps(fields).encode()
    path.write_bytes(data if key is None else seal_blob(key, b"collection", data))


def test_reading_many_tells_damage(root: Path, reopen: Callable[[], Account]) -> None:
    account = reopen()
    account.collections.put_item(calendar_of(account), Href("a"), DATA, event("1"))
    (path,) = files_below(root)
    for content in (path.read_bytes()[:-1], b"", b"x" * 300):
        path.write_bytes(content)
        with pytest.raises(Unavailable):
            list(account.collections.read_items(calendar_of(account)))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Unavailable):
        list(account.collections.read_items(calendar_of(account)))


@pytest.mark.parametrize("many", [1, 99])
def test_what_comes_between_file_and_row_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, reopen: Callable[[], Account], many: int
) -> None:
    """Another sets a dead property after a PUT has written its file: the PUT begins again, and gives up in the end."""
    account = reopen()
    collections, calendar = account.collections, calendar_of(account)
    collections.put_item(calendar, Href("a"), DATA, event("1"))
    write, left = write_item, [many]

    def overtaken(*arguments: Any, **named: Any) -> tuple[Path, bytes | None]:
        written = write(*arguments, **named)
        if left[0]:
            left[0] -= 1
            with monkeypatch.context() as patch:
                patch.setattr("preau.storage.collections.write_item", write)
                collections.set_item_properties(calendar, Href("a"), {"{x}n": str(left[0])})
        return written

    monkeypatch.setattr("preau.storage.collections.write_item", overtaken)
    if many == 1:
        assert collections.put_item(calendar, Href("a"), b"new", event("1")).item.properties == {"{x}n": "0"}
        return
    with pytest.raises(Unavailable):
        collections.put_item(calendar, Href("a"), b"new", event("1"))
    assert collections.read_item(calendar, Href("a"))[1] == DATA


def test_forgotten_collections_raise_the_floor(monkeypatch: pytest.MonkeyPatch, reopen: Callable[[], Account]) -> None:
    monkeypatch.setattr(collections_index, "COLLECTIONS_GONE_KEPT", 2)
    collections = reopen().collections
    since = collections.collection_changes(None).sync_token
    for name in "abcd":
        collections.delete(collections.create(PLAIN, name, {}).id)
    with pytest.raises(InvalidSyncToken):
        collections.collection_changes(since)
    changes = collections.collection_changes(SyncToken(since + 4))
    assert [name for _, name in changes.gone] == ["c", "d"]


def test_files_that_say_nothing_are_passed_over(root: Path, reopen: Callable[[], Account]) -> None:
    account = reopen()
    account.collections.put_item(calendar_of(account), Href("a"), DATA, event("1"))
    account.close()
    good = files_below(root)[0]
    for number, content in enumerate(
        (b"", b"\x00\x00\x00\x05{}", b"\xff\xff\xff\xff", MAGIC + b"x" * 200, b"\x00\x00\x00\x02[]x")
    ):
        (good.parent / ("a" * 25 + "aeimq"[number])).write_bytes(content)
    os.symlink(good, good.parent / ("b" * 25 + "a"))
    os.mkfifo(good.parent / ("c" * 25 + "a"))
    (good.parent / "collection.json").write_bytes(b"{")
    _lose_index(root)
    account = reopen()
    kinds = [info for info in account.collections.collections() if info.kind is CALENDAR]
    assert len(kinds) == 3  # the default is made again; what has no description is kept under its directory's name
    items = {info.name: [item.href for item in account.collections.items(info.id)] for info in kinds}
    assert items == {"calendar": [], "tasks": [], good.parent.name: ["a"]}


def test_without_sealing_a_file_is_what_the_client_sent(root: Path) -> None:
    store = open_file_store(root, sealing=False)
    account = store.open_account(ANNE, KEYS[ANNE])
    contacts = account.collections.find(ADDRESSBOOK, "contacts").id
    calendar = calendar_of(account)
    account.collections.put_item(calendar, Href("a"), DATA, event("1"))
    account.collections.put_item(contacts, Href("b"), b"BEGIN:VCARD\nEND:VCARD\n", ItemFacts("text/vcard", uid="2"))
    (card,) = (path for path in files_below(root) if path.suffix == ".vcf")
    (object_,) = (path for path in files_below(root) if path.suffix == ".ics")
    assert card.read_bytes() == b"BEGIN:VCARD\nEND:VCARD\n"
    assert object_.read_bytes() == DATA
    store.close()


def test_a_rebuild_takes_items_that_have_nothing_beside_them(root: Path) -> None:
    store = open_file_store(root, sealing=False)
    account = store.open_account(ANNE, KEYS[ANNE])
    account.collections.put_item(calendar_of(account), Href("a"), DATA, event("1"))
    store.close()
    (path,) = files_below(root)
    path.with_name(f".{path.name[:26]}.facts").unlink()
    # As items were written before: the facts in front of the octets.
    facts = b'{"href":"old","modified":1,"written":1,"facts":{"content_type":"text/calendar"}}'
    (path.parent / ("a" * 26)).write_bytes(len(facts).to_bytes(4, "big") + facts + b"old")
    _lose_index(root)
    store = open_file_store(root, sealing=False)
    account = store.open_account(ANNE, KEYS[ANNE])
    calendar = calendar_of(account)
    assert {item.href for item in account.collections.items(calendar)} == {"old", path.name}
    assert account.collections.read_item(calendar, Href(path.name))[1] == DATA
    assert account.collections.read_item(calendar, Href("old"))[1] == b"old"
    store.close()


def test_an_item_whose_file_is_gone_is_temporary(root: Path, reopen: Callable[[], Account]) -> None:
    account = reopen()
    account.collections.put_item(calendar_of(account), Href("a"), DATA, event("1"))
    files_below(root)[0].unlink()
    with pytest.raises(Unavailable):
        account.collections.read_item(calendar_of(account), Href("a"))
    account.collections.put_item(calendar_of(account), Href("a"), DATA, event("1"))
    assert account.collections.read_item(calendar_of(account), Href("a"))[1] == DATA


def _open_first(root: Path, barrier: threading.Barrier) -> None:
    store = open_file_store(root, sealing=True)
    barrier.wait()
    account = store.open_account(ANNE, KEYS[ANNE])
    account.collections.put_item(calendar_of(account), Href(str(os.getpid())), DATA, event(None))
    account.close()
    store.close()


def test_first_use_by_several_processes_at_once(root: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_open_first, args=(root, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    store = open_file_store(root, sealing=True)
    account = store.open_account(ANNE, KEYS[ANNE])
    assert [info.name for info in account.collections.collections()] == ["calendar", "contacts", "tasks"]
    assert len(list(account.collections.items(calendar_of(account)))) == 3
    assert len(list(AccountPaths(root, ANNE).dav.rglob("collection.json"))) == 3
    store.close()


def test_verify_tells_what_is_wrong_and_mends_what_it_can(
    monkeypatch: pytest.MonkeyPatch, root: Path, sealing: bool, reopen: Callable[[], Account]
) -> None:
    account = reopen()
    collections, calendar = account.collections, calendar_of(account)
    for href in ("gone", "bad", "good"):
        collections.put_item(calendar, Href(href), DATA, event(href))
    account.close()

    def verify(*, repair: bool = False) -> list[tuple[str, str, bool]]:
        findings = verify_account(root, ANNE, KEYS[ANNE], sealing=sealing, repair=repair)
        ours = [finding for finding in findings if finding.kind != "sidecar behind"]  # mail's
        return sorted((finding.kind, finding.detail.partition(":")[0], finding.repaired) for finding in ours)

    assert verify() == []
    paths = AccountPaths(root, ANNE)
    files = {}
    with closing(AccountDatabase(paths.index_db, KEYS[ANNE].index if sealing else None)) as db, db.write() as connection:
        files = dict(connection.execute("SELECT href, file FROM item"))
        directory = connection.execute("SELECT dir FROM collection WHERE id = ?", (calendar,)).get
        connection.execute("UPDATE collection SET items = 7 WHERE id = ?", (calendar,))
    here = paths.collection(CALENDAR, directory)
    (here / files["gone"]).unlink()
    with (here / files["bad"]).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"?")
    (here / ("a" * 26)).write_bytes(b"left by a crash")
    (here.parent / ("b" * 25 + "a")).mkdir()
    (here / "collection.json").unlink()
    young = [
        ("collection's description differs", "collection.json", False),
        ("counters differ", "7 items, counted 3", False),
        ("item does not open" if sealing else "item differs from its row", "bad", False),
        ("item without file", "gone", False),
    ]
    assert verify() == young
    monkeypatch.setattr(collections_leftovers, "YOUNG", -1)
    old = [("directory without collection", "b" * 25 + "a", False), ("file without item", "a" * 26, False)]
    assert verify() == sorted(young + old)
    lost = [(kind, detail, False) for kind, detail, _ in young[2:]]
    mended = [(kind, detail, True) for kind, detail, _ in young[:2] + old]
    assert verify(repair=True) == sorted(lost + mended)
    assert verify() == lost
    account = reopen()
    assert account.collections.read_item(calendar, Href("good"))[1] == DATA
