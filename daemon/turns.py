"""Whose turn it is in a process's event loop: those who have signed in come before strangers.

Theory of operation. A turn of asyncio's loop serves everything that is ready, and nobody comes in between: when a thousand
strangers connect, or hang up, in the same moment, whoever has a question waits for all of them. Here a turn serves everybody
who has signed in, and so many strangers, first those whom an earlier turn left waiting. The system goes on telling of those
who are left (epoll(7), level-triggered), so that nothing is remembered of what they sent.

Owns the order. Never knows what anybody asks for; who is a stranger, slots know (limits.py).
"""

import asyncio
import selectors
from functools import partial

from .limits import Slot

STRANGERS = 16
"""Of one turn: some milliseconds at most, where each costs what a greeting or a farewell costs."""

_Ready = tuple[selectors.SelectorKey, int]


class FairSelector(selectors.EpollSelector):
    """What is ready, cut to one turn."""

    def __init__(self) -> None:
        """Nobody is a stranger."""
        super().__init__()
        self._strangers: dict[int, object] = {}
        self._waiting: dict[int, None] = {}

    def mark(self, descriptor: int) -> object:
        """It is a stranger's; what to `unmark` it with."""
        sign = object()
        self._strangers[descriptor] = sign
        return sign

    def unmark(self, descriptor: int, sign: object) -> None:
        """It is a stranger's no more, or closed. The number may be another connection's by now."""
        if self._strangers.get(descriptor) is sign:
            del self._strangers[descriptor]

    def select(self, timeout: float | None = None) -> list[_Ready]:
        """See selectors."""
        ready = super().select(timeout)
        if len(ready) <= STRANGERS:
            return ready
        strangers = {event[0].fd: event for event in ready if event[0].fd in self._strangers}
        if len(strangers) <= STRANGERS:
            return ready
        waited = [descriptor for descriptor in self._waiting if descriptor in strangers]
        order = [*waited, *(descriptor for descriptor in strangers if descriptor not in self._waiting)]
        self._waiting = dict.fromkeys(order[STRANGERS:])
        served = [event for event in ready if event[0].fd not in strangers]
        return served + [strangers[descriptor] for descriptor in order[:STRANGERS]]


class FairLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, with turns for strangers."""

    def __init__(self) -> None:
        """Not running yet."""
        self.turns = FairSelector()
        super().__init__(self.turns)


def after_others(transport: asyncio.BaseTransport, slot: Slot) -> None:
    """Serve an accepted connection after those who have signed in, until its slot says that it has, or has ended."""
    loop, accepted = asyncio.get_running_loop(), transport.get_extra_info("socket")
    if isinstance(loop, FairLoop) and accepted is not None and slot.is_counted:
        descriptor = accepted.fileno()
        slot.on_known = partial(loop.turns.unmark, descriptor, loop.turns.mark(descriptor))
