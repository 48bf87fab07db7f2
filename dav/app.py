"""The DAV application: from a request to its answer (ASGI 3).

Owns the order: what is open to all, TLS, credentials, scope, method; and the one place where errors become answers.
Never touches a socket: `send` and `receive` are the server's (dav/http.py).
"""

import gzip
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import Executor
from ipaddress import ip_address
from typing import Any, Protocol

from ..auth.api import Service
from ..auth.refusals import Refusal
from ..daemon.log import logger
from ..storage.api import StoreError
from . import xml
from .context import RequestContext, Revoked, Site
from .errors import DavError, error_for, not_found
from .methods.make import make_collection
from .methods.refused import handle_not_allowed
from .methods.table import METHODS, methods_of
from .plugin import Plugin
from .properties import Properties
from .reports.table import reports_of
from .request import Disconnected, HttpRequest
from .sign_in import ANY, DavSession, SignIn
from .tree import BASE, Location, parse_path
from .values import TEXT_TYPE, XML_TYPE, DavSettings, Response

log = logger("dav")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WELL_KNOWN = "/.well-known/"
_SET_UP = (WELL_KNOWN, "/autodiscover/", "/mail/config-v1.1.xml")  # where clients look for what is not served yet
_FIRST_PIECE = 65_536  # characters gathered before an answer begins: an error in them still has its status
_COMPRESS_FROM = 1_024
_LEFT_UNREAD = 65_536  # octets of a body nobody wants that are read to keep the connection


class ConnectionState(Protocol):
    """What the application tells the connection that a request came over."""

    def signed_in(self) -> None:
        """Someone is known on it."""
        ...

    def failed(self) -> int:
        """A sign-in failed; how many have by now."""
        ...


class NoConnection:
    """Where there is none: in tests, behind another server."""

    def signed_in(self) -> None:
        """Nothing to do."""

    def failed(self) -> int:
        """Not counted."""
        return 0


def make_site(
    settings: DavSettings, plugins: Sequence[Plugin], threads: Executor, clock: Callable[[], float] = time.time
) -> Site:
    """What all requests share."""
    homes = {plugin.home: plugin for plugin in plugins}
    features = ", ".join(("1, 3, access-control, extended-mkcol", *(token for plugin in plugins for token in plugin.features)))
    properties = Properties(homes, lambda one: reports_of(homes, one), lambda one: methods_of(homes, one))
    return Site(
        settings=settings,
        homes=homes,
        plugins={plugin.kind: plugin for plugin in plugins},
        kinds={_type_name(plugin): plugin.kind for plugin in plugins},
        properties=properties,
        threads=threads,
        clock=clock,
        features=features,
        allow=lambda resource: ", ".join(methods_of(homes, resource)),
        make_collection=make_collection,
    )


def _type_name(plugin: Plugin) -> str:
    return str(xml.parse_stored(plugin.resource_type)[0].tag)


