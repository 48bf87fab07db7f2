"""Instances and bounds of series: by definition, against recurring-ical-events, and near the asked range only.

PREAU_RULES says how many objects are made up (1,500 rules mean 500 objects), PREAU_SEED which.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from random import Random
from zoneinfo import ZoneInfo

import icalendar
import pytest
import recurring_ical_events

from calendar_plans import FLOATING, Plan, random_plan
from preau.formats.calendar_text import expand, limit_recurrence_set
from preau.formats.calendar_values import DAY, parse_moment
from preau.formats.content_lines import parse_components
from preau.formats.icalendar import CalendarObject, read_calendar_object
from preau.formats.recurrence import Instance, RecurrenceLimits, TooManyInstances, alarms, bounds, instances
from preau.formats.recurrence_rules import Budget
from preau.formats.recurrence_set import Recurrence
from preau.formats.timezones import Zones
from rule_oracle import occurrences

PLANS = int(os.environ.get("PREAU_RULES", "1500")) // 3
SEED = os.environ.get("PREAU_SEED", "préau")
LOTS = 10
NEW_YEAR = 1_767_225_600
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONE = ZoneInfo(FLOATING)
Told = tuple[datetime, datetime, datetime, str]


def seconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1)


def moment(utc: int) -> datetime:
    return EPOCH + timedelta(seconds=utc)


def told(plan: Plan, instance: Instance) -> Told:
    summary = instance.component.line("SUMMARY")
    assert summary is not None
    start = moment(instance.start)
    original = start
    if instance.original is not None:
        original = plan.utc(moment(instance.original)) if instance.by_day else moment(instance.original)
    return start, moment(instance.end), original, summary.value


def plans(lot: int, *, peer: bool = False) -> Iterator[Plan]:
    # Others take ten times as long.
    for number in range(lot, PLANS // 2 if peer else PLANS, LOTS):
        yield random_plan(Random(f"{SEED}-{number}-{peer}"), peer=peer)


@pytest.mark.parametrize("lot", range(LOTS))
def test_objects_take_place_when_their_definition_says(lot: int) -> None:
    """Compared are the instances that the rule puts in the window of the plan, and all overrides."""
    some = 0
    for plan in plans(lot):
        obj = read_calendar_object(plan.text().encode())
        begin, end = plan.window
        try:
            found = list(instances(obj, seconds(begin), seconds(end), default_zone=ZONE))
        except TooManyInstances:
            assert plan.rule is not None
            assert plan.rule.frequency in ("HOURLY", "MINUTELY", "SECONDLY"), plan.text()
            continue
        first, last, overridden = plan.utc(begin), plan.utc(end), {plan.utc(one.original) for one in plan.overrides}

        def is_compared(each: Told, first: datetime = first, last: datetime = last, own: set[datetime] = overridden) -> bool:
            return first <= each[2] < last or each[2] in own

        expected = {each for each in plan.expected() if each[0] < end and (each[1] > begin or each[0] == each[1] == begin)}
        listed = [told(plan, each) for each in found]
        assert [each[0] for each in listed] == sorted(each[0] for each in listed)
        assert len(listed) == len(set(listed)), plan.text()
        assert set(filter(is_compared, listed)) == set(filter(is_compared, expected)), plan.text()
        check_bounds(plan, obj, found)
        some += bool(expected)
    assert some > PLANS // LOTS // 2


def check_bounds(plan: Plan, obj: CalendarObject, found: list[Instance]) -> None:
    """Every instance and alarm is in the bounds, which are open only where the series is."""
    first, last, recurs = bounds(obj, default_zone=ZONE)
    assert recurs is bool(plan.rule or plan.listed or plan.excluded or plan.overrides)
    assert first is not None
    endless = plan.rule is not None and not plan.count and plan.until is None and not plan.without_master
    if not plan.count:
        assert (last is None) is endless, plan.text()
    for each in found:
        rings = [at for alarm in each.component.components for at in alarms(obj, each, alarm, default_zone=ZONE)]
        assert first <= min([each.first, each.start, *rings]), plan.text()
        assert last is None or max([each.last, each.end, *(at + 1 for at in rings)]) <= last, plan.text()


def is_calm(plan: Plan, start: datetime) -> bool:
    """Whether clocks are left alone near this time: others count lengths on the wall (RFC 5545 section 3.8.5.3: exact)."""
    zone = ZoneInfo(plan.zone)
    before, after = (start + timedelta(days=days) for days in (-3, 6))
    return before.astimezone(zone).utcoffset() == after.astimezone(zone).utcoffset()


def peer_errs(plan: Plan) -> bool:
    """What recurring-ical-events 3.8 and dateutil below it get wrong, beside what `random_plan` leaves out for them.

    THISANDFUTURE is not all of RFC 5545 section 3.8.4.4 there. A DTSTART out of its rule is left out, COUNT counts without it,
    an EXDATE of a series with many times a day takes more than its own away, an UNTIL of another form is not all of its day.
    """
    rule = plan.rule
    if any(one.ranged for one in plan.overrides) or not is_calm(plan, plan.utc(plan.start)):
        return True
    if rule is None:
        return False
    mixed = len({bool(number) for number, _ in rule.days}) > 1
    odd = "BYWEEKNO" in rule.by or (rule.frequency == "WEEKLY" and "BYSETPOS" in rule.by) or mixed
    far = plan.window[0] > plan.start + timedelta(days=4_000)
    return odd or far or not occurrences(rule, plan.start, plan.start, plan.start + timedelta(seconds=1))


def peer_time(value: date) -> datetime:
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=ZONE)
    return (value if value.tzinfo else value.replace(tzinfo=ZONE)).astimezone(UTC)


@pytest.mark.parametrize("lot", range(LOTS))
def test_windows_worked_out_at_once_are_those_of_the_streams(lot: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain series take a shorter way (Recurrence._window); the other one decides."""
    dice = Random(f"{SEED}-windows-{lot}")
    at_once = 0
    for _ in range(PLANS // LOTS):
        weekly = dice.random() < 0.6
        some = ",".join(dice.sample(["MO", "TU", "WE", "TH", "FR", "SA", "SU"], dice.randint(1, 4)))
        rule = f"RRULE:FREQ={'WEEKLY' if weekly else 'DAILY'};INTERVAL={dice.choice((1, 1, 2, 3, 52))}"
        rule += f";BYDAY={some}" if dice.random() < 0.6 else ""
        rule += f";WKST={dice.choice(('MO', 'SU', 'WE'))}" if dice.random() < 0.3 else ""
        rule += dice.choice(("", ";COUNT=17", ";UNTIL=20260401T103000Z", ";UNTIL=20260329", ";BYHOUR=2"))
        day, hour = dice.randint(1, 28), dice.choice((0, 2, 9, 23))
        form = dice.choice((";TZID=Europe/Paris:{}", ";TZID=Pacific/Apia:{}", ":{}Z", ":{}", ";VALUE=DATE:{}"))
        texts = [f"2026{dice.randint(1, 5):02}{dice.randint(1, 28):02}" for _ in range(4)]
        whole = "VALUE=DATE" in form
        start, *gone = (form.format(each if whole else f"{each}T{hour:02}3000") for each in (f"202512{day:02}", *texts))
        length = dice.choice(("", "DURATION:P1D", "DURATION:P3D") if whole else ("", "DURATION:PT1H", "DURATION:P2DT3H"))
        lines = [
            f"DTSTART{start}",
            rule,
            length,
            f"EXDATE{gone[0]}",
            dice.choice(("", f"RDATE{gone[1]}", f"EXDATE;VALUE=DATE:{texts[2]}")),
        ]
        event = ["BEGIN:VEVENT", "UID:1", "DTSTAMP:20250101T000000Z", *filter(None, lines), "END:VEVENT"]
        if dice.random() < 0.3:
            moved = f"DTSTART{form.format(texts[3] if whole else texts[3] + 'T220000')}"
            event += ["BEGIN:VEVENT", "UID:1", "DTSTAMP:20250101T000000Z", f"RECURRENCE-ID{gone[2]}", moved, "END:VEVENT"]
        text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *event, "END:VCALENDAR", ""]).encode()
        obj, other = read_calendar_object(text), read_calendar_object(text)
        at_once += Recurrence(obj, Zones(obj.zones, ZONE))._window(NEW_YEAR, NEW_YEAR + 30 * DAY, Budget(1_000)) is not None
        for since in (NEW_YEAR - 40 * DAY, NEW_YEAR + 80 * DAY + dice.randrange(DAY), NEW_YEAR + 300 * DAY):
            until = since + dice.choice((1, DAY, 7 * DAY, 31 * DAY, 399 * DAY))
            found = list(instances(obj, since, until, default_zone=ZONE))
            assert list(instances(obj, since, until, default_zone=ZONE)) == found
            with monkeypatch.context() as streams:
                streams.setattr(Recurrence, "_window", lambda *asked: None)
                expected = list(instances(other, since, until, default_zone=ZONE))
            assert [one[:2] + one[3:] for one in found] == [one[:2] + one[3:] for one in expected], text
    assert at_once > PLANS // LOTS // 2


