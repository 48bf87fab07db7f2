import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from preau.smtp import queue_store as rows
from preau.smtp.queue_store import Notice, QueueStore, State, database_key
from preau.smtp.spool import Envelope, SpoolRecipient
from preau.storage.api import Unavailable

KEY = database_key(bytes(32))
ONE, TWO = "0" * 17 + "1", "0" * 17 + "2"
ENVELOPE = Envelope(
    "anne@example.com",
    (SpoolRecipient("bob@x", frozenset({"FAILURE", "DELAY"}), "rfc822;b"), SpoolRecipient("carl@y"), SpoolRecipient("bob@X")),
    50,
    10,
    "8BITMIME",
    True,
    "HDRS",
    "id",
    "a" * 26,
    "192.0.2.1",
)


def run(tmp_path: Path, test: Callable[[QueueStore], Awaitable[None]]) -> None:
    async def running() -> None:
        store = QueueStore(tmp_path / "queue.db", KEY)
        try:
            await asyncio.wait_for(test(store), 20)
        finally:
            await store.close()

    asyncio.run(running())


def test_a_commit_is_spared_its_flush_only_when_nobody_in_it_asked_for_one(tmp_path: Path) -> None:
    async def test(store: QueueStore) -> None:
        def synchronous(connection: apsw.Connection) -> int:
            return int(connection.pragma("synchronous"))

        normal, full = 1, 2
        assert await store.write(synchronous, flush=False) == normal
        assert await store.write(synchronous) == full
        assert await store.write(synchronous, flush=False) == normal
        both = [store.write(synchronous, flush=flush) for flush in (False, False, True)]
        assert await asyncio.gather(*both) == [normal, full, full]  # the first runs alone, the others in one

    run(tmp_path, test)


def test_a_message_comes_waits_and_leaves(tmp_path: Path) -> None:
    async def test(store: QueueStore) -> None:
        assert await store.write(lambda connection: rows.insert_message(connection, ONE, ENVELOPE, 100))
        assert not await store.write(lambda connection: rows.insert_message(connection, ONE, ENVELOPE, 100))
        assert store.is_known(ONE)
        assert store.envelope(ONE) == replace(ENVELOPE, recipients=())
        bob, carl = store.recipients(ONE)  # bob@X is bob@x, and Bob@x would not be
        assert (bob.notify, bob.orcpt, bob.state, bob.next_try) == (
            frozenset({"FAILURE", "DELAY"}),
            "rfc822;b",
            State.WAITING,
            100,
        )
        assert store.due(99, 9) == []
        assert store.due(100, 9) == [ONE]
        assert store.next_try(99) == 100
        assert store.next_try(100) is None
        assert store.counts() == (1, 0, 2)

        assert not store.waits_beyond(100)
        assert store.waits_beyond(99)
        await store.write(lambda connection: rows.bring_forward(connection, 99, 98))
        assert {one.next_try for one in store.recipients(ONE)} == {98}
        await store.write(lambda connection: rows.bring_forward(connection, 97, 100))
        assert {one.next_try for one in store.recipients(ONE)} == {100}

        later = replace(bob, next_try=500, attempts=1, reply="451 x", warned=True)
        assert await store.write(lambda connection: rows.update_recipient(connection, later))
        assert store.waiting(ONE, 100) == [carl]
        assert store.recipients(ONE)[0] == later
        notice = Notice(TWO, ONE, "failed", (later,))

        def settle(connection: Any) -> bool:
            for each in (replace(later, state=State.FAILED), replace(carl, state=State.DONE)):
                assert rows.update_recipient(connection, each)
            assert not rows.update_recipient(connection, carl)  # settled is settled
            rows.insert_notice(connection, notice)
            return rows.finish(connection, ONE, 600)

        assert not await store.write(settle)
        assert store.notices() == [notice]
        assert store.idle() == []
        await store.write(lambda connection: connection.execute("DELETE FROM notice"))
        assert store.idle() == [ONE]
        assert await store.write(lambda connection: rows.finish(connection, ONE, 600))
        assert not store.is_known(ONE)
        assert store.is_finished(ONE)
        assert store.envelope(ONE) is None
        assert not await store.write(lambda connection: rows.insert_message(connection, ONE, ENVELOPE, 700))
        await store.write(lambda connection: rows.forget_finished(connection, 600 + 604_800))
        assert store.is_finished(ONE)
        await store.write(lambda connection: rows.forget_finished(connection, 600 + 604_801))
        assert not store.is_finished(ONE)  # remembered for a week

    run(tmp_path, test)


