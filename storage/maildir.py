"""Names in a Maildir++ (https://cr.yp.to/proto/maildir.html, Courier's maildir(5)): messages, flags, directories.

A message lies at `cur/<base>:2,<letters>`. Our own base name is unique by time, process and counter and says what a
rebuild wants to know:

    1764040000.preau-M000123P4711Q9E00f1a2b3c4d5e6f7[D<24 hex>].host,S=2048,W=2048

E: the EMAILID; D: hash of the delivery id, so that a retry finds its twin; S and W: octets with CRLF line ends (RFC822.SIZE).
The marker `preau-` tells adoption that a file without a row may belong to a delivery under way.

Directories of mailboxes are those of Maildir++: `.` before each part, parts in modified UTF-7 (RFC 3501 section 5.1.3);
`.`, `~` and what is not printable ASCII are written in its base64. A name that would be longer than 200 octets, or whose
directory is taken, gets `.~<hash>`.

Owns these spellings. Never touches the disk; never makes a path out of a name without escaping it.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from .api import ANSWERED, DELETED, DRAFT, FIRST_KEYWORD_BIT, FLAGGED, SEEN

INFO = ":2,"
MAX_DIRECTORY = 200  # octets; ext4 and XFS allow 255, a suffix must fit
MAX_BASE = 200  # octets of a base name: `:2,` and 31 letters must fit within 255

# Letters ascending, as the specification asks. Keywords take a to z by their bit, as Dovecot does it.
_LETTERS = (
    *(("D", DRAFT), ("F", FLAGGED), ("R", ANSWERED), ("S", SEEN), ("T", DELETED)),
    *((chr(97 + number), 1 << (FIRST_KEYWORD_BIT + number)) for number in range(26)),
)
_BIT_OF = dict(_LETTERS)
NAMED_FLAGS = sum(bit for _, bit in _LETTERS)
"""The flags a file name can show: the system flags and the first 26 keywords."""

_OWN = re.compile(
    r"(?P<time>[0-9]{1,12})\.preau-M[0-9]{6}P[0-9]{1,10}Q[0-9]{1,12}E(?P<email>[0-9a-f]{16})(?:D(?P<delivery>[0-9a-f]{24}))?"
    r"\.[A-Za-z0-9_-]{1,63},S=(?P<size>[0-9]{1,12}),W=[0-9]{1,12}\Z"
)
_PLAIN_BASE = re.compile(r"[\x21-\x2e\x30-\x39\x3b-\x7e]+\Z")  # printable ASCII without space, slash and colon
_NOT_HOST = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class OwnName:
    """What one of our base names says."""

    time: int
    email_id: int
    delivery: bytes | None
    size: int


def render_base(
    *, time_us: int, process: int, counter: int, host: str, email_id: int, size: int, delivery: bytes | None = None
) -> str:
    """A base name of ours. `time_us`: microseconds since 1970; `delivery`: 12 bytes or None."""
    seconds, microseconds = divmod(time_us, 1_000_000)
    twin = f"D{delivery.hex()}" if delivery else ""
    where = _NOT_HOST.sub("-", host)[:63] or "host"
    return f"{seconds}.preau-M{microseconds:06d}P{process}Q{counter}E{email_id:016x}{twin}.{where},S={size},W={size}"


def parse_base(base: str) -> OwnName | None:
    """What a base name of ours says; None for any other."""
    match = _OWN.match(base)
    if match is None:
        return None
    delivery = match["delivery"]
    return OwnName(
        time=int(match["time"]),
        email_id=int(match["email"], 16) & 0x7FFFFFFFFFFFFFFF,
        delivery=bytes.fromhex(delivery) if delivery else None,
        size=int(match["size"]),
    )


def is_plain_base(base: str) -> bool:
    """Whether a base name can be kept in a row and a sidecar; adoption gives the others a new one."""
    return len(base) <= MAX_BASE and _PLAIN_BASE.match(base) is not None


def delivery_hash(mailbox: int, delivery_id: str) -> bytes:
    """What is kept of a delivery id: 12 bytes, another for each mailbox it goes to."""
    return hashlib.sha256(f"{mailbox}\0{delivery_id}".encode("utf-8", "surrogatepass")).digest()[:12]


def file_name(base: str, flags: int) -> str:
    """The name in cur/ of a message with these flags (bits)."""
    return base + _info(flags & NAMED_FLAGS)


@lru_cache(maxsize=4_096)
def _info(flags: int) -> str:
    return INFO + "".join([letter for letter, bit in _LETTERS if flags & bit])


def split_name(name: str) -> tuple[str, int, str]:
    """Base, flags (bits) and the letters that mean nothing here, of a name in cur/ or new/."""
    base, _, letters = name.partition(INFO)
    flags, unknown = 0, []
    for letter in letters:
        bit = _BIT_OF.get(letter)
        if bit is None:
            unknown.append(letter)
        else:
            flags |= bit
    return base, flags, "".join(unknown)


def directory_name(mailbox: str) -> str:
    """The directory of a mailbox of this name (`/` between parts), relative to the Maildir; `` for INBOX."""
    if mailbox == "INBOX":
        return ""
    name = "".join("." + _encode_part(part) for part in mailbox.split("/"))
    return name if len(name) <= MAX_DIRECTORY else hashed_directory(mailbox)


def hashed_directory(mailbox: str, salt: int = 0) -> str:
    """A directory whose name tells nothing: for long names, and where the plain one is taken (`salt`: the mailbox's id)."""
    return ".~" + hashlib.sha256(f"{salt}/{mailbox}".encode("utf-8", "surrogatepass")).hexdigest()[:40]


def mailbox_name(directory: str) -> str | None:
    """The mailbox name a directory stands for; None when it tells none (hashed, or not ours to read)."""
    if directory == "":
        return "INBOX"
    if not directory.startswith(".") or "~" in directory or "/" in directory:
        return None
    parts = []
    for encoded in directory[1:].split("."):
        part = _decode_part(encoded)
        if not part or "/" in part or any(ord(c) < 32 or ord(c) == 127 for c in part):
            return None
        parts.append(part)
    return "/".join(parts)


def is_directory_name(directory: str) -> bool:
    """Whether a row's or a stranger's `dir` is safe to use below the Maildir."""
    if directory == "":
        return True
    return directory.startswith(".") and directory not in (".", "..") and "/" not in directory and "\0" not in directory


def _encode_part(part: str) -> str:
    out: list[str] = []
    run: list[str] = []
    for character in part:
        if " " <= character <= "}" and character != ".":
            if run:
                out.append(_encode_run("".join(run)))
                run.clear()
            out.append("&-" if character == "&" else character)
        else:
            run.append(character)
    if run:
        out.append(_encode_run("".join(run)))
    return "".join(out)


def _encode_run(text: str) -> str:
    packed = base64.b64encode(text.encode("utf-16-be", "surrogatepass"), altchars=b"+,")
    return "&" + packed.rstrip(b"=").decode("ascii") + "-"


def _decode_part(encoded: str) -> str | None:
    out: list[str] = []
    position = 0
    while position < len(encoded):
        start = encoded.find("&", position)
        if start < 0:
            out.append(encoded[position:])
            break
        out.append(encoded[position:start])
        end = encoded.find("-", start)
        if end < 0:
            return None
        body = encoded[start + 1 : end]
        position = end + 1
        if not body:
            out.append("&")
            continue
        try:
            raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"+,", validate=True)
            out.append(raw.decode("utf-16-be"))
        except ValueError:
            return None
    return "".join(out)
