"""Human passwords: argon2id under a pepper, and the hashes that imported accounts bring (RFC 9106, RFC 8265 section 4).

Stored forms:
    {PREAU}$argon2id$v=19$m=19456,t=2,p=1$...   ours: argon2id over base64(HMAC-SHA-256(pepper, password))
    anything else                              imported, verified as the other software did, replaced at the next sign-in
The pepper goes in before the hash, so a stolen auth.db cannot be guessed at without the key holder's pepper as well.

`passlib` is the API; the installed distribution is libpass, the line of it that is kept up.

Owns schemes, their cost limits, and what a new password must be. Never stores, never waits: argon2 takes 20 to 50 ms and
releases the GIL, so callers run it in threads. Pure: salts come in as an argument.
"""

import base64
import binascii
import hmac
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from passlib import hash as schemes
from passlib.exc import MissingBackendError

MEMORY_COST = 19_456  # KiB
TIME_COST = 2
PARALLELISM = 1
SALT_OCTETS = 16

_OURS = "{PREAU}"
_ARGON2 = schemes.argon2.using(type="ID", memory_cost=MEMORY_COST, time_cost=TIME_COST, parallelism=PARALLELISM)

_BCRYPT_OCTETS = 72  # bcrypt looks no further; the module raises rather than cut, the software that made the hash did cut


class InvalidHash(Exception):
    """Not a hash this module verifies: unknown scheme, malformed, or so costly that a sign-in would be an attack."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a verification gave. `stale`: it was right, and the hash should be made anew (imported, or of older cost)."""

    right: bool
    stale: bool = False


WRONG = Checked(False)


def prepare(password: str) -> str:
    """The password as it is hashed (RFC 8265 section 4.2.2): NFC, every blank an ASCII blank. Macs type NFD."""
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", spaced)


def hash_password(password: str, pepper: bytes, salt: bytes) -> str:
    """What is stored for a password, with SALT_OCTETS random octets. 20 to 50 ms."""
    if len(salt) != SALT_OCTETS:
        raise ValueError(f"a salt has {SALT_OCTETS} octets")
    return _OURS + str(_ARGON2.using(salt=salt).hash(_peppered(password, pepper)))


def verify_password(stored: str, password: str, pepper: bytes) -> Checked:
    """Whether `password` is the one behind `stored`. Never raises for what was typed; raise InvalidHash for `stored`."""
    if stored.startswith(_OURS):
        text = stored[len(_OURS) :]
        if not _check(_ARGON2, text, _peppered(password, pepper)):
            return WRONG
        return Checked(True, bool(_ARGON2.needs_update(text)))
    scheme, text = _scheme_of(stored)
    typed = password.encode("utf-8", "surrogatepass")
    return Checked(True, stale=True) if _check(scheme, text, typed) else WRONG


def is_ours(stored: str) -> bool:
    """Whether a stored hash is of our own making, so that its verification costs what an unknown login's does."""
    return stored.startswith(_OURS)


def _peppered(password: str, pepper: bytes) -> bytes:
    text = prepare(password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(pepper, b"password\0" + text, "sha256"))


def _check(scheme: Any, text: str, typed: bytes) -> bool:
    if scheme.name == "bcrypt":
        typed = typed[:_BCRYPT_OCTETS]
    try:
        return bool(scheme.verify(typed, text))
    except MissingBackendError:
        raise InvalidHash(f"{scheme.name}: its library is not installed") from None
    except (ValueError, TypeError):
        return False  # what was typed cannot be hashed by that scheme (a NUL, too long): then it is not the password


# ---------------------------------------------------------------------------------------------------------------------
# Imported hashes

_BY_PREFIX: tuple[tuple[str, Any], ...] = (
    ("$argon2", schemes.argon2),
    ("$6$", schemes.sha512_crypt),
    ("$5$", schemes.sha256_crypt),
    ("$2a$", schemes.bcrypt),
    ("$2b$", schemes.bcrypt),
    ("$2y$", schemes.bcrypt),
    ("$1$", schemes.md5_crypt),
    ("$apr1$", schemes.apr_md5_crypt),
    ("$scrypt$", schemes.scrypt),
    ("$bcrypt-sha256$", schemes.bcrypt_sha256),
    ("$pbkdf2-sha256$", schemes.pbkdf2_sha256),
    ("$pbkdf2-sha512$", schemes.pbkdf2_sha512),
    ("$pbkdf2$", schemes.pbkdf2_sha1),
    ("pbkdf2_sha256$", schemes.django_pbkdf2_sha256),
    ("$P$", schemes.phpass),
    ("{SSHA512}", schemes.ldap_salted_sha512),
    ("{SSHA256}", schemes.ldap_salted_sha256),
    ("{SSHA}", schemes.ldap_salted_sha1),
    ("{SMD5}", schemes.ldap_salted_md5),
    ("{SHA}", schemes.ldap_sha1),
    ("{MD5}", schemes.ldap_md5),
    ("{HEX-MD5}", schemes.hex_md5),
    ("{HEX-SHA256}", schemes.hex_sha256),
    ("{HEX-SHA512}", schemes.hex_sha512),
)
_STRIPPED = ("{HEX-MD5}", "{HEX-SHA256}", "{HEX-SHA512}")  # our own marks: the bare hex does not say what it is

