"""Which collections a query is asked of (RFC 4791 section 7.8, RFC 6352 section 8.6): the same for both."""

from ...storage.api import CollectionKind
from ..errors import dav, forbidden
from ..plugin import INFINITY, Context
from ..values import Collection, Home, Resource
from ..xml import quote


def collections_asked(context: Context, resource: Resource, kind: CollectionKind, home: str) -> list[Collection]:
    """Those of `kind` that a report at this depth covers. Raise DavError supported-report."""
    match resource:
        case Collection(info=info) if info.kind is kind:
            # Depth 0 is the collection alone, which is none of its items; who sends no depth means what is in it.
            return [] if context.depth == 0 else [resource]
        case Home(name=name) if name == home:
            if context.depth != INFINITY:
                return []
            infos = context.account.collections.collections(kind)
            found = [context.resolve(f"{resource.path}{quote(info.name)}/") for info in infos]
            return [one for one in found if isinstance(one, Collection)]
        case _:
            raise forbidden(dav("supported-report"))
