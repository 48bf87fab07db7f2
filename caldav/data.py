"""calendar-data as a client asks for it (RFC 4791 sections 9.6 and 9.10): whole, in part, expanded, or with few overrides.

What nobody asked to have changed goes out as it was put. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from xml.etree.ElementTree import Element

from ..dav.errors import DavError
from ..dav.xml import escape, escape_octets
from ..formats.calendar_text import expand, expand_text, limit_recurrence_set
from ..formats.calendar_times import periods_of
from ..formats.content_lines import Component, Line, parse_components, render, split_list
from ..formats.icalendar import CalendarObject, read_calendar_object
from ..formats.recurrence import RecurrenceLimits
from ..formats.timezones import Zones
from .filters import caldav, read_range

_MOST_NAMES = 200
_FROM_OBJECT = (caldav("expand"), caldav("limit-recurrence-set"))


@dataclass(frozen=True, slots=True)
class Part:
    """What is wanted of a component (section 9.6.1): all lines or those named, all components or those named."""

    all_lines: bool
    lines: dict[str, bool] = field(default_factory=dict)  # name -> whether its value is left out
    all_components: bool = False
    components: dict[str, "Part"] = field(default_factory=dict)


def takes_object(asked: Element | None) -> bool:
    """Whether the renderer for this calendar-data may be given an object that is parsed already, instead of its octets."""
    return asked is not None and any(child.tag in _FROM_OBJECT for child in asked)


def data_renderer(asked: Element, zone: tzinfo, limits: RecurrenceLimits) -> Callable[[bytes | CalendarObject], str]:
    """Octets of an object -> the text of its calendar-data. Raise DavError for what is asked wrongly."""
    if asked.get("content-type", "text/calendar").lower() != "text/calendar" or asked.get("version", "2.0") != "2.0":
        raise DavError(403, caldav("supported-calendar-data"), "text/calendar 2.0")
    part: Part | None = None
    expanded = limited = busy = None
    for child in asked:
        if child.tag == caldav("comp"):
            part = _part(child, [_MOST_NAMES])
            if child.get("name", "").upper() != "VCALENDAR":
                raise DavError(400, text="comp: VCALENDAR")
        elif child.tag == caldav("expand"):
            expanded = _closed(child)
        elif child.tag == caldav("limit-recurrence-set"):
            limited = _closed(child)
        elif child.tag == caldav("limit-freebusy-set"):
            busy = _closed(child)
    if expanded is not None and limited is not None:
        raise DavError(400, text="expand, limit-recurrence-set")

    def text(given: bytes | CalendarObject) -> str:
        if expanded is not None and part is None and busy is None:
            return expand_text(_object(given), *expanded, default_zone=zone, limits=limits, escape=escape)
        if expanded is not None:
            data = expand(_object(given), *expanded, default_zone=zone, limits=limits)
        elif limited is not None:
            data = limit_recurrence_set(_object(given), *limited, default_zone=zone)
        elif isinstance(given, bytes):
            data = given
        else:
            raise TypeError("octets are told as they are: an object is not")
        if part is None and busy is None:
            return escape_octets(data)
        (calendar,) = parse_components(data)
        if busy is not None:
            calendar = _limit_busy(calendar, busy, zone)
        if part is not None:
            calendar = _take(calendar, part)
        return escape(render(calendar))

    return text


def _object(given: bytes | CalendarObject) -> CalendarObject:
    return read_calendar_object(given) if isinstance(given, bytes) else given


def _closed(given: Element) -> tuple[int, int]:
    span = read_range(given)
    if span.start is None or span.end is None:
        raise DavError(400, text="start, end")
    return span.start, span.end


def _part(given: Element, left: list[int]) -> Part:
    left[0] -= len(given) + 1
    if left[0] < 0:
        raise DavError(403, caldav("supported-filter"), "Trop de noms. / Too many names.")
    lines: dict[str, bool] = {}
    components: dict[str, Part] = {}
    all_lines = all_components = False
    for child in given:
        name = child.get("name", "").upper()
        if child.tag == caldav("allprop"):
            all_lines = True
        elif child.tag == caldav("prop"):
            lines[name] = child.get("novalue", "no").lower() == "yes"
        elif child.tag == caldav("allcomp"):
            all_components = True
        elif child.tag == caldav("comp"):
            components[name] = _part(child, left)
    # Nothing named: everything (section 9.6.1: comp without children stands for the whole component).
    whole = not (all_lines or lines or all_components or components)
    return Part(all_lines or whole, lines, all_components or whole, components)


def _take(component: Component, part: Part) -> Component:
    lines = component.lines if part.all_lines else [line for line in component.lines if line.name in part.lines]
    if any(part.lines.values()):
        lines = [
            Line(line.name, "", line.parameters, line.group) if part.lines.get(line.name, False) else line for line in lines
        ]
    components = [
        _take(inner, part.components[inner.name]) if inner.name in part.components else inner
        for inner in component.components
        if part.all_components or inner.name in part.components
    ]
    return Component(component.name, list(lines), components)


def _limit_busy(calendar: Component, span: tuple[int, int], zone: tzinfo) -> Component:
    """FREEBUSY values outside of a range go (section 9.6.7)."""
    zones = Zones({}, zone)
    components = []
    for component in calendar.components:
        if component.name == "VFREEBUSY":
            kept = [line for line in (_busy(line, span, zones) for line in component.lines) if line is not None]
            component = Component(component.name, kept, component.components)
        components.append(component)
    return Component(calendar.name, calendar.lines, components)


def _busy(line: Line, span: tuple[int, int], zones: Zones) -> Line | None:
    if line.name != "FREEBUSY":
        return line
    values = [
        value
        for value in split_list(line.value)
        if any(one.start < span[1] and one.end > span[0] for one in periods_of(line._replace(value=value), zones))
    ]
    return line._replace(value=",".join(values), raw="") if values else None
