"""When a component takes place, by its kind (RFC 5545 section 3.6, the tables of RFC 4791 section 9.9).

Owns which of DTSTART, DTEND, DUE, DURATION, COMPLETED and CREATED count, and how. Never knows rules: an instance of a series is
the same component with its DTSTART elsewhere.
"""

from datetime import UTC, tzinfo
from typing import NamedTuple

from .calendar_values import BEGINNING, DAY, END, Duration, Moment, parse_duration, parse_moment, utc_of
from .content_lines import Component, Line, split_list
from .timezones import Zones


class Span(NamedTuple):
    """[start, end) in UTC seconds, and [first, last): what a range [a, b) overlaps when a < last and b > first.

    The two differ where the tables of RFC 4791 say "<=": an event of no length at noon is in a range that begins at noon.
    """

    start: int
    end: int
    first: int
    last: int


class Times(NamedTuple):
    """What DTSTART (or DUE) at any time of the wall makes of a component: days on the wall and exact seconds to its end."""

    wall: int
    zone: tzinfo
    all_day: bool
    floating: bool
    days: int
    seconds: int
    before: int
    after: int

    def span(self, wall: int) -> Span:
        """The span of the instance that starts at this time of the wall."""
        start = utc_of(wall, self.zone)
        end = (utc_of(wall + self.days * DAY, self.zone) if self.days else start) + self.seconds
        if end < start:
            return Span(start, end, end - self.before, start + self.after)
        return Span(start, end, start - self.before, end + self.after)

    @property
    def length(self) -> int:
        """Seconds from start to end, a day taken as 24 hours; at least 0."""
        return max(0, self.days * DAY + self.seconds)


def moment_of(line: Line | None, zones: Zones, floating: tzinfo | None = None) -> tuple[Moment, tzinfo] | None:
    """The DATE or DATE-TIME of a line and the zone whose wall tells it; None when there is none. Floating: the calendar's."""
    moment = None if line is None else parse_moment(line.value)
    return None if line is None or moment is None else (moment, zone_of(moment, line, zones, floating))


def zone_of(moment: Moment, line: Line, zones: Zones, floating: tzinfo | None = None) -> tzinfo:
    """The zone of a value of this line."""
    if moment.form == "utc":
        return UTC
    tzid = line.parameter("TZID") if moment.form == "local" else None
    return floating if not tzid and floating is not None else zones.resolve(tzid)


def times_of(component: Component, zones: Zones, *, start_line: Line | None = None) -> Times | None:
    """The times of a component that has a DTSTART (a task may have a DUE alone); None for what has no place in time of its own.

    `start_line` stands in for a DTSTART that is missing.
    """
    kind = component.name
    if kind in ("VFREEBUSY", "VAVAILABILITY"):
        return None
    line = component.line("DTSTART") or start_line
    start = moment_of(line, zones)
    if start is None or line is None:
        return _times_of_due(component, zones) if kind == "VTODO" else None
    moment, zone = start
    all_day = moment.form == "date"
    days, seconds, before, after = _to_end(component, kind, moment, zone, zones)
    return Times(moment.wall, zone, all_day, _is_floating(moment, line, zones), days, seconds, before, after)


def _is_floating(moment: Moment, line: Line, zones: Zones) -> bool:
    """Whether the calendar's zone decides when this is."""
    tzid = line.parameter("TZID")
    return moment.form == "date" or (moment.form == "local" and (not tzid or tzid in zones.lost))


def _to_end(component: Component, kind: str, start: Moment, zone: tzinfo, zones: Zones) -> tuple[int, int, int, int]:
    """(days, seconds, widened before, widened after) by the row of the table that holds."""
    task = kind == "VTODO"
    end = moment_of(component.line("DUE" if task else "DTEND"), zones, zone) if kind != "VJOURNAL" else None
    if end is not None:
        if start.form == "date" and end[0].form == "date":
            days, seconds = (end[0].wall - start.wall) // DAY, 0
        else:
            days, seconds = 0, utc_of(*_wall_and_zone(end)) - utc_of(start.wall, zone)
        length = days * DAY + seconds
        if task:
            return (days, seconds, 0, 0) if length > 0 else (days, seconds, 1, 1)
        # What ends before it begins is taken as a moment.
        return (days, seconds, 0, 0) if length > 0 else (0, 0, 0, 1)
    duration = _duration(component) if kind != "VJOURNAL" else None
    if duration is not None and duration.total >= 0:
        if task:
            return (duration.days, duration.seconds, 0 if duration.total else 1, 1)
        return (duration.days, duration.seconds, 0, 0 if duration.total else 1)
    if start.form == "date" and not task:
        return 1, 0, 0, 0
    return 0, 0, 0, 1


