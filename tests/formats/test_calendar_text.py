"""Expanded and limited objects (RFC 4791 sections 9.6.5 and 9.6.6): by text, and against recurring-ical-events."""

from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import icalendar
import pytest
import recurring_ical_events

from calendar_plans import FLOATING, random_plan
from preau.formats.calendar_text import expand, expand_text, limit_recurrence_set
from preau.formats.calendar_values import parse_moment
from preau.formats.content_lines import Component, parse_components
from preau.formats.icalendar import CalendarObject, read_calendar_object
from preau.formats.recurrence import RecurrenceLimits, TooManyInstances, instances

ZONE = ZoneInfo(FLOATING)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARIS = "BEGIN:VTIMEZONE|TZID:Europe/Paris|BEGIN:STANDARD|DTSTART:19700101T000000|TZOFFSETTO:+0100|END:STANDARD|END:VTIMEZONE"


def utc(text: str) -> int:
    found = parse_moment(text)
    assert found is not None
    return found.wall


def read(*parts: str) -> CalendarObject:
    text = "|".join(["BEGIN:VCALENDAR", "VERSION:2.0", "X-OF:calendar", *parts, "END:VCALENDAR", ""])
    return read_calendar_object(text.replace("|", "\r\n").encode())


def event(*lines: str, kind: str = "VEVENT") -> str:
    return "|".join([f"BEGIN:{kind}", "UID:1", *lines, f"END:{kind}"])


def expanded(obj: CalendarObject, since: str, until: str, zone: str = "UTC") -> list[Component]:
    (calendar,) = parse_components(expand(obj, utc(since), utc(until), default_zone=ZoneInfo(zone)))
    assert calendar.named("VTIMEZONE") == []
    return calendar.components


def told(component: Component) -> list[str]:
    return sorted(line.raw for line in component.lines if line.name != "UID")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        # The example of RFC 4791 section 7.8.3 in short: times in UTC, each instance with its RECURRENCE-ID, the first too.
        (
            [
                PARIS,
                event(
                    "DTSTART;TZID=Europe/Paris:20260101T120000",
                    "DURATION:PT1H",
                    "RRULE:FREQ=DAILY;COUNT=3",
                    "EXDATE;TZID=Europe/Paris:20260102T120000",
                ),
            ],
            [
                ["DTSTART:20260101T110000Z", "DURATION:PT1H", "RECURRENCE-ID:20260101T110000Z"],
                ["DTSTART:20260103T110000Z", "DURATION:PT1H", "RECURRENCE-ID:20260103T110000Z"],
            ],
        ),
        # Dates stay dates.
        (
            [event("DTSTART;VALUE=DATE:20260101", "DTEND;VALUE=DATE:20260103", "RRULE:FREQ=WEEKLY;COUNT=2")],
            [
                ["DTEND;VALUE=DATE:20260103", "DTSTART;VALUE=DATE:20260101", "RECURRENCE-ID;VALUE=DATE:20260101"],
                ["DTEND;VALUE=DATE:20260110", "DTSTART;VALUE=DATE:20260108", "RECURRENCE-ID;VALUE=DATE:20260108"],
            ],
        ),
        # What does not recur has no RECURRENCE-ID; other lines stay as they were written.
        (
            [event("DTSTART;TZID=Europe/Paris:20260101T120000", "DTEND;TZID=Europe/Paris:20260101T130000", "X;A=b:TZID=\\,")],
            [["DTEND:20260101T120000Z", "DTSTART:20260101T110000Z", "X;A=b:TZID=\\,"]],
        ),
        # An override keeps its original, told in UTC.
        (
            [
                event("DTSTART;TZID=Europe/Paris:20260101T120000", "RRULE:FREQ=DAILY;COUNT=2"),
                event("RECURRENCE-ID;TZID=Europe/Paris:20260102T120000", "DTSTART:20260105T120000Z", "SUMMARY:moved"),
            ],
            [
                ["DTSTART:20260101T110000Z", "RECURRENCE-ID:20260101T110000Z"],
                ["DTSTART:20260105T120000Z", "RECURRENCE-ID:20260102T110000Z", "SUMMARY:moved"],
            ],
        ),
        # A DURATION in days is told as what it is there: 23 hours when clocks go forward in between.
        (
            [event("DTSTART;TZID=Europe/Paris:20260327T120000", "DURATION:P1D", "RRULE:FREQ=DAILY;COUNT=2")],
            [
                ["DTSTART:20260327T110000Z", "DURATION:P1D", "RECURRENCE-ID:20260327T110000Z"],
                ["DTSTART:20260328T110000Z", "DURATION:PT82800S", "RECURRENCE-ID:20260328T110000Z"],
            ],
        ),
        # A PERIOD of RDATE has its own length, whatever the others have.
        (
            [event("DTSTART:20260101T090000Z", "DURATION:PT1H", "RDATE;VALUE=PERIOD:20260102T090000Z/PT2H")],
            [
                ["DTSTART:20260101T090000Z", "DURATION:PT1H", "RECURRENCE-ID:20260101T090000Z"],
                ["DTSTART:20260102T090000Z", "DURATION:PT7200S", "RECURRENCE-ID:20260102T090000Z"],
            ],
        ),
        (
            [event("DTSTART:20260101T090000Z", "RDATE;VALUE=PERIOD:20260102T090000Z/PT2H")],
            [
                ["DTSTART:20260101T090000Z", "RECURRENCE-ID:20260101T090000Z"],
                ["DTSTART:20260102T090000Z", "DURATION:PT7200S", "RECURRENCE-ID:20260102T090000Z"],
            ],
        ),
        (
            [event("DUE;TZID=Europe/Paris:20260101T120000", "RRULE:FREQ=DAILY;COUNT=1", kind="VTODO")],
            [["DUE:20260101T110000Z", "RECURRENCE-ID:20260101T110000Z"]],
        ),
    ],
    ids=["zone", "dates", "one", "override", "days", "period", "period alone", "due"],
)
def test_expanded_objects(parts: list[str], expected: list[list[str]]) -> None:
    assert [told(each) for each in expanded(read(*parts), "20260101", "20260401")] == expected


