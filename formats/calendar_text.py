"""Calendar objects written otherwise: expanded, or with few overrides (RFC 4791 sections 9.6.5 and 9.6.6).

Owns what a component looks like as one instance: times in UTC (dates stay dates), RECURRENCE-ID, no rules, no zones; every
other line as its writer left it. Never decides which instances there are.
"""

from collections.abc import Callable
from datetime import tzinfo
from typing import NamedTuple

from .calendar_times import Times, moment_of, spans_without_start, times_of, zone_of
from .calendar_values import DAY, parse_duration, parse_moment, render_date, render_utc, utc_of, wall_of
from .content_lines import Component, Line, fold, render, render_line, split_list
from .icalendar import CalendarObject
from .recurrence import DEFAULT_LIMITS, Instance, RecurrenceLimits, instances
from .timezones import Zones

_RULES = frozenset({"RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"})


def expand(
    obj: CalendarObject, start: int, end: int, *, default_zone: tzinfo, limits: RecurrenceLimits = DEFAULT_LIMITS
) -> bytes:
    """One component an instance in [start, end), in UTC, without recurrence properties and VTIMEZONE; TooManyInstances.

    Floating times are told in `default_zone`. Instances of a series all have a RECURRENCE-ID, the first too.
    """
    return expand_text(obj, start, end, default_zone=default_zone, limits=limits).encode()


def _as_it_is(text: str) -> str:
    return text


def expand_text(
    obj: CalendarObject,
    start: int,
    end: int,
    *,
    default_zone: tzinfo,
    limits: RecurrenceLimits = DEFAULT_LIMITS,
    escape: Callable[[str], str] = _as_it_is,
) -> str:
    """`expand` as text, `escape`d for where it will stand: what instances share is escaped once, and kept with the object.

    `escape` changes no digit and no letter, and is one and the same function from one call to the next.
    """
    zones = Zones(obj.zones, default_zone)
    kept = obj.kept.get("forms")
    told: _Told | None = None if kept is None or kept[0] is not default_zone else kept[1]
    if told is None or told.escape is not escape:
        head = "BEGIN:VCALENDAR\r\n" + "".join(map(_text, obj.calendar.lines))
        told = _Told(escape, escape(head), escape("END:VCALENDAR\r\n"), {})
        obj.kept["forms"] = (default_zone, told)
    pieces = [told.head]
    for instance in instances(obj, start, end, default_zone=default_zone, limits=limits):
        form = told.forms.get(id(instance.component))
        if form is None:
            form = told.forms[id(instance.component)] = _form(instance.component, zones, escape)
        pieces.append(form.render(instance, default_zone))
    pieces.append(told.tail)
    return "".join(pieces)


class _Told(NamedTuple):
    """What expansions of one object share. `forms`: by the identity of the component, which lives as long as the object."""

    escape: Callable[[str], str]
    head: str
    tail: str
    forms: dict[int, "_Form"]


class _Form(NamedTuple):
    """A component with the places open that differ between its instances."""

    head: str
    tail: str
    start: str | None
    end: str | None
    end_days: int | None
    duration: str
    length: int
    line_end: str

    def render(self, instance: Instance, floating: tzinfo) -> str:
        """The text of this instance."""
        day = wall_of(instance.start, floating) if instance.all_day else 0
        pieces = [self.head]
        if self.start is not None:
            pieces.append(self._time(self.start, day if instance.all_day else instance.start, by_day=instance.all_day))
        if self.end is not None:
            by_day = self.end_days is not None
            end = day + (self.end_days or 0) * DAY if by_day else instance.end
            pieces.append(self._time(self.end, end, by_day=by_day))
        else:
            pieces.append(self._duration(instance))
        if instance.original is not None:
            pieces.append(self._time("RECURRENCE-ID", instance.original, by_day=instance.by_day))
        pieces.append(self.tail)
        return "".join(pieces)

    def _duration(self, instance: Instance) -> str:
        """As it was written, but for days that have not 24 hours, and for a PERIOD of RDATE, which has a length of its own."""
        length = instance.end - instance.start
        own = bool(self.duration) or (self.start is not None and instance.original is not None)
        if own and length != self.length and not instance.all_day:
            return f"DURATION:PT{max(0, length)}S{self.line_end}"
        return self.duration

    def _time(self, head: str, value: int, *, by_day: bool) -> str:
        return (
            f"{head};VALUE=DATE:{render_date(value)}{self.line_end}" if by_day else f"{head}:{render_utc(value)}{self.line_end}"
        )


