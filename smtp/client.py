"""The client's half of SMTP and LMTP on octets (RFC 5321 section 4.2, RFC 1869, RFC 2920, RFC 3461 section 4, RFC 2033).

Owns what a reply is, how commands and their parameters are written, and the dots and line ends of DATA. Pure: octets in,
values out; client_connection.py has the socket.

Everything that is sent is written here. A path that holds a space, an angle bracket or a control character is refused, and
parameters are encoded, so nothing that came in an envelope can become a command of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .data import BARE_CR, BARE_LF, DOTTED

MAX_REPLY_LINE = 2_048
"""Octets of a reply line: RFC 5321 section 4.5.3.1.5 has 512, long URLs in refusals do not keep to it."""
MAX_REPLY_LINES = 256


class InvalidReply(Exception):
    """What the peer said is no reply, or longer than any."""


class InvalidPath(Exception):
    """An address that cannot stand in a path."""


@dataclass(frozen=True, slots=True)
class PeerReply:
    """A reply: code, enhanced code (RFC 3463; made from the first digit where none was said), text lines joined by LF."""

    code: int
    enhanced: str
    text: str
    said_enhanced: bool = False

    @property
    def positive(self) -> bool:
        """2xx and 3xx."""
        return 200 <= self.code < 400

    @property
    def permanent(self) -> bool:
        """5xx."""
        return self.code >= 500

    def __str__(self) -> str:
        """On one line, as it stands in Diagnostic-Code."""
        enhanced = f" {self.enhanced}" if self.said_enhanced else ""
        return f"{self.code}{enhanced} {self.text}".replace("\n", " ").rstrip()


# RFC 5321 section 4.2; the text may hold what it likes besides line ends.
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |\Z)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class ReplyParser:
    """Octets to replies. After InvalidReply the connection is lost."""

    __slots__ = ("_buffer", "_lines")

    def __init__(self) -> None:
        """Begin before the greeting."""
        self._buffer = bytearray()
        self._lines: list[bytes] = []

    @property
    def pending(self) -> bool:
        """Whether octets wait for the rest of their reply."""
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> list[PeerReply]:
        """The replies that are complete now. Raise InvalidReply."""
        buffer = self._buffer
        buffer += data
        replies = []
        begin = 0
        while (end := buffer.find(b"\n", begin)) >= 0:
            if (reply := self._line(bytes(buffer[begin:end]))) is not None:
                replies.append(reply)
            begin = end + 1
        del buffer[:begin]
        if len(buffer) > MAX_REPLY_LINE:
            raise InvalidReply("a reply line without an end")
        return replies

    def _line(self, line: bytes) -> PeerReply | None:
        # Some hosts end their lines with LF alone; here nothing can be smuggled by it.
        line = line.removesuffix(b"\r")
        found = _LINE.match(line)
        if found is None or len(line) > MAX_REPLY_LINE:
            raise InvalidReply("not a reply line")
        if self._lines and not self._lines[0].startswith(found[1]):
            raise InvalidReply("a reply of two codes")
        self._lines.append(line)
        if found[2] == b"-":
            if len(self._lines) >= MAX_REPLY_LINES:
                raise InvalidReply("a reply of too many lines")
            return None
        lines, self._lines = self._lines, []
        return _reply(lines)


def _reply(lines: list[bytes]) -> PeerReply:
    code = int(lines[0][:3])
    texts = [_CONTROLS.sub(" ", line[4:].decode("utf-8", "replace")) for line in lines]
    found = _ENHANCED.match(texts[0])
    enhanced = found[1] if found and found[1][0] == str(code)[0] else ""
    if enhanced:
        texts = [text.removeprefix(enhanced).removeprefix(" ") for text in texts]
    return PeerReply(code, enhanced or f"{min(code // 100, 5)}.0.0", "\n".join(texts), bool(enhanced))


def parse_extensions(reply: PeerReply) -> dict[str, str]:
    """EHLO's keywords, upper case, with what stands behind them (RFC 5321 section 4.1.1.1)."""
    extensions = {}
    for line in reply.text.split("\n")[1:]:
        keyword, _, rest = line.strip().partition(" ")
        # `AUTH=PLAIN` of old hosts is no keyword of ours either way.
        if keyword:
            extensions[keyword.upper()] = rest.strip()
    return extensions


