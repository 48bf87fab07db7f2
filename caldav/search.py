"""calendar-query (RFC 4791 section 7.8): narrowed by the index, decided by it where it can, told as it is found."""

import time
from collections.abc import AsyncIterator, Sequence
from datetime import tzinfo
from xml.etree.ElementTree import Element

from ..dav.errors import DavError, dav, forbidden
from ..dav.plugin import Context, Rendering
from ..dav.reports.multiget import damaged, read_each
from ..dav.reports.targets import collections_asked
from ..dav.values import Collection, ItemResource, PropertyRequest, Resource, Response
from ..dav.xml import status_response, text_of
from ..formats.recurrence import RecurrenceLimits, TooManyInstances
from ..formats.timezones import known_zone, read_calendar_timezone
from ..storage.api import CollectionKind, Item
from .facts import zone_of
from .filters import ComponentFilter, caldav, read_filter
from .objects import Objects, is_in
from .query import Query, matches, only_range, reach_of

_SECONDS = 20.0  # one query
LIMITS = RecurrenceLimits(instances=20_000, steps=200_000)
"""Of one object in one question."""


def asked_zone(root: Element) -> tzinfo | None:
    """Of CALDAV:timezone (RFC 4791 section 9.8) or CALDAV:timezone-id (RFC 7809 section 5.3.1). Raise DavError."""
    identifier = root.find(caldav("timezone-id"))
    if identifier is not None:
        zone = known_zone(text_of(identifier).strip())
        if zone is None:
            raise forbidden(caldav("valid-timezone"), "Fuseau inconnu. / Unknown time zone.")
        return zone
    given = root.find(caldav("timezone"))
    if given is None:
        return None
    zone = read_calendar_timezone(text_of(given))
    if zone is None:
        raise forbidden(caldav("valid-calendar-data"), "Fuseau incorrect. / Invalid time zone.")
    return zone


def calendars_of(context: Context, resource: Resource) -> list[Collection]:
    """The calendars that a report at this depth is asked of. Raise DavError supported-report."""
    return collections_asked(context, resource, CollectionKind.CALENDAR, "calendars")


class Search:
    """Answers calendar-query; one for all of a process."""

    def __init__(self, objects: Objects) -> None:
        """`objects`: of the process."""
        self._objects = objects

    async def handle(self, context: Context, resource: Resource, root: Element) -> Response:
        """A ReportHandler."""
        asked_filter = read_filter(root.find(caldav("filter")))
        zone = asked_zone(root)
        asked = context.property_request(root)
        if isinstance(resource, ItemResource):
            return self._one(context, resource, asked, asked_filter, zone)
        # What is asked wrongly is told before the answer begins.
        work = [
            (one, context.rendering(one, asked), Query(asked_filter, zone or zone_of(one.info.properties), LIMITS))
            for one in calendars_of(context, resource)
        ]

        async def parts() -> AsyncIterator[str]:
            deadline = time.monotonic() + _SECONDS
            for collection, rendering, query in work:
                async for part in self._found(context, collection, rendering, query, deadline):
                    yield part
                if time.monotonic() > deadline:
                    yield status_response(resource.path, 507, "<D:number-of-matches-within-limits/>")
                    return

        return context.multistatus(parts())

    def _one(
        self,
        context: Context,
        resource: ItemResource,
        asked: PropertyRequest,
        asked_filter: ComponentFilter,
        zone: tzinfo | None,
    ) -> Response:
        collection, item = resource
        query = Query(asked_filter, zone or zone_of(collection.info.properties), LIMITS)
        rendering = context.rendering(collection, asked)

        async def parts() -> AsyncIterator[str]:
            async for part in self._read(context, collection, rendering, query, [item], time.monotonic() + _SECONDS):
                yield part

        return context.multistatus(parts())

    async def _found(
        self, context: Context, collection: Collection, rendering: Rendering, query: Query, deadline: float
    ) -> AsyncIterator[str]:
        component, span = reach_of(query.filter)
        start, end = (None, None) if span is None else (span.start, span.end)
        plain = only_range(query.filter)
        sure: list[Item] = []
        unsure: list[Item] = []
        for item in context.account.collections.overlapping(collection.info.id, component, start, end):
            if plain is not None and item.facts.text:
                if is_in(item.facts.text, plain[1], query.zone):
                    sure.append(item)
            else:
                unsure.append(item)
        await context.pause()
        async for part in _tell(context, collection, rendering, sure):
            yield part
        async for part in self._read(context, collection, rendering, query, unsure, deadline):
            yield part

    async def _read(
        self,
        context: Context,
        collection: Collection,
        rendering: Rendering,
        query: Query,
        items: Sequence[Item],
        deadline: float,
    ) -> AsyncIterator[str]:
        """Those of `items` that match, once they are read."""
        waiting: list[Item] = []
        for item, obj, data in self._objects.read(context.account, collection.info.id, items):
            if obj is None:
                yield damaged(collection, item)
                continue
            try:
                found = matches(query, obj)
            except TooManyInstances:
                found = True  # its bounds are in the range; how often it takes place there nobody can tell in time
            if found and (data is not None or not rendering.needs_data):
                yield rendering.render(item, data)
            elif found:
                waiting.append(item)
            if time.monotonic() > deadline:
                break
            await context.pause()
        async for part in _tell(context, collection, rendering, waiting):
            yield part


async def _tell(context: Context, collection: Collection, rendering: Rendering, items: Sequence[Item]) -> AsyncIterator[str]:
    """Items that are found already."""
    for begin in range(0, len(items), 200):
        batch = items[begin : begin + 200]
        if rendering.needs_data:
            read = read_each(context.account.collections, collection.info.id, [item.href for item in batch])
            yield "".join([damaged(collection, item) if data is None else rendering.render(item, data) for item, data in read])
        else:
            yield "".join([rendering.render(item, None) for item in batch])
        await context.pause()


def too_many() -> DavError:
    """An expansion that does not end."""
    return forbidden(dav("number-of-matches-within-limits"), "Trop d'occurrences. / Too many instances.")
