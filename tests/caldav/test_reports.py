"""The reports of calendars, with the data and the examples of RFC 4791 (appendix B, sections 7.8 to 7.10)."""

import pytest

from dav_world import ANA, DAV, NAMESPACES, Answer, World

HOME = f"/dav/calendars/{ANA}/"
CALENDAR = f"{HOME}calendar/"
ALL = f"{HOME}all/"
C = "{urn:ietf:params:xml:ns:caldav}"
DATA = f"{C}calendar-data"

ZONE = """BEGIN:VTIMEZONE
LAST-MODIFIED:20040110T032845Z
TZID:US/Eastern
BEGIN:DAYLIGHT
DTSTART:20000404T020000
RRULE:FREQ=YEARLY;BYDAY=1SU;BYMONTH=4
TZNAME:EDT
TZOFFSETFROM:-0500
TZOFFSETTO:-0400
END:DAYLIGHT
BEGIN:STANDARD
DTSTART:20001026T020000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZNAME:EST
TZOFFSETFROM:-0400
TZOFFSETTO:-0500
END:STANDARD
END:VTIMEZONE
"""
OBJECTS = {
    "abcd1.ics": ZONE
    + """BEGIN:VEVENT
DTSTAMP:20060206T001102Z
DTSTART;TZID=US/Eastern:20060102T100000
DURATION:PT1H
SUMMARY:Event #1
DESCRIPTION:Go Steelers!
UID:74855313FA803DA593CD579A@example.com
END:VEVENT
""",
    "abcd2.ics": ZONE
    + """BEGIN:VEVENT
DTSTAMP:20060206T001121Z
DTSTART;TZID=US/Eastern:20060102T120000
DURATION:PT1H
RRULE:FREQ=DAILY;COUNT=5
SUMMARY:Event #2
UID:00959BC664CA650E933C892C@example.com
END:VEVENT
BEGIN:VEVENT
DTSTAMP:20060206T001121Z
DTSTART;TZID=US/Eastern:20060104T140000
DURATION:PT1H
RECURRENCE-ID;TZID=US/Eastern:20060104T120000
SUMMARY:Event #2 bis
UID:00959BC664CA650E933C892C@example.com
END:VEVENT
BEGIN:VEVENT
DTSTAMP:20060206T001121Z
DTSTART;TZID=US/Eastern:20060106T140000
DURATION:PT1H
RECURRENCE-ID;TZID=US/Eastern:20060106T120000
SUMMARY:Event #2 bis bis
UID:00959BC664CA650E933C892C@example.com
END:VEVENT
""",
    "abcd3.ics": ZONE
    + """BEGIN:VEVENT
ATTENDEE;PARTSTAT=ACCEPTED;ROLE=CHAIR:mailto:cyrus@example.com
ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:lisa@example.com
DTSTAMP:20060206T001220Z
DTSTART;TZID=US/Eastern:20060104T100000
DURATION:PT1H
LAST-MODIFIED:20060206T001330Z
ORGANIZER:mailto:cyrus@example.com
SEQUENCE:1
STATUS:TENTATIVE
SUMMARY:Event #3
UID:DC6C50A017428C5216A2F1CD@example.com
X-ABC-GUID:E1CX5Dr-0007ym-Hz@example.com
END:VEVENT
""",
    "abcd4.ics": """BEGIN:VTODO
DTSTAMP:20060205T235335Z
DUE;VALUE=DATE:20060104
STATUS:NEEDS-ACTION
SUMMARY:Task #1
UID:DDDEEB7915FA61233B861457@example.com
BEGIN:VALARM
ACTION:AUDIO
TRIGGER;RELATED=START:-PT10M
END:VALARM
END:VTODO
""",
    "abcd5.ics": """BEGIN:VTODO
DTSTAMP:20060205T235300Z
DUE;VALUE=DATE:20060106
LAST-MODIFIED:20060205T235308Z
SEQUENCE:1
STATUS:NEEDS-ACTION
SUMMARY:Task #2
UID:E10BA47467C5C69BB74E8720@example.com
BEGIN:VALARM
ACTION:AUDIO
TRIGGER;VALUE=DATE-TIME:20060106T100000Z
END:VALARM
END:VTODO
""",
    "abcd6.ics": """BEGIN:VTODO
COMPLETED:20051223T122322Z
DTSTAMP:20060205T235400Z
DUE;VALUE=DATE:20051225
LAST-MODIFIED:20060205T235308Z
SEQUENCE:1
STATUS:COMPLETED
SUMMARY:Task #3
UID:E10BA47467C5C69BB74E8722@example.com
END:VTODO
""",
    "abcd7.ics": """BEGIN:VTODO
COMPLETED:20051223T122322Z
DTSTAMP:20060205T235600Z
DUE;VALUE=DATE:20060101
STATUS:CANCELLED
SUMMARY:Task #4
UID:E10BA47467C5C69BB74E8725@example.com
END:VTODO
""",
    "abcd8.ics": """BEGIN:VFREEBUSY
ORGANIZER;CN="Bernard Desruisseaux":mailto:bernard@example.com
UID:76ef34-54a3d2@example.com
DTSTAMP:20050530T123421Z
DTSTART:20060101T000000Z
DTEND:20060108T000000Z
FREEBUSY:20050531T230000Z/20050601T010000Z
FREEBUSY;FBTYPE=BUSY-TENTATIVE:20060102T100000Z/20060102T120000Z
FREEBUSY:20060103T100000Z/20060103T120000Z
FREEBUSY:20060104T100000Z/20060104T120000Z
FREEBUSY;FBTYPE=BUSY-UNAVAILABLE:20060105T100000Z/20060105T120000Z
FREEBUSY:20060106T100000Z/20060106T120000Z
END:VFREEBUSY
""",
}


