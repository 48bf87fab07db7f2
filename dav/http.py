"""HTTP/1.1 over asyncio: uvicorn's protocol on httptools, with bounds on everything a stranger can send or hold.

Owns what uvicorn leaves open (decisions 26): the length of the request line and of all headers while they arrive, how long
each part of a request may take, how many connections an address holds before it signs in, and a draining that ends. One
sweep a second looks at all connections, so that an idle one costs no timer.

Takes uvicorn's protocol and its state, not its Server: signals, readiness and reloading are daemon/lifecycle.py's.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from enum import Enum
from functools import partial
from ipaddress import ip_address

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ..daemon.handshake import Handshakes
from ..daemon.limits import ConnectionCaps, Slot
from ..daemon.listener import Listener, accept_on
from ..daemon.log import connection_id, logger, new_connection_id
from ..daemon.tls import ServerTls
from ..daemon.turned_away import TurnedAway
from ..daemon.turns import after_others
from .app import App
from .values import DavSettings

log = logger("dav")

_SWEEP_SECONDS = 1.0
_GRACE_SECONDS = 1.0  # before a connection gives way to newer ones of a full address


class Phase(Enum):
    """What a connection is waiting for."""

    FIRST = "first"  # the first octet of its first request
    HEADERS = "headers"
    BODY = "body"
    ANSWER = "answer"
    RESTING = "resting"  # kept alive between requests


class TooMuch(Exception):
    """A bound on the head of a request is passed; the status that says which."""

    def __init__(self, status: int) -> None:
        """414 or 431."""
        super().__init__(status)
        self.status = status


_STATUS = {400: "Bad Request", 408: "Request Timeout", 414: "URI Too Long", 431: "Request Header Fields Too Large"}


class DavProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, host: "HttpHost", listener: Listener, slot: Slot | None = None) -> None:
        """`host`: what all connections of the process share.  `slot`: its place, where it has one since before TLS."""
        super().__init__(host.config, host.state, {}, host.loop)
        self._host = host
        self._settings = host.settings
        self._listener = listener
        self._slot = slot
        self._name = new_connection_id()
        self._failures = 0
        self._head = 0  # octets of the head so far
        self._refused = 0
        self._fields = 0  # octets of the headers so far
        self._whole = True  # the body of the last request is
        self._piece = self._begun = self.since = host.loop.time()
        self._stalled: float | None = None
        self.phase = Phase.FIRST
        self.timeout_keep_alive = int(host.settings.keep_alive_seconds)

    # -- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a place, or turn away."""
        super().connection_made(transport)
        connection_id.set(self._name)
        if self._slot is None:
            self._slot = self._host.admit(self.client[0] if self.client else "")
            if self._slot is None:
                transport.close()
                return
            after_others(transport, self._slot)
        self._slot.gives_way = self._give_way
        if not self._listener.is_unix:
            with contextlib.suppress(OSError):
                accepted: socket.socket = transport.get_extra_info("socket")
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        if self._slot is not None:
            self._slot.release()
            self._slot = None
        super().connection_lost(exc)
        self._host.ended()

    def _give_way(self) -> bool:
        if self.phase not in (Phase.FIRST, Phase.RESTING) or self.loop.time() - self.since < _GRACE_SECONDS:
            return False
        self.transport.abort()
        return True

    # -- app.ConnectionState

    def signed_in(self) -> None:
        """Someone is known on it: it counts for its address no more."""
        if self._slot is not None:
            self._slot.authenticated()

    def failed(self) -> int:
        """A sign-in failed; how many have by now."""
        self._failures += 1
        return self._failures

    # -- octets in

    def data_received(self, data: bytes) -> None:
        """Feed the parser. After a refusal nothing more is looked at."""
        if self._refused or self._slot is None:
            return
        now = self.loop.time()
        if self.phase in (Phase.FIRST, Phase.RESTING):
            self._enter(Phase.HEADERS, now)
        self._piece = now
        connection_id.set(self._name)
        if self.phase is Phase.HEADERS:
            # The parser tells of a header once it is whole: an endless one is counted here.
            self._head += len(data)
        super().data_received(data)
        if self.phase is Phase.HEADERS and self._head > self._settings.request_line + self._settings.header_size:
            self._refuse(431)

    def send_400_response(self, msg: str) -> None:
        """The parser gave up: because it was told to, or because this is no HTTP."""
        self._refuse(self._refused or 400)

    def _refuse(self, status: int) -> None:
        self._refused = status
        if self.transport.is_closing():
            return
        text = _STATUS[status]
        self.transport.write(
            f"HTTP/1.1 {status} {text}\r\ncontent-type: text/plain\r\ncontent-length: {len(text) + 1}\r\n"
            f"connection: close\r\n\r\n{text}\n".encode()
        )
        self.transport.close()

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["preau.connection"] = self  # type: ignore[typeddict-unknown-key]  # ours
        if self.phase is not Phase.HEADERS:
            self._enter(Phase.HEADERS, self.loop.time())
        self._fields = 0
        self._whole = False

    def on_url(self, url: bytes) -> None:
        """The request target, or a piece of it."""
        super().on_url(url)
        if len(self.url) > self._settings.request_line:
            self._stop(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._fields += len(name) + len(value) + 4
        if self._fields > self._settings.header_size or len(self.headers) >= self._settings.headers:
            self._stop(431)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: refuse what cannot be told from another request, then let the application begin."""
        self._head = 0
        names = [name for name, _ in self.headers]
        if self.parser.get_http_version() != "1.0" and names.count(b"host") != 1:
            self._stop(400)
        # A fragment never goes over the wire: who sends one means something else than we would do.
        if b"#" in self.url or not self.url.isascii() or (self.url[:1] != b"/" and self.url != b"*"):
            self._stop(400)
        if self.url == b"*":
            self.url = b"/"
        self._enter(Phase.BODY, self.loop.time())
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole."""
        super().on_message_complete()
        self._whole = True
        self._enter(Phase.RESTING if self.cycle.response_complete else Phase.ANSWER, self.loop.time())

    def on_response_complete(self) -> None:
        """The answer is on its way; the body may still be, where nobody wanted it."""
        self._enter(Phase.RESTING if self._whole else Phase.BODY, self.loop.time())
        super().on_response_complete()

    def _stop(self, status: int) -> None:
        self._refused = status
        raise TooMuch(status)

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase = phase
        self.since = self._piece = now

    # -- a slow reader

    def pause_writing(self) -> None:
        """The client takes nothing for now."""
        self._stalled = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._stalled = None
        super().resume_writing()

    def look(self, now: float) -> None:
        """Cut off who takes too long."""
        settings = self._settings
        if self._stalled is not None and now - self._stalled > settings.stalled_seconds:
            self.transport.abort()
            return
        match self.phase:
            case Phase.FIRST if now - self.since > settings.first_byte_seconds:
                self.transport.close()
            case Phase.HEADERS if now - self.since > settings.headers_seconds:
                self._refuse(408)
            case Phase.BODY:
                idle = now - self._piece > settings.body_idle_seconds and not self.flow.read_paused
                if idle or now - self.since > settings.body_seconds:
                    self._refuse(408)
            case Phase.RESTING if now - self.since > settings.keep_alive_seconds:
                self.transport.close()

    def drain(self) -> None:
        """Close where nobody waits for an answer; elsewhere after it."""
        if self.phase in (Phase.FIRST, Phase.HEADERS, Phase.RESTING):
            self.transport.close()
        else:
            self.shutdown()


class _Encrypting(asyncio.Protocol):
    """Takes the connection's place before its handshake, and gives way to a DavProtocol after it."""

    __slots__ = ("_began", "_handshakes", "_host", "_listener", "_slot", "_transport")

    def __init__(self, host: "HttpHost", listener: Listener, handshakes: Handshakes) -> None:
        self._host = host
        self._listener = listener
        self._handshakes = handshakes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host, peer = self._host, transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        slot = host.admit(address)
        assert isinstance(transport, asyncio.Transport)
        if slot is None:
            transport.abort()
            return
        self._slot, self._transport, self._began = slot, transport, host.loop.time()
        slot.gives_way = self._give_way
        after_others(transport, slot)
        host.encrypting.add(self)
        seconds = host.settings.handshake_seconds
        served = _Encrypted(partial(DavProtocol, self._host, self._listener, slot))
        self._handshakes.begin(transport, served, peer=address, seconds=seconds, tell=True).add_done_callback(self._done)

    def _done(self, handshake: "asyncio.Future[asyncio.Transport]") -> None:
        self._host.encrypting.discard(self)
        if handshake.exception() is not None:
            self._slot.release()

    def _give_way(self) -> bool:
        if self._host.loop.time() - self._began < _GRACE_SECONDS:
            return False
        self.abort()
        return True

    def abort(self) -> None:
        """Nobody waits for an answer yet."""
        self._transport.abort()


class _Encrypted(asyncio.Protocol):
    """Gives way to what it makes when the handshake is done."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[], DavProtocol]) -> None:
        self._make = make

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        connection = self._make()
        transport.set_protocol(connection)
        connection.connection_made(transport)


class HttpHost:
    """All listeners and connections of a process."""

    def __init__(self, settings: DavSettings, app: App, tls: ServerTls | None, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is opened yet."""
        self.settings = settings
        self.loop = loop
        self.state = ServerState()
        self.config = Config(
            app=app,
            interface="asgi3",
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(settings.keep_alive_seconds),
        )
        self.config.load()
        # It warns of each request that is none: strangers send many, and they are answered.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._handshakes = Handshakes(tls) if tls is not None else None
        self._caps = ConnectionCaps(settings.connections, per_address=settings.connections_per_address)
        self._turned_away = TurnedAway(log)
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._one_ended = asyncio.Event()
        self.encrypting: set[_Encrypting] = set()  # those whose handshake is under way
        self.draining = False

    async def listen(self, listener: Listener) -> None:
        """Accept. Raise ValueError for a listener with TLS without a certificate."""
        if listener.tls and self._handshakes is None:
            raise ValueError("a TLS listener needs a certificate")
        if listener.tls and self._handshakes is not None:
            make: Callable[[], asyncio.BaseProtocol] = partial(_Encrypting, self, listener, self._handshakes)
        else:
            make = partial(DavProtocol, self, listener)
        self._servers.append(await accept_on(listener, make))
        if self._sweeper is None:
            self._date()
            self._sweeper = self.loop.create_task(self._sweep())

    def admit(self, address: str) -> Slot | None:
        """A place, or None when there is no room. `address`: of the peer, "" on a Unix socket."""
        try:
            local = not address or ip_address(address.partition("%")[0]).is_loopback
        except ValueError:
            local = False
        slot = None if self.draining else self._caps.admit(address, exempt=local and self.settings.plaintext_ok)
        if slot is None:
            self._turned_away.note(address, self._caps.connections)
        return slot

    def ended(self) -> None:
        """A connection is gone."""
        self._one_ended.set()

    def _date(self) -> None:
        self.state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._date()
            now = self.loop.time()
            for connection in list(self.state.connections):
                if isinstance(connection, DavProtocol):
                    connection.look(now)

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let answers finish for `seconds`, then close everything."""
        self.draining = True
        for server in self._servers:
            server.close()
        for opening in list(self.encrypting):
            opening.abort()
        for connection in list(self.state.connections):
            if isinstance(connection, DavProtocol):
                connection.drain()
        await self._all_ended(self.loop.time() + seconds)
        for connection in list(self.state.connections):
            connection.transport.abort()
        await self._all_ended(self.loop.time() + 1.0)
        tasks = list(self.state.tasks)
        for task in tasks:
            task.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
            tasks.append(self._sweeper)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _all_ended(self, deadline: float) -> None:
        while self.state.connections:
            self._one_ended.clear()
            try:
                await asyncio.wait_for(self._one_ended.wait(), deadline - self.loop.time())
            except TimeoutError:
                return
