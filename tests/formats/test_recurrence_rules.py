"""Recurrence rules as values: what is read, and what is no rule."""

import pytest

from preau.formats.calendar_values import Moment
from preau.formats.recurrence_rules import DAILY, MONTHLY, YEARLY, Rule, parse_rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("FREQ=DAILY", Rule(DAILY)),
        (" freq=daily;interval=2 ", Rule(DAILY, interval=2)),
        ("FREQ=DAILY;;X-OTHER=1;BYDAY=;BYHOUR=", Rule(DAILY)),
        ("FREQ=YEARLY;COUNT=3", Rule(YEARLY, count=3)),
        ("FREQ=YEARLY;COUNT=99999999999999", Rule(YEARLY, count=10**9)),
        ("FREQ=DAILY;UNTIL=20260101", Rule(DAILY, until=Moment(1_767_225_600, "date"))),
        ("FREQ=DAILY;UNTIL=20260101T000000Z", Rule(DAILY, until=Moment(1_767_225_600, "utc"))),
        ("FREQ=DAILY;UNTIL=20260101T000000", Rule(DAILY, until=Moment(1_767_225_600, "local"))),
        ("FREQ=MONTHLY;BYDAY=MO,-1SU,+2TU,MO", Rule(MONTHLY, days=((-1, 6), (0, 0), (2, 1)))),
        ("FREQ=MONTHLY;BYMONTHDAY=31,1,-1,1", Rule(MONTHLY, month_days=(-1, 1, 31))),
        ("FREQ=DAILY;BYSECOND=60,59,0", Rule(DAILY, seconds=(0, 59))),
        ("FREQ=DAILY;WKST=SU", Rule(DAILY, week_start=6)),
        ("RSCALE=CHINESE;FREQ=YEARLY;BYMONTH=5L;SKIP=FORWARD", Rule(YEARLY, months=(5,))),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_rules_are_read(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DAILY",
        "INTERVAL=2",
        "FREQ=FORTNIGHTLY",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=-1",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;COUNT=x",
        "FREQ=DAILY;UNTIL=tomorrow",
        "FREQ=DAILY;BYMONTH=13",
        "FREQ=DAILY;BYMONTH=0",
        "FREQ=MONTHLY;BYMONTHDAY=0",
        "FREQ=MONTHLY;BYMONTHDAY=-32",
        "FREQ=YEARLY;BYYEARDAY=367",
        "FREQ=YEARLY;BYWEEKNO=54",
        "FREQ=DAILY;BYHOUR=24",
        "FREQ=DAILY;BYHOUR=-1",
        "FREQ=DAILY;BYMINUTE=60",
        "FREQ=DAILY;BYSECOND=61",
        "FREQ=MONTHLY;BYDAY=0MO",
        "FREQ=MONTHLY;BYDAY=54MO",
        "FREQ=MONTHLY;BYDAY=XX",
        "FREQ=MONTHLY;BYDAY=1",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=0",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=367",
        "FREQ=DAILY;WKST=1",
        "FREQ=DAILY;INTERVAL=" + "9" * 7_000,
        "FREQ=DAILY;BYMONTH=" + "1," * 10_000,
    ],
    ids=lambda each: each[:40],
)
def test_what_is_no_rule_is_none(text: str) -> None:
    assert parse_rule(text) is None
