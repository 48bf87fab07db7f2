"""REPORT (RFC 3253 section 3.6): finds who answers it."""

from ..context import RequestContext
from ..errors import bad_request, dav, forbidden
from ..reports.table import report_for
from ..values import Response


async def handle_report(context: RequestContext) -> Response:
    """As the report's handler answers."""
    root = await context.request.xml(context.settings.report_size)
    if root is None:
        raise bad_request("Un rapport a un corps. / A report has a body.")
    resource = context.target()
    context.check_conditions(resource)
    handler = report_for(context.site.homes, resource, root.tag)
    if handler is None:
        raise forbidden(dav("supported-report"), "Rapport inconnu ici. / Report unknown here.")
    return await handler(context, resource, root)
