"""Recurrence rules as values: RRULE and EXRULE read (RFC 5545 section 3.3.10), and the budget of whoever works them out.

RSCALE (RFC 7529) is counted as Gregorian, SKIP as OMIT. Never knows when a rule takes place: that is recurrence_series.py's.
"""

from dataclasses import dataclass
from functools import lru_cache

from .calendar_values import Moment, parse_moment

YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY, SECONDLY = range(7)
_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
_WEEKDAYS = {name: number for number, name in enumerate(("MO", "TU", "WE", "TH", "FR", "SA", "SU"))}
_LONGEST_RULE = 8_000


class TooManyInstances(Exception):
    """A window holds more instances, or costs more work, than the limits allow."""


class Budget:
    """Steps of work that are left; `spend` raises TooManyInstances at the end of them."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Takes steps away."""
        self.left -= steps
        if self.left < 0:
            raise TooManyInstances("a recurrence that costs too much work")


@dataclass(frozen=True, slots=True)
class Rule:
    """One RRULE, its lists sorted and without doubles. `days` are (n, weekday from Monday 0), n 0 when there is no number."""

    frequency: int
    interval: int = 1
    count: int | None = None
    until: Moment | None = None
    months: tuple[int, ...] = ()
    weeks: tuple[int, ...] = ()
    year_days: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    days: tuple[tuple[int, int], ...] = ()
    hours: tuple[int, ...] = ()
    minutes: tuple[int, ...] = ()
    seconds: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    week_start: int = 0


def parse_rule(text: str) -> Rule | None:
    """The rule of an RRULE or EXRULE value; None when it is none. Parts that are unknown, and empty ones, say nothing."""
    return _parse_rule(text.strip().upper()) if len(text) <= _LONGEST_RULE else None


@lru_cache(maxsize=512)
def _parse_rule(text: str) -> Rule | None:
    parts: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        if value.strip():
            parts.setdefault(name.strip(), value.strip())
    try:
        until = parse_moment(parts["UNTIL"]) if "UNTIL" in parts else None
        if "UNTIL" in parts and until is None:
            return None
        count = int(parts["COUNT"]) if "COUNT" in parts else None
        return Rule(
            frequency=_FREQUENCIES.index(parts["FREQ"]),
            interval=_within(int(parts.get("INTERVAL", "1")), 1, 10**9),
            count=None if count is None else _within(count, 1, 10**9),
            until=until,
            # BYMONTH=5L is a leap month of another calendar (RFC 7529 section 4.2): Gregorian has none.
            months=_numbers(parts.get("BYMONTH", "").replace("L", ""), 1, 12),
            weeks=_numbers(parts.get("BYWEEKNO"), 1, 53, signed=True),
            year_days=_numbers(parts.get("BYYEARDAY"), 1, 366, signed=True),
            month_days=_numbers(parts.get("BYMONTHDAY"), 1, 31, signed=True),
            days=tuple(sorted({_weekday(each) for each in parts["BYDAY"].split(",") if each})) if "BYDAY" in parts else (),
            hours=_numbers(parts.get("BYHOUR"), 0, 23),
            minutes=_numbers(parts.get("BYMINUTE"), 0, 59),
            seconds=tuple(sorted({min(each, 59) for each in _numbers(parts.get("BYSECOND"), 0, 60)})),
            positions=_numbers(parts.get("BYSETPOS"), 1, 366, signed=True),
            week_start=_WEEKDAYS[parts.get("WKST", "MO")],
        )
    except (ValueError, KeyError):
        return None


def _within(value: int, least: int, most: int) -> int:
    if value < least:
        raise ValueError
    return min(value, most)


def _numbers(text: str | None, least: int, most: int, *, signed: bool = False) -> tuple[int, ...]:
    if not text:
        return ()
    numbers = {int(each) for each in text.split(",") if each.strip()}
    if any(not least <= (abs(each) if signed else each) <= most for each in numbers):
        raise ValueError
    return tuple(sorted(numbers))


def _weekday(text: str) -> tuple[int, int]:
    text = text.strip()
    number = int(text[:-2]) if len(text) > 2 else 0
    if abs(number) > 53 or (len(text) > 2 and not number):
        raise ValueError
    return number, _WEEKDAYS[text[-2:]]
