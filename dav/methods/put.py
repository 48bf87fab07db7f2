"""PUT (RFC 4918 section 9.7, RFC 4791 section 5.3.2, RFC 6352 section 6.3.2).

Owns the order: is there a place, are the conditions true, is it what that place holds, then the store. The ETag of the
answer is of exactly the octets sent. Never rewrites them.
"""

from ...storage.api import CollectionKind, Href, ItemFacts
from ..context import RequestContext
from ..errors import DavError, bad_request, uid_condition
from ..plugin import Plugin
from ..tree import Location
from ..values import Collection, ItemResource, Resource, Response
from ..xml import href
from .get import header_value

_LONG = 65_536  # octets from which a check runs in a thread


async def handle_put(context: RequestContext) -> Response:
    """201 with a new item, 204 with one replaced."""
    request = context.request
    if "content-range" in request.headers:
        raise bad_request("Content-Range")  # RFC 9110 section 14.4
    existing = find_or_none(context, context.location)
    if existing is not None and not isinstance(existing, ItemResource):
        raise DavError(405, text="Ceci est une collection. / This is a collection.")
    collection = existing.collection if existing is not None else place_for_item(context, context.location)
    if context.location.slash:
        raise DavError(409, text="Un element n'a pas de / final. / An item has no slash at its end.")
    # Before the body: who is refused need not send it.
    bound = context.check_conditions(existing)
    data = await request.read(context.settings.item_size)
    content_type = request.headers.get("content-type", "")
    facts = await check_item(context, collection, context.location.names[-1], data, content_type)
    check_uid(collection, existing, facts)
    put = await context.store(
        lambda: context.account.collections.put_item(
            collection.info.id,
            Href(context.location.names[-1]),
            data,
            facts,
            if_match=existing.item.etag if bound and existing is not None else None,
            if_none_match=bound and existing is None,
        ),
        collection=collection,
    )
    headers = [("ETag", f'"{put.item.etag}"')]
    if "return=representation" in context.prefer:
        headers += [
            ("Content-Type", header_value(facts.content_type)),
            ("Content-Location", context.location.path),
            ("Preference-Applied", "return=representation"),
        ]
        return Response(201 if put.created else 200, tuple(headers), data)
    return Response(201 if put.created else 204, tuple(headers))


def find_or_none(context: RequestContext, location: Location) -> Resource | None:
    """What lies there, if anything does."""
    try:
        return context.tree.find(location)
    except DavError as error:
        if error.status != 404:
            raise
        return None


def place_for_item(context: RequestContext, location: Location) -> Collection:
    """The collection that a new item would lie in. Raise DavError 409 when there is none, 403 where none may lie."""
    parent = context.tree.parent(location)
    if not isinstance(parent, Collection):
        raise DavError(403, text="Rien ne se range ici. / Nothing is kept here.")
    return parent


async def check_item(context: RequestContext, collection: Collection, name: str, data: bytes, content_type: str) -> ItemFacts:
    """Facts of what may be stored there. Raise DavError."""
    plugin: Plugin | None = context.tree.plugin_of(collection)
    if plugin is None:
        assert collection.info.kind is CollectionKind.PLAIN
        return ItemFacts(content_type=header_value(content_type.strip())[:200] or "application/octet-stream")
    if len(data) < _LONG:
        return plugin.check_item(collection.info, name, data, content_type)
    checked = plugin
    return await context.in_thread(lambda: checked.check_item(collection.info, name, data, content_type))


def check_uid(collection: Collection, existing: ItemResource | None, facts: ItemFacts) -> None:
    """An item keeps its UID for as long as it has its href (RFC 4791 section 5.3.2.1). Raise DavError."""
    if existing is not None and existing.item.facts.uid != facts.uid:
        kind = collection.info.kind.value
        raise DavError(403, uid_condition(kind), "Autre UID. / Another UID.", content=href(existing.path))