def offered_size(extensions: Mapping[str, str]) -> int | None:
    """The peer's limit in octets; None where it names none (RFC 1870 section 4: 0 is none as well)."""
    value = extensions.get("SIZE", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 20 and int(value) > 0 else None


# ---------------------------------------------------------------------------------------------------------------------
# Commands

_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>]")


def render_path(address: str) -> bytes:
    """`<address>`; "" is the null path. Raise InvalidPath."""
    bare = re.sub(r'"(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f])*"@', "@", address) if address.startswith('"') else address
    if len(address) > 1_000 or _UNSAFE.search(address) or " " in bare or '"' in bare:
        raise InvalidPath("cannot stand in a path")
    try:
        return f"<{address}>".encode()
    except UnicodeEncodeError:
        raise InvalidPath("cannot stand in a path") from None


def to_ascii_domain(address: str) -> str:
    """The address with its domain in A-labels, when its local part is ASCII; else as it is (RFC 6531 section 3.2)."""
    local, at, domain = address.rpartition("@")
    if not at or address.isascii() or not local.isascii():
        return address
    try:
        return f"{local}@{domain.encode('idna').decode('ascii')}"
    except UnicodeError:
        return address


def render_xtext(text: str) -> str:
    """Printable ASCII for a parameter's value (RFC 3461 section 4)."""
    return "".join(chr(c) if 33 <= c <= 126 and c not in (43, 61) else f"+{c:02X}" for c in text.encode("utf-8", "replace"))


def render_orcpt(orcpt: str, *, utf8: bool) -> str:
    """`type;address` as the value of ORCPT; "" when it cannot be said to this peer (RFC 6533 section 3)."""
    kind, found, address = orcpt.partition(";")
    if not found or not re.fullmatch(r"[A-Za-z0-9-]{1,40}", kind):
        return ""
    if address.isascii():
        return f"{kind};{render_xtext(address)}"
    if utf8 and not re.search(r"[\x00-\x20\x7f+=\\]", address):
        return f"utf-8;{address}"
    # The form that needs no SMTPUTF8.
    escaped = "".join(c if "!" <= c <= "~" and c not in "+=\\" else f"\\x{{{ord(c):X}}}" for c in address)
    return f"utf-8;{escaped}"


def render_command(verb: str, path: bytes, parameters: Mapping[str, str]) -> bytes:
    """`MAIL FROM:` or `RCPT TO:` with a rendered path and parameters whose values are rendered; "" is none."""
    said = "".join(f" {name}={value}" if value else f" {name}" for name, value in parameters.items())
    return verb.encode("ascii") + b":" + path + said.encode() + b"\r\n"


# ---------------------------------------------------------------------------------------------------------------------
# DATA


class DataEncoder:
    """A message's octets for DATA, piece by piece: only CRLF ends lines, dots at their beginnings are doubled.

    A bare CR or LF becomes CRLF before dots are looked for: whatever the next host takes for a line end, the message ends
    where we say and nowhere else.
    """

    __slots__ = ("_after_cr", "_at_line_start")

    def __init__(self) -> None:
        """Begin at the first octet."""
        self._after_cr = False
        self._at_line_start = True

    def feed(self, data: bytes) -> bytes:
        """The next octets, encoded."""
        if not data:
            return b""
        if self._after_cr:
            data = b"\r" + data
        self._after_cr = data.endswith(b"\r")
        if self._after_cr:
            # What follows decides whether it is half of a CRLF.
            data = data[:-1]
        if not data:
            return b""
        data = BARE_LF.sub(b"\r\n", BARE_CR.sub(b"\r\n", data))
        encoded = data.replace(b"\n.", b"\n..") if DOTTED.search(data) else data
        if self._at_line_start and encoded.startswith(b"."):
            encoded = b"." + encoded
        self._at_line_start = data.endswith(b"\n")
        return encoded

    def finish(self) -> bytes:
        """The end of the message."""
        head = b"" if self._at_line_start and not self._after_cr else b"\r\n"
        return head + b".\r\n"
