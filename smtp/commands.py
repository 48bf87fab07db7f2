"""SMTP and LMTP command lines to values (RFC 5321 section 4.1, RFC 2033, RFC 1870, RFC 6152, RFC 6531, RFC 3030, RFC 3461).

Owns the grammar of the verbs and their parameters; nobody else looks at a raw line.
Never decides policy: a well-formed RCPT to a stranger parses here and is refused elsewhere, and which verbs and parameters
a mode offers stands in session.py. Pure.
"""

import re
from dataclasses import dataclass, field

from .reply import LINE_TOO_LONG, UNKNOWN_COMMAND, Refused, Reply, malformed

MAX_LINE = 4_096
"""Octets of a command line with its CRLF: 512 and what the extensions add to MAIL and RCPT (RFC 3461 section 4), rounded up."""
MAX_LOCAL, MAX_DOMAIN = 256, 255  # octets; RFC 5321 section 4.5.3.1 asks for 64 and 255, mailing lists send longer locals


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox of a path: the local part as it is meant (unquoted), the domain as it was written."""

    local: str
    domain: str

    def __str__(self) -> str:
        """As it stands in a path, quoted when it must be; a domainless Postmaster alone has no `@`."""
        local = self.local
        if not _DOT_STRING.fullmatch(local.encode()):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def is_ascii(self) -> bool:
        """Whether it can go where SMTPUTF8 is not spoken."""
        return self.local.isascii() and self.domain.isascii()


@dataclass(frozen=True, slots=True)
class Hello:
    """LHLO, EHLO or HELO. `verb` says which."""

    verb: str
    name: str


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM. `reverse_path`: None for the null path. `size`: declared octets (RFC 1870)."""

    reverse_path: Address | None
    size: int | None = None
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None
    auth: str | None = None
    parameters: frozenset[str] = frozenset()
    delivery_id: str | None = None  # XDELIVERYID, our own: the queue's name for the message, over LMTP alone


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO. `notify` and `orcpt` are RFC 3461's; `orcpt` is (type, address)."""

    forward_path: Address
    notify: frozenset[str] = frozenset()
    orcpt: tuple[str, str] | None = None
    parameters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT: how many octets follow, and whether they are the last (RFC 3030 section 2)."""

    size: int
    last: bool


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH. `initial` is the initial response, still in base64, None when there is none (RFC 4954 section 4)."""

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Simple:
    """A verb whose argument nobody needs: DATA, RSET, NOOP, QUIT, VRFY, EXPN, HELP, STARTTLS."""

    verb: str


Command = Hello | Mail | Rcpt | Bdat | Auth | Simple

# RFC 5321 section 4.1.2 with the octets above 127 of RFC 6531 section 3.3; what they must be is checked by decoding.
_ATEXT = rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\xff]"
_DOT_STRING = re.compile(_ATEXT + rb"+(?:\." + _ATEXT + rb"+)*")
_QUOTED = rb'"(?:[\x20!#-\[\]-~\x80-\xff]|\\[\x20-~])*"'
# The underscore is no letter of a host name, but it stands in reverse paths of the wild.
_LABEL = rb"[A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_\x80-\xff-]{0,62}[A-Za-z0-9_\x80-\xff])?"
_DOMAIN = _LABEL + rb"(?:\." + _LABEL + rb")*"
_LITERAL = rb"\[[!-Z^-~]{1,128}\]"
_PATH = re.compile(
    # A source route is taken and ignored (RFC 5321 appendix C).
    rb"<(?:@%b(?:,@%b)*:)?(%b|%b)@(%b|%b)>" % (_DOMAIN, _DOMAIN, _DOT_STRING.pattern, _QUOTED, _DOMAIN, _LITERAL)
)
_HELLO_NAME = re.compile(rb"(?:%b|%b)\Z" % (_DOMAIN, _LITERAL))
_KEYWORD = re.compile(rb"[A-Za-z0-9][A-Za-z0-9-]*\Z")
_VALUE = re.compile(rb"[!-<>-~\x80-\xff]+\Z")
_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_HEX = re.compile(rb"\+([0-9A-F]{2})")
_NUMBER = re.compile(rb"[0-9]{1,20}\Z")
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]+={0,2}|=)\Z")
# What could end a line, or hide in one, where somebody writes it into a header or a report.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNQUOTE = re.compile(rb"\\([\x20-~])")

