"""Passwords verified a moment ago: five minutes without another argon2 (auth-security 2.1).

Everything that took part in the decision is in the key, under a key of this process: account, service, network, secret.
A hit can never be another's (CVE-2025-30189 was a cache keyed on too little). Revocation flushes.
"""

import hmac
from collections import OrderedDict

from ..storage.api import AccountId
from .api import Service

_MAX = 10_000


class Verified:
    """Remembers what was right; bounded, oldest out first."""

    def __init__(self, key: bytes, seconds: int) -> None:
        """`key`: random, of this process."""
        self._key = key
        self._seconds = seconds
        self._entries: OrderedDict[bytes, tuple[AccountId, float]] = OrderedDict()  # -> account, since

    def add(self, account: AccountId, service: Service, network: str, secret: str, now: float) -> None:
        """It was right now. A hit does not prolong: after `seconds` the hash is asked again."""
        key = self._mac(account, service, network, secret)
        found = self._entries.get(key)
        if found is None or not self._lasts(found[1], now):
            self._entries[key] = (account, now)
            self._entries.move_to_end(key)
            if len(self._entries) > _MAX:
                self._entries.popitem(last=False)

    def has(self, account: AccountId, service: Service, network: str, secret: str, now: float) -> bool:
        """Whether it was right lately."""
        found = self._entries.get(self._mac(account, service, network, secret))
        return found is not None and self._lasts(found[1], now)

    def _lasts(self, since: float, now: float) -> bool:
        return abs(now - since) < self._seconds  # a clock that is set back prolongs nothing

    def forget(self, account: AccountId | None) -> None:
        """Flush an account; None: all."""
        for key in [key for key, (owner, _) in self._entries.items() if account is None or owner == account]:
            del self._entries[key]

    def _mac(self, account: AccountId, service: Service, network: str, secret: str) -> bytes:
        text = "\0".join((account, service, network, secret))
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")
