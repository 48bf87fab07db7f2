"""The file store: accounts as directories below one root (docs/store-format.md).

Owns which accounts are open in this process. An account stays open while somebody holds it, and some seconds longer where
the store is told so (`rest`): clients come in bursts, and opening costs more than all else of a sign-in. Its background jobs
end before its databases are closed. Knows no address, no password, no protocol.
"""

import logging
import secrets
import threading
import time
from collections import deque
from pathlib import Path

from . import atomic
from .account import FileAccount
from .api import Account, AccountId, AccountKeys, ChangeBus, Forbidden, Store, StoreLimits, Unavailable
from .background import Background
from .changes import SilentBus
from .heap import give_back_later
from .paths import AccountPaths

log = logging.getLogger("preau.storage")

_MAX_RESTING = 64  # accounts: one that is open takes some hundred KiB


class FileStore:
    """The Store over files and SQLite."""

    def __init__(self, root: Path, *, sealing: bool, limits: StoreLimits, bus: ChangeBus, rest: float = 0.0) -> None:
        """Open the store below `root`, which is made when it is not there.

        `rest`: seconds that an account stays open when nobody holds it any more.
        """
        self._root = root
        self._sealing = sealing
        self._limits = limits
        self._bus = bus
        self.background = Background()
        self._lock = threading.Lock()
        self._opened = threading.Condition(self._lock)
        self._accounts: dict[AccountId, FileAccount] = {}
        self._busy: set[AccountId] = set()
        self._closed = False
        self._rest = rest
        self._resting: dict[AccountId, float] = {}  # nobody holds them; until when, by the monotonic clock, in that order
        self._leaving: deque[FileAccount] = deque()
        self._closer: threading.Thread | None = None
        root.mkdir(mode=0o2770, parents=True, exist_ok=True)

    def open_account(self, account: AccountId, keys: AccountKeys, *, quota: int | None = None) -> Account:
        """See Store."""
        paths = AccountPaths(self._root, account)
        with self._opened:
            while account in self._busy:
                self._opened.wait()
            if self._closed:
                raise Unavailable("the store is closed")
            if (there := self._accounts.get(account)) is not None and there.is_whole():
                return self._hold(there, keys, quota)
            self._busy.add(account)
            damaged = self._take_resting(account)
        try:
            if damaged is not None:
                self._close_account(damaged)
            opened = FileAccount(
                paths,
                keys,
                sealing=self._sealing,
                limits=self._limits,
                bus=self._bus,
                background=self.background,
                on_close=self._let_go,
            )
            with self._opened:
                self._accounts[account] = opened
                return self._hold(opened, keys, quota)
        finally:
            with self._opened:
                self._busy.discard(account)
                self._opened.notify_all()

    def held_account(self, account: AccountId, keys: AccountKeys, *, quota: int | None = None) -> Account | None:
        """See Store."""
        with self._lock:
            there = self._accounts.get(account)
            return self._hold(there, keys, quota) if there is not None and there.is_whole() and not self._closed else None

    def _hold(self, account: FileAccount, keys: AccountKeys, quota: int | None) -> FileAccount:
        self._resting.pop(account.id, None)
        account.holders += 1
        account.context.use_keys(keys)
        account.context.quota = quota
        return account

    def _let_go(self, account: FileAccount) -> None:
        with self._opened:
            if account.holders == 0:
                return
            account.holders -= 1
            if account.holders or self._accounts.get(account.id) is not account:
                return
            if self._rest:
                self._resting[account.id] = time.monotonic() + self._rest
                wake = len(self._resting) == 1 or len(self._resting) > _MAX_RESTING
            else:
                self._leave(account)
                wake = True
            if self._closer is None:
                self._closer = threading.Thread(target=self._close_accounts, name="preau-store-close", daemon=True)
                self._closer.start()
            elif wake:
                self._opened.notify_all()

    def _leave(self, account: FileAccount) -> None:
        del self._accounts[account.id]
        self._busy.add(account.id)
        self._leaving.append(account)

    def _take_resting(self, account: AccountId) -> FileAccount | None:
        """The account, out of the store, if it is open and nobody holds it."""
        return self._accounts.pop(account) if self._resting.pop(account, None) is not None else None

    def _close_accounts(self) -> None:
        # In a thread of its own: who closes an account may be an event loop, and the jobs that are left may take a while.
        while (account := self._next_to_close()) is not None:
            self._close_account(account)
            with self._opened:
                self._busy.discard(account.id)
                self._opened.notify_all()

    def _next_to_close(self) -> FileAccount | None:
        """Wait for one; None when the store is closed."""
        with self._opened:
            while not self._leaving and not self._closed:
                first = next(iter(self._resting), None)
                left = None if first is None else self._resting[first] - time.monotonic()
                if first is not None and left is not None and (left <= 0 or len(self._resting) > _MAX_RESTING):
                    del self._resting[first]
                    self._leave(self._accounts[first])
                else:
                    self._opened.wait(left)
            return self._leaving.popleft() if self._leaving else None

    def _close_account(self, account: FileAccount) -> None:
        try:
            self.background.finish(account.id)
            account.release()
        except Exception:
            log.exception("an account was not closed well", extra={"account": account.id})
        give_back_later(self.background)

    def delete_account(self, account: AccountId) -> None:
        """See Store. Raise Forbidden while somebody holds the account in this process."""
        paths = AccountPaths(self._root, account)
        with self._opened:
            while account in self._busy:
                self._opened.wait()
            resting = self._take_resting(account)
            if account in self._accounts:
                raise Forbidden("the account is open")
            self._busy.add(account)
        try:
            if resting is not None:
                self._close_account(resting)
            # Moved away first: what a crash leaves is no account any more, and a sweep removes it.
            leaving = paths.directory.parent / f".gone-{secrets.token_hex(8)}"
            try:
                atomic.rename(paths.directory, leaving)
            except FileNotFoundError:
                return
            atomic.fsync_dir(leaving.parent)
            atomic.remove_tree(leaving)
        finally:
            with self._opened:
                self._busy.discard(account)
                self._opened.notify_all()

    def close(self) -> None:
        """See Store."""
        with self._opened:
            if self._closed:
                return
            self._closed = True
            self._opened.notify_all()
            while self._busy:
                self._opened.wait()
            left = list(self._accounts.values())
            self._accounts.clear()
            self._resting.clear()
            closer = self._closer
        if closer is not None:
            closer.join()
        self.background.close()
        for account in left:
            account.release()

    def sweep(self, *, older_than: float = 86_400.0) -> int:
        """Remove drafts left in accounts' tmp by processes that died, and accounts half removed; how many. [thread]"""
        removed = 0
        limit = time.time() - older_than
        for shard in self._root.iterdir():
            for directory in shard.iterdir() if shard.is_dir() else ():
                if directory.name.startswith(".gone-"):
                    atomic.remove_tree(directory)
                    removed += 1
                    continue
                removed += _sweep_tmp(directory / "tmp", limit)
        return removed


def _sweep_tmp(tmp: Path, limit: float) -> int:
    removed = 0
    try:
        for file in tmp.iterdir():
            if file.lstat().st_mtime < limit and atomic.unlink(file):
                removed += 1
    except OSError as error:
        log.debug("tmp not swept", extra={"error": str(error)})
    return removed


def open_store(
    root: Path,
    *,
    sealing: bool = True,
    limits: StoreLimits | None = None,
    bus: ChangeBus | None = None,
    rest: float = 0.0,
) -> Store:
    """The store below `root`. `bus`: how processes tell each other; None when this process is alone.

    `rest`: seconds that an account stays open, its keys in memory, when nobody holds it any more.
    """
    return FileStore(root, sealing=sealing, limits=limits or StoreLimits(), bus=bus or SilentBus(), rest=rest)
