"""Accounts that nobody holds any more rest for a while, open, where the store is told so (storage/store.py)."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from instance import wait_for
from preau.storage import store as store_module
from preau.storage.account import FileAccount
from preau.storage.api import Account, Forbidden, StoreLimits, Unavailable
from preau.storage.changes import SilentBus
from preau.storage.paths import AccountPaths, render_account_id
from preau.storage.store import FileStore
from store_contract import ANNE, BRUNO, KEYS, make_keys

Open = Callable[[float], FileStore]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Open]:
    opened: list[FileStore] = []

    def open_again(rest: float) -> FileStore:
        opened.append(FileStore(tmp_path, sealing=True, limits=StoreLimits(), bus=SilentBus(), rest=rest))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


def is_closed(account: Account) -> bool:
    try:
        account.mail.find("INBOX")
    except Unavailable:
        return True
    return False


def test_who_comes_back_soon_finds_the_account_open(open_store: Open) -> None:
    store = open_store(60.0)
    first = store.open_account(ANNE, KEYS[ANNE])
    first.close()
    assert not is_closed(first)
    again = store.open_account(ANNE, KEYS[ANNE], quota=1_000)
    assert again is first
    assert again.quota().limit == 1_000


def test_what_rested_long_enough_is_closed(open_store: Open) -> None:
    store = open_store(0.05)
    account = store.open_account(ANNE, KEYS[ANNE])
    account.close()
    wait_for(lambda: is_closed(account))
    assert not is_closed(store.open_account(ANNE, KEYS[ANNE]))


def test_who_is_held_again_does_not_rest(open_store: Open) -> None:
    store = open_store(0.05)
    account = store.open_account(ANNE, KEYS[ANNE])
    account.close()
    held = store.held_account(ANNE, KEYS[ANNE])
    other = store.open_account(BRUNO, KEYS[BRUNO])
    other.close()
    wait_for(lambda: is_closed(other))
    assert held is account
    assert not is_closed(account)


def test_only_what_is_open_is_held_inline(open_store: Open) -> None:
    store = open_store(60.0)
    assert store.held_account(ANNE, KEYS[ANNE]) is None
    account = store.open_account(ANNE, KEYS[ANNE])
    assert store.held_account(ANNE, KEYS[ANNE]) is account
    account.close()
    assert isinstance(account, FileAccount)
    assert account.holders == 1


def test_an_index_that_was_taken_away_is_made_anew_at_once(open_store: Open, tmp_path: Path) -> None:
    store = open_store(60.0)
    account = store.open_account(ANNE, KEYS[ANNE])
    account.mail.create("Classes")
    store.background.settle()
    account.close()
    os.unlink(AccountPaths(tmp_path, ANNE).index_db)
    assert store.held_account(ANNE, KEYS[ANNE]) is None
    again = store.open_account(ANNE, KEYS[ANNE])
    assert again is not account
    assert is_closed(account)
    again.mail.create("Notes")
    assert {"Classes", "Notes"} <= {info.name for info in again.mail.mailboxes()}


def test_an_account_that_rests_can_be_deleted(open_store: Open, tmp_path: Path) -> None:
    store = open_store(60.0)
    account = store.open_account(ANNE, KEYS[ANNE])
    with pytest.raises(Forbidden):
        store.delete_account(ANNE)
    account.close()
    store.delete_account(ANNE)
    assert is_closed(account)
    assert not AccountPaths(tmp_path, ANNE).directory.exists()


def test_few_rest_at_a_time(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "_MAX_RESTING", 2)
    store = open_store(60.0)
    accounts = []
    for number in range(4):
        accounts.append(store.open_account(render_account_id(bytes([number]) * 16), make_keys(20)))
    for account in accounts:
        account.close()
    wait_for(lambda: [is_closed(account) for account in accounts] == [True, True, False, False])


def test_closing_the_store_ends_the_rest(open_store: Open) -> None:
    store = open_store(60.0)
    account = store.open_account(ANNE, KEYS[ANNE])
    account.close()
    began = time.monotonic()
    store.close()
    assert is_closed(account)
    assert time.monotonic() - began < 30
    assert store.held_account(ANNE, KEYS[ANNE]) is None
