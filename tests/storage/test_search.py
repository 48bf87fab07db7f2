import random
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages import MESSAGES, crlf, generated, sentence
from preau.formats.text import EVERYTHING, TextLimits, extract_message
from preau.storage.api import TextField, TextKey, Unavailable
from preau.storage.database import open_database
from preau.storage.search import SCHEMA, SearchIndex, holds

BASE = 7 << 32
BODY, TEXT, HEADER = TextField.BODY, TextField.TEXT, TextField.HEADER


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = open_database(tmp_path / "fts.db", b"k" * 32, SCHEMA, synchronous="NORMAL")
    yield connection
    connection.close()


@pytest.fixture
def index(connection: apsw.Connection) -> SearchIndex:
    return SearchIndex(connection)


def refuse(id: int) -> bytes:
    raise AssertionError(f"message {id & 0xFFFFFFFF} was read")


def message(subject: str = "", body: str = "", **fields: str) -> bytes:
    lines = [f"Subject: {subject}", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return crlf("\n".join(lines) + f"\n\n{body}\n")


ONE, TWO, THREE = BASE + 1, BASE + 2, BASE + 3
SMALL = {
    ONE: message("Échéancier", "Le certificat de scolarité", From="Marie <marie@a.example>", Received="from mx.one"),
    TWO: message("Réunion", "Un <certificate> renouvelé", From="paul@b.example", X_Flag="YES certificat", To="marie@a.example"),
    THREE: message("=?utf-8?q?=C3=A9t=C3=A9?=", "L’été à la plage", To="x@y", Cc="z@y", List_Id="liste"),
}


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (TextKey(BODY, "CERTIFICAT"), {1, 2}),
        (TextKey(BODY, "certificat de"), {1}),
        (TextKey(BODY, "<certificate>"), {2}),
        (TextKey(BODY, "tific"), {1, 2}),
        (TextKey(BODY, "l'ete"), {3}),
        (TextKey(BODY, "ge"), {3}),
        (TextKey(BODY, "é"), {1, 2, 3}),
        (TextKey(BODY, "echeancier"), set()),
        (TextKey(BODY, ""), {1, 2, 3}),
        (TextKey(TEXT, "echeancier"), {1}),
        (TextKey(TEXT, "yes"), {2}),
        (TextKey(TEXT, "mx"), {1}),
        (TextKey(TEXT, "mx.one"), {1}),
        (TextKey(TEXT, "subject: ete"), {3}),
        (TextKey(TEXT, ""), {1, 2, 3}),
        (TextKey(TEXT, '"; DROP TABLE text; --'), set()),
        (TextKey(TEXT, '"""'), set()),
        (TextKey(TEXT, "a" * 5000), set()),
        (TextKey(HEADER, "ete", "SUBJECT"), {3}),
        (TextKey(HEADER, "marie", "from"), {1}),
        (TextKey(HEADER, "marie", "to"), {2}),
        (TextKey(HEADER, "", "to"), {2, 3}),
        (TextKey(HEADER, "", "cc"), {3}),
        (TextKey(HEADER, "z", "cc"), {3}),
        (TextKey(HEADER, "", "bcc"), set()),
        (TextKey(HEADER, "", "x-flag"), {2}),
        (TextKey(HEADER, "y", "X-Flag"), {2}),
        (TextKey(HEADER, "yes", "X-Fla"), set()),
        (TextKey(HEADER, "mx.one", "received"), {1}),
        (TextKey(HEADER, "from", "received"), {1}),
        (TextKey(HEADER, "liste", "list-id"), {3}),
        (TextKey(HEADER, "", "list-id"), {3}),
        (TextKey(HEADER, "li", "list-id"), {3}),
        (TextKey(HEADER, "list-id", "list-id"), set()),
        (TextKey(HEADER, "", "nothing"), set()),
    ],
    ids=lambda value: f"{value.field} {value.header} {value.needle[:20]}" if isinstance(value, TextKey) else "",
)
def test_search(index: SearchIndex, indexed: bool, key: TextKey, expected: set[int]) -> None:
    for id, data in SMALL.items():
        index.add(id, extract_message(data))
    if indexed:
        assert index.index_pending() == 3
    assert index.pending() == (0 if indexed else 3)
    assert index.search(list(SMALL), key, refuse) == {BASE + uid for uid in expected}
    assert {id for id, data in SMALL.items() if holds(extract_message(data), key)} == {BASE + uid for uid in expected}


