"""How much of messages that came in is held for the background, in all accounts of a process.

Of each its first octets and its structure stay in memory until cache and search text have them, which may take seconds while
mail goes on to come in. Who brings more than that does the work at once, instead of leaving it for later.

Owns the count. Never knows what waits where: what lives counts.
"""

import threading
from collections import deque


class Held:
    """Octets in memory, by what holds them. Any thread."""

    def __init__(self, most: int) -> None:
        """`most`: octets from which on it is `full`."""
        self.most = most
        self._lock = threading.Lock()
        self._octets = 0
        self._gone: deque[int] = deque()

    def add(self, octets: int) -> None:
        """So many more are held."""
        with self._lock:
            self._octets += octets

    def let_go(self, octets: int) -> None:
        """So many are not any more. May be called from a finalizer: it takes no lock."""
        self._gone.append(octets)

    @property
    def octets(self) -> int:
        """How many there are."""
        with self._lock:
            while self._gone:
                self._octets -= self._gone.popleft()
            return self._octets

    @property
    def full(self) -> bool:
        """Whether there are too many to leave more for later."""
        return self.octets > self.most


HELD = Held(8 * 1024 * 1024)
"""Of this process."""
