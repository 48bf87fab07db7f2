"""COPY and MOVE (RFC 4918 sections 9.8 and 9.9), of items and of collections.

An item keeps its octets, its ETag and its dead properties. What comes into another collection is judged as if it had
been PUT there. A collection moves in one step of the store; a copy of one is made item by item.
"""

from dataclasses import dataclass

from ...storage.api import CollectionId, CollectionInfo, CollectionKind, Href, Item
from ..context import RequestContext
from ..errors import DavError, bad_request, dav, forbidden
from ..plugin import INFINITY
from ..tree import Location
from ..values import Collection, Home, ItemResource, Resource, Response
from .put import check_item, find_or_none, place_for_item


async def handle_copy(context: RequestContext) -> Response:
    """201, or 204 where something gave way."""
    return await _handle(context, move=False)


async def handle_move(context: RequestContext) -> Response:
    """201, or 204 where something gave way."""
    return await _handle(context, move=True)


@dataclass(frozen=True, slots=True)
class _Job:
    """What was asked. `bound`: only as the source was seen.  `existing`: what lies at the destination."""

    move: bool
    bound: bool
    location: Location
    existing: Resource | None


async def _handle(context: RequestContext, *, move: bool) -> Response:
    source = context.target()
    if not isinstance(source, ItemResource | Collection):
        raise forbidden()
    destination = context.request.headers.get("destination")
    if destination is None:
        raise bad_request("Destination")
    location = context.locate(destination)
    if location.names == context.location.names:
        raise forbidden(text="Source et destination sont les memes. / Source and destination are the same.")
    existing = find_or_none(context, location)
    if existing is None:
        context.tree.parent(location)
    bound = context.check_conditions(source)
    if existing is not None and not context.request.overwrite:
        raise DavError(412, text="Existe deja. / Exists already.")
    if existing is not None and not isinstance(existing, ItemResource | Collection):
        raise forbidden()
    job = _Job(move, bound, location, existing)
    if isinstance(source, ItemResource):
        await _item(context, source, job)
    else:
        await _collection(context, source, job)
    if existing is None:
        return Response(201, (("Location", location.path),))
    return Response(204)


async def _item(context: RequestContext, source: ItemResource, job: _Job) -> None:
    collections = context.account.collections
    origin, href = source.collection.info.id, source.item.href
    if isinstance(job.existing, Collection):
        await _clear(context, job.existing)
    target = place_for_item(context, job.location)
    name = Href(job.location.names[-1])
    if target.info.id != origin:
        item, data = await context.store(lambda: collections.read_item(origin, href))
        facts = await check_item(context, target, name, data, item.facts.content_type)
        if target.info.kind is not source.collection.info.kind:
            # Its facts are others there: it is put anew. It is in both places for a moment, and never in none.
            fresh = not context.request.overwrite
            await context.store(
                lambda: collections.put_item(target.info.id, name, data, facts, if_none_match=fresh), collection=target
            )
            if job.move:
                await context.store(lambda: collections.delete_item(origin, href, if_match=item.etag))
            return
    try:
        await context.store(
            lambda: collections.copy_item(
                *(origin, href, target.info.id, name),
                overwrite=context.request.overwrite,
                move=job.move,
                if_match=source.item.etag if job.bound else None,
            ),
            collection=target,
        )
    except DavError as error:
        if error.condition != dav("resource-must-be-null"):
            raise
        raise DavError(412, text="Existe deja. / Exists already.") from error  # it was not, a moment ago


async def _collection(context: RequestContext, source: Collection, job: _Job) -> None:
    names, ours = job.location.names, context.location.names
    if names[: len(ours)] == ours or ours[: len(names)] == names:
        raise forbidden(text="L'une contient l'autre. / One contains the other.")
    if job.move and context.depth not in (None, INFINITY):
        raise bad_request("Depth")  # RFC 4918 section 9.9.2
    if not job.move and context.depth not in (None, 0, INFINITY):
        raise bad_request("Depth")
    name = _name_there(context, source, job.location)
    if job.existing is not None:
        await _clear(context, job.existing)
    collections = context.account.collections
    if job.move:
        await context.store(lambda: collections.move_collection(source.info.id, name))
        return
    await _copy(context, source.info, name, deep=context.depth != 0)


def _name_there(context: RequestContext, source: Collection, location: Location) -> str:
    parent = context.tree.parent(location)
    if source.info.kind is CollectionKind.PLAIN:
        if isinstance(parent, Home):
            return f"{parent.name}/{location.names[-1]}"
        if isinstance(parent, Collection) and parent.info.kind is CollectionKind.PLAIN:
            return f"{parent.info.name}/{location.names[-1]}"
    elif isinstance(parent, Home) and context.tree.homes[parent.name].kind is source.info.kind:
        return location.names[-1]
    raise forbidden(text="Pas a cet endroit. / Not in this place.")


async def _clear(context: RequestContext, existing: Resource) -> None:
    """Make way (RFC 4918 section 9.8.4: as if by DELETE)."""
    collections = context.account.collections
    match existing:
        case ItemResource(collection=collection, item=item):
            await context.store(lambda: collections.delete_item(collection.info.id, item.href))
        case Collection(info=info):
            await context.store(lambda: collections.delete(info.id))


async def _copy(context: RequestContext, source: CollectionInfo, name: str, *, deep: bool) -> None:
    collections = context.account.collections
    made = await context.store(lambda: collections.create(source.kind, name, source.properties))
    if not deep:
        return
    items: list[Item] = await context.store(lambda: list(collections.items(source.id)))
    for item in items:
        await _copy_one(context, source.id, item.href, made.id)
    if source.kind is not CollectionKind.PLAIN:
        return
    for below in collections.collections(CollectionKind.PLAIN):
        parent, _, last = below.name.rpartition("/")
        if parent == source.name:
            await _copy(context, below, f"{name}/{last}", deep=True)


async def _copy_one(context: RequestContext, origin: CollectionId, href: Href, target: CollectionId) -> None:
    collections = context.account.collections
    await context.store(lambda: collections.copy_item(origin, href, target, href, overwrite=True, move=False))
