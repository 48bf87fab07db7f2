"""What is remembered of searches (storage/search_memo.py), alone and through the search index."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.text import IndexedText
from preau.storage.api import TextField, TextKey
from preau.storage.database import open_database
from preau.storage.search import SCHEMA, SearchIndex
from preau.storage.search_memo import Criterion, SearchMemo

CERT = Criterion(1, 7, TextField.BODY, "", "cert")


def memo_of(ids: list[int], hits: list[int], criterion: Criterion = CERT) -> SearchMemo:
    memo = SearchMemo()
    memo.keep(criterion, ids, hits)
    return memo


def test_asked_again_nothing_is_looked_at() -> None:
    assert memo_of([1, 2, 3], [2]).recall(CERT, [1, 2, 3]) == ({2}, ())


def test_only_what_came_since_is_looked_at() -> None:
    assert memo_of([1, 2, 3], [2]).recall(CERT, [2, 3, 4, 9]) == ({2}, [4, 9])


def test_a_longer_needle_is_looked_for_where_the_shorter_one_was() -> None:
    memo = memo_of([1, 2, 3, 4], [2, 4])
    memo.keep(CERT._replace(needle="e"), [1, 2, 3, 4], [1, 2, 4])
    assert memo.recall(CERT._replace(needle="certificat"), [1, 2, 3, 5]) == (set(), [2, 5])


def test_a_shorter_needle_is_looked_for_everywhere() -> None:
    assert memo_of([1, 2, 3], [2]).recall(CERT._replace(needle="cer"), [1, 2, 3]) == (set(), [1, 2, 3])


def test_other_fields_mailboxes_and_lives_know_nothing() -> None:
    memo = memo_of([1, 2], [2])
    for other in (
        CERT._replace(mailbox=2),
        CERT._replace(life=8),
        CERT._replace(field=TextField.TEXT),
        CERT._replace(field=TextField.HEADER, header="subject"),
    ):
        assert memo.recall(other, [1, 2]) == (set(), [1, 2])


def test_what_was_asked_of_some_is_kept_beside_what_is_asked_of_others() -> None:
    memo = memo_of([1, 2], [2])
    memo.keep(CERT, [5, 6], [5])
    assert memo.recall(CERT, [1, 2, 3, 5, 6]) == ({2, 5}, [3])


def test_who_was_not_asked_for_longest_makes_room() -> None:
    memo = SearchMemo(2_000)
    first, second, third = (CERT._replace(needle=needle) for needle in ("un", "deux", "trois"))
    for criterion in (first, second):
        memo.keep(criterion, range(50), [])
    memo.recall(first, range(50))
    memo.keep(third, range(50), [])
    assert memo.recall(second, [1]) == (set(), [1])
    assert memo.recall(first, [1]) == memo.recall(third, [1]) == (set(), [])


def test_what_is_too_much_by_itself_is_not_kept() -> None:
    memo = SearchMemo(2_000)
    memo.keep(CERT, range(1_000), [1])
    assert memo.recall(CERT, [1]) == (set(), [1])


_WORDS = st.text("ab ", max_size=6)


@settings(max_examples=60)  # each opens a database
@given(
    texts=st.lists(st.tuples(_WORDS, _WORDS), min_size=1, max_size=8),
    asked=st.lists(
        st.tuples(st.sampled_from([TextField.BODY, TextField.TEXT, TextField.HEADER]), _WORDS, st.integers(0, 255)),
        min_size=1,
        max_size=12,
    ),
)
def test_a_search_that_remembers_answers_as_one_that_does_not(
    texts: list[tuple[str, str]], asked: list[tuple[TextField, str, int]]
) -> None:

    with tempfile.TemporaryDirectory() as folder:
        connection = open_database(Path(folder) / "fts.db", None, SCHEMA, synchronous="NORMAL")
        index = SearchIndex(connection)
        for number, (subject, body) in enumerate(texts):
            index.add(1 << 32 | number, IndexedText(f"subject: {subject}", "", body, True))
        index.index_pending(4)
        for field, needle, which in asked:
            key = TextKey(field, needle, "Subject" if field is TextField.HEADER else "")
            ids = [1 << 32 | number for number in range(len(texts)) if which >> number & 1]
            fresh = index.search(ids, key, lambda _: None)
            assert index.search(ids, key, lambda _: None, uidvalidity=7) == fresh
        connection.close()


def test_an_incomplete_text_is_read_again_each_time() -> None:

    reads: list[int] = []

    def read(number: int) -> bytes:
        reads.append(number)
        return b"Subject: a\r\n\r\nthe needle\r\n"

    with tempfile.TemporaryDirectory() as folder:
        connection = open_database(Path(folder) / "fts.db", None, SCHEMA, synchronous="NORMAL")
        index = SearchIndex(connection)
        index.add(1 << 32 | 1, IndexedText("subject: a", "", "the", False))
        for _ in range(2):
            assert index.search([1 << 32 | 1], TextKey(TextField.BODY, "needle"), read, uidvalidity=7) == {1 << 32 | 1}
        assert len(reads) == 2
        connection.close()