def test_only_the_ids_asked_for(index: SearchIndex) -> None:
    for id in (*SMALL, BASE + (1 << 32) + 1, BASE + 9):
        index.add(id, extract_message(SMALL[ONE]))
    index.index_pending()
    for key in (TextKey(BODY, "certificat"), TextKey(BODY, "ce"), TextKey(HEADER, "marie", "from"), TextKey(TEXT, "mx.one")):
        assert index.search([ONE, THREE], key, refuse) == {ONE, THREE}
        assert index.search([], key, refuse) == set()
        wide = [*range(BASE + 1, BASE + 9)]
        assert index.search(wide * 40, key, lambda id: None) == {ONE, TWO, THREE}


def test_a_message_without_text_is_read(index: SearchIndex) -> None:
    index.add(ONE, extract_message(SMALL[ONE]))
    read: list[int] = []

    def reader(id: int) -> bytes | None:
        read.append(id)
        return SMALL.get(id)

    assert index.search([ONE, TWO, THREE, BASE + 4], TextKey(BODY, "certificat"), reader) == {ONE, TWO}
    assert read == [TWO, THREE, BASE + 4]
    assert index.missing([ONE, TWO, THREE]) == [TWO, THREE]


def test_a_deleted_file_changes_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "fts.db"
    keys = [TextKey(BODY, "certificat"), TextKey(HEADER, "marie", "from"), TextKey(TEXT, "x-flag"), TextKey(HEADER, "", "cc")]
    answers = []
    for keep in (True, False):
        connection = open_database(path, b"k" * 32, SCHEMA, synchronous="NORMAL")
        index = SearchIndex(connection)
        if keep:
            for id, data in SMALL.items():
                index.add(id, extract_message(data))
        answers.append([index.search(list(SMALL), key, SMALL.get) for key in keys])
        connection.close()
        for file in tmp_path.iterdir():
            file.unlink()
    assert answers[0] == answers[1] == [{ONE, TWO}, {ONE}, {TWO}, {THREE}]


def test_what_was_cut_is_looked_for_in_the_message(index: SearchIndex) -> None:
    data = message("s", "debut " * 100 + "aiguille " + "fin " * 100)
    index.add(ONE, extract_message(data, TextLimits(part=50)))
    index.index_pending()
    read: list[int] = []

    def reader(id: int) -> bytes:
        read.append(id)
        return data

    assert index.search([ONE], TextKey(BODY, "debut"), reader) == {ONE}
    assert read == []
    assert index.search([ONE], TextKey(BODY, "aiguille"), reader) == {ONE}
    assert index.search([ONE], TextKey(BODY, "paille"), reader) == set()
    assert read == [ONE, ONE]


def test_a_replaced_text_is_forgotten(index: SearchIndex) -> None:
    index.add(ONE, extract_message(SMALL[ONE]))
    index.index_pending()
    index.add(ONE, extract_message(SMALL[THREE]))
    for _ in range(2):
        assert index.search([ONE], TextKey(BODY, "certificat"), refuse) == set()
        assert index.search([ONE], TextKey(BODY, "plage"), refuse) == {ONE}
        index.index_pending()


