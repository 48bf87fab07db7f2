import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from preau.daemon.lifecycle import run
from preau.daemon.listener import Listener
from preau.daemon.notify import Notifier, NotifyReceiver


class Recorded:
    def __init__(self, *, drain: Callable[[], Awaitable[None]] | None = None, broken: str = "") -> None:
        self.calls: list[str] = []
        self.reloaded = asyncio.Event()
        self._drain = drain
        self._broken = broken

    async def start(self, listeners: Sequence[Listener]) -> None:
        self.calls.append(f"start {len(listeners)}")
        if self._broken == "start":
            raise OSError("no room")

    async def drain(self, seconds: float) -> None:
        self.calls.append(f"drain {seconds:g}")
        if self._broken == "drain":
            raise ValueError("broken drain")
        if self._drain is not None:
            await self._drain()

    async def reload(self) -> None:
        self.calls.append("reload")
        self.reloaded.set()
        if self._broken == "reload":
            raise ValueError("broken reload")


def raise_signal(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_reload_drain(tmp_path: Path, number: signal.Signals) -> None:
    receiver = NotifyReceiver(tmp_path / "notify")

    async def test() -> Recorded:
        role = Recorded()
        ready = asyncio.Event()
        said: list[str] = []

        def heard() -> None:
            said.extend(next(iter(fields)) for _, fields in receiver.receive())
            if "READY" in said:
                ready.set()

        asyncio.get_running_loop().add_reader(receiver.fileno(), heard)
        notifier = Notifier(str(receiver.path), watchdog=0.003)
        running = asyncio.ensure_future(run(role, [], name="test", notifier=notifier, drain_seconds=3))
        await ready.wait()
        assert gc.get_freeze_count() > 0
        raise_signal(signal.SIGHUP)
        await role.reloaded.wait()
        raise_signal(number)
        await running
        asyncio.get_running_loop().remove_reader(receiver.fileno())
        heard()
        told = [what for what in said if what != "WATCHDOG"]
        assert told == ["READY", "RELOADING", "READY", "STOPPING"]
        assert "WATCHDOG" in said
        notifier.close()
        return role

    try:
        assert asyncio.run(test()).calls == ["start 0", "reload", "drain 3"]
    finally:
        receiver.close()
    assert gc.get_freeze_count() == 0


def test_a_second_signal_ends_the_draining() -> None:
    async def test() -> None:
        cancelled = asyncio.Event()

        async def drain() -> None:
            raise_signal(signal.SIGTERM)
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        role = Recorded(drain=drain)
        running = asyncio.ensure_future(run(role, [], name="test", drain_seconds=600))
        await asyncio.sleep(0)
        raise_signal(signal.SIGTERM)
        await running
        assert cancelled.is_set()

    asyncio.run(test())


def test_a_start_that_fails_is_raised() -> None:
    async def test() -> None:
        with pytest.raises(OSError, match="no room"):
            await run(Recorded(broken="start"), [], name="test")

    asyncio.run(test())


@pytest.mark.parametrize("broken", ["reload", "drain"])
def test_what_breaks_is_an_incident_and_nothing_else(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> Recorded:
        role = Recorded(broken=broken)
        running = asyncio.ensure_future(run(role, [], name="test"))
        await asyncio.sleep(0)
        raise_signal(signal.SIGHUP)
        await role.reloaded.wait()
        asyncio.get_running_loop().call_exception_handler({"message": "Task exception", "exception": ValueError("odd")})
        raise_signal(signal.SIGTERM)
        await running
        return role

    assert asyncio.run(test()).calls[-1].startswith("drain")
    assert f"broken {broken}" in caplog.text
    assert "odd" in caplog.text
