"""One HTTP request as the ASGI server hands it over: headers, a bounded body, XML read as it arrives.

Owns what is refused before any of it is read: a body too long by its own Content-Length, a media type that is none of
ours, content codings. Never buffers more than the limit it is given.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from xml.etree.ElementTree import Element

from .errors import DavError, bad_request
from .plugin import INFINITY
from .values import DavSettings
from .xml import InvalidXml, Parser

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_XML_TYPES = ("application/xml", "text/xml")
_HEARD_OUT = 128 * 1024 * 1024  # octets of a refused body that are taken in and thrown away
_HEAR_OUT_SECONDS = 5.0
_PARSED_AT_ONCE = 32_768  # octets of XML, some 3 ms, before others have their turn
_SINGLE = frozenset({"content-length", "content-type", "host", "authorization", "depth", "destination", "overwrite"})


class Disconnected(Exception):
    """The client is gone, or was cut off, before its body was whole."""


class HttpRequest:
    """See values.Request."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, settings: DavSettings) -> None:
        """Raise DavError 400 for headers that contradict each other."""
        self._receive = receive
        self._settings = settings
        self.method: str = scope["method"]
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        self.path = raw.decode("latin-1")
        self.headers: Mapping[str, str] = _headers(scope["headers"])
        self.tls = scope.get("scheme") == "https"
        client = scope.get("client")
        self.address: str = client[0] if client else ""
        self.host = self.headers.get("host", "")
        self._done = False

    @property
    def has_body(self) -> bool:
        """Whether one follows the headers."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0").strip("0") != ""

    def leaves_unread(self, limit: int) -> bool:
        """Whether more of its body than `limit` was not read, or nobody knows how much."""
        if self._done or not self.has_body:
            return False
        if "expect" in self.headers:
            return True  # nobody knows whether it comes
        length = self.headers.get("content-length", "")
        return not length.isdecimal() or int(length[:15]) > limit

    async def read(self, limit: int) -> bytes:
        """See values.Request."""
        parts: list[bytes] = []
        await self._each(limit, parts.append)
        return b"".join(parts)

    async def _each(self, limit: int, take: Callable[[bytes], None]) -> int:
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity"):
            raise DavError(415, text="Codage non accepte. / Content coding not accepted.")
        length = self.headers.get("content-length")
        if length is not None and (not length.isdecimal() or len(length) > 15):
            raise bad_request()
        if length is not None and int(length) > limit:
            raise too_large()
        taken = 0
        while not self._done:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Disconnected
            piece: bytes = message.get("body", b"")
            taken += len(piece)
            if taken > limit:
                raise too_large()
            if piece:
                take(piece)
            self._done = not message.get("more_body", False)
        return taken

    async def hear_out(self) -> None:
        """Throw the rest of a body away that was refused, as far as a client may reasonably go on (RFC 9112 section 9.6).

        A connection that is closed with octets unread is reset, and who is still sending never reads why it was refused.
        """
        left = _HEARD_OUT
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HEAR_OUT_SECONDS):
                while not self._done and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._done = message["type"] != "http.request" or not message.get("more_body", False)

    async def xml(self, limit: int | None = None) -> Element | None:
        """See values.Request."""
        if not self.has_body:
            return None
        media = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        # A missing type is taken for XML (RFC 4918 section 8.2); so is what old clients send.
        if media and media not in _XML_TYPES and not media.endswith("+xml") and media != "application/x-www-form-urlencoded":
            raise DavError(415, text="XML attendu. / XML expected.")
        parser = Parser()
        pieces: list[bytes] = []
        taken = await self._each(self._settings.xml_size if limit is None else limit, pieces.append)
        if not taken:
            return None
        try:
            for piece in pieces:
                for begin in range(0, len(piece), _PARSED_AT_ONCE):
                    parser.feed(piece[begin : begin + _PARSED_AT_ONCE])
                    await asyncio.sleep(0)
            return parser.close()
        except InvalidXml as error:
            raise bad_request(f"XML incompris : {error} / XML not understood: {error}") from None

    # -- headers with a meaning of their own

    @property
    def depth(self) -> int | None:
        """Of the Depth header (RFC 4918 section 10.2). Raise DavError 400."""
        depth = self.headers.get("depth")
        if depth is None:
            return None
        match depth.strip().lower().partition(",")[0]:
            case "0":
                return 0
            case "1":
                return 1
            case "infinity":
                return INFINITY
        raise bad_request("Depth")

    @property
    def prefer(self) -> frozenset[str]:
        """Preferences (RFC 7240), lower case, with `return=minimal` for `Brief: t`."""
        wishes = {wish.partition(";")[0].strip().lower().replace(" ", "") for wish in self.headers.get("prefer", "").split(",")}
        if self.headers.get("brief", "").strip().lower() == "t":
            wishes.add("return=minimal")
        if "return-minimal" in wishes:  # its name in drafts
            wishes.add("return=minimal")
        if "return-representation" in wishes:
            wishes.add("return=representation")
        return frozenset(wishes)

    @property
    def overwrite(self) -> bool:
        """Of the Overwrite header (RFC 4918 section 10.6)."""
        return self.headers.get("overwrite", "T").strip().upper() != "F"


def too_large() -> DavError:
    """413, and the connection ends: what follows is not read."""
    return DavError(413, text="Corps trop grand. / Body too large.", headers=(("Connection", "close"),))


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name_octets, value_octets in raw:
        name, value = name_octets.decode("latin-1"), value_octets.decode("latin-1")
        if name not in headers:
            headers[name] = value
        elif name in _SINGLE:
            # Two of them are how one request is made to look like another to whoever stands before us.
            raise bad_request()
        else:
            headers[name] = f"{headers[name]}, {value}"
    return headers