def wrap(text: str) -> str:
    return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\n" + text.replace("\n", "\r\n") + "END:VCALENDAR\r\n"


@pytest.fixture
def bernard(world: World) -> World:
    """A calendar of all kinds with the objects of appendix B."""
    names = "".join(f'<C:comp name="{name}"/>' for name in ("VEVENT", "VTODO", "VFREEBUSY"))
    body = (
        f"<C:mkcalendar {NAMESPACES}><D:set><D:prop><C:supported-calendar-component-set>{names}"
        "</C:supported-calendar-component-set></D:prop></D:set></C:mkcalendar>"
    )
    assert world.request("MKCALENDAR", ALL, body).status == 201
    for name, text in OBJECTS.items():
        answer = world.request("PUT", f"{ALL}{name}", wrap(text), {"Content-Type": "text/calendar"})
        assert answer.status == 201, answer.text
    return world


def query(world: World, inner: str, data: str = "", *, path: str = ALL, depth: str = "1", more: str = "") -> Answer:
    body = (
        f"<C:calendar-query {NAMESPACES}><D:prop><D:getetag/>{data}</D:prop><C:filter><C:comp-filter name='VCALENDAR'>{inner}"
        f"</C:comp-filter></C:filter>{more}</C:calendar-query>"
    )
    return world.report(path, body, depth)


def found(answer: Answer) -> list[str]:
    return sorted(href.rpartition("/")[2].partition(".")[0][-1] for href in answer.responses())


def comp(name: str, inner: str = "") -> str:
    return f"<C:comp-filter name='{name}'>{inner}</C:comp-filter>"


def between(start: str = "", end: str = "") -> str:
    return f"<C:time-range{f' start={start!r}' if start else ''}{f' end={end!r}' if end else ''}/>"


