import asyncio
import json
import os
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from feed import three_ways
from preau.daemon.rpc import (
    FrameReader,
    RpcClient,
    RpcConnection,
    RpcRefused,
    RpcServer,
    RpcUnavailable,
    call_blocking,
    encode_frame,
)


async def echo(op: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
    match op:
        case "echo":
            return {"fields": fields, "path": connection.path.name, "uid": connection.peer_uid}
        case "refuse":
            raise RpcRefused("not like this: say it otherwise")
        case "fail":
            raise ZeroDivisionError("secret detail")
        case "bytes":
            return {"never": b"encodable"}
        case "subscribe":
            connection.push({"push": "hello", "id": "left out"})
            return {}
    return {}


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 20)

    asyncio.run(bounded())


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([{"id": 1, "op": "x"}], id="one"),
        pytest.param([{"a": "é" * 300}, {}, {"b": [1, None, True]}], id="three"),
    ],
)
def test_frames_are_read_whole_and_bytewise(messages: list[dict[str, Any]]) -> None:
    data = b"".join(map(encode_frame, messages))
    three_ways(lambda: FrameReader(65_536), data, messages, trailing=b"\0\0\1")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(struct.pack("!I", 101) + b"{}", id="too long, told from its length"),
        pytest.param(struct.pack("!I", 2) + b"[]", id="no object"),
        pytest.param(struct.pack("!I", 2) + b"\xff{", id="no utf-8"),
        pytest.param(struct.pack("!I", 0), id="empty"),
        pytest.param(struct.pack("!I", 100) + b"[" * 100, id="not closed"),
    ],
)
def test_what_is_no_frame_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 any text
        FrameReader(100).receive(data)


def test_deep_nesting_is_a_value_error() -> None:
    body = b'{"a":' * 100_000
    with pytest.raises(ValueError):  # noqa: PT011 any text
        FrameReader(1_000_000).receive(struct.pack("!I", len(body)) + body)