@pytest.mark.parametrize("lot", range(LOTS))
def test_objects_take_place_when_recurring_ical_events_says(lot: int) -> None:
    compared = 0
    for plan in plans(lot, peer=True):
        if peer_errs(plan):
            continue
        begin, end = plan.window
        text = plan.text()
        found = instances(read_calendar_object(text.encode()), seconds(begin), seconds(end), default_zone=ZONE)
        ours = {(moment(each.start), moment(each.end)) for each in found}
        asked = (begin, end)
        if plan.form in ("floating", "date"):
            asked = (begin.astimezone(ZONE).replace(tzinfo=None), end.astimezone(ZONE).replace(tzinfo=None))
        events = recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between(*asked)
        peers = {(peer_time(each.start), peer_time(each.end)) for each in events}
        assert {each for each in ours if is_calm(plan, each[0])} == {each for each in peers if is_calm(plan, each[0])}, text
        compared += 1
    assert compared > PLANS // LOTS // 8


def event(*lines: str, kind: str = "VEVENT", more: str = "") -> CalendarObject:
    text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", f"BEGIN:{kind}", "UID:1", *lines, f"END:{kind}"])
    return read_calendar_object(f"{text}\r\n{more}END:VCALENDAR\r\n".encode())


def override(*lines: str, kind: str = "VEVENT") -> str:
    return "\r\n".join([f"BEGIN:{kind}", "UID:1", *lines, f"END:{kind}", ""])


