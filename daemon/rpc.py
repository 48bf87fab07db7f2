"""Local calls between our processes: JSON objects in frames over Unix sockets.

A frame is its length (4 octets, big-endian) and a UTF-8 JSON object:

    request   {"id": 7, "op": "lookup", "fields": {...}}
    answer    {"id": 7, "ok": {...}}  {"id": 7, "refused": "a sentence"}  {"id": 7, "failed": "incident id"}
    push      {...} without an id, from the server, whenever it likes

Owns frames, their bounds and who may connect. Many requests are in flight at once and answered in any order.

Hostile or broken peers: the uid is the kernel's word (SO_PEERCRED) and is checked before a byte is read; a frame longer
than `max_frame`, one that is no JSON object or stays half sent closes the connection; a peer with too many requests in
flight, or who does not read its answers, is no longer read; one that lets pushes pile up is cut off. Each connection has
its own budget, so a flood on one leaves the others alone.

Never interprets an op, never logs a field.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from .listener import bind_unix
from .log import logger

log = logger("daemon")

_LENGTH = struct.Struct("!I")
_PEER = struct.Struct("3i")  # pid, uid, gid
_FRAME_TIME = 30.0  # seconds for the rest of a frame once it has begun
_MAX_UNREAD = 4_194_304  # octets a peer may leave unread before it is cut off

Handler = Callable[[str, dict[str, Any], "RpcConnection"], Awaitable[dict[str, Any]]]
"""(op, fields, connection) -> fields of the answer. Raise RpcRefused to refuse; anything else becomes an incident."""


class RpcRefused(Exception):
    """The other end understood and said no; the text is its sentence. Calling again gives the same answer."""


class RpcUnavailable(Exception):
    """No answer: nobody listens, too slow, too busy, or it failed there (its log has the incident). Temporary."""


def encode_frame(message: dict[str, Any]) -> bytes:
    """One frame."""
    body = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Octets to JSON objects. Pure; `pending` tells whether a frame is half there."""

    __slots__ = ("_buffer", "_max")

    def __init__(self, max_frame: int) -> None:
        """Refuse frames whose body is longer than `max_frame` octets, from their length alone."""
        self._buffer = bytearray()
        self._max = max_frame

    @property
    def pending(self) -> bool:
        """Whether octets wait for the rest of their frame, or a whole frame waits for `take`."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add octets."""
        self._buffer += data

    def take(self) -> dict[str, Any] | None:
        """The next whole message, or None. Raise ValueError for what is none: the stream is lost then."""
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        (length,) = _LENGTH.unpack_from(buffer)
        if length > self._max:
            raise ValueError("frame too long")
        if len(buffer) < 4 + length:
            return None
        body = bytes(buffer[4 : 4 + length])
        del buffer[: 4 + length]
        try:
            message = json.loads(body)
        except RecursionError:
            raise ValueError("nested too deep") from None
        if not isinstance(message, dict):
            raise ValueError("not an object")  # noqa: TRY004 one error for every frame that is none
        return message

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """feed() and every take() there is."""
        self.feed(data)
        messages = []
        while (message := self.take()) is not None:
            messages.append(message)
        return messages


