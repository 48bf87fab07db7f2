"""GETQUOTA and GETQUOTAROOT (RFC 9208): one root, the account's, with the room its messages take.

SETQUOTA is not offered: limits are the operator's.
"""

from ..encode import render_astring, render_mailbox
from ..session import Session
from ..steps import Steps
from ..values import GetQuota, GetQuotaRoot

ROOT = ""
_UNIT = 1024  # RFC 9208 section 5.1: STORAGE counts in units of 1024 octets


def handle_getquota(session: Session, args: GetQuota) -> Steps:
    """Tell used and allowed room of the root."""
    if args.root != ROOT:
        return b"NO [NONEXISTENT] No such quota root"
    yield _quota(session)
    return b"OK GETQUOTA completed"


def handle_getquotaroot(session: Session, args: GetQuotaRoot) -> Steps:
    """Tell the root of a mailbox, the same for all, and its quota."""
    info = session.mail.find(args.mailbox)
    yield b"* QUOTAROOT " + render_mailbox(info.name, utf8=session.utf8) + b" " + render_astring(ROOT.encode()) + b"\r\n"
    yield _quota(session)
    return b"OK GETQUOTAROOT completed"


def _quota(session: Session) -> bytes:
    assert session.account is not None
    quota = session.account.quota()
    name = render_astring(ROOT.encode())
    if quota.limit is None:
        return b"* QUOTA " + name + b" ()\r\n"  # no resource is limited
    used, limit = -(-quota.used // _UNIT), quota.limit // _UNIT
    return b"* QUOTA " + name + b" (STORAGE %d %d)\r\n" % (used, limit)
