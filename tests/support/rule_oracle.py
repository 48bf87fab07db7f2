"""Recurrence rules by definition (RFC 5545 section 3.3.10), to compare with: seeded rules, and what each of them says.

The oracle knows no cleverness: it looks at every day, hour, minute or second of a window, asks each BYxxx whether it holds, and
applies BYSETPOS to what is left of each period. It shares no code with the package and none with dateutil.
"""

from calendar import isleap, monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, product
from random import Random

FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
# How much of time the oracle looks at, by frequency.
WINDOWS = {
    "YEARLY": timedelta(days=9 * 365),
    "MONTHLY": timedelta(days=4 * 365),
    "WEEKLY": timedelta(days=2 * 365),
    "DAILY": timedelta(days=500),
    "HOURLY": timedelta(days=40),
    "MINUTELY": timedelta(days=1),
    "SECONDLY": timedelta(minutes=40),
}
_STEPS = {"HOURLY": timedelta(hours=1), "MINUTELY": timedelta(minutes=1), "SECONDLY": timedelta(seconds=1)}
_LONG = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")


@dataclass
class OracleRule:
    """A rule in parts; lists as they are written."""

    frequency: str
    interval: int = 1
    week_start: int = 0
    by: dict[str, list[int]] = field(default_factory=dict)
    days: list[tuple[int, int]] = field(default_factory=list)

    def text(self) -> str:
        """The RRULE value."""
        parts = [f"FREQ={self.frequency}"]
        if self.interval != 1:
            parts.append(f"INTERVAL={self.interval}")
        if self.week_start:
            parts.append(f"WKST={WEEKDAYS[self.week_start]}")
        if self.days:
            parts.append("BYDAY=" + ",".join(f"{number or ''}{WEEKDAYS[weekday]}" for number, weekday in self.days))
        parts += [f"{name}={','.join(map(str, values))}" for name, values in self.by.items()]
        return ";".join(parts)


def random_rule(random: Random) -> OracleRule:
    """A rule that RFC 5545 allows, with at most four BYxxx."""
    frequency = random.choice(FREQUENCIES)
    interval = random.choice((1, 1, 1, 2, 3, random.randint(1, 12), random.randint(1, 100)))
    if frequency == "YEARLY":
        interval = random.choice((1, 1, 1, 2, 3, 4))
    rule = OracleRule(frequency, interval, random.choice((0, 0, 6, random.randrange(7))))
    ranges = {"BYMONTH": (1, 12), "BYHOUR": (0, 23), "BYMINUTE": (0, 59), "BYSECOND": (0, 59)}
    if frequency != "WEEKLY":
        ranges["BYMONTHDAY"] = (1, 31)
    if frequency not in ("MONTHLY", "WEEKLY", "DAILY"):
        ranges["BYYEARDAY"] = (1, 366)
    if frequency == "YEARLY":
        ranges["BYWEEKNO"] = (1, 53)
    for name in random.sample(sorted(ranges), random.choice((0, 0, 1, 1, 1, 2, 3))):
        rule.by[name] = _values(random, name, *ranges[name])
    if random.random() < 0.45:
        numbered = frequency in ("YEARLY", "MONTHLY") and "BYWEEKNO" not in rule.by and random.random() < 0.6
        most = 53 if frequency == "YEARLY" and "BYMONTH" not in rule.by else 5
        for _ in range(random.choice((1, 1, 2, 3, 5))):
            number = random.choice((0, 1, 2, 3, 4, -1, -2, random.randint(-most, most))) if numbered else 0
            entry = (number, random.randrange(7))
            if entry not in rule.days:
                rule.days.append(entry)
    if (rule.by or rule.days) and random.random() < 0.3:
        rule.by["BYSETPOS"] = _values(random, "BYSETPOS", 1, random.choice((3, 6, 366)))
    return rule


def _values(random: Random, name: str, least: int, most: int) -> list[int]:
    signed = name in ("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS")
    border = (least, most, most - 1, 29 if name == "BYMONTHDAY" else least)
    many = 60 if name == "BYYEARDAY" else 12
    found = [
        random.choice(border) if random.random() < 0.2 else random.randint(least, most)
        for _ in range(random.choice((1, 1, 2, 3, many)))
    ]
    return list(dict.fromkeys(-each if signed and random.random() < 0.4 else each for each in found))


def random_start(random: Random) -> datetime:
    """A DTSTART of any year that has clients, now and then at a border of the calendar."""
    day = random.choice(
        (
            date(random.randint(1900, 2050), 1, 1) + timedelta(days=random.randrange(366)),
            date(2026, random.randint(1, 12), random.randint(1, 28)),
            date(random.choice((1996, 2000, 2024)), 2, 29),
            date(2025, random.choice((1, 3, 5, 12)), 31),
        )
    )
    hour, minute, second = random.choice(((0, 0, 0), (9, 0, 0), (23, 59, 59), tuple(random.randrange(n) for n in (24, 60, 60))))
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)


