"""What a calendar is, what may be stored in it, and what hostile writers send (RFC 4791 sections 4.1, 5.2, 5.3)."""

import pytest

from dav_world import ANA, DAV, NAMESPACES, Answer, World

HOME = f"/dav/calendars/{ANA}/"
CALENDAR = f"{HOME}calendar/"
C = "{urn:ietf:params:xml:ns:caldav}"
A = "{http://apple.com/ns/ical/}"


def wrap(*components: str, head: str = "VERSION:2.0\r\nPRODID:-//t//FR\r\n") -> str:
    return f"BEGIN:VCALENDAR\r\n{head}{''.join(components)}END:VCALENDAR\r\n"


def event(uid: str = "1", *lines: str, kind: str = "VEVENT") -> str:
    told = [f"BEGIN:{kind}", f"UID:{uid}", "DTSTAMP:20261101T080000Z", "DTSTART:20261201T080000Z", *lines, f"END:{kind}", ""]
    return "\r\n".join(told)


def put(world: World, body: str | bytes, name: str = "x.ics", content_type: str = "text/calendar") -> Answer:
    return world.request("PUT", f"{CALENDAR}{name}", body, {"Content-Type": content_type} if content_type else {})


OVERRIDE = "RECURRENCE-ID:20261208T080000Z"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(wrap(event()), "text/calendar; charset=utf-8", id="an event"),
        pytest.param(wrap(event()), "", id="without a type"),
        pytest.param(wrap(event()), "TEXT/CALENDAR;component=VEVENT", id="a type in capitals"),
        pytest.param(wrap(event("1", OVERRIDE)), "text/calendar", id="an override without its series"),
        pytest.param(
            wrap(event("1", "RRULE:FREQ=WEEKLY"), event("1", OVERRIDE)), "text/calendar", id="a series with an override"
        ),
        pytest.param(wrap(event()).replace("\r\n", "\n"), "text/calendar", id="LF alone"),
        pytest.param(wrap(event("1", "DTSTART;TZID=Nowhere/Land:20261201T080000")), "text/calendar", id="an unknown zone"),
        pytest.param(
            wrap(event()).replace("DTSTART:20261201T080000Z", "DTSTART;TZID=Romance Standard Time:20261201T080000"),
            "text/calendar",
            id="a zone as Windows names it",
        ),
        pytest.param(wrap(event("1", "X-FOO;X-BAR=1:baz", "SUMMARY:" + "é" * 5_000)), "text/calendar", id="what nobody knows"),
        pytest.param(wrap(event("1", "RRULE:FREQ=SECONDLY")), "text/calendar", id="every second, for ever"),
    ],
)
def test_what_is_stored_comes_back_byte_for_byte(world: World, body: str, content_type: str) -> None:
    answer = put(world, body, content_type=content_type)
    assert answer.status == 201, answer.text
    got = world.request("GET", f"{CALENDAR}x.ics")
    assert (got.body, got.headers["etag"]) == (body.encode(), answer.headers["etag"])
    assert got.headers["content-type"].startswith("text/calendar")


