"""What may be stored in a calendar, and what the index keeps of it (RFC 4791 sections 4.1 and 5.3.2.1). Pure."""

from collections.abc import Mapping, Set
from datetime import UTC, tzinfo
from xml.etree.ElementTree import Element

from ..dav.errors import DavError
from ..dav.xml import InvalidXml, escape_attribute, parse_stored, stored_text
from ..formats.icalendar import CalendarObject, InvalidCalendar, read_calendar_object
from ..formats.recurrence import bounds
from ..formats.timezones import known_zone, read_calendar_timezone
from ..storage.api import ItemFacts
from .filters import caldav
from .objects import render_span

COMPONENT_SET = caldav("supported-calendar-component-set")
TIMEZONE = caldav("calendar-timezone")
TIMEZONE_ID = caldav("calendar-timezone-id")

DEFAULT_COMPONENTS = ("VEVENT", "VTODO", "VJOURNAL")
"""Of a calendar that does not say (section 5.2.3)."""
ALL_COMPONENTS = (*DEFAULT_COMPONENTS, "VFREEBUSY", "VAVAILABILITY")
MOST_ATTENDEES = 5_000
_TYPES = frozenset({"text/calendar", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded", ""})


def components_of(properties: Mapping[str, str]) -> Set[str]:
    """Kinds of components that a calendar takes."""
    stored = properties.get(COMPONENT_SET)
    if stored is None:
        return frozenset(DEFAULT_COMPONENTS)
    try:
        return component_names(parse_stored(stored))
    except InvalidXml:
        return frozenset(DEFAULT_COMPONENTS)


def component_names(given: Element) -> frozenset[str]:
    """Of CALDAV:comp elements."""
    return frozenset(child.get("name", "").upper() for child in given if child.tag == caldav("comp"))


def render_components(names: Set[str]) -> str:
    """As CALDAV:comp elements, in the order everybody knows."""
    ordered = [name for name in ALL_COMPONENTS if name in names]
    return "".join(f'<C:comp name="{escape_attribute(name)}"/>' for name in ordered)


def zone_of(properties: Mapping[str, str]) -> tzinfo:
    """The zone in which a calendar's floating times and days are (section 5.2.2, RFC 7809 section 5.2), else UTC."""
    identifier = properties.get(TIMEZONE_ID)
    zone = known_zone(stored_text(identifier).strip()) if identifier else None
    if zone is None and (text := properties.get(TIMEZONE)):
        zone = read_calendar_timezone(stored_text(text))
    return zone or UTC


def read_object(data: bytes) -> CalendarObject:
    """An object that a client wants to store. Raise DavError with the precondition it fails."""
    try:
        return read_calendar_object(data)
    except InvalidCalendar as error:
        text = f"Objet de calendrier incorrect. / Invalid calendar object: {str(error)[:200]}"
        raise DavError(403, caldav(error.condition), text) from None


def check_item(properties: Mapping[str, str], data: bytes, content_type: str) -> ItemFacts:
    """Facts of an object for a calendar with these properties. Raise DavError."""
    media = content_type.partition(";")[0].strip().lower()
    if media not in _TYPES:
        raise DavError(403, caldav("supported-calendar-data"), "text/calendar attendu. / text/calendar expected.")
    obj = read_object(data)
    if obj.kind not in components_of(properties):
        text = f"Pas de {obj.kind} dans cet agenda. / No {obj.kind} in this calendar."
        raise DavError(403, caldav("supported-calendar-component"), text)
    parts = [*([obj.master] if obj.master is not None else []), *obj.overrides]
    if any(len(part.all("ATTENDEE")) > MOST_ATTENDEES for part in parts):
        raise DavError(403, caldav("max-attendees-per-instance"), "Trop d'invites. / Too many attendees.")
    start, end, recurs = bounds(obj, default_zone=zone_of(properties))
    return ItemFacts(
        content_type=f"text/calendar; charset=utf-8; component={obj.kind}",
        uid=obj.uid,
        component=obj.kind,
        start=start,
        end=end,
        recurs=recurs,
        text="" if recurs else render_span(obj),
    )
