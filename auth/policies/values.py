"""What policies weigh and what they say.

A policy is a pure function of (facts, state, now): None lets the attempt go on, a Delay makes it wait, a Refuse ends it.
Delays add up, the first Refuse wins. Facts of an unknown login look like those of a known one.
"""

from dataclasses import dataclass

from ..api import Reason


def is_recent(when: float, now: float, seconds: float) -> bool:
    """Whether something happened less than `seconds` before now. What is further ahead was noted by a clock that was wrong:
    nobody is kept out until the clock comes there again."""
    return abs(now - when) < seconds


@dataclass(frozen=True, slots=True)
class Facts:
    """One attempt as policies see it: never a login, never a secret."""

    subject: str  # the account's id, or `?` and a MAC of a login that is none
    network: str  # /24 or /48 of the peer, see networks.py
    loopback: bool
    tls: bool
    known_network: bool = False  # the account signed in from there within 60 days
    password: bool = False  # judged by the rates: password attempts only (decisions 28)
    tag: bytes = b""  # MAC of subject and secret: the same wrong secret again is known by it

    @property
    def known_subject(self) -> bool:
        """Whether the login is of an account."""
        return not self.subject.startswith("?")


@dataclass(frozen=True, slots=True)
class Refuse:
    """The attempt ends here, unverified."""

    policy: str
    reason: Reason
    retry_after: int = 0  # seconds


@dataclass(frozen=True, slots=True)
class Delay:
    """The attempt waits this long before it is verified."""

    policy: str
    seconds: float


Decision = Refuse | Delay