def occurrences(rule: OracleRule, start: datetime, begin: datetime, end: datetime) -> list[datetime]:
    """Every time of [begin, end), at or after `start`, that this rule of a DTSTART at `start` says, by definition."""
    rule = _completed(rule, start)
    found: list[datetime] = []
    for _, group in groupby(_candidates(rule, start, begin, end), key=lambda each: each[0]):
        times = [moment for _, moment in group]
        positions = rule.by.get("BYSETPOS")
        if positions:
            indexes = {each - 1 if each > 0 else len(times) + each for each in positions}
            times = [moment for index, moment in enumerate(times) if index in indexes]
        found += times
    return [each for each in found if begin <= each < end and each >= start]


def _completed(rule: OracleRule, start: datetime) -> OracleRule:
    """With what DTSTART says that the rule does not ("are derived from the Start Time")."""
    by, days = dict(rule.by), list(rule.days)
    if rule.frequency in _LONG:
        by.setdefault("BYHOUR", [start.hour])
    if rule.frequency in (*_LONG, "HOURLY"):
        by.setdefault("BYMINUTE", [start.minute])
    if rule.frequency != "SECONDLY":
        by.setdefault("BYSECOND", [start.second])
    if not days and "BYMONTHDAY" not in by and "BYYEARDAY" not in by:
        if rule.frequency == "WEEKLY" or (rule.frequency == "YEARLY" and "BYWEEKNO" in by):
            days = [(0, start.weekday())]
        elif rule.frequency == "MONTHLY":
            by["BYMONTHDAY"] = [start.day]
        elif rule.frequency == "YEARLY":
            by["BYMONTHDAY"] = [start.day]
            by.setdefault("BYMONTH", [start.month])
    return OracleRule(rule.frequency, rule.interval, rule.week_start, by, days)


def _candidates(rule: OracleRule, start: datetime, begin: datetime, end: datetime) -> Iterator[tuple[int, datetime]]:
    """(period, time) of all that is on the grid of INTERVAL and that every BYxxx lets pass, whole periods around the window."""
    by = rule.by
    if rule.frequency in _LONG:
        times = sorted(product(by["BYHOUR"], by["BYMINUTE"], by["BYSECOND"]))
        margin = {"YEARLY": 366, "MONTHLY": 31, "WEEKLY": 7, "DAILY": 1}[rule.frequency]
        day = begin.date() - timedelta(days=margin)
        first = _period(rule, start.date())
        while day <= end.date() + timedelta(days=margin):
            period = _period(rule, day) - first
            if period >= 0 and period % rule.interval == 0 and _is_day(rule, day):
                yield from ((period, datetime(day.year, day.month, day.day, *time, tzinfo=UTC)) for time in times)
            day += timedelta(days=1)
        return
    step = _STEPS[rule.frequency]
    origin = start.replace(
        minute=0 if rule.frequency == "HOURLY" else start.minute, second=0 if rule.frequency != "SECONDLY" else start.second
    )
    period = max(0, (begin - origin) // step // rule.interval * rule.interval)
    while (at := origin + period * step) < end:
        fits = "BYHOUR" not in by or at.hour in by["BYHOUR"]
        minutes = sorted(by["BYMINUTE"]) if rule.frequency == "HOURLY" else [at.minute]
        seconds = sorted(by["BYSECOND"]) if rule.frequency != "SECONDLY" else [at.second]
        if fits and _is_day(rule, at.date()):
            for minute, second in product(minutes, seconds):
                if minute in by.get("BYMINUTE", [minute]) and second in by.get("BYSECOND", [second]):
                    yield period, at.replace(minute=minute, second=second)
        period += rule.interval


def _period(rule: OracleRule, day: date) -> int:
    if rule.frequency == "YEARLY":
        return day.year
    if rule.frequency == "MONTHLY":
        return day.year * 12 + day.month
    if rule.frequency == "WEEKLY":
        return (day.toordinal() - 1 - rule.week_start) // 7
    return day.toordinal()


def _is_day(rule: OracleRule, day: date) -> bool:
    by = rule.by
    if "BYMONTH" in by and day.month not in by["BYMONTH"]:
        return False
    length = monthrange(day.year, day.month)[1]
    if "BYMONTHDAY" in by and not {day.day, day.day - length - 1} & set(by["BYMONTHDAY"]):
        return False
    year_length, number = 365 + isleap(day.year), day.timetuple().tm_yday
    if "BYYEARDAY" in by and not {number, number - year_length - 1} & set(by["BYYEARDAY"]):
        return False
    if "BYWEEKNO" in by:
        week, weeks = week_of(day, rule.week_start)
        if not {week, week - weeks - 1} & set(by["BYWEEKNO"]):
            return False
    if not rule.days:
        return True
    if rule.frequency == "MONTHLY" or (rule.frequency == "YEARLY" and "BYMONTH" in by):
        at, of = day.day, length
    else:
        at, of = number, year_length
    ordinals = {0, (at - 1) // 7 + 1, -((of - at) // 7 + 1)}
    return any(weekday == day.weekday() and n in ordinals for n, weekday in rule.days)


def week_of(day: date, week_start: int) -> tuple[int, int]:
    """(number of the week, weeks of its year), by looking: week 1 is the first with four days in the year."""

    def first_of(year: int) -> date:
        at = date(year, 1, 4)
        while at.weekday() != week_start:
            at -= timedelta(days=1)
        return at

    year = next(each for each in (day.year + 1, day.year, day.year - 1) if first_of(each) <= day)
    return (day - first_of(year)).days // 7 + 1, (first_of(year + 1) - first_of(year)).days // 7
