"""The text of a message as search compares it (RFC 9051 section 6.4.4, RFC 2045 section 6).

Owns what counts as the same text, and which text of a message there is to find: all header fields decoded; MIME header
fields of the parts; every text/* and message/* part decoded, markup taken out of text/html only; of a message within the
message its header as well. Two texts match when one, normalised, is a substring of the other, normalised.
Never fails on what a message holds; what is left out because of a limit is told by `IndexedText.complete`.
"""

import binascii
import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .charsets import decode_charset
from .headers import decode_base64, decode_words, fields, find_parameter, unfold
from .mime import DEFAULT_LIMITS, MimeLimits, Part, scan

# ---------------------------------------------------------------------------------------------------------------------
# The same text

# What NFKD leaves alone and nobody types the same way twice; and what nobody sees.
_ALIKE = {
    "œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d",
    "\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"',
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-",
    "\u0345": "\u03b9",  # the iota below, which folding writes out where it is composed
    "\u00ad": "", "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "",
}  # fmt: skip


def _replacement(character: str) -> str | None:
    """What stands for a character that is not compared as itself, or None: it is."""
    if character in _ALIKE:
        return _ALIKE[character]
    # Marks, variation selectors, and halves of characters that no codec should have let through.
    if unicodedata.combining(character) or character in _MARKS or "\ufe00" <= character <= "\ufe0f":
        return ""
    return "" if "\ud800" <= character <= "\udfff" else None


_MARKS = "\u0f73\u0f75\u0f81"  # decompose to nothing but marks, and are not counted as such


def _replace_odd(text: str) -> str:
    odd = {c: new for c in set(text) if c >= "\x80" and (new := _replacement(c)) is not None}
    if len(odd) > 16:
        return text.translate({ord(old): new for old, new in odd.items()})
    for old, new in odd.items():
        text = text.replace(old, new)  # much faster than translate for the few that French has
    return text


def normalise(text: str) -> str:
    """Text without case, accents and other combining marks (NFKD, casefold), each run of white space as one space.

    Apply it to both sides of a comparison. It is idempotent; the result holds no line end and no NUL. Linear in time:
    marks go before NFKD sees them, whose ordering of a long run of them is not.
    """
    if "\0" in text:
        text = text.replace("\0", " ")
    if text.isascii():
        folded = text.lower()
    else:
        folded = unicodedata.normalize("NFKD", _replace_odd(text)).casefold()
        # Folding undoes compositions of its own: "ΐ" becomes three characters.
        folded = _replace_odd(unicodedata.normalize("NFKD", folded))
    words = folded.split()
    if not words:
        return " " if folded else ""
    return (" " if folded[0].isspace() else "") + " ".join(words) + (" " if folded[-1].isspace() else "")


# ---------------------------------------------------------------------------------------------------------------------
# Text of parts


def decode_body(part: Part, body: bytes) -> bytes:
    """The body of a part without its transfer encoding (RFC 2045 section 6); unknown encodings are left alone."""
    match (part.encoding or b"").lower():
        case b"base64":
            return decode_base64(body)
        case b"quoted-printable":
            return binascii.a2b_qp(body)
        case _:
            return body


def decode_part(part: Part, body: bytes) -> str:
    """The text of a text part: transfer encoding and charset undone, line ends and markup as they are."""
    charset = find_parameter(part.parameters, b"charset") or b""
    return decode_charset(decode_body(part, body), charset.decode("latin-1"))


# Each alternative matches wherever it begins, so nothing is read twice. A tag may hold `>` in quotes.
_INSIDE = r"""(?:[^>"']++|"[^"]*+"|'[^']*+'|["'])*+(?:>|\Z)"""
_MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)"
    rf"|<(script|style|title)\b{_INSIDE}.*?(?:</\1\b{_INSIDE}|\Z)"
    rf"|</?([a-z][a-z0-9]*){_INSIDE}"
    rf"|<[/!?]{_INSIDE}",
    re.DOTALL | re.IGNORECASE,
)
_INLINE = frozenset(
    {"a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd", "label"}
    | {"mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr"}
)
_LONG_NUMBER = re.compile(r"&#0*[0-9]{8,}+;?")  # int() refuses the longest ones


def strip_markup(text: str) -> str:
    """The text of an HTML document: no tags, comments, scripts, styles and titles; entities decoded.

    Tags that stand within words (`<b>`, `<span>`) vanish, all others separate. What begins and does not end is dropped.
    """
    text = _MARKUP.sub(_replace_tag, text)
    if "&" in text:
        text = html.unescape(_LONG_NUMBER.sub("\ufffd", text))
    return text


def _replace_tag(match: re.Match[str]) -> str:
    name = match[2]
    return "" if name and name.lower() in _INLINE else " "


# ---------------------------------------------------------------------------------------------------------------------
# Text of messages

