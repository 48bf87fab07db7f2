"""Bounds on what one peer may take: token buckets and connection caps, in maps that cannot grow without end.

Owns the counting. Pure but for its own tables: the time comes in as an argument. Who is trusted and exempt, the caller
knows (decisions: connection caps count unauthenticated connections only, since a school is one address behind NAT).
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from itertools import islice

_MAX_KEYS = 65_536
_LOOKED_AT = 256  # networks


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What one subscriber holds: an IPv4 address, or the /64 of an IPv6 one. Anything else (a Unix peer) is itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


class TokenBuckets:
    """A bucket a key: `burst` tokens at most, `rate` a second flow in."""

    __slots__ = ("_burst", "_levels", "_max_keys", "_rate")

    def __init__(self, rate: float, burst: float, *, max_keys: int = _MAX_KEYS) -> None:
        """Raise ValueError unless all are positive. Beyond `max_keys` the key longest unused is forgotten (full again)."""
        if rate <= 0 or burst <= 0 or max_keys <= 0:
            raise ValueError("rate, burst and max_keys are positive")
        self._rate = rate
        self._burst = burst
        self._max_keys = max_keys
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (tokens, when)

    def __len__(self) -> int:
        """Keys remembered."""
        return len(self._levels)

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """Take `cost` tokens: 0.0, or the seconds until there are as many (none are taken then). `now` is monotonic."""
        level, when = self._levels.pop(key, (self._burst, now))
        level = min(self._burst, level + max(0.0, now - when) * self._rate)
        wait = 0.0 if level >= cost else (cost - level) / self._rate
        self._levels[key] = (level - cost if wait == 0.0 else level, now)
        if len(self._levels) > self._max_keys:
            self._levels.popitem(last=False)
        return wait

    def refund(self, key: str, amount: float = 1.0) -> None:
        """Give back what a success need not have cost."""
        if key in self._levels:
            level, when = self._levels[key]
            self._levels[key] = (min(self._burst, level + amount), when)


class ConnectionCaps:
    """Caps on connections: in all, and unauthenticated ones by subscriber network.

    Where a network has all of its places, the one that has stood there longest and would give way does (`Slot.gives_way`):
    who only holds connections open does not keep out the others behind the same address. Where all places are taken it is one
    of the network that has most of them: a few hundred addresses do not keep out everybody.
    """

    __slots__ = ("_by_network", "_per_address", "_total", "connections", "unauthenticated", "unauthenticated_total")

    def __init__(self, total: int, *, per_address: int, unauthenticated: int | None = None) -> None:
        """`total`: of this process.  `per_address`, `unauthenticated`: those that have not signed in, of one and of all."""
        self._total = total
        self._per_address = per_address
        self.unauthenticated_total = total if unauthenticated is None else unauthenticated
        self._by_network: dict[str, dict[Slot, None]] = {}  # in the order of arrival; bounded by `unauthenticated_total`
        self.connections = 0
        self.unauthenticated = 0

    def admit(self, address: str, *, exempt: bool = False) -> "Slot | None":
        """A slot to hold as long as the connection stands, or None. `exempt`: only `total` counts (trusted peers)."""
        if self.connections >= self._total and not self._make_room_in_all():
            return None
        if exempt:
            slot = Slot(self, "")
        else:
            if self.unauthenticated >= self.unauthenticated_total:
                return None
            network = network_of(address)
            if len(self._by_network.get(network, ())) >= self._per_address and not self._make_room(network):
                return None
            slot = Slot(self, network)
            self._by_network.setdefault(network, {})[slot] = None
            self.unauthenticated += 1
        self.connections += 1
        return slot

    def _make_room_in_all(self) -> bool:
        # Of the networks that came first: who attacks is soon among them, and to look at all costs too much while they do.
        first = islice(self._by_network, _LOOKED_AT)
        busiest = max(first, key=lambda network: len(self._by_network[network]), default=None)
        return busiest is not None and self._make_room(busiest)

    def _make_room(self, network: str) -> bool:
        for slot in tuple(self._by_network[network]):
            if slot.gives_way is not None and slot.gives_way():
                slot.authenticated()  # it counts in all until it is gone
                return True
        return False

    def _known(self, slot: "Slot", network: str) -> None:
        self.unauthenticated -= 1
        held = self._by_network[network]
        del held[slot]
        if not held:
            del self._by_network[network]


class Slot:
    """One connection's place."""

    __slots__ = ("_caps", "_network", "_released", "gives_way", "on_known")

    def __init__(self, caps: ConnectionCaps, network: str) -> None:
        """Made by ConnectionCaps alone."""
        self._caps = caps
        self._network = network
        self._released = False
        self.gives_way: Callable[[], bool] | None = None
        """Asked when a newer connection needs the place: end the connection and say True, or say False. None: never."""
        self.on_known: Callable[[], None] | None = None
        """Called when it counts for its address no more: once, at the end at the latest."""

    @property
    def is_counted(self) -> bool:
        """Whether it is one of those that have not signed in."""
        return bool(self._network)

    def authenticated(self) -> None:
        """It signed in: it counts for its address no more."""
        if self._network:
            self._caps._known(self, self._network)
            self._network = ""
            if self.on_known is not None:
                self.on_known()
                self.on_known = None

    def release(self) -> None:
        """The connection ended. A second call does nothing."""
        if not self._released:
            self.authenticated()
            self._caps.connections -= 1
            self._released = True
            self.gives_way = None  # it holds the connection, which holds this
