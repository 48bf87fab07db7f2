"""Header blocks: fields, unfolding, encoded words and parameters (RFC 5322 section 2.2, RFC 2047, RFC 2231).

Owns how a block of header lines is cut into fields and how their values become text. Lines may end in CRLF or LF.
Never raises for what a message holds, and never spends more than linear time on it.
"""

import binascii
import re
from collections.abc import Collection, Iterable, Iterator

from .charsets import decode_charset

Parameters = tuple[tuple[bytes, bytes], ...]
"""Parameters in order, names as written, values without their quotes; continuations are joined (RFC 2231 section 3)."""

MAX_PARAMETERS = 100

_BLANKS = b" \t\r\n"


def split_header(message: bytes) -> tuple[bytes, int]:
    """(header block with its empty line, offset of the body). A message without an empty line is all header."""
    if message[:1] == b"\n":
        return message[:1], 1
    if message[:2] == b"\r\n":
        return message[:2], 2
    end = message.find(b"\n\r\n")
    bare = message.find(b"\n\n", 0, len(message) if end < 0 else end)
    length = bare + 2 if bare >= 0 else end + 3 if end >= 0 else len(message)
    return message[:length], length


# A field as it should be, with the lines that continue it: its whole and its name. And a block of nothing but such fields.
# Groups are not possessive: CPython 3.11.2 keeps half of a last repetition that failed. No line can be read in two ways.
_RAW_FIELD = re.compile(rb"(([^ \t\r\n:][^:\n]*+):[^\n]*+\n(?:[ \t][^\n]*+\n)*)")
_REGULAR = re.compile(rb"(?:[^ \t\r\n:][^:\n]*+:[^\n]*+\n(?:[ \t][^\n]*+\n)*)*(?:\r?\n)?")


def raw_fields(block: bytes) -> Iterable[tuple[bytes, bytes]]:
    """(name as written, whole field as it stands with its line ends) for each field, in order; stops at the empty line.

    A line without a colon is a field of that name without a value; lines that continue nothing belong to no field.
    """
    if _REGULAR.fullmatch(block):
        return [(name.rstrip(_BLANKS), field) for field, name in _RAW_FIELD.findall(block)]
    return _odd_fields(block)


