"""Where mail for an address goes: what `auth` said, remembered for a moment.

A message is looked up at RCPT, by the queue and by delivery, and mail comes in bursts for the same people. Only what was found
is remembered: whoever is made an account is known at once.

Owns the memory and its bounds. Never decides what an answer means.
"""

import asyncio
from collections import OrderedDict
from typing import Protocol

from ..auth.api import Recipients

SECONDS = 2.0
"""How long an answer is good for: so much later a locked account takes no mail any more, at most."""

_MOST = 4_096


class LookedUp(Protocol):
    """Who is asked: an Authenticator, or whoever has its lookup."""

    async def lookup(self, address: str) -> Recipients:
        """Where mail for `address` goes. Raise AuthUnavailable."""
        ...


class Lookups:
    """Answers of one `auth`. One event loop's."""

    def __init__(self, authenticator: LookedUp, seconds: float = SECONDS) -> None:
        """`seconds`: how long an answer is good for."""
        self._authenticator = authenticator
        self._seconds = seconds
        self._known: OrderedDict[str, tuple[float, Recipients]] = OrderedDict()

    async def find(self, address: str) -> Recipients:
        """Where mail for `address` goes. Raise AuthUnavailable."""
        now = asyncio.get_running_loop().time()
        known = self._known.get(address)
        if known is not None and known[0] > now:
            return known[1]
        found = await self._authenticator.lookup(address)
        if found.local or found.outside:
            self._known[address] = (now + self._seconds, found)
            self._known.move_to_end(address)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        return found

    def clear(self) -> None:
        """Remember nothing: something was revoked."""
        self._known.clear()
