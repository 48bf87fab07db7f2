"""How TLS begins on an accepted connection: the client's first message is gathered before anything is made for it (RFC 8446).

Owns what a stranger costs who connects and sends nothing, or half a message: a small protocol and what came, at most 16 KiB,
where a TLS layer takes 50 KiB. Owns how many that wait for their clients have one, and whose turn it is; and the buffer that
TLS connections read into: one a thread, not one each. What the message says is OpenSSL's business, and so is the answer to
what is none.
Never knows what is spoken over TLS.
"""

import asyncio
import asyncio.sslproto
import ssl
import threading
from typing import Any, cast

from .limits import network_of
from .tls import BUFFER_SIZE, ServerTls

LONGEST_HELLO = 16_384 + 5
"""Octets of a ClientHello with the headers of its records. Those of browsers have 2,000; a longer one ends the connection."""

_RECORD_HEADER = 5  # type, version, length: RFC 8446 section 5.1
_HANDSHAKE_RECORD, _CLIENT_HELLO = 22, 1
_LONGEST_RECORD = 16_384
_MESSAGE_HEADER = 4  # type, length: RFC 8446 section 4
_SHUTDOWN_SECONDS = 5.0

PLACES = 128
"""Handshakes of a process that wait for their client: 50 KiB each, nearly all of it OpenSSL's."""

GRACE_SECONDS = 0.5
"""How long one may wait in any case: a client's second message takes it a round trip."""


class HelloReader:
    """Finds where the client's first message is complete, over several records where it was cut into such."""

    __slots__ = ("_got", "_message", "_next", "octets")

    def __init__(self) -> None:
        """Nothing came yet."""
        self.octets = bytearray()
        self._next = 0  # where the next record begins
        self._message = b""  # its header
        self._got = 0  # octets of it, in whole records

    def feed(self, data: bytes) -> bool:
        """Whether there is nothing more to wait for: the message is whole, or this is none."""
        self.octets += data
        while True:
            header = self.octets[self._next : self._next + _RECORD_HEADER]
            if header and header[0] != _HANDSHAKE_RECORD:
                return True
            if len(header) < _RECORD_HEADER:
                return False
            length = int.from_bytes(header[3:])
            if header[1] != 3 or not 0 < length <= _LONGEST_RECORD:
                return True
            begin, end = self._next + _RECORD_HEADER, self._next + _RECORD_HEADER + length
            if len(self.octets) < end:
                return False
            self._message += self.octets[begin : min(end, begin + _MESSAGE_HEADER - len(self._message))]
            self._got += length
            self._next = end
            if self._message[0] != _CLIENT_HELLO:
                return True
            if len(self._message) == _MESSAGE_HEADER and self._got >= _MESSAGE_HEADER + int.from_bytes(self._message[1:]):
                return True


