"""Where mail for an address goes, when backends elsewhere know people who are not in auth.db yet.

Somebody a backend knows gets an account when mail first arrives or when they first sign in, whichever is earlier; only
under a domain served here. Owns that step; the statements are directory.py's.
"""

from collections.abc import Awaitable, Callable

from ..daemon.log import logger
from ..storage.api import Unavailable
from .accounts import Account, Accounts
from .addresses import InvalidAddress, domain_of, normalise_address, without_tag
from .api import AuthUnavailable, Recipients
from .backends.api import Backend, Entry
from .backends.load import Backends
from .directory import NOWHERE, Directory, TooManyRecipients
from .hashing import BoundedThreads

log = logger("auth")

_ROLES = frozenset({"postmaster", "abuse"})
"""Local parts that every domain has (RFC 5321 section 4.5.1, RFC 2142): administrators read what nobody else was given."""


class RecipientLookup:
    """Answers LOOKUP for one engine, on its loop."""

    def __init__(
        self,
        accounts: Accounts,
        directory: Directory,
        backends: Backends,
        threads: BoundedThreads,
        add_account: Callable[[str, str, str], Awaitable[None]],
        *,
        delimiter: str,
        limit: int,
    ) -> None:
        """`threads`: for backends.  `add_account(address, name, backend)` writes.  `limit`: recipients of one address."""
        self._accounts = accounts
        self._directory = directory
        self._backends = backends
        self._threads = threads
        self._add_account = add_account
        self._delimiter = delimiter
        self._limit = limit

    async def lookup(self, address: str) -> Recipients:
        """Recipients of an address in key form. Raise AuthUnavailable."""
        try:
            found = self._expand(address)
            if found is NOWHERE and self._directory.serves(domain_of(address)):
                backend = self._backends.of_domain(domain_of(address))
                for candidate in filter(None, (address, without_tag(address, self._delimiter))):
                    entry = await self.entry(candidate, backend)
                    if entry is not None and await self.provide(entry, backend) is not None:
                        return self._expand(address)
                if address.partition("@")[0] in _ROLES:
                    return self._directory.administrators(limit=self._limit)
            return found
        except (Unavailable, TooManyRecipients) as error:
            log.error("lookup not possible", reason=str(error))
            raise AuthUnavailable(str(error)) from error

    def _expand(self, address: str) -> Recipients:
        return self._directory.lookup(address, delimiter=self._delimiter, limit=self._limit)

    async def entry(self, address: str | None, backend: Backend) -> Entry | None:
        """Whom a backend knows under an address. Raise AuthUnavailable."""
        if address is None or "lookup" not in backend.capabilities:
            return None
        return await self._threads.run(lambda: backend.lookup(address))

    async def provide(self, entry: Entry, backend: Backend) -> Account | None:
        """The account of somebody a backend knows: made when first seen. Raise storage.api.Unavailable."""
        try:
            address = normalise_address(entry.address)
        except InvalidAddress:
            address = ""
        if not self._directory.serves(domain_of(address)):
            log.warning("backend names an address of no domain here", backend=backend.name)
            return None
        if not self._directory.is_taken(address):
            await self._add_account(address, entry.name, backend.name)
        return self._accounts.by_address(address)