def _form(component: Component, zones: Zones, escape: Callable[[str], str]) -> _Form:
    """What all instances of a component share."""
    start_line = component.line("DTSTART")
    start = moment_of(start_line, zones)
    end_line = component.line("DTEND") or component.line("DUE")
    end = moment_of(end_line, zones, None if start is None else start[1])
    duration_line = component.line("DURATION")
    duration = None if duration_line is None else parse_duration(duration_line.value)
    left_out = _RULES | ({"DTSTART"} if start else set()) | ({end_line.name} if end and end_line else {"DURATION"})
    lines = [_told(line, zones) for line in component.lines if line.name not in left_out]
    inner = "".join(render(_inner(each, zones)) for each in component.components)
    end_days = None
    if end is not None and end[0].form == "date":
        base = start[0].wall if start is not None and start[0].form == "date" else end[0].wall
        end_days = (end[0].wall - base) // DAY
    return _Form(
        head=escape(f"BEGIN:{component.name}\r\n" + "".join(map(_text, lines))),
        tail=escape(f"{inner}END:{component.name}\r\n"),
        start="DTSTART" if start else None,
        end=end_line.name if end and end_line else None,
        end_days=end_days,
        duration=escape(_text(duration_line)) if duration_line is not None else "",
        length=duration.total if duration is not None else 0,
        line_end=escape("\r\n"),
    )


def _text(line: Line) -> str:
    raw = line.raw or render_line(line)
    return f"{raw}\r\n" if len(raw) <= 75 and raw.isascii() else fold(raw)


def _inner(component: Component, zones: Zones) -> Component:
    return Component(
        component.name, [_told(line, zones) for line in component.lines], [_inner(each, zones) for each in component.components]
    )


def _told(line: Line, zones: Zones) -> Line:
    """A line that names a zone, in UTC; any other as it is."""
    if not line.parameters or line.parameter("TZID") is None:
        return line
    values = []
    for text in split_list(line.value):
        begin, slash, end = text.partition("/")
        moment = parse_moment(begin)
        if moment is None or moment.form == "date":
            return line._replace(parameters=tuple(each for each in line.parameters if each.name != "TZID"), raw="")
        told = render_utc(utc_of(moment.wall, zone_of(moment, line, zones)))
        second = parse_moment(end) if slash else None
        if second is not None:
            end = render_utc(utc_of(second.wall, zone_of(second, line, zones)))
        values.append(told + slash + end)
    parameters = tuple(each for each in line.parameters if each.name != "TZID")
    return Line(line.name, ",".join(values), parameters, line.group)


def limit_recurrence_set(obj: CalendarObject, start: int, end: int, *, default_zone: tzinfo) -> bytes:
    """The object with only those overrides that are, or would have been, in [start, end); THISANDFUTURE ones of before stay."""
    zones = Zones(obj.zones, default_zone)
    master = None if obj.master is None else times_of(obj.master, zones)
    gone = {id(one) for one in obj.overrides if not _stays(one, master, start, end, zones)}
    kept = [component for component in obj.calendar.components if id(component) not in gone]
    return render(Component(obj.calendar.name, obj.calendar.lines, kept)).encode()


def _stays(override: Component, master: Times | None, start: int, end: int, zones: Zones) -> bool:
    line = override.line("RECURRENCE-ID")
    own = times_of(override, zones, start_line=line)
    spans = [own.span(own.wall)] if own is not None else spans_without_start(override, zones)
    if any(span.first < end and span.last > start for span in spans):
        return True
    original = moment_of(line, zones, None if master is None else master.zone)
    if line is None or original is None:
        return True
    at = utc_of(original[0].wall, original[1])
    if at < end and (line.parameter("RANGE") or "").upper() == "THISANDFUTURE":
        return True
    length = master.length if master is not None else own.length if own is not None else 0
    return at < end and at + max(1, length) > start
