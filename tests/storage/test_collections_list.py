"""Both stores, given the same steps, tell the same: names, counts, what changed, what is refused."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collections_contract import CALENDAR, PLAIN, event
from preau.storage.api import (
    Account,
    CollectionChanges,
    CollectionId,
    CollectionKind,
    Collections,
    Href,
    StoreError,
    StoreLimits,
    SyncToken,
)
from preau.storage.collections_rules import check_name, parent_of
from preau.storage.memory import MemoryStore
from preau.storage.store import open_store
from store_contract import ANNE, KEYS

LIMITS = StoreLimits(collections=12, items=3)

_segments = st.sampled_from(["a", "b", "é"])
_plain = st.lists(_segments, min_size=1, max_size=4).map("/".join)
_where = st.one_of(st.tuples(st.just(PLAIN), _plain), st.tuples(st.just(CALENDAR), _segments))
_href = st.sampled_from(["x", "y"])
_changes = st.dictionaries(st.sampled_from(["{n}p", "{n}q"]), st.sampled_from([None, "1", "<é/>"]), max_size=2)
_step = st.one_of(
    st.tuples(st.just("create"), _where),
    st.tuples(st.just("delete"), _where),
    st.tuples(st.just("rename"), _where, _plain),
    st.tuples(st.just("describe"), _where, _changes),
    st.tuples(st.just("put"), _where, _href, st.sampled_from(["u", "v", None])),
    st.tuples(st.just("mark"), _where, _href, _changes),
    st.tuples(st.just("remove"), _where, _href),
    st.tuples(st.just("transfer"), _where, _href, _where, _href, st.booleans(), st.booleans()),
)
Step = tuple[Any, ...]


def _take(collections: Collections, step: Step) -> None:
    what, (kind, name), *rest = step
    if what == "create":
        collections.create(kind, name, {"{n}made": name})
        return
    there = collections.find(kind, name).id
    calls: dict[str, Callable[..., object]] = {
        "delete": lambda: collections.delete(there),
        "rename": lambda new: collections.move_collection(there, new),
        "describe": lambda changes: collections.set_properties(there, changes),
        "put": lambda href, uid: collections.put_item(there, Href(href), href.encode() * 3, event(uid)),
        "mark": lambda href, changes: collections.set_item_properties(there, Href(href), changes),
        "remove": lambda href: collections.delete_item(there, Href(href)),
        "transfer": lambda href, where, new, overwrite, move: collections.copy_item(
            there, Href(href), collections.find(*where).id, Href(new), overwrite=overwrite, move=move
        ),
    }
    calls[what](*rest)


def _outcome(collections: Collections, step: Step) -> str:
    try:
        _take(collections, step)
    except StoreError as error:
        return type(error).__name__
    return "done"


def _tell(account: Account) -> object:
    told = []
    for info in account.collections.collections():
        items = [(i.href, i.etag, dict(i.properties), data) for i, data in account.collections.read_items(info.id)]
        assert info.items == len(items)
        told.append((info.id, info.kind, info.name, dict(info.properties), info.sync_token, info.touched, items))
    return told, account.quota().used


def _names(changes: CollectionChanges) -> object:
    return [(info.kind, info.name) for info in changes.changed], list(changes.gone), changes.sync_token


def _check_since(seen: dict[int, set[tuple[CollectionKind, str, int, int]]], collections: Collections) -> None:
    """Whoever has the state of any earlier token comes to the present one by what is told since."""
    now = {_mark(info) for info in collections.collections()}
    for token, state in seen.items():
        changes = collections.collection_changes(SyncToken(token))
        fresh = {_mark(info) for info in changes.changed}
        replaced = {mark[:2] for mark in fresh} | set(changes.gone)
        assert {mark for mark in state if mark[:2] not in replaced} | fresh == now


def _mark(info: Any) -> tuple[CollectionKind, str, int, int]:
    return info.kind, info.name, info.id, info.touched


@settings(max_examples=40)
@given(steps=st.lists(_step, max_size=25))
def test_both_stores_tell_the_same(steps: list[Step]) -> None:
    with TemporaryDirectory() as root:
        memory = MemoryStore(limits=LIMITS).open_account(ANNE, KEYS[ANNE], quota=200)
        store = open_store(Path(root), sealing=False, limits=LIMITS)
        files = store.open_account(ANNE, KEYS[ANNE], quota=200)
        seen: dict[int, set[tuple[CollectionKind, str, int, int]]] = {}
        for step in steps:
            token = files.collections.collection_changes(None).sync_token
            seen[token] = {_mark(info) for info in files.collections.collections()}
            assert _outcome(memory.collections, step) == _outcome(files.collections, step)
            assert _names(memory.collections.collection_changes(token)) == _names(files.collections.collection_changes(token))
        assert _tell(memory) == _tell(files)
        _check_since(seen, files.collections)
        _check_since(seen, memory.collections)
        files.close()
        store.close()


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        (PLAIN, "calendars", None),
        (PLAIN, "calendars/x", None),
        (PLAIN, "calendars/x/y", "calendars/x"),
        (PLAIN, "calendars/x/y/z", "calendars/x/y"),
        (CALENDAR, "x", None),
    ],
)
def test_parents(kind: CollectionKind, name: str, expected: str | None) -> None:
    check_name(kind, name)
    assert parent_of(kind, name) == expected


def test_ids_are_not_given_twice(tmp_path: Path) -> None:
    store = open_store(tmp_path, sealing=False)
    collections = store.open_account(ANNE, KEYS[ANNE]).collections
    ids: set[CollectionId] = {info.id for info in collections.collections()}
    for _ in range(3):
        made = collections.create(PLAIN, "h/a", {}).id
        assert made not in ids
        ids.add(made)
        collections.delete(made)
    store.close()
