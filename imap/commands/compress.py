"""COMPRESS (RFC 4978).

The connection itself begins to deflate, after the answer (imap/deflate.py).
"""

from ..session import Session, Upgrade
from ..steps import Steps
from ..values import Compress


def handle_compress(session: Session, args: Compress) -> Steps:
    """Agree, unless it is on already."""
    yield from ()
    if args.mechanism != "DEFLATE":
        return b"NO [CANNOT] No such mechanism"
    if session.compressed:
        return b"NO [COMPRESSIONACTIVE] Compression is on already"
    session.compressed = True
    session.upgrade = Upgrade.DEFLATE
    return b"OK Compression begins now"
