"""principal-match, principal-property-search, principal-search-property-set, acl-principal-prop-set (RFC 3744 section 9).

Owns who is found: for now whoever asks finds oneself alone, so a stranger learns nothing (auth/permits.py).
"""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from .. import xml
from ..context import RequestContext, of
from ..errors import bad_request, dav
from ..plugin import Context
from ..properties import DISPLAYNAME
from ..values import XML_TYPE, Home, Principal, PropertyRequest, Resource, Response, Root
from ..xml import CALDAV, CALENDARSERVER, Name

_SEARCHABLE: tuple[tuple[Name, str], ...] = (
    (DISPLAYNAME, "Display Name"),
    (f"{{{CALDAV}}}calendar-user-address-set", "Calendar user address"),
    (f"{{{CALENDARSERVER}}}email-address-set", "Email address"),
)

_GRAMMAR = frozenset(
    dav(name) for name in ("property-search", "prop", "allprop", "propname", "apply-to-principal-collection-set")
)


async def handle_principal_match(context: Context, resource: Resource, root: Element) -> Response:
    """Section 9.3: DAV:self below a principal collection, or resources whose principal-property names one."""
    assert isinstance(context, RequestContext)
    if context.depth not in (None, 0):
        raise bad_request("Depth")
    asked = context.property_request(root)
    tell = context.site.properties.response
    if root.find(dav("self")) is not None:
        mine: Sequence[Resource] = [context.tree.principal] if isinstance(resource, Root | Principal) else []
    else:
        by = root.find(dav("principal-property"))
        if by is None or len(by) != 1:
            raise bad_request("principal-property")
        ours = xml.href(context.principal_path)
        within: list[Resource] = [resource]
        if isinstance(resource, Home):
            within += context.tree.collections(resource)
        mine = [one for one in within if ours in (context.site.properties.value(context, one, by[0].tag) or "")]
    return context.multistatus(of([tell(context, one, asked) for one in mine]))


async def handle_principal_property_search(context: Context, resource: Resource, root: Element) -> Response:
    """Section 9.4: every property-search must be met (or one, with test="anyof"), without regard to case."""
    assert isinstance(context, RequestContext)
    if context.depth not in (None, 0):
        raise bad_request("Depth")
    searches = root.findall(dav("property-search"))
    if len(searches) > 20:
        raise bad_request("property-search")
    principal = context.tree.principal
    met = []
    for search in searches:
        match = search.find(dav("match"))
        needle = xml.text_of(match).strip().casefold()
        names = [child.tag for prop in search.iterfind(dav("prop")) for child in prop]
        how = "contains" if match is None else match.get("match-type", "contains")
        met.append(bool(names) and all(_matches(context, principal, name, needle, how) for name in names))
    # Without a search there is nothing to be met: whoever asks for all that there are finds who may be seen.
    test = any if root.get("test") == "anyof" and met else all
    asked = _asked(context, root)
    found = [context.site.properties.response(context, principal, asked)] if test(met) else []
    return context.multistatus(of(found))


def _asked(context: Context, root: Element) -> PropertyRequest:
    """Those of DAV:prop, and those beside it: python-caldav writes them there."""
    asked = context.property_request(root)
    beside = [child.tag for child in root if child.tag not in _GRAMMAR]
    if asked.all or asked.names_only or not beside:
        return asked
    return PropertyRequest(tuple(dict.fromkeys([*asked.names, *beside[:20]])), asked.elements)


def _matches(context: RequestContext, principal: Principal, name: Name, needle: str, how: str) -> bool:
    value = context.site.properties.value(context, principal, name)
    if value is None or name not in {one for one, _ in _SEARCHABLE}:
        return False
    text = xml.text_of(xml.parse_stored(value)).strip().casefold()
    match how:
        case "equals":
            return text == needle
        case "starts-with":
            return text.startswith(needle)
        case "ends-with":
            return text.endswith(needle)
    return needle in text


async def handle_principal_search_property_set(context: Context, resource: Resource, root: Element) -> Response:
    """Section 9.5: what may be searched, where there is such a property."""
    assert isinstance(context, RequestContext)
    if context.depth not in (None, 0):
        raise bad_request("Depth")
    if len(root):
        raise bad_request("principal-search-property-set")
    table = context.site.properties.table(context.tree.principal)
    body = "".join(
        f"<D:principal-search-property><D:prop>{xml.element(name)}</D:prop>"
        f'<D:description xml:lang="en">{words}</D:description></D:principal-search-property>'
        for name, words in _SEARCHABLE
        if name in table
    )
    tag = "D:principal-search-property-set"
    return Response(200, (XML_TYPE,), f"{xml.HEAD}<{tag}{xml.DECLARATIONS}>{body}</{tag}>".encode())


async def handle_acl_principal_prop_set(context: Context, resource: Resource, root: Element) -> Response:
    """Section 9.2: properties of the principals in a resource's ACL: its owner."""
    assert isinstance(context, RequestContext)
    if context.depth not in (None, 0):
        raise bad_request("Depth")
    asked = context.property_request(root)
    return context.multistatus(of([context.site.properties.response(context, context.tree.principal, asked)]))
