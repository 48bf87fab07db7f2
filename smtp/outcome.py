"""What became of a recipient in one try, and the replies that say it where no peer did (RFC 3463).

Owns the values between those who deliver (relay.py, local.py) and those who keep the queue. Pure.
"""

from dataclasses import dataclass, replace
from enum import Enum

from .client import PeerReply


class Verdict(Enum):
    """DELIVERED: in a mailbox here.  RELAYED: taken by a host that will not tell of success.  PASSED: by one that will.

    EXPANDED: others stand for it now.  DEFERRED: later.  POSTPONED: later, and it was no try.  FAILED: never.
    """

    DELIVERED = "delivered"
    RELAYED = "relayed"
    PASSED = "passed"
    EXPANDED = "expanded"
    DEFERRED = "deferred"
    POSTPONED = "postponed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status`: enhanced code.  `text`: the reply as it was said, or our own words.  `host`: who said it, "" for us.

    `after`: seconds until a postponed one is looked at again.
    """

    verdict: Verdict
    status: str
    text: str
    host: str = ""
    after: int = 0

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to do for the recipient."""
        return self.verdict not in (Verdict.DEFERRED, Verdict.POSTPONED)

    def at(self, host: str) -> "Outcome":
        """The same, said by `host`."""
        return replace(self, host=host)


def from_reply(reply: PeerReply, host: str) -> Outcome:
    """A refusal of a peer: 4xx comes again, 5xx does not."""
    return Outcome(Verdict.FAILED if reply.permanent else Verdict.DEFERRED, reply.enhanced, str(reply), host)


def deferred(status: str, text: str, host: str = "") -> Outcome:
    """Later, for a reason of ours."""
    return Outcome(Verdict.DEFERRED, status, text, host)


def failed(status: str, text: str, host: str = "") -> Outcome:
    """Never, for a reason of ours."""
    return Outcome(Verdict.FAILED, status, text, host)


def postponed(text: str, after: int) -> Outcome:
    """Not tried: something of our own was not there, or too busy."""
    return Outcome(Verdict.POSTPONED, "4.3.2", text, after=after)


NULL_MX = failed("5.1.10", "the domain takes no mail (null MX)")  # RFC 7505 section 4.2
NO_SUCH_DOMAIN = failed("5.1.2", "no such domain")
NO_ADDRESS = failed("5.4.4", "the domain has neither a mail host nor an address")
BAD_ADDRESS = failed("5.1.3", "not an address that can be sent to")
UNKNOWN_LOCAL = failed("5.1.1", "no such recipient here")
LOOPS_BACK = failed("5.4.6", "mail loop: the mail host of the domain is this one")
MAIL_LOOP = failed("5.4.6", "mail loop: received too often")
MESSAGE_LOST = failed("5.3.0", "the message is no longer in the queue")
NEEDS_8BIT = failed("5.6.3", "the next host does not take 8-bit content (8BITMIME)")
NEEDS_UTF8 = failed("5.6.7", "the next host does not take internationalised addresses (SMTPUTF8)")
NEEDS_BINARY = failed("5.6.3", "the next host does not take binary content (BINARYMIME)")
TOO_LARGE = failed("5.3.4", "larger than the next host takes")
DNS_FAILED = deferred("4.4.3", "the domain's mail host could not be looked up")
NO_TIME_LEFT = deferred("4.4.2", "the connection broke while the message was sent")
