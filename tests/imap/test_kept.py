"""What SORT and THREAD keep beside a mailbox."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from preau.imap.kept import NOTHING, Kept, Shelf, Table, extend


class Reader:
    """Reads `key` of a UID as (key, UID); notes what it was asked."""

    def __init__(self, damaged: int = 0) -> None:
        self.asked: list[tuple[list[int], set[str]]] = []
        self.damaged = damaged

    def __call__(self, uids: Sequence[int], keys: frozenset[Any]) -> tuple[Mapping[Any, Sequence[Any]], bool]:
        self.asked.append((list(uids), set(keys)))
        return {key: [f"{key}{uid}" for uid in uids] for key in keys}, self.damaged not in uids


def uids(*numbers: int) -> "array[int]":
    return array("I", numbers)


def grown(before: Table, *numbers: int, key: str = "a", uidvalidity: int = 9) -> tuple[Table, list[tuple[list[int], set[str]]]]:
    reader = Reader()
    table, complete = extend(before, uidvalidity, uids(*numbers), frozenset({key}), reader)
    assert complete
    assert table.uids == uids(*numbers)
    assert all(column == [f"{name}{uid}" for uid in numbers] for name, column in table.columns.items())
    return table, reader.asked


def test_only_what_is_new_is_read() -> None:
    table, asked = grown(NOTHING, 1, 3)
    assert asked == [([1, 3], {"a"})]
    table, asked = grown(table, 1, 3, key="b")
    assert asked == [([1, 3], {"b"})]
    table, asked = grown(table, 1, 3, 7)
    assert asked == [([7], {"a", "b"})]
    table, asked = grown(table, 3, 7)
    assert asked == []
    table, asked = grown(table, 7, 8, key="c")
    assert asked == [([8], {"a", "b"}), ([7, 8], {"c"})]


@pytest.mark.parametrize(
    ("numbers", "uidvalidity"),
    [pytest.param([1, 2, 3], 9, id="some in between"), pytest.param([1, 3], 10, id="another mailbox")],
)
def test_what_cannot_be_extended_is_begun_anew(numbers: list[int], uidvalidity: int) -> None:
    table, _ = grown(NOTHING, 1, 3)
    table, asked = grown(table, *numbers, uidvalidity=uidvalidity)
    assert asked == [(numbers, {"a"})]


def test_a_message_that_cannot_be_read_is_told() -> None:
    assert not extend(NOTHING, 9, uids(1, 2), frozenset("a"), Reader(damaged=2))[1]
    table, _ = grown(NOTHING, 1)
    assert not extend(table, 9, uids(1, 2), frozenset("a"), Reader(damaged=2))[1]


def test_places() -> None:
    table, _ = grown(NOTHING, 2, 4, 6)
    assert table.places([2, 4, 6]) == range(3)
    assert table.places([2, 6]) == [0, 2]
    assert table.places([]) == []
    assert table.places([2, 3]) is None
    assert table.places([8]) is None


def test_orders_outlive_mail_that_comes_and_no_more() -> None:
    kept = Kept(Shelf())
    table, _ = grown(NOTHING, 1, 3)
    kept.take(table)
    kept.keep_order(table, "by a", uids(1, 0))
    kept.keep_text(table, "threads", [b"(1)(3)"])
    assert kept.order("by a") == uids(1, 0)
    assert kept.text("threads") == [b"(1)(3)"]
    more, _ = grown(table, 1, 3, 5)
    kept.take(more)
    kept.keep_text(table, "threads", [b"too late"])
    assert kept.order("by a") == uids(1, 0)
    assert kept.text("threads") is None
    less, _ = grown(more, 3, 5)
    kept.take(less)
    assert len(kept.order("by a")) == 0


def test_a_process_keeps_so_much() -> None:
    table, _ = grown(NOTHING, *range(1, 101))
    shelf = Shelf(most=30_000)
    first, second, third = Kept(shelf), Kept(shelf), Kept(shelf)
    first.take(table)
    second.take(table)
    first.order("asked again")
    third.take(table)
    assert [kept.table is table for kept in (first, second, third)] == [True, False, True]
    shelf.drop(first)  # nobody has it selected
    second.take(table)
    assert [kept.table is table for kept in (second, third)] == [True, True]
    small = Kept(Shelf(most=1_000))
    small.take(table)
    assert small.table is NOTHING
