"""RENAME (RFC 9051 section 6.3.6)."""

from ..names import fold_inbox
from ..session import Session
from ..steps import Steps, work
from ..values import Rename


def handle_rename(session: Session, args: Rename) -> Steps:
    """Rename it with its children; INBOX gives its messages away and stays."""
    yield from work(session.mail.rename, fold_inbox(args.mailbox), fold_inbox(args.new_name))
    return b"OK RENAME completed"
