"""All methods: who answers them, and which a resource allows.

Owns the table; a plugin's own methods are put beside it at start.
"""

from collections.abc import Awaitable, Callable, Mapping

from ..context import RequestContext
from ..plugin import Plugin
from ..values import Collection, Home, ItemResource, Principal, Resource, Response
from .copy_move import handle_copy, handle_move
from .delete import handle_delete
from .get import handle_get
from .make import handle_mkcol
from .options import handle_options
from .propfind import handle_propfind
from .proppatch import handle_proppatch
from .put import handle_put
from .refused import handle_acl
from .report import handle_report

Handler = Callable[[RequestContext], Awaitable[Response]]

METHODS: Mapping[str, Handler] = {
    "OPTIONS": handle_options,
    "GET": handle_get,
    "HEAD": handle_get,
    "PUT": handle_put,
    "DELETE": handle_delete,
    "PROPFIND": handle_propfind,
    "PROPPATCH": handle_proppatch,
    "MKCOL": handle_mkcol,
    "COPY": handle_copy,
    "MOVE": handle_move,
    "REPORT": handle_report,
    "ACL": handle_acl,
}

_EVERYWHERE = ("OPTIONS", "GET", "HEAD", "PROPFIND", "REPORT")


def methods_of(homes: Mapping[str, Plugin], resource: Resource | None) -> tuple[str, ...]:
    """What may be asked of a resource; of None: of a name that is free."""
    match resource:
        case None:
            return ("OPTIONS", "PUT", "MKCOL", *(name for plugin in homes.values() for name in plugin.methods))
        case Collection() | ItemResource():
            # On a collection, PUT is for what lies in it: clients look for it there to tell whether they may write.
            return (*_EVERYWHERE, "PUT", "DELETE", "PROPPATCH", "COPY", "MOVE")
        case Home() | Principal():
            return (*_EVERYWHERE, "PROPPATCH")
        case _:
            return _EVERYWHERE
