"""Policy `account_rate`: distinct wrong passwords for one login from one network.

Five, then a wait of one minute, and twice as long after each further one, up to an hour. What makes it no weapon:

- only distinct secrets count: a phone that repeats an old password for a week counts once (a ring of 16 MACs);
- the end of a wait is fixed when it is set: attempts during it are refused unverified and change nothing;
- it holds for one network and for passwords only: the owner elsewhere, on a known network or with an app password
  does not feel it (decisions 28);
- a login that does not exist is counted in the same way, under a MAC of what was typed.
"""

from dataclasses import dataclass

from ..api import Reason
from .values import Facts, Refuse

NAME = "account_rate"
RING = 16
TAG_OCTETS = 8


@dataclass(frozen=True, slots=True)
class AccountRateSettings:
    """distinct: wrong passwords before the first wait.  base, longest: seconds of waits.  forget: seconds of quiet."""

    distinct: int = 5
    base: int = 60
    longest: int = 3600
    forget: int = 86_400


@dataclass(frozen=True, slots=True)
class AccountState:
    """Of one subject and network. `ring`: MACs of the last wrong secrets, newest last; times in seconds since 1970."""

    ring: tuple[bytes, ...] = ()
    distinct: int = 0
    locked_until: int = 0
    last: int = 0


EMPTY = AccountState()


def current(state: AccountState, now: float, settings: AccountRateSettings) -> AccountState:
    """The state as of now: forgotten after a quiet time, and when the clock was ahead that noted it."""
    quiet = now - max(state.last, state.locked_until) > settings.forget
    return EMPTY if state.last and (quiet or state.last > now + settings.longest) else state


def before(
    facts: Facts, state: AccountState, now: float, settings: AccountRateSettings, *, in_flight: int = 0
) -> Refuse | None:
    """Refuse during a wait. `in_flight`: other secrets being verified now for the same subject and network.

    They count as wrong until proven right, else a hundred connections at once would have a hundred tries.
    """
    if not facts.password or facts.known_network:
        return None
    state = current(state, now, settings)
    if state.locked_until > now:
        return Refuse(NAME, Reason.LOCKED, max(1, int(state.locked_until - now + 0.999)))
    if in_flight >= max(1, settings.distinct - state.distinct):
        return Refuse(NAME, Reason.LOCKED, 1)
    return None


def failed(facts: Facts, state: AccountState, now: float, settings: AccountRateSettings) -> AccountState:
    """The state after a wrong password was verified."""
    state = current(state, now, settings)
    if facts.tag in state.ring:
        ring = (*(tag for tag in state.ring if tag != facts.tag), facts.tag)
        return AccountState(ring, state.distinct, state.locked_until, int(now))
    distinct = state.distinct + 1
    locked_until = state.locked_until
    if distinct >= settings.distinct and locked_until <= now:
        doublings = min(distinct - settings.distinct, 32)
        locked_until = int(now) + min(settings.longest, settings.base << doublings)
    return AccountState((*state.ring, facts.tag)[-RING:], distinct, locked_until, int(now))