def utc(text: str) -> int:
    found = parse_moment(text)
    assert found is not None
    return found.wall


def starts(obj: CalendarObject, since: str = "20260101", until: str = "20270101", zone: str = "UTC") -> list[str]:
    found = instances(obj, utc(since), utc(until), default_zone=ZoneInfo(zone))
    return [moment(each.start).strftime("%m%dT%H%M" if each.start % 60 == 0 else "%m%dT%H%M%S") for each in found]


PARIS = "DTSTART;TZID=Europe/Paris:"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # 02:30 is skipped on 29 March: told with the offset before (RFC 5545 sections 3.3.5 and 3.3.10), not left out.
        ([PARIS + "20260328T023000", "RRULE:FREQ=DAILY;COUNT=3"], ["0328T0130", "0329T0130", "0330T0030"]),
        # 02:30 comes twice on 25 October: the first.
        ([PARIS + "20261024T023000", "RRULE:FREQ=DAILY;COUNT=3"], ["1024T0030", "1025T0030", "1026T0130"]),
        # Hours of the wall: what is skipped meets the next, and is told once.
        ([PARIS + "20260329T010000", "RRULE:FREQ=HOURLY;COUNT=4"], ["0329T0000", "0329T0100", "0329T0200"]),
        # DTSTART is an instance whatever its rule says, and the first that COUNT counts.
        (["DTSTART:20260101T090000Z", "RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=3"], ["0101T0900", "0105T0900", "0112T0900"]),
        # UNTIL as a day is all of that day, also of a timed series.
        (["DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY;UNTIL=20260102"], ["0101T0900", "0102T0900"]),
        (["DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY;UNTIL=20260102T090000Z"], ["0101T0900", "0102T0900"]),
        (["DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY;UNTIL=20260102T085959Z"], ["0101T0900"]),
        ([PARIS + "20260101T003000", "RRULE:FREQ=DAILY;UNTIL=20260101T233000Z"], ["0101T2330"]),
        (["DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=DAILY;UNTIL=20260102T120000Z"], ["0101T0000", "0102T0000"]),
        # EXDATE: the same moment in another zone, a day for all of its times, a list, nothing that is not there.
        ([PARIS + "20260101T090000", "RRULE:FREQ=DAILY;COUNT=3", "EXDATE:20260102T080000Z"], ["0101T0800", "0103T0800"]),
        ([PARIS + "20260101T090000", "RRULE:FREQ=DAILY;COUNT=3", "EXDATE;VALUE=DATE:20260102"], ["0101T0800", "0103T0800"]),
        (["DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY;COUNT=3", "EXDATE:20260101T090000Z,20260103T090000Z"], ["0102T0900"]),
        (["DTSTART:20260101T090000Z", "EXDATE:20260101T090000Z"], []),
        (["DTSTART:20260101T090000Z", "EXDATE:20260101T090001Z,x,"], ["0101T0900"]),
        # RDATE: a day takes the time of DTSTART; what a rule says too is told once.
        (["DTSTART:20260101T090000Z", "RDATE;VALUE=DATE:20260301"], ["0101T0900", "0301T0900"]),
        (
            ["DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY;COUNT=2", "RDATE:20260102T090000Z,20260110T100000Z"],
            ["0101T0900", "0102T0900", "0110T1000"],
        ),
        # EXRULE of RFC 2445 takes away; DTSTART and RDATE stay.
        (
            ["DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY;COUNT=5", "EXRULE:FREQ=DAILY;INTERVAL=2"],
            ["0101T0900", "0102T0900", "0104T0900"],
        ),
        # Two rules are a union.
        (
            ["DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY;COUNT=3", "RRULE:FREQ=DAILY;INTERVAL=2;COUNT=3"],
            ["0101T0900", "0102T0900", "0103T0900", "0105T0900"],
        ),
        # A rule that is none says nothing.
        (["DTSTART:20260101T090000Z", "RRULE:FREQ=NEVER"], ["0101T0900"]),
        (["DTSTART;VALUE=DATE:20260131", "RRULE:FREQ=MONTHLY;COUNT=3"], ["0131T0000", "0331T0000", "0531T0000"]),
    ],
    ids=range(20),
)
def test_instances_of_a_series(lines: list[str], expected: list[str]) -> None:
    assert starts(event(*lines)) == expected


