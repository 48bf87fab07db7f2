"""MKCOL, plain and extended (RFC 4918 section 9.3, RFC 5689), and the making of collections for plugins' own methods."""

from xml.etree.ElementTree import Element

from ...storage.api import CollectionKind
from .. import xml
from ..context import RequestContext
from ..errors import DavError, bad_request, dav, forbidden
from ..values import XML_TYPE, Collection, Home, Response
from .put import find_or_none
from .updates import Updates, kind_of, read_collection_type, read_initial

_VALID_TYPE = dav("valid-resourcetype")
_LOCATION = {
    CollectionKind.CALENDAR: f"{{{xml.CALDAV}}}calendar-collection-location-ok",
    CollectionKind.ADDRESSBOOK: f"{{{xml.CARDDAV}}}addressbook-collection-location-ok",
}


async def handle_mkcol(context: RequestContext) -> Response:
    """201."""
    check_free(context)
    root = await context.request.xml()
    if root is None:
        return await make_collection(context, CollectionKind.PLAIN, None)
    if root.tag != dav("mkcol"):
        raise bad_request("DAV:mkcol")
    kind = kind_of(read_collection_type(root), context.site.kinds)
    if kind is None:
        raise forbidden(_VALID_TYPE, "Type de collection inconnu. / Unknown type of collection.")
    return await make_collection(context, kind, root)


def check_free(context: RequestContext) -> None:
    """Raise DavError 405 where something is, 409 where nothing can be."""
    if find_or_none(context, context.location) is not None:
        raise DavError(405, dav("resource-must-be-null"), "Existe deja. / Exists already.")
    context.tree.parent(context.location)


async def make_collection(context: RequestContext, kind: CollectionKind, root: Element | None) -> Response:
    """See plugin.Context. `root`: of the body, whatever its name; its DAV:set holds properties."""
    check_free(context)
    parent = context.tree.parent(context.location)
    last = context.location.names[-1]
    if kind is CollectionKind.PLAIN:
        if isinstance(parent, Home):
            name = f"{parent.name}/{last}"
        elif isinstance(parent, Collection) and parent.info.kind is CollectionKind.PLAIN:
            name = f"{parent.info.name}/{last}"
        else:
            raise forbidden(text="Pas de collection ici. / No collection here.")
    else:
        name = last
        if not isinstance(parent, Home) or context.tree.homes[parent.name].kind is not kind:
            raise forbidden(_LOCATION.get(kind, ""), "Pas a cet endroit. / Not in this place.")
    context.check_conditions(None)
    plugin = context.site.plugins.get(kind)
    properties: dict[str, str] = {}
    if root is not None:
        updates = read_initial(root, context.site.properties.of_kind(kind))
        if updates.failures:
            return _refused(context, root, updates)
        properties = {name: value for name, value in updates.values.items() if value is not None}
    if plugin is not None:
        properties = dict(plugin.check_collection(properties))
    await context.store(lambda: context.account.collections.create(kind, name, properties))
    headers = [("Location", f"{context.location.path}/"), ("Cache-Control", "no-cache")]
    if context.minimal:
        headers.append(("Preference-Applied", "return=minimal"))
    return Response(201, tuple(headers))


def _refused(context: RequestContext, root: Element, updates: Updates) -> Response:
    """Nothing is made, each property tells why: 207 for MKCALENDAR (RFC 4791 section 5.3.1.1), else RFC 5689 section 3."""
    if root.tag == dav("mkcol"):
        body = xml.element(dav("mkcol-response"), updates.propstats(), xml.DECLARATIONS)
        status = next(iter(updates.failures.values())).status
        return Response(status, (XML_TYPE,), (xml.HEAD + body).encode())
    response = xml.element(dav("response"), xml.href(f"{context.location.path}/") + updates.propstats())
    return Response(207, (XML_TYPE,), (xml.MULTISTATUS + response + xml.MULTISTATUS_END).encode())
