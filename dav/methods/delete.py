"""DELETE (RFC 4918 section 9.6)."""

from ..context import RequestContext
from ..errors import bad_request, forbidden
from ..plugin import INFINITY
from ..values import Collection, ItemResource, Response


async def handle_delete(context: RequestContext) -> Response:
    """204. A collection goes with all that is in it."""
    resource = context.target()
    bound = context.check_conditions(resource)
    collections = context.account.collections
    match resource:
        case ItemResource(collection=collection, item=item):
            etag = item.etag if bound else None
            await context.store(
                lambda: collections.delete_item(collection.info.id, item.href, if_match=etag), collection=collection
            )
        case Collection(info=info):
            if context.depth not in (None, INFINITY):
                raise bad_request("Depth")  # RFC 4918 section 9.6.1
            await context.store(lambda: collections.delete(info.id))
        case _:
            raise forbidden()
    return Response(204)
