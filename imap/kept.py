"""What SORT and THREAD found out about the messages of a mailbox, kept beside it for all sessions that have it selected.

Theory of operation. A message never changes, so what it is sorted and threaded by is read once: a `Table` has columns of
values, parallel to UIDs. One that lacks mail that came, or a column, is extended by just these; messages that went are left
out. A table is never changed: a thread makes the next one from it while the loop goes on, and the loop takes it in. What was
made of a whole table is kept with it: orders as indices (mail that came is sorted into them), threads as text.

`Shelf` bounds what a process keeps, by estimate: who has not asked for longest loses all of it, and so does a mailbox that no
session has selected any more. A message that could not be read now is not kept as if it were empty: the table is used once.

Owns the tables and how long they live. What values mean is imap/sort.py's. On the loop's thread only, but for extend().
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_OCTETS = 64 * 1024 * 1024
"""What a process keeps, about."""

_ORDERS_MOST = 8
_ENTRY = 8  # octets: a place in a column
_OBJECT = 50  # octets: a string or tuple beside its contents

Column = Sequence[Any]
Read = Callable[[Sequence[int], frozenset[Any]], tuple[Mapping[Any, Column], bool]]
"""(UIDs, keys) -> columns parallel to the UIDs, and whether all of them could be read."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by key, parallel to ascending UIDs."""

    uidvalidity: int = 0
    uids: "array[int]" = field(default_factory=lambda: array("I"))
    columns: Mapping[Any, Column] = field(default_factory=dict)

    def places(self, uids: Sequence[int]) -> Sequence[int] | None:
        """Where these ascending UIDs stand, None when one is not here: a range from 0 when it is all of them."""
        here = self.uids
        size = len(here)
        if len(uids) == size and (uids if isinstance(uids, array) else array("I", uids)) == here:
            return range(size)
        places = []
        place = 0
        for uid in uids:
            place = bisect_left(here, uid, place)
            if place == size or here[place] != uid:
                return None
            places.append(place)
        return places


NOTHING = Table()


def extend(table: Table, uidvalidity: int, uids: "array[int]", keys: frozenset[Any], read: Read) -> tuple[Table, bool]:
    """A table of these messages with these keys and those it had, only what is new being read; whether all could be."""
    table = _without_gone(table, uids) if table.uidvalidity == uidvalidity else NOTHING
    if uids[: len(table.uids)] != table.uids:
        table = NOTHING  # a repair brought some in between
    columns = table.columns
    fresh = uids[len(table.uids) :]
    complete = True
    if fresh and columns:
        more, complete = read(fresh, frozenset(columns))
        columns = {key: [*column, *more[key]] for key, column in columns.items()}
    if lacking := keys.difference(columns):
        more, whole = read(uids, lacking)
        columns, complete = {**columns, **more}, complete and whole
    return Table(uidvalidity, uids, columns), complete


def _without_gone(table: Table, uids: "array[int]") -> Table:
    if uids[: len(table.uids)] == table.uids:
        return table
    here = set(uids)
    places = [place for place, uid in enumerate(table.uids) if uid in here]
    columns = {key: [column[place] for place in places] for key, column in table.columns.items()}
    return Table(table.uidvalidity, array("I", [table.uids[place] for place in places]), columns)


class Kept:
    """What is kept of one mailbox."""

    __slots__ = ("_orders", "_shelf", "_texts", "table")

    def __init__(self, shelf: "Shelf") -> None:
        """Nothing yet."""
        self._shelf = shelf
        self.table = NOTHING
        self._orders: dict[Hashable, array[int]] = {}
        self._texts: dict[Hashable, list[bytes]] = {}

    def take(self, table: Table) -> None:
        """Keep this table from now on."""
        before, self.table = self.table, table
        if table.uids != before.uids:
            self._texts.clear()
            if table.uids[: len(before.uids)] != before.uids or table.uidvalidity != before.uidvalidity:
                self._orders.clear()
        self._shelf.put(self, _octets_of(table))

    def forget(self) -> None:
        """Keep nothing."""
        self.table = NOTHING
        self._orders.clear()
        self._texts.clear()

    def order(self, criteria: Hashable) -> "array[int]":
        """Indices into the table as they were last put in order: all of them, or the first ones, or none."""
        self._shelf.used(self)
        return self._orders.get(criteria) or array("I")

    def keep_order(self, table: Table, criteria: Hashable, order: "array[int]") -> None:
        """Remember the order of all of `table`, unless it is another one by now."""
        if table is self.table:
            self._orders.pop(criteria, None)
            self._orders[criteria] = order
            if len(self._orders) > _ORDERS_MOST:
                del self._orders[next(iter(self._orders))]

    def text(self, name: Hashable) -> list[bytes] | None:
        """What was kept by keep_text() of the table as it is."""
        self._shelf.used(self)
        return self._texts.get(name)

    def keep_text(self, table: Table, name: Hashable, text: list[bytes]) -> None:
        """Remember what was made of all of `table`, unless it is another one by now."""
        if table is self.table:
            self._texts[name] = text


class Shelf:
    """All that a process keeps, and how much that may be."""

    def __init__(self, most: int = MOST_OCTETS) -> None:
        """Keep about `most` octets."""
        self._most = most
        self._octets: dict[Kept, int] = {}  # who asked last stands last
        self._all = 0

    def put(self, kept: Kept, octets: int) -> None:
        """A mailbox keeps so much now. Others make room; what is too much by itself goes at once."""
        self.drop(kept)
        self._octets[kept] = octets
        self._all += octets
        while self._all > self._most:
            oldest = next(iter(self._octets))
            self.drop(oldest)
            oldest.forget()

    def __len__(self) -> int:
        """How many mailboxes keep something."""
        return len(self._octets)

    def used(self, kept: Kept) -> None:
        """Somebody asked."""
        octets = self._octets.pop(kept, None)
        if octets is not None:
            self._octets[kept] = octets

    def drop(self, kept: Kept) -> None:
        """A mailbox counts no more."""
        self._all -= self._octets.pop(kept, 0)


def _octets_of(table: Table) -> int:
    return sum(map(_octets_of_column, table.columns.values())) + (_ENTRY + _ORDERS_MOST * 4) * len(table.uids)


def _octets_of_column(column: Column) -> int:
    first = next(iter(column), 0)
    if isinstance(first, str | bytes):
        return sum(map(len, column)) + (_ENTRY + _OBJECT) * len(column)
    if isinstance(first, tuple):
        return sum(_OBJECT + sum(map(len, value)) + (_ENTRY + _OBJECT) * len(value) for value in column) + _ENTRY * len(column)
    return (_ENTRY + _OBJECT // 2) * len(column)
