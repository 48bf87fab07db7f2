"""The log of connections for which there was no place: some lines at once, then one a second with how many there were.

A crowd is turned away thousands of times a second. A line each would fill the disk and hide what else the log says, and to
write it costs more than to turn somebody away.
"""

import time
from collections.abc import Callable

from .limits import TokenBuckets
from .log import Logger

_AT_ONCE, _A_SECOND = 10.0, 1.0


class TurnedAway:
    """Those of a process."""

    def __init__(self, log: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        """`log`: of the role."""
        self._log = log
        self._clock = clock
        self._lines = TokenBuckets(_A_SECOND, _AT_ONCE, max_keys=1)
        self._unsaid = 0

    def note(self, address: str, connections: int) -> None:
        """One from `address` found no place beside so many connections."""
        if self._lines.take("", self._clock()) > 0.0:
            self._unsaid += 1
            return
        beside, self._unsaid = self._unsaid, 0
        self._log.warning("connection refused", address=address, connections=connections, unsaid=beside)
