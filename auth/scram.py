"""SCRAM-SHA-256, the server's side, for app passwords (RFC 5802, RFC 7677; auth-security 1.6).

    C: n,,n=marie@ecole.example,r=<client's nonce>
    S: r=<client's nonce><ours>,s=<salt>,i=4096
    C: c=biws,r=<both>,p=<proof>
    S: v=<signature>

The salt is told before anything is known of the secret, so all app passwords of an account share one: it is an HMAC under
the pepper of who the login leads to, account or nobody, and need not be stored. The proof is tried against the keys of each
app password. What is stored proves nothing by itself (StoredKey), and 4096 iterations are plenty for 74 random bits.

No channel binding: `ssl` of Python has no exporter, so `p=` is refused and no -PLUS is offered; `y` is believed.
Owns the messages, their bounds, and the arithmetic. Never looks anything up, never decides who may use what. Pure.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .sasl import MAX_LOGIN, MalformedResponse

NAME = "SCRAM-SHA-256"
ITERATIONS = 4096
"""RFC 7677 section 4: at least."""

NONCE_OCTETS = 18
"""Random octets of the server's part of the nonce."""

MAX_MESSAGE = 1666  # octets: what auth/sasl.py takes of any mechanism
MAX_NONCE = 256  # octets of the client's part
PADDED = 96
"""Keys that a proof is tried against at least, so that time does not count somebody's app passwords."""

_KEY = 32  # octets
_NOBODYS = bytes(2 * _KEY)  # no ClientKey is known whose hash is zero

_NONCE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")
_EXTENSION = re.compile(rb"[A-Za-z]=[^\0,]+")
_ESCAPED = {"=2C": ",", "=3D": "="}


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """A client-first-message, understood."""

    login: str
    authzid: str
    nonce: bytes
    header: bytes  # gs2-header, which the client repeats in its final message
    bare: bytes  # client-first-message-bare


@dataclass(frozen=True, slots=True)
class ClientFinal:
    """A client-final-message, understood."""

    binding: bytes  # decoded: the gs2-header again
    nonce: bytes
    proof: bytes = field(repr=False)
    without_proof: bytes


def read_client_first(message: bytes) -> ClientFirst:
    """RFC 5802 section 7, client-first-message. Raise MalformedResponse, for a channel binding too."""
    if len(message) > MAX_MESSAGE:
        raise MalformedResponse("message too long")
    flag, *fields = message.split(b",")
    if flag.startswith(b"p="):
        raise MalformedResponse("channel binding is not offered")
    if flag not in (b"n", b"y"):
        raise MalformedResponse("not a gs2 header")
    if len(fields) < 3:
        raise MalformedResponse("a name and a nonce are needed")
    authorization, name, nonce, *extensions = fields  # a mandatory extension (m=) would stand where the name must
    nonce = _attribute(b"r", nonce)
    if len(nonce) > MAX_NONCE or _NONCE.fullmatch(nonce) is None:
        raise MalformedResponse("not a nonce")
    _check_extensions(extensions)
    header = flag + b"," + authorization + b","
    return ClientFirst(
        _name(_attribute(b"n", name)),
        _name(_attribute(b"a", authorization)) if authorization else "",
        nonce,
        header,
        message[len(header) :],
    )


def read_client_final(message: bytes) -> ClientFinal:
    """RFC 5802 section 7, client-final-message. Raise MalformedResponse."""
    if len(message) > MAX_MESSAGE:
        raise MalformedResponse("message too long")
    without_proof, comma, proof = message.rpartition(b",")
    fields = without_proof.split(b",")
    if not comma or len(fields) < 2:
        raise MalformedResponse("a channel binding, a nonce and a proof are needed")
    binding, nonce, *extensions = fields
    nonce = _attribute(b"r", nonce)
    if _NONCE.fullmatch(nonce) is None:
        raise MalformedResponse("not a nonce")
    _check_extensions(extensions)
    octets = _octets(_attribute(b"p", proof))
    if len(octets) != _KEY:
        raise MalformedResponse("not a proof")
    return ClientFinal(_octets(_attribute(b"c", binding)), nonce, octets, without_proof)