def prop(name: str, inner: str) -> str:
    return f"<C:prop-filter name='{name}'>{inner}</C:prop-filter>"


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        pytest.param(comp("VEVENT", between("20060104T000000Z", "20060105T000000Z")), "23", id="7.8.1 events of a day"),
        pytest.param(comp("VTODO", comp("VALARM", between("20060106T100000Z", "20060107T100000Z"))), "5", id="7.8.5 alarms"),
        pytest.param(
            comp(
                "VEVENT", prop("UID", "<C:text-match collation='i;octet'>DC6C50A017428C5216A2F1CD@example.com</C:text-match>")
            ),
            "3",
            id="7.8.6 a UID",
        ),
        pytest.param(
            comp(
                "VEVENT",
                prop(
                    "ATTENDEE",
                    "<C:text-match>mailto:lisa@example.com</C:text-match><C:param-filter name='PARTSTAT'>"
                    "<C:text-match>NEEDS-ACTION</C:text-match></C:param-filter>",
                ),
            ),
            "3",
            id="7.8.7 an attendee's answer",
        ),
        pytest.param(comp("VEVENT"), "123", id="7.8.8 all events"),
        pytest.param(
            comp(
                "VTODO",
                prop("COMPLETED", "<C:is-not-defined/>")
                + prop("STATUS", "<C:text-match negate-condition='yes'>CANCELLED</C:text-match>"),
            ),
            "45",
            id="7.8.9 tasks to do",
        ),
        pytest.param(comp("VEVENT", prop("X-ABC-GUID", "<C:text-match>abc</C:text-match>")), "", id="7.8.10 none"),
        pytest.param(comp("VEVENT", prop("X-ABC-GUID", "<C:is-not-defined/>")), "12", id="not defined"),
        pytest.param(comp("VEVENT", "<C:is-not-defined/>"), "45678", id="no event"),
        pytest.param(comp("VFREEBUSY", between("20060103T000000Z", "20060104T000000Z")), "8", id="free-busy"),
        pytest.param(comp("VFREEBUSY", between("20060109T000000Z", "20060110T000000Z")), "", id="free-busy elsewhere"),
        pytest.param(comp("VEVENT", between(start="20060106T000000Z")), "2", id="open end"),
        pytest.param(comp("VEVENT", between(end="20060102T160000Z")), "1", id="open start"),
        pytest.param(comp("VEVENT", between("19000101T000000Z", "19010101T000000Z")), "", id="ancient"),
        pytest.param(comp("VEVENT", between("00010101T000000Z", "99991231T235959Z")), "123", id="everything"),
        pytest.param(comp("VTODO", between("20060106T000000Z", "20060107T000000Z")), "", id="a due day ends before it"),
        pytest.param(comp("VTODO", between("20060105T000000Z", "20060106T000000Z")), "5", id="tasks by due day"),
        pytest.param(comp("VEVENT", prop("SUMMARY", "<C:text-match>event #2 BIS</C:text-match>")), "2", id="in an override"),
        pytest.param(
            comp("VEVENT", prop("SUMMARY", "<C:text-match collation='i;octet'>event</C:text-match>")), "", id="octets"
        ),
        pytest.param(
            comp(
                "VEVENT", prop("SUMMARY", "<C:text-match>bis</C:text-match>") + between("20060103T000000Z", "20060104T000000Z")
            ),
            "",
            id="another instance's text",
        ),
        pytest.param(
            comp(
                "VEVENT", prop("SUMMARY", "<C:text-match>bis</C:text-match>") + between("20060104T000000Z", "20060105T000000Z")
            ),
            "2",
            id="this instance's text",
        ),
        pytest.param(comp("VEVENT", prop("LAST-MODIFIED", between("20060206T000000Z", "20060207T000000Z"))), "3", id="a time"),
        pytest.param(comp("VTODO", prop("DUE", between("20051201T000000Z", "20060101T000000Z"))), "6", id="a day"),
        pytest.param(comp("VTODO", comp("VALARM", "<C:is-not-defined/>")), "67", id="without alarm"),
        pytest.param(comp("VTIMEZONE"), "123", id="time zones"),
        pytest.param(prop("VERSION", "<C:text-match>2.0</C:text-match>"), "12345678", id="of the calendar itself"),
        pytest.param("", "12345678", id="nothing asked"),
        pytest.param(comp("VEVENT", comp("VALARM", between("20060101T000000Z", "20070101T000000Z"))), "", id="no alarm rings"),
    ],
)
def test_filters(bernard: World, inner: str, expected: str) -> None:
    assert found(query(bernard, inner)) == list(expected)


