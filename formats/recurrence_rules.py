"""Recurrence rules: RRULE values to times on the wall (RFC 5545 section 3.3.10).

Works by periods: the year, month, week, day, hour, minute or second numbered k from DTSTART's own, each giving its set of
times at once (BYxxx widen or narrow it, BYSETPOS chooses). So a question about next month begins in next month, whatever
DTSTART is, and a rule that yields nothing costs counted steps, never an endless loop; dateutil.rrule walks from DTSTART, cannot
be stopped while it finds nothing, and is what the tests compare with. RSCALE (RFC 7529) is counted as Gregorian, SKIP as OMIT.
Never knows zones: UNTIL in UTC is the caller's to convert.
"""

from bisect import bisect_left
from calendar import isleap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import islice

from .calendar_values import BEGINNING, DAY, END, EPOCH, Moment, parse_moment

YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY, SECONDLY = range(7)
_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
_WEEKDAYS = {name: number for number, name in enumerate(("MO", "TU", "WE", "TH", "FR", "SA", "SU"))}
_UNIT = {HOURLY: 3600, MINUTELY: 60, SECONDLY: 1}
_LONGEST_RULE = 8_000
_LAST_DAY = date.max.toordinal()
# Whoever counts the instances of an irregular COUNT rule stops here and calls it open.
_MOST_COUNTED = 50_000


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


