"""Calendars as a plugin of dav (RFC 4791): their properties, reports, MKCALENDAR, and what is stored in them.

Owns the lists. Announces what is there: no scheduling, so no inbox, outbox or calendar-auto-schedule.
"""

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from ..auth.api import Service
from ..dav import xml
from ..dav.collations import COLLATIONS
from ..dav.errors import DavError, bad_request, forbidden
from ..dav.plugin import Context, DataRenderer, LiveProperty, MethodHandler, ReportHandler
from ..dav.reports.multiget import handle_multiget
from ..dav.values import Collection, Home, Principal, Response
from ..dav.xml import APPLE, Name
from ..formats.icalendar import CalendarObject
from ..formats.recurrence import TooManyInstances
from ..formats.timezones import known_zone, read_calendar_timezone
from ..storage.api import CollectionInfo, CollectionKind, Item, ItemFacts, NotFound
from .data import data_renderer
from .facts import (
    ALL_COMPONENTS,
    COMPONENT_SET,
    MOST_ATTENDEES,
    TIMEZONE,
    TIMEZONE_ID,
    check_item,
    component_names,
    components_of,
    render_components,
    zone_of,
)
from .filters import caldav
from .free_busy import FreeBusy
from .objects import Objects
from .search import LIMITS, Search, too_many

_TRANSPARENCY = caldav("schedule-calendar-transp")
_COLOUR = f"{{{APPLE}}}calendar-color"
_ORDER = f"{{{APPLE}}}calendar-order"
_LONGEST_DATA = 64 * 1_048_576  # characters of expanded data in one answer


class Calendars:
    """See dav.plugin.Plugin."""

    kind = CollectionKind.CALENDAR
    service = Service.CALDAV
    home = "calendars"
    features = ("calendar-access",)
    resource_type = "<C:calendar/>"
    content_type = "text/calendar"
    data_property = caldav("calendar-data")

    def __init__(self) -> None:
        """One for all of a process."""
        objects = Objects()
        self.methods: Mapping[str, MethodHandler] = {"MKCALENDAR": handle_mkcalendar}
        self.reports: Mapping[Name, ReportHandler] = {
            caldav("calendar-query"): Search(objects).handle,
            caldav("calendar-multiget"): handle_multiget,
            caldav("free-busy-query"): FreeBusy(objects).handle,
        }
        self.principal_properties: Mapping[Name, LiveProperty[Principal]] = _PRINCIPAL
        self.home_properties: Mapping[Name, LiveProperty[Home]] = _HOME
        self.collection_properties: Mapping[Name, LiveProperty[Collection]] = _COLLECTION
        self.item_properties: Mapping[Name, LiveProperty[Any]] = {}

    def check_item(self, collection: CollectionInfo, href: str, data: bytes, content_type: str) -> ItemFacts:
        """See Plugin."""
        return check_item(collection.properties, data, content_type)

    def check_collection(self, properties: Mapping[str, str]) -> Mapping[str, str]:
        """See Plugin."""
        return properties

    def representation(self, item: Item, data: bytes, accept: str) -> tuple[str, bytes]:
        """See Plugin."""
        return item.facts.content_type, data

    def data_renderer(self, context: Context, collection: Collection, asked: Element) -> DataRenderer:
        """See Plugin."""
        text = data_renderer(asked, zone_of(collection.info.properties), LIMITS)
        simple = not len(asked)
        told = 0

        def render(item: Item, data: bytes | CalendarObject) -> str:
            nonlocal told
            try:
                inner = text(data)
            except TooManyInstances:
                raise too_many() from None
            if not simple:
                told += len(inner)
                if told > _LONGEST_DATA:
                    raise too_many()
            return f"<C:calendar-data>{inner}</C:calendar-data>"

        return render


async def handle_mkcalendar(context: Context) -> Response:
    """MKCALENDAR (section 5.3.1)."""
    root = await context.request.xml()
    if root is not None and root.tag != caldav("mkcalendar"):
        raise bad_request("CALDAV:mkcalendar")
    return await context.make_collection(CollectionKind.CALENDAR, root)


# ---------------------------------------------------------------------------------------------------------------------
# Properties