def test_calls_answers_refusals_and_incidents(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        server = RpcServer(echo)
        await server.listen(tmp_path / "a.sock")
        assert (tmp_path / "a.sock").stat().st_mode & 0o777 == 0o600
        client = RpcClient(tmp_path / "a.sock")
        assert await client.call("echo", x=1, id="kept", op="kept") == {
            "fields": {"x": 1, "id": "kept", "op": "kept"},
            "path": "a.sock",
            "uid": os.geteuid(),
        }
        with pytest.raises(RpcRefused, match="say it otherwise"):
            await client.call("refuse")
        with pytest.raises(RpcUnavailable, match="incident"):
            await client.call("fail")
        with pytest.raises(RpcUnavailable, match="incident"):
            await client.call("bytes")
        answers = await asyncio.gather(*(client.call("echo", n=n) for n in range(500)))
        assert [answer["fields"]["n"] for answer in answers] == list(range(500))
        await client.close()
        await server.close()
        assert not (tmp_path / "a.sock").exists()

    run(test)
    assert "secret detail" in caplog.text


def test_pushes_and_loss_and_reconnection(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "a.sock"
        server = RpcServer(echo)
        await server.listen(path)
        client = RpcClient(path)
        pushed: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        lost = asyncio.Event()
        client.on_push(pushed.put_nowait)
        client.on_lost(lost.set)
        await client.call("subscribe")
        assert await pushed.get() == {"push": "hello"}
        for connection in server.connections:
            connection.push({"push": "revoke"})
        assert await pushed.get() == {"push": "revoke"}
        await server.close()
        await lost.wait()
        assert not client.connected
        with pytest.raises(RpcUnavailable):
            await client.call("echo")
        server = RpcServer(echo)
        await server.listen(path)
        assert (await client.call("echo", again=True))["fields"] == {"again": True}
        await client.close()
        with pytest.raises(RpcUnavailable):
            await client.call("echo")
        await server.close()

    run(test)


def test_a_call_in_flight_fails_when_the_server_dies(tmp_path: Path) -> None:
    async def test() -> None:
        begun = asyncio.Event()

        async def hang(op: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
            begun.set()
            await asyncio.Event().wait()
            return {}

        server = RpcServer(hang)
        await server.listen(tmp_path / "a.sock")
        client = RpcClient(tmp_path / "a.sock")
        call = asyncio.ensure_future(client.call("x"))
        await begun.wait()
        await server.close()
        with pytest.raises(RpcUnavailable, match="lost"):
            await call
        slow = RpcServer(hang)
        await slow.listen(tmp_path / "b.sock")
        impatient = RpcClient(tmp_path / "b.sock", timeout=0.01)
        with pytest.raises(RpcUnavailable, match="within"):
            await impatient.call("x")
        await impatient.close()
        await slow.close()

    run(test)


def test_another_uid_is_not_read(tmp_path: Path) -> None:
    async def test() -> None:
        server = RpcServer(echo, allowed_uids=frozenset({os.geteuid() + 1}))
        server._uids = frozenset({os.geteuid() + 1})  # the tests may run as root, who is always admitted
        await server.listen(tmp_path / "a.sock")
        client = RpcClient(tmp_path / "a.sock")
        with pytest.raises(RpcUnavailable):
            await client.call("echo")
        assert not server.connections
        await client.close()
        await server.close()

    run(test)


def test_requests_in_flight_are_bounded_for_each_connection_alone(tmp_path: Path) -> None:
    async def test() -> None:
        gate, full = asyncio.Event(), asyncio.Event()
        running = 0
        most = 0

        async def handler(op: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
            nonlocal running, most
            if op == "quick":
                return {}
            running += 1
            most = max(most, running)
            if running == 4:
                full.set()
            await gate.wait()
            running -= 1
            return {}

        server = RpcServer(handler, max_in_flight=4)
        await server.listen(tmp_path / "a.sock")
        flood, other = RpcClient(tmp_path / "a.sock"), RpcClient(tmp_path / "a.sock")
        calls = [asyncio.ensure_future(flood.call("slow")) for _ in range(50)]
        await full.wait()
        await other.call("quick")
        assert most == 4
        gate.set()
        await asyncio.gather(*calls)
        assert most == 4
        await flood.close()
        await other.close()
        await server.close()

    run(test)


def test_connections_are_bounded_per_path(tmp_path: Path) -> None:
    async def test() -> None:
        server = RpcServer(echo, max_connections=2)
        await server.listen(tmp_path / "a.sock")
        await server.listen(tmp_path / "b.sock")
        clients = [RpcClient(tmp_path / "a.sock") for _ in range(3)]
        await clients[0].call("echo")
        await clients[1].call("echo")
        with pytest.raises(RpcUnavailable):
            await clients[2].call("echo")
        elsewhere = RpcClient(tmp_path / "b.sock")
        await elsewhere.call("echo")
        for client in (*clients, elsewhere):
            await client.close()
        await server.close()

    run(test)


@pytest.mark.parametrize(
    "data", [struct.pack("!I", 1 << 30), encode_frame({"id": "x", "op": "echo"}), b"GET / HTTP/1.1\r\n\r\n"]
)
def test_a_broken_frame_ends_its_connection(tmp_path: Path, data: bytes) -> None:
    async def test() -> None:
        server = RpcServer(echo)
        await server.listen(tmp_path / "a.sock")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "a.sock")
        writer.write(data)
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        writer.close()
        await server.close()

    run(test)


def test_a_subscriber_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async def test() -> None:
        server = RpcServer(echo)
        await server.listen(tmp_path / "a.sock")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "a.sock", limit=1024)
        writer.write(encode_frame({"id": 1, "op": "echo", "fields": {}}))
        await reader.readexactly(4)
        (connection,) = server.connections
        closed = asyncio.Event()
        connection.on_close(closed.set)
        for _ in range(200):
            connection.push({"push": "x" * 60_000})
        await closed.wait()
        writer.close()
        await server.close()

    run(test)


def test_the_command_line_calls_without_a_loop(tmp_path: Path) -> None:
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = RpcServer(echo)
        await server.listen(tmp_path / "a.sock")
        started.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        assert call_blocking(tmp_path / "a.sock", "echo", a=1)["fields"] == {"a": 1}
        with pytest.raises(RpcRefused):
            call_blocking(tmp_path / "a.sock", "refuse")
        with pytest.raises(RpcUnavailable, match=r"gone\.sock"):
            call_blocking(tmp_path / "gone.sock", "echo")
        with pytest.raises(RpcUnavailable, match="broken"):
            call_blocking(tmp_path / "a.sock", "echo", max_frame=10)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def test_call_blocking_gives_up_on_silence(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(tmp_path / "a.sock"))
        silent.listen(1)
        with pytest.raises(RpcUnavailable, match="within"):
            call_blocking(tmp_path / "a.sock", "echo", timeout=0.01)


def test_a_frame_is_plain_json() -> None:
    frame = encode_frame({"é": "\udc80"})
    assert struct.unpack("!I", frame[:4])[0] == len(frame) - 4
    assert json.loads(frame[4:].decode("utf-8", "surrogatepass")) == {"é": "\udc80"}
