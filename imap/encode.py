"""IMAP data as octets (RFC 9051 section 9, the server's half; RFC 4731 for ESEARCH).

Owns quoting, mailbox names, flag lists, dates and sets on the wire. Never decides what is told to whom.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from ..storage.api import FIRST_KEYWORD_BIT, SYSTEM_FLAGS
from .names import encode_mailbox
from .values import Partial, Section, SectionText

CRLF = b"\r\n"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# ASTRING-CHAR: any CHAR but the atom-specials; "]" (resp-specials) is allowed in an astring.
_ASTRING_CHARS = bytes(c for c in range(0x21, 0x7F) if c not in b'(){%*"\\')
_QUOTED_OUT = bytes(c for c in range(1, 0x80) if c not in b"\r\n")  # QUOTED-CHAR before its escapes
_QUOTED_UTF8_OUT = _QUOTED_OUT + bytes(range(0x80, 0x100))
_QUOTED_MOST = 1_000  # RFC 2683 3.2.1.5 asks for lines a client can read; longer strings go as literals

_BLOCK = 512

_SYSTEM = tuple((bit, name) for name, bit in SYSTEM_FLAGS.items())


def render_string(value: bytes, *, utf8: bool = False) -> bytes:
    """A string: quoted where that can be, else a literal. `utf8`: the client enabled it, quoted may hold UTF-8.

    NUL has no place in either form (RFC 9051 section 4.3) and becomes 0x80, as in Dovecot's answers.
    """
    if len(value) <= _QUOTED_MOST and not value.translate(None, _QUOTED_UTF8_OUT if utf8 else _QUOTED_OUT):
        if b'"' in value or b"\\" in value:
            value = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        return b'"' + value + b'"'
    return render_literal(value.replace(b"\0", b"\x80"))


def render_nstring(value: bytes | None, *, utf8: bool = False) -> bytes:
    """A string, or NIL for None."""
    return b"NIL" if value is None else render_string(value, utf8=utf8)


def render_literal(value: bytes) -> bytes:
    """A literal."""
    return b"{%d}\r\n%b" % (len(value), value)


def render_literal8(value: bytes) -> bytes:
    """A literal8 (RFC 3516): may hold NUL."""
    return b"~{%d}\r\n%b" % (len(value), value)


def render_astring(value: bytes, *, utf8: bool = False) -> bytes:
    """An atom where that can be, else a string. `NIL` is quoted, so that nobody mistakes it."""
    if value and not value.translate(None, _ASTRING_CHARS) and value.upper() != b"NIL":
        return value
    return render_string(value, utf8=utf8)


def render_mailbox(name: str, *, utf8: bool = False) -> bytes:
    """A mailbox name: UTF-8 when the client enabled it, else modified UTF-7. Raise InvalidMailboxName."""
    return render_astring(name.encode("utf-8") if utf8 else encode_mailbox(name), utf8=utf8)


def flag_names(mask: int, keywords: Sequence[str]) -> list[str]:
    """Names of the flags of a bit mask, system flags first; `keywords` as in OpenMailbox."""
    names = [name for bit, name in _SYSTEM if mask & bit]
    mask >>= FIRST_KEYWORD_BIT
    index = 0
    while mask and index < len(keywords):
        if mask & 1:
            names.append(keywords[index])
        mask >>= 1
        index += 1
    return names


def render_flag_list(names: Iterable[str]) -> bytes:
    r"""A flag list: `(\Seen $Forwarded)`."""
    return b"(" + " ".join(names).encode("ascii") + b")"


@lru_cache(maxsize=4_096)
def _day(day: int) -> bytes:
    moment = datetime.fromtimestamp(day * 86_400, UTC)
    return f'"{moment.day:02d}-{_MONTHS[moment.month - 1]}-{moment.year:04d} '.encode("ascii")


def render_date_time(seconds: int) -> bytes:
    """A date-time in UTC: `"17-Jul-1996 02:44:25 +0000"`. `seconds` since 1970, of the years 1 to 9999."""
    second = seconds % 86_400
    return b'%b%02d:%02d:%02d +0000"' % (_day(seconds // 86_400), second // 3_600, second // 60 % 60, second % 60)


def render_set(numbers: Sequence[int]) -> bytes:
    """A sequence set of strictly ascending numbers, runs as ranges; b"" for none.

    Looked at in blocks: the ends of a block that is one run tell all of it, so 100,000 numbers in a run cost 200 looks.
    """
    size = len(numbers)
    if not size:
        return b""
    parts: list[str] = []
    first = last = numbers[0]  # of the run under way
    for begin in range(0, size, _BLOCK):
        end = min(begin + _BLOCK, size)
        block = numbers[begin:end]
        if numbers[end - 1] - numbers[begin] == end - 1 - begin and block[0] - last <= 1:
            last = numbers[end - 1]
            continue
        for number in block:
            if number - last > 1:
                parts.append(str(first) if first == last else f"{first}:{last}")
                first = number
            last = number
    parts.append(str(first) if first == last else f"{first}:{last}")
    return ",".join(parts).encode("ascii")


def render_search(numbers: Sequence[int], modseq: int | None = None) -> bytes:
    """An untagged SEARCH (RFC 9051 appendix: IMAP4rev1's form), with MODSEQ when one is given and something was found."""
    line = "* SEARCH"
    if numbers:
        line += " " + " ".join(map(str, numbers))
        if modseq is not None:
            line += f" (MODSEQ {modseq})"
    return line.encode("ascii") + CRLF


def render_esearch(
    tag: bytes,
    *,
    uid: bool,
    least: int | None = None,
    greatest: int | None = None,
    count: int | None = None,
    found: Sequence[int] | None = None,
    modseq: int | None = None,
) -> bytes:
    """An untagged ESEARCH (RFC 4731 section 3.1). What is None is left out, and so is ALL when nothing was found."""
    parts = [b"* ESEARCH (TAG %b)" % render_string(tag)]
    if uid:
        parts.append(b"UID")
    if least is not None:
        parts.append(b"MIN %d" % least)
    if greatest is not None:
        parts.append(b"MAX %d" % greatest)
    if count is not None:
        parts.append(b"COUNT %d" % count)
    if found:
        parts.append(b"ALL " + render_set(found))
    if modseq is not None:
        parts.append(b"MODSEQ %d" % modseq)
    return b" ".join(parts) + CRLF


def render_section(section: Section) -> bytes:
    """What stands between the brackets of BODY[...], as an answer repeats it."""
    words = [str(number) for number in section.part]
    if section.text is not SectionText.ALL:
        words.append(section.text.value)
    text = ".".join(words).encode("ascii")
    if section.fields:
        text += b" (" + b" ".join(map(render_astring, section.fields)) + b")"
    return text


def render_body_label(section: Section, partial: Partial | None) -> bytes:
    """How the answer to BODY[section]<partial> begins: with the offset alone (RFC 9051 section 7.5.2)."""
    label = b"BODY[" + render_section(section) + b"]"
    return label if partial is None else label + b"<%d>" % partial.offset