def test_held_messages_are_not_due(tmp_path: Path) -> None:
    async def test(store: QueueStore) -> None:
        for identifier, at in ((ONE, 200), (TWO, 100)):
            await store.write(lambda c, i=identifier, at=at: rows.insert_message(c, i, ENVELOPE, at))  # type: ignore[misc]
        assert store.due(300, 9) == [TWO, ONE]
        assert store.due(300, 1) == [TWO]
        await store.write(lambda connection: connection.execute("UPDATE message SET held = 1 WHERE id = ?", (TWO,)))
        assert store.due(300, 9) == [ONE]
        assert store.next_try(0) == 200
        assert store.is_held(TWO)
        assert store.messages("", 9) == [(ONE, False), (TWO, True)]
        assert store.counts() == (2, 1, 4)

    run(tmp_path, test)


def test_writes_are_gathered_and_one_that_fails_fails_alone(tmp_path: Path) -> None:
    async def test(store: QueueStore) -> None:
        commits = 0

        def committed() -> bool:
            nonlocal commits
            commits += 1
            return False

        store._writer.set_commit_hook(committed)
        ids = [f"{n:018x}" for n in range(100)]
        writing = [store.write(lambda c, i=i: rows.insert_message(c, i, ENVELOPE, 1)) for i in ids]  # type: ignore[misc]
        assert all(await asyncio.gather(*writing))
        assert commits <= 3

        def failing(connection: Any) -> None:
            connection.execute("UPDATE message SET held = 1")
            raise Unavailable("no")

        def good(connection: Any) -> int:
            return int(connection.execute("SELECT COUNT(*) FROM message WHERE held").get)

        results = await asyncio.gather(store.write(good), store.write(failing), store.write(good), return_exceptions=True)
        assert results[0] == results[2] == 0
        assert isinstance(results[1], Unavailable)
        assert store.counts() == (100, 0, 200)

    run(tmp_path, test)


def test_the_file_shows_nothing_and_opens_by_its_key_alone(tmp_path: Path) -> None:
    async def fill(store: QueueStore) -> None:
        await store.write(lambda connection: rows.insert_message(connection, ONE, ENVELOPE, 1))

    run(tmp_path, fill)
    for path in tmp_path.iterdir():
        assert b"anne@" not in path.read_bytes()
        assert path.stat().st_mode & 0o007 == 0
    assert database_key(bytes(32)) != database_key(b"\x01" * 32)

    async def other() -> None:
        store = QueueStore(tmp_path / "queue.db", database_key(b"\x01" * 32))
        assert store.rebuilt
        assert store.counts() == (0, 0, 0)
        await store.close()

    asyncio.run(other())
    assert (tmp_path / "queue.db.damaged").exists()


def test_what_is_written_survives_who_waits_for_it(tmp_path: Path) -> None:
    async def test(store: QueueStore) -> None:
        writing = asyncio.create_task(store.write(lambda connection: rows.insert_message(connection, ONE, ENVELOPE, 1)))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await store.write(lambda connection: None)
        assert store.is_known(ONE)

    run(tmp_path, test)


def test_what_follows_a_commit_is_done_behind_it_and_fails_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(store: QueueStore) -> None:
        seen: list[bool] = []

        def then(recipients: object) -> None:
            seen.append(store.is_known(ONE))
            raise Unavailable("a file that cannot be removed")

        found = await store.write(lambda connection: rows.insert_message(connection, ONE, ENVELOPE, 100), then)
        assert seen == [True]
        assert found == store.recipients(ONE)  # what was put in is what is read

        def failing(connection: Any) -> None:
            raise Unavailable("no")

        with pytest.raises(Unavailable, match="no"):
            await store.write(failing, then)
        assert seen == [True]

    run(tmp_path, test)
    assert "left for another time" in caplog.text
