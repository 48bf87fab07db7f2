"""One connection to another host: octets out, replies in, deadlines, STARTTLS (RFC 5321 section 4.5.3.2, RFC 3207).

Owns the socket and how long each answer may take. Never decides what is said: client_session.py does.

Responses cannot be injected: whatever lies behind the reply to STARTTLS in the clear ends the connection, before the
handshake, and after it every octet comes out of TLS. A peer that says more than it was asked is cut off.
"""

import asyncio
import os
import ssl
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from .client import InvalidReply, PeerReply, ReplyParser

_MOST_UNASKED = 2_100  # replies that may wait: as many as commands are ever pipelined


class ConnectionBroke(Exception):
    """The connection is of no more use; the text says why."""


class HandshakeFailed(ConnectionBroke):
    """TLS could not be agreed on: worth another try without."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds to wait, the least that RFC 5321 section 4.5.3.2 asks for; those it does not name are ours."""

    connect: float = 30.0
    handshake: float = 60.0
    greeting: float = 300.0
    command: float = 300.0  # EHLO, MAIL, RCPT, STARTTLS
    data: float = 120.0  # the 354
    block: float = 180.0  # until the peer has room for more of the message
    final: float = 600.0  # the reply to the message
    transaction: float = 7_200.0  # all of it: who answers each time at the last moment is no use either
    quit: float = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: address and port, or the path of a Unix socket. `name`: what the host is called in reports."""

    address: str
    port: int = 25
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        """For logs."""
        return self.path or f"{self.name or self.address}[{self.address}]:{self.port}"


class ClientConnection(asyncio.Protocol):
    """An open connection. Use `connect` to get one; one task at a time."""

    def __init__(self) -> None:
        """Made by connect alone."""
        self.encrypted = False
        self._transport: asyncio.Transport | None = None
        self._parser = ReplyParser()
        self._replies: deque[PeerReply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._why = ""  # why there will be no more replies
        self._silent = False  # between the reply to STARTTLS and the handshake nothing may come

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected, or over TLS now."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take replies."""
        if self._silent:
            self._break("octets in the clear behind the reply to STARTTLS")
            return
        try:
            self._replies.extend(self._parser.feed(data))
        except InvalidReply as error:
            self._break(str(error))
            return
        if len(self._replies) > _MOST_UNASKED:
            self._break("replies that nobody asked for")
            return
        self._wake()

    def eof_received(self) -> bool:
        """The peer will say no more."""
        self._break("closed by the peer", abort=False)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """It is over."""
        self._break("connection lost" if error is None else f"connection lost: {_words(error)}", abort=False)

    def pause_writing(self) -> None:
        """The peer does not take what we send."""
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """It does again."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # -- what a session does

    @property
    def is_open(self) -> bool:
        """Whether it can be used, as far as is known: nothing was said unasked and nobody hung up."""
        return not self._why and not self._replies and not self._parser.pending

    def write(self, data: bytes) -> None:
        """Send octets. What cannot be sent is told by the next wait."""
        if self._transport is not None and not self._why:
            self._transport.write(data)

    async def room(self, seconds: float) -> None:
        """Wait until the peer takes more. Raise ConnectionBroke."""
        if self._why:
            raise ConnectionBroke(self._why)
        if self._room is not None:
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.shield(self._room)
            except TimeoutError:
                self._break("the peer took nothing of the message for too long")
                raise ConnectionBroke(self._why) from None
            if self._why:
                raise ConnectionBroke(self._why)

    async def reply(self, seconds: float) -> PeerReply:
        """The next reply. Raise ConnectionBroke."""
        try:
            async with asyncio.timeout(seconds):
                while not self._replies:
                    if self._why:
                        raise ConnectionBroke(self._why)
                    self._waiter = asyncio.get_running_loop().create_future()
                    try:
                        await self._waiter
                    finally:
                        self._waiter = None
        except TimeoutError:
            self._break("no answer in time")
            raise ConnectionBroke(self._why) from None
        return self._replies.popleft()

    def said(self) -> PeerReply | None:
        """A reply that is here already, without waiting."""
        return self._replies.popleft() if self._replies else None

    async def ask(self, line: bytes, seconds: float) -> PeerReply:
        """Send a line, wait for its reply. Raise ConnectionBroke."""
        self.write(line)
        return await self.reply(seconds)

    async def start_tls(self, name: str, command_seconds: float, handshake_seconds: float) -> bool:
        """STARTTLS; False when the peer says no. Raise HandshakeFailed, ConnectionBroke.

        The certificate is not looked at: without it mail would go in the clear, which helps nobody (RFC 7435).
        """
        reply = await self.ask(b"STARTTLS\r\n", command_seconds)
        if reply.code != 220:
            return False
        if self._replies or self._parser.pending:
            self._break("octets in the clear behind the reply to STARTTLS")
            raise ConnectionBroke(self._why)
        self._silent = True
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        raw = self._transport
        try:
            transport = await loop.start_tls(
                raw, self, _context(), server_hostname=_sni(name), ssl_handshake_timeout=handshake_seconds
            )
        except (OSError, asyncio.IncompleteReadError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            raw.abort()
            why = self._why or f"TLS handshake failed: {_words(error)}"
            if "behind" in why:
                raise ConnectionBroke(why) from None
            raise HandshakeFailed(why) from None
        if transport is None:
            raise HandshakeFailed("closed during the TLS handshake")
        self._silent = False
        self._transport = transport
        self.encrypted = True
        return True

    async def close(self, seconds: float, *, polite: bool = True) -> None:
        """QUIT and close; never raises."""
        if polite and not self._why:
            try:
                await self.ask(b"QUIT\r\n", seconds)
            except ConnectionBroke:
                pass
        self._break("closed")

    def abort(self) -> None:
        """Close now."""
        self._break("closed")

    def _break(self, why: str, *, abort: bool = True) -> None:
        self._why = self._why or why
        if self._transport is not None and (abort or not self._transport.is_closing()):
            self._transport.abort()
        self._wake()
        self.resume_writing()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def connect(target: Target, deadlines: Deadlines) -> ClientConnection:
    """Connect; the greeting is still to be read. Raise ConnectionBroke."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadlines.connect):
            if target.path:
                _, connection = await loop.create_unix_connection(ClientConnection, target.path)
            else:
                _, connection = await loop.create_connection(ClientConnection, target.address, target.port)
    except TimeoutError:
        raise ConnectionBroke("no connection in time") from None
    except OSError as error:
        raise ConnectionBroke(_words(error)) from None
    return connection


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _sni(name: str) -> str:
    """The host's name for the handshake; an empty one is not sent."""
    name = name.rstrip(".")
    return name if name.isascii() and not name.startswith("[") and len(name) < 254 else ""


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS error"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own words hold addresses
    return type(error).__name__
