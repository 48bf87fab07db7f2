"""OPTIONS (RFC 4918 section 10.1): what may be done here, and what `DAV:` announces is true everywhere."""

from ..context import RequestContext
from ..values import Response
from .put import find_or_none


async def handle_options(context: RequestContext) -> Response:
    """200 with Allow and DAV; what does not exist yet may be PUT or made."""
    resource = find_or_none(context, context.location)
    return Response(200, (("Allow", context.site.allow(resource)), ("DAV", context.site.features)))