def _odd_fields(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    begin = 0
    name = b""
    position = 0
    size = len(block)
    while position < size:
        newline = block.find(b"\n", position)
        end = newline + 1 if newline >= 0 else size
        first = block[position : position + 1]
        if first not in b" \t":
            if name:
                yield name, block[begin:position]
            begin = position
            line = block[position:end]
            if line in (b"\n", b"\r\n"):
                return
            name = line.partition(b":")[0].strip(_BLANKS)
        position = end
    if name:
        yield name, block[begin:]


def select_fields(block: bytes, names: Collection[bytes], *, exclude: bool = False) -> bytes:
    """The fields of those names (lower case), or all others, as they stand and in their order, and an empty line.

    What FETCH BODY[HEADER.FIELDS (...)] and HEADER.FIELDS.NOT give (RFC 9051 section 6.4.5.1).
    """
    wanted = [raw for name, raw in raw_fields(block) if (name.lower() in names) is not exclude]
    if wanted and not wanted[-1].endswith(b"\n"):
        wanted[-1] += b"\r\n"
    wanted.append(b"\r\n")
    return b"".join(wanted)


_BARE_CR = re.compile(rb"\r(?!\n)")
_FOLD = re.compile(rb"\n[ \t]")


def unfold(block: bytes) -> bytes:
    """The block with LF line ends and each field on one line.

    The blank that began a continuation stays, as a space; so does a CR that ends no line, which nobody should see raw.
    """
    # One octet is removed at a third of what it costs to put another in the place of two.
    bare = _BARE_CR.search(block)
    block = block.replace(b"\r\n", b"\n") if bare else block.replace(b"\r", b"")
    block = _FOLD.sub(b" ", block)
    return block.replace(b"\r", b" ") if bare else block


def fields(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name as written, unfolded value without blanks around it) for each field, in order."""
    for line in unfold(block).split(b"\n"):
        name, _, value = line.partition(b":")
        if name := name.strip(_BLANKS):
            yield name, value.strip(_BLANKS)


def find_field(block: bytes, name: bytes) -> bytes | None:
    """The unfolded value of the first field called `name` (lower case), or None."""
    for found, value in fields(block):
        if found.lower() == name:
            return value
    return None


# ---------------------------------------------------------------------------------------------------------------------
# RFC 2047

# encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?="   (RFC 2047 section 2, RFC 2231 section 5)
# Blanks inside encoded text are against the rule and frequent.
_ENCODED_WORD = re.compile(rb"=\?([^?*\s]{1,64})(?:\*[^?\s]{0,64})?\?([bBqQ])\?([^?]*)\?=")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def decode_words(value: bytes) -> str:
    """Text of an unfolded header value: encoded words decoded, the rest as UTF-8 or else windows-1252.

    Blanks between two encoded words vanish, and words of one charset are joined before decoding: some senders cut a
    character in two. A word that is none stays as it is.
    """
    if b"=?" not in value:
        return decode_charset(value)
    text: list[str] = []
    pending = b""
    charset = ""
    position = 0
    for word in _ENCODED_WORD.finditer(value):
        between = value[position : word.start()]
        position = word.end()
        name = word[1].decode("latin-1").lower()
        data = _decode_q(word[3]) if word[2] in b"qQ" else decode_base64(word[3])
        if between.strip(_BLANKS) or not charset:
            text += (decode_charset(pending, charset), decode_charset(between))
            pending = data
        elif name != charset:
            text.append(decode_charset(pending, charset))
            pending = data
        else:
            pending += data
        charset = name
    text += (decode_charset(pending, charset), decode_charset(value[position:]))
    return "".join(text)


def _decode_q(data: bytes) -> bytes:
    """The Q encoding (RFC 2047 section 4.2); a `=` that begins no octet stays."""
    return binascii.a2b_qp(data, header=True)


def decode_base64(data: bytes) -> bytes:
    """Base64 with everything outside its alphabet left out (RFC 2045 section 6.8), cut where it does not come out even.

    Padding inside the data separates pieces that were encoded one by one.
    """
    out = []
    for piece in data.split(b"="):
        if not piece:
            continue
        clean = _NOT_BASE64.sub(b"", piece)
        if len(clean) % 4 == 1:
            clean = clean[:-1]
        out.append(binascii.a2b_base64(clean + b"=" * (-len(clean) % 4)))
    return b"".join(out)


# ---------------------------------------------------------------------------------------------------------------------
# Parameters: RFC 2045 section 5.1, RFC 2231

# token: any octet but blanks, controls and tspecials; 8-bit octets are let through.
_TOKEN = rb"[!#-'*+\-.0-9A-Z^-~\x80-\xff]"
_PARAMETER = re.compile(
    rb';[ \t]*+(TOKEN++)[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)(?:"|\\?\Z)|(TOKEN++|=[^; \t]*+))'.replace(b"TOKEN", _TOKEN),
    re.DOTALL,
)
_VALUE = re.compile(rb"[ \t]*+(TOKEN++)[ \t]*+(?:/[ \t]*+(TOKEN++))?(?=[;, \t]|\Z)".replace(b"TOKEN", _TOKEN))
_COMMENT_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|\\.|[()]', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SECTION = re.compile(rb"(.+)\*(0|[1-9][0-9]{0,3})(\*?)", re.DOTALL)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_TO_ESCAPE = re.compile(rb"[^!#$&+\-.0-9A-Z^_`a-z{|}~]")


def strip_comments(value: bytes) -> bytes:
    """The value with each comment as one space (RFC 5322 section 3.2.2): nested to any depth, not inside quotes."""
    if b"(" not in value:
        return value
    out = []
    depth = 0
    begin = 0
    position = 0
    while match := _COMMENT_TOKEN.search(value, position):
        position = match.end()
        token = match.group()
        if token == b"(":
            if depth == 0:
                out.append(value[begin : match.start()])
            depth += 1
        elif token == b")":
            if depth:
                depth -= 1
                if depth == 0:
                    out.append(b" ")
                    begin = position
        elif depth and token[:1] == b'"':
            position = match.start() + 1  # quotes mean nothing inside a comment
    if depth == 0:
        out.append(value[begin:])
    return b"".join(out)


def parse_value(value: bytes, *, limit: int = MAX_PARAMETERS) -> tuple[bytes, bytes, Parameters] | None:
    """`type/subtype; name=value` of an unfolded field to (type, subtype, parameters), or None where it does not begin so.

    Used for Content-Type and, with an empty subtype, for Content-Disposition and the like (RFC 2045 section 5.1, RFC 2183).
    Spellings are kept. What stands between the value and the first semicolon, and parameters that are not well-formed,
    are passed over; no more than `limit` are looked at.
    """
    value = strip_comments(value)
    match = _VALUE.match(value)
    if match is None:
        return None
    return match[1], match[2] or b"", _parse_parameters(value, match.end(), limit) if match.end() < len(value) else ()


def _parse_parameters(value: bytes, position: int, limit: int) -> Parameters:
    found: list[tuple[bytes, bytes]] = []
    sections: list[tuple[bytes, int, bool, bytes]] = []
    for match in _PARAMETER.finditer(value, position):
        name = match[1]
        text = match[2]
        if text is None:
            text = match[3]
        elif b"\\" in text:
            text = _ESCAPED.sub(rb"\1", text)
        section = _SECTION.fullmatch(name) if b"*" in name else None
        if section is None:
            found.append((name, text))
        else:
            sections.append((section[1], int(section[2]), bool(section[3]), text))
        limit -= 1
        if limit <= 0:
            break
    if sections:
        found += _join_sections(sections)
    return tuple(found)


def _join_sections(sections: list[tuple[bytes, int, bool, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Put continued parameters together, those with a gap left as they were (RFC 2231 sections 3, 4.1).

    RFC 2231 section 6 wants IMAP servers to do this. If any section is percent-encoded, so is the joined value.
    """
    by_name: dict[bytes, list[tuple[int, bool, bytes, bytes]]] = {}
    for name, number, encoded, text in sections:
        by_name.setdefault(name.lower(), []).append((number, encoded, text, name))
    for _, pieces in sorted(by_name.items()):
        pieces.sort(key=lambda piece: piece[0])
        if [piece[0] for piece in pieces] != list(range(len(pieces))):
            for number, encoded, text, name in pieces:
                yield b"%b*%d%b" % (name, number, b"*" if encoded else b""), text
            continue
        name = pieces[0][3]
        if not any(piece[1] for piece in pieces):
            yield name, b"".join(piece[2] for piece in pieces)
            continue
        joined = [b"" if pieces[0][1] else b"''"]
        for _, encoded, text, _ in pieces:
            joined.append(text if encoded else _TO_ESCAPE.sub(lambda m: b"%%%02X" % m[0][0], text))
        yield name + b"*", b"".join(joined)


def find_parameter(parameters: Parameters, name: bytes) -> bytes | None:
    """The raw value of the first parameter called `name` (lower case), or None."""
    for found, value in parameters:
        if found.lower() == name:
            return value
    return None


def decode_parameter(parameters: Parameters, name: bytes) -> str | None:
    """A parameter as text: `name*` decoded by RFC 2231 section 4, else `name`, also where encoded words stand in it.

    The latter is forbidden (RFC 2047 section 5) and what many programs send as file names.
    """
    value = find_parameter(parameters, name + b"*")
    if value is not None:
        return decode_extended(value)
    value = find_parameter(parameters, name)
    return None if value is None else decode_words(value)


def decode_extended(value: bytes) -> str:
    """`charset'language'percent-encoded` to text (RFC 2231 section 4); without its quotes it is taken as undeclared."""
    charset, quote, rest = value.partition(b"'")
    if quote:
        _, quote, rest = rest.partition(b"'")
    if not quote:
        charset, rest = b"", value
    return decode_charset(_PERCENT.sub(lambda m: bytes((int(m[1], 16),)), rest), charset.decode("latin-1"))
