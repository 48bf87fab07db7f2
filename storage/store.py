"""The file store: accounts as directories below one root (docs/store-format.md).

Owns which accounts are open in this process. An account stays open while somebody holds it; its background jobs end
before its databases are closed. Knows no address, no password, no protocol.
"""

import logging
import queue
import secrets
import threading
import time
from pathlib import Path

from . import atomic
from .account import FileAccount
from .api import Account, AccountId, AccountKeys, ChangeBus, Forbidden, Store, StoreLimits, Unavailable
from .background import Background
from .changes import SilentBus
from .paths import AccountPaths

log = logging.getLogger("preau.storage")


class FileStore:
    """The Store over files and SQLite."""

    def __init__(self, root: Path, *, sealing: bool, limits: StoreLimits, bus: ChangeBus) -> None:
        """Open the store below `root`, which is made when it is not there."""
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
        self._leaving: queue.SimpleQueue[FileAccount | None] = queue.SimpleQueue()
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
            there = self._accounts.get(account)
            if there is not None:
                return self._hold(there, keys, quota)
            self._busy.add(account)
        try:
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

    def _hold(self, account: FileAccount, keys: AccountKeys, quota: int | None) -> FileAccount:
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
            del self._accounts[account.id]
            self._busy.add(account.id)
            self._leaving.put(account)
            if self._closer is None:
                self._closer = threading.Thread(target=self._close_accounts, name="preau-store-close", daemon=True)
                self._closer.start()

    def _close_accounts(self) -> None:
        # In a thread of its own: who closes an account may be an event loop, and the jobs that are left may take a while.
        while (account := self._leaving.get()) is not None:
            try:
                self.background.finish(account.id)
                account.release()
            except Exception:
                log.exception("an account was not closed well", extra={"account": account.id})
            with self._opened:
                self._busy.discard(account.id)
                self._opened.notify_all()

    def delete_account(self, account: AccountId) -> None:
        """See Store. Raise Forbidden while somebody holds the account in this process."""
        paths = AccountPaths(self._root, account)
        with self._opened:
            while account in self._busy:
                self._opened.wait()
            if account in self._accounts:
                raise Forbidden("the account is open")
            self._busy.add(account)
        try:
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
            while self._busy:
                self._opened.wait()
            left = list(self._accounts.values())
            self._accounts.clear()
            closer = self._closer
        if closer is not None:
            self._leaving.put(None)
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


def open_store(root: Path, *, sealing: bool = True, limits: StoreLimits | None = None, bus: ChangeBus | None = None) -> Store:
    """The store below `root`. `bus`: how processes tell each other; None when this process is alone."""
    return FileStore(root, sealing=sealing, limits=limits or StoreLimits(), bus=bus or SilentBus())
