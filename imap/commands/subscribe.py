"""SUBSCRIBE and UNSUBSCRIBE (RFC 9051 sections 6.3.7 and 6.3.8)."""

from ..names import fold_inbox
from ..session import Session
from ..steps import Steps, work
from ..values import Subscribe, Unsubscribe


def handle_subscribe(session: Session, args: Subscribe) -> Steps:
    """Add a name, existing or not, to the subscriptions."""
    yield from work(session.mail.subscribe, fold_inbox(args.mailbox), True)
    return b"OK SUBSCRIBE completed"


def handle_unsubscribe(session: Session, args: Unsubscribe) -> Steps:
    """Take a name away; one that is not subscribed is no fault."""
    yield from work(session.mail.subscribe, fold_inbox(args.mailbox), False)
    return b"OK UNSUBSCRIBE completed"
