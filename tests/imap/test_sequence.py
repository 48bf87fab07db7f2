"""Sequence sets: what is read, what is refused, and that resolving agrees with counting."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.imap.sequence import SAVED, STAR, InvalidSequenceSet, SequenceSet, flatten, parse_sequence_set


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        pytest.param(b"1", ((1, 1),), id="one"),
        pytest.param(b"*", ((STAR, STAR),), id="star"),
        pytest.param(b"1:*", ((1, STAR),), id="to star"),
        pytest.param(b"*:4", ((STAR, 4),), id="from star"),
        pytest.param(b"4:2,9", ((4, 2), (9, 9)), id="reversed, then one"),
        pytest.param(b"4294967295", ((4294967295, 4294967295),), id="greatest"),
    ],
)
def test_parse(text: bytes, ranges: tuple[tuple[int, int], ...]) -> None:
    assert parse_sequence_set(text) == SequenceSet(ranges)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"01",
        b"1,",
        b",1",
        b"1::2",
        b"1:",
        b":1",
        b"a",
        b"1:2:3",
        b"4294967296",
        b"9" * 5000,
        b"-1",
        b"1 2",
        b"$,1",
        b"\xb2",
    ],
)
def test_what_is_no_sequence_set(text: bytes) -> None:
    with pytest.raises(InvalidSequenceSet):
        parse_sequence_set(text)


def test_ranges_are_counted_before_they_are_read() -> None:
    parse_sequence_set(b",".join([b"1"] * 5), most=5)
    with pytest.raises(InvalidSequenceSet, match="too many"):
        parse_sequence_set(b",".join([b"x"] * 6), most=5)


def test_dollar_is_the_saved_result() -> None:
    assert parse_sequence_set(b"$") is SAVED


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        pytest.param(b"1:*", 0, [], id="empty mailbox"),
        pytest.param(b"1:4294967295", 3, [0, 1, 2], id="huge"),
        pytest.param(b"3:1", 3, [0, 1, 2], id="reversed"),
        pytest.param(b"*", 3, [2], id="last"),
        pytest.param(b"9:*", 3, [2], id="above, to star: the last (RFC 9051, seq-range)"),
        pytest.param(b"2,1:2,3", 3, [0, 1, 2], id="overlapping"),
        pytest.param(b"7", 3, [], id="not there"),
    ],
)
def test_message_numbers(text: bytes, count: int, expected: list[int]) -> None:
    assert list(flatten(parse_sequence_set(text).indices(count))) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"1:*", [0, 1, 2], id="all"),
        pytest.param(b"559:*", [2], id="above, to star: still the last"),
        pytest.param(b"4:6", [], id="between"),
        pytest.param(b"7,3", [0, 1], id="out of order"),
        pytest.param(b"*:7", [1, 2], id="from star"),
    ],
)
def test_uids(text: bytes, expected: list[int]) -> None:
    assert list(flatten(parse_sequence_set(text).indices_by_uid(array("I", [3, 7, 9])))) == expected


def test_only_the_first_messages_of_a_column_are_looked_at() -> None:
    assert list(flatten(parse_sequence_set(b"1:*").indices_by_uid([3, 7, 9], 2))) == [0, 1]
    assert list(flatten(parse_sequence_set(b"*").indices_by_uid([3, 7, 9], 2))) == [1]
    assert parse_sequence_set(b"1:*").indices_by_uid([], 0) == []


@pytest.mark.parametrize(
    ("text", "exceeds"),
    [(b"3", False), (b"4", True), (b"1:4", True), (b"4:1", True), (b"4:*", False), (b"1:*", False)],
)
def test_exceeds(text: bytes, exceeds: bool) -> None:
    assert parse_sequence_set(text).exceeds(3) is exceeds


def test_every_set_with_a_star_is_allowed_on_an_empty_mailbox() -> None:
    assert not parse_sequence_set(b"1:*").exceeds(0)
    assert parse_sequence_set(b"1").exceeds(0)


def test_contains() -> None:
    numbers = parse_sequence_set(b"9:7,2")
    assert [n for n in range(12) if n in numbers] == [2, 7, 8, 9]


NUMBER = st.one_of(st.just("*"), st.integers(1, 30).map(str))
SETS = st.lists(st.one_of(NUMBER, st.tuples(NUMBER, NUMBER).map(":".join)), min_size=1, max_size=6).map(",".join)


def naive(text: str, highest: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(",") if highest else []:
        ends = [highest if end == "*" else int(end) for end in part.split(":")]
        found |= set(range(min(ends), max(ends) + 1))
    return found


@given(SETS, st.lists(st.integers(1, 40), unique=True, max_size=20).map(sorted))
def test_resolving_agrees_with_counting(text: str, uids: list[int]) -> None:
    numbers = parse_sequence_set(text.encode())
    wanted = naive(text, uids[-1] if uids else 0)
    assert list(flatten(numbers.indices_by_uid(uids))) == [i for i, uid in enumerate(uids) if uid in wanted]
    wanted = naive(text, len(uids))
    assert list(flatten(numbers.indices(len(uids)))) == [n - 1 for n in range(1, len(uids) + 1) if n in wanted]


@given(st.binary(max_size=20))
def test_only_invalid_sequence_set_comes_out(data: bytes) -> None:
    try:
        parse_sequence_set(data)
    except InvalidSequenceSet:
        pass
