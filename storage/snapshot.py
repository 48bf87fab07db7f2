"""The snapshot file of a mailbox: UIDs, flags and MODSEQs as three arrays, so that SELECT need not read the index row by row.

    magic "PSNAP1" and the byte order, u64 mailbox, u64 uidvalidity, u64 highestmodseq, u64 count, u32 crc of the arrays
    uids (u32 each), flags (u64 each), modseqs (u64 each), in this machine's byte order

With sealing on the whole is a sealed blob under the account's cache key, and the crc is checked all the same. It is a
cache: written without fsync, read with every check there is; whatever does not fit is made again from the index.

Owns the form of the file. Never decides whether a snapshot is recent enough: open_mailbox does.
"""

import struct
import sys
import zlib
from array import array
from dataclasses import dataclass

from .api import MailboxId, ModSeq, UidValidity, Unavailable
from .seal import open_blob, seal_blob

_MAGIC = b"PSNAP1" + (b"<\n" if sys.byteorder == "little" else b">\n")
_HEAD = struct.Struct("<8sQQQQI")
_ROW = 4 + 8 + 8
MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The arrays of a mailbox as they were at `highestmodseq`."""

    mailbox: MailboxId
    uidvalidity: UidValidity
    highestmodseq: ModSeq
    uids: "array[int]"
    flags: "array[int]"
    modseqs: "array[int]"


def render_snapshot(snapshot: Snapshot, key: bytes | None) -> bytes:
    """The file's octets; sealed when there is a key."""
    body = snapshot.uids.tobytes() + snapshot.flags.tobytes() + snapshot.modseqs.tobytes()
    head = _HEAD.pack(
        _MAGIC, snapshot.mailbox, snapshot.uidvalidity, snapshot.highestmodseq, len(snapshot.uids), zlib.crc32(body)
    )
    data = head + body
    return data if key is None else seal_blob(key, _purpose(snapshot.mailbox), data)


def parse_snapshot(data: bytes, mailbox: MailboxId, key: bytes | None) -> Snapshot | None:
    """The snapshot of this mailbox; None when the octets are not one (damaged, of another machine, version or key)."""
    if key is not None:
        try:
            data = open_blob(key, _purpose(mailbox), data)
        except Unavailable:
            return None
    if len(data) < _HEAD.size:
        return None
    magic, number, uidvalidity, highestmodseq, count, crc = _HEAD.unpack_from(data)
    body = memoryview(data)[_HEAD.size :]
    if magic != _MAGIC or number != mailbox or len(body) != count * _ROW or zlib.crc32(body) != crc:
        return None
    uids, flags, modseqs = array("I"), array("Q"), array("Q")
    uids.frombytes(body[: count * 4])
    flags.frombytes(body[count * 4 : count * 12])
    modseqs.frombytes(body[count * 12 :])
    return Snapshot(mailbox, UidValidity(uidvalidity), ModSeq(highestmodseq), uids, flags, modseqs)


def _purpose(mailbox: MailboxId) -> bytes:
    return b"snapshot %d" % mailbox
