"""What calendar and contact clients really send, step by step, with calendars and address books as they are served.

The order of requests, the properties asked for, the headers and what must be in the answers are those of recordings and of the
clients' sources (iOS, macOS, DAVx5, Thunderbird, Outlook CalDav Synchronizer).
"""

from collections.abc import Iterator

import pytest

from dav_world import ANA, DAV, NAMESPACES, Answer, World, dav_world
from preau.caldav.plugin import Calendars
from preau.carddav.plugin import AddressBooks

PRINCIPAL = f"/dav/principals/{ANA}/"
CALENDARS = f"/dav/calendars/{ANA}/"
CALENDAR = f"{CALENDARS}calendar/"
BOOKS = f"/dav/addressbooks/{ANA}/"
BOOK = f"{BOOKS}contacts/"
C = "{urn:ietf:params:xml:ns:caldav}"
CR = "{urn:ietf:params:xml:ns:carddav}"
CS = "{http://calendarserver.org/ns/}"
A = "{http://apple.com/ns/ical/}"

APPLE = {
    "User-Agent": "iOS/18.1.1 (22B91) dataaccessd/1.0",
    "Brief": "t",
    "Prefer": "return=minimal",
    "Content-Type": "text/xml",
}
DAVX5 = {"User-Agent": "DAVx5/4.4.5-ose (2026/11/02; dav4jvm; okhttp/4.12.0) Android/15", "Content-Type": "application/xml"}


@pytest.fixture
def world() -> Iterator[World]:
    """Ana's calendars and address books."""
    with dav_world((Calendars(), AddressBooks())) as one:
        yield one


def event(uid: str, summary: str, *lines: str) -> str:
    return "\r\n".join(
        [
            *("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Apple Inc.//iOS 18.1.1//EN", "BEGIN:VEVENT"),
            *(f"UID:{uid}", "DTSTAMP:20261125T080000Z", "DTSTART;TZID=Europe/Paris:20261130T080000", "DURATION:PT1H"),
            *(f"SUMMARY:{summary}", *lines, "END:VEVENT", "END:VCALENDAR", ""),
        ]
    )


def card(uid: str, name: str, *lines: str, version: str = "3.0") -> str:
    return "\r\n".join(
        ["BEGIN:VCARD", f"VERSION:{version}", f"UID:{uid}", f"N:{name};;;;", f"FN:{name}", *lines, "END:VCARD", ""]
    )


def asked(world: World, method: str, path: str, body: str, headers: dict[str, str], depth: str = "0") -> Answer:
    return world.request(method, path, f'<?xml version="1.0" encoding="UTF-8"?>{body}', {**headers, "Depth": depth})


def names(*qualified: str) -> str:
    return "".join(f"<{name}/>" for name in qualified)


def propfind(*properties: str) -> str:
    return f"<D:propfind {NAMESPACES}><D:prop>{names(*properties)}</D:prop></D:propfind>"


def sync(world: World, path: str, token: str, headers: dict[str, str], limit: int = 0) -> tuple[Answer, str]:
    bound = f"<D:limit><D:nresults>{limit}</D:nresults></D:limit>" if limit else ""
    body = (
        f"<D:sync-collection {NAMESPACES}><D:sync-token>{token}</D:sync-token><D:sync-level>1</D:sync-level>{bound}"
        f"<D:prop><D:getetag/><D:getcontenttype/></D:prop></D:sync-collection>"
    )
    answer = asked(world, "REPORT", path, body, headers, depth="0")
    return answer, answer.xml.findtext(f"{DAV}sync-token", "") if answer.status == 207 else ""


def well_known(world: World, name: str) -> None:
    """The redirection that every client begins with, without credentials."""
    for method in ("PROPFIND", "GET", "OPTIONS", "HEAD"):
        answer = world.request(method, f"/.well-known/{name}", login=None)
        assert (answer.status, answer.headers["location"].endswith("/dav/")) == (301, True)


def challenged(world: World, path: str) -> None:
    answer = world.request("PROPFIND", path, propfind("D:current-user-principal"), {"Depth": "0"}, login=None)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")