def _home_set(context: Context, resource: Principal) -> str:
    return xml.href(context.home_path("calendars"))


def _addresses(context: Context, resource: Principal) -> str:
    # Clients take the first for who they are among organizer and attendees (clients.md, iOS step 3).
    mail = xml.escape(context.identity.address)
    return f'<D:href preferred="1">mailto:{mail}</D:href>{xml.href(context.principal_path)}'


def _default_calendar(context: Context, resource: Home) -> str | None:
    try:
        context.account.collections.find(CollectionKind.CALENDAR, "calendar")
    except NotFound:
        return None
    return xml.href(f"{resource.path}calendar/")


def _stored(name: Name) -> Any:
    return lambda context, resource: resource.info.properties.get(name)


def _check_text(given: Element) -> str:
    if len(given):
        raise forbidden()
    return xml.store(given)


def _check_zone(given: Element) -> str:
    if read_calendar_timezone(xml.text_of(given)) is None:
        raise forbidden(caldav("valid-calendar-data"), "Fuseau incorrect. / Invalid time zone.")
    return xml.store(given)


def _check_zone_id(given: Element) -> str:
    if known_zone(xml.text_of(given).strip()) is None:
        raise forbidden(caldav("valid-timezone"), "Fuseau inconnu. / Unknown time zone.")
    return xml.store(given)


def _check_components(given: Element) -> str:
    names = component_names(given)
    known = names & set(ALL_COMPONENTS)
    if not known:
        raise forbidden(caldav("supported-calendar-component"), "Composants inconnus. / Unknown components.")
    return "".join(f'<comp xmlns="{xml.CALDAV}" name="{name}"/>' for name in ALL_COMPONENTS if name in known)


def _check_transparency(given: Element) -> str:
    if [child.tag for child in given] not in ([caldav("opaque")], [caldav("transparent")]):
        raise DavError(400, text="schedule-calendar-transp")
    return xml.store(given)


def _components(context: Context, resource: Collection) -> str:
    return render_components(components_of(resource.info.properties))


def _transparency(context: Context, resource: Collection) -> str:
    return resource.info.properties.get(_TRANSPARENCY) or "<C:opaque/>"


def _constant(text: str) -> LiveProperty[Any]:
    return LiveProperty(lambda context, resource: text)


def _size(context: Context, resource: Collection) -> str:
    return str(context.settings.item_size)


_PRINCIPAL: Mapping[Name, LiveProperty[Principal]] = {
    caldav("calendar-home-set"): LiveProperty(_home_set),
    caldav("calendar-user-address-set"): LiveProperty(_addresses),
    caldav("calendar-user-type"): _constant("INDIVIDUAL"),
}
_HOME: Mapping[Name, LiveProperty[Home]] = {caldav("schedule-default-calendar-URL"): LiveProperty(_default_calendar)}
_COLLECTION: Mapping[Name, LiveProperty[Collection]] = {
    caldav("calendar-description"): LiveProperty(_stored(caldav("calendar-description")), check=_check_text),
    TIMEZONE: LiveProperty(_stored(TIMEZONE), check=_check_zone),
    TIMEZONE_ID: LiveProperty(_stored(TIMEZONE_ID), check=_check_zone_id),
    COMPONENT_SET: LiveProperty(_components, check=_check_components, at_creation=True),
    caldav("supported-calendar-data"): _constant('<C:calendar-data content-type="text/calendar" version="2.0"/>'),
    caldav("supported-collation-set"): _constant(
        "".join(f"<C:supported-collation>{name}</C:supported-collation>" for name in COLLATIONS)
    ),
    caldav("max-resource-size"): LiveProperty(_size),
    caldav("max-attendees-per-instance"): _constant(str(MOST_ATTENDEES)),
    caldav("min-date-time"): _constant("00010101T000000Z"),
    caldav("max-date-time"): _constant("99991231T235959Z"),
    _TRANSPARENCY: LiveProperty(_transparency, check=_check_transparency),
    _COLOUR: LiveProperty(_stored(_COLOUR), check=_check_text),
    _ORDER: LiveProperty(_stored(_ORDER), check=_check_text),
}