def test_floating_times_are_told_in_the_zone_of_the_calendar() -> None:
    obj = read(event("DTSTART:20260101T120000", "DURATION:PT1H"))
    assert told(expanded(obj, "20260101", "20260102", "Europe/Paris")[0])[0] == "DTSTART:20260101T110000Z"


def test_alarms_and_unknown_components_stay_with_each_instance() -> None:
    alarm = "BEGIN:VALARM|TRIGGER:-PT5M|END:VALARM"
    obj = read(event("DTSTART:20260101T120000Z", "RRULE:FREQ=DAILY;COUNT=2", alarm))
    assert [[inner.name for inner in each.components] for each in expanded(obj, "20260101", "20260110")] == [["VALARM"]] * 2


def test_nothing_in_the_range_is_a_calendar_without_components() -> None:
    obj = read(event("DTSTART:20260101T120000Z"))
    assert expand(obj, 0, 1, default_zone=UTC) == b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nX-OF:calendar\r\nEND:VCALENDAR\r\n"


def test_a_month_of_a_daily_series_of_1990_costs_a_month() -> None:
    """No walk from DTSTART: 13,000 days lie between."""
    obj = read(event("DTSTART;TZID=Europe/Paris:19900101T090000", "DURATION:PT1H", "RRULE:FREQ=DAILY"))
    limits = RecurrenceLimits(instances=30, steps=40)
    found = expand(obj, utc("20261101"), utc("20261201"), default_zone=UTC, limits=limits)
    assert found.count(b"BEGIN:VEVENT") == 30
    with pytest.raises(TooManyInstances):
        expand(obj, utc("20261101"), utc("20261201"), default_zone=UTC, limits=RecurrenceLimits(instances=29))


Told = tuple[datetime, datetime, str]


def time_of(value: date) -> datetime:
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=ZONE)
    return (value if value.tzinfo else value.replace(tzinfo=ZONE)).astimezone(UTC)


def read_by_icalendar(data: bytes) -> set[Told]:
    """(start, end, UID) of each component, as another library reads our text."""
    found = set()
    for component in icalendar.Calendar.from_ical(data).walk("VEVENT"):
        assert not {"RRULE", "RDATE", "EXDATE", "EXRULE"} & set(component.keys())
        assert all("TZID" not in getattr(value, "params", {}) for value in component.values())
        assert isinstance(component, icalendar.Event)
        start, end = time_of(component.start), time_of(component.end)
        found.add((start, end, str(component["UID"])))
    return found