class Handshakes:
    """Those of a process.

    So many at most wait for their clients. Newcomers wait with what they sent until it is their turn: one a turn of the loop,
    so that it serves others between them, and one network after the other. Where all places are taken, whoever waits for its
    client longest gives way, once it had its time.
    """

    def __init__(self, tls: ServerTls, *, places: int = PLACES, grace: float = GRACE_SECONDS) -> None:
        """`places`: handshakes that may wait for their client.  `grace`: seconds each may in any case."""
        self._tls = tls
        self._places = places
        self._grace = grace
        self._coming: dict[str, dict[_Opening, None]] = {}  # by network, in the order of their turns
        self._under_way: dict[_Opening, float] = {}  # since when, in that order
        self._next: asyncio.Handle | None = None

    def begin(
        self,
        transport: asyncio.Transport,
        served: asyncio.BaseProtocol,
        *,
        peer: str,
        seconds: float,
        head: bytes = b"",
        tell: bool = False,
    ) -> "asyncio.Future[asyncio.Transport]":
        """Take `transport` over and shake hands within `seconds`; what comes of it is the encrypted transport, or an OSError.

        `served`: the protocol over TLS; its data_received may come before the future's callbacks.  `tell`: call its
        connection_made.  `peer`: its address.  `head`: octets of its first message that were read already.  When it fails the
        transport is closed, and the protocol is not told.
        """
        opening = _Opening(self, transport, served, network_of(peer), seconds, tell)
        transport.set_protocol(opening)
        transport.resume_reading()
        if head:
            opening.data_received(head)
        return opening.done

    @property
    def context(self) -> ssl.SSLContext:
        """Of those that begin now."""
        return self._tls.context

    @property
    def under_way(self) -> int:
        """Those that have a TLS layer, the dear thing."""
        return len(self._under_way)

    def join(self, opening: "_Opening") -> None:
        """The first message of one is there."""
        self._coming.setdefault(opening.network, {})[opening] = None
        self._arrange()

    def leave(self, opening: "_Opening") -> None:
        """One is over, however it went."""
        self._under_way.pop(opening, None)
        if (beside := self._coming.get(opening.network)) is not None:
            beside.pop(opening, None)
            if not beside:
                del self._coming[opening.network]
        self._arrange()

    def _arrange(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if not self._coming:
            return
        loop = asyncio.get_running_loop()
        if len(self._under_way) < self._places:
            self._next = loop.call_soon(self._turn)
        else:
            since = next(iter(self._under_way.values()))
            self._next = loop.call_at(since + self._grace, self._turn)

    def _turn(self) -> None:
        self._next = None
        now = asyncio.get_running_loop().time()
        if len(self._under_way) >= self._places:
            oldest = next(iter(self._under_way))
            del self._under_way[oldest]
            oldest.fail(ConnectionAbortedError("newer handshakes need the place"))
        network = next(iter(self._coming))
        beside = self._coming.pop(network)
        opening = next(iter(beside))
        del beside[opening]
        if beside:
            self._coming[network] = beside
        self._under_way[opening] = now
        opening.shake()
        self._arrange()


class _Opening(asyncio.Protocol):
    """Stands on the plain transport until the client's first message is there, and its turn has come."""

    __slots__ = ("_deadline", "_handshakes", "_joined", "_loop", "_reader", "_served", "_tell", "_transport", "done", "network")

    def __init__(
        self,
        handshakes: Handshakes,
        transport: asyncio.Transport,
        served: asyncio.BaseProtocol,
        network: str,
        seconds: float,
        tell: bool,
    ) -> None:
        self._handshakes = handshakes
        self._transport = transport
        self._served = served
        self.network = network
        self._tell = tell
        self._reader = HelloReader()
        self._joined = False
        self._loop = loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(seconds, self.fail, ConnectionAbortedError("the handshake takes too long"))
        self.done: asyncio.Future[asyncio.Transport] = loop.create_future()
        self.done.add_done_callback(self._over)

    def data_received(self, data: bytes) -> None:
        if self._joined:
            self._reader.octets += data  # before the answer, of which there can be little
        elif self._reader.feed(data):
            self._joined = True
            self._handshakes.join(self)
            return
        if len(self._reader.octets) > LONGEST_HELLO:
            self.fail(ConnectionAbortedError("the ClientHello is too long"))

    def eof_received(self) -> bool:
        self.fail(ConnectionResetError("the peer left before its ClientHello"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(exc if isinstance(exc, OSError) else ConnectionResetError("the peer left before its ClientHello"))

    def shake(self) -> None:
        """Its turn."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        seconds = max(0.001, self._deadline.when() - self._loop.time())
        layer = ServerProtocol(self._loop, self._served, self._handshakes.context, waiter, seconds, tell=self._tell)
        waiter.add_done_callback(lambda waiter: self._shaken(waiter, layer.transport()))
        self._transport.set_protocol(layer)
        layer.begin(self._transport, self._reader.octets)

    def fail(self, error: OSError) -> None:
        """End it, unless it ended."""
        if not self.done.done():
            self.done.set_exception(error)

    def _shaken(self, waiter: asyncio.Future[None], encrypted: asyncio.Transport | None) -> None:
        error = None if waiter.cancelled() else waiter.exception()
        if error is not None:
            # Its frames hold the TLS layer and, in a circle, itself: tens of KiB until the collector comes.
            error.__traceback__ = None
        if self.done.done():
            self._transport.abort()
        elif error is not None:
            self.done.set_exception(error)
        elif encrypted is None:
            self.fail(ConnectionResetError("the peer left during the handshake"))
        else:
            self.done.set_result(encrypted)

    def _over(self, done: "asyncio.Future[asyncio.Transport]") -> None:
        self._deadline.cancel()
        if self._joined:
            self._handshakes.leave(self)
        if done.cancelled() or done.exception() is not None:
            self._transport.abort()


class ServerProtocol(asyncio.sslproto.SSLProtocol):
    """asyncio's TLS layer for an accepted connection; what it reads lies in the thread's buffer for no longer than a call."""

    _buffers = threading.local()

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        served: asyncio.BaseProtocol,
        context: ssl.SSLContext,
        waiter: asyncio.Future[None],
        seconds: float,
        *,
        tell: bool,
    ) -> None:
        """As asyncio has it. `seconds`: for the handshake.  `tell`: call connection_made of what is served."""
        options: dict[str, Any] = {"ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": _SHUTDOWN_SECONDS}
        super().__init__(loop, served, context, waiter, server_side=True, call_connection_made=tell, **options)
        # A loop has a socket read into the buffer and takes the octets from there before it turns to another one.
        self._ssl_buffer = b""
        self._ssl_buffer_view = self._shared()

    @classmethod
    def _shared(cls) -> memoryview:
        view: memoryview | None = getattr(cls._buffers, "view", None)
        if view is None:
            view = cls._buffers.view = memoryview(bytearray(BUFFER_SIZE))
        return view

    def get_buffer(self, n: int) -> memoryview:
        """Where to read into; what `n` asks for is a wish."""
        return self._ssl_buffer_view

    def begin(self, transport: asyncio.Transport, head: bytes | bytearray) -> None:
        """Shake hands with who has sent `head`."""
        self._incoming.write(head)  # type: ignore[attr-defined]  # typeshed leaves it out
        self.connection_made(transport)

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        # asyncio drops the connection with OpenSSL's alert unsent: the peer would never learn that, say, its TLS is too old.
        raw = cast("asyncio.Transport | None", self._transport)
        if raw is not None and (alert := self._outgoing.read()):  # type: ignore[attr-defined]  # as above
            raw.write(alert)
        super()._fatal_error(exc, message)

    def transport(self) -> asyncio.Transport | None:
        """What is served is written to; None once the connection is lost."""
        return cast("asyncio.Transport | None", self._app_transport)
