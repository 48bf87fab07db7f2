"""Bounded threads: full says so, slow says so, failing says so, and places come back."""

import asyncio
import os
import threading

import pytest

from preau.auth.api import AuthUnavailable
from preau.auth.hashing import BoundedThreads


def test_what_does_not_fit_is_told_and_places_come_back() -> None:
    async def scenario() -> None:
        gate = threading.Event()
        threads = BoundedThreads("test", threads=1, queue=1, seconds=5)
        running = [asyncio.create_task(threads.run(lambda: gate.wait(5))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(AuthUnavailable, match="too many"):
            await threads.run(lambda: None)
        gate.set()
        assert await asyncio.gather(*running) == [True, True]
        assert await threads.run(lambda: 7) == 7
        threads.close()

    asyncio.run(scenario())


def test_a_call_that_hangs_is_left_and_keeps_its_place() -> None:
    async def scenario() -> None:
        gate = threading.Event()
        threads = BoundedThreads("test", threads=1, queue=0, seconds=0.01)
        with pytest.raises(AuthUnavailable, match="does not answer"):
            await threads.run(lambda: gate.wait(5))
        with pytest.raises(AuthUnavailable, match="too many"):
            await threads.run(lambda: None)
        gate.set()
        threads.close()

    asyncio.run(scenario())


def test_whatever_is_raised_becomes_unavailable_without_its_text() -> None:
    async def scenario() -> None:
        threads = BoundedThreads("test", threads=1, queue=1, seconds=5)

        def fail() -> None:
            raise KeyError("hunter2")

        with pytest.raises(AuthUnavailable, match="incident") as raised:
            await threads.run(fail)
        assert "hunter2" not in str(raised.value)
        threads.close()

    asyncio.run(scenario())


def test_checks_give_way_to_everybody_else() -> None:
    async def body() -> None:
        threads = BoundedThreads("x", threads=1, queue=1, seconds=5)
        there = await threads.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        threads.close()
        assert there == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)

    asyncio.run(body())
