"""Policy of second factors: how many wrong codes an account may have (auth-security 1.3).

Five in fifteen minutes, twenty a day. With three valid codes at a time, twenty guesses a day leave 2 % after a year of
guessing; a hundred leave 10 %. A code is charged before it is looked at and given back when it was right, so that many
guesses at once are no more than many guesses.
"""

from dataclasses import dataclass

from .values import is_recent


@dataclass(frozen=True, slots=True)
class CodeBudget:
    """Wrong codes in `window` seconds and in a day."""

    short: int = 5
    window: int = 900
    daily: int = 20
    day: int = 86_400


def charge(wrong: tuple[int, ...], now: float, budget: CodeBudget) -> tuple[int, ...] | None:
    """The times of wrong codes with this try among them; None when there is no try left. Never longer than `daily`."""
    recent = tuple(when for when in wrong if is_recent(when, now, budget.day))
    if len(recent) >= budget.daily or sum(is_recent(when, now, budget.window) for when in recent) >= budget.short:
        return None
    return (*recent, int(now))


def refund(wrong: tuple[int, ...], when: int) -> tuple[int, ...]:
    """Without one charge of that time: the code was right."""
    rest = list(wrong)
    if when in rest:
        rest.remove(when)
    return tuple(rest)