@pytest.mark.parametrize(
    ("lines", "since", "until", "there"),
    [
        # The rows of RFC 4791 section 9.9 for events: [start, end) against start < DTEND and end > DTSTART ...
        (["DTSTART:20260101T090000Z", "DTEND:20260101T100000Z"], "20260101T095959", "20260102T000000", True),
        (["DTSTART:20260101T090000Z", "DTEND:20260101T100000Z"], "20260101T100000", "20260102T000000", False),
        (["DTSTART:20260101T090000Z", "DURATION:PT1H"], "20260101T080000", "20260101T090000", False),
        (["DTSTART:20260101T090000Z", "DURATION:PT1H"], "20260101T080000", "20260101T090001", True),
        # ... and start <= DTSTART for those of no length.
        (["DTSTART:20260101T090000Z"], "20260101T090000", "20260101T100000", True),
        (["DTSTART:20260101T090000Z", "DURATION:PT0S"], "20260101T090000", "20260101T090001", True),
        (["DTSTART:20260101T090000Z"], "20260101T080000", "20260101T090000", False),
        (["DTSTART:20260101T090000Z", "DTEND:20260101T080000Z"], "20260101T083000", "20260101T084500", False),
        (["DTSTART;VALUE=DATE:20260101"], "20260101T235959", "20260103T000000", True),
        (["DTSTART;VALUE=DATE:20260101"], "20260102T000000", "20260103T000000", False),
    ],
    ids=range(10),
)
def test_ranges_of_events(lines: list[str], since: str, until: str, *, there: bool) -> None:
    assert bool(starts(event(*lines), since, until)) is there


