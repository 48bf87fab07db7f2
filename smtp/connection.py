"""One connection on the wire: input gathered, lines found, replies gathered, deadlines (RFC 5321 section 4.5.3, RFC 2920).

A subclass of aiosmtpd's SMTP that keeps its connection life and brings its own reading and TLS. Input is gathered here
and taken from here; replies are gathered too and go out when there is nothing complete left to take: one write for a
pipelined batch.

Owns the bounds of what is waiting: input that nobody asks for is not read beyond 256 KiB, an overlong line is not kept, a
peer that leaves its replies unread is cut off, and one that lets a deadline pass is told so by `Slow`. Owns the moment at
which TLS begins: nothing that was gathered before it outlives it (RFC 3207 section 4.2).
Never knows a command.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiosmtpd.smtp import SMTP

from ..daemon.handshake import Handshakes
from ..daemon.log import logger
from ..daemon.tls import describe
from .modes import SessionLimits
from .reply import LINE_TOO_LONG, Reply

log = logger("smtp")

_HIGH_WATER = 262_144  # octets of input gathered before the peer is no longer read
_MAX_UNREAD = 262_144  # octets of replies a peer may leave unread before it is cut off
_MAX_WAITING_LINE = 65_536  # octets without a line end after which a line is given up
_LAST_WORDS_SECONDS = 30.0  # that a peer has to take the last replies


class Ended(Exception):
    """The peer is gone."""


class Slow(Exception):
    """A deadline passed."""


class Expelled(Exception):
    """Somebody here ends the connection: `reply` is the last that is said."""

    def __init__(self, reply: Reply) -> None:
        """Carry the reply."""
        super().__init__(reply.code, reply.enhanced)
        self.reply = reply


class Connection(SMTP):
    """What session.py builds the dialog on."""

    def __init__(self, limits: SessionLimits, *, hostname: str, loop: asyncio.AbstractEventLoop) -> None:
        """`hostname`: how we name ourselves."""
        # SMTP.__init__ looks through all attributes of itself and of a handler for methods, 0.4 ms a connection, to fill
        # tables that are not asked here. What the methods we keep do ask is set below, and a test compares the two.
        asyncio.StreamReaderProtocol.__init__(
            self, asyncio.StreamReader(loop=loop), client_connected_cb=self._cb_client_connected, loop=loop
        )
        self.__ident__ = "preau"
        self.loop = loop
        self.hostname = hostname
        self.event_handler = self.tls_context = self.require_starttls = None
        self.enable_SMTPUTF8 = True
        self.data_size_limit = limits.message_size
        self._decode_data = self._auth_required = self._enforce_call_limit = False
        self._auth_require_tls = True
        self._timeout_duration = limits.command_seconds
        self._timeout_handle = None
        self._tls_handshake_okay = True
        self._tls_protocol = self._original_transport = self._proxy_timeout = self._handler_coroutine = None
        self.session = self.envelope = self.transport = None
        self._authenticator = self._auth_callback = self._ehlo_hook_ver = None
        self._auth_methods: dict[str, Any] = {}
        self._handle_hooks: dict[str, Callable[..., Any]] = {}
        self._smtp_methods: dict[str, Any] = {}

        self.limits = limits
        self.peer = ""  # address without port, "" for a Unix socket
        self.tls = ""  # version and cipher, "" in the clear
        self._input = bytearray()
        self._scanned = 0  # octets of the input known to hold no line end
        self._output: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._eof = self._paused = False
        self._expelled: Expelled | None = None
        self._deadline = 0.0
        self._came = self._heard = loop.time()
        self._shaking_hands = False
        self._grain = min(30.0, limits.command_seconds, limits.block_seconds, limits.message_seconds)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer is here."""
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Gather input; the peer is not read on when there is too much."""
        self._input += data
        self._heard = self.loop.time()
        if len(self._input) > _HIGH_WATER and not self._paused and isinstance(self.transport, asyncio.Transport):
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool | None:
        """The peer will send no more; what it sent is still answered."""
        self._eof = True
        self._wake()
        # Over TLS a True has no effect but a warning.
        return self.session is None or self.session.ssl is None

    def expel(self, reply: Reply) -> None:
        """End the connection with `reply` as soon as nothing that was promised is under way; at once when it waits."""
        self._expelled = Expelled(reply)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(self._expelled)

    def leave(self, reply: Reply) -> bool:
        """End the connection with `reply` if it waits for the peer, and say whether it does."""
        if self._waiter is not None:
            self.expel(reply)
        elif self._shaking_hands and isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        else:
            return False
        return True

    async def end(self) -> None:
        """Cut the connection and wait until what served it is over."""
        if self.transport is not None:
            self.transport.close()
        if (task := self._handler_coroutine) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def serving(self) -> asyncio.Task[None] | None:
        """The task that serves it, to wait for."""
        return self._handler_coroutine

    def _reset_timeout(self, duration: float | None = None) -> None:
        # One timer a connection that looks at the deadline now and then, instead of a new timer each command.
        self._deadline = self.loop.time() + self.limits.command_seconds
        if self._timeout_handle is None:
            self._look_later()

    def _look_later(self) -> None:
        # A deadline may come nearer meanwhile: it is looked at this often at least, and kept to within as much.
        delay = max(0.05, min(self._deadline - self.loop.time(), self._grain))
        self._timeout_handle = self.loop.call_later(delay, self._timeout_cb)

    def _timeout_cb(self) -> None:
        if self._waiter is not None and not self._waiter.done() and self.loop.time() >= self._deadline:
            self._waiter.set_exception(Slow())
        self._look_later()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> None:
        """Send what is to be said and wait for input. Raise Ended, Slow, Expelled."""
        self._flush()
        self._stay()
        if self._eof or self.transport is None:
            raise Ended
        if self._paused:
            self._paused = False
            self.transport.resume_reading()  # type: ignore[attr-defined]  # paused only when it is a Transport
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _stay(self) -> None:
        """Raise Expelled when somebody wants this connection to end."""
        if self._expelled is not None:
            raise self._expelled

    async def _start_tls(self, handshakes: Handshakes, *, seconds: float, head: bytes = b"") -> None:
        """Go on over TLS. Raise Ended when the peer does not manage it within `seconds`.

        `head`: octets of its handshake that were read already, behind a PROXY header. Whatever else was gathered is gone.
        """
        self._flush()
        self._input.clear()
        self._scanned = 0
        raw = self.transport
        if self._eof or not isinstance(raw, asyncio.Transport):
            raise Ended
        self._paused = False
        self._original_transport = raw  # aiosmtpd closes it when the connection is lost
        # From here on what comes is TLS: nothing of it reaches data_received in the clear, and what follows the handshake
        # in the same turn comes there before this coroutine goes on.
        self._shaking_hands = True
        try:
            self.transport = await handshakes.begin(raw, self, peer=self.peer, seconds=seconds, head=head)
        except OSError as error:
            log.info("TLS handshake failed", peer=self.peer, reason=str(error))
            error.__traceback__ = None  # its frames hold what it says is over, until the collector comes
            raise Ended from None
        finally:
            self._shaking_hands = False
        for stream in (self._reader, self._writer):
            stream._transport = self.transport  # type: ignore[union-attr]  # as aiosmtpd and asyncio's start_tls do
        encrypted = self.transport.get_extra_info("ssl_object")
        assert self.session is not None
        self.session.ssl = {"ssl_object": encrypted}
        self.tls = describe(encrypted)

    def _close(self) -> None:
        """Say what is left to be said and close; a peer that takes nothing is not waited for long."""
        try:
            self._flush()
        except (Ended, ConnectionError):
            pass
        self._writer.close()
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
            self._timeout_handle = self.loop.call_later(_LAST_WORDS_SECONDS, self._writer.transport.abort)

    def _say(self, reply: Reply) -> None:
        self._output.append(reply.render())

    def _flush(self) -> None:
        if self._output and self.transport is not None:
            self._writer.write(b"".join(self._output))
            self._output.clear()
            if self._writer.transport.get_write_buffer_size() > _MAX_UNREAD:
                self._writer.transport.abort()
                raise Ended

    def _take_line(self) -> bytes | None:
        """The next line with its line end, or None when it is not complete. Raise Ended for one that does not end."""
        end = self._input.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._input)
            if self._scanned > _MAX_WAITING_LINE:
                self._say(LINE_TOO_LONG)
                raise Ended
            return None
        line = bytes(self._input[: end + 1])
        del self._input[: end + 1]
        self._scanned = 0
        return line
