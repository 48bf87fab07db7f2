"""Addresses: lists in header fields, and the one address of an SMTP command (RFC 5322 section 3.4, RFC 5321 4.1.2, RFC 6531).

Owns both readings. Lists are read leniently, obsolete syntax and broken quoting included, and give what ENVELOPE shows;
the address of an SMTP command is read strictly. Octets are kept: encoded words stay encoded. Time is linear.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

MAX_ADDRESSES = 10_000
"""Of one list; those behind are left out."""

MAX_OCTETS = 262_144
"""Of one list that are looked at."""

# ENVELOPE marks groups by an absent host and an absent mailbox, so neither may lack in an address that is none. These are
# the words that other servers put there too.
MISSING_MAILBOX = b"MISSING_MAILBOX"
MISSING_HOST = b"MISSING_DOMAIN"


class Address(NamedTuple):
    """One address as RFC 9051 section 7.5.2 cuts it. A group's begin has its name as mailbox and no host, its end nothing."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


_GROUP_END = Address(None, None, None, None)

# The forms that nearly all addresses have: `local@host`, `words <local@host>`, `"words" <local@host>`, then the comma.
_PLAIN = re.compile(
    rb"""[ \t]*+(?:"([^"\\]*+)"[ \t]*+|([^\x00-\x20"(),.:;<>@\[\\\]][^\x00-\x1f"(),:;<>@\[\\\]]*+)?)"""
    rb"""<([^\x00-\x20"(),:;<>@\[\\\]]++)@([^\x00-\x20"(),:;<>@\[\\\]]++)>[ \t]*+(?:,|\Z)"""
    rb"""|[ \t]*+([^\x00-\x20"(),:;<>@\[\\\]]++)@([^\x00-\x20"(),:;<>@\[\\\]]++)[ \t]*+(?:,|\Z)"""
)
_TOKEN = re.compile(
    rb"""[\x00-\x20]++|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|\[(?:[^\]\\]|\\.)*+(?:\]|\\?\Z)|[<>@,;:.)\]\\]|[^\x00-\x20"(\[<>@,;:.)\]\\]++""",
    re.DOTALL,
)
_COMMENT = re.compile(rb"[()]|\\.", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_FOLDED = re.compile(rb"\r?\n")


def parse_addresses(value: bytes, limit: int = MAX_ADDRESSES) -> list[Address]:
    """The addresses of an unfolded field value, groups as ENVELOPE shows them."""
    return list(_addresses(value[:MAX_OCTETS], limit))


def _addresses(value: bytes, limit: int) -> Iterator[Address]:
    position = 0
    group = False
    while position < len(value) and limit > 0:
        match = _PLAIN.match(value, position)
        if match is not None:
            position = match.end()
            quoted, words, mailbox, host, bare_mailbox, bare_host = match.groups()
            if bare_mailbox is not None:
                yield Address(None, None, bare_mailbox, bare_host)
            else:
                name = quoted if quoted is not None else b" ".join(words.split()) if words is not None else None
                yield Address(name or None, None, mailbox, host)
            limit -= 1
            continue
        element = _Element(value, position)
        position = element.end
        if element.opens_group:
            if group:
                yield _GROUP_END
            group = True
            yield Address(None, None, element.phrase() or b"", None)
            limit -= 1
        else:
            address = element.address()
            if address is not None:
                yield address
            limit -= 1  # for empty ones as well
            if element.closes_group and group:
                group = False
                yield _GROUP_END
    if group:
        yield _GROUP_END


class _Element:
    """One element of a list that is not of the plain forms: read up to its comma, semicolon, or a group's colon."""

    __slots__ = ("angle", "closes_group", "comment", "end", "opens_group", "tokens")

    def __init__(self, value: bytes, position: int) -> None:
        self.tokens: list[bytes] = []  # before an angle bracket, or all; blanks as b" "
        self.angle: list[bytes] | None = None  # within the angle brackets
        self.comment: bytes | None = None
        self.opens_group = self.closes_group = False
        self.end = self._read(value, position)

    def _read(self, value: bytes, position: int) -> int:
        inside = begun = route = seen_at = False
        size = len(value)
        while position < size:
            if value[position] == 0x28:
                position = self._read_comment(value, position)
                (self.angle if inside and self.angle is not None else self.tokens).append(b" ")
                continue
            match = _TOKEN.match(value, position)
            if match is None:
                return size
            token = match.group()
            position = match.end()
            if inside and self.angle is not None:
                if token == b">":
                    inside = False
                elif token == b"," and seen_at and not route:
                    return position  # the bracket was never closed
                else:
                    if token == b"@":
                        # A bracket that begins with one holds a source route, up to its colon.
                        route = route or not begun
                        seen_at = True
                    elif token == b":":
                        route = False
                    begun = begun or token[0] > 0x20
                    self.angle.append(token)
            elif token == b"<":
                if self.angle is None:
                    self.angle = []
                    inside = True
            elif token == b",":
                return position
            elif token == b";":
                self.closes_group = True
                return position
            elif token == b":" and self.angle is None and b"@" not in self.tokens:
                self.opens_group = True
                return position
            elif self.angle is None:
                self.tokens.append(b" " if token[0] <= 0x20 else token)
        return size

    def _read_comment(self, value: bytes, position: int) -> int:
        depth = 0
        begin = position + 1
        for match in _COMMENT.finditer(value, position):
            if match.group() == b"(":
                depth += 1
            elif match.group() == b")":
                depth -= 1
                if depth == 0:
                    self.comment = _ESCAPED.sub(rb"\1", value[begin : match.start()]).strip()
                    return match.end()
        self.comment = value[begin:].strip()
        return len(value)

    def phrase(self) -> bytes | None:
        """The words before the angle brackets or the colon, quotes undone, with one space between them."""
        words: list[bytes] = []
        for token in self.tokens:
            if token == b" ":
                words.append(token)
            elif token[:1] == b'"':
                words += (b" ", _unquote(token), b" ")
            else:
                words.append(token)
        return b" ".join(b"".join(words).split()) or None

    def address(self) -> Address | None:
        if self.angle is None:
            return self._bare()
        name = self.phrase() or self.comment
        route, words, host = _split(self.angle)
        mailbox = words[-1] if words else None
        if not mailbox and not host and not name:
            return None
        return Address(name or None, route, mailbox or MISSING_MAILBOX, host or MISSING_HOST)

    def _bare(self) -> Address | None:
        """An address without angle brackets: `local@host`, its name in a comment or, against the rule, before it."""
        route, words, host = _split(self.tokens)
        if host is None and b"@" not in self.tokens:
            if not words:
                return None
            if len(words) > 1 or b'"' in b"".join(self.tokens):
                # No address at all, but the name of one.
                return Address(self.phrase(), None, MISSING_MAILBOX, MISSING_HOST)
            return Address(self.comment or None, None, words[0], MISSING_HOST)
        name = self.comment or b" ".join(words[:-1])
        mailbox = words[-1] if words else None
        return Address(name or None, route, mailbox or MISSING_MAILBOX, host or MISSING_HOST)


def _split(tokens: list[bytes]) -> tuple[bytes | None, list[bytes], bytes | None]:
    """(source route, words before the last @, host) of an addr-spec (RFC 5322 section 4.4): the last word is the mailbox."""
    first = next((index for index, token in enumerate(tokens) if token[0] > 0x20), 0)
    route = None
    if tokens and tokens[first] == b"@" and b":" in tokens:
        colon = tokens.index(b":")
        route = b"".join([token for token in tokens[:colon] if token[0] > 0x20])
        tokens = tokens[colon + 1 :]
    if b"@" not in tokens:
        return route, _words(tokens), None
    at = len(tokens) - 1 - tokens[::-1].index(b"@")
    host = _words(tokens[at + 1 :])
    return route, _words(tokens[:at]), host[0] if host else None


def _words(tokens: list[bytes]) -> list[bytes]:
    """Tokens between blanks put together, quotes undone; blanks beside a dot separate nothing."""
    words: list[list[bytes]] = []
    glue = False
    for token in tokens:
        if token[0] <= 0x20:
            glue = glue and words[-1][-1] == b"."
        elif glue or (token == b"." and words):
            words[-1].append(_unquote(token))
            glue = True
        else:
            words.append([_unquote(token)])
            glue = True
    return [b"".join(pieces) for pieces in words]


def _unquote(token: bytes) -> bytes:
    if token[:1] != b'"':
        return token
    text = token[1:-1] if len(token) > 1 and token[-1:] == b'"' else token[1:]
    return _ESCAPED.sub(rb"\1", _FOLDED.sub(b"", text))


# ---------------------------------------------------------------------------------------------------------------------
# SMTP


class InvalidAddress(ValueError):
    """Not the address of an SMTP command."""


@dataclass(frozen=True, slots=True)
class SmtpAddress:
    """`local@domain` of a path. `local` has no quotes; `domain` is in lower case, an address literal keeps its brackets."""

    local: str
    domain: str

    def __str__(self) -> str:
        """As it is written in a path: quoted where it must be."""
        if _DOT_STRING_UTF8.fullmatch(self.local):
            return f"{self.local}@{self.domain}"
        local = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{local}"@{self.domain}'

    @property
    def needs_utf8(self) -> bool:
        """Whether only SMTPUTF8 can carry it (RFC 6531)."""
        return not (self.local.isascii() and self.domain.isascii())


_ATEXT = r"[0-9A-Za-z!#$%&'*+\-/=?^_`{|}~]"
_ATEXT_UTF8 = r"[0-9A-Za-z!#$%&'*+\-/=?^_`{|}~\x80-\U0010ffff]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*")
_DOT_STRING_UTF8 = re.compile(rf"{_ATEXT_UTF8}+(?:\.{_ATEXT_UTF8}+)*")
_QUOTED_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\[ -~])*)"')
_QUOTED_STRING_UTF8 = re.compile(r'"((?:[ !#-\[\]-~\xa0-\U0010ffff]|\\[ -~])*)"')
_LABEL = r"[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LABEL_UTF8 = r"[0-9A-Za-z\xa1-\U0010ffff](?:[0-9A-Za-z\xa1-\U0010ffff-]*[0-9A-Za-z\xa1-\U0010ffff])?"
_DOMAIN_UTF8 = re.compile(rf"{_LABEL_UTF8}(?:\.{_LABEL_UTF8})*")
_MAX_LOCAL, _MAX_DOMAIN, _MAX_LABEL, _MAX_ADDRESS = 64, 255, 63, 254