@pytest.mark.parametrize(
    ("lines", "since", "until", "there"),
    [
        (["DTSTART:20260101T090000Z", "DURATION:PT1H"], "20260101T100000", "20260101T110000", True),
        (["DTSTART:20260101T090000Z", "DUE:20260101T100000Z"], "20260101T100000", "20260101T110000", False),
        (["DTSTART:20260101T090000Z"], "20260101T090000", "20260101T100000", True),
        (["DUE:20260101T090000Z"], "20260101T080000", "20260101T090000", True),
        (["DUE:20260101T090000Z"], "20260101T090000", "20260101T100000", False),
        (["COMPLETED:20260105T090000Z", "CREATED:20260101T090000Z"], "20260103T000000", "20260104T000000", True),
        (["COMPLETED:20260105T090000Z", "CREATED:20260101T090000Z"], "20260106T000000", "20260107T000000", False),
        (["CREATED:20260101T090000Z"], "20300101T000000", "20300102T000000", True),
        (["CREATED:20260101T090000Z"], "20250101T000000", "20250102T000000", False),
        (["SUMMARY:some day"], "20300101T000000", "20300102T000000", True),
        (["DUE;VALUE=DATE:20260101", "RRULE:FREQ=DAILY"], "20260110T000000", "20260110T000001", False),
        (["DUE;VALUE=DATE:20260101", "RRULE:FREQ=DAILY"], "20260109T120000", "20260110T000000", True),
    ],
    ids=range(12),
)
def test_ranges_of_tasks(lines: list[str], since: str, until: str, *, there: bool) -> None:
    assert bool(starts(event(*lines, kind="VTODO"), since, until)) is there


def test_an_override_stands_in_wherever_it_is_moved() -> None:
    obj = event(
        "DTSTART:20260101T090000Z",
        "RRULE:FREQ=DAILY;COUNT=4",
        more=override("RECURRENCE-ID:20260102T090000Z", "DTSTART:20260601T120000Z"),
    )
    assert starts(obj) == ["0101T0900", "0103T0900", "0104T0900", "0601T1200"]
    assert starts(obj, "20260102", "20260103") == []
    assert starts(obj, "20260601", "20260602") == ["0601T1200"]


def test_overrides_without_a_master() -> None:
    """Of a series to which someone was invited for one day (RFC 4791 section 4.1)."""
    obj = event("RECURRENCE-ID;TZID=Europe/Paris:20260102T090000", "DTSTART;TZID=Europe/Paris:20260103T100000", "DURATION:PT1H")
    (found,) = instances(obj, None, None, default_zone=UTC)
    assert (found.recurrence, moment(found.start).hour, found.all_day) == ("20260102T080000Z", 9, False)
    assert bounds(obj, default_zone=UTC) == (utc("20260103T090000"), utc("20260103T100000"), True)


def test_an_override_without_a_start_is_where_its_original_was() -> None:
    obj = event(
        "DTSTART:20260101T090000Z",
        "DURATION:PT1H",
        "RRULE:FREQ=DAILY;COUNT=2",
        more=override("RECURRENCE-ID:20260102T090000Z", "SUMMARY:x"),
    )
    assert starts(obj) == ["0101T0900", "0102T0900"]


