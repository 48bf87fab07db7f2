"""Series of rules: by definition, against dateutil, and never by a walk.

PREAU_RULES says how many rules are made up (1,500 when it is not there; the full run takes 20,000 and more), PREAU_SEED which.
"""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from random import Random

import pytest
from dateutil.rrule import rrulestr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from preau.formats.calendar_values import BEGINNING, DAY, END, parse_moment
from preau.formats.recurrence_days import Days
from preau.formats.recurrence_rules import Budget, Rule, TooManyInstances, parse_rule
from preau.formats.recurrence_series import Series, last_of_count
from rule_oracle import WINDOWS, OracleRule, occurrences, random_rule, random_start, week_of

RULES = int(os.environ.get("PREAU_RULES", "1500"))
SEED = os.environ.get("PREAU_SEED", "préau")
LOTS = 10
STEPS = 200_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def seconds(moment: datetime) -> int:
    passed = moment - EPOCH
    return passed.days * DAY + passed.seconds


def wall(text: str) -> int:
    moment = parse_moment(text)
    assert moment is not None
    return moment.wall


def read(text: str) -> Rule:
    rule = parse_rule(text)
    assert rule is not None, text
    return rule


def told(text: str, start: datetime, begin: datetime, end: datetime) -> list[datetime]:
    walls = Series(read(text), seconds(start)).walls(seconds(begin), Budget(STEPS), seconds(end))
    found = [EPOCH + timedelta(seconds=each) for each in walls]
    assert found == sorted(set(found))
    return [each for each in found if each < end]


def made_up(lot: int) -> list[tuple[Random, OracleRule, datetime]]:
    found = []
    for number in range(lot, RULES, LOTS):
        random = Random(f"{SEED}-{number}")
        found.append((random, random_rule(random), random_start(random)))
    return found


@pytest.mark.parametrize("lot", range(LOTS))
def test_rules_say_what_their_definition_says(lot: int) -> None:
    """From DTSTART on, and in a window up to eighty years later."""
    some = 0
    for random, rule, start in made_up(lot):
        begin = start
        if random.random() < 0.4:
            begin += timedelta(days=random.randrange(30_000), seconds=random.randrange(DAY))
        end = begin + WINDOWS[rule.frequency]
        expected = occurrences(rule, start, begin, end)
        assert told(rule.text(), start, begin, end) == expected, (rule.text(), start, begin)
        some += bool(expected)
    assert some > RULES // LOTS // 3


def dateutil_errs(rule: OracleRule) -> bool:
    """What dateutil 2.9 is known to get wrong, each in the table below."""
    weeks = "BYWEEKNO" in rule.by
    mixed = len({bool(number) for number, _ in rule.days}) > 1
    weekday_of_start = weeks and not rule.days and not {"BYMONTHDAY", "BYYEARDAY"} & set(rule.by)
    border = weeks and (bool(rule.week_start) or bool({-52, -53} & set(rule.by["BYWEEKNO"])))
    return mixed or weekday_of_start or border or (rule.frequency == "WEEKLY" and "BYSETPOS" in rule.by)


@pytest.mark.parametrize("lot", range(LOTS))
def test_rules_say_what_dateutil_says(lot: int) -> None:
    compared = 0
    for _, rule, start in made_up(lot):
        if dateutil_errs(rule):
            continue
        found = told(rule.text(), start, start, start + WINDOWS[rule.frequency])[:100]
        # dateutil does not come back from a rule that yields nothing.
        if found:
            assert found == list(islice(rrulestr(rule.text(), dtstart=start), len(found))), (rule.text(), start)
            compared += 1
    assert compared > RULES // LOTS // 3


