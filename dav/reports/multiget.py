"""calendar-multiget and addressbook-multiget (RFC 4791 section 7.9, RFC 6352 section 8.7): one engine for both.

Owns the order of the answer, which is that of the hrefs, and their number. An href that names nothing here is told 404.
"""

from collections.abc import AsyncIterator, Sequence
from xml.etree.ElementTree import Element

from ...storage.api import Href
from .. import xml
from ..errors import DavError, dav, forbidden
from ..items import damaged, read_each
from ..plugin import Context
from ..values import Collection, ItemResource, PropertyRequest, Resource, Response

_HREF = dav("href")
BATCH = 100
_LONGEST_HREF = 4_096


async def handle_multiget(context: Context, resource: Resource, root: Element) -> Response:
    """207. Asked of a collection, or of one item of it (RFC 4791 section 7.9: hrefs then name that item)."""
    collection = resource.collection if isinstance(resource, ItemResource) else resource
    hrefs = [(given.text or "").strip() for given in root.iterfind(_HREF)]
    if len(hrefs) > context.settings.hrefs:
        raise forbidden(dav("number-of-matches-within-limits"), "Trop d'adresses. / Too many hrefs.")
    if any(len(href) > _LONGEST_HREF for href in hrefs):
        raise DavError(400, text="Adresse trop longue. / href too long.")
    asked = context.property_request(root)
    if isinstance(collection, Collection):
        return context.multistatus(multiget(context, collection, asked, hrefs))
    return context.multistatus(_anywhere(context, asked, hrefs))


async def multiget(
    context: Context, collection: Collection, asked: PropertyRequest, hrefs: Sequence[str]
) -> AsyncIterator[str]:
    """<D:response> texts of these, several in one piece."""
    rendering = context.rendering(collection, asked)
    render, collections, id_ = rendering.render, context.account.collections, collection.info.id
    for begin in range(0, len(hrefs), BATCH):
        given = hrefs[begin : begin + BATCH]
        names = [context.item_href(collection, href) for href in given]
        wanted = list(dict.fromkeys(name for name in names if name is not None))
        told: dict[Href, str] = {}
        if rendering.needs_data:
            for item, data in read_each(collections, id_, wanted):
                told[item.href] = damaged(collection, item) if data is None else render(item, data)
                await context.pause()
        else:
            told = {item.href: render(item, None) for item in collections.items(id_, wanted)}
        yield "".join(
            [
                told[name] if name is not None and name in told else xml.status_response(xml.escape(href), 404)
                for name, href in zip(names, given, strict=True)
            ]
        )
        await context.pause()


async def _anywhere(context: Context, asked: PropertyRequest, hrefs: Sequence[str]) -> AsyncIterator[str]:
    """Asked of a home: hrefs may lie in any of its collections."""
    places: dict[str, Collection | None] = {}
    for href in hrefs:
        base, _, _ = href.rstrip("/").rpartition("/")
        if base not in places and len(places) < 1_000:
            places[base] = _collection(context, base)
        collection = places.get(base)
        if collection is None:
            yield xml.status_response(xml.escape(href), 404)
            continue
        async for text in multiget(context, collection, asked, [href]):
            yield text


def _collection(context: Context, href: str) -> Collection | None:
    try:
        found = context.resolve(href)
    except DavError:
        return None
    return found if isinstance(found, Collection) else None
