"""What every store must do with collections and items (see store_contract.py)."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from preau.storage.api import (
    Account,
    AlreadyExists,
    CollectionId,
    CollectionKind,
    Collections,
    Conflict,
    ETag,
    Forbidden,
    Href,
    InvalidDocument,
    InvalidName,
    InvalidSyncToken,
    ItemFacts,
    NotFound,
    OverQuota,
    Store,
    StoreError,
    StoreLimits,
    SyncToken,
    TooLarge,
)
from preau.storage.collections_rules import MAX_DEPTH
from store_contract import ANNE, KEYS, StoreContract

CALENDAR, ADDRESSBOOK, PLAIN = CollectionKind.CALENDAR, CollectionKind.ADDRESSBOOK, CollectionKind.PLAIN
NOWHERE = CollectionId(99)
DATA = b"BEGIN:VCALENDAR\r\nSUMMARY:R\xc3\xa9union\r\n END:VCALENDAR\r\n\x00\xff"


def event(uid: str | None, start: int | None = 0, end: int | None = 10, component: str = "VEVENT") -> ItemFacts:
    """Facts of an event."""
    return ItemFacts("text/calendar; charset=utf-8", uid=uid, component=component, start=start, end=end)


class CollectionsContract(StoreContract):
    """Collections, items, sync tokens."""

    @pytest.fixture
    def collections(self, account: Account) -> Collections:
        """Anne's collections."""
        return account.collections

    @pytest.fixture
    def calendar(self, collections: Collections) -> CollectionId:
        """Anne's default calendar."""
        return collections.find(CALENDAR, "calendar").id

    @pytest.fixture
    def other(self, collections: Collections) -> CollectionId:
        """Another calendar of hers."""
        return collections.create(CALENDAR, "other", {}).id

    # -- collections

    def test_create_find_list(self, collections: Collections) -> None:
        made = collections.create(PLAIN, "Élèves", {"{DAV:}displayname": "<b>É</b>"})
        assert (made.kind, made.name, made.properties) == (PLAIN, "Élèves", {"{DAV:}displayname": "<b>É</b>"})
        assert collections.find(PLAIN, "Élèves") == made
        assert collections.collections(PLAIN) == [made]
        assert [info.name for info in collections.collections(CALENDAR)] == ["calendar", "tasks"]
        assert len(collections.collections()) == 4

    def test_names_are_unique_within_a_kind(self, collections: Collections) -> None:
        with pytest.raises(AlreadyExists):
            collections.create(CALENDAR, "calendar", {})
        assert collections.create(ADDRESSBOOK, "calendar", {}).id != collections.find(CALENDAR, "calendar").id
        with pytest.raises(NotFound):
            collections.find(PLAIN, "calendar")

    def test_the_defaults_say_what_they_hold(self, collections: Collections) -> None:
        name = "{urn:ietf:params:xml:ns:caldav}supported-calendar-component-set"
        assert 'name="VEVENT"' in collections.find(CALENDAR, "calendar").properties[name]
        assert 'name="VTODO"' in collections.find(CALENDAR, "tasks").properties[name]

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\x00", "a\n", "\x85", "\ud800", "é" * 251])
    def test_names_and_hrefs_that_are_none(self, collections: Collections, calendar: CollectionId, name: str) -> None:
        with pytest.raises(InvalidName):
            collections.create(CALENDAR, name, {})
        with pytest.raises(InvalidName):
            collections.put_item(calendar, Href(name), DATA, event("u"))
        with pytest.raises(NotFound):
            collections.find(CALENDAR, name)
        with pytest.raises(NotFound):
            collections.read_item(calendar, Href(name))
        with pytest.raises(NotFound):
            collections.delete_item(calendar, Href(name))
        assert list(collections.items(calendar, [Href(name)])) == []

    @pytest.mark.parametrize("href", ["é" * 250, "a b.ics", "..ics", "~", "%2e%2e", "a\\b", "cur", "collection.json", "😀"])
    def test_hrefs_that_are_taken_as_they_are(self, collections: Collections, calendar: CollectionId, href: str) -> None:
        collections.put_item(calendar, Href(href), DATA, event(None))
        assert collections.read_item(calendar, Href(href))[0].href == href
        assert collections.find(CALENDAR, "calendar").properties

    def test_no_more_collections_than_the_limit(self, open_store: Callable[..., Store]) -> None:
        account = open_store(limits=StoreLimits(collections=4)).open_account(ANNE, KEYS[ANNE])
        account.collections.create(PLAIN, "one", {})
        with pytest.raises(Forbidden):
            account.collections.create(PLAIN, "two", {})
        assert len(account.collections.collections()) == 4
        account.close()

    def test_properties_are_set_and_removed_together(self, collections: Collections, calendar: CollectionId) -> None:
        before = collections.find(CALENDAR, "calendar").properties
        collections.set_properties(calendar, {"{x}a": "1", "{x}b": "2"})
        info = collections.set_properties(calendar, {"{x}a": None, "{x}b": "3", "{x}none": None})
        assert info.properties == {**before, "{x}b": "3"}
        assert collections.find(CALENDAR, "calendar") == info
        for changes in ({f"{{x}}{i}": "" for i in range(200)}, {"{x}long": "x" * 1_000_000}):
            with pytest.raises(Forbidden):
                collections.set_properties(calendar, changes)
        assert collections.find(CALENDAR, "calendar") == info
        with pytest.raises(NotFound):
            collections.set_properties(NOWHERE, {})

    def test_delete_takes_the_items(self, account: Account, collections: Collections, other: CollectionId) -> None:
        collections.put_item(other, Href("a"), DATA, event("u"))
        collections.delete(other)
        assert account.quota().used == 0
        with pytest.raises(NotFound):
            collections.find(CALENDAR, "other")
        calls: list[Callable[[], object]] = [
            lambda: collections.delete(other),
            lambda: list(collections.items(other)),
            lambda: list(collections.overlapping(other, None, None, None)),
            lambda: collections.read_item(other, Href("a")),
            lambda: collections.put_item(other, Href("a"), DATA, event("u")),
            lambda: collections.delete_item(other, Href("a")),
            lambda: collections.changes(other, None),
            lambda: list(collections.read_items(other)),
            lambda: collections.set_item_properties(other, Href("a"), {"{x}a": "1"}),
            lambda: collections.move_collection(other, "again"),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                call()
        assert collections.create(CALENDAR, "other", {}).id != other

    # -- plain collections nest

    def test_a_plain_name_is_a_path(self, collections: Collections) -> None:
        home = collections.create(PLAIN, "calendars", {"{x}home": "1"})
        first = collections.create(PLAIN, "addressbooks/x", {})  # the first below a home needs no row for the home
        sub = collections.create(PLAIN, "addressbooks/x/é y", {"{x}a": "1"})
        assert collections.collections(PLAIN) == [first, sub, home]
        assert collections.find(PLAIN, "addressbooks/x/é y") == sub
        for name in ("addressbooks/none/z", "addressbooks/x/é y/a/b", "calendars/x/y"):
            with pytest.raises(NotFound):
                collections.create(PLAIN, name, {})
        with pytest.raises(AlreadyExists):
            collections.create(PLAIN, "addressbooks/x/é y", {})
        put = collections.put_item(sub.id, Href("a"), DATA, ItemFacts("text/plain"))
        assert collections.read_item(sub.id, Href("a")) == (put.item, DATA)

    @pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b", "a/../b", "a/.", "a/b\n", "a/" + "x" * 501])
    def test_paths_that_are_none(self, collections: Collections, name: str) -> None:
        made = collections.create(PLAIN, "a", {})
        with pytest.raises(InvalidName):
            collections.create(PLAIN, name, {})
        with pytest.raises(InvalidName):
            collections.move_collection(made.id, name)
        with pytest.raises(NotFound):
            collections.find(PLAIN, name)

    def test_no_deeper_than_the_limit(self, collections: Collections) -> None:
        name = "calendars"
        for _ in range(MAX_DEPTH):
            name += "/a"
            collections.create(PLAIN, name, {})
        with pytest.raises(InvalidName):
            collections.create(PLAIN, f"{name}/a", {})
        top = collections.find(PLAIN, "calendars/a")
        collections.create(PLAIN, "calendars/b", {})
        before = collections.collections(PLAIN)
        with pytest.raises(InvalidName):
            collections.move_collection(top.id, "calendars/b/a")
        assert collections.collections(PLAIN) == before

    def test_deleting_a_plain_one_takes_all_below(self, account: Account, collections: Collections) -> None:
        made = [collections.create(PLAIN, name, {}) for name in ("h/a", "h/a/b", "h/a/b/c", "h/a b", "h/ab", "h")]
        for info in made:
            collections.put_item(info.id, Href("i"), DATA, ItemFacts("text/plain"))
        collections.delete(made[0].id)
        assert [info.name for info in collections.collections(PLAIN)] == ["h", "h/a b", "h/ab"]
        assert account.quota().used == 3 * len(DATA)
        with pytest.raises(NotFound):
            collections.read_item(made[2].id, Href("i"))

    # -- move_collection

    @pytest.mark.parametrize("kind", [CALENDAR, ADDRESSBOOK, PLAIN])
    def test_a_collection_gets_another_name(self, collections: Collections, kind: CollectionKind) -> None:
        made = collections.create(kind, "old", {"{x}a": "1"})
        put = collections.put_item(made.id, Href("a"), DATA, event("1"))
        moved = collections.move_collection(made.id, "new")
        token = collections.collection_changes(None).sync_token
        assert moved == replace(made, name="new", sync_token=put.sync_token, touched=token, items=1)
        assert collections.find(kind, "new") == moved
        assert collections.read_item(made.id, Href("a")) == (put.item, DATA)
        with pytest.raises(NotFound):
            collections.find(kind, "old")
        collections.create(kind, "old", {})

    def test_a_plain_one_moves_with_all_below(self, collections: Collections) -> None:
        made = [collections.create(PLAIN, name, {"{x}n": name}) for name in ("h/a", "h/a/b", "h/a/b/c", "h/ab", "h/x")]
        collections.put_item(made[2].id, Href("i"), DATA, ItemFacts("text/plain"))
        collections.move_collection(made[0].id, "h/x/é")
        assert {info.name: (info.id, info.properties["{x}n"]) for info in collections.collections(PLAIN)} == {
            "h/ab": (made[3].id, "h/ab"),
            "h/x": (made[4].id, "h/x"),
            "h/x/é": (made[0].id, "h/a"),
            "h/x/é/b": (made[1].id, "h/a/b"),
            "h/x/é/b/c": (made[2].id, "h/a/b/c"),
        }
        assert collections.read_item(made[2].id, Href("i"))[1] == DATA

    def test_moves_that_are_not_made(self, collections: Collections, calendar: CollectionId) -> None:
        made = {name: collections.create(PLAIN, name, {}).id for name in ("h/a", "h/a/b", "h/c", "h/c/b", "g/b")}
        cases: list[tuple[CollectionId, str, type[Exception]]] = [
            (NOWHERE, "x", NotFound),
            (calendar, "tasks", AlreadyExists),
            (calendar, "calendar", Forbidden),
            (calendar, "a/b", InvalidName),
            (made["h/a"], "h/a", Forbidden),
            (made["h/a"], "h/a/x", Forbidden),
            (made["h/a"], "h/c", AlreadyExists),
            (made["h/a"], "h/none/x", NotFound),
            (made["h/a"], "g", AlreadyExists),  # g/b is there, though g is not
        ]
        before = (collections.collections(), collections.collection_changes(None))
        for collection, name, error in cases:
            with pytest.raises(error):
                collections.move_collection(collection, name)
        assert (collections.collections(), collections.collection_changes(None)) == before

    def test_a_move_to_a_name_that_is_left_in_the_same_step(self, collections: Collections) -> None:
        outer, inner = (collections.create(PLAIN, name, {}).id for name in ("h/x", "h/x/x"))
        since = collections.collection_changes(None).sync_token
        collections.move_collection(outer, "h")
        assert {info.name: info.id for info in collections.collections(PLAIN)} == {"h": outer, "h/x": inner}
        assert list(collections.collection_changes(since).gone) == [(PLAIN, "h/x/x")]

    # -- what changed among the collections

    def test_collection_changes(self, collections: Collections, calendar: CollectionId, other: CollectionId) -> None:
        everything = collections.collection_changes(None)
        assert list(everything.changed) == list(collections.collections())
        assert list(everything.gone) == []
        nothing = collections.collection_changes(everything.sync_token)
        assert (list(nothing.changed), list(nothing.gone), nothing.sync_token) == ([], [], everything.sync_token)
        old = collections.find(CALENDAR, "other")
        steps: list[tuple[Callable[[], object], list[str], list[str]]] = [
            (lambda: collections.put_item(calendar, Href("a"), DATA, event("1")), ["calendar"], []),
            (lambda: collections.set_properties(other, {"{x}a": "1"}), ["other"], []),
            (
                lambda: collections.copy_item(calendar, Href("a"), other, Href("b"), overwrite=False, move=True),
                ["calendar", "other"],
                [],
            ),
            (lambda: collections.copy_item(other, Href("b"), other, Href("c"), overwrite=False, move=True), ["other"], []),
            (lambda: collections.delete_item(other, Href("c")), ["other"], []),
            (lambda: collections.create(ADDRESSBOOK, "amis", {}), ["amis"], []),
            (lambda: collections.move_collection(other, "renamed"), ["renamed"], ["other"]),
            (lambda: collections.delete(other), [], ["renamed"]),
            (lambda: collections.create(CALENDAR, "other", {}), ["other"], []),
        ]
        token = everything.sync_token
        for step, changed, gone in steps:
            step()
            changes = collections.collection_changes(token)
            assert [info.name for info in changes.changed] == changed
            assert [name for _, name in changes.gone] == gone
            assert changes.sync_token > token
            assert all(token < info.touched <= changes.sync_token for info in changes.changed)
            token = changes.sync_token
        # Over all steps: one made again under its name is changed, and not gone.
        whole = collections.collection_changes(everything.sync_token)
        assert [info.name for info in whole.changed] == ["amis", "calendar", "other"]
        assert list(whole.gone) == [(CALENDAR, "renamed")]
        assert collections.find(CALENDAR, "other").id != old.id

    def test_what_is_refused_changes_no_token(self, collections: Collections, calendar: CollectionId) -> None:
        collections.put_item(calendar, Href("a"), DATA, event("1"))
        before = collections.collection_changes(None)
        calls: list[Callable[[], object]] = [
            lambda: collections.put_item(calendar, Href("b"), DATA, event("1")),
            lambda: collections.create(CALENDAR, "calendar", {}),
            lambda: collections.delete(NOWHERE),
            lambda: collections.set_properties(calendar, {"{x}a": "x" * 1_000_000}),
            lambda: collections.delete_item(calendar, Href("b")),
            lambda: collections.move_collection(calendar, "tasks"),
        ]
        for call in calls:
            with pytest.raises(StoreError):
                call()
        assert collections.collection_changes(None) == before

    @pytest.mark.parametrize("token", [-1, 0, 99_999, 1 << 62])
    def test_account_tokens_that_were_never_given(self, collections: Collections, token: int) -> None:
        with pytest.raises(InvalidSyncToken):
            collections.collection_changes(SyncToken(token))

    def test_a_collection_tells_its_age_and_size(self, collections: Collections, calendar: CollectionId) -> None:
        made = collections.create(CALENDAR, "new", {})
        assert abs(made.created - time.time()) < 60
        assert made.items == 0
        for href in ("a", "b"):
            collections.put_item(calendar, Href(href), DATA, event(href))
        assert collections.find(CALENDAR, "calendar").items == 2
        assert collections.set_properties(calendar, {"{x}a": "1"}).items == 2
        collections.delete_item(calendar, Href("a"))
        collections.copy_item(calendar, Href("b"), made.id, Href("c"), overwrite=False, move=False)
        assert [info.items for info in collections.collections(CALENDAR)] == [1, 1, 0]
        assert collections.find(CALENDAR, "new").created == made.created

    # -- items

    @pytest.mark.parametrize("data", [DATA, b"", b"x" * 300_000], ids=["small", "empty", "chunks"])
    def test_an_item_comes_back_byte_for_byte(self, collections: Collections, calendar: CollectionId, data: bytes) -> None:
        facts = ItemFacts("text/calendar", "uid-1", "VEVENT", -5, 7, True, "tag", "réunion de rentrée")
        put = collections.put_item(calendar, Href("a.ics"), data, facts)
        assert put.created
        assert (put.item.href, put.item.size, put.item.facts) == ("a.ics", len(data), facts)
        assert collections.read_item(calendar, Href("a.ics")) == (put.item, data)
        assert list(collections.items(calendar)) == [put.item]
        assert list(collections.items(calendar, [Href("none"), Href("a.ics"), Href("a.ics")])) == [put.item]
        assert put.sync_token == collections.find(CALENDAR, "calendar").sync_token

    def test_the_etag_is_of_the_bytes(self, collections: Collections, calendar: CollectionId) -> None:
        first = collections.put_item(calendar, Href("a"), DATA, event("1"))
        same = collections.put_item(calendar, Href("a"), DATA, event("1"))
        differs = collections.put_item(calendar, Href("a"), DATA + b" ", event("1"))
        assert first.item.etag == same.item.etag != differs.item.etag
        assert (first.created, same.created, differs.created) == (True, False, False)
        assert collections.read_item(calendar, Href("a"))[1] == DATA + b" "

    def test_preconditions(self, collections: Collections, calendar: CollectionId) -> None:
        with pytest.raises(Conflict):
            collections.put_item(calendar, Href("a"), DATA, event("1"), if_match=ETag("0"))
        put = collections.put_item(calendar, Href("a"), DATA, event("1"), if_none_match=True)
        refused: list[Callable[[], object]] = [
            lambda: collections.put_item(calendar, Href("a"), b"2", event("1"), if_none_match=True),
            lambda: collections.put_item(calendar, Href("a"), b"2", event("1"), if_match=ETag("0")),
            lambda: collections.delete_item(calendar, Href("a"), if_match=ETag("0")),
        ]
        for call in refused:
            with pytest.raises(Conflict):
                call()
        assert collections.read_item(calendar, Href("a")) == (put.item, DATA)
        assert collections.find(CALENDAR, "calendar").sync_token == put.sync_token
        second = collections.put_item(calendar, Href("a"), b"2", event("1"), if_match=put.item.etag)
        collections.delete_item(calendar, Href("a"), if_match=second.item.etag)
        with pytest.raises(NotFound):
            collections.delete_item(calendar, Href("a"))

    def test_a_uid_is_one_items_of_the_collection(
        self, collections: Collections, calendar: CollectionId, other: CollectionId
    ) -> None:
        collections.put_item(calendar, Href("a"), DATA, event("same"))
        with pytest.raises(Conflict) as caught:
            collections.put_item(calendar, Href("b"), DATA, event("same"))
        assert caught.value.uid_conflict == "a"
        with pytest.raises(NotFound):
            collections.read_item(calendar, Href("b"))
        collections.put_item(other, Href("b"), DATA, event("same"))
        collections.put_item(calendar, Href("a"), DATA, event("changed"))
        collections.put_item(calendar, Href("b"), DATA, event("same"))
        for href in ("c", "d"):
            collections.put_item(calendar, Href(href), DATA, event(None))

    @pytest.mark.parametrize("uid", ["x" * 5_000, "a\x00b", "\udc80"])
    def test_facts_that_cannot_be_kept(self, collections: Collections, calendar: CollectionId, uid: str) -> None:
        with pytest.raises(InvalidDocument):
            collections.put_item(calendar, Href("a"), DATA, event(uid))
        assert list(collections.items(calendar)) == []

    def test_limits(self, open_store: Callable[..., Store]) -> None:
        account = open_store(limits=StoreLimits(item_size=100, items=2)).open_account(ANNE, KEYS[ANNE], quota=150)
        collections, calendar = account.collections, account.collections.find(CALENDAR, "calendar").id
        tasks = collections.find(CALENDAR, "tasks").id
        with pytest.raises(TooLarge):
            collections.put_item(calendar, Href("a"), b"x" * 101, event(None))
        collections.put_item(calendar, Href("a"), b"x" * 100, event(None))
        token = collections.find(CALENDAR, "calendar").sync_token
        with pytest.raises(OverQuota):
            collections.put_item(calendar, Href("b"), b"x" * 51, event(None))
        with pytest.raises(OverQuota):
            collections.copy_item(calendar, Href("a"), tasks, Href("a"), overwrite=False, move=False)
        assert collections.find(CALENDAR, "calendar").sync_token == token
        assert account.quota().used == 100
        collections.put_item(calendar, Href("b"), b"x" * 50, event(None))
        collections.put_item(calendar, Href("b"), b"y" * 50, event(None))  # replacing needs no room
        with pytest.raises(Forbidden):
            collections.put_item(calendar, Href("c"), b"", event(None))
        collections.copy_item(calendar, Href("a"), tasks, Href("a"), overwrite=False, move=True)
        collections.delete_item(calendar, Href("b"))
        assert account.quota().used == 100
        account.close()

    def test_items_come_by_href(self, collections: Collections, calendar: CollectionId) -> None:
        hrefs = ["b", "a", "é", "Z", "10", "9"]
        for href in hrefs:
            collections.put_item(calendar, Href(href), DATA, event(None))
        assert [item.href for item in collections.items(calendar)] == sorted(hrefs)
        assert [item.href for item in collections.items(calendar, [Href("é"), Href("9"), Href("x")])] == ["9", "é"]

    @pytest.mark.parametrize(
        ("component", "start", "end", "expected"),
        [
            pytest.param(None, None, None, "abcdefg", id="all"),
            pytest.param("VEVENT", None, None, "abcdef", id="component"),
            pytest.param(None, 100, 200, "abcdg", id="window"),
            pytest.param(None, 150, 151, "abcg", id="inside"),
            pytest.param(None, 201, None, "bcef", id="from"),
            pytest.param(None, None, 100, "acg", id="until, end is excluded"),
            pytest.param("VTODO", 100, 200, "g", id="component and window"),
            pytest.param(None, 500, 600, "bcf", id="between"),
        ],
    )
    def test_overlapping(
        self,
        collections: Collections,
        calendar: CollectionId,
        component: str | None,
        start: int | None,
        end: int | None,
        expected: str,
    ) -> None:
        bounds: dict[str, tuple[int | None, int | None]] = {
            "a": (0, 199),
            "b": (100, None),
            "c": (None, None),
            "d": (199, 200),
            "e": (200, 300),
            "f": (450, 550),
            "g": (None, 150),
        }
        for href, (first, last) in bounds.items():
            facts = event(None, first, last, "VTODO" if href == "g" else "VEVENT")
            collections.put_item(calendar, Href(href), DATA, facts)
        found = collections.overlapping(calendar, component, start, end)
        assert "".join(item.href for item in found) == expected

    # -- many at once

    def test_items_with_their_bytes(self, collections: Collections, calendar: CollectionId) -> None:
        puts = {}
        for href, data in {"b": DATA, "a": b"", "é": b"x" * 300_000, "c": b"y" * 40_000}.items():
            puts[href] = (collections.put_item(calendar, Href(href), data, event(href)).item, data)
        collections.set_item_properties(calendar, Href("b"), {"{x}p": "1"})
        puts["b"] = (collections.read_item(calendar, Href("b"))[0], DATA)
        assert list(collections.read_items(calendar)) == [puts[href] for href in sorted(puts)]
        some = [Href("é"), Href("none"), Href("a"), Href("é"), Href("\ud800")]
        assert list(collections.read_items(calendar, some)) == [puts["a"], puts["é"]]
        assert list(collections.read_items(calendar, [])) == []
        with pytest.raises(NotFound):
            list(collections.read_items(NOWHERE))

    def test_many_items_come_in_batches(self, collections: Collections, calendar: CollectionId) -> None:
        with ThreadPoolExecutor(8) as pool:  # many share a flush
            list(pool.map(lambda n: collections.put_item(calendar, Href(f"{n:04}"), b"%d" % n, event(None)), range(501)))
        assert [data for _, data in collections.read_items(calendar)] == [b"%d" % n for n in range(501)]
        hrefs = [Href(f"{n:04}") for n in range(600)]
        assert [item.href for item, _ in collections.read_items(calendar, hrefs)] == hrefs[:501]
        assert [item.href for item in collections.items(calendar)] == hrefs[:501]

    def test_what_changes_while_many_are_read(self, collections: Collections, calendar: CollectionId) -> None:
        for href in "abc":
            collections.put_item(calendar, Href(href), DATA, event(href))
        reading = collections.read_items(calendar)
        first = next(reading)
        collections.put_item(calendar, Href("b"), b"new", event("b"))
        collections.delete_item(calendar, Href("c"))
        assert [(item.href, data) for item, data in [first, *reading]] == [("a", DATA), ("b", b"new")]

    # -- dead properties of items

    def test_item_properties_are_set_and_removed_together(self, collections: Collections, calendar: CollectionId) -> None:
        put = collections.put_item(calendar, Href("a"), DATA, event("1", 5, 6))
        assert put.item.properties == {}
        before = (collections.find(CALENDAR, "calendar"), collections.collection_changes(None))
        item = collections.set_item_properties(calendar, Href("a"), {"{x}a": "<b>é</b>", "{x}b": "", "{x}none": None})
        assert item == put.item._replace(properties={"{x}a": "<b>é</b>", "{x}b": ""})
        assert collections.read_item(calendar, Href("a")) == (item, DATA)
        assert list(collections.items(calendar)) == [item]
        assert list(collections.changes(calendar, None).changed) == [item]
        # Neither ETag nor any token tells of it.
        assert (collections.find(CALENDAR, "calendar"), collections.collection_changes(None)) == before
        assert collections.set_item_properties(calendar, Href("a"), {"{x}a": None, "{x}b": None}) == put.item
        with pytest.raises(NotFound):
            collections.set_item_properties(calendar, Href("none"), {"{x}a": "1"})
        with pytest.raises(NotFound):
            collections.set_item_properties(NOWHERE, Href("a"), {"{x}a": "1"})

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({f"{{x}}{number}": "" for number in range(200)}, id="many"),
            pytest.param({"{x}long": "x" * 100_000}, id="long"),
            pytest.param({f"{{x}}{number}": "x" * 60_000 for number in range(5)}, id="long together"),
        ],
    )
    def test_item_properties_have_limits(
        self, collections: Collections, calendar: CollectionId, changes: dict[str, str | None]
    ) -> None:
        collections.put_item(calendar, Href("a"), DATA, event("1"))
        item = collections.set_item_properties(calendar, Href("a"), {"{x}a": "1"})
        with pytest.raises(Forbidden):
            collections.set_item_properties(calendar, Href("a"), changes)
        assert collections.read_item(calendar, Href("a")) == (item, DATA)

    @pytest.mark.parametrize("move", [False, True])
    def test_item_properties_go_with_the_item(
        self, collections: Collections, calendar: CollectionId, other: CollectionId, move: bool
    ) -> None:
        collections.put_item(calendar, Href("a"), DATA, event("1"))
        collections.put_item(other, Href("b"), b"old", event("2"))
        collections.set_item_properties(calendar, Href("a"), {"{x}a": "\ud83d\x00"})
        collections.set_item_properties(other, Href("b"), {"{x}b": "2"})
        assert collections.put_item(calendar, Href("a"), b"new", event("1")).item.properties == {"{x}a": "\ud83d\x00"}
        done = collections.copy_item(calendar, Href("a"), other, Href("b"), overwrite=True, move=move)
        assert done.item.properties == {"{x}a": "\ud83d\x00"}
        assert collections.read_item(other, Href("b")) == (done.item, b"new")
        collections.delete_item(other, Href("b"))
        assert collections.put_item(other, Href("b"), DATA, event("2")).item.properties == {}

    def test_item_properties_take_room(self, open_store: Callable[..., Store]) -> None:
        account = open_store().open_account(ANNE, KEYS[ANNE], quota=1_000)
        collections, calendar = account.collections, account.collections.find(CALENDAR, "calendar").id
        collections.put_item(calendar, Href("a"), b"x" * 500, event(None))
        with pytest.raises(OverQuota):
            collections.set_item_properties(calendar, Href("a"), {"{x}a": "x" * 600})
        assert account.quota().used == 500
        collections.set_item_properties(calendar, Href("a"), {"{x}a": "x" * 300})
        used = account.quota().used
        assert 800 < used < 850
        collections.put_item(calendar, Href("a"), b"x" * 400, event(None))
        assert account.quota().used == used - 100
        collections.copy_item(calendar, Href("a"), calendar, Href("b"), overwrite=False, move=True)
        assert account.quota().used == used - 100
        collections.delete_item(calendar, Href("b"))
        assert account.quota().used == 0
        account.close()

    # -- copy and move

    @pytest.mark.parametrize("move", [False, True])
    def test_copy_and_move(self, collections: Collections, calendar: CollectionId, other: CollectionId, move: bool) -> None:
        put = collections.put_item(calendar, Href("a"), DATA, event("1", 5, 6))
        before = collections.find(CALENDAR, "calendar").sync_token
        done = collections.copy_item(calendar, Href("a"), other, Href("b"), overwrite=False, move=move)
        assert done.created
        assert (done.item.etag, done.item.facts, done.item.href) == (put.item.etag, put.item.facts, "b")
        assert collections.read_item(other, Href("b")) == (done.item, DATA)
        assert [item.href for item in collections.items(calendar)] == ([] if move else ["a"])
        assert list(collections.changes(calendar, before).gone) == (["a"] if move else [])
        assert collections.find(CALENDAR, "other").sync_token == done.sync_token

    @pytest.mark.parametrize("move", [False, True])
    def test_a_copy_of_what_it_was(
        self, collections: Collections, calendar: CollectionId, other: CollectionId, move: bool
    ) -> None:
        """Only as the source was seen: RFC 9110 section 13.1.1."""
        seen = collections.put_item(calendar, Href("a"), DATA, event("1")).item.etag
        collections.put_item(calendar, Href("a"), DATA + b"changed", event("1"))
        with pytest.raises(Conflict):
            collections.copy_item(calendar, Href("a"), other, Href("b"), overwrite=True, move=move, if_match=seen)
        assert list(collections.items(other)) == []
        (now,) = collections.items(calendar)
        done = collections.copy_item(calendar, Href("a"), other, Href("b"), overwrite=True, move=move, if_match=now.etag)
        assert done.item.etag == now.etag

    def test_copy_over_an_item(self, collections: Collections, calendar: CollectionId, other: CollectionId) -> None:
        collections.put_item(calendar, Href("a"), DATA, event("1"))
        collections.put_item(other, Href("b"), b"old", event("2"))
        with pytest.raises(AlreadyExists):
            collections.copy_item(calendar, Href("a"), other, Href("b"), overwrite=False, move=False)
        assert collections.read_item(other, Href("b"))[1] == b"old"
        assert not collections.copy_item(calendar, Href("a"), other, Href("b"), overwrite=True, move=False).created
        assert collections.read_item(other, Href("b"))[1] == DATA

    def test_copies_that_are_not_made(self, collections: Collections, calendar: CollectionId, other: CollectionId) -> None:
        collections.put_item(calendar, Href("a"), DATA, event("1"))
        collections.put_item(other, Href("b"), DATA, event("1"))
        cases: list[tuple[CollectionId, str, CollectionId, str, type[Exception]]] = [
            (calendar, "none", other, "x", NotFound),
            (calendar, "a", NOWHERE, "x", NotFound),
            (NOWHERE, "a", other, "x", NotFound),
            (calendar, "a", other, "..", InvalidName),
            (calendar, "a", calendar, "a", Forbidden),
            (calendar, "a", other, "c", Conflict),  # its UID is b's there
            (calendar, "a", calendar, "c", Conflict),  # its UID is its own
        ]
        for source, href, target, new, error in cases:
            with pytest.raises(error):
                collections.copy_item(source, Href(href), target, Href(new), overwrite=True, move=False)
        assert [item.href for item in collections.items(calendar)] == ["a"]
        assert [item.href for item in collections.items(other)] == ["b"]

    def test_move_within_a_collection(self, account: Account, collections: Collections, calendar: CollectionId) -> None:
        collections.put_item(calendar, Href("a"), DATA, event("1"))
        collections.put_item(calendar, Href("b"), b"old", event("2"))
        before = collections.find(CALENDAR, "calendar").sync_token
        collections.copy_item(calendar, Href("a"), calendar, Href("b"), overwrite=True, move=True)
        changes = collections.changes(calendar, before, limit=1)
        assert ([item.href for item in changes.changed], list(changes.gone)) == (["b"], ["a"])
        assert not changes.truncated
        assert changes.sync_token == before + 1
        assert collections.read_item(calendar, Href("b"))[1] == DATA
        assert account.quota().used == len(DATA)

    # -- sync

    def test_the_token_rises_by_one_a_change(self, collections: Collections, calendar: CollectionId) -> None:
        start = collections.find(CALENDAR, "calendar").sync_token
        tokens = [
            collections.put_item(calendar, Href("a"), DATA, event("1")).sync_token,
            collections.put_item(calendar, Href("a"), DATA, event("1")).sync_token,
            collections.put_item(calendar, Href("b"), DATA, event("2")).sync_token,
            collections.delete_item(calendar, Href("a")),
        ]
        assert tokens == [start + 1, start + 2, start + 3, start + 4]

    def test_changes_since(self, collections: Collections, calendar: CollectionId) -> None:
        empty = collections.changes(calendar, None)
        assert (list(empty.changed), list(empty.gone), empty.truncated) == ([], [], False)
        first = collections.put_item(calendar, Href("a"), DATA, event("1"))
        collections.put_item(calendar, Href("b"), DATA, event("2"))
        middle = collections.find(CALENDAR, "calendar").sync_token
        collections.delete_item(calendar, Href("a"))
        third = collections.put_item(calendar, Href("c"), DATA, event("3"))
        collections.delete_item(calendar, Href("b"))
        again = collections.put_item(calendar, Href("b"), DATA, event("2"))
        changes = collections.changes(calendar, middle)
        assert list(changes.changed) == [third.item, again.item]
        assert list(changes.gone) == ["a"]
        assert changes.sync_token == again.sync_token
        assert list(collections.changes(calendar, SyncToken(first.sync_token - 1)).gone) == ["a"]
        everything = collections.changes(calendar, None)
        assert {item.href for item in everything.changed} == {"b", "c"}
        assert list(everything.gone) == []
        nothing = collections.changes(calendar, again.sync_token)
        assert (list(nothing.changed), list(nothing.gone), nothing.sync_token) == ([], [], again.sync_token)

    @pytest.mark.parametrize("since", [None, 1])
    def test_changes_in_pieces_miss_nothing(self, collections: Collections, calendar: CollectionId, since: int | None) -> None:
        for number in range(7):
            collections.put_item(calendar, Href(f"i{number}"), DATA, event(None))
        collections.delete_item(calendar, Href("i2"))
        seen: set[str] = set()
        token, rounds, truncated = None if since is None else SyncToken(since), 0, True
        while truncated:
            changes = collections.changes(calendar, token, limit=3)
            assert len(changes.changed) + len(changes.gone) <= 3
            seen |= {item.href for item in changes.changed}
            seen -= set(changes.gone)
            token, truncated, rounds = changes.sync_token, changes.truncated, rounds + 1
        assert seen == {"i0", "i1", "i3", "i4", "i5", "i6"}
        assert token == collections.find(CALENDAR, "calendar").sync_token
        assert rounds <= 3

    @pytest.mark.parametrize("token", [-1, 99_999, 1 << 62])
    def test_tokens_that_were_never_given(self, collections: Collections, calendar: CollectionId, token: int) -> None:
        with pytest.raises(InvalidSyncToken):
            collections.changes(calendar, SyncToken(token))

    def test_all_is_there_after_closing_and_opening(self, open_store: Callable[..., Store]) -> None:
        store = open_store()
        account = store.open_account(ANNE, KEYS[ANNE])
        info = account.collections.create(ADDRESSBOOK, "amis", {"{x}y": "z"})
        put = account.collections.put_item(info.id, Href("a"), DATA, event("1")._replace(text="Zoé"))
        account.close()
        account = store.open_account(ANNE, KEYS[ANNE])
        assert account.collections.find(ADDRESSBOOK, "amis") == replace(
            info, sync_token=put.sync_token, touched=account.collections.collection_changes(None).sync_token, items=1
        )
        assert account.collections.read_item(info.id, Href("a")) == (put.item, DATA)
        assert account.quota().used == len(DATA)
        account.close()

    def test_another_process_sees_what_was_committed(self, open_store: Callable[..., Store]) -> None:
        one = open_store().open_account(ANNE, KEYS[ANNE])
        two = open_store().open_account(ANNE, KEYS[ANNE])
        calendar = one.collections.find(CALENDAR, "calendar")
        assert two.collections.find(CALENDAR, "calendar") == calendar
        put = one.collections.put_item(calendar.id, Href("a"), DATA, event("1"))
        assert list(two.collections.changes(calendar.id, calendar.sync_token).changed) == [put.item]
        with pytest.raises(Conflict):
            two.collections.put_item(calendar.id, Href("b"), DATA, event("1"))
        two.collections.put_item(calendar.id, Href("a"), b"2", event("1"))
        assert one.collections.read_item(calendar.id, Href("a"))[1] == b"2"
        one.close()
        two.close()
