"""What a kind of collection adds to WebDAV, and what it is given: the contract of caldav and carddav.

A plugin is one object with lists: features of the `DAV:` header, live properties, reports, methods; and the checks of
what is stored in its collections. The core routes, signs in, authorises, weighs conditions, renders; a plugin never sees
a password, another's account, or a path that the tree did not resolve.

Text that goes into an answer is XML already and uses the prefixes of xml.PREFIXES.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from xml.etree.ElementTree import Element

from ..auth.api import Identity, Service
from ..storage.api import Account, CollectionInfo, CollectionKind, Href, Item, ItemFacts
from .values import Collection, DavSettings, Home, ItemResource, Principal, PropertyRequest, Request, Resource, Response
from .xml import Name

T = TypeVar("T")
R = TypeVar("R", contravariant=False)

INFINITY = 1 << 30
"""`Depth: infinity`."""


@dataclass(frozen=True, slots=True)
class LiveProperty(Generic[R]):
    """A property that the server knows (RFC 4918 section 4.2).

    value: its inner XML, None where the resource has none (told 404).
    check: how PROPPATCH, MKCOL and MKCALENDAR may set it on a collection: gives the inner XML to be kept (`xml.store`
        for as it came) or raises DavError with the status and condition of this property; the value is then found in
        `collection.info.properties`. None: protected (RFC 3744 section 5, 403 cannot-modify-protected-property).
    at_creation: `check` counts when the collection is made, later the property is protected.
    """

    value: Callable[["Context", R], str | None]
    in_allprop: bool = False
    check: Callable[[Element], str] | None = None
    at_creation: bool = False


ItemRenderer = Callable[[Item, Any], str]
"""(item, its octets or None) -> the whole <D:response>. A plugin may hand its own renderer what it made of the octets."""
DataRenderer = Callable[[Item, Any], str]
"""(item, its octets) -> the whole property element (calendar-data, address-data)."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """How the items of a collection are told in one answer. `needs_data`: `render` must be given the octets."""

    render: ItemRenderer
    needs_data: bool


class Context(Protocol):
    """One request of one account, as handlers see it."""

    settings: DavSettings
    identity: Identity
    account: Account
    minimal: bool  # Prefer: return=minimal (RFC 7240) or Brief: t: leave out what is not there
    depth: int | None  # of the header: 0, 1, INFINITY; None when it is not sent
    principal_path: str
    principals_path: str

    @property
    def request(self) -> Request:
        """What was sent."""
        ...

    def now(self) -> float:
        """Seconds since 1970."""
        ...

    def home_path(self, name: str) -> str:
        """`calendars` or `addressbooks` -> href of this account's home."""
        ...

    async def in_thread(self, call: Callable[[], T]) -> T:
        """For store calls marked [thread] and for long computing."""
        ...

    async def pause(self) -> None:
        """Call it between batches and after anything long: lets others run when it is time to."""
        ...

    def resolve(self, href: str) -> Resource:
        """The resource at an href of a body (a URL of ours, or an absolute path). Raise DavError 404, 403."""
        ...

    def item_href(self, collection: Collection, href: str) -> Href | None:
        """The last segment, decoded, when an href of a body names a direct member of `collection`; else None."""
        ...

    def property_request(self, root: Element) -> PropertyRequest:
        """Of DAV:prop, DAV:allprop, DAV:propname, DAV:include in the root of a body. Raise DavError 400."""
        ...

    def rendering(self, collection: Collection, asked: PropertyRequest) -> Rendering:
        """How to tell items of `collection`. Raise DavError when the plugin's data_renderer does."""
        ...

    def multistatus(self, parts: AsyncIterator[str], *, after: str = "") -> Response:
        """A 207 of <D:response> texts (several in one piece are welcome), `after` (sync-token) before its end."""
        ...

    async def make_collection(self, kind: CollectionKind, root: Element | None) -> Response:
        """Make a collection at the request's path, with DAV:set of `root`: MKCALENDAR, extended MKCOL. The whole answer."""
        ...


ReportHandler = Callable[[Context, Resource, Element], Awaitable[Response]]
"""(context, resource asked, root of the body). Raise DavError."""
MethodHandler = Callable[[Context], Awaitable[Response]]
"""For methods of the plugin's own (MKCALENDAR): body and path are in `context.request`. Raise DavError."""


class Plugin(Protocol):
    """One kind of collection. Its lists are read once, at start."""

    @property
    def kind(self) -> CollectionKind:
        """What it serves."""
        ...

    @property
    def service(self) -> Service:
        """The scope that an app password needs for it."""
        ...

    @property
    def home(self) -> str:
        """Segment of its homes: `calendars`, `addressbooks`."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """Tokens of the DAV header."""
        ...

    @property
    def resource_type(self) -> str:
        """What DAV:resourcetype holds beside DAV:collection: `<C:calendar/>`."""
        ...

    @property
    def content_type(self) -> str:
        """Media type of items, without parameters."""
        ...

    @property
    def data_property(self) -> Name:
        """The property that holds an item's octets in reports: calendar-data, address-data."""
        ...

    @property
    def methods(self) -> Mapping[str, MethodHandler]:
        """Methods of its own."""
        ...

    @property
    def reports(self) -> Mapping[Name, ReportHandler]:
        """Root element -> handler; told in supported-report-set of its collections.

        For multigets there is `dav.reports.multiget.handle_multiget`.
        """
        ...

    @property
    def principal_properties(self) -> Mapping[Name, LiveProperty[Principal]]:
        """On principals."""
        ...

    @property
    def home_properties(self) -> Mapping[Name, LiveProperty[Home]]:
        """On its homes."""
        ...

    @property
    def collection_properties(self) -> Mapping[Name, LiveProperty[Collection]]:
        """On its collections."""
        ...

    @property
    def item_properties(self) -> Mapping[Name, LiveProperty[ItemResource]]:
        """On its items; `check` is not used."""
        ...

    def check_item(self, collection: CollectionInfo, href: str, data: bytes, content_type: str) -> ItemFacts:
        """Whether these octets may be stored there. Raise DavError with the precondition. Pure; run in a thread when long.

        `content_type`: of the request, as sent, empty when there is none.
        """
        ...

    def check_collection(self, properties: Mapping[str, str]) -> Mapping[str, str]:
        """Properties of a collection to be made, each through its `check` already, with defaults put in. Raise DavError."""
        ...

    def representation(self, item: Item, data: bytes, accept: str) -> tuple[str, bytes]:
        """(Content-Type, octets) that GET answers to this Accept header; the octets as they were put unless it wants others."""
        ...

    def data_renderer(self, context: Context, collection: Collection, asked: Element) -> DataRenderer:
        """How to write `data_property` as the element `asked` wants it; parsed once for many items. Raise DavError."""
        ...
