"""Processes that write one account take turns (storage/account_lock.py: Turnstile)."""

import fcntl
import threading
from pathlib import Path

from instance import wait_for
from preau.storage.account import SCHEMAS
from preau.storage.account_db import AccountDatabase
from preau.storage.account_lock import AccountLock, Turnstile


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