_NO_ARGUMENT = frozenset({"DATA", "RSET", "QUIT", "STARTTLS"})
_ANY_ARGUMENT = frozenset({"NOOP", "VRFY", "EXPN", "HELP"})


def parse_command(line: bytes) -> Command:
    """The command of a line without its CRLF. Raise Refused with the reply to give."""
    if len(line) > MAX_LINE - 2:
        raise Refused(LINE_TOO_LONG)
    # RFC 5321 section 4.1.1: trailing white space is tolerated.
    verb, _, argument = line.rstrip(b" \t").partition(b" ")
    name = verb.upper()
    if name == b"MAIL":
        return _parse_mail(argument)
    if name == b"RCPT":
        return _parse_rcpt(argument)
    text = name.decode("ascii", "replace")
    if text in _NO_ARGUMENT:
        if argument:
            raise Refused(malformed(f"{text} takes no argument"))
        return Simple(text)
    if text in _ANY_ARGUMENT:
        return Simple(text)
    match text:
        case "LHLO" | "EHLO" | "HELO":
            return _parse_hello(text, argument)
        case "BDAT":
            return _parse_bdat(argument)
        case "AUTH":
            return _parse_auth(argument)
    raise Refused(UNKNOWN_COMMAND)


def _parse_hello(verb: str, argument: bytes) -> Hello:
    if len(argument) > MAX_DOMAIN or not _HELLO_NAME.match(argument):
        raise Refused(malformed(f"{verb} needs a host name or an address literal"))
    return Hello(verb, _decoded(argument))


def _parse_mail(argument: bytes) -> Mail:
    if argument[:5].upper() != b"FROM:":
        raise Refused(malformed("MAIL FROM:<address> [parameters]"))
    reverse_path, rest = (None, argument[7:]) if argument[5:7] == b"<>" else _parse_path(argument[5:])
    if not rest:
        return Mail(reverse_path)
    values: dict[str, bytes | None] = _parse_parameters(rest)
    size: int | None = None
    body, ret, envid, auth, smtputf8, delivery_id = "7BIT", None, None, None, False, None
    for name, value in values.items():
        match name:
            case "SIZE":
                if value is None or not _NUMBER.match(value):
                    raise Refused(malformed("SIZE=octets"))
                size = int(value)
            case "BODY":
                body = _one_of(name, value, "7BIT", "8BITMIME", "BINARYMIME")
            case "SMTPUTF8":
                _none(name, value)
                smtputf8 = True
            case "RET":
                ret = _one_of(name, value, "FULL", "HDRS")
            case "ENVID":
                envid = _parse_xtext(name, value, 100)
            case "AUTH":
                auth = _parse_xtext(name, value, 500)
            case "XDELIVERYID":
                delivery_id = _parse_xtext(name, value, 100)
            case _:
                raise Refused(_unknown(name))
    return Mail(reverse_path, size, body, smtputf8, ret, envid, auth, frozenset(values), delivery_id)


