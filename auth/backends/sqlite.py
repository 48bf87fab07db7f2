"""The default backend: passwords in auth.db, argon2id under the pepper.

An account without a password and a login that is none cost a verification against a hash of nobody, so that neither time
nor answer tells them from an account. An imported hash is replaced when it is first used.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from ...storage.api import AccountId
from ..accounts import Accounts, open_accounts
from ..passwords import SALT_OCTETS, hash_password, is_ours, verify_password
from .api import Entry, Verdict


class SqliteBackend:
    """Passwords in auth.db."""

    name = "sqlite"
    capabilities = frozenset({"change"})

    def __init__(self, database: Path, pepper: bytes, random: Callable[[int], bytes]) -> None:
        """`random` gives that many random octets."""
        self._database = database
        self._pepper = pepper
        self._random = random
        self._nobody = hash_password(random(32).hex(), pepper, random(SALT_OCTETS))
        self._own = threading.local()
        self._opened: list[Accounts] = []

    def lookup(self, address: str) -> Entry | None:
        """Nobody: whoever is in auth.db is found before a backend is asked."""
        return None

    def verify(self, entry: Entry | None, secret: str) -> Verdict:
        """Check a password against the account of `entry`."""
        account = entry.account if entry is not None else None
        stored = self._accounts().password_of(account) if account is not None else None
        if account is None or stored is None:
            verify_password(self._nobody, secret, self._pepper)
            return Verdict.UNKNOWN
        checked = verify_password(stored, secret, self._pepper)
        if not checked.right:
            if not is_ours(stored):
                verify_password(self._nobody, secret, self._pepper)
            return Verdict.WRONG
        if checked.stale:
            self._accounts().replace_hash(account, stored, self._hashed(secret))
        return Verdict.RIGHT

    def change(self, entry: Entry, secret: str) -> None:
        """Set a password; the caller has refused weak ones."""
        if entry.account is None:
            raise ValueError("no account")
        accounts = self._accounts()
        hashed = self._hashed(secret)
        with accounts.transaction():
            accounts.set_password(AccountId(entry.account), hashed, int(time.time()))

    def close(self) -> None:
        """Close what was opened; no thread may be in a call."""
        for accounts in self._opened:
            accounts.close()
        self._opened.clear()
        self._own = threading.local()

    def _hashed(self, secret: str) -> str:
        return hash_password(secret, self._pepper, self._random(SALT_OCTETS))

    def _accounts(self) -> Accounts:
        mine: Accounts | None = getattr(self._own, "accounts", None)
        if mine is None:
            mine = self._own.accounts = open_accounts(self._database)
            self._opened.append(mine)
        return mine
