"""A queue in a process of its own that is killed at its nth step: `python killed_queue.py FOLDER STEP`.

A step is a call that changes a file or queue.db; the kill comes before or behind it, in turn. Whoever comes to the end of
the work, with fewer steps than that, exits with 0.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from lmtp import FakeAuth, World
from smtp_world import Clock, FakeDns, make_queue

STEPS = 0


def counted(call: Callable[..., Any], fatal: int) -> Callable[..., Any]:
    """The call, with a kill before it or behind it."""

    def stepping(*arguments: Any) -> Any:
        _step(fatal)
        result = call(*arguments)
        _step(fatal)
        return result

    return stepping


def _step(fatal: int) -> None:
    global STEPS
    STEPS += 1
    if fatal == STEPS:
        os.kill(os.getpid(), signal.SIGKILL)


class _Around:
    """What make_queue wants to know of `delivery`, which runs in the parent."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "delivery.sock"
        self.auth = FakeAuth()


async def main(folder: Path, fatal: int) -> None:
    """Work until nothing is left."""
    queue, _, spool = make_queue(folder, cast(World, _Around(folder)), FakeDns(), Clock(), 1)
    for name in ("activate", "remove"):
        setattr(spool, name, counted(getattr(spool, name), fatal))
    await queue.start([])
    queue.store._run = counted(queue.store._run, fatal)  # type: ignore[method-assign]  # a transaction
    await queue.settled()
    await queue.drain(1.0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