_CRYPT = frozenset(
    {"CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "BLF-CRYPT", "DES-CRYPT", "ARGON2I", "ARGON2ID", "ARGON2", "MD5"}
)
"""Dovecot schemes whose text is a crypt(3) string that tells its own kind."""

_DIGESTS: Mapping[str, tuple[str, int]] = {
    "SHA": ("{SHA}", 20),
    "SHA1": ("{SHA}", 20),
    "LDAP-MD5": ("{MD5}", 16),
    "PLAIN-MD5": ("{HEX-MD5}", 16),
    "SHA256": ("{HEX-SHA256}", 32),
    "SHA512": ("{HEX-SHA512}", 64),
    "SSHA": ("{SSHA}", 20),
    "SSHA256": ("{SSHA256}", 32),
    "SSHA512": ("{SSHA512}", 64),
    "SMD5": ("{SMD5}", 16),
}
"""Dovecot schemes whose text is a digest (the salted ones: and a salt), and the octets of the digest."""

_CLEAR = frozenset({"PLAIN", "CLEAR", "CLEARTEXT"})

_LONGEST_HASH = 1024
_MAX_ROUNDS: Mapping[str, int] = {"bcrypt": 14, "bcrypt_sha256": 14, "scrypt": 17, "phpass": 16}  # these count powers of two
_MAX_LINEAR_ROUNDS = 1_500_000
_MAX_ARGON2 = 2_097_152  # KiB times passes: a second or two


def import_hash(text: str) -> str:
    """A hash from elsewhere, with or without Dovecot's {SCHEME}, in the form that is stored. Raise InvalidHash."""
    text = text.strip()
    if not 0 < len(text) <= _LONGEST_HASH:
        raise InvalidHash("empty or too long")
    if text.startswith("{"):
        scheme, brace, rest = text[1:].partition("}")
        if not brace:
            raise InvalidHash("a { without }")
        text = _from_dovecot(scheme.upper(), rest)
    scheme_, stored = _scheme_of(text)
    _refuse_costly(scheme_, stored)
    return text


def _from_dovecot(scheme: str, text: str) -> str:
    name, _, encoding = scheme.partition(".")
    if name in _CLEAR:
        raise InvalidHash("a clear password: give it in the column `password`, to be hashed here")
    if name in _CRYPT and not (name == "MD5" and not text.startswith("$1$")):
        return text
    if name == "PBKDF2":
        return _from_dovecot_pbkdf2(text)
    if name == "MD5":  # without $1$ it is what LDAP calls {MD5}
        name = "LDAP-MD5"
    if name not in _DIGESTS:
        raise InvalidHash(f"unknown scheme {{{scheme[:20]}}}")
    mark, size = _DIGESTS[name]
    data = _digest_octets(text, encoding, size)
    salted = name.startswith(("SSHA", "SMD5"))
    if len(data) <= size if salted else len(data) != size:
        raise InvalidHash(f"not a digest of {{{scheme[:20]}}}")
    return mark + (data.hex() if mark in _STRIPPED else base64.b64encode(data).decode("ascii"))


def _digest_octets(text: str, encoding: str, size: int) -> bytes:
    try:
        # Without a suffix Dovecot takes hex for what has exactly the length of hex, base64 otherwise.
        if encoding == "HEX" or (not encoding and len(text) == 2 * size):
            return bytes.fromhex(text)
        if encoding in ("", "B64", "BASE64"):
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        pass
    raise InvalidHash("neither hex nor base64")


def _from_dovecot_pbkdf2(text: str) -> str:
    # $1$salt$rounds$hex: PBKDF2-HMAC-SHA-1 with the salt's characters as they are.
    parts = text.split("$")
    if len(parts) != 5 or parts[:2] != ["", "1"] or not parts[3].isascii() or not parts[3].isdigit():
        raise InvalidHash("not a {PBKDF2} of Dovecot")
    try:
        digest = bytes.fromhex(parts[4])
    except ValueError:
        raise InvalidHash("not a {PBKDF2} of Dovecot") from None
    return f"$pbkdf2${int(parts[3])}${_ab64(parts[2].encode())}${_ab64(digest)}"


def _ab64(data: bytes) -> str:
    return base64.b64encode(data, b"./").decode("ascii").rstrip("=")


def _scheme_of(stored: str) -> tuple[Any, str]:
    found = next(((prefix, scheme) for prefix, scheme in _BY_PREFIX if stored.startswith(prefix)), None)
    if found is not None:
        prefix, scheme = found
        text = stored[len(prefix) :] if prefix in _STRIPPED else stored
    elif len(stored) == 13:
        scheme, text = schemes.des_crypt, stored
    else:
        raise InvalidHash("unknown scheme")
    if not scheme.identify(text):
        raise InvalidHash(f"malformed {scheme.name}")
    return scheme, text


def _refuse_costly(scheme: Any, text: str) -> None:
    if not hasattr(scheme, "from_string"):
        return  # a bare digest: nothing in it can be costly
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of padding bits in a bcrypt salt, which it reads all the same
            parsed = scheme.from_string(text)
    except (ValueError, TypeError, LookupError):  # LookupError: a phpass hash that ends behind its mark
        raise InvalidHash(f"malformed {scheme.name}") from None
    if getattr(parsed, "checksum", "") is None:
        raise InvalidHash(f"{scheme.name}: settings without a hash")
    rounds = getattr(parsed, "rounds", None) or 0
    if scheme.name == "argon2":
        too_much = parsed.memory_cost * rounds > _MAX_ARGON2 or parsed.parallelism > 16
    else:
        too_much = rounds > _MAX_ROUNDS.get(scheme.name, _MAX_LINEAR_ROUNDS)
    if scheme.name == "scrypt":
        too_much = too_much or parsed.block_size * parsed.parallelism > 64
    if too_much:
        raise InvalidHash(f"{scheme.name} with a cost beyond what a sign-in may take")
