"""GETQUOTA and GETQUOTAROOT (RFC 9208): one root, the account's, with the room its messages take.

An account without a limit has no root: an empty list of resources, which the text of the RFC knows (section 4.2.1), is not in
its grammar (section 7), and Thunderbird takes it for a syntax error and leaves. SETQUOTA is not offered: limits are the
operator's.
"""

from ..encode import render_astring, render_mailbox
from ..session import Session
from ..steps import Steps
from ..values import GetQuota, GetQuotaRoot

ROOT = ""
_UNIT = 1024  # RFC 9208 section 5.1: STORAGE counts in units of 1024 octets


def handle_getquota(session: Session, args: GetQuota) -> Steps:
    """Tell used and allowed room of the root."""
    told = _quota(session) if args.root == ROOT else b""
    if not told:
        return b"NO [NONEXISTENT] No such quota root"
    yield told
    return b"OK GETQUOTA completed"


def handle_getquotaroot(session: Session, args: GetQuotaRoot) -> Steps:
    """Tell the root of a mailbox, the same for all, and its quota."""
    info = session.mail.find(args.mailbox)
    told = _quota(session)
    root = b" " + render_astring(ROOT.encode()) if told else b""
    yield b"* QUOTAROOT " + render_mailbox(info.name, utf8=session.utf8) + root + b"\r\n"
    if told:
        yield told
    return b"OK GETQUOTAROOT completed"


def _quota(session: Session) -> bytes:
    """Empty where nothing is limited."""
    assert session.account is not None
    quota = session.account.quota()
    if quota.limit is None:
        return b""
    used, limit = -(-quota.used // _UNIT), quota.limit // _UNIT
    return b"* QUOTA " + render_astring(ROOT.encode()) + b" (STORAGE %d %d)\r\n" % (used, limit)
