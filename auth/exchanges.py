"""SCRAM exchanges between the client's two messages.

Each lives a minute and takes one answer. Bounded twice: what one network leaves open pushes out its own oldest ones first,
so that a flood from one place ends nobody else's sign-in. The name of an exchange is random: only who was told it can
answer.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from .api import Attempt
from .scram import ClientFirst

SECONDS = 60
MAX_OPEN = 4096
MAX_OF_NETWORK = 128


@dataclass(frozen=True, slots=True)
class Opened:
    """What was said so far. `attempt` has the login and no secret."""

    attempt: Attempt
    network: str
    first: ClientFirst
    challenge: bytes


class Exchanges:
    """The open ones."""

    def __init__(self, random: Callable[[int], bytes], *, limit: int = MAX_OPEN, of_network: int = MAX_OF_NETWORK) -> None:
        """`random` gives that many random octets."""
        self._random = random
        self._limit = limit
        self._of_network = of_network
        self._open: OrderedDict[str, tuple[Opened, float]] = OrderedDict()  # -> since; oldest first
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are open, or were when somebody last looked."""
        return len(self._open)

    def open(self, opened: Opened, now: float) -> str:
        """Keep one; its name."""
        while self._open and not 0 <= now - next(iter(self._open.values()))[1] < SECONDS:
            self._drop(next(iter(self._open)))
        if self._counts[opened.network] >= self._of_network:
            self._drop(next(name for name, (one, _) in self._open.items() if one.network == opened.network))
        elif len(self._open) >= self._limit:
            self._drop(next(iter(self._open)))
        name = self._random(16).hex()
        self._open[name] = opened, now
        self._counts[opened.network] += 1
        return name

    def take(self, name: str, now: float) -> Opened | None:
        """What is kept under a name, once; None when it is not there, not any more, or too old."""
        if name not in self._open:
            return None
        opened, since = self._drop(name)
        return opened if 0 <= now - since < SECONDS else None

    def _drop(self, name: str) -> tuple[Opened, float]:
        opened, since = self._open.pop(name)
        self._counts[opened.network] -= 1
        if not self._counts[opened.network]:
            del self._counts[opened.network]
        return opened, since
