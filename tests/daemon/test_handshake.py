"""TLS that begins once the client's first message is there: whole, in pieces, late, never, and as something else."""

import asyncio
import contextlib
import gc
import inspect
import ssl
from asyncio import sslproto
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lmtp import until
from own_imap import make_certificate
from preau.daemon.handshake import LONGEST_HELLO, Handshakes, HelloReader, ServerProtocol
from preau.daemon.tls import ServerTls


def any_client(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = version
    return context


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        any_client().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


HELLO = client_hello()


def record(octets: bytes, *, kind: int = 22) -> bytes:
    return bytes([kind, 3, 1]) + len(octets).to_bytes(2) + octets


def in_records(hello: bytes, size: int) -> bytes:
    """The same message cut into records of `size`."""
    message = hello[5:]
    return b"".join(record(message[begin : begin + size]) for begin in range(0, len(message), size))


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(HELLO, id="one record"),
        pytest.param(in_records(HELLO, 100), id="cut into records"),
        pytest.param(in_records(HELLO, 1), id="a record an octet"),
        pytest.param(b"G", id="HTTP"),
        pytest.param(b"\x80", id="SSL 2"),
        pytest.param(record(b"\x02\x28", kind=21)[:1], id="an alert"),
        pytest.param(b"\x16\x02\x00\x00\x05", id="a version that is none"),
        pytest.param(b"\x16\x03\x01\x00\x00", id="an empty record"),
        pytest.param(b"\x16\x03\x01\x40\x01", id="a record that is too long"),
        pytest.param(record(b"\x02"), id="another message"),
        pytest.param(in_records(HELLO, 100)[:105] + b"\x17", id="another record within"),
    ],
)
def test_what_there_is_nothing_more_to_wait_for(octets: bytes) -> None:
    assert HelloReader().feed(octets)
    assert HelloReader().feed(octets + b"\x00behind")
    reader = HelloReader()
    assert [reader.feed(octets[n : n + 1]) for n in range(len(octets))] == [False] * (len(octets) - 1) + [True]


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 6, 9, len(HELLO) - 1])
def test_what_may_become_a_client_hello_is_waited_for(cut: int) -> None:
    assert not HelloReader().feed(HELLO[:cut])


class Echo(asyncio.Protocol):
    """What is served over TLS."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@dataclass
class Door:
    """A server that begins TLS on what connects."""

    handshakes: Handshakes
    seconds: float = 20.0
    head: bool = False  # the client's first octets were read before
    peer: str = "192.0.2.1"  # whom the next come from, it seems
    port: int = 0
    begun: list["asyncio.Future[asyncio.Transport]"] = field(default_factory=list)

    def begin(self, transport: asyncio.Transport, head: bytes = b"") -> None:
        """As a server would."""
        done = self.handshakes.begin(transport, Echo(), peer=self.peer, seconds=self.seconds, head=head, tell=True)
        done.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.begun.append(done)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Door"]:
        """Listening."""
        door = self

        class Accepted(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                self.transport = transport
                if not door.head:
                    door.begin(transport)

            def data_received(self, data: bytes) -> None:
                door.begin(self.transport, data)

        server = await asyncio.get_running_loop().create_server(Accepted, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for handshake in self.begun:
                if handshake.done() and handshake.exception() is None:
                    handshake.result().abort()

    async def stranger(self, octets: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A plain connection that has sent something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(octets)
        await writer.drain()
        return reader, writer

    async def echoed(self, octets: bytes, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
        """What comes back over TLS."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=any_client(version))
        writer.write(octets)
        got = await reader.readexactly(len(octets))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return got


def run(folder: Path, test: Callable[[Door], Awaitable[None]], *, seconds: float = 20.0, head: bool = False) -> None:
    async def main() -> None:
        handshakes = Handshakes(ServerTls(*make_certificate(folder)), places=3, grace=0.1)
        async with asyncio.timeout(30), Door(handshakes, seconds, head).open() as door:
            await test(door)

    asyncio.run(main())


def layers() -> int:
    return sum(type(one).__module__ == Handshakes.__module__ and not isinstance(one, Handshakes) for one in gc.get_objects())