@pytest.mark.parametrize(
    ("text", "start", "since", "expected"),
    [
        # RFC 5545 section 3.3.10: what the rule does not say is "derived from the Start Time", here the Tuesday.
        ("FREQ=YEARLY;BYWEEKNO=20", "19970513", "19970513", "19970513 19980512 19990518"),
        # "Each BYDAY value can also be preceded by" a number: a list of both is a union.
        ("FREQ=MONTHLY;BYDAY=1MO,TU", "20260105", "20260105", "20260105 20260106 20260113"),
        # "A set of recurrence instances starts at the beginning of the interval": on Monday, not on DTSTART.
        ("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=2", "20260107", "20260107", "20260107 20260114"),
        ("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=1", "20260107", "20260107", "20260112 20260119"),
        # The first days of a year may be in the last week of the year before, wherever weeks begin.
        ("FREQ=YEARLY;WKST=SA;BYDAY=FR;BYWEEKNO=52", "19840918", "19860101", "19870102 19880101"),
        # Counted from behind, week 1 is -52 or -53, also where it begins in December.
        ("FREQ=YEARLY;BYDAY=MO;BYWEEKNO=-52", "20200101", "20240101", "20240101 20241230"),
        ("FREQ=YEARLY;BYDAY=MO;BYWEEKNO=-53", "20200101", "20200101", "20251229 20311229"),
    ],
    ids=["weekday of DTSTART", "mixed BYDAY", "whole week", "week begun before", "week of last year", "week -52", "week -53"],
)
def test_where_dateutil_errs(text: str, start: str, since: str, expected: str) -> None:
    found = Series(read(text), wall(start)).walls(wall(since), Budget(STEPS))
    for each in expected.split():
        assert next(found) == wall(each)


# The examples of RFC 5545 section 3.8.5.3, by their text: start at 09:00, and the days.
RFC_EXAMPLES = [
    ("FREQ=DAILY;INTERVAL=10;COUNT=5", "19970902", "19970902 19970912 19970922 19971002 19971012"),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU;COUNT=8;BYDAY=TU,TH", "19970902", "19970902 19970904 19970916 19970918 19970930 19971002"),
    ("FREQ=MONTHLY;COUNT=10;BYDAY=1FR", "19970905", "19970905 19971003 19971107 19971205 19980102 19980206"),
    ("FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", "19970907", "19970907 19970928 19971102 19971130 19980104 19980125"),
    ("FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "19970922", "19970922 19971020 19971117 19971222 19980119 19980216"),
    ("FREQ=MONTHLY;BYMONTHDAY=-3", "19970928", "19970928 19971029 19971128 19971229 19980129 19980226"),
    ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1", "19970930", "19970930 19971001 19971031 19971101 19971130 19971201"),
    ("FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15", "19970910", "19970910 19970911 19970912 19970913"),
    ("FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3", "19970310", "19970310 19990110 19990210 19990310 20010110"),
    (
        "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
        "19970101",
        "19970101 19970410 19970719 20000101 20000409 20000718",
    ),
    ("FREQ=YEARLY;BYDAY=20MO", "19970519", "19970519 19980518 19990517"),
    ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "19970512", "19970512 19980511 19990517"),
    ("FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "19970313", "19970313 19970320 19970327 19980305 19980312"),
    ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "19970902", "19980213 19980313 19981113 19990813 20001013"),
    ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "19970913", "19970913 19971011 19971108 19971213 19980110"),
    ("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "19961105", "19961105 20001107 20041102"),
    ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "19970904", "19970904 19971007 19971106"),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "19970929", "19970929 19971030 19971127 19971230 19980129"),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "19970805", "19970805 19970810 19970819 19970824"),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "19970805", "19970805 19970817 19970819 19970831"),
    ("FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "20070115", "20070115 20070130 20070215 20070315 20070330"),
    # Of the text: a date that is not there is left out, never moved.
    ("FREQ=YEARLY", "20240229", "20240229 20280229 20320229"),
    ("FREQ=YEARLY", "18960229", "18960229 19040229 19080229"),
    ("FREQ=MONTHLY", "20260131", "20260131 20260331 20260531 20260731 20260831 20261031 20261231"),
    ("FREQ=YEARLY;BYYEARDAY=-366", "20230101", "20240101 20280101"),
    ("FREQ=YEARLY;BYYEARDAY=366", "20230101", "20241231 20281231"),
    ("FREQ=MONTHLY;BYMONTHDAY=-31", "20260101", "20260101 20260301 20260501 20260701"),
    # RFC 7529: Gregorian is counted, SKIP is OMIT; a leap month of another calendar is the month of that number.
    ("RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=OMIT", "20240229", "20240229 20280229"),
    ("RSCALE=GREGORIAN;FREQ=YEARLY;BYMONTH=5L", "20240501", "20240501 20250501"),
]