class App:
    """One for all listeners of a process."""

    def __init__(self, site: Site, sign_in: SignIn) -> None:
        """`site`: of make_site."""
        self._site = site
        self._settings = site.settings
        self._sign_in = sign_in
        methods: dict[str, Any] = dict(METHODS)
        for plugin in site.homes.values():
            methods.update(plugin.methods)
        self._methods: Mapping[str, Callable[[RequestContext], Awaitable[Response]]] = methods
        self._well_known = {f"{WELL_KNOWN}{plugin.service.value}" for plugin in site.homes.values()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        started = time.monotonic()
        connection: ConnectionState = scope.get("preau.connection") or NoConnection()
        request: HttpRequest | None = None
        account, status = "", 0
        try:
            request = HttpRequest(scope, receive, self._settings)
            answer, session = await self._outer(request, connection)
            if session is None:
                status = answer.status
                await _send(request, answer, send)
                return
            account = session.granted.identity.account
            try:
                answer = await self._inner(request, session)
                status = answer.status
                await _send(request, answer, send)
            finally:
                self._sign_in.leave(session)
        except DavError as error:
            status = error.status
            await _send(request, error_response(error), send)
        except Disconnected:
            pass
        finally:
            if request is not None:
                seconds = round(time.monotonic() - started, 4)
                log.debug("request", method=request.method, path=request.path, status=status, account=account, seconds=seconds)

    # -- what needs no account

    async def _outer(self, request: HttpRequest, connection: ConnectionState) -> tuple[Response, DavSession | None]:
        if request.path.rstrip("/") in self._well_known:
            # RFC 6764 section 5: for any method, and before anybody is asked who they are.
            return Response(301, (("Location", self._url(request, BASE)), ("Cache-Control", "max-age=86400"))), None
        if not request.tls and not self._may_be_clear(request):
            if "authorization" in request.headers:
                return refusal_response(self._sign_in.cleartext()), None
            return Response(308, (("Location", self._secure_url(request)),)), None
        header = request.headers.get("authorization")
        if header is None:
            if request.path.lower().startswith(_SET_UP):
                # Clients that look for automatic set-up take 401 for "there is some, sign in first".
                raise not_found()
            return refusal_response(self._sign_in.challenge()), None
        answer = await self._sign_in.enter(
            header,
            services=self._services(parse_path(request.path)),
            address=request.address,
            tls=request.tls,
            client=request.headers.get("user-agent", ""),
        )
        if isinstance(answer, Refusal):
            if answer.http_status in (401, 403) and connection.failed() >= self._settings.failed_logins:
                answer = self._sign_in.too_many()
            return refusal_response(answer), None
        connection.signed_in()
        return Response(500), answer

    def _services(self, location: Location) -> tuple[Service, ...]:
        """The scopes any one of which opens a path."""
        names = location.names
        plugin = self._site.homes.get(names[1]) if len(names) > 2 and names[0] == "dav" else None
        return ANY if plugin is None else (plugin.service,)

    def _may_be_clear(self, request: HttpRequest) -> bool:
        if not self._settings.plaintext_ok:
            return False
        try:
            return not request.address or ip_address(request.address).is_loopback
        except ValueError:
            return False

    def _url(self, request: HttpRequest, path: str) -> str:
        return path if request.tls or self._may_be_clear(request) else self._secure_url(request, path)

    def _secure_url(self, request: HttpRequest, path: str = "") -> str:
        host = request.host
        name = host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
        if not name or any(char in name for char in '/\\@?#<>" '):
            name = "localhost"
        port = self._settings.https_port
        return f"https://{name}{'' if port == 443 else f':{port}'}{path or request.path}"

    # -- what is somebody's

    async def _inner(self, request: HttpRequest, session: DavSession) -> Response:
        context = RequestContext(self._site, request, session.granted.identity, session.account, lambda: not session.over)
        try:
            return await self._answer(context)
        except DavError as error:
            return error_response(error)
        except StoreError as error:
            if error.temporary:
                log.warning("store unavailable", account=session.granted.identity.account, why=str(error))
            return error_response(error_for(error))
        except Revoked:
            return refusal_response(self._sign_in.challenge())
        except Disconnected:
            raise
        except Exception as error:
            reference = log.incident("request failed", error)
            text = f"Erreur interne (ref {reference}). / Internal error (ref {reference})."
            return Response(500, (TEXT_TYPE,), text.encode())

    async def _answer(self, context: RequestContext) -> Response:
        response = await self._methods.get(context.request.method, handle_not_allowed)(context)
        if isinstance(response.body, bytes):
            return response
        # The first piece is made here, where what goes wrong can still be told as a status.
        return Response(response.status, response.headers, await _begun(response.body))


# ---------------------------------------------------------------------------------------------------------------------
# Answers


async def _begun(parts: AsyncIterator[str]) -> bytes | AsyncIterator[str]:
    """The whole answer when it is short, else its pieces, the first of which is there."""
    gathered: list[str] = []
    length = 0
    async for part in parts:
        gathered.append(part)
        length += len(part)
        if length >= _FIRST_PIECE:
            return _after("".join(gathered), parts)
    return "".join(gathered).encode("utf-8", "replace")


async def _after(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for part in rest:
        yield part


def error_response(error: DavError) -> Response:
    """What a client gets for a DavError: its condition as XML, else a sentence."""
    if error.status == 304:
        return Response(304, error.headers)
    if error.condition:
        words = f"<D:responsedescription>{xml.escape(error.text)}</D:responsedescription>" if error.text else ""
        body = f"{xml.HEAD}<D:error{xml.DECLARATIONS}>{error.error}{words}</D:error>"
        return Response(error.status, (XML_TYPE, *error.headers), body.encode())
    return Response(error.status, (TEXT_TYPE, *error.headers), f"{error.text}\n".encode() if error.text else b"")


def refusal_response(refusal: Refusal) -> Response:
    """What a client gets that is not let in."""
    headers = (TEXT_TYPE, *refusal.http_headers, ("Cache-Control", "no-store"))
    if refusal.closes:
        headers = (*headers, ("Connection", "close"))
    return Response(refusal.http_status, headers, f"{refusal.text}\n".encode())


async def _send(request: HttpRequest | None, response: Response, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers]
    if request is not None and request.leaves_unread(_LEFT_UNREAD) and not any(name == b"connection" for name, _ in headers):
        # What nobody reads would have to be taken in all the same before the next request.
        headers.append((b"connection", b"close"))
    squeeze = request is not None and _may_compress(request, response)
    body = response.body
    if isinstance(body, bytes):
        if squeeze and len(body) >= _COMPRESS_FROM:
            body = gzip.compress(body, 5, mtime=0)
            headers.append((b"content-encoding", b"gzip"))
        if response.status not in (204, 304):
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        closes = (b"connection", b"close") in headers
        if closes and request is not None and "expect" not in request.headers and request.leaves_unread(0):
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await request.hear_out()
            body = b""
        await send({"type": "http.response.body", "body": body})
        return
    packer = zlib.compressobj(5, zlib.DEFLATED, 31) if squeeze else None
    if packer is not None:
        headers.append((b"content-encoding", b"gzip"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    async for part in body:
        data = part.encode("utf-8", "replace")
        if packer is not None:
            data = packer.compress(data)
        if data:
            await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": packer.flush() if packer is not None else b""})


def _may_compress(request: HttpRequest, response: Response) -> bool:
    """Multistatus answers alone: what has an ETag goes out as it is stored."""
    if response.status != 207:
        return False
    for wish in request.headers.get("accept-encoding", "").split(","):
        coding, _, weight = wish.strip().lower().partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
