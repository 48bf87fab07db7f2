"""Password checks in threads, with a bound on how many wait.

argon2 costs tens of milliseconds and releases the GIL: two threads, a queue of 64; what does not fit is told to come
back later, so a flood of guesses bounds its own work. The threads run at a lower priority: they can keep every core
busy, and sign-ins with app passwords, which never come here, would wait behind them. Plug-ins have threads and a time
limit of their own: one that hangs keeps nobody else waiting.

Owns threads and limits. Whatever a backend raises becomes AuthUnavailable, never a yes.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..daemon.log import logger
from .api import AuthUnavailable

log = logger("auth")

T = TypeVar("T")

_NICE = 10


class BoundedThreads:
    """A few threads and a queue that says no."""

    def __init__(self, name: str, *, threads: int, queue: int, seconds: float) -> None:
        """`seconds`: what one call may take, waiting its turn included."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=_give_way)
        self._limit = threads + queue
        self._seconds = seconds
        self._running = 0

    async def run(self, call: Callable[[], T]) -> T:
        """Run a plain call. Raise AuthUnavailable: full, too slow, or it failed."""
        if self._running >= self._limit:
            raise AuthUnavailable("too many passwords are being verified")
        self._running += 1
        future = self._executor.submit(call)
        # Counted down when the thread is done, not when we stop waiting: a call that hangs goes on holding its place.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _on_loop(loop, self._done))
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise AuthUnavailable("the backend does not answer") from None
        except AuthUnavailable:
            raise
        except Exception as error:
            incident = log.incident("backend failed", error)
            raise AuthUnavailable(f"the backend failed, incident {incident}") from None

    def _done(self) -> None:
        self._running -= 1

    def close(self) -> None:
        """Take no more calls; those that wait are dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _give_way() -> None:
    """Run this thread after others: whoever guesses passwords must not slow down whoever needs none of this."""
    try:
        own = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, own, min(19, os.getpriority(os.PRIO_PROCESS, own) + _NICE))
    except OSError as error:
        log.debug("password checks at the common priority", reason=str(error))


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass  # the loop is closed: nobody counts any more