@pytest.mark.parametrize(("text", "start", "days"), RFC_EXAMPLES, ids=[each[0] for each in RFC_EXAMPLES])
def test_examples_of_the_rfc(text: str, start: str, days: str) -> None:
    at = wall(start) + 9 * 3600
    expected = [wall(each) + 9 * 3600 for each in days.split()]
    assert list(islice(Series(read(text), at).walls(at, Budget(STEPS)), len(expected))) == expected


@pytest.mark.parametrize("lot", range(LOTS))
def test_the_last_of_count(lot: int) -> None:
    """DTSTART always counts as the first (RFC 5545 section 3.3.10), which dateutil does not do."""
    for random, rule, start in made_up(lot)[: RULES // LOTS // 4]:
        expected = sorted({start, *occurrences(rule, start, start, start + WINDOWS[rule.frequency])})
        count = random.randint(1, min(len(expected), 300))
        text = f"{rule.text()};COUNT={count}"
        assert last_of_count(read(text), seconds(start)) == seconds(expected[count - 1]), (text, start)


@pytest.mark.parametrize(
    ("text", "start", "last"),
    [
        ("FREQ=DAILY;COUNT=1", "20260101", "20260101"),
        ("FREQ=DAILY;COUNT=1000000", "20260101", "47631128"),
        ("FREQ=SECONDLY;COUNT=1000000000", "20260101T000000", "20570909T014639"),
        ("FREQ=MONTHLY;BYDAY=-1FR;COUNT=12000", "20260130", "30251230"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE,FR;COUNT=30000", "20260107", "24090427"),
    ],
)
def test_a_regular_rule_is_counted_without_a_walk(text: str, start: str, last: str) -> None:
    assert last_of_count(read(text), wall(start)) == wall(last)


def test_a_count_past_the_calendar_ends_with_it() -> None:
    found = last_of_count(read("FREQ=YEARLY;COUNT=1000000"), wall("20260101"))
    assert found is not None
    assert found >= END


def test_an_irregular_count_that_is_too_large_is_open() -> None:
    assert last_of_count(read("FREQ=MINUTELY;BYHOUR=3;COUNT=1000000"), wall("20260101T030000")) is None


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("FREQ=SECONDLY", "19000101T000000"),
        ("FREQ=MINUTELY;INTERVAL=7", "19000101T000000"),
        ("FREQ=HOURLY;INTERVAL=5;BYMINUTE=0,30", "19000101T000000"),
        ("FREQ=DAILY", "00010101T090000"),
        ("FREQ=DAILY;INTERVAL=3;BYMONTH=11", "19000101T090000"),
        ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "19000101T090000"),
        ("FREQ=MONTHLY;BYDAY=-1FR", "00010101T090000"),
        ("FREQ=YEARLY;BYDAY=4TH;BYMONTH=11", "00010101T090000"),
        ("FREQ=YEARLY;BYYEARDAY=330", "00010101T090000"),
        ("FREQ=SECONDLY;BYMONTH=11;BYMONTHDAY=25;BYHOUR=12", "19000101T000000"),
    ],
    ids=str,
)
@pytest.mark.parametrize("since", ["20261125T000000", "99981125T000000"], ids=["2026", "9998"])
def test_a_late_window_is_answered_without_a_walk(text: str, start: str, since: str) -> None:
    budget = Budget(STEPS)
    begin = wall(since)
    found = list(islice(Series(read(text), wall(start)).walls(begin, budget), 10))
    assert begin <= found[0] < begin + 400 * DAY
    assert STEPS - budget.left < 400, "steps for the first ten"


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", 40),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", 2),
        ("FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=6", 3),
        ("FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30", 40),
        ("FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30", 40),
        ("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", 40),
        ("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30;BYHOUR=1;BYMINUTE=1;BYSECOND=1", 40),
        ("FREQ=HOURLY;INTERVAL=2;BYHOUR=1", 800),
    ],
)
def test_a_rule_that_yields_nothing_costs_what_its_window_costs(text: str, steps: int) -> None:
    budget = Budget(STEPS)
    begin = wall("20261101T000000")
    assert list(Series(read(text), wall("20260101T000000")).walls(begin, budget, begin + 30 * DAY)) == []
    assert STEPS - budget.left <= steps