@pytest.mark.parametrize("lot", range(4))
def test_what_is_expanded_is_what_others_read_in_the_object(lot: int) -> None:
    """Others read our expansion and find the instances; what they make of the object itself is in test_recurrence."""
    compared = 0
    for number in range(lot, 120, 4):
        plan = random_plan(Random(f"expand {number}"))
        begin, end = ((each - EPOCH) // timedelta(seconds=1) for each in plan.window)
        obj = read_calendar_object(plan.text().encode())
        try:
            found = list(instances(obj, begin, end, default_zone=ZONE, limits=RecurrenceLimits(instances=300)))
        except TooManyInstances:
            continue
        data = expand(obj, begin, end, default_zone=ZONE)
        ours = {(EPOCH + timedelta(seconds=each.start), EPOCH + timedelta(seconds=each.end), "plan") for each in found}
        assert read_by_icalendar(data) == ours, plan.text()
        asked = [each.astimezone(ZONE).replace(tzinfo=None) if plan.form == "date" else each for each in plan.window]
        again = recurring_ical_events.of(icalendar.Calendar.from_ical(data)).between(*asked)
        assert {(time_of(each.start), time_of(each.end), str(each["UID"])) for each in again} == ours, plan.text()
        # Expanded again, nothing changes: what is told is single.
        assert len(found) == data.count(b"BEGIN:VEVENT")
        compared += bool(found)
    assert compared > 12


def test_limit_recurrence_set() -> None:
    obj = read(
        PARIS,
        event("DTSTART:20260101T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY"),
        event("RECURRENCE-ID:20260102T090000Z", "DTSTART:20260102T120000Z", "SUMMARY:before"),
        event("RECURRENCE-ID;RANGE=THISANDFUTURE:20260103T090000Z", "DTSTART:20260103T093000Z", "SUMMARY:from before on"),
        event("RECURRENCE-ID:20260110T090000Z", "DTSTART:20260110T120000Z", "SUMMARY:in"),
        event("RECURRENCE-ID:20260111T090000Z", "DTSTART:20260301T120000Z", "SUMMARY:moved out"),
        event("RECURRENCE-ID:20260302T090000Z", "DTSTART:20260111T120000Z", "SUMMARY:moved in"),
        event("RECURRENCE-ID:20260303T090000Z", "DTSTART:20260303T120000Z", "SUMMARY:after"),
        event("RECURRENCE-ID;RANGE=THISANDFUTURE:20260304T090000Z", "DTSTART:20260304T120000Z", "SUMMARY:after on"),
        event("RECURRENCE-ID:soon", "SUMMARY:unreadable"),
    )
    data = limit_recurrence_set(obj, utc("20260110"), utc("20260112"), default_zone=UTC)
    limited = read_calendar_object(data)
    summaries = [line.value for each in limited.overrides if (line := each.line("SUMMARY"))]
    assert summaries == ["from before on", "in", "moved out", "moved in", "unreadable"]
    assert limited.master == obj.master
    assert list(limited.zones) == ["Europe/Paris"]


def test_limit_recurrence_set_of_overrides_alone() -> None:
    obj = read(
        event("RECURRENCE-ID:20260102T090000Z", "DTSTART:20260102T120000Z"),
        event("RECURRENCE-ID:20260202T090000Z", "DTSTART:20260202T120000Z"),
    )
    data = limit_recurrence_set(obj, utc("20260101"), utc("20260110"), default_zone=UTC)
    assert [line.value for each in read_calendar_object(data).overrides for line in each.all("DTSTART")] == ["20260102T120000Z"]


def _xml(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\r", "&#13;")


def test_what_is_escaped_in_parts_is_what_is_escaped_as_a_whole() -> None:
    zone, other_zone = ZoneInfo(FLOATING), ZoneInfo("Asia/Tokyo")
    for number in range(150):
        plan = random_plan(Random(f"escaped-{number}"))
        octets = plan.text().replace("SUMMARY:", "X-A:&<\r\nSUMMARY:").encode()
        obj = read_calendar_object(octets)
        begin, end = (int(each.replace(tzinfo=UTC).timestamp()) for each in plan.window)
        for asked_zone, first, last in ((zone, begin, end), (zone, begin, begin + 86_400), (other_zone, begin, end)):
            try:
                whole = expand(read_calendar_object(octets), first, last, default_zone=asked_zone).decode()
            except TooManyInstances:
                continue
            assert expand_text(obj, first, last, default_zone=asked_zone, escape=_xml) == _xml(whole)
            assert expand(obj, first, last, default_zone=asked_zone).decode() == whole
            assert expand_text(obj, first, last, default_zone=asked_zone, escape=_xml) == _xml(whole)