def test_removed_messages_are_gone(index: SearchIndex, connection: apsw.Connection) -> None:
    for id, data in SMALL.items():
        index.add(id, extract_message(data))
    index.index_pending(1)
    index.remove([ONE, TWO, BASE + 99])
    assert index.missing(list(SMALL)) == [ONE, TWO]
    assert index.search([ONE, TWO], TextKey(BODY, "certificat"), lambda id: None) == set()
    index.remove(SMALL)
    for table in ("text", "packed", "trace"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0
    assert connection.execute("SELECT count(*) FROM trigram WHERE trigram MATCH '\"cer\"'").get == 0


def test_copies_are_found_without_reading(index: SearchIndex) -> None:
    target = 9 << 32
    for id, data in SMALL.items():
        index.add(id, extract_message(data))
    index.index_pending(2)
    index.copy([(ONE, target + 1), (TWO, target + 2), (BASE + 50, target + 3)])
    for _ in range(2):
        assert index.search([target + 1, target + 2], TextKey(BODY, "certificat"), refuse) == {target + 1, target + 2}
        assert index.search([target + 1, target + 2], TextKey(HEADER, "mx", "received"), refuse) == {target + 1}
        index.index_pending()
    assert index.missing([target + 3]) == [target + 3]
    index.remove([ONE])
    assert index.search([target + 1], TextKey(TEXT, "echeancier"), refuse) == {target + 1}


def test_pending_texts_are_indexed_in_portions(index: SearchIndex) -> None:
    with index.transaction():
        for number, data in enumerate(generated(25)):
            index.add(BASE + number, extract_message(data))
    assert [index.index_pending(10) for _ in range(4)] == [10, 10, 5, 0]


def test_a_failed_transaction_leaves_nothing(index: SearchIndex) -> None:
    def add_and_fail() -> None:
        with index.transaction():
            index.add(ONE, extract_message(SMALL[ONE]))
            raise KeyError

    with pytest.raises(KeyError):
        add_and_fail()
    assert index.missing([ONE]) == [ONE]
    index.add(ONE, extract_message(SMALL[ONE]))
    assert index.missing([ONE]) == []


def test_errors_of_the_database_are_those_of_the_store(index: SearchIndex, connection: apsw.Connection) -> None:
    connection.pragma("query_only", True)
    with pytest.raises(Unavailable):
        index.add(ONE, extract_message(SMALL[ONE]))


def test_another_process_may_index_meanwhile(tmp_path: Path) -> None:
    first, second = (open_database(tmp_path / "fts.db", None, SCHEMA, synchronous="NORMAL") for _ in range(2))
    try:
        one, two = SearchIndex(first), SearchIndex(second)
        for id, data in SMALL.items():
            one.add(id, extract_message(data))
            assert two.search([id], TextKey(BODY, "l"), refuse) == one.search([id], TextKey(BODY, "l"), refuse)
        assert two.index_pending() == 3
        assert one.search(list(SMALL), TextKey(BODY, "certificat"), refuse) == {ONE, TWO}
    finally:
        first.close()
        second.close()


def test_many_messages_agree_with_reading_each(index: SearchIndex) -> None:
    rng = random.Random(4)
    messages = dict(enumerate([*generated(220, seed=21), *MESSAGES.values()], BASE + 1))
    limits = TextLimits(part=200, total=400, header=400)
    with index.transaction():
        for id, data in messages.items():
            if id % 7:
                index.add(id, extract_message(data, limits if id % 3 else EVERYTHING))
    index.index_pending(100)
    whole = {id: extract_message(data, EVERYTHING) for id, data in messages.items()}
    for _ in range(60):
        needle = sentence(rng, rng.choice([1, 1, 2]))
        begin = rng.randrange(len(needle))
        needle = needle[begin : begin + rng.choice([1, 2, 3, 5, 20])]
        key = rng.choice(
            [
                TextKey(BODY, needle),
                TextKey(TEXT, needle),
                TextKey(TEXT, rng.choice(["multipart", "utf-8''", "folded", "bulletin"])),
                TextKey(HEADER, needle, rng.choice(["subject", "from", "to", "X-Folded", "content-type"])),
                TextKey(HEADER, "", rng.choice(["subject", "bcc", "x-folded", "in-reply-to"])),
            ]
        )
        expected = {id for id, text in whole.items() if holds(text, key)}
        assert index.search(list(messages), key, messages.__getitem__) == expected, key


_LETTERS = st.text("abé ÉA\"'œ\n", max_size=8)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_LETTERS, _LETTERS, st.booleans()), max_size=6), _LETTERS, st.integers(0, 6))
def test_no_hit_is_missed_and_none_invented(
    index: SearchIndex, texts: list[tuple[str, str, bool]], needle: str, indexed: int
) -> None:
    form = "Subject: {}\nX-A: {}\nContent-Type: text/plain; charset=utf-8\n\n{}"
    messages = {
        BASE + n: crlf(form.format(subject.replace("\n", " "), body[:2].strip(), body))
        for n, (subject, body, _) in enumerate(texts, 1)
    }
    index.remove(range(BASE, BASE + 10))
    for number, (_, _, keep) in enumerate(texts, 1):
        if keep:
            index.add(BASE + number, extract_message(messages[BASE + number]))
    index.index_pending(indexed)
    for field, name in ((BODY, ""), (TEXT, ""), (HEADER, "subject"), (HEADER, "x-a")):
        key = TextKey(field, needle, name)
        expected = {id for id, data in messages.items() if holds(extract_message(data), key)}
        assert index.search(list(messages), key, messages.__getitem__) == expected