@pytest.mark.parametrize(
    ("body", "content_type", "condition"),
    [
        pytest.param("hello", "text/calendar", "valid-calendar-data", id="text"),
        pytest.param("", "text/calendar", "valid-calendar-data", id="nothing"),
        pytest.param(wrap(event()).encode().replace(b"x", b"\xff") + b"\0", "text/calendar", "valid-calendar-data", id="NUL"),
        pytest.param(wrap(event())[:-20], "text/calendar", "valid-calendar-data", id="cut off"),
        pytest.param(wrap(event()) * 2, "text/calendar", "valid-calendar-data", id="two calendars"),
        pytest.param(wrap(), "text/calendar", "valid-calendar-object-resource", id="no component"),
        pytest.param(
            wrap(event(), head="VERSION:2.0\r\nMETHOD:REQUEST\r\n"),
            "text/calendar",
            "valid-calendar-object-resource",
            id="METHOD",
        ),
        pytest.param(wrap(event("1"), event("2")), "text/calendar", "valid-calendar-object-resource", id="two UIDs"),
        pytest.param(
            wrap(event("1"), event("1", kind="VTODO")), "text/calendar", "valid-calendar-object-resource", id="two kinds"
        ),
        pytest.param(wrap(event("1"), event("1")), "text/calendar", "valid-calendar-object-resource", id="twice the same"),
        pytest.param(wrap(event().replace("UID:1\r\n", "")), "text/calendar", "valid-calendar-object-resource", id="no UID"),
        pytest.param(wrap(event()), "text/html", "supported-calendar-data", id="another type"),
        pytest.param(
            wrap(event("1", *[f"ATTENDEE:mailto:p{number}@e.example" for number in range(5_001)])),
            "text/calendar",
            "max-attendees-per-instance",
            id="too many attendees",
        ),
        pytest.param(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + "BEGIN:VEVENT\r\n" * 10_000,
            "text/calendar",
            "valid-calendar-data",
            id="depth",
        ),
        pytest.param(wrap(event() * 30_000), "text/calendar", "valid-calendar-data", id="30,000 components"),
        pytest.param(wrap(event("1", "X:1\r\n" * 250_000)), "text/calendar", "valid-calendar-data", id="lines"),
    ],
)
def test_what_is_no_calendar_object(world: World, body: str | bytes, content_type: str, condition: str) -> None:
    answer = put(world, body, content_type=content_type)
    assert (answer.status, answer.condition()) == (403, f"{C}{condition}"), answer.text
    assert world.request("GET", f"{CALENDAR}x.ics").status == 404


def test_a_hundred_megabytes_are_refused_unread(world: World) -> None:
    answer = world.request("PUT", f"{CALENDAR}x.ics", headers={"Content-Length": str(100 * 1_048_576)})
    assert answer.status == 413
    pieces = [b"x" * 1_048_576] * 12
    assert world.request("PUT", f"{CALENDAR}x.ics", pieces=pieces).status == 413


def test_a_uid_stays_with_its_href_and_lies_once(world: World) -> None:
    assert put(world, wrap(event("1")), "a.ics").status == 201
    again = put(world, wrap(event("1")), "b.ics")
    assert (again.status, again.condition()) == (403, f"{C}no-uid-conflict")
    assert again.xml.findtext(f"{C}no-uid-conflict/{DAV}href") == f"{CALENDAR}a.ics"
    other = put(world, wrap(event("2")), "a.ics")
    assert (other.status, other.condition()) == (403, f"{C}no-uid-conflict")
    # In another calendar it may lie too.
    assert world.request("MKCALENDAR", f"{HOME}other/").status == 201
    assert world.request("PUT", f"{HOME}other/b.ics", wrap(event("1"))).status == 201


def make(world: World, name: str, properties: str) -> Answer:
    body = f"<C:mkcalendar {NAMESPACES}><D:set><D:prop>{properties}</D:prop></D:set></C:mkcalendar>" if properties else ""
    return world.request("MKCALENDAR", f"{HOME}{name}/", body)


def properties_of(world: World, path: str, *names: str) -> dict[str, str]:
    asked = "".join(f"<{name}/>" for name in names)
    body = f"<D:propfind {NAMESPACES}><D:prop>{asked}</D:prop></D:propfind>"
    found = world.request("PROPFIND", path, body, {"Depth": "0"}).properties(path)
    return {name: one.text or "" for name, one in found.items()}


