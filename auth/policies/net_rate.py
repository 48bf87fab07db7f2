"""Policy `net_rate`: wrong passwords from one network, whatever the login.

Thirty distinct ones in ten minutes, then each waits, longer and longer; sixty, and passwords from there are refused for
ten minutes. Ten distinct logins that do not exist within an hour are a list being tried: refused for an hour. A known
network of the account and every app password pass untouched (decisions 28): a school is one address behind NAT.

One network more or less is nothing to a botnet: this bounds work, account_rate protects accounts.
"""

from dataclasses import dataclass

from ..api import Reason
from .values import Decision, Delay, Facts, Refuse, is_recent

NAME = "net_rate"


@dataclass(frozen=True, slots=True)
class NetRateSettings:
    """Counts of distinct failures, and seconds."""

    slow: int = 30  # failures in `window` before attempts wait
    refuse: int = 60  # failures in `window` before they are refused
    window: int = 600
    refuse_for: int = 600
    delay_first: float = 2.0
    delay_longest: float = 15.0
    unknown: int = 10  # distinct unknown logins in `unknown_window`
    unknown_window: int = 3600
    unknown_refuse_for: int = 3600


@dataclass(frozen=True, slots=True)
class NetState:
    """Of one network: (time, tag) of the last distinct failures, (time, subject) of unknown logins; never longer than the
    counts of the settings."""

    failures: tuple[tuple[int, bytes], ...] = ()
    unknown: tuple[tuple[int, str], ...] = ()
    refused_until: int = 0


EMPTY = NetState()


def before(facts: Facts, state: NetState, now: float, settings: NetRateSettings, *, in_flight: int = 0) -> Decision | None:
    """Refuse or delay. `in_flight`: passwords being verified now for the same network."""
    if not facts.password or facts.known_network:
        return None
    if _is_refused(state, now, settings):
        return Refuse(NAME, Reason.LOCKED, max(1, int(state.refused_until - now + 0.999)))
    recent = sum(is_recent(when, now, settings.window) for when, _ in state.failures)
    if in_flight >= max(1, settings.refuse - recent):
        return Refuse(NAME, Reason.LOCKED, 1)
    if recent >= settings.slow:
        return Delay(NAME, min(settings.delay_longest, settings.delay_first + (recent - settings.slow)))
    return None


def _is_refused(state: NetState, now: float, settings: NetRateSettings) -> bool:
    return state.refused_until > now and is_recent(
        state.refused_until, now, 2 * max(settings.refuse_for, settings.unknown_refuse_for)
    )


def failed(facts: Facts, state: NetState, now: float, settings: NetRateSettings) -> NetState:
    """The state after a wrong password was verified, known network or not."""
    moment = int(now)
    failures = tuple(entry for entry in state.failures if is_recent(entry[0], now, settings.window) and entry[1] != facts.tag)
    failures = (*failures, (moment, facts.tag))[-settings.refuse :]
    unknown = tuple(entry for entry in state.unknown if is_recent(entry[0], now, settings.unknown_window))
    if not facts.known_subject:
        unknown = (*(entry for entry in unknown if entry[1] != facts.subject), (moment, facts.subject))[-settings.unknown :]
    refused_until = state.refused_until if _is_refused(state, now, settings) else 0
    if not refused_until:  # fixed when set: failures that were under way do not prolong it
        if len(unknown) >= settings.unknown:
            refused_until = moment + settings.unknown_refuse_for
        elif len(failures) >= settings.refuse:
            refused_until = moment + settings.refuse_for
        if refused_until > now:
            # Begin afresh afterwards, else the first failure after the refusal would bring the next one at once.
            failures, unknown = (), ()
    return NetState(failures, unknown, refused_until)
