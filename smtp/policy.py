"""What a session may do and a message may be, before anyone stores it: loops, networks, header lines of our own.

Owns the rules that are neither grammar nor storage. Pure: the time comes in as an argument. Never answers by itself: it
says what is so, and reply.py has the words.
"""

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from .commands import Address

MAX_HEADER = 1_048_576
"""Octets of header that are looked at for loops; what stands behind them is not."""

# Of a header in lower case with a line end before it: a literal beginning is found ten times as fast as `^` without case.
_RECEIVED = re.compile(rb"\nreceived[ \t]*:")
_DELIVERED_TO = re.compile(rb"\ndelivered-to[ \t]*:[ \t]*([^\r\n]{1,998})")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class LoopGuard:
    """Reads a message's header as it passes: how often it was received, and for whom it was delivered already.

    RFC 5321 section 6.3 counts Received lines; the Delivered-To line is what finds a loop of two addresses at once.
    """

    __slots__ = ("_header", "_open", "delivered_to", "received")

    def __init__(self) -> None:
        """Begin before the first octet."""
        self._header = bytearray()
        self._open = True
        self.received = 0
        self.delivered_to: frozenset[str] = frozenset()

    def feed(self, data: bytes) -> None:
        """Look at the next octets of the message; costs nothing once the header is over."""
        if not self._open:
            return
        header = self._header
        begin = max(0, len(header) - 3)  # the empty line may lie across pieces
        header += data
        end = 0 if header.startswith(b"\r\n") else header.find(b"\r\n\r\n", begin)
        if end >= 0:
            del header[end + 2 :]
        elif len(header) < MAX_HEADER:
            return
        self.close()

    def close(self) -> None:
        """The message is over, perhaps without a body."""
        if self._open:
            self._open = False
            header = b"\n" + self._header.lower()
            self.received = len(_RECEIVED.findall(header))
            self.delivered_to = frozenset(_folded(value) for value in _DELIVERED_TO.findall(header))
            self._header = bytearray()

    def is_loop(self, recipient: str, most: int) -> bool:
        """Whether the message was received more than `most` times or delivered to this recipient before."""
        return self.received > most or recipient.casefold() in self.delivered_to


def _folded(value: bytes) -> str:
    return value.decode("utf-8", "replace").strip().strip("<>").casefold()


@lru_cache(maxsize=64)
def _networks(names: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(name) for name in names)


def is_trusted(address: str, networks: Sequence[str]) -> bool:
    """Whether a peer's address lies in one of the networks. Raise ValueError for a network that is none."""
    known = _networks(tuple(networks))
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return any(parsed.ipv4_mapped in network for network in known)
    return any(parsed in network for network in known)


def without_tag(address: Address, separator: str) -> Address | None:
    """`user+tag@` as `user@` (RFC 5233), None when there is no tag."""
    local, found, _ = address.local.partition(separator) if separator else (address.local, "", "")
    return Address(local, address.domain) if found and local else None


def render_received(
    *, client: str, peer: str, host: str, protocol: str, identifier: str, recipient: str, now: int, tls: str = ""
) -> bytes:
    """The Received line of this hop (RFC 5321 section 4.4, RFC 3848). `recipient`: "" when there are several.

    `peer`: an address, or "" for this machine.  `tls`: version and cipher, told in a comment.
    """
    address = f"[{peer}]" if peer and ":" not in peer else f"[IPv6:{peer}]" if peer else "local"
    secured = f" ({tls})" if tls else ""
    lines = [f"Received: from {client or 'unknown'} ({address})", f"by {host} with {protocol}{secured} id {identifier}"]
    if recipient:
        lines.append(f"for <{recipient}>")
    return ("\r\n\t".join(lines) + f"; {render_date(now)}\r\n").encode()


def render_received_from_us(*, host: str, protocol: str, identifier: str, now: int) -> bytes:
    """The Received line of a message that somebody of ours submitted: nothing of where they are, and nobody it is for.

    A home address, or that of a phone, is nobody's business who gets the mail; the log has it under `identifier`.
    """
    lines = ["Received: from submission (client withheld)", f"by {host} with {protocol} id {identifier};", render_date(now)]
    return ("\r\n\t".join(lines) + "\r\n").encode()


def render_trace(*, reverse_path: Address | None, recipient: str) -> bytes:
    """The lines of one copy: Return-Path (RFC 5321 section 4.4) and Delivered-To (RFC 9228)."""
    return f"Return-Path: <{reverse_path or ''}>\r\nDelivered-To: {recipient}\r\n".encode()


@lru_cache(maxsize=4)  # many messages come in one second
def render_date(now: int) -> str:
    """A date-time of RFC 5322 section 3.3, in UTC and in English whatever the locale."""
    at = datetime.fromtimestamp(now, UTC)
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at.year} {at:%H:%M:%S} +0000"
