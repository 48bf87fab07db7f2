"""GET and HEAD (RFC 4918 section 9.4): an item byte for byte; of a collection a line that says where one is."""

from ...storage.api import StoreError
from ..context import RequestContext
from ..properties import http_date
from ..values import TEXT_TYPE, ItemResource, Response

_HERE = (
    "Préau : agendas et contacts. Donnez cette adresse à votre logiciel.\n"
    "Préau: calendars and contacts. Give this address to your client.\n"
)


async def handle_get(context: RequestContext) -> Response:
    """The answer to HEAD is the same; the body is cut off where it is sent."""
    resource = context.target()
    context.check_conditions(resource, reads=True)
    if not isinstance(resource, ItemResource):
        return Response(200, (TEXT_TYPE, ("Cache-Control", "no-store")), _HERE.encode())
    try:
        item, data = context.account.collections.read_item(resource.collection.info.id, resource.item.href)
    except StoreError as error:
        raise context.refused(error) from error
    plugin = context.tree.plugin_of(resource.collection)
    content_type = item.facts.content_type
    if plugin is not None:
        content_type, data = plugin.representation(item, data, context.request.headers.get("accept", ""))
    if content_type.startswith("text/") and "charset" not in content_type:
        content_type += "; charset=utf-8"
    headers = (
        ("Content-Type", header_value(content_type)),
        ("ETag", f'"{item.etag}"'),
        ("Last-Modified", http_date(item.modified)),
        ("Cache-Control", "private, no-cache"),
        *((("Vary", "Accept"),) if plugin is not None else ()),
        # What people store is never run in our name, whatever it says it is.
        ("Content-Security-Policy", "sandbox; default-src 'none'"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Response(200, headers, data)


def header_value(text: str) -> str:
    """Text as it may stand in a header."""
    return text if text.isascii() and text.isprintable() else "application/octet-stream"