def salt_of(pepper: bytes, subject: str) -> bytes:
    """The salt of an account by its id, or of a login that is none by what stands for it: 16 octets, always the same."""
    return hmac.digest(pepper, b"scram salt\0" + subject.encode(), "sha256")[:16]


def render_server_first(first: ClientFirst, salt: bytes, random: bytes) -> bytes:
    """The server-first-message. `random`: NONCE_OCTETS random octets."""
    nonce = first.nonce + base64.b64encode(random)
    return b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(salt), ITERATIONS)


def make_keys(secret: str, salt: bytes) -> bytes:
    """StoredKey and ServerKey of a secret: what is stored. A millisecond."""
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client_key).digest() + hmac.digest(salted, b"Server Key", "sha256")


def make_all_keys(pepper: bytes, account: str, spellings: Iterable[str]) -> bytes:
    """What is stored with an app password: the keys of each spelling, one after the other."""
    salt = salt_of(pepper, account)
    return b"".join(make_keys(spelling, salt) for spelling in spellings)


def split_keys(stored: bytes) -> list[bytes]:
    """The keys of each spelling again."""
    return [stored[start : start + 2 * _KEY] for start in range(0, len(stored), 2 * _KEY)]


def continues(first: ClientFirst, server_first: bytes, final: ClientFinal) -> bool:
    """Whether a final message belongs to the exchange: the same header and the same nonce, ours included."""
    nonce = _attribute(b"r", server_first.partition(b",")[0])
    return hmac.compare_digest(final.binding, first.header) and hmac.compare_digest(final.nonce, nonce)


def auth_message(first: ClientFirst, server_first: bytes, final: ClientFinal) -> bytes:
    """What both sides sign."""
    return b",".join((first.bare, server_first, final.without_proof))


def find_keys(keys: Sequence[bytes], message: bytes, proof: bytes) -> int | None:
    """Which of `keys` (each of `make_keys`) the proof was made with. As long for none as for PADDED of them."""
    found = None
    for index, pair in enumerate(_padded(keys)):
        stored = pair[:_KEY]
        signature = hmac.digest(stored, message, "sha256")
        client_key = (int.from_bytes(proof, "big") ^ int.from_bytes(signature, "big")).to_bytes(_KEY, "big")
        if hmac.compare_digest(hashlib.sha256(client_key).digest(), stored):
            found = index
    return found


def render_server_final(keys: bytes, message: bytes) -> bytes:
    """The server-final-message, by which the client knows that we know its secret too."""
    return b"v=" + base64.b64encode(hmac.digest(keys[_KEY:], message, "sha256"))


def _padded(keys: Sequence[bytes]) -> Iterable[bytes]:
    yield from keys
    for _ in range(PADDED - len(keys)):
        yield _NOBODYS


def _attribute(name: bytes, given: bytes) -> bytes:
    if not given.startswith(name + b"="):
        raise MalformedResponse(f"attribute {name.decode()} is not where it must be")
    return given[2:]


def _check_extensions(fields: Iterable[bytes]) -> None:
    for one in fields:
        # Optional ones are ignored, unknown as they are; `m` says that it must not be (section 5.1).
        if _EXTENSION.fullmatch(one) is None or one.startswith(b"m="):
            raise MalformedResponse("not an extension that can be ignored")


def _name(data: bytes) -> str:
    """A saslname: UTF-8, with `=2C` for a comma and `=3D` for an equals sign."""
    if not data or len(data) > 3 * MAX_LOGIN:
        raise MalformedResponse("empty or too long name")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedResponse("not UTF-8") from None
    if "\0" in text:
        raise MalformedResponse("NUL")
    name = re.sub("=.{0,2}", _unescape, text, flags=re.DOTALL)
    if len(name.encode()) > MAX_LOGIN:
        raise MalformedResponse("name too long")
    return name


def _unescape(match: re.Match[str]) -> str:
    try:
        return _ESCAPED[match[0]]
    except KeyError:
        raise MalformedResponse("= that escapes nothing") from None


def _octets(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise MalformedResponse("not base64") from None
