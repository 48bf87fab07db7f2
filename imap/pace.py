"""Where a brief write runs: on the loop while the disk is quick, else in a thread (docs/decisions/0007).

A hop to a thread and back costs three times what a quick disk needs for the commit itself. On the loop, though, everybody
waits for the flush. So writes run there only as long as they were short: one that took long, or many that took a little too
long, send those that follow to threads. They come back after a pause, and only once one in a thread has been short again: a
disk that hangs holds up a worker once, and not a second time before it is well.

Owns the measure and the decision. Never decides which calls are brief: imap/steps.py has them marked.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from ..storage.api import WouldWait

T = TypeVar("T")

SHORT = 0.001  # seconds: what a write may take on the loop on average
LONGEST = 0.01  # seconds: one that takes longer is the last one there for a while
PAUSE = 1.0  # seconds
_WEIGHT = 1 / 8  # of the latest write in the average: a checkpoint of the log, once in some eighty, does not matter


class Pace:
    """The measure of one worker. All but timed() on the loop's thread."""

    __slots__ = ("_average", "_clock", "_not_before", "_on_loop")

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin with threads, until the first write has shown that the disk is quick."""
        self._clock = clock
        self._on_loop = False
        self._average = 0.0
        self._not_before = 0.0

    @property
    def on_loop(self) -> bool:
        """Whether brief writes may run on the loop now."""
        return self._on_loop

    def run(self, call: Callable[[], T]) -> T:
        """Call it here, and note how long that took. Raise what it raises, WouldWait among it."""
        begin = self._clock()
        try:
            result = call()
        except WouldWait:
            raise  # nothing was written: this tells nothing
        except BaseException:
            self._note(self._clock() - begin)
            raise
        self._note(self._clock() - begin)
        return result

    def _note(self, seconds: float) -> None:
        self._average += (seconds - self._average) * _WEIGHT
        if seconds > LONGEST or self._average > SHORT:
            self._on_loop = False
            self._not_before = self._clock() + PAUSE

    def timed(self, call: Callable[[], T]) -> Callable[[], T]:
        """The same call for a thread, where it notes how long it took."""

        def run() -> T:
            begin = self._clock()
            result = call()
            now = self._clock()
            if now - begin <= SHORT and now >= self._not_before:
                self._average = now - begin
                self._on_loop = True
            return result

        return run