def test_the_budget_ends_what_costs_too_much() -> None:
    series = Series(read("FREQ=SECONDLY;INTERVAL=2;BYSECOND=1"), wall("20260101T000000"))
    with pytest.raises(TooManyInstances):
        next(series.walls(0, Budget(10_000)))


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=MONTHLY;BYWEEKNO=20;BYYEARDAY=-1",  # found by fuzzing: 1.5 s of work for a budget of 50,000
        f"FREQ=YEARLY;BYYEARDAY={','.join(map(str, range(1, 367)))};BYMONTHDAY=31;BYMONTH=2",
        f"FREQ=YEARLY;BYWEEKNO={','.join(map(str, range(1, 54)))};BYMONTHDAY=31;BYMONTH=2",
        "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYMONTHDAY=31;BYMONTH=2",
    ],
    ids=str,
)
def test_days_that_are_looked_at_one_by_one_are_paid_for(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0

    def counting(of: Callable[[Days, date], bool]) -> Callable[..., bool]:
        def look(days: Days, day: date, *rest: set[int]) -> bool:
            nonlocal looked_at
            looked_at += 1
            return of(days, day, *rest)

        return look

    for name in ("allows", "_is_listed"):
        monkeypatch.setattr(Days, name, counting(getattr(Days, name)))
    with pytest.raises(TooManyInstances):
        next(Series(read(text), wall("20260101T000000")).walls(wall("20260102T000000"), Budget(5_000)))
    assert 0 < looked_at < 4 * 5_000


@pytest.mark.parametrize(("text", "every"), [("FREQ=HOURLY", 1), ("FREQ=HOURLY;INTERVAL=48", 2), ("FREQ=SECONDLY;BYHOUR=3", 1)])
def test_hours_of_a_day_are_days(text: str, every: int) -> None:
    found = list(islice(Series(read(text), wall("20260101"), all_day=True).walls(0, Budget(STEPS)), 3))
    assert found == [wall("20260101") + index * every * DAY for index in range(3)]


@pytest.mark.parametrize(
    ("day", "week"), [("20260101", 1), ("20251229", 1), ("20251228", 52), ("20210103", 53), ("20241230", 1)]
)
def test_the_oracle_knows_iso_weeks(day: str, week: int) -> None:
    date = (EPOCH + timedelta(seconds=wall(day))).date()
    assert week_of(date, 0)[0] == week == date.isocalendar().week


PARTS = st.sampled_from(
    [f"FREQ={name}" for name in ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "SECONDLY", "X")]
    + [
        f"{name}={value}"
        for name in ("BYDAY", "BYMONTH", "BYSETPOS", "BYWEEKNO")
        for value in ("1", "-1", "53", "1MO", "-5FR,SA")
    ]
    + [
        f"{name}={value}"
        for name in ("INTERVAL", "COUNT", "UNTIL")
        for value in ("1", "0", "\u0663", "20260101T10Z", "19970101", "_1")
    ]
    + ["BYYEARDAY=-366", "BYMONTHDAY=-31,31", "BYHOUR=0,23", "=", "", "WKST=SU", "BYDAY"]
)


@settings(max_examples=300)
@given(
    st.one_of(st.text(max_size=40), st.lists(PARTS, min_size=1, max_size=6).map(";".join), PARTS),
    st.sampled_from([BEGINNING, 0, 951_782_400, END - 1, END - DAY]),
    st.integers(BEGINNING, END),
)
@example("FREQ=YEARLY;BYWEEKNO=1,53,-53", END - 1, END - 1)
@example("FREQ=WEEKLY;WKST=SU;BYDAY=SU,SA", BEGINNING, BEGINNING)
@example("FREQ=MONTHLY;INTERVAL=999999999", BEGINNING, END)
@example("FREQ=SECONDLY;INTERVAL=999999999", BEGINNING, END - 1)
def test_any_text_is_a_rule_or_none_and_any_rule_stays_in_the_calendar(text: str, start: int, since: int) -> None:
    rule = parse_rule(text)
    if rule is None:
        return
    for all_day in (False, True):
        at = start - start % DAY if all_day else start
        series = Series(rule, at, all_day=all_day)
        try:
            found = list(islice(series.walls(since, Budget(2_000)), 20))
        except TooManyInstances:
            continue
        assert found == sorted(set(found))
        assert all(max(at, since) <= each < END for each in found)
        last_of_count(rule, at, all_day=all_day)
