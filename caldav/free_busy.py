"""free-busy-query (RFC 4791 section 7.10): when someone is busy, and nothing of why."""

import time
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from xml.etree.ElementTree import Element

from ..dav.errors import DavError, dav, forbidden
from ..dav.plugin import INFINITY, Context
from ..dav.values import Home, Resource, Response
from ..formats.calendar_times import periods_of
from ..formats.calendar_values import render_utc
from ..formats.content_lines import Component, fold
from ..formats.icalendar import CalendarObject
from ..formats.recurrence import TooManyInstances, instances
from ..formats.timezones import Zones
from ..storage.api import Item
from .facts import zone_of
from .filters import TimeRange, caldav, read_range
from .objects import Objects
from .search import LIMITS, calendars_of, too_many

Period = tuple[int, int, str]
"""(start, end, FBTYPE)."""

_LONGEST = 10 * 366 * 86_400
_MOST = 50_000
_SECONDS = 20.0
_TYPES = ("BUSY", "BUSY-UNAVAILABLE", "BUSY-TENTATIVE")


class FreeBusy:
    """Answers free-busy-query; one for all of a process."""

    def __init__(self, objects: Objects) -> None:
        """`objects`: of the process."""
        self._objects = objects

    async def handle(self, context: Context, resource: Resource, root: Element) -> Response:
        """A ReportHandler."""
        given = root.find(caldav("time-range"))
        span = TimeRange(None, None) if given is None else read_range(given)
        if span.start is None or span.end is None:
            raise DavError(400, text="time-range: start, end")
        if span.end - span.start > _LONGEST:
            raise forbidden(dav("number-of-matches-within-limits"), "Au plus dix ans. / At most ten years.")
        if isinstance(resource, Home) and context.depth not in (INFINITY, 0, 1):
            raise DavError(400, text="Depth")
        deadline = time.monotonic() + _SECONDS
        periods: list[Period] = []
        for collection in calendars_of(context, resource):
            zone = zone_of(collection.info.properties)
            store = context.account.collections
            found: list[Item] = [
                *store.overlapping(collection.info.id, "VEVENT", span.start, span.end),
                *store.overlapping(collection.info.id, "VFREEBUSY", span.start, span.end),
            ]
            for _, obj, _ in self._objects.read(context.account, collection.info.id, found):
                if obj is None:
                    continue  # it cannot be read: nothing is known of it
                try:
                    periods += busy_periods(obj, span.start, span.end, zone)
                except TooManyInstances:
                    raise too_many() from None
                if len(periods) > _MOST or time.monotonic() > deadline:
                    raise too_many()
                await context.pause()
        text = render_free_busy(merge_periods(periods), span.start, span.end, int(context.now()))
        return Response(200, (("Content-Type", "text/calendar; charset=utf-8"),), text.encode())


def busy_periods(obj: CalendarObject, start: int, end: int, zone: tzinfo) -> Iterator[Period]:
    """When an object makes busy within [start, end). Raise TooManyInstances."""
    if obj.kind == "VFREEBUSY":
        for component in [*([obj.master] if obj.master is not None else []), *obj.overrides]:
            yield from _told(component, start, end, Zones(obj.zones, zone))
        return
    for instance in instances(obj, start, end, default_zone=zone, limits=LIMITS):
        kind = _kind(instance.component)
        if kind and instance.end > start and instance.start < end and instance.end > instance.start:
            yield max(start, instance.start), min(end, instance.end), kind


def _kind(component: Component) -> str:
    """FBTYPE of an event (section 7.10): empty when it makes nobody busy."""
    transparency, status = component.line("TRANSP"), component.line("STATUS")
    if transparency is not None and transparency.value.strip().upper() == "TRANSPARENT":
        return ""
    match status.value.strip().upper() if status is not None else "":
        case "CANCELLED":
            return ""
        case "TENTATIVE":
            return "BUSY-TENTATIVE"
    return "BUSY"


def _told(component: Component, start: int, end: int, zones: Zones) -> Iterator[Period]:
    for line in component.all("FREEBUSY"):
        kind = (line.parameter("FBTYPE") or "BUSY").upper()
        if kind == "FREE":
            continue
        for span in periods_of(line, zones):
            if span.start < end and span.end > start:
                yield max(start, span.start), min(end, span.end), kind if kind in _TYPES else "BUSY"


def merge_periods(periods: Iterable[Period]) -> list[Period]:
    """Ascending; what touches or overlaps within a type is one."""
    merged: list[Period] = []
    for kind in _TYPES:
        last: Period | None = None
        for period in sorted(one for one in periods if one[2] == kind):
            if last is not None and period[0] <= last[1]:
                last = (last[0], max(last[1], period[1]), kind)
            else:
                if last is not None:
                    merged.append(last)
                last = period
        if last is not None:
            merged.append(last)
    return sorted(merged)


def render_free_busy(periods: Iterable[Period], start: int, end: int, now: int) -> str:
    """A VFREEBUSY in a VCALENDAR."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Preau//Preau//EN",
        "BEGIN:VFREEBUSY",
        f"DTSTAMP:{render_utc(now)}",
        f"DTSTART:{render_utc(start)}",
        f"DTEND:{render_utc(end)}",
    ]
    for first, last, kind in periods:
        parameter = "" if kind == "BUSY" else f";FBTYPE={kind}"
        lines.append(f"FREEBUSY{parameter}:{render_utc(first)}/{render_utc(last)}")
    return "".join(fold(line) for line in [*lines, "END:VFREEBUSY", "END:VCALENDAR"])
