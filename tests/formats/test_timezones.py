"""Time zones: names of every writer, VTIMEZONEs compared with zoneinfo at every change of clocks, and hostile ones."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.calendar_values import BEGINNING, DAY, END, utc_of, wall_of
from preau.formats.content_lines import Component, Line, parse_components
from preau.formats.recurrence_rules import Budget
from preau.formats.timezones import EmbeddedZone, Zones, embedded_zone, known_zone, read_calendar_timezone
from preau.formats.windows_zones import WINDOWS_ZONES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OF_ALL_KINDS = (
    "Europe/Paris",
    "Europe/Dublin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Caracas",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Africa/Casablanca",
    "Antarctica/Troll",
)


def seconds(moment: datetime) -> int:
    return (moment.replace(tzinfo=UTC, fold=0) - EPOCH) // timedelta(seconds=1)


def offset(zone: tzinfo, utc: int) -> int:
    found = (EPOCH + timedelta(seconds=utc)).astimezone(zone).utcoffset()
    assert found is not None
    return found // timedelta(seconds=1)


def changes(zone: tzinfo, first: int, last: int) -> Iterator[int]:
    """The moments at which the offset changes, found by halving weeks."""
    for begin in range(first, last, 7 * DAY):
        low, high = begin, begin + 7 * DAY
        if offset(zone, low) != offset(zone, high):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == offset(zone, low) else (low, middle)
            yield high


def told(value: int) -> str:
    sign, value = "-" if value < 0 else "+", abs(value)
    return f"{sign}{value // 3600:02}{value // 60 % 60:02}{value % 60:02}".removesuffix("00")


def listed(zone: tzinfo, first: int, last: int) -> Component:
    """A VTIMEZONE with an observance a change: DTSTART on the wall of before (RFC 5545 section 3.6.5)."""
    before = offset(zone, first)
    parts = [("STANDARD", first + before, before, before)]
    for change in changes(zone, first, last):
        after = offset(zone, change)
        parts.append(("DAYLIGHT" if after > before else "STANDARD", change + before, before, after))
        before = after
    lines = ["BEGIN:VTIMEZONE", "TZID:Mine"]
    for kind, wall, old, new in parts:
        start = (EPOCH + timedelta(seconds=wall)).strftime("%Y%m%dT%H%M%S")
        lines += [f"BEGIN:{kind}", f"DTSTART:{start}", f"TZOFFSETFROM:{told(old)}", f"TZOFFSETTO:{told(new)}", f"END:{kind}"]
    (found,) = parse_components("\r\n".join([*lines, "END:VTIMEZONE", ""]).encode())
    return found


def same_around_changes(ours: tzinfo, theirs: tzinfo, first: int, last: int) -> int:
    """Both directions agree near every change of clocks: what is skipped, what comes twice, either fold."""
    count = 0
    for change in changes(theirs, first, last):
        count += 1
        for away in (-2 * DAY, -7201, -3601, -3600, -1800, -1, 0, 1, 1799, 1800, 3599, 3600, 7200, 40 * DAY):
            utc = change + away
            moment = EPOCH + timedelta(seconds=utc)
            here, there = moment.astimezone(ours), moment.astimezone(theirs)
            assert (here.replace(tzinfo=None), here.fold) == (there.replace(tzinfo=None), there.fold), (theirs, moment)
            assert wall_of(utc, ours) == wall_of(utc, theirs)
            wall = utc + offset(theirs, change - 1)
            assert utc_of(wall, ours) == utc_of(wall, theirs), (theirs, moment)
            for fold in (0, 1):
                local = (EPOCH + timedelta(seconds=wall)).replace(tzinfo=None, fold=fold)
                assert local.replace(tzinfo=ours).utcoffset() == local.replace(tzinfo=theirs).utcoffset(), (theirs, local, fold)
    return count


@pytest.mark.parametrize("name", OF_ALL_KINDS)
def test_a_listed_definition_is_the_zone_that_it_lists(name: str) -> None:
    zone = ZoneInfo(name)
    first, last = seconds(datetime(2005, 1, 1, tzinfo=UTC)), seconds(datetime(2021, 1, 1, tzinfo=UTC))
    ours = embedded_zone(listed(zone, first, last))
    assert isinstance(ours, EmbeddedZone)
    found = same_around_changes(ours, zone, first + 3 * DAY, last - 60 * DAY)
    assert found > 0 or name == "Asia/Kathmandu"


def zone_of(*observances: str, more: str = "") -> Component:
    parts = "".join(
        f"BEGIN:{kind}\r\nDTSTART:{start}\r\nTZOFFSETFROM:{old}\r\nTZOFFSETTO:{new}\r\n{rest}END:{kind}\r\n"
        for kind, start, old, new, rest in (each.split("|") for each in observances)
    )
    (found,) = parse_components(f"BEGIN:VTIMEZONE\r\nTZID:Mine\r\n{more}{parts}END:VTIMEZONE\r\n".encode())
    return found


RULES = {
    "Europe/Paris": (
        "DAYLIGHT|19810329T020000|+0100|+0200|RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\n",
        "STANDARD|19961027T030000|+0200|+0100|RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\n",
    ),
    # The example of RFC 5545 section 3.6.5, with rules that end and rules that do not.
    "America/New_York": (
        "DAYLIGHT|19870405T020000|-0500|-0400|RRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU;UNTIL=20060402T070000Z\r\n",
        "STANDARD|19671029T020000|-0400|-0500|RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU;UNTIL=20061029T060000Z\r\n",
        "DAYLIGHT|20070311T020000|-0500|-0400|RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU\r\n",
        "STANDARD|20071104T020000|-0400|-0500|RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU\r\n",
    ),
    # Half an hour of summer, on the southern side of the year.
    "Australia/Lord_Howe": (
        "DAYLIGHT|20081005T020000|+1030|+1100|RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=1SU\r\n",
        "STANDARD|20080406T020000|+1100|+1030|RRULE:FREQ=YEARLY;BYMONTH=4;BYDAY=1SU\r\n",
    ),
    # Written with BYMONTHDAY, as some exporters do, and with winter as the one that is off (RFC 5545 knows no negative summer).
    "Pacific/Auckland": (
        "DAYLIGHT|20070930T020000|+1200|+1300|RRULE:FREQ=YEARLY;BYMONTH=9;BYMONTHDAY=24,25,26,27,28,29,30;BYDAY=SU\r\n",
        "STANDARD|20080406T030000|+1300|+1200|RRULE:FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=1,2,3,4,5,6,7;BYDAY=SU\r\n",
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_definition_by_rules_is_its_zone_and_does_not_end(name: str) -> None:
    ours = embedded_zone(zone_of(*RULES[name]))
    assert isinstance(ours, EmbeddedZone)
    first = seconds(datetime(2009 if name != "America/New_York" else 1988, 1, 1, tzinfo=UTC))
    assert same_around_changes(ours, ZoneInfo(name), first, seconds(datetime(2045, 1, 1, tzinfo=UTC))) > 70
    far = seconds(datetime(2600, 1, 1, tzinfo=UTC))
    assert same_around_changes(ours, ZoneInfo(name), far, far + 800 * DAY) >= 4


def test_before_its_first_observance_a_zone_has_the_offset_that_it_changed_from() -> None:
    ours = embedded_zone(zone_of(*RULES["Europe/Paris"]))
    assert ours is not None
    assert offset(ours, seconds(datetime(1900, 1, 1, tzinfo=UTC))) == 3600


def test_what_is_skipped_has_the_offset_of_before_and_what_is_told_twice_is_the_first() -> None:
    """RFC 5545 section 3.3.5."""
    for zone in (ZoneInfo("Europe/Paris"), embedded_zone(zone_of(*RULES["Europe/Paris"]))):
        assert zone is not None
        skipped = seconds(datetime(2026, 3, 29, 2, 30, tzinfo=UTC))
        assert wall_of(utc_of(skipped, zone), zone) == skipped + 3600
        twice = seconds(datetime(2026, 10, 25, 2, 30, tzinfo=UTC))
        assert utc_of(twice, zone) == twice - 7200


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("Europe/Paris", "Europe/Paris"),
        ("europe/paris", "Europe/Paris"),
        ('"Europe/Paris"', "Europe/Paris"),
        ("US/Eastern", "US/Eastern"),
        ("EST5EDT", "EST5EDT"),
        ("/mozilla.org/20050126_1/Europe/Paris", "Europe/Paris"),
        ("/citadel.org/20250101_1/America/Argentina/Salta", "America/Argentina/Salta"),
        ("/softwarestudio.org/Tzfile/America/Argentina/Salta", "America/Argentina/Salta"),
        ("/freeassociation.sourceforge.net/Europe/London", "Europe/London"),
        ("tzone://Microsoft/Utc", "Etc/UTC"),
        ("Romance Standard Time", "Europe/Paris"),
        ("romance standard time", "Europe/Paris"),
        ("W. Europe Daylight Time", "Europe/Berlin"),
        ("GMT Standard Time", "Europe/London"),
        ("Pacific Standard Time (Mexico)", "America/Tijuana"),
        ("posix/Europe/Paris", "Europe/Paris"),
        ("Etc/GMT+5", "Etc/GMT+5"),
    ],
)
def test_names_that_are_known(name: str, zone: str) -> None:
    assert known_zone(name) == ZoneInfo(zone)


@pytest.mark.parametrize("name", ["UTC", "GMT", "Z", "Etc/UTC", "utc", "Coordinated Universal Time"])
def test_names_of_utc_are_utc(name: str) -> None:
    assert known_zone(name) is UTC


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "/", "///", "Nowhere", "Factory", "localtime", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b"),
        *("x" * 300, "Europe/" * 20 + "Paris " * 30, "Customized Time Zone", "tzone://Microsoft/Custom"),
    ],
)
def test_names_that_nobody_knows(name: str) -> None:
    assert known_zone(name) is None


@pytest.mark.parametrize("name", sorted(WINDOWS_ZONES))
def test_every_windows_name_has_a_zone(name: str) -> None:
    assert known_zone(name) in (ZoneInfo(WINDOWS_ZONES[name]), UTC)


@pytest.mark.parametrize(
    ("tzid", "expected"),
    [
        ("(UTC+01:00) Brussels, Copenhagen, Madrid, Paris", ZoneInfo("Europe/Brussels")),
        ("(GMT+05:30) Chennai, Kolkata", ZoneInfo("Asia/Kolkata")),
        ("(UTC-05:00) Eastern Time (US & Canada)", timezone(timedelta(hours=-5))),
        ("(UTC+05:00) Paris", timezone(timedelta(hours=5))),
        ("GMT+0100", timezone(timedelta(hours=1))),
        ("UTC+2", timezone(timedelta(hours=2))),
        ("Paris", ZoneInfo("Europe/Paris")),
    ],
)
def test_names_that_can_be_guessed(tzid: str, expected: tzinfo) -> None:
    zones = Zones({}, UTC)
    assert (zones.resolve(tzid), zones.lost) == (expected, set())


def test_what_nobody_can_make_sense_of_is_the_calendars_zone() -> None:
    zones = Zones({"Void": Component("VTIMEZONE")}, ZoneInfo("Asia/Tokyo"))
    assert {zones.resolve(each) for each in (None, "", "Void", "UTC+25", "Nowhere")} == {ZoneInfo("Asia/Tokyo")}
    assert zones.lost == {"Void", "UTC+25", "Nowhere"}


def test_a_known_name_is_believed_before_its_definition_and_a_definition_before_a_guess() -> None:
    """Definitions of clients are cut short or old; RFC 7809 leaves them out for known names."""
    wrong = zone_of("STANDARD|19700101T000000|+0900|+0900|")
    zones = Zones({"Europe/Paris": wrong, "GMT+0100": wrong, "My zone": wrong})
    july = datetime(2026, 7, 1, tzinfo=UTC)
    assert [july.astimezone(zones.resolve(each)).hour for each in ("Europe/Paris", "GMT+0100", "My zone")] == [2, 9, 9]


@pytest.mark.parametrize("line", ["X-LIC-LOCATION:Europe/Paris", "TZID-ALIAS-OF:Europe/Paris"])
def test_a_definition_that_says_what_it_is_of(line: str) -> None:
    assert embedded_zone(zone_of("STANDARD|19700101T000000|+0900|+0900|", more=f"{line}\r\n")) == ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\nEND:VTIMEZONE\r\nEND:VCALENDAR", ZoneInfo("Europe/Paris")),
        ("BEGIN:VTIMEZONE\r\nTZID:Europe/Paris\r\nEND:VTIMEZONE", None),
        ("BEGIN:VCALENDAR\r\nEND:VCALENDAR", None),
        ("BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nEND:VTIMEZONE\r\nEND:VCALENDAR", None),
        ("BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nTZID:Nowhere\r\nEND:VTIMEZONE\r\nEND:VCALENDAR", None),
        ("", None),
        ("\ud800", None),
        ("BEGIN:X\r\n" * 9, None),
    ],
    ids=range(8),
)
def test_the_zone_of_a_calendar(text: str, expected: tzinfo | None) -> None:
    """CALDAV:calendar-timezone (RFC 4791 section 5.2.2)."""
    assert read_calendar_timezone(text) == expected


@pytest.mark.parametrize(
    "observances",
    [
        (),
        ("STANDARD|x|+0100|+0200|",),
        ("STANDARD|20260101T000000|+0100|25|",),
        ("STANDARD|20260101T000000|+0100|+9900|",),
        ("OTHER|20260101T000000|+0100|+0200|",),
    ],
    ids=range(5),
)
def test_a_void_definition_is_none(observances: tuple[str, ...]) -> None:
    assert embedded_zone(zone_of(*observances)) is None


HOSTILE = {
    "every second": ["STANDARD|19700101T000000|+0000|+0100|RRULE:FREQ=SECONDLY\r\n"],
    "every hour of a year": ["STANDARD|19700101T000000|+0000|+0100|RRULE:FREQ=YEARLY;BYHOUR=0,1,2,3,4;BYMINUTE=0,1,2\r\n"],
    "never": ["STANDARD|19700101T000000|+0000|+0100|RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30\r\n"],
    "every day of the year": [
        "DAYLIGHT|00010101T000000|+0000|+2359|RRULE:FREQ=YEARLY;BYMONTH=1,2,3,4,5,6,7,8,9,10,11,12;BYDAY=MO\r\n"
    ],
    "rare": ["STANDARD|00010101T000000|-2359|+2359|RRULE:FREQ=YEARLY;INTERVAL=999999999\r\n"],
    "counted": ["STANDARD|00010101T000000|-2359|+2359|RRULE:FREQ=YEARLY;COUNT=999999999\r\n"],
    "many rules": ["STANDARD|19700101T000000|+0000|+0100|RRULE:FREQ=YEARLY;BYDAY=MO,TU,WE\r\n"] * 900,
    "many dates": ["STANDARD|19700101T000000|+0000|+0100|RDATE:" + ",".join(["19800101T000000"] * 20_000) + "\r\n"],
    "at the borders": ["STANDARD|00010101T000000|+2359|-2359|", "DAYLIGHT|99991231T235959|-2359|+2359|"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_definition_is_a_zone_of_little_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted are the days that rules look at."""
    looked = 0
    real = Budget.spend

    def spend(budget: Budget, steps: int = 1) -> None:
        nonlocal looked
        looked += steps
        real(budget, steps)

    monkeypatch.setattr(Budget, "spend", spend)
    zone = embedded_zone(zone_of(*HOSTILE[name]))
    assert zone is not None
    for utc in (BEGINNING, BEGINNING + DAY, 0, seconds(datetime(2026, 3, 29, 1, tzinfo=UTC)), END - DAY, END - 1, END):
        assert abs(wall_of(utc, zone) - utc) < DAY
        assert abs(utc_of(utc, zone) - utc) < DAY
    assert looked < 60_000