class _Framed(asyncio.Protocol):
    """What both ends share: frames in, frames out, a deadline for half a frame."""

    def __init__(self, max_frame: int) -> None:
        self.transport: asyncio.Transport | None = None
        self._frames = FrameReader(max_frame)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._watch(False)

    def data_received(self, data: bytes) -> None:
        self._frames.feed(data)
        self._process()

    def send(self, frame: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(frame)

    def _process(self) -> None:
        try:
            self._take_all()
        except ValueError as error:
            log.warning("broken frame", error=str(error))
            self._abort()

    def _take_all(self) -> None:
        raise NotImplementedError

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _watch(self, half: bool) -> None:
        if half and self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(_FRAME_TIME, self._abort)
        elif not half and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class RpcConnection(_Framed):
    """One client at a server. `path`: the socket it came in on, which tells its role; `peer_uid`: the kernel's word."""

    def __init__(self, server: "RpcServer", path: Path, max_frame: int) -> None:
        """Made by RpcServer alone."""
        super().__init__(max_frame)
        self.path = path
        self.peer_uid = -1
        self.peer_pid = 0
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_close: list[Callable[[], object]] = []
        self._reading = True
        self._choked = False

    def push(self, fields: dict[str, Any]) -> None:
        """Send `fields` unasked. A peer that leaves 4 MiB unread loses the connection, and knows it by that."""
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size() > _MAX_UNREAD:
            log.warning("peer does not read", path=self.path, pid=self.peer_pid)
            self._abort()
            return
        self.send(encode_frame({name: value for name, value in fields.items() if name != "id"}))

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call `callback` once when the connection ends."""
        self._on_close.append(callback)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check who it is before a byte is read."""
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        self.peer_pid, self.peer_uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if not self._server._admits(self):
            self._abort()

    def connection_lost(self, error: Exception | None) -> None:
        """End what it asked for and tell who wanted to know."""
        super().connection_lost(error)
        self._server._connections.discard(self)
        for task in tuple(self._tasks):
            task.cancel()
        callbacks, self._on_close = self._on_close, []
        for callback in callbacks:
            callback()

    def pause_writing(self) -> None:
        """It does not read its answers: answer no more."""
        self._choked = True
        self._adjust()

    def resume_writing(self) -> None:
        """It reads again."""
        self._choked = False
        self._adjust()
        self._process()

    def _take_all(self) -> None:
        limit = self._server.max_in_flight
        while self.transport is not None and len(self._tasks) < limit and not self._choked:
            message = self._frames.take()
            if message is None:
                self._watch(self._frames.pending)
                break
            number, op, fields = message.get("id"), message.get("op"), message.get("fields", {})
            if not isinstance(number, int) or not isinstance(op, str) or not isinstance(fields, dict):
                raise ValueError("not a request")  # noqa: TRY004
            task = asyncio.get_running_loop().create_task(self._answer(number, op, fields))
            self._tasks.add(task)
            task.add_done_callback(self._answered)
        else:
            self._watch(False)
        self._adjust()

    def _adjust(self) -> None:
        wanted = not self._choked and len(self._tasks) < self._server.max_in_flight
        if self.transport is None or self.transport.is_closing() or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _answered(self, task: asyncio.Task[None]) -> None:
        full = len(self._tasks) >= self._server.max_in_flight
        self._tasks.discard(task)
        if full:
            self._process()

    async def _answer(self, number: int, op: str, fields: dict[str, Any]) -> None:
        try:
            frame = encode_frame({"id": number, "ok": await self._server.handler(op, fields, self)})
        except RpcRefused as refused:
            frame = encode_frame({"id": number, "refused": str(refused)})
        except Exception as error:
            frame = encode_frame({"id": number, "failed": log.incident("call failed", error, op=op, path=self.path)})
        self.send(frame)


class RpcServer:
    """Answers calls on any number of Unix sockets."""

    def __init__(
        self,
        handler: Handler,
        *,
        max_frame: int = 65_536,
        max_in_flight: int = 64,
        max_connections: int = 256,
        allowed_uids: frozenset[int] | None = None,
    ) -> None:
        """`max_in_flight`: requests of one connection at once.  `max_connections`: on each path.

        `allowed_uids`: who may connect besides root; None: our own uid only.
        """
        self.handler = handler
        self.max_frame = max_frame
        self.max_in_flight = max_in_flight
        self.max_connections = max_connections
        self._uids = (allowed_uids if allowed_uids is not None else frozenset({os.geteuid()})) | {0}
        self._connections: set[RpcConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._paths: list[Path] = []

    @property
    def connections(self) -> frozenset[RpcConnection]:
        """Those open now (to push to)."""
        return frozenset(self._connections)

    async def listen(self, path: Path, *, mode: int = 0o600, max_frame: int | None = None) -> None:
        """Accept on `path` as well. `max_frame`: another bound for this one. Raise OSError."""
        await self.listen_socket(bind_unix(path, mode), path, max_frame=max_frame)
        self._paths.append(path)

    async def listen_socket(self, listening: socket.socket, path: Path, *, max_frame: int | None = None) -> None:
        """Accept on a socket that is bound already (handed over); connections from it bear `path`."""
        limit = max_frame or self.max_frame
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_unix_server(lambda: RpcConnection(self, path, limit), sock=listening))

    async def close(self, seconds: float = 0.0) -> None:
        """Stop accepting, give what is in flight up to `seconds`, close all, remove the paths."""
        for server in self._servers:
            server.close()
        in_flight = {task for connection in self._connections for task in connection._tasks}
        if in_flight and seconds > 0:
            await asyncio.wait(in_flight, timeout=seconds)
        for connection in tuple(self._connections):
            if connection.transport is not None:
                connection.transport.close()
        self._servers.clear()
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._paths.clear()
        await asyncio.sleep(0)  # lets connection_lost run

    def _admits(self, connection: RpcConnection) -> bool:
        if connection.peer_uid not in self._uids:
            log.warning("peer refused", path=connection.path, uid=connection.peer_uid, pid=connection.peer_pid)
            return False
        if sum(other.path == connection.path for other in self._connections) >= self.max_connections:
            log.warning("too many connections", path=connection.path, pid=connection.peer_pid)
            return False
        self._connections.add(connection)
        return True


class _ClientConnection(_Framed):
    def __init__(self, client: "RpcClient", max_frame: int) -> None:
        super().__init__(max_frame)
        self._client = client
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(RpcUnavailable("connection lost"))
        self.waiting.clear()
        self._client._lost(self)

    def _take_all(self) -> None:
        while (message := self._frames.take()) is not None:
            number = message.get("id")
            if number is None:
                self._client._pushed(message)
            elif (future := self.waiting.pop(number, None)) is not None and not future.done():
                future.set_result(message)
        self._watch(self._frames.pending)


class RpcClient:
    """Calls one server. Connects when first needed and again after a loss; belongs to one event loop."""

    def __init__(self, path: Path, *, timeout: float = 10.0, max_frame: int = 65_536, max_in_flight: int = 1024) -> None:
        """`timeout`: seconds for one call, connecting included."""
        self.path = path
        self._timeout = timeout
        self._max_frame = max_frame
        self._max_in_flight = max_in_flight
        self._connection: _ClientConnection | None = None
        self._connecting = asyncio.Lock()
        self._number = 0
        self._on_push: list[Callable[[dict[str, Any]], object]] = []
        self._on_lost: list[Callable[[], object]] = []
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether a connection stands now."""
        return self._connection is not None

    async def call(self, op: str, /, **fields: Any) -> dict[str, Any]:
        """Ask and wait for the answer's fields. Raise RpcRefused or RpcUnavailable; a call is never sent twice."""
        try:
            async with asyncio.timeout(self._timeout):
                connection = self._connection or await self._connect()
                if len(connection.waiting) >= self._max_in_flight:
                    raise RpcUnavailable("too many calls in flight")
                self._number += 1
                number = self._number
                frame = encode_frame({"id": number, "op": op, "fields": fields})
                future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
                connection.waiting[number] = future
                try:
                    connection.send(frame)
                    answer = await future
                finally:
                    connection.waiting.pop(number, None)
        except TimeoutError:
            raise RpcUnavailable(f"no answer within {self._timeout:g} s") from None
        return _answer_fields(answer)

    def on_push(self, callback: Callable[[dict[str, Any]], object]) -> None:
        """Call `callback` with the fields of each push."""
        self._on_push.append(callback)

    def on_lost(self, callback: Callable[[], object]) -> None:
        """Call `callback` whenever a connection that stood is gone (not after close)."""
        self._on_lost.append(callback)

    async def close(self) -> None:
        """Close for good; calls in flight raise RpcUnavailable."""
        self._closed = True
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.close()
            await asyncio.sleep(0)

    async def _connect(self) -> _ClientConnection:
        async with self._connecting:
            if self._connection is not None:
                return self._connection
            if self._closed:
                raise RpcUnavailable("closed")
            loop = asyncio.get_running_loop()
            try:
                _, connection = await loop.create_unix_connection(
                    lambda: _ClientConnection(self, self._max_frame), os.fspath(self.path)
                )
            except OSError as error:
                raise RpcUnavailable(f"{self.path.name}: {error.strerror or error}") from None
            if connection.transport is None:
                raise RpcUnavailable("refused by the other end")
            self._connection = connection
            return connection

    def _lost(self, connection: _ClientConnection) -> None:
        if self._connection is connection:
            self._connection = None
            if not self._closed:
                for callback in self._on_lost:
                    callback()

    def _pushed(self, fields: dict[str, Any]) -> None:
        for callback in self._on_push:
            callback(fields)


def call_blocking(
    path: Path, op: str, /, *, timeout: float = 10.0, max_frame: int = 16_777_216, **fields: Any
) -> dict[str, Any]:
    """One call without an event loop, for the command line. Raise RpcRefused or RpcUnavailable."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as stream:
        stream.settimeout(timeout)
        frames = FrameReader(max_frame)
        try:
            stream.connect(os.fspath(path))
            stream.sendall(encode_frame({"id": 1, "op": op, "fields": fields}))
            while data := stream.recv(65_536):
                for message in frames.receive(data):
                    if message.get("id") == 1:
                        return _answer_fields(message)
        except TimeoutError:
            raise RpcUnavailable(f"no answer within {timeout:g} s") from None
        except OSError as error:
            raise RpcUnavailable(f"{path.name}: {error.strerror or error}") from None
        except ValueError as error:
            raise RpcUnavailable(f"broken answer: {error}") from None
    raise RpcUnavailable("connection closed without an answer")


def _answer_fields(answer: dict[str, Any]) -> dict[str, Any]:
    fields = answer.get("ok")
    if isinstance(fields, dict):
        return fields
    if "refused" in answer:
        raise RpcRefused(str(answer["refused"]))
    raise RpcUnavailable(f"it failed there, incident {answer.get('failed', 'unknown')}")
