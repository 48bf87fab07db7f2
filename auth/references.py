"""References: the `7K2F` a user reads to support, and one line in the traces for a refusal that repeats.

A client that tries the same thing every second gets the same reference for a minute and leaves one line, then one more
that counts the rest: a flood of refusals does not become a flood of lines. Bounded, oldest out first.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from .symbols import octets_for, render_symbols

LENGTH = 4
_WINDOW = 60  # seconds
_MAX = 10_000


class References:
    """Draws references and counts repetitions."""

    def __init__(self, random: Callable[[int], bytes], *, limit: int = _MAX) -> None:
        """`random` gives that many random octets."""
        self._random = random
        self._limit = limit
        self._recent: OrderedDict[Hashable, tuple[str, float, int]] = OrderedDict()  # reference, since, repetitions
        self._ended: list[tuple[str, int]] = []

    def draw(self, key: Hashable, now: float) -> tuple[str, bool]:
        """The reference of a refusal, and whether it is a new one, to be traced. `key`: what makes refusals the same."""
        found = self._recent.get(key)
        if found is not None and 0 <= now - found[1] < _WINDOW:
            self._recent[key] = (found[0], found[1], found[2] + 1)
            return found[0], False
        if found is not None:
            self._end(key)
        reference = render_symbols(self._random(octets_for(LENGTH)), LENGTH).upper()
        self._recent[key] = (reference, now, 0)
        if len(self._recent) > self._limit:
            self._end(next(iter(self._recent)))
        return reference, True

    def take_repeated(self, now: float, *, everything: bool = False) -> list[tuple[str, int]]:
        """(reference, repetitions) of those whose minute is over, once."""
        while self._recent:
            key, (_, since, _) = next(iter(self._recent.items()))
            if not everything and 0 <= now - since < _WINDOW:
                break
            self._end(key)
        ended, self._ended = self._ended, []
        return ended

    def _end(self, key: Hashable) -> None:
        reference, _, repetitions = self._recent.pop(key)
        if repetitions:
            self._ended.append((reference, repetitions))
