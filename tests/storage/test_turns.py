"""Processes that write one account take turns (storage/account_lock.py: Turnstile)."""

import fcntl
import threading
from pathlib import Path

import pytest

from instance import wait_for
from preau.storage.account import SCHEMAS
from preau.storage.account_db import AccountDatabase
from preau.storage.account_lock import AccountLock, Turnstile
from preau.storage.api import WouldWait


def test_who_waits_writes_before_who_has_just_written(tmp_path: Path) -> None:
    order: list[str] = []
    busy, waiting = (AccountDatabase(tmp_path / "index.db", None, *SCHEMAS) for _ in range(2))
    thread = threading.Thread(target=waiting.transact, args=(lambda _: order.append("waiting"),))
    probe = Turnstile(tmp_path)

    def somebody_stands_there() -> bool:
        if not probe._set(fcntl.F_WRLCK):
            return True
        probe.leave()
        return False

    with busy.write():
        thread.start()
        wait_for(somebody_stands_there)
    busy.transact(lambda _: order.append("busy"))
    thread.join()
    assert order == ["waiting", "busy"]
    probe.close()
    busy.close()
    waiting.close()


def test_who_stays_in_the_turnstile_does_not_hold_others_up_for_ever(tmp_path: Path) -> None:
    first, second = Turnstile(tmp_path), Turnstile(tmp_path)
    first.enter(0.0)
    second.enter(0.0)  # gives up at once, and SQLite's lock is asked all the same
    first.close()
    second.close()


def test_the_turnstile_is_apart_from_the_lock_of_the_account(tmp_path: Path) -> None:
    lock, turnstile = AccountLock(tmp_path, alone=True), Turnstile(tmp_path)
    assert turnstile._set(fcntl.F_WRLCK)
    turnstile.close()
    lock.release()


def test_who_may_not_wait_is_told_of_whoever_writes(tmp_path: Path) -> None:
    mine, others = (AccountDatabase(tmp_path / "index.db", None, *SCHEMAS) for _ in range(2))
    elsewhere = Turnstile(tmp_path)

    def refused() -> bool:
        with pytest.raises(WouldWait), mine.write(waits=False):
            raise AssertionError("it began")
        return True

    with mine.write():
        assert refused(), "another thread of ours"
    with others.write():
        assert refused(), "another process"
    assert elsewhere.enter(0.0)
    assert refused(), "another process that is about to"
    elsewhere.close()
    with mine.write(waits=False) as connection:
        connection.execute("CREATE TABLE kept (number)")
        with pytest.raises(WouldWait), others.write(waits=False):
            raise AssertionError("it began, beside a transaction")
    others.transact(lambda connection: connection.execute("INSERT INTO kept VALUES (1)"))
    mine.transact(lambda connection: connection.execute("INSERT INTO kept VALUES (2)"))
    mine.close()
    others.close()


def test_who_may_not_wait_does_not_open_the_writer(tmp_path: Path) -> None:
    AccountDatabase(tmp_path / "index.db", None, *SCHEMAS).close()
    database = AccountDatabase(tmp_path / "index.db", None, *SCHEMAS, is_open=True)
    with pytest.raises(WouldWait), database.write(waits=False):
        raise AssertionError("it began")
    database.transact(lambda _: None)
    with database.write(waits=False) as connection:
        assert connection.in_transaction
    database.close()


def test_who_comes_meanwhile_is_not_forgotten(tmp_path: Path) -> None:
    """A thread that queued its change while the loop wrote finds the writer free, and leads."""
    database = AccountDatabase(tmp_path / "index.db", None, *SCHEMAS)
    thread = threading.Thread(target=database.transact, args=(lambda _: None,))
    with database.write(waits=False):
        thread.start()
        wait_for(lambda: bool(database._queue))
    thread.join(20)
    assert not thread.is_alive()
    database.close()
