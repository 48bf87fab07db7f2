"""The memory store keeps the contract, and has what tests of others need."""

from collections.abc import Callable

import pytest

from change_contract import ChangeContract, ModelContract, SearchContract
from collections_contract import CollectionsContract
from message_contract import MessageContract, ViewContract
from preau.storage.api import Change, Store, StoreLimits, Unavailable
from preau.storage.memory import MemoryBus, MemoryStore
from store_contract import ANNE, KEYS, AccountContract, MailboxContract, StoreContract, append


class _Memory(StoreContract):
    @pytest.fixture
    def open_store(self) -> Callable[..., Store]:
        memory = MemoryStore()

        def open_again(limits: StoreLimits | None = None) -> Store:
            memory.limits = limits or StoreLimits()
            return memory

        return open_again


class TestAccount(_Memory, AccountContract):
    pass


class TestMailboxes(_Memory, MailboxContract):
    pass


class TestMessages(_Memory, MessageContract):
    pass


class TestViews(_Memory, ViewContract):
    pass


class TestChanges(_Memory, ChangeContract):
    pass


class TestSearch(_Memory, SearchContract):
    pass


class TestCollections(_Memory, CollectionsContract):
    pass


class TestModel(_Memory, ModelContract):
    pass


def test_the_bus_hears_each_change_once_it_is_done() -> None:
    bus = MemoryBus()
    heard: list[Change] = []
    bus.listen(heard.append)
    account = MemoryStore(bus=bus).open_account(ANNE, KEYS[ANNE])
    heard.clear()
    inbox = account.mail.find("INBOX").id
    append(account.mail, inbox)
    assert heard == [Change(ANNE, inbox, account.mail.status([inbox])[0].highestmodseq)]
    account.mail.create("new")
    assert heard[1:] == [Change(ANNE, 0, 0)]
    bus.close()


def test_a_test_may_own_the_clock_and_forget_what_is_gone() -> None:
    store = MemoryStore(clock=lambda: 1_000.0)
    store.open_account(ANNE, KEYS[ANNE])
    mail = store.memory_account(ANNE).memory_mail
    inbox = mail.find("INBOX").id
    uid = append(mail, inbox, b"x", "\\Deleted")
    assert next(mail.facts(inbox, [uid])).internal_date == 1_000
    before = mail.status([inbox])[0].highestmodseq
    mail.expunge(inbox)
    assert mail.vanished_since(inbox, before) == [uid]
    mail.forget_gone(inbox)
    assert mail.vanished_since(inbox, before) is None


def test_a_closed_store_opens_nothing() -> None:
    store = MemoryStore()
    store.close()
    with pytest.raises(Unavailable):
        store.open_account(ANNE, KEYS[ANNE])
