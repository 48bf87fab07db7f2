"""Mailbox names on the wire (RFC 3501 section 5.1.3, RFC 9051 section 5.1) and LIST patterns (RFC 9051 section 6.3.9).

Owns modified UTF-7 both ways, the folding of INBOX, the hierarchy, and what `*` and `%` match. Never asks whether a
mailbox is there, and leaves to the store which names it takes.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator

from ..storage.api import DELIMITER

INBOX = "INBOX"


class InvalidMailboxName(ValueError):
    """Octets that are no mailbox name in the encoding that the connection uses."""


def encode_mailbox(name: str) -> bytes:
    """A name in modified UTF-7 (RFC 3501 section 5.1.3). Raise InvalidMailboxName for lone surrogates."""
    if name.isascii() and name.isprintable():
        return name.replace("&", "&-").encode("ascii")
    out = bytearray()
    run = ""
    for character in name:
        if " " <= character <= "~":
            if run:
                out += _shifted(run)
                run = ""
            out += b"&-" if character == "&" else character.encode("ascii")
        else:
            run += character
    if run:
        out += _shifted(run)
    return bytes(out)


def _shifted(run: str) -> bytes:
    """A run of characters outside printable ASCII: `&`, base64 of UTF-16BE with `,` for `/`, `-`."""
    try:
        octets = run.encode("utf-16-be")
    except UnicodeEncodeError:
        raise InvalidMailboxName("lone surrogate in mailbox name") from None
    return b"&" + b2a_base64(octets, newline=False).rstrip(b"=").replace(b"/", b",") + b"-"


def decode_mailbox(octets: bytes, *, utf8: bool = False) -> str:
    """A name as the client sent it: UTF-8 when the connection enabled that, else modified UTF-7, and strictly so.

    One name has one spelling: base64 for what needs none, `&` runs side by side and stray bits are refused
    (RFC 3501 section 5.1.3), else two names on the wire would be one mailbox. Raise InvalidMailboxName.
    """
    if octets.isascii():
        if utf8 or b"&" not in octets:
            return octets.decode("ascii")
        return _decode_utf7(octets)
    if not utf8:
        raise InvalidMailboxName("mailbox name is not modified UTF-7")
    try:
        name = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidMailboxName("mailbox name is not UTF-8") from None
    if "\u2028" in name or "\u2029" in name:  # RFC 6855 section 3; other controls are the store's to refuse
        raise InvalidMailboxName("line or paragraph separator in mailbox name")
    return name


def _decode_utf7(octets: bytes) -> str:
    first, *rest = octets.split(b"&")
    parts = [first.decode("ascii")]
    after_run = False  # a base64 run ended and nothing came since: another one should have been part of it
    for piece in rest:
        run, end, plain = piece.partition(b"-")
        if not end:
            raise InvalidMailboxName("modified UTF-7 run without its end")
        if run:
            if after_run:
                raise InvalidMailboxName("modified UTF-7 runs side by side")
            parts.append(_decode_run(run))
        else:
            parts.append("&")
        parts.append(plain.decode("ascii"))
        after_run = bool(run) and not plain
    return "".join(parts)


def _decode_run(run: bytes) -> str:
    if b"/" in run or b"=" in run:
        raise InvalidMailboxName("not the base64 of modified UTF-7")
    standard = run.replace(b",", b"/")
    try:
        raw = a2b_base64(standard + b"=" * (-len(standard) % 4), strict_mode=True)
        text = raw.decode("utf-16-be")
    except (Base64Error, UnicodeDecodeError):
        raise InvalidMailboxName("broken modified UTF-7") from None
    if any(" " <= character <= "~" for character in text):
        raise InvalidMailboxName("printable ASCII in base64")
    if b2a_base64(raw, newline=False).rstrip(b"=") != standard:
        raise InvalidMailboxName("stray bits in base64")
    return text


def fold_inbox(name: str) -> str:
    """The name with a leading INBOX, in whatever case, spelled INBOX: alone or as the parent (RFC 9051 section 5.1).

    The RFC folds the name alone; a child is folded with it, or `inbox/x` would need a second parent that looks the same.
    """
    if name[:5].upper() == INBOX and name[5:6] in ("", DELIMITER) and name[:5].isascii():
        return INBOX + name[5:]
    return name


def parents(name: str) -> Iterator[str]:
    """Ancestors of a name, nearest first: `a/b/c` gives `a/b`, `a`."""
    at = name.rfind(DELIMITER)
    while at > 0:
        name = name[:at]
        yield name
        at = name.rfind(DELIMITER)


def is_below(name: str, ancestor: str) -> bool:
    """Whether `name` is a descendant of `ancestor`."""
    return name.startswith(ancestor + DELIMITER)


class ListPattern:
    """A LIST pattern, ready to be matched: `*` is any run, `%` any run without the delimiter.

    Theory: all positions of the pattern that can be reached are bits of one integer, moved on together for each character
    of the name. The time is (length of name) x (length of pattern) / 64 whatever the wildcards; there is no backtracking
    that `%*%*%*%*x` could blow up.
    """

    __slots__ = ("_delimited", "_final", "_literal", "_wild")

    def __init__(self, pattern: str) -> None:
        """Prepare `reference + pattern` (RFC 9051 section 6.3.9: the reference is what the pattern is appended to)."""
        self._literal: dict[str, int] = {}
        self._wild = 0  # bits of `*` and `%`
        self._delimited = 0  # bits of `%`
        bit = 1
        before = ""
        for character in pattern:
            if character in "*%" and before in ("*", "%"):
                # Wildcards side by side are the stronger one of them.
                if character == "*":
                    self._delimited &= ~(bit >> 1)
                    before = "*"
                continue
            if character in "*%":
                self._wild |= bit
                if character == "%":
                    self._delimited |= bit
            else:
                self._literal[character] = self._literal.get(character, 0) | bit
            before = character
            bit <<= 1
        self._final = bit

    def matches(self, name: str) -> bool:
        """Whether the whole name matches."""
        wild, literal = self._wild, self._literal
        reached = 1 | (1 & wild) << 1
        for character in name:
            stays = reached & wild
            if character == DELIMITER:
                stays &= ~self._delimited
            reached = stays | (reached & literal.get(character, 0)) << 1
            reached |= (reached & wild) << 1
            if not reached:
                return False
        return bool(reached & self._final)


class ListPatterns:
    """The patterns of one LIST, INBOX being matched without regard to case."""

    __slots__ = ("_folded", "_patterns")

    def __init__(self, reference: str, patterns: tuple[str, ...]) -> None:
        """Prepare them."""
        self._patterns = [ListPattern(fold_inbox(reference + pattern)) for pattern in patterns]
        self._folded = [ListPattern((reference + pattern).upper()) for pattern in patterns]

    def matches(self, name: str) -> bool:
        """Whether any of them matches the name."""
        if name == INBOX:
            return any(pattern.matches(name) for pattern in self._folded)
        return any(pattern.matches(name) for pattern in self._patterns)