@pytest.mark.parametrize(
    ("collation", "text", "hit"),
    [
        ("i;unicode-casemap", "RÉUNION", True),
        ("i;unicode-casemap", "re\u0301union", True),
        ("i;unicode-casemap", "reunion", False),
        ("i;ascii-casemap", "RéUNION", True),
        ("i;ascii-casemap", "RÉUNION", False),
        ("i;octet", "Réunion", True),
        ("default", "réunion", True),
    ],
)
def test_collations(world: World, collation: str, text: str, hit: bool) -> None:
    event = "BEGIN:VEVENT\nUID:u\nDTSTAMP:20260101T000000Z\nDTSTART:20260101T000000Z\nSUMMARY:Réunion\\, salle 12\nEND:VEVENT\n"
    assert world.request("PUT", f"{CALENDAR}1.ics", wrap(event)).status == 201
    match = f"<C:text-match collation='{collation}'>{text}</C:text-match>"
    answer = query(world, comp("VEVENT", prop("SUMMARY", match)), path=CALENDAR)
    assert found(answer) == (["1"] if hit else [])
    assert found(query(world, comp("VEVENT", prop("SUMMARY", "<C:text-match>n, salle</C:text-match>")), path=CALENDAR)) == ["1"]


@pytest.mark.parametrize(
    ("inner", "condition"),
    [
        pytest.param(comp("VEVENT", between()), "valid-filter", id="a range open on both sides"),
        pytest.param(comp("VEVENT", between("20060104T000000Z", "20060104T000000Z")), "valid-filter", id="an empty range"),
        pytest.param(comp("VEVENT", between("20060104T000000", "20060105T000000")), "valid-filter", id="not UTC"),
        pytest.param(comp("VEVENT", between("nonsense")), "valid-filter", id="no time"),
        pytest.param(comp(""), "valid-filter", id="no name"),
        pytest.param(comp("VCALENDAR"), "valid-filter", id="a calendar in a calendar"),
        pytest.param(
            comp("VEVENT", "<C:is-not-defined/>" + between("20060104T000000Z")), "valid-filter", id="not defined, and"
        ),
        pytest.param(comp("VTIMEZONE", between("20060104T000000Z")), "supported-filter", id="a range of a zone"),
        pytest.param(comp("VEVENT") * 200, "supported-filter", id="too many"),
        pytest.param(
            comp("VEVENT", prop("SUMMARY", "<C:text-match collation='i;klingon'>x</C:text-match>")),
            "supported-collation",
            id="collation",
        ),
        pytest.param(
            comp("VEVENT", prop("SUMMARY", f"<C:text-match>{'x' * 2_000}</C:text-match>")), "supported-filter", id="a long text"
        ),
    ],
)
def test_filters_that_are_none(world: World, inner: str, condition: str) -> None:
    answer = query(world, inner, path=CALENDAR)
    assert (answer.status, answer.condition()) == (403, f"{C}{condition}")


def test_a_query_without_a_filter(world: World) -> None:
    assert (
        world.report(CALENDAR, f"<C:calendar-query {NAMESPACES}><D:prop/></C:calendar-query>", "1").condition()
        == f"{C}valid-filter"
    )


def test_depth(bernard: World) -> None:
    assert found(query(bernard, comp("VEVENT"), depth="0")) == []
    assert found(query(bernard, comp("VEVENT"), path=HOME, depth="1")) == []
    assert found(query(bernard, comp("VEVENT"), path=HOME, depth="infinity")) == ["1", "2", "3"]
    assert found(query(bernard, comp("VEVENT"), path=f"{ALL}abcd1.ics", depth="0")) == ["1"]
    assert found(query(bernard, comp("VTODO"), path=f"{ALL}abcd1.ics", depth="0")) == []


def data_of(answer: Answer, name: str) -> str:
    text = answer.properties(f"{ALL}{name}")[DATA].text
    assert text is not None
    return text


