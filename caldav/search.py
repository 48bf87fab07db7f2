"""calendar-query (RFC 4791 section 7.8): narrowed by the index, decided by it where it can, told as it is found."""

import time
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from xml.etree.ElementTree import Element

from ..dav.errors import DavError, dav, forbidden
from ..dav.items import damaged, tell_items
from ..dav.plugin import Context, Rendering
from ..dav.reports.targets import collections_asked
from ..dav.values import Collection, ItemResource, Resource, Response
from ..dav.xml import status_response, store, text_of
from ..formats.recurrence import RecurrenceLimits, TooManyInstances
from ..formats.timezones import known_zone, read_calendar_timezone
from ..storage.api import CollectionKind, Item
from .answers import AllAnswers, Answers
from .data import takes_object
from .facts import zone_of
from .filters import caldav, read_filter
from .objects import Objects, is_in
from .query import Query, matches, only_range, reach_of

_SECONDS = 20.0  # one query
_DATA = caldav("calendar-data")
_LASTING = frozenset({_DATA, dav("getetag"), dav("getcontenttype"), dav("getcontentlength"), dav("resourcetype")})
"""What is told of an object that changes with its octets alone."""
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


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of one calendar. `of_objects`: what is found is told from its object, not from its octets."""

    collection: Collection
    rendering: Rendering
    query: Query
    of_objects: bool
    deadline: float
    key: Hashable | None  # what an answer is remembered under; None: it also rests on what may change without the object
    answers: Answers

    def known(self, item: Item) -> str | None:
        """What was told of an item before, empty if it was not found; None: not known."""
        return None if self.key is None else self.answers.find(self.collection.info.id, item, self.key)

    def keep(self, item: Item, text: str) -> str:
        """Remember what is told of an item, empty for one that is not found."""
        if self.key is not None:
            self.answers.keep(self.collection.info.id, item, self.key, text)
        return text

    def told(self) -> Rendering:
        """`rendering` that remembers."""
        render = self.rendering.render
        return Rendering(lambda item, data: self.keep(item, render(item, data)), self.rendering.needs_data)


class Search:
    """Answers calendar-query; one for all of a process."""

    def __init__(self, objects: Objects) -> None:
        """`objects`: of the process."""
        self._objects = objects
        self._answers = AllAnswers()

    async def handle(self, context: Context, resource: Resource, root: Element) -> Response:
        """A ReportHandler."""
        asked_filter = read_filter(root.find(caldav("filter")))
        zone = asked_zone(root)
        asked = context.property_request(root)
        deadline = time.monotonic() + _SECONDS

        def question(collection: Collection) -> _Question:
            own_zone = zone_of(collection.info.properties)
            query = Query(asked_filter, zone or own_zone, LIMITS)
            rendering, data = context.rendering(collection, asked), asked.elements.get(_DATA)
            key = None
            if asked.names and _LASTING.issuperset(asked.names) and not (asked.all or asked.names_only):
                form = None if data is None else (store(data), tuple(data.items()))
                told = (asked.names, form, context.minimal)
                key = (query.filter, query.zone, own_zone, collection.path, told)
            answers = self._answers.of(context.account)
            return _Question(collection, rendering, query, takes_object(data), deadline, key, answers)

        if isinstance(resource, ItemResource):
            return context.multistatus(self._read(context, question(resource.collection), [resource.item]))
        # What is asked wrongly is told before the answer begins.
        work = [question(one) for one in calendars_of(context, resource)]

        async def parts() -> AsyncIterator[str]:
            for one in work:
                async for part in self._found(context, one):
                    yield part
                if time.monotonic() > deadline:
                    yield status_response(resource.path, 507, "<D:number-of-matches-within-limits/>")
                    return

        return context.multistatus(parts())

    async def _found(self, context: Context, asked: _Question) -> AsyncIterator[str]:
        query = asked.query
        component, span = reach_of(query.filter)
        start, end = (None, None) if span is None else (span.start, span.end)
        plain = only_range(query.filter)
        sure: list[Item] = []
        unsure: list[Item] = []
        known: list[str] = []
        for item in context.account.collections.overlapping(asked.collection.info.id, component, start, end):
            told = asked.known(item)
            if told is not None:
                known.append(told)
            elif plain is not None and item.facts.text:
                if is_in(item.facts.text, plain[1], query.zone):
                    sure.append(item)
            else:
                unsure.append(item)
        yield "".join(known)
        await context.pause()
        async for part in tell_items(context, asked.collection, asked.told(), sure):
            yield part
        async for part in self._read(context, asked, unsure):
            yield part

    async def _read(self, context: Context, asked: _Question, items: Sequence[Item]) -> AsyncIterator[str]:
        """Those of `items` that match, once they are read."""
        collection, rendering = asked.collection, asked.rendering
        waiting: list[Item] = []
        for item, obj, data in self._objects.read(context.account, collection.info.id, items):
            if obj is None:
                yield damaged(collection, item)
                continue
            try:
                found = matches(asked.query, obj)
            except TooManyInstances:
                found = True  # its bounds are in the range; how often it takes place there nobody can tell in time
            if found and (data is not None or asked.of_objects or not rendering.needs_data):
                yield asked.keep(item, rendering.render(item, obj if asked.of_objects else data))
            elif found:
                waiting.append(item)
            else:
                asked.keep(item, "")
            if time.monotonic() > asked.deadline:
                break
            await context.pause()
        async for part in tell_items(context, asked.collection, asked.told(), waiting):
            yield part


def too_many() -> DavError:
    """An expansion that does not end."""
    return forbidden(dav("number-of-matches-within-limits"), "Trop d'occurrences. / Too many instances.")
