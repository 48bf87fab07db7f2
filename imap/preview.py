"""PREVIEW: the first words of a message (RFC 8970).

Owns which part they are taken from and what is left out. Worked out from the beginning of the message each time: bounded
in octets read, parts looked at and characters told, so LAZY gets the same answer. Never a summary of what is no text.
"""

from collections.abc import Callable

from ..formats.mime import MimeLimits, Part, Scanner
from ..formats.text import decode_part, strip_markup
from .encode import render_string

LOOKED_AT = 131_072
"""Octets of a message's beginning in which its text is looked for."""

MOST = 200
"""Characters told (RFC 8970 section 3.3)."""

_LIMITS = MimeLimits(parts=50, depth=8)
_PLAIN = 8_192  # octets of the part that are decoded
_MARKUP = (32_768, LOOKED_AT)  # style sheets may come first: if nothing but that is found, look further
_CUT = 16  # characters before a cut that may be torn: an entity, half a character


def preview_of(read: Callable[[int, int], bytes], size: int, root: Part | None = None) -> bytes:
    """The preview as a string for the wire, of a message of `size` octets; `root`: its structure, if it is known."""
    if root is None:
        scanner = Scanner(_LIMITS)
        scanner.feed(read(0, min(size, LOOKED_AT)))
        root = scanner.close()
    part = _chosen(root)
    return render_string(b"" if part is None else _words(part, read).encode("utf-8"))


def _chosen(root: Part) -> Part | None:
    """The first plain text, else the first HTML, that is no attachment and of no message within."""
    markup: Part | None = None
    stack = [root]
    while stack:
        part = stack.pop()
        if part.is_multipart:
            stack.extend(reversed(part.children))
            continue
        if (part.disposition or b"").lower() == b"attachment" or part.opaque:
            continue
        if part.media_type == b"text/plain":
            return part
        if part.media_type == b"text/html" and markup is None:
            markup = part
    return markup


def _words(part: Part, read: Callable[[int, int], bytes]) -> str:
    if part.media_type == b"text/plain":
        text = _beginning(part, read, _PLAIN)
        own = "\n".join(line for line in text.splitlines() if not line.startswith(">"))
        return _shortened(own) or _shortened(text)
    for octets in _MARKUP:
        words = _shortened(strip_markup(_beginning(part, read, octets)))
        if words or part.length <= octets:
            return words
    return ""


def _beginning(part: Part, read: Callable[[int, int], bytes], octets: int) -> str:
    text = decode_part(part, read(part.body_offset, min(part.length, octets)))
    return text if part.length <= octets else text[:-_CUT]


def _shortened(text: str) -> str:
    """Runs of white space as one space, no control characters, cut."""
    shown = " ".join(text.split())[: 2 * MOST]
    if not shown.isprintable():
        shown = "".join(c for c in shown if c.isprintable() or c == "\u200d")
    return shown[:MOST].strip().encode("utf-8", "ignore").decode("utf-8")