def test_an_iphone_sets_up_its_calendars(world: World) -> None:
    well_known(world, "caldav")
    challenged(world, "/dav/")
    body = propfind("D:current-user-principal", "D:principal-URL", "D:resourcetype")
    found = asked(world, "PROPFIND", "/dav/", body, APPLE).properties("/dav/")
    assert found[f"{DAV}current-user-principal"].findtext(f"{DAV}href") == PRINCIPAL
    dav = world.request("OPTIONS", PRINCIPAL, headers=APPLE).headers["dav"].replace(" ", "").split(",")
    assert {"1", "3", "access-control", "calendar-access", "addressbook"} <= set(dav)
    assert not {"calendar-auto-schedule", "calendar-proxy", "2"} & set(dav)  # what is not there is not announced
    body = propfind(
        *("C:calendar-home-set", "C:calendar-user-address-set", "D:current-user-principal", "D:displayname"),
        *("CS:dropbox-home-URL", "CS:email-address-set", "C:max-attendees-per-instance", "CS:notification-URL"),
        *("D:principal-collection-set", "D:principal-URL", "D:resource-id", "C:schedule-inbox-URL", "C:schedule-outbox-URL"),
        "D:supported-report-set",
    )
    answer = asked(world, "PROPFIND", PRINCIPAL, body, APPLE)
    found = answer.properties(PRINCIPAL)
    assert found[f"{C}calendar-home-set"].findtext(f"{DAV}href") == CALENDARS
    assert f"mailto:{ANA}" in [one.text for one in found[f"{C}calendar-user-address-set"]]
    assert answer.properties(PRINCIPAL, 404) == {}  # Brief: what is not there is left out
    searched = asked(world, "REPORT", "/dav/principals/", f"<D:principal-search-property-set {NAMESPACES}/>", APPLE)
    assert searched.status == 200


HOME_PROPERTIES = (
    *("D:add-member", "CS:allowed-sharing-modes", "A:calendar-color", "A:calendar-order", "C:calendar-description"),
    *("C:calendar-timezone", "C:calendar-free-busy-set", "D:current-user-privilege-set", "D:displayname", "CS:getctag"),
    *("D:owner", "D:resourcetype", "C:schedule-calendar-transp", "C:schedule-default-calendar-URL", "CS:source"),
    *("CS:subscribed-strip-alarms", "CS:push-transports", "CS:pushkey", "CS:publish-url", "CS:invite"),
    *("C:supported-calendar-component-set", "D:supported-report-set", "D:sync-token", "D:quota-available-bytes"),
    *("D:quota-used-bytes", "CS:xmpp-server", "C:default-alarm-vevent-date", "D:resource-id"),
)


def test_an_iphone_looks_at_its_home_and_dresses_a_calendar(world: World) -> None:
    answer = asked(world, "PROPFIND", CALENDARS, propfind(*HOME_PROPERTIES), APPLE, depth="1")
    kinds = {href: answer.properties(href)[f"{DAV}resourcetype"] for href in answer.responses()}
    calendars = [href for href, kind in kinds.items() if kind.find(f"{C}calendar") is not None]
    assert CALENDAR in calendars
    found = answer.properties(CALENDAR)
    assert {f"{CS}getctag", f"{DAV}sync-token", f"{C}supported-calendar-component-set", f"{DAV}owner"} <= set(found)
    assert found[f"{DAV}current-user-privilege-set"].find(f"{DAV}privilege/{DAV}write") is not None
    # Tasks and events lie apart, or its app for tasks finds none.
    components = {
        href: [one.get("name") for one in answer.properties(href)[f"{C}supported-calendar-component-set"]] for href in calendars
    }
    assert ["VTODO"] in components.values()
    assert "VEVENT" in components[CALENDAR]
    body = (
        f"<D:propertyupdate {NAMESPACES}><D:set><D:prop>"
        '<A:calendar-color symbolic-color="red">#FF2968FF</A:calendar-color><A:calendar-order>3</A:calendar-order>'
        "<C:schedule-calendar-transp><C:transparent/></C:schedule-calendar-transp>"
        "<C:default-alarm-vevent-date>BEGIN:VALARM\nEND:VALARM</C:default-alarm-vevent-date>"
        "</D:prop></D:set></D:propertyupdate>"
    )
    patched = asked(world, "PROPPATCH", CALENDAR, body, APPLE)
    assert patched.status in (200, 207)
    assert " 403 " not in patched.text
    body = propfind("A:calendar-color", "A:calendar-order", "C:schedule-calendar-transp", "C:default-alarm-vevent-date")
    found = asked(world, "PROPFIND", CALENDAR, body, APPLE).properties(CALENDAR)
    assert found[f"{A}calendar-color"].text == "#FF2968FF"
    assert found[f"{A}calendar-order"].text == "3"
    assert found[f"{C}schedule-calendar-transp"].find(f"{C}transparent") is not None
    assert (found[f"{C}default-alarm-vevent-date"].text or "").startswith("BEGIN:VALARM")