VALUES = (
    "19700101T000000 00010101T000000 99991231T235959 20260329T020000Z 20260101 +0100 -2359 +000001 FREQ=YEARLY FREQ=DAILY"
    " FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3 FREQ=YEARLY;UNTIL=20300101 FREQ=YEARLY;COUNT=3 x"
)
LINES = st.builds(
    Line,
    st.sampled_from(["DTSTART", "TZOFFSETFROM", "TZOFFSETTO", "RRULE", "RDATE", "TZNAME"]),
    st.sampled_from(VALUES.split()),
)
OBSERVANCES = st.builds(Component, st.sampled_from(["STANDARD", "DAYLIGHT"]), st.lists(LINES, max_size=4))


@settings(max_examples=60)
@given(st.lists(OBSERVANCES, max_size=2), st.integers(BEGINNING, END))
def test_any_definition_gives_offsets_of_less_than_a_day_or_is_none(parts: list[Component], utc: int) -> None:
    zone = embedded_zone(Component("VTIMEZONE", [Line("TZID", "Mine")], parts))
    if zone is not None:
        assert abs(wall_of(utc, zone) - utc) < DAY
        assert abs(utc_of(utc, zone) - utc) < DAY


@settings(max_examples=80)
@given(st.one_of(st.text(max_size=30), st.from_regex(r"\(?(UTC|GMT)?[+-]\d{1,2}:?\d{0,2}\)? ?[a-z/,_ ]{0,12}", fullmatch=True)))
def test_any_name_is_a_zone_or_lost(name: str) -> None:
    zones = Zones({}, UTC)
    zone = zones.resolve(name)
    assert zone is UTC or datetime(2026, 1, 1, tzinfo=zone).utcoffset() is not None
