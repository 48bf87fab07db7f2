"""Header slots give the very octets of the fields asked for; cache.db comes and goes as it likes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.formats.headers import select_fields
from preau.storage.api import Unavailable
from preau.storage.cache import CACHED_NAMES, MAX_FIELDS, Cache, FieldChoosers, delete_database, render_slots
from preau.storage.database import Schema, open_database

HEADER = (
    b"Received: from a\r\n"
    b"To: x@example.org\r\n"
    b"subject:  folded\r\n\there\r\n"
    b"FROM : y@example.org\r\n"
    b"to: again@example.org\r\n"
    b"X-Other: no\r\n"
    b"Date: Tue\r\n"
    b"\r\n"
)


def choose(header: bytes, *names: bytes) -> bytes:
    chooser = FieldChoosers().chooser(names)
    assert chooser is not None
    slots = render_slots(header)
    assert slots is not None
    return chooser(slots)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param((b"To",), b"To: x@example.org\r\nto: again@example.org\r\n\r\n", id="repeats"),
        pytest.param((b"SUBJECT",), b"subject:  folded\r\n\there\r\n\r\n", id="folding stays"),
        pytest.param((b"from", b"date"), b"FROM : y@example.org\r\nDate: Tue\r\n\r\n", id="blank before the colon"),
        pytest.param((b"Cc",), b"\r\n", id="none"),
        pytest.param((), b"\r\n", id="no names"),
        pytest.param((b"Date", b"Date"), b"Date: Tue\r\n\r\n", id="asked twice"),
        pytest.param((b"Received", b"Date"), b"Received: from a\r\nDate: Tue\r\n\r\n", id="of relays"),
    ],
)
def test_fields_come_as_they_stand_in_their_order(names: tuple[bytes, ...], expected: bytes) -> None:
    assert choose(HEADER, *names) == expected
    assert select_fields(HEADER, {name.lower() for name in names}) == expected


line = st.tuples(
    st.sampled_from([*CACHED_NAMES[:8], b"X-Mine", b"received"]), st.sampled_from([b"", b" v", b" a\r\n b", b"\xff"])
)


@given(st.lists(line, max_size=12), st.sets(st.sampled_from(CACHED_NAMES[:8]), max_size=5))
def test_slots_answer_what_the_header_would(lines: list[tuple[bytes, bytes]], names: set[bytes]) -> None:
    header = b"".join(b"%b:%b\r\n" % pair for pair in lines) + b"\r\n"
    assert choose(header, *names) == select_fields(header, {name.lower() for name in names})


def test_what_cannot_be_kept_is_read_from_the_file() -> None:
    assert render_slots(b"Subject: a\0b\r\n\r\n") is None
    assert render_slots(b"To: a\r\n" * (MAX_FIELDS + 1) + b"\r\n") is None
    assert render_slots(b"To: " + b"a" * 70_000 + b"\r\n\r\n") is None
    assert render_slots(b"") is not None


def test_names_that_are_not_kept() -> None:
    choosers = FieldChoosers()
    assert choosers.chooser([b"Subject", b"X-Unknown"]) is None
    assert choosers.chooser([b"Subject"]) is choosers.chooser([b"Subject"])
    for number in range(200):
        choosers.chooser([b"X-%d" % number])
    assert choosers.chooser([b"subject"]) is not None


def test_many_shapes_of_headers_stay_bounded() -> None:
    chooser = FieldChoosers().chooser([b"To"])
    assert chooser is not None
    for number in range(5_000):
        key = bytes(33 + (number >> shift & 7) for shift in (0, 3, 6, 9, 12))
        assert chooser(b"\0".join([key, *(b"%d" % letter for letter in key), b"\r\n"])).count(b"34") == key.count(34)


ROW = (1 << 32 | 1, None, 3, b"abcdef", b"\0\r\n")


@pytest.mark.parametrize("key", [None, bytes(32)], ids=["plain", "encrypted"])
def test_rows_are_kept_copied_and_dropped(tmp_path: Path, key: bytes | None) -> None:
    cache = Cache(tmp_path / "cache.db", key)
    cache.put([ROW])
    cache.copy([(ROW[0], 77), (5, 78)])
    assert cache.reader.rows("SELECT id, r FROM cache ORDER BY id") == [(77, b"abcdef"), (ROW[0], b"abcdef")]
    assert cache.reader.rows("SELECT * FROM slots ORDER BY id") == [(77, b"\0\r\n"), (ROW[0], b"\0\r\n")]
    cache.drop([77, 78])
    cache.drop_range(1 << 32, 2 << 32)
    assert cache.reader.rows("SELECT id FROM cache UNION SELECT id FROM slots") == []
    cache.close()
    with pytest.raises(Unavailable):
        cache.reader.rows("SELECT * FROM cache")


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    path.write_bytes(b"nonsense" * 2_000)
    cache = Cache(path, bytes(32))
    cache.put([ROW])
    cache.close()
    other = Cache(path, bytes([1]) * 32)  # another key: as good as damaged
    assert other.reader.rows("SELECT * FROM cache") == []
    other.close()


def test_a_file_of_an_older_version_is_begun_anew(tmp_path: Path) -> None:
    old = Schema(name="cache", version=1, script="CREATE TABLE cache (id INTEGER PRIMARY KEY, sent, envlen, r, s)")
    connection = open_database(tmp_path / "cache.db", None, old, synchronous="NORMAL")
    connection.execute("INSERT INTO cache VALUES (1, 0, 1, 'a', 'b')")
    connection.close()
    cache = Cache(tmp_path / "cache.db", None)
    assert cache.reader.rows("SELECT * FROM cache") == []
    cache.put([ROW])
    assert cache.reader.rows("SELECT id, s FROM slots") == [(ROW[0], b"\0\r\n")]
    cache.close()


def test_a_file_that_was_deleted_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    cache = Cache(path, None)
    cache.put([ROW])
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    cache.check_file()
    cache.put([ROW])
    assert path.exists()
    assert cache.reader.rows("SELECT count(*) FROM cache") == [(1,)]
    cache.close()


def test_a_file_that_was_deleted_while_one_connection_rested_is_noticed(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache.db", None)
    cache.put([ROW])
    cache.reader.rest()  # the writer stays open, over a file that goes
    delete_database(tmp_path / "cache.db")
    assert cache.reader.rows("SELECT id FROM cache") == []
    cache.check_file()
    cache.put([ROW])
    assert cache.reader.rows("SELECT id FROM cache") == [(ROW[0],)]
    cache.close()