def test_an_iphone_makes_a_calendar_and_keeps_it_the_same(world: World) -> None:
    made = f"{CALENDARS}6C6F0B1E-55F0-4F3D-9E53-5D6B7C8A9F00/"
    body = (
        f"<C:mkcalendar {NAMESPACES}><D:set><D:prop><D:displayname>Classe</D:displayname>"
        '<C:supported-calendar-component-set><C:comp name="VEVENT"/></C:supported-calendar-component-set>'
        "<A:calendar-color>#1BADF8FF</A:calendar-color><A:calendar-order>7</A:calendar-order>"
        "</D:prop></D:set></C:mkcalendar>"
    )
    assert asked(world, "MKCALENDAR", made, body, APPLE).status == 201
    put = world.request(
        "PUT",
        f"{made}E1.ics",
        event("E1", "Conseil", "X-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC", "X-WR-ALARMUID:9"),
        {**APPLE, "Content-Type": "text/calendar", "If-None-Match": "*"},
    )
    assert put.status == 201
    etag = put.headers["etag"]
    first, token = sync(world, made, "", APPLE)
    assert first.properties(f"{made}E1.ics")[f"{DAV}getetag"].text == etag
    body = (
        f"<C:calendar-multiget {NAMESPACES}><D:prop><D:getetag/><C:calendar-data/><C:schedule-tag/><CS:created-by/>"
        f"<CS:updated-by/></D:prop><D:href>{made}E1.ics</D:href></C:calendar-multiget>"
    )
    got = asked(world, "REPORT", made, body, APPLE, depth="1").properties(f"{made}E1.ics")
    data = got[f"{C}calendar-data"].text or ""
    assert "X-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC\r\nX-WR-ALARMUID:9\r\n" in data
    changed = world.request(
        "PUT",
        f"{made}E1.ics",
        event("E1", "Conseil de classe"),
        {**APPLE, "Content-Type": "text/calendar", "If-Match": etag},
    )
    assert (changed.status, changed.headers["etag"] != etag) == (204, True)
    late = world.request("PUT", f"{made}E1.ics", event("E1", "Trop tard"), {**APPLE, "If-Match": etag})
    assert late.status == 412
    delta, token = sync(world, made, token, APPLE)
    assert list(delta.responses()) == [f"{made}E1.ics"]
    assert world.request("DELETE", f"{made}E1.ics", headers={**APPLE, "If-Match": changed.headers["etag"]}).status == 204
    delta, token = sync(world, made, token, APPLE)
    assert delta.statuses() == {f"{made}E1.ics": "404"}
    nothing, again = sync(world, made, token, APPLE)
    assert (nothing.responses(), again) == ({}, token)


def test_a_mac_keeps_its_contacts(world: World) -> None:
    well_known(world, "carddav")
    body = propfind(
        *("CR:addressbook-home-set", "CR:directory-gateway", "D:displayname", "CS:email-address-set"),
        *("D:principal-collection-set", "D:principal-URL", "D:resource-id", "D:supported-report-set"),
    )
    found = asked(world, "PROPFIND", PRINCIPAL, body, APPLE).properties(PRINCIPAL)
    assert found[f"{CR}addressbook-home-set"].findtext(f"{DAV}href") == BOOKS
    assert f"{CR}directory-gateway" not in found
    body = propfind(
        *("D:add-member", "CS:me-card", "CR:max-image-size", "CR:max-resource-size", "D:displayname", "CS:getctag"),
        *("D:owner", "D:resourcetype", "D:supported-report-set", "D:sync-token", "D:current-user-privilege-set"),
    )
    answer = asked(world, "PROPFIND", BOOKS, body, APPLE, depth="1")
    books = [
        href
        for href in answer.responses()
        if answer.properties(href)[f"{DAV}resourcetype"].find(f"{CR}addressbook") is not None
    ]
    assert books[0] == BOOK  # the one that it uses
    lines = (
        "item1.EMAIL;type=INTERNET;type=pref:zoe@maison.example",
        "item1.X-ABLabel:_$!<Other>!$_",
        "PHOTO;X-ABCROP-RECTANGLE=ABClipRect_1&0&0&80&80&x==;ENCODING=b;TYPE=JPEG:/9j/4AAQ",
    )
    person, group = card("P1", "Zoé", *lines), card("G1", "Parents", "X-ADDRESSBOOKSERVER-KIND:group")
    group = group.replace("END:VCARD", "X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:P1\r\nEND:VCARD")
    headers = {**APPLE, "Content-Type": "text/vcard; charset=utf-8", "If-None-Match": "*"}
    for name, text in (("P1", person), ("G1", group)):
        assert world.request("PUT", f"{BOOK}{name}.vcf", text, headers).status == 201
    etags = asked(world, "PROPFIND", BOOK, propfind("D:getetag"), APPLE, depth="1")
    hrefs = sorted(href for href in etags.responses() if href != BOOK)
    wanted = "".join(f"<D:href>{href}</D:href>" for href in hrefs)
    body = f"<D:prop><D:getetag/><CR:address-data/></D:prop>{wanted}"
    body = f"<CR:addressbook-multiget {NAMESPACES}>{body}</CR:addressbook-multiget>"
    got = asked(world, "REPORT", BOOK, body, APPLE, depth="1")
    assert [got.properties(href)[f"{CR}address-data"].text for href in hrefs] == [group, person]


