"""Password checks in threads, with a bound on how many wait.

argon2 costs tens of milliseconds and releases the GIL: two threads, a queue of 64; what does not fit is told to come
back later, so a flood of guesses bounds its own work. Plug-ins have threads and a time limit of their own: one that hangs
keeps nobody else waiting. App passwords never come here.

Owns threads and limits. Whatever a backend raises becomes AuthUnavailable, never a yes.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..daemon.log import logger
from .api import AuthUnavailable

log = logger("auth")

T = TypeVar("T")


class BoundedThreads:
    """A few threads and a queue that says no."""

    def __init__(self, name: str, *, threads: int, queue: int, seconds: float) -> None:
        """`seconds`: what one call may take, waiting its turn included."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
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


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass  # the loop is closed: nobody counts any more
