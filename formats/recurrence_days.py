"""The days of a rule's periods (RFC 5545 section 3.3.10): BYMONTH, BYWEEKNO, BYYEARDAY, BYMONTHDAY and BYDAY.

Days are ordinals. A period is the year, month, week or day numbered k from DTSTART's own, and gives its days at once.
"""

from calendar import isleap
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache

from .recurrence_rules import DAILY, MONTHLY, WEEKLY, YEARLY, Rule

_LAST_DAY = date.max.toordinal()


class Days:
    """The days that a rule, complete with what it takes from DTSTART, allows, and its periods from DTSTART's day on."""

    __slots__ = ("_lists", "_plain", "day", "most_looked_at", "rule")

    def __init__(self, rule: Rule, day: int) -> None:
        self.rule = rule
        self.day = day
        self._plain = frozenset(weekday for _, weekday in rule.days)
        self._lists = bool(rule.year_days or rule.weeks)
        self.most_looked_at = self._count_looked_at()
        """Days of a period of a day or more that are looked at one by one, about, whether it has any of them or not."""

    def _count_looked_at(self) -> int:
        rule = self.rule
        if rule.frequency == MONTHLY:
            return 31 if self._lists else 0
        if rule.frequency == YEARLY:
            return len(rule.year_days) or 7 * len(rule.weeks)
        return 7 if rule.frequency == WEEKLY else 1

    def period_at(self, ordinal: int) -> int:
        """The number of the last period that begins at or before this day (of frequencies of a day and more)."""
        rule = self.rule
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

    def plain_periods(self, first: int, last: int) -> tuple[Sequence[int], Sequence[int]]:
        """Of DAILY and WEEKLY that nothing but weekdays narrows: begins of the periods that may touch [first, last], and the
        days of each as offsets; together ascending. Some days may lie outside."""
        rule = self.rule
        if rule.frequency == WEEKLY:
            week, step = self._first_week(), 7 * rule.interval
            return range(week + max(0, (first - week) // step) * step, last + 1, step), self._offsets()
        begin = self.day + max(0, (first - self.day) // rule.interval) * rule.interval
        days = range(begin, last + 1, rule.interval)
        # The ordinal 1 is a Monday.
        return ([day for day in days if (day - 1) % 7 in self._plain] if self._plain else days), (0,)

    def _offsets(self) -> list[int]:
        """The weekdays of a week of WEEKLY."""
        return sorted({(weekday - self.rule.week_start) % 7 for weekday in self._plain}) or list(range(7))

    def of_periods(self) -> Callable[[int], list[int] | None]:
        """What gives the days (ordinals) of a period by its number, None past the year 9999."""
        rule = self.rule
        first = date.fromordinal(self.day)
        if rule.frequency == DAILY:
            unfiltered = not (rule.months or rule.month_days or rule.days or self._lists)

            def of_day(period: int) -> list[int] | None:
                day = self.day + period * rule.interval
                if day > _LAST_DAY:
                    return None
                return [day] if unfiltered or self.allows(date.fromordinal(day)) else []

            return of_day
        if rule.frequency == WEEKLY:
            week = self._first_week()
            offsets = self._offsets()
            filtered = bool(rule.months or rule.month_days or self._lists)

            def of_week(period: int) -> list[int] | None:
                begin = week + period * 7 * rule.interval
                if begin > _LAST_DAY:
                    return None
                days = [begin + each for each in offsets if 0 < begin + each <= _LAST_DAY]
                return [day for day in days if self.allows(date.fromordinal(day))] if filtered else days

            return of_week
        if rule.frequency == MONTHLY:

            def of_month(period: int) -> list[int] | None:
                year, month = divmod(first.year * 12 + first.month - 1 + period * rule.interval, 12)
                if year > date.max.year:
                    return None
                if rule.months and month + 1 not in rule.months:
                    return []
                days = self._month(year, month + 1)
                return [day for day in days if self._is_listed(date.fromordinal(day))] if self._lists else days

            return of_month

        def of_year(period: int) -> list[int] | None:
            year = first.year + period * rule.interval
            return self._year(year) if year <= date.max.year else None

        return of_year

    def _year(self, year: int) -> list[int]:
        rule = self.rule
        if self._lists:
            begin = date(year, 1, 1).toordinal()
            length = 366 if isleap(year) else 365
            if rule.year_days:
                numbers = {each if each > 0 else length + 1 + each for each in rule.year_days}
                days = [begin + each - 1 for each in sorted(numbers) if 1 <= each <= length]
            else:
                days = [day for day in _days_of_weeks(rule.weeks, year, rule.week_start) if begin <= day < begin + length]
            numbered = set(self._weekdays_of_year(year)) if any(n for n, _ in rule.days) and not rule.weeks else None
            return [day for day in days if self.allows(date.fromordinal(day), numbered)]
        if rule.days and not rule.months and any(n for n, _ in rule.days):
            days = self._weekdays_of_year(year)
            return [day for day in days if self._is_month_day(date.fromordinal(day))] if rule.month_days else days
        return [day for month in rule.months or range(1, 13) for day in self._month(year, month)]

    def _month(self, year: int, month: int) -> list[int]:
        """Days of a month by BYMONTHDAY and BYDAY; all when there is neither."""
        rule = self.rule
        begin = date(year, month, 1).toordinal()
        length = length_of_month(year, month)
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
                for day in _weekdays(self.rule.days, date(year, month, 1).toordinal(), length_of_month(year, month))
            ]
        return _weekdays(self.rule.days, date(year, 1, 1).toordinal(), 366 if isleap(year) else 365)

    def allows(self, day: date, numbered: set[int] | None = None) -> bool:
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
        return not self._lists or self._is_listed(day)

    def _is_month_day(self, day: date) -> bool:
        return day.day in self.rule.month_days or day.day - 1 - length_of_month(day.year, day.month) in self.rule.month_days

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


@lru_cache(maxsize=2048)
def length_of_month(year: int, month: int) -> int:
    """Days of this month."""
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