def test_davx5_finds_and_synchronises(world: World) -> None:
    body = propfind(
        *("D:resourcetype", "D:displayname", "D:current-user-principal", "D:current-user-privilege-set", "C:calendar-home-set"),
        *("C:supported-calendar-component-set", "A:calendar-color", "C:calendar-description", "C:calendar-timezone"),
    )
    typed = asked(world, "PROPFIND", "/", body, DAVX5)
    assert typed.properties("/")[f"{DAV}current-user-principal"].findtext(f"{DAV}href") == PRINCIPAL
    assert {"calendar-access", "addressbook"} <= set(
        world.request("OPTIONS", PRINCIPAL, headers=DAVX5).headers["dav"].replace(" ", "").split(",")
    )
    body = propfind(
        *("D:displayname", "D:group-membership", "D:resourcetype", "C:calendar-home-set"),
        *("CS:calendar-proxy-read-for", "CS:calendar-proxy-write-for"),
    )
    found = asked(world, "PROPFIND", PRINCIPAL, body, DAVX5).properties(PRINCIPAL)
    assert found[f"{DAV}resourcetype"].find(f"{DAV}principal") is not None
    body = propfind(
        *("D:current-user-privilege-set", "D:displayname", "D:owner", "D:resourcetype", "A:calendar-color"),
        *("C:calendar-description", "C:calendar-timezone", "C:calendar-timezone-id", "C:supported-calendar-component-set"),
        "CS:source",
    )
    assert CALENDAR in asked(world, "PROPFIND", CALENDARS, body, DAVX5, depth="1").responses()
    body = propfind("D:max-resource-size", "D:supported-report-set", "CS:getctag", "D:sync-token", "CR:supported-address-data")
    capable = asked(world, "PROPFIND", BOOK, body, DAVX5).properties(BOOK)
    reports = capable[f"{DAV}supported-report-set"]
    assert reports.find(f"{DAV}supported-report/{DAV}report/{DAV}sync-collection") is not None
    assert [one.get("version") for one in capable[f"{CR}supported-address-data"]] == ["3.0", "4.0"]
    headers = {**DAVX5, "Content-Type": "text/vcard; charset=utf-8; version=4.0", "If-None-Match": "*"}
    cards = {f"{BOOK}c{number}.vcf": card(f"c{number}", f"Nom {number}", version="4.0") for number in range(5)}
    for href, text in cards.items():
        assert world.request("PUT", href, text, headers).status == 201
    # Truncated answers are followed to their end.
    token, told = "", []
    for _ in range(10):
        answer, token = sync(world, BOOK, token, DAVX5, limit=2)
        told += [href for href in answer.responses() if href != BOOK]
        if answer.statuses().get(BOOK) != "507":
            break
    assert sorted(told) == sorted(cards)
    wanted = "".join(f"<D:href>{href}</D:href>" for href in cards)
    body = (
        f"<CR:addressbook-multiget {NAMESPACES}><D:prop><D:getcontenttype/><D:getetag/>"
        f'<CR:address-data content-type="text/vcard" version="4.0"/></D:prop>{wanted}</CR:addressbook-multiget>'
    )
    got = asked(world, "REPORT", BOOK, body, DAVX5)
    assert {href: got.properties(href)[f"{CR}address-data"].text for href in cards} == cards
    # A token of another life of the collection: it starts over.
    answer, _ = sync(world, BOOK, "data:,99.1", DAVX5)
    assert (answer.status, answer.condition()) == (403, f"{DAV}valid-sync-token")


