"""Searches over columns: against a naive reading of the RFC, and what is asked of the store."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imap_reading import read_command
from preau.imap import values
from preau.imap.search import BadCharset, Columns, UndecodableText, asks_modseq, needs_thread, search
from preau.imap.sequence import parse_sequence_set
from preau.imap.values import All, And, HasFlag, Larger, Not, Numbers, Or, Search, SearchKey, Smaller, Text, Uids
from preau.storage.api import FIRST_KEYWORD_BIT, Facts, TextField, TextKey, Uid

DAY = 86_400
NOW = 100 * DAY
UIDS = [3, 5, 8, 13, 21]
FLAGS = [1, 0, 1 | 32, 16, 64]  # \Seen; none; \Seen $Junk; \Draft; work
TEXTS = ["Bonjour", "conseil de classe", "bulletin", "Conseil", "été"]


class Shelf:
    """A mailbox of five messages; tells what it was asked for."""

    def __init__(self, gone: frozenset[int] = frozenset()) -> None:
        self.gone = gone
        self.asked: list[tuple[str, list[int]]] = []

    def facts(self, uids: Sequence[Uid]) -> list[Facts]:
        self.asked.append(("facts", list(uids)))
        return [
            Facts(uid, 100 * (i := UIDS.index(uid)), (90 + i) * DAY + 7, (95 + i) * DAY, f"M{uid}", f"T{uid % 2}")
            for uid in uids
            if uid not in self.gone
        ]

    def search_text(self, key: TextKey, uids: Sequence[Uid]) -> set[Uid]:
        self.asked.append((f"{key.field.value}:{key.header}:{key.needle}", list(uids)))
        return {uid for uid in uids if key.needle.casefold() in TEXTS[UIDS.index(uid)].casefold()}

    def sent_dates(self, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        self.asked.append(("sent", list(uids)))
        return {uid: 80 + UIDS.index(uid) for uid in uids if uid not in self.gone}


COLUMNS = Columns(5, UIDS, FLAGS, [10, 20, 30, 40, 50], ["$Junk", "work"], saved=[5, 21, 99])


def key_of(text: str) -> SearchKey:
    arguments = read_command(b"SEARCH " + text.encode())
    assert isinstance(arguments, Search), arguments
    return arguments.key


def found(text: str, shelf: Shelf | None = None) -> list[int]:
    """UIDs found, the same in arrays, as mailboxes have them, as in lists."""
    places = list(search(key_of(text), COLUMNS, shelf or Shelf(), now=NOW))
    arrays = replace(COLUMNS, uids=array("I", UIDS), flags=array("Q", FLAGS))
    assert list(search(key_of(text), arrays, Shelf(frozenset() if shelf is None else shelf.gone), now=NOW)) == places
    return [UIDS[i] for i in places]


@pytest.mark.parametrize(
    ("text", "uids"),
    [
        ("ALL", UIDS),
        ("RECENT", []),
        ("NEW", []),
        ("OLD", UIDS),
        ("SEEN", [3, 8]),
        ("UNSEEN", [5, 13, 21]),
        ("DRAFT", [13]),
        ("KEYWORD $junk", [8]),
        ("UNKEYWORD $Junk", [3, 5, 13, 21]),
        ("KEYWORD never", []),
        ("UNKEYWORD never", UIDS),
        ("KEYWORD work", [21]),
        ("2:3", [5, 8]),
        ("*", [21]),
        ("7", []),
        ("1,3:4", [3, 8, 13]),
        ("UID 5:13", [5, 8, 13]),
        ("UID 500:*", [21]),
        ("UID 4,6", []),
        ("$", [5, 21]),
        ("UID $ SEEN", []),
        ("MODSEQ 30", [8, 13, 21]),
        ("LARGER 200", [13, 21]),
        ("SMALLER 200", [3, 5]),
        ("BEFORE 2-Apr-1970", [3]),  # 1 April 1970 is day 90
        ("ON 2-Apr-1970", [5]),
        ("SINCE 3-Apr-1970", [8, 13, 21]),
        ("SENTBEFORE 24-Mar-1970", [3, 5]),  # 22 March 1970 is day 80
        ("SENTON 24-Mar-1970", [8]),
        ("SENTSINCE 25-Mar-1970", [13, 21]),
        ("SAVEDON 6-Apr-1970", [3]),  # day 95
        ("SAVEDBEFORE 8-Apr-1970", [3, 5]),
        ("SAVEDSINCE 9-Apr-1970", [13, 21]),
        (f"YOUNGER {7 * DAY}", [13, 21]),
        (f"OLDER {8 * DAY}", [3, 5]),
        ("EMAILID M8", [8]),
        ("THREADID T0", [8]),
        ("BODY conseil", [5, 13]),
        ('BODY ""', UIDS),
        ("NOT BODY conseil", [3, 8, 21]),
        ("OR BODY conseil SEEN", [3, 5, 8, 13]),
        ("OR SEEN SEEN", [3, 8]),
        ("NOT (SEEN KEYWORD $Junk)", [3, 5, 13, 21]),
        ("NOT NOT SEEN", [3, 8]),
        ("UNSEEN BODY conseil NOT DRAFT", [5]),
        ("OR (1:2 SEEN) OR 5 4", [3, 13, 21]),
    ],
)
def test_search(text: str, uids: list[int]) -> None:
    assert found(text) == uids


def test_text_is_asked_for_on_what_is_left() -> None:
    shelf = Shelf()
    assert found("BODY conseil LARGER 100 UNSEEN", shelf) == [13]
    assert shelf.asked == [("facts", [5, 13, 21]), ("body::conseil", [13, 21])]


def test_or_asks_its_dear_side_for_what_the_other_refused() -> None:
    shelf = Shelf()
    assert found("OR SUBJECT conseil SEEN", shelf) == [3, 5, 8, 13]
    assert shelf.asked == [("header:subject:conseil", [5, 13, 21])]


def test_facts_are_read_once() -> None:
    shelf = Shelf()
    found("LARGER 100 SMALLER 400 SINCE 1-Apr-1970", shelf)
    assert shelf.asked == [("facts", UIDS)]


def test_nothing_left_asks_nothing() -> None:
    shelf = Shelf()
    assert found("KEYWORD never BODY x LARGER 5", shelf) == []
    assert shelf.asked == []


def test_messages_expunged_meanwhile_match_no_fact() -> None:
    shelf = Shelf(gone=frozenset({13}))
    assert found("LARGER 0", shelf) == [5, 8, 21]
    assert found("SENTSINCE 1-Jan-1970", Shelf(gone=frozenset({13}))) == [3, 5, 8, 21]


def test_empty_mailbox() -> None:
    empty = Columns(0, [], [], [])
    assert list(search(key_of("1:* BODY x"), empty, Shelf(), now=NOW)) == []


def test_only_the_sessions_messages_are_searched() -> None:
    columns = Columns(2, UIDS, FLAGS, [1] * 5)
    assert list(search(key_of("ALL"), columns, Shelf(), now=NOW)) == [0, 1]
    assert list(search(key_of("UID 1:*"), columns, Shelf(), now=NOW)) == [0, 1]
    assert list(search(key_of("UID *"), columns, Shelf(), now=NOW)) == [1]


@pytest.mark.parametrize(
    ("charset", "needle"),
    [("UTF-8", "été".encode()), ("US-ASCII", "été".encode()), ("ISO-8859-1", b"\xe9t\xe9"), ("UTF8", "été".encode())],
)
def test_charsets(charset: str, needle: bytes) -> None:
    assert list(search(Text(TextField.BODY, needle), COLUMNS, Shelf(), now=NOW, charset=charset)) == [4]


def test_charset_that_is_not_there() -> None:
    shelf = Shelf()
    with pytest.raises(BadCharset):
        search(And((Larger(0), Text(TextField.BODY, b"x"))), COLUMNS, shelf, now=NOW, charset="KOI8-R")
    assert shelf.asked == []


def test_text_that_is_not_in_its_charset() -> None:
    with pytest.raises(UndecodableText):
        search(Or(All(), Not(Text(TextField.BODY, b"\xff"))), COLUMNS, Shelf(), now=NOW, charset="UTF-8")


@pytest.mark.parametrize(
    ("text", "thread"),
    [("ALL", False), ("LARGER 1 SINCE 1-Jan-2026", False), ("OR SEEN NOT (BODY x)", True), ("SENTON 1-Jan-2026", True)],
)
def test_needs_thread(text: str, thread: bool) -> None:
    assert needs_thread(key_of(text)) is thread


def test_asks_modseq() -> None:
    assert asks_modseq(key_of("OR SEEN NOT MODSEQ 3"))
    assert not asks_modseq(key_of("SEEN"))


# -- against a naive reading

LEAVES = st.sampled_from(
    [
        All(),
        HasFlag("\\Seen"),
        HasFlag("work"),
        Larger(150),
        Smaller(350),
        Numbers(parse_sequence_set(b"2:4")),
        Numbers(parse_sequence_set(b"1,5")),
        Uids(parse_sequence_set(b"8:*")),
        Text(TextField.BODY, b"conseil"),
        Text(TextField.BODY, b"e"),
    ]
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(Not),
        st.tuples(inner, inner).map(lambda pair: Or(*pair)),
        st.lists(inner, min_size=2, max_size=3).map(lambda keys: And(tuple(keys))),
    ),
    max_leaves=8,
)


def matches(key: SearchKey, i: int) -> bool:
    match key:
        case values.Not(key=inner):
            return not matches(inner, i)
        case values.Or(left=left, right=right):
            return matches(left, i) or matches(right, i)
        case values.And(keys=keys):
            return all(matches(inner, i) for inner in keys)
        case _:
            return i in search(key, COLUMNS, Shelf(), now=NOW)


@given(TREES)
def test_trees_agree_with_a_naive_reading(key: SearchKey) -> None:
    assert list(search(key, COLUMNS, Shelf(), now=NOW)) == [i for i in range(5) if matches(key, i)]


@pytest.mark.parametrize("bit", [0, 4, 5, 7, 8, 31, 32, 62])
def test_each_bit_of_the_masks_is_a_flag(bit: int) -> None:
    keywords = [f"k{number}" for number in range(FIRST_KEYWORD_BIT, 63)]
    name = keywords[bit - FIRST_KEYWORD_BIT] if bit >= FIRST_KEYWORD_BIT else {0: "\\Seen", 4: "\\Draft"}[bit]
    flags = array("Q", [1 << bit, (1 << 63) - 1 & ~(1 << bit), 0, (1 << 63) - 1])
    columns = Columns(4, array("I", [1, 2, 3, 4]), flags, [1] * 4, keywords)
    assert list(search(HasFlag(name), columns, Shelf(), now=NOW)) == [0, 3]
    assert list(search(Not(HasFlag(name)), columns, Shelf(), now=NOW)) == [1, 2]
