"""expand-property (RFC 3253 section 3.8): properties whose values are hrefs, with properties of what these lead to.

Owns the bounds: three levels, and a number of resources in all.
"""

import re
from xml.etree.ElementTree import Element

from .. import xml
from ..context import RequestContext, of
from ..errors import DavError, bad_request, dav
from ..plugin import Context
from ..values import Resource, Response

_PROPERTY = dav("property")
_LEVELS = 3
_MOST = 200
_HREF = re.compile(r"<D:href>([^<]*)</D:href>")


async def handle_expand_property(context: Context, resource: Resource, root: Element) -> Response:
    """207 of one response, which holds others."""
    assert isinstance(context, RequestContext)
    return context.multistatus(of([_Expansion(context).response(resource, root, 0)]))


class _Expansion:
    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._told = 0

    def response(self, resource: Resource, asked: Element, level: int) -> str:
        """One resource with the properties that `asked` names."""
        self._told += 1
        if level > _LEVELS or self._told > _MOST:
            raise DavError(403, dav("number-of-matches-within-limits"))
        found, missing = [], []
        for given in asked.iterfind(_PROPERTY):
            name = _name(given)
            value = self._context.site.properties.value(self._context, resource, name)
            if value is None:
                if not self._context.minimal:
                    missing.append(xml.element(name))
            elif given.find(_PROPERTY) is None:
                found.append(value)
            else:
                found.append(self._expanded(value, given, level))
        return xml.response(resource.path, "".join(found), "".join(missing))

    def _expanded(self, value: str, asked: Element, level: int) -> str:
        def lead(match: "re.Match[str]") -> str:
            try:
                return self.response(self._context.resolve(match[1].replace("&amp;", "&")), asked, level + 1)
            except DavError as error:
                if error.condition:
                    raise
                return xml.status_response(match[1], 404)

        return _HREF.sub(lead, value)


def _name(given: Element) -> str:
    local, namespace = given.get("name", ""), given.get("namespace", xml.DAV)
    if not re.fullmatch(r"[A-Za-z_][\w.-]{0,200}", local) or len(namespace) > 500:
        raise bad_request("property")
    return f"{{{namespace}}}{local}" if namespace else local
