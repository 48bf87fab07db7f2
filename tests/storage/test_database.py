"""Databases: encrypted, migrated, refused when newer or damaged; one commit for all changes queued meanwhile."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from preau.storage.account_db import AccountDatabase
from preau.storage.api import Conflict, OverQuota, Unavailable
from preau.storage.database import DamagedDatabase, NewerSchema, Schema, open_database

KEY = bytes(range(32))
SCHEMA = Schema("test", 1, "CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t (x) VALUES ('first')")


def values(connection: apsw.Connection) -> list[object]:
    return [x for (x,) in connection.execute("SELECT x FROM t ORDER BY id")]


def insert(x: object) -> Callable[[apsw.Connection], int]:
    def change(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO t (x) VALUES (?)", (x,))
        return connection.last_insert_rowid()

    return change


def open_test(path: Path, *schemas: Schema, key: bytes | None = KEY) -> apsw.Connection:
    return open_database(path, key, *schemas, synchronous="FULL")


@pytest.mark.parametrize("key", [KEY, None], ids=["encrypted", "plain"])
def test_made_once_and_opened_again(tmp_path: Path, key: bytes | None) -> None:
    for _ in range(2):
        connection = open_test(tmp_path / "a.db", SCHEMA, key=key)
        assert values(connection) == ["first"]
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("page_size") == 8192
        assert connection.pragma("synchronous") == 2
        assert connection.pragma("busy_timeout") == 30_000
        connection.close()
    assert (b"first" in (tmp_path / "a.db").read_bytes()) is (key is None)


def test_nothing_is_in_clear_beside_it_either(tmp_path: Path) -> None:
    connection = open_test(tmp_path / "a.db", SCHEMA)
    connection.execute("INSERT INTO t (x) VALUES (?)", ("confidential" * 1_000,))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"a.db", "a.db-wal"} <= names
    for path in tmp_path.iterdir():
        assert b"confidential" not in path.read_bytes()
        assert not path.read_bytes().startswith(b"SQLite format 3")
    connection.close()


def test_files_are_the_groups(tmp_path: Path) -> None:
    before = os.umask(0o007)
    try:
        connection = open_test(tmp_path / "a.db", SCHEMA)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o660}
        connection.close()
    finally:
        os.umask(before)


@pytest.mark.parametrize("key", [bytes(32), None], ids=["other", "none"])
def test_the_wrong_key_is_damage(tmp_path: Path, key: bytes | None) -> None:
    open_test(tmp_path / "a.db", SCHEMA).close()
    content = (tmp_path / "a.db").read_bytes()
    with pytest.raises(DamagedDatabase) as caught:
        open_test(tmp_path / "a.db", SCHEMA, key=key)
    assert caught.value.temporary
    assert KEY.hex() not in str(caught.value) + repr(caught.value.__cause__)
    assert (tmp_path / "a.db").read_bytes() == content
    assert values(open_test(tmp_path / "a.db", SCHEMA)) == ["first"]


def test_a_key_has_thirty_two_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32"):
        open_test(tmp_path / "a.db", key=b"short")


@pytest.mark.parametrize("damage", ["garbage", "cut", "flipped"])
def test_damage_is_told(tmp_path: Path, damage: str) -> None:
    open_test(tmp_path / "a.db", SCHEMA).close()
    content = bytearray((tmp_path / "a.db").read_bytes())
    if damage == "garbage":
        content[:] = os.urandom(20_000)
    elif damage == "cut":
        del content[5_000:]
    else:
        content[4_000] ^= 1
    (tmp_path / "a.db").write_bytes(content)
    with pytest.raises(DamagedDatabase):
        open_test(tmp_path / "a.db", SCHEMA)


def test_no_link_is_followed(tmp_path: Path) -> None:
    open_test(tmp_path / "a.db", SCHEMA).close()
    (tmp_path / "b.db").symlink_to(tmp_path / "a.db")
    with pytest.raises(Unavailable):
        open_test(tmp_path / "b.db", SCHEMA)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_test(tmp_path / "none" / "a.db", SCHEMA)


def test_query_only_does_not_write(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "a.db", KEY, SCHEMA, synchronous="NORMAL", query_only=True)
    with pytest.raises(apsw.ReadOnlyError):
        connection.execute("DELETE FROM t")


# ---------------------------------------------------------------------------------------------------------------------
# Schemas


def test_parts_are_migrated_forward_each_on_its_own(tmp_path: Path) -> None:
    open_test(tmp_path / "a.db", SCHEMA).close()

    def fill(connection: apsw.Connection) -> None:
        connection.execute("UPDATE t SET y = 'filled'")

    second = Schema("second", 5, "CREATE TABLE s (z)")
    third = Schema("test", 3, "CREATE TABLE wrong (a)", {1: "ALTER TABLE t ADD COLUMN y", 2: fill})
    connection = open_test(tmp_path / "a.db", third, second)
    assert connection.execute("SELECT x, y FROM t").fetchall() == [("first", "filled")]
    assert dict(connection.execute("SELECT part, version FROM schema")) == {"test": 3, "second": 5}
    assert connection.execute("SELECT count(*) FROM s").get == 0
    connection.close()
    open_test(tmp_path / "a.db", second).close()  # who needs one part opens with one part


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    open_test(tmp_path / "a.db", Schema("test", 2, "CREATE TABLE t (x)")).close()
    with pytest.raises(NewerSchema):
        open_test(tmp_path / "a.db", SCHEMA)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    open_test(tmp_path / "a.db", SCHEMA).close()
    broken = Schema("test", 3, "", {1: "ALTER TABLE t ADD COLUMN y", 2: "NOT SQL"})
    with pytest.raises(apsw.SQLError):
        open_test(tmp_path / "a.db", broken)
    connection = open_test(tmp_path / "a.db", SCHEMA)
    with pytest.raises(apsw.SQLError):
        connection.execute("SELECT y FROM t")


def _open_and_count(path: Path, barrier: threading.Barrier) -> None:
    barrier.wait()
    connection = open_test(path, SCHEMA)
    connection.execute("INSERT INTO t (x) VALUES ('more')")
    connection.close()


def test_several_processes_may_make_it_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    processes = [context.Process(target=_open_and_count, args=(tmp_path / "a.db", barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert values(open_test(tmp_path / "a.db", SCHEMA)) == ["first"] + ["more"] * 4


# ---------------------------------------------------------------------------------------------------------------------
# AccountDatabase


@pytest.fixture
def db(tmp_path: Path) -> Iterator[AccountDatabase]:
    database = AccountDatabase(tmp_path / "index.db", KEY, SCHEMA)
    yield database
    database.close()


def stored(db: AccountDatabase) -> list[object]:
    with db.read() as connection:
        return values(connection)


def test_transact_gives_the_result_and_is_seen_by_readers(db: AccountDatabase) -> None:
    with db.read() as connection:
        assert values(connection) == ["first"]
        assert db.transact(insert("second")) == 2
        assert values(connection) == ["first", "second"]


def test_what_raises_leaves_nothing_and_is_raised(db: AccountDatabase) -> None:
    def fail(connection: apsw.Connection) -> None:
        insert("lost")(connection)
        raise Conflict("no")

    with pytest.raises(Conflict, match="no"):
        db.transact(fail)
    with pytest.raises(Conflict), db.write() as connection:
        fail(connection)
    with db.write() as connection:
        insert("kept")(connection)
    assert stored(db) == ["first", "kept"]


def test_a_snapshot_stands_still(db: AccountDatabase) -> None:
    with db.snapshot() as connection:
        assert values(connection) == ["first"]
        db.transact(insert("later"))
        assert values(connection) == ["first"]
    assert stored(db) == ["first", "later"]


def test_readers_do_not_write(db: AccountDatabase) -> None:
    with pytest.raises(Unavailable), db.read() as connection:
        insert("no")(connection)


def test_changes_queued_meanwhile_share_a_commit(tmp_path: Path) -> None:
    """While one commits, nine queue: they are done in one transaction, and the three that fail take back only themselves."""
    db = AccountDatabase(tmp_path / "index.db", KEY, SCHEMA)
    entered, go = threading.Event(), threading.Event()
    commits = 0

    def first(connection: apsw.Connection) -> None:
        entered.set()
        go.wait()
        insert("slow")(connection)

    def one(number: int) -> Callable[[apsw.Connection], int]:
        def change(connection: apsw.Connection) -> int:
            row = insert(number)(connection)
            if number % 3 == 0:
                raise OverQuota(str(number))
            return row

        return change

    results: dict[int, object] = {}

    def run(number: int) -> None:
        try:
            results[number] = db.transact(one(number))
        except OverQuota as error:
            results[number] = str(error)

    threads = [threading.Thread(target=db.transact, args=(first,))]
    threads += [threading.Thread(target=run, args=(number,)) for number in range(1, 10)]
    threads[0].start()
    entered.wait()
    for thread in threads[1:]:
        thread.start()
    while len(db._queue) < 9:
        pass
    version = db.data_version()

    def count(connection: object) -> bool:
        nonlocal commits
        commits += 1
        return False

    assert db._writer is not None
    db._writer.set_commit_hook(lambda: count(None))
    go.set()
    for thread in threads:
        thread.join()
    assert commits == 2
    assert db.data_version() != version
    assert {number: results[number] for number in (3, 6, 9)} == {3: "3", 6: "6", 9: "9"}
    assert sorted(x for x in stored(db) if isinstance(x, int)) == [1, 2, 4, 5, 7, 8]
    db.close()


def test_a_commit_that_fails_fails_for_all_of_it(db: AccountDatabase) -> None:
    assert db._writer is not None
    db._writer.set_commit_hook(lambda: True)
    with pytest.raises(apsw.ConstraintError), db.write() as connection:
        insert("lost")(connection)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            db.transact(insert("lost"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] == [Unavailable] * 3
    assert len(set(map(id, errors))) == 3
    db._writer.set_commit_hook(None)
    assert stored(db) == ["first"]
    db.transact(insert("works again"))
    assert stored(db) == ["first", "works again"]


def test_an_interrupt_ends_the_batch_and_not_the_database(db: AccountDatabase) -> None:
    def interrupted(connection: apsw.Connection) -> None:
        insert("lost")(connection)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        db.transact(interrupted)
    db.transact(insert("kept"))
    assert stored(db) == ["first", "kept"]


def test_data_version_tells_of_others(tmp_path: Path, db: AccountDatabase) -> None:
    before = db.data_version()
    assert db.data_version() == before
    other = AccountDatabase(tmp_path / "index.db", KEY, SCHEMA)
    other.transact(insert("other"))
    assert db.data_version() != before
    other.close()


def test_a_closed_database_is_unavailable(tmp_path: Path) -> None:
    db = AccountDatabase(tmp_path / "index.db", KEY, SCHEMA)
    db.close()
    db.close()
    calls: list[Callable[[], object]] = [lambda: db.transact(insert("x")), lambda: stored(db), db.data_version]
    for call in calls:
        with pytest.raises(Unavailable):
            call()


def _insert_some(path: Path, number: int) -> None:
    db = AccountDatabase(path, KEY, SCHEMA)
    for _ in range(10):
        db.transact(insert(number))
    db.close()


def test_several_processes_write(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_insert_some, args=(tmp_path / "index.db", number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    db = AccountDatabase(tmp_path / "index.db", KEY, SCHEMA)
    assert sorted(str(x) for x in stored(db)) == ["0"] * 10 + ["1"] * 10 + ["2"] * 10 + ["first"]
    db.close()
