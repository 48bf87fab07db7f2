"""What searches found out about messages: a message never changes, so whether it holds a text is known for good.

Clients ask again: for a folder that is a saved search, after each new message; and letter by letter, while somebody types.
The first is answered for what is new alone; the second, where a longer needle holds one asked for before, among those that
hold the shorter one.

Owns what is remembered of one account, and how much that may be. Never looks at a text. One thread at a time.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .api import TextField

MOST_OCTETS = 2 * 1024 * 1024
"""What is remembered of one account, about."""

_ID = 8  # octets
_ENTRY = 500  # octets of one beside its ids


class Criterion(NamedTuple):
    """What is asked of the messages of one mailbox in one life (its UIDVALIDITY); name and needle normalised."""

    mailbox: int
    life: int
    field: TextField
    header: str
    needle: str

    def implies(self, other: "Criterion") -> bool:
        """Whether what meets this one meets the other, too."""
        return self[:4] == other[:4] and other.needle in self.needle


@dataclass(frozen=True, slots=True)
class _Known:
    asked: "array[int]"  # ids, ascending
    hits: "array[int]"  # those that meet the criterion

    @property
    def octets(self) -> int:
        return _ENTRY + _ID * (len(self.asked) + len(self.hits))


class SearchMemo:
    """What is known of criteria asked for lately."""

    __slots__ = ("_known", "_most", "_octets")

    def __init__(self, most: int = MOST_OCTETS) -> None:
        """Keep about `most` octets."""
        self._most = most
        self._octets = 0
        self._known: dict[Criterion, _Known] = {}  # what was asked for last stands last

    def recall(self, criterion: Criterion, ids: Sequence[int]) -> tuple[set[int], Sequence[int]]:
        """Of ascending ids (those known to meet the criterion, those about which nothing is known)."""
        known = self._known.pop(criterion, None)
        if known is not None:
            self._known[criterion] = known
            if len(ids) == len(known.asked) and array("q", ids) == known.asked:
                return set(known.hits), ()
            asked = set(known.asked)
            return set(known.hits).intersection(ids), [id for id in ids if id not in asked]
        wider = [there for other, there in self._known.items() if criterion.implies(other)]
        if not wider:
            return set(), ids
        fewest = min(wider, key=lambda there: len(there.hits))
        refused = set(fewest.asked).difference(fewest.hits)
        return set(), [id for id in ids if id not in refused]

    def keep(self, criterion: Criterion, ids: Sequence[int], hits: Iterable[int]) -> None:
        """Of `ids` it is known that exactly `hits` meet the criterion."""
        asked, found = set(ids), set(hits)
        if (before := self._known.pop(criterion, None)) is not None:
            self._octets -= before.octets
            asked.update(before.asked)
            found.update(before.hits)
        known = _Known(array("q", sorted(asked)), array("q", sorted(found)))
        self._known[criterion] = known
        self._octets += known.octets
        while self._octets > self._most:
            self._octets -= self._known.pop(next(iter(self._known))).octets