def parse_address(text: bytes, *, utf8: bool = False) -> SmtpAddress:
    """A Mailbox of RFC 5321 section 4.1.2, no more and no less; with `utf8` that of RFC 6531. Raise InvalidAddress.

    Sizes are octets: 64 of the local part, 255 of the domain (RFC 5321 section 4.5.3.1), 254 together (a path's 256).
    """
    try:
        address = text.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError as error:
        raise InvalidAddress("not UTF-8" if utf8 else "not ASCII") from error
    if len(text) > _MAX_ADDRESS:
        raise InvalidAddress("too long")
    at = address.rfind("@")
    if at < 0:
        raise InvalidAddress("no @")
    return SmtpAddress(_parse_local(address[:at], utf8), _parse_domain(address[at + 1 :], utf8))


def _parse_local(local: str, utf8: bool) -> str:
    if len(local.encode()) > _MAX_LOCAL:
        raise InvalidAddress("local part too long")
    if (_DOT_STRING_UTF8 if utf8 else _DOT_STRING).fullmatch(local):
        return local
    quoted = (_QUOTED_STRING_UTF8 if utf8 else _QUOTED_STRING).fullmatch(local)
    if quoted is None or not quoted[1]:
        raise InvalidAddress("no local part of an address")
    return re.sub(r"\\(.)", r"\1", quoted[1])


def _parse_domain(domain: str, utf8: bool) -> str:
    if len(domain.encode()) > _MAX_DOMAIN:
        raise InvalidAddress("domain too long")
    if domain.startswith("["):
        return _parse_literal(domain)
    if not (_DOMAIN_UTF8 if utf8 else _DOMAIN).fullmatch(domain):
        raise InvalidAddress("no domain name")
    if any(len(label.encode()) > _MAX_LABEL for label in domain.split(".")):
        raise InvalidAddress("label of the domain too long")
    return domain.lower()


def _parse_literal(literal: str) -> str:
    """An address literal in its canonical spelling (RFC 5321 section 4.1.3)."""
    if not literal.endswith("]"):
        raise InvalidAddress("no address literal")
    content = literal[1:-1]
    try:
        if content[:5].lower() == "ipv6:":
            return f"[IPv6:{IPv6Address(content[5:]).compressed}]"
        return f"[{IPv4Address(content)}]"
    except AddressValueError as error:
        raise InvalidAddress("no address literal") from error