def test_data_come_back_byte_for_byte(bernard: World) -> None:
    answer = query(bernard, comp("VEVENT"), "<C:calendar-data/>")
    for name in ("abcd1.ics", "abcd2.ics", "abcd3.ics"):
        assert data_of(answer, name) == wrap(OBJECTS[name])


def test_partial_data(bernard: World) -> None:
    """Section 7.8.1."""
    asked = (
        "<C:calendar-data><C:comp name='VCALENDAR'><C:prop name='VERSION'/><C:comp name='VEVENT'><C:prop name='SUMMARY'/>"
        "<C:prop name='UID'/><C:prop name='DTSTART' novalue='yes'/></C:comp><C:comp name='VTIMEZONE'/></C:comp>"
        "</C:calendar-data>"
    )
    text = data_of(query(bernard, comp("VEVENT", between("20060104T000000Z", "20060105T000000Z")), asked), "abcd3.ics")
    assert text == (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"
        + ZONE.replace("\n", "\r\n")
        + "BEGIN:VEVENT\r\nDTSTART;TZID=US/Eastern:\r\nSUMMARY:Event #3\r\nUID:DC6C50A017428C5216A2F1CD@example.com\r\n"
        "END:VEVENT\r\nEND:VCALENDAR\r\n"
    )


def test_expanded_data(bernard: World) -> None:
    """Section 7.8.3."""
    asked = "<C:calendar-data><C:expand start='20060103T000000Z' end='20060105T000000Z'/></C:calendar-data>"
    text = data_of(query(bernard, comp("VEVENT", between("20060103T000000Z", "20060105T000000Z")), asked), "abcd2.ics")
    assert "VTIMEZONE" not in text
    assert "RRULE" not in text
    for line in (
        "DTSTART:20060103T170000Z",
        "RECURRENCE-ID:20060103T170000Z",
        "DTSTART:20060104T190000Z",
        "RECURRENCE-ID:20060104T170000Z",
    ):
        assert f"{line}\r\n" in text
    assert text.count("BEGIN:VEVENT") == 2


def test_limited_recurrence_sets(bernard: World) -> None:
    """Section 7.8.2."""
    asked = "<C:calendar-data><C:limit-recurrence-set start='20060103T000000Z' end='20060105T000000Z'/></C:calendar-data>"
    text = data_of(query(bernard, comp("VEVENT", between("20060103T000000Z", "20060105T000000Z")), asked), "abcd2.ics")
    assert "RRULE:FREQ=DAILY;COUNT=5" in text
    assert "Event #2 bis\r\n" in text
    assert "bis bis" not in text


def test_limited_free_busy(bernard: World) -> None:
    """Section 7.8.4."""
    asked = "<C:calendar-data><C:limit-freebusy-set start='20060102T000000Z' end='20060103T000000Z'/></C:calendar-data>"
    text = data_of(query(bernard, comp("VFREEBUSY", between("20060102T000000Z", "20060103T000000Z")), asked), "abcd8.ics")
    assert text.count("\r\nFREEBUSY") == 1
    assert "FREEBUSY;FBTYPE=BUSY-TENTATIVE:20060102T100000Z/20060102T120000Z" in text


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("<C:calendar-data content-type='application/calendar+json'/>", 403),
        ("<C:calendar-data version='3.0'/>", 403),
        ("<C:calendar-data><C:expand start='20060103T000000Z'/></C:calendar-data>", 400),
        ("<C:calendar-data><C:expand start='20060105T000000Z' end='20060103T000000Z'/></C:calendar-data>", 403),
        (
            "<C:calendar-data><C:expand start='20060103T000000Z' end='20060105T000000Z'/>"
            "<C:limit-recurrence-set start='20060103T000000Z' end='20060105T000000Z'/></C:calendar-data>",
            400,
        ),
    ],
)
def test_data_that_cannot_be_told(bernard: World, asked: str, status: int) -> None:
    assert query(bernard, comp("VEVENT"), asked).status == status


