"""What a filter means of one calendar object (RFC 4791 sections 7.4, 7.5 and 9.7 to 9.9).

A component matches when one of its name satisfies all that the filter asks of it: a range is asked of the instances that this
very component tells (the master's, or an override's), properties of its own lines. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from ..dav.collations import fold_text
from ..formats.calendar_alarms import reach
from ..formats.calendar_times import moment_of
from ..formats.calendar_values import DAY, utc_of
from ..formats.content_lines import Component, Line, unescape
from ..formats.icalendar import CalendarObject
from ..formats.recurrence import Instance, RecurrenceLimits, alarms, instances
from ..formats.timezones import Zones
from .filters import ComponentFilter, ParameterFilter, PropertyFilter, TextMatch, TimeRange


@dataclass(frozen=True, slots=True)
class Query:
    """A filter, and what it is asked with."""

    filter: ComponentFilter
    zone: tzinfo  # of floating times and of days
    limits: RecurrenceLimits


def matches(query: Query, obj: CalendarObject) -> bool:
    """Whether the object is found. Raise TooManyInstances."""
    return _Asked(query, obj).calendar()


class _Asked:
    """One object asked one query."""

    def __init__(self, query: Query, obj: CalendarObject) -> None:
        self._query = query
        self._obj = obj
        self._zones = Zones(obj.zones, query.zone)

    def calendar(self) -> bool:
        asked, calendar = self._query.filter, self._obj.calendar
        if asked.not_defined:
            return False
        return self._lines(asked.properties, calendar.lines) and all(
            self._inner(one, calendar.components) for one in asked.components
        )

    def _inner(self, asked: ComponentFilter, components: Sequence[Component]) -> bool:
        """Directly in the calendar."""
        named = [component for component in components if component.name == asked.name]
        if asked.not_defined:
            return not named
        fitting = [
            component
            for component in named
            if self._lines(asked.properties, component.lines) and all(self._below(one, component) for one in asked.components)
        ]
        if asked.range is None or not fitting:
            return bool(fitting)
        if asked.name != self._obj.kind:
            return False
        wanted = {id(component) for component in fitting}
        return any(id(instance.component) in wanted for instance in self._instances(asked.range))

    def _instances(self, span: TimeRange) -> Iterable[Instance]:
        return instances(self._obj, span.start, span.end, default_zone=self._query.zone, limits=self._query.limits)

    def _below(self, asked: ComponentFilter, parent: Component) -> bool:
        """In an event or task: alarms, and whatever else stands there."""
        named = parent.named(asked.name)
        if asked.not_defined:
            return not named
        return any(
            self._lines(asked.properties, component.lines)
            and all(self._below(one, component) for one in asked.components)
            and (asked.range is None or self._rings(asked.range, parent, component))
            for component in named
        )

    def _rings(self, span: TimeRange, parent: Component, alarm: Component) -> bool:
        """Whether an alarm of an instance goes off in a range: those of instances as far away as alarms of `parent` reach."""
        before, after, absolute = reach(parent, self._zones)
        if any(_within(span, moment) for moment in absolute):
            return True
        # What goes off `before` the start belongs to an instance later than the range, and the other way round.
        wide = TimeRange(
            None if span.start is None else span.start - max(after, 0) - DAY,
            None if span.end is None else span.end + max(before, 0) + DAY,
        )
        for instance in instances(self._obj, wide.start, wide.end, default_zone=self._query.zone, limits=self._query.limits):
            if instance.component is parent:
                times = alarms(self._obj, instance, alarm, default_zone=self._query.zone)
                if any(_within(span, moment) for moment in times):
                    return True
        return False

    def _lines(self, asked: Sequence[PropertyFilter], lines: Sequence[Line]) -> bool:
        return all(self._property(one, lines) for one in asked)

    def _property(self, asked: PropertyFilter, lines: Sequence[Line]) -> bool:
        named = [line for line in lines if line.name == asked.name]
        if asked.not_defined:
            return not named
        return any(self._line(asked, line) for line in named)

    def _line(self, asked: PropertyFilter, line: Line) -> bool:
        if asked.text is not None and not text_matches(asked.text, unescape(line.value)):
            return False
        if asked.range is not None and not self._in_range(asked.range, line):
            return False
        return all(parameter_matches(one, line) for one in asked.parameters)

    def _in_range(self, span: TimeRange, line: Line) -> bool:
        found = moment_of(line, self._zones, self._query.zone)
        if found is None:
            return False
        moment, zone = found
        at = utc_of(moment.wall, zone)
        last = at + (DAY if moment.form == "date" else 1)
        return (span.end is None or at < span.end) and (span.start is None or last > span.start)


def _within(span: TimeRange, moment: int) -> bool:
    return (span.start is None or moment >= span.start) and (span.end is None or moment < span.end)


def parameter_matches(asked: ParameterFilter, line: Line) -> bool:
    """Whether a line satisfies a param-filter (section 9.7.3)."""
    values = [value for name, given in line.parameters if name == asked.name for value in given or ("",)]
    if asked.not_defined:
        return not values
    if not values:
        return False
    return asked.text is None or any(text_matches(asked.text, value) for value in values)


def text_matches(asked: TextMatch, value: str) -> bool:
    """Whether a text holds another (section 9.7.5), or does not where it is negated."""
    return (fold_text(asked.text, asked.collation) in fold_text(value, asked.collation)) is not asked.negated


def only_range(asked: ComponentFilter) -> tuple[str, TimeRange] | None:
    """(component, range) of a filter that asks for nothing else: the index decides it. None for any other."""
    if asked.not_defined or asked.properties or len(asked.components) != 1:
        return None
    inner = asked.components[0]
    if inner.not_defined or inner.properties or inner.components or inner.range is None:
        return None
    return inner.name, inner.range


def reach_of(asked: ComponentFilter) -> tuple[str | None, TimeRange | None]:
    """(component, range) that whatever the filter finds is of and touches: what the index may narrow by; None: anything."""
    wanted = [inner for inner in asked.components if not inner.not_defined]
    if not wanted:
        return None, None
    names = {inner.name for inner in wanted if inner.name != "VTIMEZONE"}
    component = next(iter(names)) if len(names) == 1 else None
    if component is None:
        return None, None
    for inner in wanted:
        if inner.range is not None:
            return component, inner.range
        for below in inner.components:
            if below.range is not None and not below.not_defined:
                return component, below.range  # bounds of an item hold its alarms
    return component, None
