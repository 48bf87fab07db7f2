"""sync-collection, multiget, expand-property and the reports on principals."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from dav_world import ANA, DAV, NAMESPACES, Answer, World
from preau.storage.api import CollectionId, Collections, Href, Item, Unavailable

HOME = f"/dav/calendars/{ANA}/"
CALENDAR = f"{HOME}calendar/"
PRINCIPAL = f"/dav/principals/{ANA}/"


def sync(world: World, path: str, token: str = "", limit: int | None = None, level: str = "1") -> Answer:
    limited = "" if limit is None else f"<D:limit><D:nresults>{limit}</D:nresults></D:limit>"
    return world.report(
        path,
        f"<D:sync-collection {NAMESPACES}><D:sync-token>{token}</D:sync-token><D:sync-level>{level}</D:sync-level>"
        f"{limited}<D:prop><D:getetag/></D:prop></D:sync-collection>",
    )


def token_of(answer: Answer) -> str:
    return answer.xml.findtext(f"{DAV}sync-token", "")


def put(world: World, name: str, text: str = "") -> None:
    assert world.request("PUT", f"{CALENDAR}{name}", f"uid-{name}\n{text}").status in (201, 204)


def test_sync_tells_what_changed(world: World) -> None:
    put(world, "a")
    put(world, "b")
    first = sync(world, CALENDAR)
    assert set(first.statuses()) == {f"{CALENDAR}a", f"{CALENDAR}b"}
    token = token_of(first)
    assert token == world.propfind(CALENDAR, "<D:sync-token/>").properties(CALENDAR)[f"{DAV}sync-token"].text
    assert sync(world, CALENDAR, token).statuses() == {}
    put(world, "b", "changed")
    put(world, "c")
    world.request("DELETE", f"{CALENDAR}a")
    second = sync(world, CALENDAR, token)
    assert second.statuses() == {f"{CALENDAR}a": "404", f"{CALENDAR}b": "", f"{CALENDAR}c": ""}
    assert sync(world, CALENDAR, token_of(second)).statuses() == {}


def test_sync_with_a_limit_ends_at_the_same_truth(world: World) -> None:
    for name in "abcdefg":
        put(world, name)
    seen: set[str] = set()
    token = ""
    for _ in range(10):
        answer = sync(world, CALENDAR, token, limit=3)
        token = token_of(answer)
        statuses = answer.statuses()
        truncated = statuses.pop(CALENDAR, "")
        assert len(statuses) <= 3
        seen |= set(statuses)
        if not truncated:
            break
        assert truncated == "507"
    assert seen == {f"{CALENDAR}{name}" for name in "abcdefg"}


@pytest.mark.parametrize(
    "token", ["x", "data:,1.1", "data:,4294967297.99999", "data:,calendars.1", "http://example.com/ns/sync/1"]
)
def test_tokens_of_another_life(world: World, token: str) -> None:
    answer = sync(world, CALENDAR, token)
    assert (answer.status, answer.condition()) == (403, f"{DAV}valid-sync-token")


def test_a_collection_made_anew_has_tokens_of_its_own(world: World) -> None:
    put(world, "a")
    token = token_of(sync(world, CALENDAR))
    world.request("DELETE", CALENDAR)
    kind = "<D:resourcetype><D:collection/><C:calendar/></D:resourcetype>"
    body = f"<D:mkcol {NAMESPACES}><D:set><D:prop>{kind}</D:prop></D:set></D:mkcol>"
    assert world.request("MKCOL", CALENDAR, body).status == 201
    assert sync(world, CALENDAR, token).condition() == f"{DAV}valid-sync-token"


def test_homes_tell_of_their_collections(world: World) -> None:
    token = token_of(sync(world, HOME))
    assert sync(world, HOME, token).statuses() == {}
    put(world, "a")
    assert set(sync(world, HOME, token).statuses()) == {CALENDAR}
    world.request("MKCOL", f"{HOME}plain/")
    world.request("DELETE", f"{HOME}tasks/")
    assert sync(world, HOME, token).statuses() == {CALENDAR: "", f"{HOME}plain/": "", f"{HOME}tasks/": "404"}
    assert sync(world, HOME, token, level="infinite").condition() == f"{DAV}sync-traversal-supported"
    page = sync(world, HOME, token, limit=1)
    assert page.statuses().pop(HOME) == "507"
    rest = sync(world, HOME, token_of(page))
    assert set(page.statuses()) | set(rest.statuses()) == {HOME, CALENDAR, f"{HOME}plain/", f"{HOME}tasks/"}


@pytest.mark.parametrize("limit", ["0", "-1", "x", "9999999999"])
def test_limits_that_are_none(world: World, limit: str) -> None:
    body = (
        f"<D:sync-collection {NAMESPACES}><D:sync-token/><D:sync-level>1</D:sync-level>"
        f"<D:limit><D:nresults>{limit}</D:nresults></D:limit><D:prop/></D:sync-collection>"
    )
    assert world.report(CALENDAR, body).status == 400


def multiget(world: World, path: str, hrefs: list[str]) -> Answer:
    named = "".join(f"<D:href>{href}</D:href>" for href in hrefs)
    return world.report(
        path, f"<C:calendar-multiget {NAMESPACES}><D:prop><D:getetag/><C:calendar-data/></D:prop>{named}</C:calendar-multiget>"
    )


@pytest.mark.parametrize("path", [CALENDAR, HOME])
def test_multiget(world: World, path: str) -> None:
    put(world, "a", "texte é <&>")
    put(world, "b")
    hrefs = [
        f"{CALENDAR}a",
        f"https://dav.ecole.example{CALENDAR}b",
        f"{CALENDAR}c",
        f"{HOME}tasks/x",
        "/dav/calendars/bob@ecole.example/calendar/a",
        "/etc/passwd",
        "nonsense",
    ]
    answer = multiget(world, path, hrefs)
    statuses = answer.statuses()
    assert [href for href, status in statuses.items() if not status] == [f"{CALENDAR}a", f"{CALENDAR}b"]
    assert all(status == "404" for href, status in statuses.items() if href not in (f"{CALENDAR}a", f"{CALENDAR}b"))
    assert len(statuses) == len(hrefs)
    data = answer.properties(f"{CALENDAR}a")["{urn:ietf:params:xml:ns:caldav}calendar-data"]
    assert data.text == "uid-a\ntexte é <&>"


def test_a_multiget_of_a_hundred_thousand(world: World) -> None:
    answer = multiget(world, CALENDAR, [f"{CALENDAR}{number}" for number in range(20_001)])
    assert (answer.status, answer.condition()) == (403, f"{DAV}number-of-matches-within-limits")


def test_reports_that_are_none(world: World) -> None:
    assert world.report(CALENDAR, "<x/>").condition() == f"{DAV}supported-report"
    assert world.report("/", f"<C:calendar-multiget {NAMESPACES}/>").condition() == f"{DAV}supported-report"
    assert world.report(CALENDAR, "").status == 400


def test_expand_property(world: World) -> None:
    body = (
        f'<D:expand-property {NAMESPACES}><D:property name="current-user-principal"><D:property name="displayname"/>'
        '<D:property name="calendar-home-set" namespace="urn:ietf:params:xml:ns:caldav"><D:property name="resourcetype"/>'
        "</D:property></D:property></D:expand-property>"
    )
    answer = world.report("/", body)
    assert [one.text for one in answer.xml.iter(f"{DAV}href")] == ["/", PRINCIPAL, HOME]
    deep = '<D:property name="current-user-principal">' * 30 + "</D:property>" * 30
    assert world.report("/", f"<D:expand-property {NAMESPACES}>{deep}</D:expand-property>").status == 403


@pytest.mark.parametrize(
    ("match", "found"), [("ana", True), ("ANA@ecole", True), ("bob", False), ("", True)], ids=["part", "case", "another", "any"]
)
def test_principal_property_search(world: World, match: str, found: bool) -> None:
    body = (
        f"<D:principal-property-search {NAMESPACES}><D:property-search><D:prop><CS:email-address-set/></D:prop>"
        f"<D:match>{match}</D:match></D:property-search><D:prop><D:displayname/></D:prop></D:principal-property-search>"
    )
    assert list(world.report("/dav/principals/", body).responses()) == ([PRINCIPAL] if found else [])


@pytest.mark.parametrize(
    ("how", "match", "found"),
    [
        *(("equals", "ana", False), ("equals", ANA, True), ("starts-with", "ana@", True), ("starts-with", "ecole", False)),
        *(("ends-with", ".example", True), ("ends-with", "ana", False), ("contains", "ecole", True)),
    ],
)
def test_how_a_principal_is_matched(world: World, how: str, match: str, found: bool) -> None:
    body = (
        f"<D:principal-property-search {NAMESPACES}><D:property-search><D:prop><CS:email-address-set/></D:prop>"
        f'<D:match match-type="{how}">{match}</D:match></D:property-search><D:prop/></D:principal-property-search>'
    )
    assert list(world.report("/dav/principals/", body).responses()) == ([PRINCIPAL] if found else [])


@pytest.mark.parametrize("path", [HOME, CALENDAR, PRINCIPAL])
def test_whom_an_acl_names(world: World, path: str) -> None:
    """RFC 3744 section 9.2."""
    body = f"<D:acl-principal-prop-set {NAMESPACES}><D:prop><D:displayname/></D:prop></D:acl-principal-prop-set>"
    assert list(world.report(path, body).responses()) == [PRINCIPAL]
    supported = world.propfind(path, "<D:supported-report-set/>").properties(path)[f"{DAV}supported-report-set"]
    assert supported.find(f"{DAV}supported-report/{DAV}report/{DAV}acl-principal-prop-set") is not None
    refused = world.report("/dav/", body)
    assert (refused.status, refused.condition()) == (403, f"{DAV}supported-report")


def test_a_search_without_conditions_finds_who_may_be_seen(world: World) -> None:
    """As python-caldav asks: no property-search, properties beside DAV:prop."""
    body = f"<D:principal-property-search {NAMESPACES}><D:prop/><C:calendar-home-set/><D:displayname/>"
    answer = world.request("REPORT", "/dav/", f"{body}</D:principal-property-search>")
    (href,) = answer.responses()
    assert href == f"/dav/principals/{ANA}/"
    assert set(answer.properties(href)) == {f"{DAV}displayname", "{urn:ietf:params:xml:ns:caldav}calendar-home-set"}


def test_what_may_be_searched(world: World) -> None:
    answer = world.report("/dav/principals/", f"<D:principal-search-property-set {NAMESPACES}/>")
    assert (answer.status, answer.xml.tag) == (200, f"{DAV}principal-search-property-set")


def test_principal_match(world: World) -> None:
    body = f"<D:principal-match {NAMESPACES}><D:self/><D:prop><D:displayname/></D:prop></D:principal-match>"
    assert list(world.report("/dav/principals/", body).responses()) == [PRINCIPAL]
    body = f"<D:principal-match {NAMESPACES}><D:principal-property><D:owner/></D:principal-property></D:principal-match>"
    assert CALENDAR in world.report(HOME, body).responses()


def test_one_damaged_item_does_not_keep_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world, "a")
    put(world, "b")
    with closing(world.account) as account:
        read = type(account.collections).read_item

        def broken(self: Collections, collection: CollectionId, href: Href) -> tuple[Item, bytes]:
            if href == "a":
                raise Unavailable("damaged")
            return read(self, collection, href)

        def broken_all(self: Collections, collection: CollectionId, hrefs: object = None) -> Iterator[tuple[Item, bytes]]:
            raise Unavailable("damaged")

        monkeypatch.setattr(type(account.collections), "read_item", broken)
        monkeypatch.setattr(type(account.collections), "read_items", broken_all)
        answer = multiget(world, CALENDAR, [f"{CALENDAR}a", f"{CALENDAR}b", f"{CALENDAR}c"])
        body = (
            f"<D:sync-collection {NAMESPACES}><D:sync-token/><D:sync-level>1</D:sync-level><D:prop><C:calendar-data/></D:prop>"
        )
        synced = world.report(CALENDAR, f"{body}</D:sync-collection>")
        listed = world.propfind(CALENDAR, "<C:calendar-data/>", "1")
    assert synced.statuses() == {f"{CALENDAR}a": "500", f"{CALENDAR}b": ""}
    assert listed.statuses() == {CALENDAR: "", f"{CALENDAR}a": "500", f"{CALENDAR}b": ""}
    assert answer.statuses() == {f"{CALENDAR}a": "500", f"{CALENDAR}b": "", f"{CALENDAR}c": "404"}