def test_davx5_asks_for_what_is_to_come(world: World) -> None:
    assert world.request("PUT", f"{CALENDAR}1.ics", event("1", "Demain"), {"If-None-Match": "*"}).status == 201
    body = (
        f'<C:calendar-query {NAMESPACES}><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR">'
        '<C:comp-filter name="VEVENT"><C:time-range start="20260827T000000Z"/></C:comp-filter></C:comp-filter></C:filter>'
        "</C:calendar-query>"
    )
    assert list(asked(world, "REPORT", CALENDAR, body, DAVX5, depth="1").responses()) == [f"{CALENDAR}1.ics"]
    body = body.replace('start="20260827T000000Z"', 'start="20271127T000000Z"')
    assert asked(world, "REPORT", CALENDAR, body, DAVX5, depth="1").responses() == {}


THUNDERBIRD = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Thunderbird/153.0"}


def test_thunderbird_looks_around(world: World) -> None:
    for name in ("carddav", "caldav"):
        well_known(world, name)
    # Is it an .ics file? No, and nothing is written there.
    assert world.request("PUT", "/", "x", THUNDERBIRD, login=None).status == 401
    assert world.request("PUT", "/", "x", THUNDERBIRD).status in (403, 405)
    assert world.request("GET", "/", headers=THUNDERBIRD).status in (200, 301, 302)
    body = propfind(
        *("D:resourcetype", "D:owner", "D:current-user-principal", "D:current-user-privilege-set", "D:supported-report-set"),
        *("C:supported-calendar-component-set", "CS:getctag"),
    )
    found = asked(world, "PROPFIND", CALENDAR, body, {**THUNDERBIRD, "Content-Type": "text/xml; charset=utf-8"})
    assert found.properties(CALENDAR)[f"{DAV}owner"].findtext(f"{DAV}href") == PRINCIPAL
    dav = world.request("OPTIONS", CALENDARS, headers=THUNDERBIRD).headers["dav"]
    assert "schedule" not in dav  # it mails invitations itself
    # It sends Depth: 1 with sync-collection, which RFC 6578 has at 0.
    body = (
        f"<D:sync-collection {NAMESPACES}><D:sync-token/><D:sync-level>1</D:sync-level><D:prop><D:getcontenttype/>"
        "<D:getetag/></D:prop></D:sync-collection>"
    )
    assert asked(world, "REPORT", CALENDAR, body, THUNDERBIRD, depth="1").status == 207


def test_outlook_with_caldav_synchronizer(world: World) -> None:
    agent = {"User-Agent": "CalDavSynchronizer/4.4", "Content-Type": "application/xml; charset=UTF-8"}
    options = world.request("OPTIONS", CALENDAR, headers=agent)
    assert "calendar-access" in options.headers["dav"]
    assert {"PROPFIND", "REPORT", "PUT", "DELETE"} <= set(options.headers["allow"].replace(" ", "").split(","))
    put = world.request("PUT", f"{CALENDAR}a b'c.ics".replace(" ", "%20"), event("1", "x"), {"If-None-Match": "*"})
    assert put.status == 201
    body = (
        f'<C:calendar-query {NAMESPACES}><D:prop><D:getetag/></D:prop><C:filter><C:comp-filter name="VCALENDAR">'
        '<C:comp-filter name="VEVENT"><C:time-range start="20261101T000000Z" end="20261231T000000Z"/></C:comp-filter>'
        "</C:comp-filter></C:filter></C:calendar-query>"
    )
    (href,) = asked(world, "REPORT", CALENDAR, body, agent, depth="1").responses()
    assert world.request("GET", href).text == event("1", "x")
    assert world.request("PUT", f"{BOOK}1.vcf", card("1", "Zoé"), {"If-None-Match": "*"}).status == 201
    contacts = asked(world, "PROPFIND", BOOK, propfind("D:getetag", "D:getcontenttype"), agent, depth="1")
    assert (contacts.properties(f"{BOOK}1.vcf")[f"{DAV}getcontenttype"].text or "").startswith("text/vcard")