def test_a_calendar_is_made_with_its_properties(world: World) -> None:
    zone = wrap("BEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\nEND:VTIMEZONE\r\n")
    answer = make(
        world,
        "classe",
        "<D:displayname>Classe</D:displayname><C:calendar-description xml:lang='fr'>La 6e B</C:calendar-description>"
        '<C:supported-calendar-component-set><C:comp name="VEVENT"/></C:supported-calendar-component-set>'
        "<A:calendar-color>#FF0000FF</A:calendar-color><C:calendar-timezone-id>Europe/Paris</C:calendar-timezone-id>",
    )
    assert answer.status == 201, (answer.text, zone)
    path = f"{HOME}classe/"
    names = ("D:displayname", "C:calendar-description", "A:calendar-color", "C:calendar-timezone-id")
    assert properties_of(world, path, *names) == {
        f"{DAV}displayname": "Classe",
        f"{C}calendar-description": "La 6e B",
        f"{A}calendar-color": "#FF0000FF",
        f"{C}calendar-timezone-id": "Europe/Paris",
    }
    todo = world.request("PUT", f"{path}t.ics", wrap(event(kind="VTODO")))
    assert (todo.status, todo.condition()) == (403, f"{C}supported-calendar-component")
    # What it takes is settled once it is there.
    body = (
        f"<D:propertyupdate {NAMESPACES}><D:set><D:prop><C:supported-calendar-component-set>"
        '<C:comp name="VTODO"/></C:supported-calendar-component-set></D:prop></D:set></D:propertyupdate>'
    )
    patched = world.request("PROPPATCH", path, body)
    assert f"{C}supported-calendar-component-set" in patched.properties(path, 403)


@pytest.mark.parametrize(
    ("properties", "name", "condition"),
    [
        ("<C:calendar-timezone>nonsense</C:calendar-timezone>", "calendar-timezone", "valid-calendar-data"),
        ("<C:calendar-timezone-id>Mars/Base</C:calendar-timezone-id>", "calendar-timezone-id", "valid-timezone"),
        (
            '<C:supported-calendar-component-set><C:comp name="VNOTHING"/></C:supported-calendar-component-set>',
            "supported-calendar-component-set",
            "supported-calendar-component",
        ),
        ("<C:max-resource-size>1</C:max-resource-size>", "max-resource-size", ""),
        ("<C:calendar-description><D:x/></C:calendar-description>", "calendar-description", ""),
    ],
)
def test_properties_that_no_calendar_has(world: World, properties: str, name: str, condition: str) -> None:
    """Not a part of it is made: RFC 4791 section 5.3.1."""
    answer = make(world, "x", f"<D:displayname>X</D:displayname>{properties}")
    assert list(answer.properties(f"{HOME}x/", 403)) == [f"{C}{name}"]
    assert list(answer.properties(f"{HOME}x/", 424)) == [f"{DAV}displayname"]
    if condition:
        assert answer.xml.find(f".//{DAV}error/{C}{condition}") is not None
    assert world.request("PROPFIND", f"{HOME}x/", headers={"Depth": "0"}).status == 404


def test_where_no_calendar_can_be_made(world: World) -> None:
    there = make(world, "calendar", "")
    assert (there.status, there.condition()) == (405, f"{DAV}resource-must-be-null")
    inside = world.request("MKCALENDAR", f"{CALENDAR}sub/")
    assert (inside.status, inside.condition()) == (403, f"{C}calendar-collection-location-ok")
    assert world.request("MKCALENDAR", f"/dav/addressbooks/{ANA}/x/").status == 403
    assert world.request("MKCALENDAR", f"{HOME}a/b/").status == 409
    assert world.request("MKCALENDAR", f"{HOME}x/", "<D:mkcol xmlns:D='DAV:'/>").status == 400


