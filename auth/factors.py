"""Second factors checked: a TOTP code or a recovery code opens once, whoever asks at the same time (RFC 6238 section 5.2).

For the pages and for tools that ask a person twice; over mail and DAV no code is taken, there app passwords sign in.
Plain calls, for worker threads: the key holder is asked for the sealed secret.
"""

import time
from collections.abc import Callable

from ..storage.api import AccountId
from . import totp
from .accounts import Accounts
from .key_source import KeySource
from .policies.account_rate import AccountState
from .policies.code_budget import CodeBudget, charge, refund

_NETWORK = "-"
_TIME = 8  # octets of a time in the ring


class SecondFactors:
    """Checks codes of accounts, within a budget of wrong ones that is written down."""

    def __init__(
        self,
        accounts: Accounts,
        key_source: KeySource,
        pepper: bytes,
        *,
        clock: Callable[[], float] = time.time,
        budget: CodeBudget | None = None,
    ) -> None:
        """Share an open database; one thread's at a time."""
        self._accounts = accounts
        self._key_source = key_source
        self._pepper = pepper
        self._clock = clock
        self._budget = budget or CodeBudget()

    def check(self, account: AccountId, typed: str) -> bool:
        """Whether `typed` is a code of the account that was never used. Raise AuthUnavailable, storage.api.Unavailable."""
        now = self._clock()
        if not self._charge(account, now):
            return False
        right = self._is_right(account, typed.strip(), now)
        if right:
            self._change(account, lambda wrong: refund(wrong, int(now)))
        return right

    def _is_right(self, account: AccountId, typed: str, now: float) -> bool:
        if (symbols := totp.parse_recovery_code(typed)) is not None:
            return self._accounts.consume_recovery(account, totp.recovery_mac(self._pepper, account, symbols), int(now))
        found = self._accounts.totp(account)
        if found is None:
            return False
        step = totp.matching_step(self._key_source.totp_open(account, found[0]), typed, now)
        return step is not None and self._accounts.consume_step(account, step)

    def _charge(self, account: AccountId, now: float) -> bool:
        return self._change(account, lambda wrong: charge(wrong, now, self._budget))

    def _change(self, account: AccountId, change: Callable[[tuple[int, ...]], tuple[int, ...] | None]) -> bool:
        subject = f"otp:{account}"
        with self._accounts.transaction():
            state = self._accounts.fail_state(subject, _NETWORK) or AccountState()
            wrong = change(tuple(int.from_bytes(entry, "big") for entry in state.ring))
            if wrong is None:
                return False
            ring = tuple(when.to_bytes(_TIME, "big") for when in wrong)
            self._accounts.write_failure(subject, _NETWORK, AccountState(ring, len(ring), 0, max(wrong, default=0)))
        return True
