"""What sign-ins leave behind, gathered and written once a second: last uses, known networks, policy states.

IMAP clients sign in all the time; one write a sign-in would be an fsync each. A last use is written once in six hours and
network, a known network once a day. Losing a second of this in a power cut loses nothing anybody was promised.

Owns what is pending. The loop's thread gathers; `take` hands it to the thread that writes.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from ..storage.api import AccountId
from .accounts import Accounts, Credential
from .api import Service
from .policies.account_rate import AccountState

_USED_EVERY = 6 * 3600
_DAY = 86_400
_REMEMBERED = 50_000


@dataclass(slots=True)
class Pending:
    """What waits to be written; the fields are the arguments of Accounts.write_usage."""

    used: dict[int, tuple[int, str, str]] = field(default_factory=dict)
    networks: dict[tuple[AccountId, str], int] = field(default_factory=dict)
    failures: dict[tuple[str, str], AccountState] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.used or self.networks or self.failures)


class Usage:
    """Gathers for one engine."""

    def __init__(self, accounts: Accounts) -> None:
        """`accounts`: to ask which networks are known."""
        self._accounts = accounts
        self._pending = Pending()
        self._seen: OrderedDict[tuple[AccountId, str], int] = OrderedDict()  # -> day

    def knows(self, account: AccountId, network: str, now: float) -> bool:
        """Whether the account signed in from the network lately."""
        return (account, network) in self._seen or self._accounts.knows_network(account, network, now)

    def signed_in(self, account: AccountId, credential: Credential | None, service: Service, network: str, now: float) -> None:
        """Note a sign-in; `credential` is the app password, if it was one."""
        if credential is not None and credential.row not in self._pending.used:
            bucket = int(now) // _USED_EVERY
            if (credential.last_used or 0) // _USED_EVERY != bucket or credential.last_network != network:
                self._pending.used[credential.row] = (int(now), service, network)
        key, day = (account, network), int(now) // _DAY
        if self._seen.get(key) != day:
            self._seen[key] = day
            self._seen.move_to_end(key)
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
            self._pending.networks[key] = int(now)

    def take(self, failures: dict[tuple[str, str], AccountState]) -> Pending:
        """What is pending, with `failures`; it is no longer."""
        taken, self._pending = self._pending, Pending()
        taken.failures = failures
        return taken

    def give_back(self, pending: Pending) -> None:
        """It could not be written: keep it (failures are the policy chain's to keep)."""
        self._pending.used = {**pending.used, **self._pending.used}
        self._pending.networks = {**pending.networks, **self._pending.networks}
        self._seen.clear()

    def forget(self, account: AccountId) -> None:
        """The account is gone or starts afresh."""
        for key in [key for key in self._seen if key[0] == account]:
            del self._seen[key]
