"""ENVELOPE of a header block, as IMAP sends it, and IMAP's strings (RFC 3501 sections 4.3, 7.4.2; RFC 9051 section 7.5.2).

Owns what stands in which field: where a field is there more than once, addresses are put together and of other fields the
last counts, which is the one that a DKIM signature vouches for (RFC 6376 section 5.4.2). Octets stay as they are: encoded
words are for the client to decode, and 8-bit text goes out as a literal.
"""

import re

from .address import Address, parse_addresses
from .headers import unfold

_UNQUOTABLE = re.compile(rb"[\x00\r\n\x80-\xff]")
_MAX_QUOTED = 1_000  # octets; longer strings go out as literals, which every reader takes in one piece
_MAX_ESCAPES = 4


def render_string(text: bytes) -> bytes:
    """A string for the wire: quoted where it is short 7-bit text with few specials, else a literal.

    NUL, which no string may hold, becomes U+FFFD.
    """
    if _UNQUOTABLE.search(text) is None and len(text) <= _MAX_QUOTED:
        if b'"' not in text and b"\\" not in text:
            return b'"%b"' % text
        if text.count(b'"') + text.count(b"\\") <= _MAX_ESCAPES:
            return b'"%b"' % text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    if b"\0" in text:
        text = text.replace(b"\0", b"\xef\xbf\xbd")
        return render_string(text)
    return b"{%d}\r\n%b" % (len(text), text)


def render_nstring(text: bytes | None) -> bytes:
    """A string, or NIL for None."""
    return b"NIL" if text is None else render_string(text)


_ADDRESSES = frozenset((b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"))
_BLANKS = b" \t\r"
_WANTED = re.compile(
    rb"\n[ \t]*+(date|subject|from|sender|reply-to|to|cc|bcc|in-reply-to|message-id)[ \t]*+:([^\n]*+)", re.IGNORECASE
)


def render_envelope(header: bytes) -> bytes:
    """`(...)` of a header block: date subject from sender reply-to to cc bcc in-reply-to message-id."""
    values: dict[bytes, bytes] = {}
    lists: dict[bytes, list[bytes]] = {}
    for name, value in _WANTED.findall(b"\n" + unfold(header)):
        name = name.lower()
        value = value.strip(_BLANKS)
        if name in _ADDRESSES:
            lists.setdefault(name, []).append(value)
        else:
            values[name] = value
    get = values.get
    sender = _addresses(lists.get(b"from"))
    # An absent or empty Sender or Reply-To stands for From (RFC 9051 section 7.5.2).
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        render_nstring(get(b"date")),
        render_nstring(get(b"subject")),
        sender,
        _addresses(lists.get(b"sender"), sender),
        _addresses(lists.get(b"reply-to"), sender),
        _addresses(lists.get(b"to")),
        _addresses(lists.get(b"cc")),
        _addresses(lists.get(b"bcc")),
        render_nstring(get(b"in-reply-to")),
        render_nstring(get(b"message-id")),
    )


def _addresses(values: list[bytes] | None, otherwise: bytes = b"NIL") -> bytes:
    if not values:
        return otherwise
    parsed = parse_addresses(b",".join(values))
    if not parsed:
        return otherwise
    return b"(%b)" % b"".join([render_address(address) for address in parsed])


def render_address(address: Address) -> bytes:
    """One address: name, source route, mailbox, host; a group's begin and end as RFC 9051 section 7.5.2 has them."""
    name, route, mailbox, host = address
    return b"(%b %b %b %b)" % (render_nstring(name), render_nstring(route), render_nstring(mailbox), render_nstring(host))
