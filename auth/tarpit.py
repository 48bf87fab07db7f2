"""Attempts that a policy makes wait; few at a time, else the tarpit would be a slowloris against ourselves."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable


class Tarpit:
    """Counts who sleeps, in all and by network."""

    def __init__(self, limit: int, limit_per_network: int, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """At most `limit` in all and `limit_per_network` of one network."""
        self._limit = limit
        self._limit_per_network = limit_per_network
        self._sleep = sleep
        self._sleeping: Counter[str] = Counter()

    async def wait(self, network: str, seconds: float) -> bool:
        """Sleep; False at once when there is no room to."""
        sleeping = self._sleeping
        if sleeping.total() >= self._limit or sleeping[network] >= self._limit_per_network:
            return False
        sleeping[network] += 1
        try:
            await self._sleep(seconds)
        finally:
            sleeping[network] -= 1
            if not sleeping[network]:
                del sleeping[network]
        return True
