"""sync-collection (RFC 6578): what changed since a token, on collections and on homes.

Owns tokens' text and their reading. Truncated answers end with 507 for the asked path (section 3.6); the token they carry
leads on. A token of another life of the collection, or of none, is valid-sync-token.
"""

import re
from collections.abc import AsyncIterator
from xml.etree.ElementTree import Element

from ...storage.api import CollectionKind, InvalidSyncToken, SyncToken
from .. import xml
from ..context import RequestContext
from ..errors import bad_request, dav, error_for, forbidden
from ..items import BATCH, tell_items
from ..plugin import Context
from ..properties import home_sync_token, sync_token
from ..values import Collection, Home, PropertyRequest, Resource, Response
from ..xml import quote

_TOKEN = re.compile(r"data:,([a-z0-9]+)\.([0-9]{1,18})").fullmatch
_TRUNCATED = "<D:number-of-matches-within-limits/>"


async def handle_sync_collection(context: Context, resource: Resource, root: Element) -> Response:
    """207 with DAV:sync-token."""
    assert isinstance(context, RequestContext)
    if context.depth not in (None, 0, 1):  # section 3.2 says 0; Thunderbird and older drafts say 1
        raise bad_request("Depth")
    given = xml.text_of(root.find(dav("sync-token"))).strip()
    limit = _limit(root)
    level = xml.text_of(root.find(dav("sync-level"))).strip() or "1"
    if level not in ("1", "infinite", "infinity"):
        raise bad_request("sync-level")
    if level != "1" and isinstance(resource, Home):
        raise forbidden(dav("sync-traversal-supported"), "Un niveau a la fois. / One level at a time.")
    asked = context.property_request(root)
    if isinstance(resource, Home):
        return _home(context, resource, given, limit, asked)
    if not isinstance(resource, Collection):
        raise forbidden(dav("supported-report"))
    return await _collection(context, resource, given, limit, asked)


def _limit(root: Element) -> int | None:
    """DAV:limit (RFC 5323 section 5.17). Raise DavError 400."""
    given = root.find(f"{dav('limit')}/{dav('nresults')}")
    if given is None:
        return None
    text = xml.text_of(given).strip()
    if not text.isdecimal() or len(text) > 9 or int(text) == 0:
        raise bad_request("nresults")
    return int(text)


def _since(given: str, life: str) -> SyncToken | None:
    if not given:
        return None
    found = _TOKEN(given)
    if found is None or found[1] != life:
        raise error_for(InvalidSyncToken())
    return SyncToken(int(found[2]))


async def _collection(
    context: RequestContext, collection: Collection, given: str, limit: int | None, asked: PropertyRequest
) -> Response:
    info = collection.info
    since = _since(given, str(info.id))
    most = context.settings.sync_limit if limit is None else min(limit, context.settings.sync_limit)
    if limit is None and since is None:
        most = max(most, info.items)  # section 3.6: a client that named no limit may not know how to go on
    try:
        changes = await context.in_thread(lambda: context.account.collections.changes(info.id, since, most))
    except InvalidSyncToken as error:
        raise error_for(error) from error

    async def parts() -> AsyncIterator[str]:
        async for part in tell_items(context, collection, context.rendering(collection, asked), changes.changed):
            yield part
        for begin in range(0, len(changes.gone), BATCH):
            gone = changes.gone[begin : begin + BATCH]
            yield "".join([xml.status_response(collection.path + quote(href), 404) for href in gone])
            await context.pause()
        if changes.truncated:
            yield xml.status_response(collection.path, 507, _TRUNCATED)

    return context.multistatus(parts(), after=_after(sync_token(info, changes.sync_token)))


def _home(context: RequestContext, home: Home, given: str, limit: int | None, asked: PropertyRequest) -> Response:
    since = _since(given, home.name)
    try:
        changes = context.account.collections.collection_changes(since)
    except InvalidSyncToken as error:
        raise error_for(error) from error
    kind = context.site.homes[home.name].kind
    members = {one.info.id: one for one in context.tree.collections(home)}
    told = [members[info.id] for info in changes.changed if info.id in members]
    # In the order of their last change: who takes a few at a time goes on from the token of the last.
    told.sort(key=lambda one: one.info.touched)
    token, truncated = changes.sync_token, False
    if limit is not None and len(told) > limit:
        truncated, told = True, told[:limit]
        token = told[-1].info.touched
    gone = [name.rpartition("/")[2] for of_kind, name in changes.gone if _is_member(of_kind, name, kind, home.name)]

    async def parts() -> AsyncIterator[str]:
        for one in told:
            yield context.site.properties.response(context, one, asked)
            await context.pause()
        for name in gone:
            yield xml.status_response(f"{home.path}{quote(name)}/", 404)
        if truncated:
            yield xml.status_response(home.path, 507, _TRUNCATED)

    return context.multistatus(parts(), after=_after(home_sync_token(home.name, token)))


def _is_member(of_kind: CollectionKind, name: str, kind: CollectionKind, home: str) -> bool:
    """Whether a collection that is gone lay directly in a home."""
    if of_kind is CollectionKind.PLAIN:
        return name.rpartition("/")[0] == home
    return of_kind is kind


def _after(token: str) -> str:
    return f"<D:sync-token>{token}</D:sync-token>"
