"""What handlers are given: one request of one account, over what all requests of the process share.

Owns the way from hrefs to resources and from resources to answers. Never signs in, never writes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

from ..auth.api import Identity
from ..storage.api import Account, CollectionKind, Href, StoreError
from . import properties, xml
from .conditions import PRECONDITIONS, InvalidCondition, State, weigh
from .errors import DavError, bad_request, error_for
from .plugin import Plugin, Rendering
from .properties import Properties, home_sync_token, sync_token
from .request import HttpRequest
from .tree import PRINCIPALS, Location, Tree, parse_path, path_of
from .values import (
    XML_TYPE,
    Collection,
    DavSettings,
    Home,
    ItemResource,
    PropertyRequest,
    Resource,
    Response,
)
from .xml import Name

T = TypeVar("T")

_TURN = 0.005  # seconds of the loop that one request takes before others run


@dataclass(frozen=True, slots=True)
class Site:
    """What all requests of a process share."""

    settings: DavSettings
    homes: Mapping[str, Plugin]
    plugins: Mapping[CollectionKind, Plugin]
    kinds: Mapping[Name, CollectionKind]  # resource type -> kind
    properties: Properties
    threads: Executor
    clock: Callable[[], float]
    features: str  # the DAV header
    allow: Callable[[Resource | None], str]
    make_collection: Callable[["RequestContext", CollectionKind, Element | None], Any]


class Revoked(Exception):
    """The credentials were revoked while the request was being answered."""


class RequestContext:
    """See plugin.Context."""

    def __init__(
        self, site: Site, request: HttpRequest, identity: Identity, account: Account, is_live: Callable[[], bool]
    ) -> None:
        """`is_live`: whether the session still is."""
        self.site = site
        self.request = request
        self.settings = site.settings
        self.identity = identity
        self.account = account
        self._is_live = is_live
        self.prefer = request.prefer
        self.minimal = "return=minimal" in self.prefer
        self.depth = request.depth
        self.tree = Tree(account, identity.address, site.homes)
        self.location = parse_path(request.path)
        self.principal_path = self.tree.principal.path
        self.principals_path = PRINCIPALS
        self._since = time.monotonic()

    # -- time and threads

    def now(self) -> float:
        """See plugin.Context."""
        return self.site.clock()

    async def in_thread(self, call: Callable[[], T]) -> T:
        """See plugin.Context."""
        result = await asyncio.get_running_loop().run_in_executor(self.site.threads, call)
        self._since = time.monotonic()
        return result

    async def pause(self) -> None:
        """See plugin.Context. Raise Revoked."""
        if time.monotonic() - self._since > _TURN:
            await asyncio.sleep(0)
            self._since = time.monotonic()
            if not self._is_live():
                raise Revoked

    async def store(self, call: Callable[[], T], *, collection: Collection | None = None) -> T:
        """A change of the store, in a thread. Raise DavError for what it refuses."""
        try:
            return await self.in_thread(call)
        except StoreError as error:
            raise self.refused(error, collection) from error

    def refused(self, error: StoreError, collection: Collection | None = None) -> DavError:
        """What the client is told."""
        if collection is None:
            return error_for(error)
        return error_for(error, parent=collection.path, collection_kind=collection.info.kind.value)

    # -- resources

    def home_path(self, name: str) -> str:
        """See plugin.Context."""
        return self.tree.home(name).path

    def target(self) -> Resource:
        """What the request names. Raise DavError 404."""
        return self.tree.find(self.location)

    def locate(self, href: str) -> Location:
        """The path of an href of a header or body. Raise DavError 400, 502."""
        return parse_path(path_of(href.strip(), self.request.host))

    def resolve(self, href: str) -> Resource:
        """See plugin.Context."""
        return self.tree.find(self.locate(href))

    def item_href(self, collection: Collection, href: str) -> Href | None:
        """See plugin.Context."""
        href = href.strip()
        base = collection.path
        # Nearly all come as we gave them; the rest is compared decoded.
        if href.startswith(base) and "%" not in href and "?" not in href:
            name = href[len(base) :]
            if name and "/" not in name and name.isascii() and name.isprintable() and name not in (".", ".."):
                return Href(name)
        try:
            names = self.locate(href).names
        except DavError:
            return None
        ours = parse_path(base).names
        if len(names) != len(ours) + 1 or names[2].casefold() != ours[2].casefold():
            return None
        if (*names[:2], *names[3:-1]) != (*ours[:2], *ours[3:]):
            return None
        return Href(names[-1])

    # -- conditions

    def state(self, resource: Resource | None) -> State:
        """What conditions are weighed against."""
        match resource:
            case None:
                return State(False)
            case ItemResource():
                return State(
                    True, resource.item.etag, resource.item.modified, frozenset({sync_token(resource.collection.info)})
                )
            case Collection():
                return State(True, tokens=frozenset({sync_token(resource.info)}))
            case Home():
                token = self.account.collections.collection_changes(None).sync_token
                return State(True, tokens=frozenset({home_sync_token(resource.name, token)}))
            case _:
                return State(True)

    def check_conditions(self, resource: Resource | None, *, reads: bool = False) -> bool:
        """Weigh the request's conditions. Raise DavError 304, 412, 400. Whether there were any that a write must keep to."""
        headers = self.request.headers

        def state_of(tag: str | None) -> State:
            if tag is None:
                return self.state(resource)
            try:
                return self.state(self.resolve(tag))
            except DavError:
                return State(False)

        try:
            status = weigh(headers, self.state(resource), state_of, reads=reads)
        except InvalidCondition:
            raise bad_request("Condition incomprise. / Condition not understood.") from None
        if status is not None:
            etag = resource.item.etag if isinstance(resource, ItemResource) else None
            raise DavError(
                status,
                text="" if status == 304 else "Change entre-temps. / Changed meanwhile.",
                headers=(("ETag", f'"{etag}"'),) if etag and status == 304 else (),
            )
        return any(name in headers for name in PRECONDITIONS)

    # -- answers

    def property_request(self, root: Element) -> PropertyRequest:
        """See plugin.Context."""
        return properties.property_request(root)

    def rendering(self, collection: Collection, asked: PropertyRequest) -> Rendering:
        """See plugin.Context."""
        return self.site.properties.rendering(self, collection, asked)

    def multistatus(self, parts: AsyncIterator[str], *, after: str = "") -> Response:
        """See plugin.Context."""

        async def body() -> AsyncIterator[str]:
            yield xml.MULTISTATUS
            async for part in parts:
                yield part
            yield after + xml.MULTISTATUS_END

        return Response(207, self.vary(), body())

    def vary(self) -> tuple[tuple[str, str], ...]:
        """Headers of a multistatus."""
        headers = (XML_TYPE, ("Vary", "Brief, Prefer, Accept-Encoding"))
        return (*headers, ("Preference-Applied", "return=minimal")) if self.minimal else headers

    async def make_collection(self, kind: CollectionKind, root: Element | None) -> Response:
        """See plugin.Context."""
        response: Response = await self.site.make_collection(self, kind, root)
        return response


async def of(parts: Iterable[str] | Iterator[str]) -> AsyncIterator[str]:
    """Texts that are there already, as an answer's parts."""
    for part in parts:
        yield part