LINE = "\n"
"""Separates header lines, and the texts of parts: never within normalised text."""


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How much normalised text of a message is taken, in characters; None for a value: all of it."""

    part: int | None = 262_144
    total: int | None = 1_048_576
    header: int | None = 65_536  # header fields of the message, and of its parts together; see MimeLimits.header too

    @property
    def octets(self) -> int | None:
        """Encoded octets of one part that are decoded at all."""
        return None if self.part is None else 8 * self.part


DEFAULT_TEXT_LIMITS = TextLimits()
EVERYTHING = TextLimits(None, 1 << 26, None)  # more characters than an honest message has octets


@dataclass(frozen=True, slots=True)
class IndexedText:
    """What can be found in a message, normalised.

    header: `name: value` lines of its header.  structure: the same of the headers of its parts.  body: texts of its
    parts, in their order. `complete` is False when some text was left out: who finds nothing here looks into the message.
    """

    header: str
    structure: str
    body: str
    complete: bool = True

    def values(self, name: str) -> Iterator[str]:
        """The values of each header field called `name`, in any case."""
        start = f"{LINE}{normalise(name)}: "
        text = LINE + self.header
        position = text.find(start)
        while position >= 0:
            begin = position + len(start)
            end = text.find(LINE, begin)
            yield text[begin:] if end < 0 else text[begin:end]
            position = text.find(start, begin)

    def with_prefix(self, prefix: bytes) -> "IndexedText":
        """The text of a copy that begins with these header lines more (Return-Path, Delivered-To)."""
        lines = header_lines(prefix)
        if self.header:
            lines.append(self.header)
        return replace(self, header=LINE.join(lines))


def header_lines(block: bytes) -> list[str]:
    """Each field of a header block as `name: value`, decoded (RFC 2047) and normalised."""
    plain = unfold(block)
    odd = any(octet in plain for octet in _ODD)
    lines = []
    # Most lines are ASCII without encoded words: their normal form is what lower() and split() make of them.
    for line, lower in zip(plain.split(b"\n"), plain.decode("latin-1").lower().split("\n"), strict=True):
        if odd or b"=?" in line or not line.isascii():
            lines += [f"{normalise(name.decode('latin-1'))}: {normalise(decode_words(value))}" for name, value in fields(line)]
            continue
        name, _, value = lower.partition(":")
        if name := " ".join(name.split()):
            lines.append(f"{name}: {' '.join(value.split())}")
    return lines


_ODD = b"\x00\x0b\x0c\x1c\x1d\x1e\x1f"  # white space to Python's split() that is none to mail, and NUL


class _Gathered:
    """Lines up to a number of characters."""

    def __init__(self, limit: int | None) -> None:
        self.lines: list[str] = []
        self.room = limit
        self.complete = True

    def add(self, line: str, limit: int | None = None) -> None:
        room = self.room if limit is None else limit if self.room is None else min(self.room, limit)
        if room is not None and len(line) > room:
            line = line[:room]
            self.complete = False
        self.lines.append(line)
        if self.room is not None:
            self.room = max(0, self.room - len(line) - 1)

    def add_all(self, lines: list[str]) -> None:
        size = sum(map(len, lines)) + len(lines)
        if self.room is not None and size > self.room:
            for line in lines:
                self.add(line)
            return
        self.lines += lines
        if self.room is not None:
            self.room -= size

    def text(self) -> str:
        return LINE.join(self.lines)


def extract_text(read: Callable[[int, int], bytes], root: Part, limits: TextLimits = DEFAULT_TEXT_LIMITS) -> IndexedText:
    """What can be found in a message with the structure `root`; `read(offset, length)` gives octets of it.

    Reads text parts only, so a message of large attachments costs little. Where `read` gives less than it was asked for,
    that text counts as cut.
    """
    header, structure, body = _Gathered(limits.header), _Gathered(limits.header), _Gathered(limits.total)
    within: set[int] = set()  # ids of the messages within the message
    for part in root.walk():
        if message := part.message:
            within.add(id(message))
        if part is root:
            target = header
        elif id(part) in within:
            target = body
        else:
            target = structure
        target.add_all(header_lines(part.header))
        if not part.children and _is_text(part):
            _add_part(body, part, read, limits)
    complete = header.complete and structure.complete and body.complete
    return IndexedText(header.text(), structure.text(), body.text(), complete)


def _is_text(part: Part) -> bool:
    return not part.opaque and part.type.lower() in (b"text", b"message")


def _add_part(body: _Gathered, part: Part, read: Callable[[int, int], bytes], limits: TextLimits) -> None:
    length = part.length
    cut = limits.octets is not None and length > limits.octets
    if cut and limits.octets is not None:
        length = limits.octets
    data = read(part.body_offset, length)
    cut = cut or len(data) < length
    text = decode_part(part, data)
    if part.subtype.lower() == b"html" and part.type.lower() == b"text":
        text = strip_markup(text)
    text = _normalise_to(text, limits.total)
    if cut:
        # The cut may have gone through a character, an entity or a tag: what comes just before it is not certain.
        text = text[:-64]
        body.complete = False
    body.add(text, limits.part)


_PIECE = 262_144


def _normalise_to(text: str, limit: int | None) -> str:
    """normalise() piece by piece, until it has given more than `limit`: one character may become eighteen.

    Pieces also bound the memory: the words of a long text are many times its size while they are apart.
    """
    if limit is None or len(text) <= _PIECE:
        return normalise(text)
    pieces: list[str] = []
    size = 0
    for begin in range(0, len(text), _PIECE):
        piece = normalise(text[begin : begin + _PIECE])
        if pieces and pieces[-1].endswith(" "):
            piece = piece.removeprefix(" ")
        if piece:
            pieces.append(piece)
        size += len(piece)
        if size > limit:
            break
    return "".join(pieces)


def extract_message(message: bytes, limits: TextLimits = DEFAULT_TEXT_LIMITS, mime: MimeLimits = DEFAULT_LIMITS) -> IndexedText:
    """The same of a whole message in memory."""
    return extract_text(lambda offset, length: message[offset : offset + length], scan(message, mime), limits)