def _parse_rcpt(argument: bytes) -> Rcpt:
    if argument[:3].upper() != b"TO:":
        raise Refused(malformed("RCPT TO:<address> [parameters]"))
    if argument[3:15].lower() == b"<postmaster>":
        # RFC 5321 section 4.1.1.3: the one address that needs no domain.
        path, rest = Address(argument[4:14].decode("ascii"), ""), argument[15:]
    else:
        path, rest = _parse_path(argument[3:])
    if not rest:
        return Rcpt(path)
    values = _parse_parameters(rest)
    notify: frozenset[str] = frozenset()
    orcpt = None
    for name, value in values.items():
        match name:
            case "NOTIFY":
                notify = frozenset((value or b"").decode("ascii", "replace").upper().split(","))
                if notify != {"NEVER"} and not notify <= {"SUCCESS", "FAILURE", "DELAY"}:
                    raise Refused(malformed("NOTIFY=NEVER or a list of SUCCESS, FAILURE, DELAY"))
            case "ORCPT":
                kind, found, address = (value or b"").partition(b";")
                if not found or not _KEYWORD.match(kind):
                    raise Refused(malformed("ORCPT=type;address"))
                # RFC 6533 section 3: the utf-8 type is no xtext; it is kept as it came.
                text = _decoded(address) if kind.lower() == b"utf-8" else _parse_xtext(name, address, 500)
                orcpt = (kind.decode("ascii").lower(), text)
            case _:
                raise Refused(_unknown(name))
    return Rcpt(path, notify, orcpt, frozenset(values))


def _parse_bdat(argument: bytes) -> Bdat:
    size, _, last = argument.partition(b" ")
    if not _NUMBER.match(size) or last.upper() not in (b"", b"LAST"):
        raise Refused(malformed("BDAT octets [LAST]"))
    return Bdat(int(size), bool(last))


def _parse_auth(argument: bytes) -> Auth:
    mechanism, found, initial = argument.partition(b" ")
    if not re.fullmatch(rb"[A-Za-z0-9_-]{1,20}", mechanism) or (found and not _BASE64.match(initial)):
        raise Refused(malformed("AUTH mechanism [initial response]"))
    return Auth(mechanism.decode("ascii").upper(), initial if found else None)


def _parse_path(text: bytes) -> tuple[Address, bytes]:
    found = _PATH.match(text)
    if found is None:
        raise Refused(Reply(501, "5.1.3", "not an address in angle brackets"))
    local, domain = found[1], found[2]
    if local[:1] == b'"':
        local = _UNQUOTE.sub(rb"\1", local[1:-1])
    if len(local) > MAX_LOCAL or len(domain) > MAX_DOMAIN:
        raise Refused(Reply(501, "5.1.3", "address too long"))
    return Address(_decoded(local), _decoded(domain)), text[found.end() :]


def _parse_parameters(rest: bytes) -> dict[str, bytes | None]:
    if rest[:1] != b" ":
        raise Refused(malformed("a space stands between address and parameters"))
    values: dict[str, bytes | None] = {}
    for each in rest.split():
        keyword, found, value = each.partition(b"=")
        if not _KEYWORD.match(keyword) or (found and not _VALUE.match(value)):
            raise Refused(malformed("a parameter is KEYWORD or KEYWORD=value"))
        name = keyword.decode("ascii").upper()
        if name in values:
            raise Refused(malformed(f"{name} stands there twice"))
        values[name] = value if found else None
    return values


def _one_of(name: str, value: bytes | None, *allowed: str) -> str:
    text = (value or b"").decode("ascii", "replace").upper()
    if text not in allowed:
        raise Refused(malformed(f"{name}={' or '.join(allowed)}"))
    return text


def _none(name: str, value: bytes | None) -> None:
    if value is not None:
        raise Refused(malformed(f"{name} takes no value"))


def _parse_xtext(name: str, value: bytes | None, limit: int) -> str:
    # RFC 3461 section 4: printable octets, the others as +XX.
    if value is None or not _XTEXT.match(value) or len(value) > limit:
        raise Refused(malformed(f"{name} is not xtext"))
    return _decoded(_HEX.sub(lambda found: bytes.fromhex(found[1].decode("ascii")), value))


def _decoded(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(Reply(501, "5.5.2", "not UTF-8")) from None
    if _CONTROL.search(text):
        raise Refused(Reply(501, "5.5.2", "a control character"))
    return text


def _unknown(name: str) -> Reply:
    return Reply(555, "5.5.4", f"parameter {name} not known")
