"""addressbook-query (RFC 6352 section 8.6): narrowed by the index, then read a batch at a time and told as it is found."""

import time
from collections.abc import AsyncIterator
from itertools import islice
from xml.etree.ElementTree import Element

from ..dav.errors import bad_request
from ..dav.items import damaged, read_each
from ..dav.plugin import Context, Rendering
from ..dav.reports.targets import collections_asked
from ..dav.values import Collection, ItemResource, Resource, Response
from ..dav.xml import status_response, text_of
from ..formats.vcard import InvalidCard, read_card
from ..storage.api import CollectionKind, Item
from .facts import narrow
from .filters import CardFilter, carddav, read_filter
from .query import matches

_BATCH = 100
_SECONDS = 20.0  # one query
_TOO_MANY = "<D:number-of-matches-within-limits/>"


def read_limit(root: Element) -> int | None:
    """Of CARDDAV:limit (section 10.6). Raise DavError 400."""
    given = root.find(f"{carddav('limit')}/{carddav('nresults')}")
    if given is None:
        return None
    text = text_of(given).strip()
    if not text.isdecimal() or len(text) > 9:
        raise bad_request("nresults")
    return int(text)


async def handle_query(context: Context, resource: Resource, root: Element) -> Response:
    """A ReportHandler."""
    asked_filter = read_filter(root.find(carddav("filter")))
    limit = read_limit(root)
    asked = context.property_request(root)
    work: list[tuple[Collection, Rendering, list[Item] | None]]
    if isinstance(resource, ItemResource):
        work = [(resource.collection, context.rendering(resource.collection, asked), [resource.item])]
    else:
        work = [
            (one, context.rendering(one, asked), None)
            for one in collections_asked(context, resource, CollectionKind.ADDRESSBOOK, "addressbooks")
        ]

    async def parts() -> AsyncIterator[str]:
        deadline = time.monotonic() + _SECONDS
        told = 0
        for collection, rendering, items in work:
            async for texts in _found(context, collection, rendering, asked_filter, items):
                wanted = texts if limit is None else texts[: limit - told]
                told += len(wanted)
                yield "".join(wanted)
                if len(wanted) < len(texts) or time.monotonic() > deadline:
                    yield status_response(resource.path, 507, _TOO_MANY)
                    return

    return context.multistatus(parts())


async def _found(
    context: Context, collection: Collection, rendering: Rendering, asked: CardFilter, items: list[Item] | None
) -> AsyncIterator[list[str]]:
    """<D:response> texts of those that match, a batch at a time."""
    collections, id_ = context.account.collections, collection.info.id
    waiting = iter(collections.items(id_) if items is None else items)
    may = narrow(asked)
    everything = not asked.properties and not rendering.needs_data
    while batch := list(islice(waiting, _BATCH)):
        if everything:
            yield [rendering.render(item, None) for item in batch]
        elif wanted := [item.href for item in batch if may is None or may(item.facts.text)]:
            texts = []
            for item, data in read_each(collections, id_, wanted):
                if data is None:
                    texts.append(damaged(collection, item))
                elif _matches(asked, data):
                    texts.append(rendering.render(item, data))
                await context.pause()
            yield texts
        await context.pause()


def _matches(asked: CardFilter, data: bytes) -> bool:
    if not asked.properties:
        return True
    try:
        card = read_card(data)
    except InvalidCard:
        return False  # what another program left in the store: nothing is known of it
    return matches(asked, card)
