"""The whole of storage/api.py in dicts: what protocol tests run against, and the plain statement of what is meant.

Everything is lost with the process. One lock an account; nothing here is clever. Passes tests/support/store_contract.py.
Never seals: keys are taken and not used.
"""

import socket
import threading
import time
from collections.abc import Callable

from .api import (
    Account,
    AccountId,
    AccountKeys,
    Change,
    ChangeBus,
    Collections,
    Mail,
    OverQuota,
    Quota,
    StoreLimits,
    Unavailable,
)
from .memory_collections import MemoryCollections
from .memory_mail import MemoryMail
from .paths import parse_account_id


class MemoryBus:
    """A ChangeBus within one process: what is announced is heard at once, by the listener of the same bus."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._callbacks: list[Callable[[Change], None]] = []
        self._ours, self._theirs = socket.socketpair()  # for fileno() alone: never readable

    def announce(self, change: Change) -> None:
        """See ChangeBus."""
        for callback in self._callbacks:
            callback(change)

    def listen(self, callback: Callable[[Change], None]) -> None:
        """See ChangeBus."""
        self._callbacks.append(callback)

    def watch(self, account: AccountId) -> None:
        """See ChangeBus: there are no others."""

    def unwatch(self, account: AccountId) -> None:
        """See ChangeBus: there are no others."""

    def fileno(self) -> int:
        """See ChangeBus."""
        return self._ours.fileno()

    def drain(self) -> None:
        """See ChangeBus: there are no others."""

    def close(self) -> None:
        """See ChangeBus."""
        self._callbacks.clear()
        self._ours.close()
        self._theirs.close()


class MemoryAccount:
    """One account: shared state of mail and collections, and the count of its holders."""

    def __init__(self, store: "MemoryStore", account: AccountId) -> None:
        """Make it with its default mailboxes and collections."""
        self.id = account
        self.limits = store.limits
        self.clock = store.clock
        self.lock = threading.RLock()
        self.holders = 0
        self.limit: int | None = None
        self.used = 0
        self._bus = store.bus
        self.memory_mail = MemoryMail(self)
        self.mail: Mail = self.memory_mail
        self.collections: Collections = MemoryCollections(self)

    def quota(self) -> Quota:
        """See Account."""
        return Quota(self.used, self.limit)

    def charge(self, octets: int) -> None:
        """Count octets that come (or go). Raise OverQuota."""
        self.check_room(octets)
        self.used += octets

    def check_room(self, octets: int) -> None:
        """Raise OverQuota when so many more do not fit."""
        if octets > 0 and self.limit is not None and self.used + octets > self.limit:
            raise OverQuota(f"{self.used} of {self.limit} octets are used, {octets} more do not fit")

    def announce(self, object_id: int, modseq: int) -> None:
        """Tell the others of something done."""
        if self._bus is not None:
            self._bus.announce(Change(self.id, object_id, modseq))

    def close(self) -> None:
        """See Account: the data stay with the store."""
        self.holders -= 1


class MemoryStore:
    """A Store in memory. `clock` gives seconds since 1970 and may be a test's own."""

    def __init__(
        self,
        *,
        limits: StoreLimits | None = None,
        bus: ChangeBus | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make an empty store."""
        self.limits = limits or StoreLimits()
        self.bus = bus
        self.clock = clock
        self._accounts: dict[AccountId, MemoryAccount] = {}
        self._closed = False

    def open_account(self, account: AccountId, keys: AccountKeys, *, quota: int | None = None) -> Account:
        """See Store."""
        if self._closed:
            raise Unavailable("the store is closed")
        parse_account_id(account)
        held = self._accounts.get(account)
        if held is None:
            held = self._accounts[account] = MemoryAccount(self, account)
        held.holders += 1
        held.limit = quota
        return held

    def held_account(self, account: AccountId, keys: AccountKeys, *, quota: int | None = None) -> Account | None:
        """See Store."""
        return self.open_account(account, keys, quota=quota) if account in self._accounts and not self._closed else None

    def memory_account(self, account: AccountId) -> MemoryAccount:
        """The account itself, opened before: for what tests reach behind the protocol."""
        return self._accounts[account]

    def delete_account(self, account: AccountId) -> None:
        """See Store."""
        gone = self._accounts.pop(account, None)
        if gone is not None:
            gone.memory_mail.forget_all()

    def close(self) -> None:
        """See Store."""
        self._closed = True