def test_multiget(bernard: World) -> None:
    body = (
        f"<C:calendar-multiget {NAMESPACES}><D:prop><D:getetag/><C:calendar-data/></D:prop>"
        f"<D:href>{ALL}abcd1.ics</D:href><D:href>{ALL}mtg1.ics</D:href></C:calendar-multiget>"
    )
    answer = bernard.report(ALL, body)
    assert answer.statuses() == {f"{ALL}abcd1.ics": "", f"{ALL}mtg1.ics": "404"}
    assert data_of(answer, "abcd1.ics") == wrap(OBJECTS["abcd1.ics"])


def free_busy(world: World, start: str, end: str, path: str = ALL, depth: str = "1") -> Answer:
    body = f"<C:free-busy-query {NAMESPACES}><C:time-range start='{start}' end='{end}'/></C:free-busy-query>"
    return world.report(path, body, depth)


def test_free_busy(bernard: World) -> None:
    """Section 7.10.1, with all of appendix B in the calendar."""
    answer = free_busy(bernard, "20060104T140000Z", "20060105T220000Z")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/calendar; charset=utf-8")
    lines = [line for line in answer.text.split("\r\n") if line.startswith("FREEBUSY")]
    assert lines == [
        "FREEBUSY;FBTYPE=BUSY-TENTATIVE:20060104T150000Z/20060104T160000Z",
        "FREEBUSY:20060104T190000Z/20060104T200000Z",
        "FREEBUSY;FBTYPE=BUSY-UNAVAILABLE:20060105T100000Z/20060105T120000Z",
        "FREEBUSY:20060105T170000Z/20060105T180000Z",
    ]
    assert "Event" not in answer.text
    assert free_busy(bernard, "20060104T140000Z", "20060105T220000Z", HOME, "infinity").text.count("FREEBUSY") == 2 + len(lines)


def test_what_makes_nobody_busy(world: World) -> None:
    for number, line in enumerate(("TRANSP:TRANSPARENT", "STATUS:CANCELLED", "TRANSP:OPAQUE")):
        event = f"BEGIN:VEVENT\nUID:{number}\nDTSTAMP:20260101T000000Z\nDTSTART:2026010{number + 1}T100000Z\n"
        event += f"DURATION:PT1H\n{line}\nEND:VEVENT\n"
        assert world.request("PUT", f"{CALENDAR}{number}.ics", wrap(event)).status == 201
    answer = free_busy(world, "20260101T000000Z", "20260110T000000Z", CALENDAR)
    assert [line for line in answer.text.split("\r\n") if line.startswith("FREEBUSY")] == [
        "FREEBUSY:20260103T100000Z/20260103T110000Z"
    ]


@pytest.mark.parametrize(("start", "end", "status"), [("20060101T000000Z", "20260101T000000Z", 403), ("x", "y", 403)])
def test_free_busy_that_is_none(world: World, start: str, end: str, status: int) -> None:
    assert free_busy(world, start, end, CALENDAR).status == status


def test_floating_and_all_day_are_in_the_zone_that_is_asked(world: World) -> None:
    day = "BEGIN:VEVENT\nUID:d\nDTSTAMP:20260101T000000Z\nDTSTART;VALUE=DATE:20260105\nEND:VEVENT\n"
    assert world.request("PUT", f"{CALENDAR}1.ics", wrap(day)).status == 201
    span = comp("VEVENT", between("20260104T220000Z", "20260104T230000Z"))
    assert found(query(world, span, path=CALENDAR)) == []
    assert found(query(world, span, path=CALENDAR, more="<C:timezone-id>Asia/Tokyo</C:timezone-id>")) == ["1"]
    zone = wrap(ZONE.replace("US/Eastern", "Asia/Tokyo"))
    assert found(query(world, span, path=CALENDAR, more=f"<C:timezone>{zone}</C:timezone>")) == ["1"]
    assert query(world, span, path=CALENDAR, more="<C:timezone>x</C:timezone>").condition() == f"{C}valid-calendar-data"
    assert (
        query(world, span, path=CALENDAR, more="<C:timezone-id>Mars/Base</C:timezone-id>").condition() == f"{C}valid-timezone"
    )
    body = f"<D:set><D:prop><C:calendar-timezone>{zone}</C:calendar-timezone></D:prop></D:set>"
    body = f"<D:propertyupdate {NAMESPACES}>{body}</D:propertyupdate>"
    assert world.request("PROPPATCH", CALENDAR, body).status == 207
    assert found(query(world, span, path=CALENDAR)) == ["1"]


