"""The key store asked in the process that has it open: the command line when `keys` does not run, and tests.

Owns the same answers as RUN/keys-*.sock, as plain calls for `auth` (key_source.KeySource) and for daemons (KeyHolder). Who
can open the key store can read all of it: nothing is checked here but tickets.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..storage.api import AccountId, AccountKeys, StoreError
from .api import AuthUnavailable
from .key_store import PEPPER, TICKET_KEY, KeyStore, open_totp, seal_totp
from .tickets import InvalidTicket, public_key_of, verify_ticket


class LocalKeySource:
    """See key_source.KeySource."""

    def __init__(self, store: KeyStore, *, clock: Callable[[], float] = time.time) -> None:
        """The store is closed by who opened it."""
        self._store = store
        self._clock = clock

    def pepper(self) -> bytes:
        """See KeySource."""
        with _translated():
            return self._store.secret(PEPPER, int(self._clock()))

    def ticket_key(self) -> bytes:
        """See KeySource."""
        with _translated():
            return self._store.secret(TICKET_KEY, int(self._clock()))

    def totp_seal(self, account: AccountId, secret: bytes) -> bytes:
        """See KeySource."""
        with _translated():
            return seal_totp(self._store, account, secret, int(self._clock()))

    def totp_open(self, account: AccountId, blob: bytes) -> bytes:
        """See KeySource."""
        with _translated():
            return open_totp(self._store, account, blob, int(self._clock()))


class LocalKeyHolder:
    """See auth.api.KeyHolder."""

    def __init__(self, store: KeyStore, *, clock: Callable[[], float] = time.time) -> None:
        """The store is closed by who opened it."""
        self._store = store
        self._clock = clock

    async def unwrap(self, ticket: bytes) -> AccountKeys:
        """See KeyHolder."""
        with _translated():
            public = public_key_of(self._store.secret(TICKET_KEY, int(self._clock())))
            opened = verify_ticket(ticket, public, int(self._clock()))
            return await asyncio.to_thread(self._store.account_keys, opened.account, int(self._clock()))

    async def delivery_keys(self, account: AccountId) -> AccountKeys:
        """See KeyHolder."""
        with _translated():
            keys = await asyncio.to_thread(self._store.account_keys, account, int(self._clock()))
            return replace(keys, secret=None)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (StoreError, InvalidTicket) as error:
        raise AuthUnavailable(f"keys: {error}") from None
