import asyncio
import contextlib
from pathlib import Path

import pytest

import lmtp
from preau.auth.api import Recipients
from preau.smtp.delivery import DeliverySettings
from preau.smtp.modes import SessionLimits
from preau.smtp.rooms import DeliveryRooms


def with_quota(world: lmtp.World, quota: int) -> None:
    world.auth.addresses["anne@example.com"] = Recipients((lmtp.local(lmtp.ANNE, "anne@example.com", quota),), ())


@pytest.mark.parametrize("passes", [True, False], ids=["452", "552"])
def test_delivery_tells_whether_there_is_room(tmp_path: Path, passes: bool) -> None:
    async def test(world: lmtp.World) -> None:
        with_quota(world, 1_000)
        rooms = DeliveryRooms(world.path, "mx.example.com")
        try:
            assert await rooms.refuses("anne@example.com", 2_000) is True
            assert await rooms.refuses("anne@example.com", 10) is False
            assert await rooms.refuses("nobody@example.com", 10) is False  # not our question
            assert await rooms.refuses("élise@example.com", 10) is False
            assert len(rooms._idle) == 1
        finally:
            await rooms.close()
        assert world.messages(lmtp.ANNE) == []

    lmtp.run(tmp_path, test, DeliverySettings(over_quota_passes=passes))


def test_a_line_that_was_closed_is_opened_again(tmp_path: Path) -> None:
    async def test(world: lmtp.World) -> None:
        with_quota(world, 1_000)
        rooms = DeliveryRooms(world.path, "mx.example.com")
        try:
            for _ in range(5):  # delivery has enough of a connection after two questions
                assert await rooms.refuses("anne@example.com", 2_000) is True
        finally:
            await rooms.close()

    lmtp.run(tmp_path, test, DeliverySettings(limits=SessionLimits(idle_commands=2)))


def test_questions_at_once(tmp_path: Path) -> None:
    async def test(world: lmtp.World) -> None:
        with_quota(world, 1_000)
        rooms = DeliveryRooms(world.path, "mx.example.com", lines=2)
        try:
            sizes = [10, 2_000] * 10
            answers = await asyncio.gather(*(rooms.refuses("anne@example.com", size) for size in sizes))
            assert answers == [False, True] * 10
            assert len(rooms._idle) == 2
        finally:
            await rooms.close()

    lmtp.run(tmp_path, test)


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"554 no\r\n",
        b"220 x\r\n500 no\r\n",
        b"220 x\r\n250 x\r\n421 4.3.2 later\r\n",
        b"220 x\r\n" + b"250-x\r\n" * 1_000,
        b"2" * 5_000,
        b"220 x\r\n250 x\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 ok\r\n",
    ],
    ids=["nothing", "554", "no LHLO", "closing", "endless reply", "endless line", "room"],
)
def test_mail_is_taken_when_nobody_says_otherwise(tmp_path: Path, says: bytes) -> None:
    ended: list[asyncio.Future[None]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = asyncio.get_running_loop().create_future()
        ended.append(end)
        writer.write(says)
        try:
            await reader.read()
        finally:  # cancelled or not: left open, its socket would be another test's warning
            writer.close()
        with contextlib.suppress(ConnectionError):  # hung up on, perhaps with octets unread
            await writer.wait_closed()
        end.set_result(None)

    async def test() -> None:
        server = await asyncio.start_unix_server(answer, tmp_path / "delivery.sock")
        rooms = DeliveryRooms(tmp_path / "delivery.sock", "mx.example.com", seconds=0.3)
        assert await rooms.refuses("anne@example.com", 10) is False
        await rooms.close()
        await asyncio.gather(*ended)
        server.close()
        await server.wait_closed()

    asyncio.run(test())


def test_nobody_there(tmp_path: Path) -> None:
    assert asyncio.run(DeliveryRooms(tmp_path / "delivery.sock", "mx.example.com").refuses("anne@example.com", 10)) is False