@pytest.mark.parametrize("head", [False, True], ids=["all of it", "its first octets were read before"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_is_served(tmp_path: Path, version: ssl.TLSVersion, head: bool) -> None:
    async def test(door: Door) -> None:
        # Beside one another: what they read passes through one buffer.
        texts = [bytes([65 + n]) * 300_000 for n in range(8)]
        assert await asyncio.gather(*(door.echoed(text, version) for text in texts)) == texts

    run(tmp_path, test, head=head)


def test_a_first_message_in_pieces_is_answered(tmp_path: Path) -> None:
    async def test(door: Door) -> None:
        reader, writer = await door.stranger()
        for piece in in_records(HELLO, 60):
            writer.write(bytes([piece]))
            await asyncio.sleep(0)
        assert (await reader.readexactly(1)) == b"\x16"
        writer.close()

    run(tmp_path, test)


def test_nothing_is_made_for_who_sends_nothing_or_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(door: Door) -> None:
        monkeypatch.setattr(ServerProtocol, "begin", None)
        standing = [await door.stranger(HELLO[: n * 5]) for n in range(20)]
        await until(lambda: len(door.begun) == 20)
        assert door.handshakes.under_way == 0
        monkeypatch.undo()
        assert await door.echoed(b"served") == b"served"
        for _, writer in standing:
            writer.close()
        await until(lambda: all(handshake.done() for handshake in door.begun))

    run(tmp_path, test)


@pytest.mark.parametrize("sent", [0, 20, len(HELLO)], ids=["nothing", "half of it", "a hello, and no more"])
def test_a_handshake_has_its_time(tmp_path: Path, sent: int) -> None:
    async def test(door: Door) -> None:
        reader, writer = await door.stranger(HELLO[:sent])
        with contextlib.suppress(ConnectionError):
            await reader.read()
        assert isinstance(door.begun[0].exception(), ConnectionAbortedError)
        writer.close()

    run(tmp_path, test, seconds=0.2)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(in_records(b"\x16\x03\x01\x00\x00\x01\xff\xff\xff" + bytes(LONGEST_HELLO), 100), id="in records"),
        pytest.param(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16_380) + b"\x16\x03\x01\x40\x00" * 2, id="in one"),
    ],
)
def test_a_first_message_without_end_is_given_up(tmp_path: Path, octets: bytes) -> None:
    async def test(door: Door) -> None:
        reader, writer = await door.stranger(octets)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert "too long" in str(door.begun[0].exception())
        writer.close()

    run(tmp_path, test)


def test_who_speaks_old_tls_is_told_so(tmp_path: Path) -> None:
    async def test(door: Door) -> None:
        # A ClientHello of TLS 1.0 and nothing newer.
        body = b"\x03\x01" + bytes(32) + b"\x00" + b"\x00\x02\xc0\x13" + b"\x01\x00"
        reader, writer = await door.stranger(record(b"\x01" + len(body).to_bytes(3) + body))
        assert (await reader.readexactly(7))[:6] == b"\x15\x03\x01\x00\x02\x02"  # a fatal alert
        writer.close()

    run(tmp_path, test)


def test_silent_clients_give_way_to_newer_ones(tmp_path: Path) -> None:
    async def test(door: Door) -> None:
        standing = [await door.stranger(HELLO) for _ in range(3)]
        for reader, _ in standing:
            assert await reader.read(1)
        assert await door.echoed(b"served") == b"served"
        await until(lambda: door.begun[0].done())
        assert [handshake.done() for handshake in door.begun] == [True, False, False, True]
        for _, writer in standing:
            writer.close()
        await until(lambda: door.handshakes.under_way == 0)

    run(tmp_path, test)


@pytest.mark.parametrize("sent", [20, len(HELLO)], ids=["half a hello", "a hello, and no more"])
def test_what_fails_leaves_nothing_for_the_collector(tmp_path: Path, sent: int) -> None:
    async def test(door: Door) -> None:
        gc.collect()
        before = layers()
        gc.disable()
        try:
            for _ in range(10):
                reader, writer = await door.stranger(HELLO[:sent])
                if sent == len(HELLO):
                    await reader.read(1)
                writer.transport.abort()
                await until(lambda: all(handshake.done() for handshake in door.begun))
                door.begun.clear()
            await until(lambda: layers() <= before)
        finally:
            gc.enable()

    run(tmp_path, test)


def test_a_handshake_nobody_waits_for_ends(tmp_path: Path) -> None:
    async def test(door: Door) -> None:
        for octets in (b"", HELLO):
            reader, writer = await door.stranger(octets)
            if octets:
                await reader.read(1)
            else:
                await until(lambda: bool(door.begun))
            door.begun.pop().cancel()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

    run(tmp_path, test)


def test_networks_take_turns(tmp_path: Path) -> None:
    async def test(door: Door) -> None:
        crowd = [await door.stranger(HELLO) for _ in range(20)]
        await until(lambda: len(door.begun) == 20)
        door.peer = "192.0.2.2"
        assert await door.echoed(b"served") == b"served"
        # It came last, and had to wait for no more than a place to become free.
        assert sum(handshake.done() for handshake in door.begun[:20]) < 10
        for _, writer in crowd:
            writer.close()
        await until(lambda: all(handshake.done() for handshake in door.begun) and door.handshakes.under_way == 0)

    run(tmp_path, test)


def test_what_is_taken_from_asyncio_is_there() -> None:
    parameters = inspect.signature(sslproto.SSLProtocol.__init__).parameters
    assert {"waiter", "server_side", "call_connection_made", "ssl_handshake_timeout"} <= set(parameters)
    source = inspect.getsource(sslproto.SSLProtocol)
    for name in ("_app_transport", "_ssl_buffer", "_ssl_buffer_view", "_incoming", "_outgoing", "_fatal_error", "_transport"):
        assert f"self.{name}" in source, name