def test_what_a_calendar_says_of_itself(world: World) -> None:
    asked = (
        *("C:supported-calendar-data", "C:max-resource-size", "C:min-date-time", "C:max-date-time"),
        *("C:max-attendees-per-instance", "C:supported-collation-set", "C:supported-calendar-component-set"),
    )
    body = f"<D:propfind {NAMESPACES}><D:prop>{''.join(f'<{name}/>' for name in asked)}</D:prop></D:propfind>"
    found = world.request("PROPFIND", CALENDAR, body, {"Depth": "0"}).properties(CALENDAR)
    assert len(found) == len(asked)
    assert [one.text for one in found[f"{C}supported-collation-set"]] == ["i;ascii-casemap", "i;octet", "i;unicode-casemap"]
    # None of them comes unasked (RFC 4791 section 5.2).
    everything = f"<D:propfind {NAMESPACES}><D:allprop/></D:propfind>"
    whole = world.request("PROPFIND", CALENDAR, everything, {"Depth": "0"}).properties(CALENDAR)
    assert not [name for name in whole if name.startswith(C)]
    assert "calendar-access" in world.request("OPTIONS", CALENDAR).headers["dav"]
    assert "MKCALENDAR" in world.request("OPTIONS", f"{HOME}new/").headers["allow"]


QUERY = (
    "<C:calendar-query {names}><D:prop>{prop}</D:prop><C:filter><C:comp-filter name='VCALENDAR'>"
    "<C:comp-filter name='VEVENT'><C:time-range start='{start}' end='{end}'/></C:comp-filter></C:comp-filter></C:filter>"
    "</C:calendar-query>"
)


def test_every_second_for_ever_is_answered_without_a_walk(world: World) -> None:
    """From the year 1 on: bounds and a filter are worked out, not counted; an expansion of a year is told to be too much."""
    bomb = event("b", "RRULE:FREQ=SECONDLY", "DURATION:PT1S").replace("20261201T080000Z", "00010101T000000Z")
    assert put(world, wrap(bomb)).status == 201
    plain = QUERY.format(names=NAMESPACES, prop="<D:getetag/>", start="20260101T000000Z", end="20270101T000000Z")
    assert list(world.request("REPORT", CALENDAR, plain, {"Depth": "1"}).responses()) == [f"{CALENDAR}x.ics"]
    expand = '<C:calendar-data><C:expand start="20260101T000000Z" end="20270101T000000Z"/></C:calendar-data>'
    asked = QUERY.format(names=NAMESPACES, prop=expand, start="20260101T000000Z", end="20270101T000000Z")
    answer = world.request("REPORT", CALENDAR, asked, {"Depth": "1"})
    assert "number-of-matches-within-limits" in answer.text
    assert len(answer.body) < 10_000


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=SECONDLY;BYYEARDAY=366;BYSECOND=59;INTERVAL=7",
        "FREQ=YEARLY;BYDAY=" + ",".join(f"{number}MO" for number in range(1, 54)),
        "FREQ=DAILY;COUNT=999999999",
        "FREQ=DAILY;INTERVAL=99999999999999999999",
        "FREQ=NEVER",
        "FREQ=WEEKLY;UNTIL=99999999",
    ],
)
def test_rules_that_bite(world: World, rule: str) -> None:
    """Stored or refused with its condition, and asked for without harm."""
    answer = put(world, wrap(event("1", f"RRULE:{rule}")))
    assert answer.status == 201 or (answer.status, answer.condition()) == (403, f"{C}valid-calendar-data")
    asked = QUERY.format(
        names=NAMESPACES, prop="<D:getetag/><C:calendar-data/>", start="20300101T000000Z", end="20300201T000000Z"
    )
    assert world.request("REPORT", CALENDAR, asked, {"Depth": "1"}).status == 207


def test_a_report_that_nests_too_deep(world: World) -> None:
    inner = "<C:comp-filter name='VEVENT'>" * 80 + "</C:comp-filter>" * 80
    body = (
        f"<C:calendar-query {NAMESPACES}><D:prop/><C:filter><C:comp-filter name='VCALENDAR'>{inner}</C:comp-filter></C:filter>"
        "</C:calendar-query>"
    )
    assert world.request("REPORT", CALENDAR, body, {"Depth": "1"}).status in (400, 403)