def test_a_bomb_ends(world: World) -> None:
    bomb = "BEGIN:VEVENT\nUID:b\nDTSTAMP:20260101T000000Z\nDTSTART:19700101T000000Z\nRRULE:FREQ=SECONDLY\nEND:VEVENT\n"
    assert world.request("PUT", f"{CALENDAR}1.ics", wrap(bomb)).status == 201
    assert found(query(world, comp("VEVENT", between("20260101T000000Z", "20260102T000000Z")), path=CALENDAR)) == ["1"]
    asked = "<C:calendar-data><C:expand start='20260101T000000Z' end='20270101T000000Z'/></C:calendar-data>"
    answer = query(world, comp("VEVENT"), asked, path=CALENDAR)
    assert (answer.status, answer.condition()) == (403, f"{DAV}number-of-matches-within-limits")
    assert free_busy(world, "20260101T000000Z", "20270101T000000Z", CALENDAR).status == 403


def test_the_same_question_again_has_the_answer_of_now(world: World) -> None:
    """What was answered is remembered: for those octets, that question and that zone."""
    series = "BEGIN:VEVENT\nUID:{0}\nDTSTAMP:20260101T000000Z\nDTSTART{1}\nRRULE:FREQ=DAILY;COUNT=9\nSUMMARY:{2}\nEND:VEVENT\n"
    for name, start, summary in (("a", ":20260105T100000Z", "un"), ("b", ";VALUE=DATE:20260105", "deux")):
        assert world.request("PUT", f"{CALENDAR}{name}.ics", wrap(series.format(name, start, summary))).status == 201
    span = comp("VEVENT", between("20260106T000000Z", "20260107T000000Z"))
    expand = "<C:calendar-data><C:expand start='20260106T000000Z' end='20260107T000000Z'/></C:calendar-data>"
    later = comp("VEVENT", between("20260201T000000Z", "20260202T000000Z"))
    for _ in range(3):
        first = query(world, span, expand, path=CALENDAR)
        assert (found(first), first.text.count("BEGIN:VEVENT")) == (["a", "b"], 2)
        assert found(query(world, later, expand, path=CALENDAR)) == []
        plain = query(world, span, "<C:calendar-data/>", path=CALENDAR)
        assert "RRULE" in data_at(plain, CALENDAR, "a.ics")
    assert world.request("PUT", f"{CALENDAR}a.ics", wrap(series.format("a", ":20260105T110000Z", "change"))).status == 204
    changed = query(world, span, expand, path=CALENDAR)
    assert "SUMMARY:change" in data_at(changed, CALENDAR, "a.ics")
    assert "DTSTART:20260106T110000Z" in data_at(changed, CALENDAR, "a.ics")
    assert world.request("DELETE", f"{CALENDAR}a.ics").status == 204
    assert found(query(world, span, expand, path=CALENDAR)) == ["b"]
    # Days begin earlier where the calendar is said to lie in Tokyo: the series is over before that hour of its last day.
    last = comp("VEVENT", between("20260113T160000Z", "20260113T170000Z"))
    assert found(query(world, last, path=CALENDAR)) == ["b"]
    body = "<D:set><D:prop><C:calendar-timezone-id>Asia/Tokyo</C:calendar-timezone-id></D:prop></D:set>"
    assert world.request("PROPPATCH", CALENDAR, f"<D:propertyupdate {NAMESPACES}>{body}</D:propertyupdate>").status == 207
    assert found(query(world, last, path=CALENDAR)) == []


def data_at(answer: Answer, path: str, name: str) -> str:
    return answer.properties(path + name)[DATA].text or ""
