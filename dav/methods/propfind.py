"""PROPFIND (RFC 4918 section 9.1): properties of a resource, and of what lies directly in it.

A listing is made from the index alone, batch by batch, as it is sent. `Depth: infinity` is refused on collections.
"""

from collections.abc import AsyncIterator, Iterator

from ...storage.api import CollectionKind
from ..context import RequestContext
from ..errors import DavError, bad_request, dav
from ..items import tell_items
from ..plugin import INFINITY
from ..properties import ALLPROP
from ..tree import BASE, PRINCIPALS
from ..values import Collection, Home, ItemResource, PropertyRequest, Resource, Response, Root


async def handle_propfind(context: RequestContext) -> Response:
    """A 207."""
    resource = context.target()
    root = await context.request.xml()
    if root is not None and root.tag != dav("propfind"):
        raise bad_request("DAV:propfind")
    asked = ALLPROP if root is None else context.property_request(root)
    if root is not None and not (asked.all or asked.names_only or len(root)):
        raise bad_request("DAV:propfind")
    # RFC 4918 section 9.1: no Depth header is `Depth: infinity`.
    depth = INFINITY if context.depth is None else context.depth
    if depth == INFINITY:
        if not isinstance(resource, ItemResource):
            text = "Depth: 0 ou 1, s'il vous plait. / Depth: 0 or 1, please."
            raise DavError(403, dav("propfind-finite-depth"), text)
        depth = 0
    context.check_conditions(resource, reads=True)
    return context.multistatus(_parts(context, resource, asked, depth))


async def _parts(context: RequestContext, resource: Resource, asked: PropertyRequest, depth: int) -> AsyncIterator[str]:
    properties = context.site.properties
    if not (depth and "depth-noroot" in context.prefer):  # RFC 8144 section 3
        yield properties.response(context, resource, asked)
    if not depth:
        return
    for child in _children(context, resource):
        await context.pause()
        yield properties.response(context, child, asked)
    if isinstance(resource, Collection):
        items = context.account.collections.items(resource.info.id)
        async for part in tell_items(context, resource, context.rendering(resource, asked), items):
            yield part


def _children(context: RequestContext, resource: Resource) -> Iterator[Resource]:
    """What lies directly in it, items apart."""
    tree = context.tree
    match resource:
        case Root(path="/"):
            yield Root(BASE)
        case Root(path=path) if path == BASE:
            yield Root(PRINCIPALS)
            for name in tree.homes:
                yield Root(f"{BASE}{name}/")
        case Root(path=path) if path == PRINCIPALS:
            yield tree.principal
        case Root(path=path):
            yield tree.home(path[len(BASE) : -1])
        case Home():
            yield from tree.collections(resource)
        case Collection(info=info) if info.kind is CollectionKind.PLAIN:
            yield from tree.plain_collections(resource)
