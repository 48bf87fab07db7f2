"""Methods that are answered without being done: ACL, POST, LOCK and UNLOCK, and those nobody knows.

ACL has its precondition (RFC 3744 section 8.1.1): every entry is protected. The others are not among what Allow names.
"""

from ..context import RequestContext
from ..errors import DavError, dav, forbidden
from ..values import Response
from .put import find_or_none


async def handle_acl(context: RequestContext) -> Response:
    """403: rights are not changed over DAV."""
    context.target()
    raise forbidden(dav("no-protected-ace-conflict"), "Les droits ne se changent pas ici. / Rights are not changed here.")


async def handle_not_allowed(context: RequestContext) -> Response:
    """405 with what is allowed (RFC 9110 section 15.5.6)."""
    allowed = context.site.allow(find_or_none(context, context.location))
    raise DavError(405, text="Methode non permise ici. / Method not allowed here.", headers=(("Allow", allowed),))