def test_this_and_future_moves_all_that_follow_and_gives_its_length() -> None:
    obj = event(
        "DTSTART;TZID=Europe/Paris:20260101T090000",
        "DTEND;TZID=Europe/Paris:20260101T100000",
        "RRULE:FREQ=DAILY;COUNT=6",
        more=override(
            "RECURRENCE-ID;TZID=Europe/Paris;RANGE=THISANDFUTURE:20260103T090000",
            "DTSTART;TZID=Europe/Paris:20260103T120000",
            "DURATION:PT20M",
        )
        + override("RECURRENCE-ID;TZID=Europe/Paris:20260105T090000", "DTSTART;TZID=Europe/Paris:20260105T080000"),
    )
    assert starts(obj) == ["0101T0800", "0102T0800", "0103T1100", "0104T1100", "0105T0700", "0106T1100"]
    lengths = [each.end - each.start for each in instances(obj, None, None, default_zone=UTC)]
    assert lengths == [3600, 3600, 1200, 1200, 0, 1200]


def test_this_and_future_gives_its_length_to_periods_too() -> None:
    obj = event(
        "DTSTART:20260101T090000Z",
        "RDATE;VALUE=PERIOD:20260102T090000Z/PT2H,20260105T090000Z/20260105T120000Z",
        more=override("RECURRENCE-ID;RANGE=THISANDFUTURE:20260103T090000Z", "DTSTART:20260103T090000Z", "DURATION:PT20M"),
    )
    found = {each.start: each.end - each.start for each in instances(obj, None, None, default_zone=UTC)}
    assert [found[utc(f"2026010{day}T090000")] for day in (1, 2, 5)] == [0, 7200, 1200]


@pytest.mark.parametrize(
    ("rule", "start"),
    [
        ("FREQ=SECONDLY", "19000101T000000Z"),
        ("FREQ=DAILY", "00010101T000000Z"),
        ("FREQ=MINUTELY;INTERVAL=7", "19700101T000000Z"),
    ],
)
def test_a_late_range_is_answered_near_it(rule: str, start: str) -> None:
    limits = RecurrenceLimits(steps=3)
    obj = event(f"DTSTART:{start}", f"RRULE:{rule}")
    found = instances(obj, utc("20261125"), utc("20261126"), default_zone=UTC, limits=limits)
    assert next(found).start == utc("20261125T000000") + (-utc("20261125T000000") % 420 if "7" in rule else 0)


def test_a_month_of_an_old_daily_series_costs_a_month() -> None:
    obj = event("DTSTART;TZID=Europe/Paris:19900101T090000", "DURATION:PT1H", "RRULE:FREQ=DAILY")
    limits = RecurrenceLimits(instances=30, steps=40)
    assert len(list(instances(obj, utc("20261101"), utc("20261201"), default_zone=UTC, limits=limits))) == 30


def test_what_never_takes_place_costs_its_range() -> None:
    obj = event(
        "DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "EXRULE:FREQ=DAILY;BYMONTHDAY=31;BYMONTH=4"
    )
    limits = RecurrenceLimits(steps=100)
    assert list(instances(obj, utc("20261101"), utc("20261201"), default_zone=UTC, limits=limits)) == []


def test_limits_end_what_is_too_much() -> None:
    obj = event("DTSTART:20260101T000000Z", "RRULE:FREQ=SECONDLY")
    found = instances(obj, utc("20260101"), utc("20260201"), default_zone=UTC, limits=RecurrenceLimits(instances=50))
    assert len(list(islice(found, 50))) == 50
    with pytest.raises(TooManyInstances):
        next(found)
    never = event("DTSTART:20260101T000000Z", "RRULE:FREQ=SECONDLY;INTERVAL=2;BYSECOND=1")
    with pytest.raises(TooManyInstances):
        list(instances(never, utc("20260201"), utc("20270301"), default_zone=UTC))


