"""The header of a message on its way in: found while it streams, read, mended (RFC 5322 section 3.6, RFC 6409 section 8).

Theory of operation. A message passes in pieces and is held nowhere, but its header has to be seen whole before the first
octet of it goes on: fields are removed from it and added to it. `HeaderBuffer` holds back what comes until the header is
complete, at most `limit` octets; then `Header` cuts it into fields, and the body follows untouched.

A header ends at the empty line, or before the first line that is neither a field nor a continuation: what stands there is
body, and is told apart from the header by the empty line that was missing. Nobody behind us will read it otherwise.

Owns where a header ends and what is changed in it. Never asks whether an address may be used: it only says which ones are
claimed. Pure.
"""

import re
from dataclasses import dataclass

from ..formats.address import MISSING_HOST, MISSING_MAILBOX, parse_addresses

# RFC 5322 section 2.2: a name of printable ASCII but the colon; section 4.5 allows blanks before the colon. A line is looked
# at once. The group of continuations is not possessive: CPython 3.11.2 keeps half of a last repetition that failed.
_FIELD = re.compile(rb"([!-9;-~]++)[ \t]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*")
_LINE_END = re.compile(rb"\r?\n")

MAX_CLAIMED = 100
"""Addresses in From and Sender of one message."""


class HeaderTooLong(Exception):
    """More octets than the limit, and no end."""


class HeaderBuffer:
    """Holds back what comes until the header is complete."""

    __slots__ = ("_held", "_limit", "_scanned")

    def __init__(self, limit: int) -> None:
        """`limit`: octets."""
        self._held = bytearray()
        self._limit = limit
        self._scanned = 0

    def feed(self, data: bytes) -> "Header | None":
        """The header once it is complete, and no call after that. Raise HeaderTooLong."""
        held = self._held
        held += data
        end = 0 if held.startswith(b"\r\n") else held.find(b"\r\n\r\n", self._scanned)
        if end >= 0 or len(held) > self._limit:
            header = Header(bytes(held))
            # Without an empty line it may still have ended: before a line that is complete and no field.
            if len(header.block) > self._limit or (end < 0 and b"\n" not in header.rest):
                raise HeaderTooLong
            return header
        self._scanned = max(0, len(held) - 3)  # the empty line may lie across pieces
        return None

    def close(self) -> "Header":
        """The message is over, without a body."""
        return Header(bytes(self._held))


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name in lower case, all its octets with the line end."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """What stands behind the colon, unfolded."""
        return _LINE_END.sub(b"", self.raw.partition(b":")[2]).strip()


class Header:
    """A header that was cut from the beginning of a message, and can be changed."""

    __slots__ = ("block", "fields", "rest")

    def __init__(self, message: bytes) -> None:
        """`message`: its beginning, the whole header at least."""
        self.fields: list[Field] = []
        position = 0
        while (found := _FIELD.match(message, position)) is not None:
            self.fields.append(Field(found[1].lower(), found[0]))
            position = found.end()
        self.block = message[:position]
        self.rest = message[position:]  # begins with the empty line, unless the message has none
        if self.rest and b"\n" not in self.rest and b":" in self.rest and _FIELD.match(self.rest + b"\n"):
            # The last line of a message without a body lacks its line end.
            self.fields.append(Field(self.rest.partition(b":")[0].strip().lower(), self.rest + b"\r\n"))
            self.rest = b""

    def count(self, name: bytes) -> int:
        """How often a field stands there; `name` in lower case."""
        return sum(field.name == name for field in self.fields)

    def remove(self, *names: bytes) -> None:
        """Take all fields of these names away."""
        self.fields = [field for field in self.fields if field.name not in names]

    def add(self, line: bytes) -> None:
        """Put a field behind the others; `line` with its line end."""
        self.fields.append(Field(line.partition(b":")[0].lower(), line))

    def claimed(self, name: bytes) -> list[str]:
        """The addresses in the fields of a name, in order; "" for one that is none. At most MAX_CLAIMED and one."""
        claimed: list[str] = []
        for field in self.fields:
            if field.name == name:
                for address in parse_addresses(field.value, MAX_CLAIMED + 1):
                    if address.mailbox is None or address.host is None:
                        continue  # the begin or end of a group
                    if address.host == MISSING_HOST or address.mailbox == MISSING_MAILBOX:
                        claimed.append("")
                    else:
                        claimed.append(f"{_text(address.mailbox)}@{_text(address.host)}")
        return claimed[: MAX_CLAIMED + 1]

    def render(self) -> bytes:
        """The header as it is now, and what followed it; the empty line is there whether it was or not."""
        rest = self.rest if self.rest.startswith((b"\r\n", b"\n")) else b"\r\n" + self.rest
        return b"".join([field.raw for field in self.fields]) + rest


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")
