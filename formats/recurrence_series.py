"""When a rule takes place: times on the wall from its DTSTART (RFC 5545 section 3.3.10).

Works by periods: the year, month, week, day, hour, minute or second numbered k from DTSTART's own, each giving its set of
times at once (BYxxx widen or narrow it, BYSETPOS chooses). So a question about next month begins in next month, whatever
DTSTART is, and a rule that yields nothing costs counted steps, never an endless loop; dateutil.rrule walks from DTSTART, cannot
be stopped while it finds nothing, and is what the tests compare with.
Never knows zones: UNTIL in UTC is the caller's to convert.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from itertools import islice

from .calendar_values import BEGINNING, DAY, END, EPOCH
from .recurrence_days import Days, length_of_month
from .recurrence_rules import DAILY, HOURLY, MINUTELY, MONTHLY, SECONDLY, WEEKLY, YEARLY, Budget, Rule, TooManyInstances

_UNIT = {HOURLY: 3600, MINUTELY: 60, SECONDLY: 1}
# Whoever counts the instances of an irregular COUNT rule stops here and calls it open.
_MOST_COUNTED = 50_000


class Series:
    """A rule from its DTSTART (a time on the wall). COUNT and UNTIL are not looked at: see `last_of_count`."""

    __slots__ = ("days", "rule", "start", "times")

    def __init__(self, rule: Rule, start: int, *, all_day: bool = False) -> None:
        if all_day and rule.frequency > DAILY:
            # Hours of a DATE: RFC 5545 forbids them; what can be meant is every day, or every so many.
            interval = max(1, rule.interval * _UNIT[rule.frequency] // DAY)
            rule = _replaced(rule, frequency=DAILY, interval=interval)
        self.start = start
        day = EPOCH + start // DAY
        rule = _completed(rule, date.fromordinal(day))
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
        self.days = Days(rule, day)

    @property
    def is_plain(self) -> bool:
        """Whether it is every so many days or weeks, on some weekdays or all, at one time of the day: see `plain_walls`."""
        rule = self.rule
        filtered = rule.months or rule.month_days or rule.year_days or rule.weeks or rule.positions
        return rule.frequency in (WEEKLY, DAILY) and len(self.times) == 1 and not filtered

    def plain_walls(self, begin: int, stop: int) -> list[int]:
        """The times of a plain series from `begin` (or DTSTART) to `stop`, both included: what `walls` gives, at once."""
        begin, stop = max(begin, self.start), min(stop, END - 1)
        first, last = EPOCH + begin // DAY, EPOCH + stop // DAY
        starts, offsets = self.days.plain_periods(first, last)
        time = self.times[0] - EPOCH * DAY
        walls = [(day + each) * DAY + time for day in starts for each in offsets]
        return walls[bisect_left(walls, begin) : bisect_right(walls, stop)]

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
        days_of = self.days.of_periods()
        period, last = self.days.period_at(EPOCH + since // DAY), self.days.period_at(EPOCH + (until - 1) // DAY)
        positions = rule.positions
        single = times[0] if len(times) == 1 else None
        cost = 1 + self.days.most_looked_at // 2
        while period <= last and (days := days_of(period)) is not None:
            period += 1
            budget.spend(cost + len(days) * len(times) // 8)
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

    def _short_sets(self, since: int, until: int, budget: Budget) -> Iterator[list[int]]:
        """The sets of hours, minutes or seconds, from the one that `since` is in; days and hours that fail are jumped over."""
        rule, times = self.rule, self.times
        unit = _UNIT[rule.frequency]
        step = rule.interval * unit
        first = self.start - self.start % unit
        filters_days = bool(rule.months or rule.month_days or rule.days or rule.year_days or rule.weeks)
        at = first + (since - first) // step * step
        good_until = BEGINNING

        def from_(wall: int) -> int:
            return first - (first - wall) // step * step

        while at < until:
            budget.spend()
            if filters_days and at >= good_until:
                day = date.fromordinal(EPOCH + at // DAY)
                if rule.months and day.month not in rule.months:
                    at = from_((day.replace(day=1).toordinal() - EPOCH + length_of_month(day.year, day.month)) * DAY)
                    continue
                good_until = (at // DAY + 1) * DAY
                if not self.days.allows(day):
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
        days = self.days.of_periods()(period)
        if days is None:
            return END
        day, time = divmod(index, len(self.times))
        return (days[day] - EPOCH) * DAY + self.times[time]

    def regularity(self) -> int:
        """How many times each period has, when all have the same number; 0 when that is not known."""
        rule = self.rule
        if rule.positions or rule.year_days or rule.weeks:
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
            return 0 if rule.months or rule.month_days else len({weekday for _, weekday in rule.days}) * len(self.times)
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