class Series:
    """A rule from its DTSTART (a time on the wall). COUNT and UNTIL are not looked at: see `last_of_count`."""

    __slots__ = ("_days", "_lists_days", "_month_filter", "_of_times", "_plain", "day", "rule", "start", "times")

    def __init__(self, rule: Rule, start: int, *, all_day: bool = False) -> None:
        if all_day and rule.frequency > DAILY:
            # Hours of a DATE: RFC 5545 forbids them; what can be meant is every day, or every so many.
            interval = max(1, rule.interval * _UNIT[rule.frequency] // DAY)
            rule = _replaced(rule, frequency=DAILY, interval=interval)
        self.start = start
        self.day = EPOCH + start // DAY
        rule = _completed(rule, date.fromordinal(self.day))
        self.rule = rule
        second = start % DAY
        if all_day:
            self.times = [0]
        elif rule.frequency <= DAILY:
            self.times = [
                hour * 3600 + minute * 60 + each
                for hour in rule.hours or (second // 3600,)
                for minute in rule.minutes or (second // 60 % 60,)
                for each in rule.seconds or (second % 60,)
            ]
        else:
            self.times = self._times_in_unit(second)
        self._plain = frozenset(weekday for _, weekday in rule.days)
        self._lists_days = bool(rule.year_days or rule.weeks)

    def _times_in_unit(self, second: int) -> list[int]:
        """Seconds into the hour, minute or second that make one of its times."""
        if self.rule.frequency == SECONDLY:
            return [0]
        seconds = self.rule.seconds or (second % 60,)
        if self.rule.frequency == MINUTELY:
            return list(seconds)
        return [minute * 60 + each for minute in self.rule.minutes or (second // 60 % 60,) for each in seconds]

    def walls(self, since: int, budget: Budget, until: int = END) -> Iterator[int]:
        """The times at or after `since` and DTSTART, ascending, to the year 9999; each empty period costs a step.

        Periods that begin at `until` or later are not looked at: a rule that yields nothing costs what its window costs.
        """
        since, until = max(since, self.start), min(until, END)
        if since >= until:
            return
        make = self._short_sets if self.rule.frequency > DAILY else self._long_sets
        for walls in make(since, until, budget):
            yield from walls if walls[0] >= since else walls[bisect_left(walls, since) :]

    def _long_sets(self, since: int, until: int, budget: Budget) -> Iterator[list[int]]:
        """The sets of periods of a day and more, from the one that `since` is in to the one that ends `until`."""
        rule, times = self.rule, self.times
        days_of = self._period_days()
        period, last = self.period_at(since), self.period_at(until - 1)
        positions = rule.positions
        single = times[0] if len(times) == 1 else None
        while period <= last and (days := days_of(period)) is not None:
            period += 1
            budget.spend(1 + len(days) * len(times) // 8)
            if not days:
                continue
            if single is not None:
                walls = [(day - EPOCH) * DAY + single for day in days]
            else:
                walls = [base + each for base in [(day - EPOCH) * DAY for day in days] for each in times]
            if positions:
                walls = chosen(walls, positions)
                if not walls:
                    continue
            yield walls

    def period_at(self, wall: int) -> int:
        """The number of the last period that begins at or before this time (of long frequencies)."""
        rule = self.rule
        ordinal = EPOCH + wall // DAY
        if rule.frequency == DAILY:
            return (ordinal - self.day) // rule.interval
        if rule.frequency == WEEKLY:
            return (ordinal - self._first_week()) // 7 // rule.interval
        then, first = date.fromordinal(ordinal), date.fromordinal(self.day)
        if rule.frequency == MONTHLY:
            return ((then.year - first.year) * 12 + then.month - first.month) // rule.interval
        return (then.year - first.year) // rule.interval

    def _first_week(self) -> int:
        return self.day - (self.day - 1 - self.rule.week_start) % 7

    def _period_days(self) -> Callable[[int], list[int] | None]:
        """What gives the days (ordinals) of a period by its number, None past the year 9999."""
        rule = self.rule
        first = date.fromordinal(self.day)
        if rule.frequency == DAILY:
            unfiltered = not (rule.months or rule.month_days or rule.days or self._lists_days)

            def of_day(period: int) -> list[int] | None:
                day = self.day + period * rule.interval
                if day > _LAST_DAY:
                    return None
                return [day] if unfiltered or self._is_day(date.fromordinal(day)) else []

            return of_day
        if rule.frequency == WEEKLY:
            week = self._first_week()
            offsets = sorted({(weekday - rule.week_start) % 7 for weekday in self._plain}) or list(range(7))
            filtered = bool(rule.months or rule.month_days or self._lists_days)

            def of_week(period: int) -> list[int] | None:
                begin = week + period * 7 * rule.interval
                if begin > _LAST_DAY:
                    return None
                days = [begin + each for each in offsets if 0 < begin + each <= _LAST_DAY]
                return [day for day in days if self._is_day(date.fromordinal(day))] if filtered else days

            return of_week
        if rule.frequency == MONTHLY:

            def of_month(period: int) -> list[int] | None:
                year, month = divmod(first.year * 12 + first.month - 1 + period * rule.interval, 12)
                if year > date.max.year:
                    return None
                if rule.months and month + 1 not in rule.months:
                    return []
                days = self._month(year, month + 1)
                return [day for day in days if self._is_listed(date.fromordinal(day))] if self._lists_days else days

            return of_month

        def of_year(period: int) -> list[int] | None:
            year = first.year + period * rule.interval
            return self._year(year) if year <= date.max.year else None

        return of_year

    def _year(self, year: int) -> list[int]:
        rule = self.rule
        if self._lists_days:
            begin = date(year, 1, 1).toordinal()
            length = 366 if isleap(year) else 365
            if rule.year_days:
                numbers = {each if each > 0 else length + 1 + each for each in rule.year_days}
                days = [begin + each - 1 for each in sorted(numbers) if 1 <= each <= length]
            else:
                days = [day for day in _days_of_weeks(rule.weeks, year, rule.week_start) if begin <= day < begin + length]
            numbered = set(self._weekdays_of_year(year)) if any(n for n, _ in rule.days) and not rule.weeks else None
            return [day for day in days if self._is_day(date.fromordinal(day), numbered)]
        if rule.days and not rule.months and any(n for n, _ in rule.days):
            days = self._weekdays_of_year(year)
            return [day for day in days if self._is_month_day(date.fromordinal(day))] if rule.month_days else days
        return [day for month in rule.months or range(1, 13) for day in self._month(year, month)]

    def _month(self, year: int, month: int) -> list[int]:
        """Days of a month by BYMONTHDAY and BYDAY; all when there is neither."""
        rule = self.rule
        begin = date(year, month, 1).toordinal()
        length = _length(year, month)
        if rule.month_days:
            if rule.month_days[0] > 0:
                days = [begin + each - 1 for each in rule.month_days if each <= length]
            else:
                numbers = {each if each > 0 else length + 1 + each for each in rule.month_days}
                days = [begin + each - 1 for each in sorted(numbers) if 1 <= each <= length]
            if rule.days:
                allowed = set(_weekdays(rule.days, begin, length))
                days = [day for day in days if day in allowed]
            return days
        return _weekdays(rule.days, begin, length) if rule.days else list(range(begin, begin + length))

    def _weekdays_of_year(self, year: int) -> list[int]:
        """BYDAY of a year; its numbers count in the months when BYMONTH is there."""
        if self.rule.months:
            return [
                day
                for month in self.rule.months
                for day in _weekdays(self.rule.days, date(year, month, 1).toordinal(), _length(year, month))
            ]
        return _weekdays(self.rule.days, date(year, 1, 1).toordinal(), 366 if isleap(year) else 365)

    def _is_day(self, day: date, numbered: set[int] | None = None) -> bool:
        """Whether every BYxxx that speaks of days holds; numbers of BYDAY only through `numbered`."""
        rule = self.rule
        if rule.months and day.month not in rule.months:
            return False
        if rule.month_days and not self._is_month_day(day):
            return False
        if numbered is not None:
            if day.toordinal() not in numbered:
                return False
        elif rule.days and day.weekday() not in self._plain:
            return False
        return not self._lists_days or self._is_listed(day)

    def _is_month_day(self, day: date) -> bool:
        return day.day in self.rule.month_days or day.day - 1 - _length(day.year, day.month) in self.rule.month_days

    def _is_listed(self, day: date) -> bool:
        rule = self.rule
        if rule.year_days:
            number = day.timetuple().tm_yday
            if number not in rule.year_days and number - (367 if isleap(day.year) else 366) not in rule.year_days:
                return False
        if rule.weeks:
            week, weeks = _week(day, rule.week_start)
            return week in rule.weeks or week - 1 - weeks in rule.weeks
        return True

    def _short_sets(self, since: int, until: int, budget: Budget) -> Iterator[list[int]]:
        """The sets of hours, minutes or seconds, from the one that `since` is in; days and hours that fail are jumped over."""
        rule, times = self.rule, self.times
        unit = _UNIT[rule.frequency]
        step = rule.interval * unit
        first = self.start - self.start % unit
        filters_days = bool(rule.months or rule.month_days or rule.days or self._lists_days)
        at = first + (since - first) // step * step
        good_until = BEGINNING

        def from_(wall: int) -> int:
            return first - (first - wall) // step * step

        while at < until:
            budget.spend()
            if filters_days and at >= good_until:
                day = date.fromordinal(EPOCH + at // DAY)
                if rule.months and day.month not in rule.months:
                    at = from_((day.replace(day=1).toordinal() - EPOCH + _length(day.year, day.month)) * DAY)
                    continue
                good_until = (at // DAY + 1) * DAY
                if not self._is_day(day):
                    at = from_(good_until)
                    continue
            if rule.hours and at % DAY // 3600 not in rule.hours:
                at = from_((at // 3600 + 1) * 3600)
                continue
            if rule.frequency > HOURLY and rule.minutes and at // 60 % 60 not in rule.minutes:
                at = from_((at // 60 + 1) * 60)
                continue
            if rule.frequency == SECONDLY and rule.seconds and at % 60 not in rule.seconds:
                at += step
                continue
            walls = [at + each for each in times]
            at += step
            if rule.positions:
                walls = chosen(walls, rule.positions)
            if walls:
                yield walls

    def nth_of_period(self, period: int, index: int) -> int:
        """The time at this place of this period's set, BYSETPOS aside; END when that is past the year 9999."""
        if self.rule.frequency > DAILY:
            unit = _UNIT[self.rule.frequency]
            return self.start - self.start % unit + period * self.rule.interval * unit + self.times[index]
        days = self._period_days()(period)
        if days is None:
            return END
        day, time = divmod(index, len(self.times))
        return (days[day] - EPOCH) * DAY + self.times[time]

    def regularity(self) -> int:
        """How many times each period has, when all have the same number; 0 when that is not known."""
        rule = self.rule
        if rule.positions or self._lists_days:
            return 0
        if rule.frequency > DAILY:
            plain = not (rule.months or rule.month_days or rule.days or rule.hours)
            plain = (
                plain and not (rule.frequency > HOURLY and rule.minutes) and not (rule.frequency == SECONDLY and rule.seconds)
            )
            return len(self.times) if plain else 0
        if rule.frequency == DAILY:
            return 0 if rule.months or rule.month_days or rule.days else len(self.times)
        if rule.frequency == WEEKLY:
            return 0 if rule.months or rule.month_days else len(self._plain) * len(self.times)
        if (rule.months and rule.frequency == MONTHLY) or (rule.days and rule.month_days):
            return 0
        months = len(rule.months) if rule.months else 12 if rule.frequency == YEARLY else 1
        if rule.month_days:
            steady = all(
                0 < each <= 28 or (each < 0 and rule.month_days == (each,) and each >= -28) for each in rule.month_days
            )
            return len(rule.month_days) * months * len(self.times) if steady else 0
        in_month = rule.frequency == MONTHLY or bool(rule.months)
        steady = in_month and len(rule.days) == 1 and 0 < abs(rule.days[0][0]) <= 4
        return months * len(self.times) if steady else 0


def _replaced(rule: Rule, **changes: object) -> Rule:
    values: dict[str, object] = {name: getattr(rule, name) for name in Rule.__slots__} | changes
    return Rule(**values)  # type: ignore[arg-type]  # the fields of a Rule, by name


@lru_cache(maxsize=1024)
def _completed(rule: Rule, first: date) -> Rule:
    """The rule with what it takes from DTSTART: the month, the day or the weekday that it does not name."""
    if rule.frequency >= DAILY or rule.year_days or rule.month_days or rule.days:
        return rule
    if rule.frequency == YEARLY and not rule.weeks:
        return _replaced(rule, months=rule.months or (first.month,), month_days=(first.day,))
    if rule.frequency == MONTHLY and not rule.weeks:
        return _replaced(rule, month_days=(first.day,))
    return _replaced(rule, days=((0, first.weekday()),))


def chosen(walls: list[int], positions: tuple[int, ...]) -> list[int]:
    """BYSETPOS of one period's set."""
    indexes = {each - 1 if each > 0 else len(walls) + each for each in positions}
    return [walls[each] for each in sorted(indexes) if 0 <= each < len(walls)]


@lru_cache(maxsize=1024)
def last_of_count(rule: Rule, start: int, *, all_day: bool = False) -> int | None:
    """The time of the last instance that COUNT allows, DTSTART being the first; None when counting it would cost too much."""
    if rule.count is None or rule.count == 1:
        return start
    series = Series(rule, start, all_day=all_day)
    budget = Budget(_MOST_COUNTED)
    # DTSTART always counts, also where the rule does not yield it (RFC 5545 section 3.3.10).
    left = rule.count - 1
    each = series.regularity()
    try:
        if each:
            # Of the period of DTSTART only what comes after it counts; all others are full.
            here = next((index for index in range(each) if series.nth_of_period(0, index) > start), each)
            return series.nth_of_period(*divmod(here + left - 1, each))
        last = start
        for wall in islice(series.walls(start + 1, budget), left):
            budget.spend()
            last = wall
    except TooManyInstances:
        return None
    return last


@lru_cache(maxsize=2048)
def _length(year: int, month: int) -> int:
    return (31, 29 if isleap(year) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def _weekdays(days: tuple[tuple[int, int], ...], begin: int, length: int) -> list[int]:
    """BYDAY within a month or a year that begins at this ordinal."""
    found: list[int] = []
    # The ordinal 1 is a Monday.
    weekday_of_begin = (begin - 1) % 7
    for number, weekday in days:
        offset = (weekday - weekday_of_begin) % 7
        if not number:
            found.extend(range(begin + offset, begin + length, 7))
            continue
        if number > 0:
            offset += 7 * (number - 1)
        else:
            offset += 7 * ((length - 1 - offset) // 7 + 1 + number)
        if 0 <= offset < length:
            found.append(begin + offset)
    return sorted(set(found)) if len(days) > 1 else found


def _week(day: date, week_start: int) -> tuple[int, int]:
    """(number of the week, weeks of its year): the first has at least four days in the year (RFC 5545, BYWEEKNO)."""
    ordinal = day.toordinal()
    # The fourth day of its week decides to which year a week belongs.
    middle = ordinal - (ordinal - 1 - week_start) % 7 + 3
    year = date.fromordinal(middle).year if 0 < middle <= _LAST_DAY else day.year
    begin = _first_week_of(year, week_start)
    following = _first_week_of(year + 1, week_start)
    return (middle - 3 - begin) // 7 + 1, (following - begin) // 7


def _days_of_weeks(weeks: tuple[int, ...], year: int, week_start: int) -> list[int]:
    """The ordinals of the days of these weeks of a year and of its neighbours, whose weeks reach into it."""
    days: set[int] = set()
    for each in (year - 1, year, year + 1):
        if not 0 < each < date.max.year:
            continue
        begin = _first_week_of(each, week_start)
        length = (_first_week_of(each + 1, week_start) - begin) // 7
        for week in weeks:
            number = week if week > 0 else length + 1 + week
            if 1 <= number <= length:
                days.update(range(begin + 7 * number - 7, begin + 7 * number))
    return sorted(days)


def _first_week_of(year: int, week_start: int) -> int:
    """The ordinal of the first day of week 1."""
    new_year = date(year, 1, 1).toordinal() if year <= date.max.year else _LAST_DAY + 1
    back = (new_year - 1 - week_start) % 7
    return new_year - back if back <= 3 else new_year - back + 7