def test_an_open_range_of_an_open_rule_is_drawn_from() -> None:
    obj = event("DTSTART;VALUE=DATE:20260101", "RRULE:FREQ=DAILY")
    found = instances(obj, None, None, default_zone=ZoneInfo("Europe/Paris"))
    assert [each.recurrence for each in islice(found, 2)] == ["20260101", "20260102"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["DTSTART:20260101T090000Z", "DURATION:PT1H"], ("20260101T090000", "20260101T100000", False)),
        ([PARIS + "20260701T090000", "DURATION:P1D"], ("20260701T070000", "20260702T070000", False)),
        (["DTSTART:20260101T090000Z", "RRULE:FREQ=DAILY"], ("20260101T090000", None, True)),
        (["DTSTART;VALUE=DATE:20260101"], ("20251230T160000", "20260103T080000", False)),
        (["DTSTART:20260101T090000"], ("20251231T010000", "20260102T170001", False)),
    ],
    ids=range(5),
)
def test_bounds_of_plain_events_are_exact(lines: list[str], expected: tuple[str, str | None, bool]) -> None:
    first, last, recurs = expected
    assert bounds(event(*lines), default_zone=UTC) == (utc(first), None if last is None else utc(last), recurs)


@pytest.mark.parametrize("rule", ["COUNT=10", "UNTIL=20260110T090000Z", "UNTIL=20260110"])
def test_bounds_of_what_ends_are_near_its_end(rule: str) -> None:
    first, last, recurs = bounds(event("DTSTART:20260101T090000Z", f"RRULE:FREQ=DAILY;{rule}"), default_zone=UTC)
    assert (first, recurs) == (utc("20260101T090000"), True)
    assert last is not None
    assert utc("20260110T090000") < last < utc("20260110T090000") + 2 * DAY


def test_bounds_of_a_task_without_times_are_open() -> None:
    assert bounds(event("SUMMARY:x", kind="VTODO"), default_zone=UTC) == (None, None, False)
    assert bounds(event("SUMMARY:x", kind="VJOURNAL"), default_zone=UTC) == (None, None, False)


ALARM = "BEGIN:VALARM\r\nACTION:AUDIO\r\n{}\r\nEND:VALARM"


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ("TRIGGER:-PT15M", ["0329T0045"]),
        ("TRIGGER;RELATED=END:PT5M", ["0329T0205"]),
        # A day of a trigger is a day on the wall: 23 hours here.
        ("TRIGGER:-P1D", ["0328T0200"]),
        ("TRIGGER:-PT24H", ["0328T0100"]),
        ("TRIGGER;VALUE=DATE-TIME:20260301T120000Z", ["0301T1200"]),
        ("TRIGGER:PT0S\r\nREPEAT:2\r\nDURATION:PT5M", ["0329T0100", "0329T0105", "0329T0110"]),
        ("TRIGGER:PT0S\r\nREPEAT:2", ["0329T0100"]),
        ("TRIGGER:PT0S\r\nREPEAT:x\r\nDURATION:PT5M", ["0329T0100"]),
        ("TRIGGER:PT0S\r\nREPEAT:2\r\nDURATION:-PT5M", ["0329T0100"]),
        ("TRIGGER:soon", []),
        ("DESCRIPTION:none", []),
    ],
    ids=range(11),
)
def test_alarms_go_off(trigger: str, expected: list[str]) -> None:
    obj = event(PARIS + "20260329T030000", "DURATION:PT1H", ALARM.format(trigger))
    (found,) = instances(obj, None, None, default_zone=UTC)
    rings = alarms(obj, found, found.component.components[0], default_zone=UTC)
    assert [moment(each).strftime("%m%dT%H%M") for each in rings] == expected


def test_an_alarm_that_repeats_for_ever_is_cut() -> None:
    obj = event("DTSTART:20260101T000000Z", ALARM.format("TRIGGER:PT0S\r\nREPEAT:999999999\r\nDURATION:PT1S"))
    (found,) = instances(obj, None, None, default_zone=UTC)
    assert len(alarms(obj, found, found.component.components[0], default_zone=UTC)) == 1_001


