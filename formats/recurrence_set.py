"""A calendar object as a series (RFC 5545 section 3.8.5): its instances near a range, and the bounds of all of them.

DTSTART, RRULE and RDATE give starts, EXDATE and overrides take some away, overrides stand in for them; an override with
RANGE=THISANDFUTURE moves all that follow. Each of these is a stream of instances, ascending and begun near the asked range; the
streams are merged. Local times that a change of clocks skips are moved on, not left out, as clients show them.
Never walks from DTSTART.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC
from heapq import heappop, heappush, merge
from operator import itemgetter
from typing import NamedTuple

from .calendar_alarms import reach
from .calendar_times import Span, Times, period_of, spans_without_start, times_of, zone_of
from .calendar_values import BEGINNING, DAY, END, Moment, parse_moment, render_date, render_utc, utc_of, wall_of
from .content_lines import Component, Line, split_list
from .icalendar import CalendarObject
from .recurrence_rules import DAILY, Budget, Rule, parse_rule
from .recurrence_series import Series, last_of_count
from .timezones import Zones

# A floating time may be asked for in any zone: no two were ever further apart.
_ANY_ZONE = 32 * 3600
# No change of clocks skips more, but for the few that dropped a day.
_LONGEST_GAP = 3 * 3600
ALWAYS = 1 << 60
_MOST_RULES = 10
_LONGEST_WINDOW = 400 * DAY  # worked out at once
_FEW = 32  # instances


class Instance(NamedTuple):
    """One instance: [start, end) in UTC seconds since 1970, of the master or of an override.

    [first, last) is what the conditions of RFC 4791 section 9.9 compare: an instance is in a range when range start < last and
    range end > first. It differs from [start, end) where those say "<=". `original` is where the rule put it: UTC seconds, or
    seconds on the wall when `by_day`; None for what does not recur.
    """

    start: int
    end: int
    component: Component
    original: int | None
    by_day: bool
    all_day: bool
    first: int
    last: int

    @property
    def recurrence(self) -> str | None:
        """The value of its RECURRENCE-ID as `expand` writes it: a DATE, or a DATE-TIME in UTC."""
        if self.original is None:
            return None
        return render_date(self.original) if self.by_day else render_utc(self.original)


_by_start = itemgetter(0)


class _Segment(NamedTuple):
    """A part of a series, by the wall of the master: [since, until), told by a component that is `shift` seconds off there."""

    since: int
    until: int
    component: Component
    times: Times
    shift: int


class _Source(NamedTuple):
    """One RRULE: its series, and the wall of the last instance that UNTIL and COUNT allow."""

    series: Series
    last: int


class Recurrence:
    """What an object says of when, read once; zones are chosen. See the module."""

    __slots__ = (
        "_asked",
        "_excluding",
        "_floating",
        "_gone",
        "_gone_days",
        "_listed",
        "_others",
        "_segments",
        "_sources",
        "_zones",
        "obj",
        "recurs",
        "times",
    )

    def __init__(self, obj: CalendarObject, zones: Zones) -> None:
        self.obj = obj
        self._zones = zones
        self._gone: set[int] = set()
        self._gone_days: set[int] = set()
        # RDATE by original; what has a place of its own (overrides, tasks without a start).
        self._listed: dict[int, tuple[int, int | None]] = {}
        self._others: list[Instance] = []
        self._segments: list[_Segment] = []
        self._sources: list[_Source] = []
        self._excluding: list[_Source] = []
        # The last window worked out at once: whether there is anything in it is asked first, then what.
        self._asked: tuple[int, int, list[Instance]] | None = None
        master = obj.master
        self.times = None if master is None else times_of(master, zones)
        self.recurs = bool(obj.overrides)
        self._floating = self.times is not None and self.times.floating
        if master is not None and self.times is None:
            self._others += [_instance(span, master, None) for span in spans_without_start(master, zones)]
        elif master is not None and self.times is not None:
            self._read_series(master, self.times)
        if obj.overrides:
            self._read_overrides()
        if self.times is not None and master is not None:
            self._add_first(master, self.times)

    def _read_series(self, master: Component, times: Times) -> None:
        """RRULE, EXRULE, RDATE and EXDATE."""
        for line in master.lines:
            name = line[0]
            if name in ("RRULE", "EXRULE"):
                rule = parse_rule(line.value)
                if rule is not None and len(self._sources) + len(self._excluding) < _MOST_RULES:
                    source = _Source(Series(rule, times.wall, all_day=times.all_day), self._last(rule, times))
                    (self._sources if name == "RRULE" else self._excluding).append(source)
            elif name == "EXDATE":
                for text in split_list(line.value):
                    moment = parse_moment(text)
                    if moment is not None:
                        self._leave_out(moment, line, times)
            elif name == "RDATE":
                for text in split_list(line.value):
                    self._list(text, line, times)
        # An EXDATE alone takes DTSTART away, or does nothing.
        self.recurs = self.recurs or bool(self._sources or self._listed or self._gone or self._gone_days)

    def _last(self, rule: Rule, times: Times) -> int:
        """The wall of the last instance of this rule, END when it is open."""
        last = END
        if rule.count is not None:
            counted = last_of_count(rule, times.wall, all_day=times.all_day)
            last = END if counted is None else counted
        until = rule.until
        if until is not None:
            if until.form == "date" or times.all_day:
                # A day in UNTIL is all of that day; a time in UNTIL of an all-day series is its day.
                last = min(last, until.wall - until.wall % DAY + DAY - 1)
            else:
                last = min(last, wall_of(until.wall, times.zone) if until.form == "utc" else until.wall)
        return last

    def _original(self, moment: Moment, line: Line, times: Times) -> int:
        """What tells instances apart: the day (on the wall) of an all-day series, else the moment in UTC."""
        if times.all_day:
            return moment.wall - moment.wall % DAY
        return utc_of(moment.wall, zone_of(moment, line, self._zones, times.zone))

    def _leave_out(self, moment: Moment, line: Line, times: Times) -> None:
        if moment.form == "date" and not times.all_day:
            self._gone_days.add(moment.wall // DAY)
        else:
            self._gone.add(self._original(moment, line, times))

    def _list(self, text: str, line: Line, times: Times) -> None:
        """One value of RDATE: a DATE, a DATE-TIME or a PERIOD, whose end is kept."""
        begin, slash, end = text.partition("/")
        moment = parse_moment(begin)
        if moment is None:
            return
        if moment.form == "date" and not times.all_day:
            moment = Moment(moment.wall + times.wall % DAY, "local")
            original = utc_of(moment.wall, times.zone)
        else:
            original = self._original(moment, line, times)
        wall = original if times.all_day else wall_of(original, times.zone)
        span = period_of(moment, zone_of(moment, line, self._zones, times.zone), end, line, self._zones) if slash else None
        self._listed[original] = (wall, None if span is None else span.end)

    def _read_overrides(self) -> None:
        ranged: list[tuple[int, Component, Times]] = []
        master = self.obj.master
        for component in self.obj.overrides:
            line = component.line("RECURRENCE-ID")
            moment = None if line is None else parse_moment(line.value)
            own = times_of(component, self._zones, start_line=line)
            original: int | None = None
            by_day = False
            if line is not None and moment is not None:
                if self.times is not None:
                    self._leave_out(moment, line, self.times)
                    by_day = self.times.all_day
                    original = self._original(moment, line, self.times)
                    if own is not None and (line.parameter("RANGE") or "").upper() == "THISANDFUTURE":
                        ranged.append((original if by_day else wall_of(original, self.times.zone), component, own))
                else:
                    by_day = moment.form == "date"
                    original = moment.wall if by_day else utc_of(moment.wall, zone_of(moment, line, self._zones))
            spans = [own.span(own.wall)] if own is not None else spans_without_start(component, self._zones)
            all_day = own is not None and own.all_day
            self._floating = self._floating or (own is not None and own.floating)
            self._others += [_instance(span, component, original, by_day=by_day, all_day=all_day) for span in spans]
        if self.times is not None and master is not None:
            self._segments = list(_segments(master, self.times, sorted(ranged, key=_by_start)))

    def _add_first(self, master: Component, times: Times) -> None:
        """DTSTART, which is an instance whatever the rule says, and the listed ones."""
        if not self._segments:
            self._segments = [_Segment(-ALWAYS, ALWAYS, master, times, 0)]
        if not self.recurs:
            self._others.append(_instance(times.span(times.wall), master, None, all_day=times.all_day))
            return
        first = times.wall if times.all_day else utc_of(times.wall, times.zone)
        self._listed.setdefault(first, (times.wall, None))
        for original, (wall, end) in self._listed.items():
            if original in self._gone or wall // DAY in self._gone_days:
                continue
            segment = next(each for each in self._segments if wall < each.until)
            instance = self._told(segment, wall, original)
            # What THISANDFUTURE tells has the length that it tells (RFC 5545 section 3.8.4.4).
            if end is not None and segment.component is master:
                instance = instance._replace(end=end, last=max(end, instance.first + 1))
            self._others.append(instance)

    def _told(self, segment: _Segment, wall: int, original: int) -> Instance:
        """The instance of this original, as the component of its segment tells it."""
        times, master = segment.times, self.times
        if times is not master and master is not None:
            if times.zone is not master.zone:
                wall = wall_of(utc_of(wall, master.zone), times.zone)
            wall += segment.shift
        span = times.span(wall)
        by_day = master is not None and master.all_day
        return Instance(span[0], span[1], segment.component, original, by_day, times.all_day, span[2], span[3])

    def around(self, since: int, until: int, budget: Budget) -> Iterator[Instance]:
        """Every instance that overlaps [since, until), and some near it, ascending by start."""
        listed = sorted((each for each in self._others if each.first < until and each.last > since), key=_by_start)
        if not self._sources:
            return iter(listed)
        if (window := self._window(since, until, budget)) is not None:
            return _once(sorted((*listed, *window), key=_by_start))
        streams: list[Iterable[Instance]] = [listed]
        for source in self._sources:
            for segment in self._segments:
                stream = self._stream(source, segment, since, until, budget)
                dense = source.series.rule.frequency > DAILY or len(source.series.times) > 1
                streams.append(_in_order(stream) if dense and segment.times.zone is not UTC else stream)
        return _once(merge(*streams, key=_by_start))

    def _window(self, since: int, until: int, budget: Budget) -> list[Instance] | None:
        """What `_stream` gives of a plain series, every so many days or weeks at one time, at once; None: it is not so plain.

        Most series are, and most questions are of a week or a month: the layers of streams cost more than what they tell.
        """
        times = self.times
        if self._asked is not None and self._asked[:2] == (since, until):
            return self._asked[2]
        source = self._sources[0]
        several = self._excluding or len(self._sources) > 1 or len(self._segments) > 1
        if times is None or several or until - since > _LONGEST_WINDOW or not source.series.is_plain:
            return None
        zone, by_day = times.zone, times.all_day
        slack = 0 if zone is UTC else DAY
        begin = max(times.wall + 1, wall_of(since - times.length, zone) - slack)
        stop = min(source.last, wall_of(until, zone) + slack)
        gone, gone_days, listed = self._gone, self._gone_days, self._listed
        found = []
        walls = source.series.plain_walls(begin, stop)
        budget.spend(1 + len(walls))
        for wall in walls:
            original = wall if by_day else utc_of(wall, zone)
            if original in gone or original in listed or (gone_days and wall // DAY in gone_days):
                continue
            instance = self._told(self._segments[0], wall, original)
            if instance.last > since and instance.first < until:
                found.append(instance)
        self._asked = (since, until, found) if len(found) <= _FEW else None
        return found

    def _stream(self, source: _Source, segment: _Segment, since: int, until: int, budget: Budget) -> Iterator[Instance]:
        """The instances of a rule that a segment tells, from just before `since` to just after `until`."""
        times = self.times
        if times is None:
            return
        told = segment.times
        # A change of clocks may skip hours, a few skipped a day; another zone than the master's is up to 26 hours away.
        slack = DAY if source.series.rule.frequency <= DAILY else _LONGEST_GAP
        if told.zone is not times.zone:
            slack = 2 * DAY
        elif times.zone is UTC:
            slack = 0
        begin = max(segment.since, times.wall + 1)
        if since > -ALWAYS:
            begin = max(begin, wall_of(since - told.length, times.zone) - segment.shift - slack)
        stop = min(segment.until - 1, source.last)
        if until < ALWAYS:
            stop = min(stop, wall_of(until, times.zone) - segment.shift + slack)
        if begin > stop:
            return
        by_day, zone = times.all_day, times.zone
        gone, gone_days, listed = self._gone, self._gone_days, self._listed
        excluded = [_Excluded(each, begin, stop, budget) for each in self._excluding]
        for wall in source.series.walls(begin, budget, stop + 1):
            if wall > stop:
                break
            original = wall if by_day else utc_of(wall, zone)
            if original in gone or original in listed or (gone_days and wall // DAY in gone_days):
                budget.spend()
                continue
            if excluded and any(wall in each for each in excluded):
                continue
            instance = self._told(segment, wall, original)
            if instance.last <= since:
                budget.spend()
                continue
            yield instance

    def bounds(self) -> tuple[int | None, int | None, bool]:
        """See the function."""
        firsts = [each.first for each in self._others]
        lasts = [each.last for each in self._others]
        times = self.times
        if times is not None:
            firsts.append(times.span(times.wall).first)
            lasts.append(times.span(times.wall).last)
            for segment in self._segments if self._sources else ():
                wall = max(times.wall, min(max(source.last for source in self._sources), segment.until))
                lasts.append(ALWAYS if wall >= END else self._told(segment, wall, 0).last + _LONGEST_GAP)
                if segment.shift < 0:
                    firsts.append(self._told(segment, max(segment.since, times.wall), 0).first - _LONGEST_GAP)
        if not firsts:
            return None, None, self.recurs
        first, last = self._with_alarms(min(firsts), max(lasts))
        if self._floating:
            first, last = first - _ANY_ZONE, last + _ANY_ZONE
        return (None if first <= BEGINNING else first), (None if last >= END else last), self.recurs

    def _with_alarms(self, first: int, last: int) -> tuple[int, int]:
        components = self.obj.overrides if self.obj.master is None else [self.obj.master, *self.obj.overrides]
        before = after = 0
        absolute: list[int] = []
        for component in components:
            if component.components:
                lead, trail, times = reach(component, self._zones)
                before, after = max(before, lead), max(after, trail + 1)
                absolute += times
        return min([first - before, *absolute]), max([last + after, *(each + 1 for each in absolute)])


def _instance(
    span: Span, component: Component, original: int | None, *, by_day: bool = False, all_day: bool = False
) -> Instance:
    return Instance(span[0], span[1], component, original, by_day, all_day, span[2], span[3])


def _segments(master: Component, times: Times, ranged: list[tuple[int, Component, Times]]) -> Iterator[_Segment]:
    """The series cut where an override with THISANDFUTURE begins to tell it."""
    since, component, told, shift = -ALWAYS, master, times, 0
    for wall, override, own in ranged:
        yield _Segment(since, wall, component, told, shift)
        original = wall if own.zone is times.zone else wall_of(utc_of(wall, times.zone), own.zone)
        since, component, told, shift = wall, override, own, own.wall - original
    yield _Segment(since, ALWAYS, component, told, shift)


class _Excluded:
    """What an EXRULE takes away; asked in ascending order."""

    __slots__ = ("_current", "_last", "_walls")

    def __init__(self, source: _Source, begin: int, stop: int, budget: Budget) -> None:
        self._walls = source.series.walls(begin, budget, stop + 1)
        self._last = source.last
        self._current = next(self._walls, ALWAYS)

    def __contains__(self, wall: int) -> bool:
        while self._current < wall:
            self._current = next(self._walls, ALWAYS)
        return self._current == wall <= self._last


def _in_order(stream: Iterator[Instance]) -> Iterator[Instance]:
    """What is told several times a day, in the order of UTC: skipped times move among later ones, and may meet them."""
    waiting: list[tuple[int, int, Instance]] = []
    last = -ALWAYS
    for number, instance in enumerate(stream):
        heappush(waiting, (instance.start, number, instance))
        while waiting[0][0] <= instance.start - _LONGEST_GAP:
            found = heappop(waiting)[2]
            if found.start > last:
                last = found.start
                yield found
    while waiting:
        found = heappop(waiting)[2]
        if found.start > last:
            last = found.start
            yield found


def _once(stream: Iterable[Instance]) -> Iterator[Instance]:
    """Without what two rules both give, and two days that are one because clocks skipped the first."""
    start: int | None = None
    originals: list[int | None] = []
    for instance in stream:
        if instance.start != start:
            start, originals = instance.start, [instance.original]
        elif instance.original in originals:
            continue
        else:
            originals.append(instance.original)
        yield instance
