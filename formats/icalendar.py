"""Calendar object resources: what may be stored in a calendar (RFC 5545, RFC 4791 section 4.1).

Owns the checks of structure and the parts that others ask for: kind, UID, master, overrides, time zones. Strict where a breach
would break another client (two kinds, two UIDs, METHOD, two masters), liberal where it harms nobody (no PRODID, no DTSTAMP).
Never changes a line.
"""

from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Literal

from .content_lines import Component, ContentLimits, InvalidContent, parse_components

Condition = Literal["valid-calendar-data", "valid-calendar-object-resource", "supported-calendar-component"]

KINDS = ("VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VAVAILABILITY")


CALENDAR_CONTENT = ContentLimits(lines=100_000, depth=6, components=10_000)


class InvalidCalendar(ValueError):
    """This is no calendar object resource; `condition` is the CALDAV precondition it fails (RFC 4791 section 5.3.2.1)."""

    def __init__(self, condition: Condition, why: str) -> None:
        super().__init__(why)
        self.condition: Condition = condition


@dataclass(frozen=True, slots=True)
class CalendarLimits:
    """Bounds of one object: those of its text (an attachment may be inline), and how many overrides a series may have."""

    content: ContentLimits = CALENDAR_CONTENT
    overrides: int = 5_000
    uid_length: int = 1_000


DEFAULT_LIMITS = CalendarLimits()


@dataclass(slots=True)
class CalendarObject:
    """One object: the whole VCALENDAR, and the parts of it by role. `zones` are the VTIMEZONEs by TZID.

    `kept` is what other modules worked out of it for a zone, and find again as long as it lives: it never changes.
    """

    calendar: Component
    kind: str
    uid: str
    master: Component | None
    overrides: list[Component]
    zones: dict[str, Component] = field(default_factory=dict)
    kept: dict[str, tuple[tzinfo, Any]] = field(default_factory=dict, repr=False, compare=False)


def read_calendar_object(data: bytes, limits: CalendarLimits = DEFAULT_LIMITS) -> CalendarObject:
    """The object in these octets; raises InvalidCalendar with the precondition that is not met."""
    try:
        found = parse_components(data, limits.content)
    except InvalidContent as error:
        raise InvalidCalendar("valid-calendar-data", str(error)) from None
    if len(found) != 1 or found[0].name != "VCALENDAR":
        raise InvalidCalendar("valid-calendar-data", "not one VCALENDAR")
    calendar = found[0]
    # VERSION may be missing (old phones), but what says that it is something else is vCalendar 1.0, another format.
    if any(line.value.strip() not in ("2.0", "") for line in calendar.all("VERSION")):
        raise InvalidCalendar("valid-calendar-data", "VERSION is not 2.0")
    if any(line.value.strip().upper() not in ("GREGORIAN", "") for line in calendar.all("CALSCALE")):
        raise InvalidCalendar("valid-calendar-data", "CALSCALE is not GREGORIAN")
    if calendar.line("METHOD") is not None:
        raise InvalidCalendar("valid-calendar-object-resource", "METHOD is for messages, not for stored objects")
    zones = {line.value.strip(): zone for zone in calendar.named("VTIMEZONE") if (line := zone.line("TZID")) is not None}
    parts = [component for component in calendar.components if component.name != "VTIMEZONE"]
    kinds = {component.name for component in parts}
    if not kinds:
        raise InvalidCalendar("valid-calendar-object-resource", "no event, task or journal entry in it")
    if len(kinds) > 1:
        raise InvalidCalendar(
            "valid-calendar-object-resource", f"more than one kind of component: {', '.join(sorted(kinds))[:100]}"
        )
    (kind,) = kinds
    if kind not in KINDS:
        raise InvalidCalendar("supported-calendar-component", f"{kind[:40]} is not kept here")
    uid = _one_uid(parts, limits)
    master, overrides = _roles(parts, limits)
    return CalendarObject(calendar, kind, uid, master, overrides, zones)


def _one_uid(parts: list[Component], limits: CalendarLimits) -> str:
    uids = set()
    for component in parts:
        lines = component.all("UID")
        if len(lines) != 1 or not lines[0].value.strip():
            raise InvalidCalendar("valid-calendar-object-resource", f"{component.name} without one UID")
        uids.add(lines[0].value.strip())
    if len(uids) > 1:
        raise InvalidCalendar("valid-calendar-object-resource", "more than one UID")
    uid: str = uids.pop()
    if len(uid) > limits.uid_length:
        raise InvalidCalendar("valid-calendar-object-resource", f"UID longer than {limits.uid_length} characters")
    return uid


def _roles(parts: list[Component], limits: CalendarLimits) -> tuple[Component | None, list[Component]]:
    master: Component | None = None
    overrides: list[Component] = []
    seen: set[tuple[str, str]] = set()
    for component in parts:
        lines = component.all("RECURRENCE-ID")
        if not lines:
            if master is not None:
                raise InvalidCalendar("valid-calendar-object-resource", "two components without RECURRENCE-ID")
            master = component
            continue
        key = (lines[0].value.strip().upper(), lines[0].parameter("TZID") or "")
        if len(lines) > 1 or key in seen:
            raise InvalidCalendar("valid-calendar-object-resource", "a RECURRENCE-ID twice")
        seen.add(key)
        overrides.append(component)
    if len(overrides) > limits.overrides:
        raise InvalidCalendar("valid-calendar-object-resource", f"more than {limits.overrides} overrides")
    return master, overrides