TIMES = [
    "00010101",
    "00010101T000000Z",
    "99991231",
    "99991231T235959",
    "99991231T235959Z",
    "20260101T090000",
    "20260329T023000",
    "20260101",
    "x",
]
VALUES = (
    *TIMES,
    *["P1D", "-P9999999W", "P999999999D", "PT999999999H", "-PT1S", "soon", "20260101T090000Z/PT1H", "20260101/20260201"],
    *["00010101T000000/P999999999D", "FREQ=YEARLY", "FREQ=SECONDLY;COUNT=9999999", "FREQ=DAILY;UNTIL=00010101"],
    *["FREQ=DAILY;UNTIL=99991231T235959Z", "FREQ=WEEKLY;BYDAY=MO;INTERVAL=999999999", "FREQ=HOURLY;COUNT=100000"],
    *["FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2", "FREQ=YEARLY;BYWEEKNO=-53,53,1", "²"],
    "",
)
NAMES = ["DTSTART", "DTEND", "DUE", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "COMPLETED", "CREATED", "FREEBUSY"]
PARAMETERS = ["", *(f";TZID={name}" for name in ("Europe/Paris", "Pacific/Apia", "UTC+25", "GMT-1200", "Mine")), ";VALUE=DATE"]
PARAMETERS += [";VALUE=PERIOD", ";RANGE=THISANDFUTURE"]
KINDS = ("VEVENT", "VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY")
HOSTILE_ZONE = (
    "BEGIN:VTIMEZONE\r\nTZID:Mine\r\nBEGIN:STANDARD\r\nDTSTART:00010101T000000\r\nTZOFFSETFROM:-2359\r\nTZOFFSETTO:+2359\r\n"
    "RRULE:FREQ=YEARLY\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
)


def hostile(random: Random) -> bytes:
    """An object whose structure is right and whose values are not."""

    def line(name: str, values: tuple[str, ...] | list[str] = VALUES) -> str:
        return f"{name}{random.choice(PARAMETERS)}:{random.choice(values)}\r\n"

    kind = random.choice(KINDS)
    text = f"BEGIN:VCALENDAR\r\n{HOSTILE_ZONE}"
    for number in range(random.choice((1, 1, 2, 3))):
        text += f"BEGIN:{kind}\r\nUID:1\r\n"
        text += f"RECURRENCE-ID;X={number}:{TIMES[number]}\r\n" if number else ""
        text += line("DTSTART", TIMES) if random.random() < 0.8 else ""
        text += "".join(line(random.choice(NAMES)) for _ in range(random.randrange(5)))
        if random.random() < 0.5:
            text += f"BEGIN:VALARM\r\n{line('TRIGGER')}REPEAT:3\r\n{line('DURATION')}END:VALARM\r\n"
        text += f"END:{kind}\r\n"
    return f"{text}END:VCALENDAR\r\n".encode()


@pytest.mark.parametrize("lot", range(4))
def test_whatever_clients_write_is_within_its_bounds_or_too_much(lot: int) -> None:
    """Nothing but TooManyInstances comes out, at either end of the calendar too."""
    for number in range(lot, PLANS * 2, 4):
        random = Random(f"hostile {number}")
        obj = read_calendar_object(hostile(random))
        begin = random.choice((None, -62_135_596_800, 0, NEW_YEAR, 253_402_300_799))
        end = None if begin is None else begin + random.choice((1, DAY, 31 * DAY))
        first, last, _ = bounds(obj, default_zone=ZONE)
        low, high = -(1 << 61) if first is None else first, 1 << 61 if last is None else last
        with suppress(TooManyInstances):
            for each in islice(instances(obj, begin, end, default_zone=ZONE), 60):
                assert low <= each.first
                assert each.last <= high
                rings = [at for alarm in each.component.components for at in alarms(obj, each, alarm, default_zone=ZONE)]
                assert all(low <= at < high for at in rings)
        if begin is not None and end is not None:
            with suppress(TooManyInstances):
                assert parse_components(expand(obj, begin, end, default_zone=ZONE))
            limit_recurrence_set(obj, begin, end, default_zone=ZONE)