def _wall_and_zone(value: tuple[Moment, tzinfo]) -> tuple[int, tzinfo]:
    return value[0].wall, value[1]


def _duration(component: Component) -> Duration | None:
    line = component.line("DURATION")
    return None if line is None else parse_duration(line.value)


def _times_of_due(component: Component, zones: Zones) -> Times | None:
    line = component.line("DUE")
    due = moment_of(line, zones)
    if due is None or line is None:
        return None
    moment, zone = due
    return Times(moment.wall, zone, moment.form == "date", _is_floating(moment, line, zones), 0, 0, 1, 0)


def spans_without_start(component: Component, zones: Zones) -> list[Span]:
    """The spans of what has no DTSTART to recur from: free-busy times, availability, tasks that are only made and done."""
    kind = component.name
    if kind == "VTODO":
        return [_span_of_task(component, zones)]
    if kind == "VFREEBUSY":
        start, end = moment_of(component.line("DTSTART"), zones), moment_of(component.line("DTEND"), zones)
        if start is not None and end is not None:
            first, last = utc_of(*_wall_and_zone(start)), utc_of(*_wall_and_zone(end))
            return [Span(first, last, first, last + 1)]
        return sorted(span for line in component.all("FREEBUSY") for span in periods_of(line, zones))
    if kind == "VAVAILABILITY":
        return [_span_of_availability(component, zones)]
    return []


def periods_of(line: Line, zones: Zones) -> list[Span]:
    """The PERIOD values of a line; what does not parse is left out."""
    found = []
    for text in split_list(line.value):
        start_text, _, end_text = text.partition("/")
        start = parse_moment(start_text)
        if start is None:
            continue
        zone = zone_of(start, line, zones)
        span = period_of(start, zone, end_text, line, zones)
        if span is not None:
            found.append(span)
    return found


def period_of(start: Moment, zone: tzinfo, end_text: str, line: Line, zones: Zones) -> Span | None:
    """A PERIOD of a start and the text behind its slash: a time or a duration."""
    begin = utc_of(start.wall, zone)
    moment = parse_moment(end_text)
    if moment is not None:
        end = utc_of(moment.wall, zone_of(moment, line, zones))
    else:
        duration = parse_duration(end_text)
        if duration is None:
            return None
        end = utc_of(start.wall + duration.days * DAY, zone) + duration.seconds
    return Span(begin, end, begin, end) if end > begin else None


def _span_of_task(component: Component, zones: Zones) -> Span:
    created = moment_of(component.line("CREATED"), zones)
    completed = moment_of(component.line("COMPLETED"), zones)
    known = [utc_of(*_wall_and_zone(each)) for each in (created, completed) if each is not None]
    if completed is not None:
        return Span(min(known), max(known), min(known) - 1, max(known) + 1)
    if created is not None:
        # A task that was made and is not done: from then on, for ever.
        return Span(known[0], END, known[0], END)
    return Span(BEGINNING, END, BEGINNING, END)


def _span_of_availability(component: Component, zones: Zones) -> Span:
    """DTSTART to DTEND or DURATION, open on the side that is not said (RFC 7953 section 3.1)."""
    start, end = moment_of(component.line("DTSTART"), zones), moment_of(component.line("DTEND"), zones)
    first = BEGINNING if start is None else utc_of(*_wall_and_zone(start))
    duration = _duration(component)
    last = END
    if end is not None:
        last = utc_of(*_wall_and_zone(end))
    elif start is not None and duration is not None:
        last = first + duration.total
    return Span(first, max(first, last), first, max(first + 1, last))
