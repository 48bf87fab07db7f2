"""What was answered of an object to the last question about it: agendas ask for the same month again and again.

An answer holds for the octets it was made of (their ETag) and for one question: filter, zone, and what is to be told. It is
kept for as long as the account is open here, like the objects (objects.py), and within a bound.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ..storage.api import Account, CollectionId, ETag, Href, Item

_MOST = 16_777_216  # characters of an account's answers, each counted with what it costs to keep
_COST = 300


@dataclass(slots=True)
class Answers:
    """Of one account."""

    _kept: OrderedDict[tuple[CollectionId, Href], tuple[ETag, Hashable, str]] = field(default_factory=OrderedDict)
    _size: int = 0

    def find(self, collection: CollectionId, item: Item, question: Hashable) -> str | None:
        """The <D:response>, empty where the object was not found; None when it is not known."""
        kept = self._kept.get((collection, item.href))
        if kept is None or kept[0] != item.etag or kept[1] != question:
            return None
        self._kept.move_to_end((collection, item.href))
        return kept[2]

    def keep(self, collection: CollectionId, item: Item, question: Hashable, text: str) -> None:
        """Remember; what was not asked for longest gives way."""
        place = (collection, item.href)
        before = self._kept.pop(place, None)
        if before is not None:
            self._size -= len(before[2]) + _COST
        if len(text) > _MOST // 16:
            return
        self._kept[place] = (item.etag, question, text)
        self._size += len(text) + _COST
        while self._size > _MOST:
            _, (_, _, oldest) = self._kept.popitem(last=False)
            self._size -= len(oldest) + _COST


class AllAnswers:
    """Of a process."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._of: WeakKeyDictionary[Account, Answers] = WeakKeyDictionary()

    def of(self, account: Account) -> Answers:
        """Those of one account."""
        return self._of.setdefault(account, Answers())
