"""What the parts of dav hand each other: requests, answers, resources (docs/architecture.md 5 has the URLs).

Owns values alone. A `path` of a resource is its href: percent-encoded, absolute, with a slash at the end of a collection.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from xml.etree.ElementTree import Element

from ..storage.api import CollectionInfo, Item
from .xml import Name, quote

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DavSettings:
    """Limits and wishes of the role `dav`. Times in seconds, sizes in octets."""

    support_phone: str = ""  # stands in refusals when set
    help_url: str = ""
    plaintext_ok: bool = False  # take passwords without TLS from loopback
    https_port: int = 443  # where the plain listener leads
    item_size: int = 10_485_760  # one PUT
    xml_size: int = 1_048_576  # body of PROPFIND, PROPPATCH, MKCOL ...
    report_size: int = 4_194_304  # body of REPORT: a multiget names many
    hrefs: int = 20_000  # in one multiget
    request_line: int = 8_192
    header_size: int = 32_768  # all headers of a request
    headers: int = 100
    first_byte_seconds: float = 30.0  # from accepted (after TLS) to the first octet of a request
    headers_seconds: float = 20.0  # from the first octet to the end of the headers
    body_seconds: float = 300.0  # the whole body
    body_idle_seconds: float = 30.0  # between two pieces of it
    keep_alive_seconds: float = 120.0
    stalled_seconds: float = 120.0  # a client that takes none of what it asked for
    handshake_seconds: float = 30.0
    connections: int = 5_000
    connections_per_address: int = 100  # that have not signed in
    requests: int = 64  # of one account at once
    session_seconds: float = 300.0  # credentials are remembered for so long after the last request
    sessions: int = 10_000  # remembered at once
    sync_limit: int = 5_000  # members told in one answer of sync-collection
    threads: int = 4  # for store calls that wait for the disk
    failed_logins: int = 5  # of a connection, then it is closed


class Request(Protocol):
    """One request as handlers see it. Header names are lower case; what came twice is joined by `, `."""

    method: str
    path: str  # as sent, percent-encoded, without query
    headers: Mapping[str, str]
    tls: bool
    address: str  # of the peer
    host: str  # Host as sent

    async def read(self, limit: int) -> bytes:
        """The body. Raise DavError 413 past `limit` octets (before any of it is read, when its length is told)."""
        ...

    async def xml(self, limit: int | None = None) -> Element | None:
        """The body as XML, None when there is none. Raise DavError 400, 413, 415."""
        ...


@dataclass(slots=True)
class Response:
    """An answer. `body`: octets, or pieces of text as they are made (sent chunked when long)."""

    status: int
    headers: Headers = ()
    body: bytes | AsyncIterator[str] = b""


XML_TYPE = ("Content-Type", "application/xml; charset=utf-8")
TEXT_TYPE = ("Content-Type", "text/plain; charset=utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Resources


@dataclass(frozen=True, slots=True)
class Root:
    """`/` and `/dav/`, `/dav/principals/`, `/dav/calendars/`, `/dav/addressbooks/`: folders with nothing of their own."""

    path: str


@dataclass(frozen=True, slots=True)
class Principal:
    """`/dav/principals/ADDRESS/`."""

    path: str
    address: str


@dataclass(frozen=True, slots=True)
class Home:
    """`/dav/calendars/ADDRESS/` or `/dav/addressbooks/ADDRESS/`. `name`: `calendars` or `addressbooks`."""

    path: str
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A calendar, an address book, a plain collection. `home`: the name of the home it lies in."""

    path: str
    home: str
    info: CollectionInfo


class ItemResource(NamedTuple):
    """An item. A tuple: thousands of them are made for one answer."""

    collection: Collection
    item: Item

    @property
    def path(self) -> str:
        """Its href."""
        return self.collection.path + quote(self.item.href)


Resource = Root | Principal | Home | Collection | ItemResource


# ---------------------------------------------------------------------------------------------------------------------
# What a request asks for


@dataclass(frozen=True, slots=True)
class PropertyRequest:
    """Which properties a PROPFIND or a report asks for (RFC 4918 section 14.20), in the order asked.

    `elements`: the asked elements by name, for properties that take parameters (calendar-data, address-data).
    """

    names: Sequence[Name] = ()
    elements: Mapping[Name, Element] = field(default_factory=dict)
    all: bool = False  # allprop; `names` then holds those of DAV:include
    names_only: bool = False  # propname
