"""PROPPATCH (RFC 4918 section 9.2): all of it or none. What the server does not know is kept as it came."""

from collections.abc import Callable
from typing import Any

from ...storage.api import CollectionKind, NotFound
from .. import xml
from ..context import RequestContext, of
from ..errors import bad_request, dav, forbidden
from ..values import Collection, Home, ItemResource, Principal, Resource, Response
from .updates import read_updates


async def handle_proppatch(context: RequestContext) -> Response:
    """A 207; 200 and nothing more where the client wants it short and all went well (RFC 8144 section 2.2)."""
    resource = context.target()
    root = await context.request.xml()
    if root is None or root.tag != dav("propertyupdate"):
        raise bad_request("DAV:propertyupdate")
    context.check_conditions(resource)
    updates = read_updates(root, context.site.properties.table(resource))
    if not (updates.values or updates.failures):
        raise bad_request("DAV:propertyupdate")
    if not updates.failures:
        await context.store(_writer(context, resource, updates.values))
        if context.minimal:
            return Response(200, (("Preference-Applied", "return=minimal"),))
    told = f"<D:response>{xml.href(resource.path)}{updates.propstats()}</D:response>"
    return context.multistatus(of([told]))


def _writer(context: RequestContext, resource: Resource, changes: dict[str, str | None]) -> Callable[[], Any]:
    collections = context.account.collections
    match resource:
        case Collection():
            return lambda: collections.set_properties(resource.info.id, changes)
        case ItemResource():
            return lambda: collections.set_item_properties(resource.collection.info.id, resource.item.href, changes)
        case Home():
            return lambda: _set_own(context, resource.name, changes)
        case Principal():
            return lambda: _set_own(context, "principals", changes)
        case _:
            raise forbidden()


def _set_own(context: RequestContext, name: str, changes: dict[str, str | None]) -> None:
    """Homes and principals have no collection of their own: a plain one that no path names keeps what clients set."""
    collections = context.account.collections
    try:
        info = collections.find(CollectionKind.PLAIN, name)
    except NotFound:
        info = collections.create(CollectionKind.PLAIN, name, {})
    collections.set_properties(info.id, changes)
