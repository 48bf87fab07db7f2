"""SASL PLAIN and LOGIN, the server's side (RFC 4616; draft-murchison-sasl-login; RFC 4422 section 4).

Owns what a response may look like, for every protocol: base64 with a bound known before decoding, the two mechanisms as
small machines, their limits. Protocols frame challenges (`+ `, `334 `) and hand over lines.
Never verifies: what comes out is `Credentials`, to be put into an Attempt. Pure.
"""

import base64
import binascii
from dataclasses import dataclass, field

MAX_LOGIN = 320  # octets: an address is at most 64 + 1 + 255 (RFC 5321 section 4.5.3.1)
MAX_SECRET = 1024  # octets
_MAX_RESPONSE = 2 * MAX_LOGIN + MAX_SECRET + 2

MAX_LINE = (_MAX_RESPONSE + 2) // 3 * 4
"""Octets of the longest base64 line taken, without its line end."""


class MalformedResponse(Exception):
    """Not base64, or not what the mechanism expects. The sign-in fails without a verification: BAD, 501."""


class Cancelled(MalformedResponse):
    """The client gave up with `*` (RFC 9051 section 6.2.2, RFC 4954 section 4)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client claims. `authzid` is empty unless it asked to act as somebody else."""

    login: str
    secret: str = field(repr=False)
    mechanism: str
    authzid: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """To be sent before the next response; protocols encode it with `encode_challenge`."""

    data: bytes


def decode_response(line: bytes) -> bytes:
    """The octets of a base64 line; `=` alone is an empty initial response. Raise Cancelled or MalformedResponse."""
    if line == b"*":
        raise Cancelled("cancelled")
    if line == b"=":
        return b""
    if len(line) > MAX_LINE:
        raise MalformedResponse("response too long")
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedResponse("not base64") from None


def encode_challenge(data: bytes) -> bytes:
    """The base64 line of a challenge."""
    return base64.b64encode(data)


class Plain:
    """PLAIN (RFC 4616): one message, authzid NUL authcid NUL password."""

    name = "PLAIN"

    def receive(self, response: bytes | None) -> Challenge | Credentials:
        """Take a decoded response (None: the exchange begins without one). Raise MalformedResponse."""
        if response is None:
            return Challenge(b"")
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise MalformedResponse("PLAIN has three parts")
        authzid, login, secret = parts
        if len(authzid) > MAX_LOGIN:
            raise MalformedResponse("authorization identity too long")
        return Credentials(_login(login), _secret(secret), self.name, _text(authzid))


class Login:
    """LOGIN: the server asks twice. Outlook sends the name as initial response, others wait to be asked."""

    name = "LOGIN"

    def __init__(self) -> None:
        """Begin; one machine an exchange."""
        self._login: str | None = None

    def receive(self, response: bytes | None) -> Challenge | Credentials:
        """Take a decoded response (None: the exchange begins without one). Raise MalformedResponse."""
        if response is None:
            return Challenge(b"Username:")
        if self._login is None:
            self._login = _login(response)
            return Challenge(b"Password:")
        return Credentials(self._login, _secret(response), self.name)


Mechanism = Plain | Login

MECHANISMS: tuple[str, ...] = (Plain.name, Login.name)
"""What is offered over TLS, in this order."""


def open_mechanism(name: str) -> Mechanism | None:
    """A machine for a mechanism name in any case; None when it is not offered."""
    match name.upper():
        case Plain.name:
            return Plain()
        case Login.name:
            return Login()
        case _:
            return None


def _login(data: bytes) -> str:
    if not 0 < len(data) <= MAX_LOGIN:
        raise MalformedResponse("empty or too long login")
    return _text(data)


def _secret(data: bytes) -> str:
    # An empty password must never reach a directory server: to LDAP it is an anonymous bind, which succeeds.
    if not 0 < len(data) <= MAX_SECRET:
        raise MalformedResponse("empty or too long password")
    return _text(data)


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedResponse("not UTF-8") from None
    if "\0" in text:
        raise MalformedResponse("NUL")
    return text
