"""Addresses as keys: one spelling for all that lead to the same mailbox (RFC 5321 section 4.1.2, RFC 6531, RFC 5890).

Both halves are compared without case. The local part is NFC and casefolded; the domain is in A-labels, so that
`Élise@École.example` and `élise@xn--cole-9oa.example` are one address. Quoted local parts and address literals lead to no
local account and are refused here.

Owns the key form, its limits, and sub-addresses. Never looks anything up. Pure.
"""

import unicodedata

_MAX_LOCAL = 64  # octets (RFC 5321 section 4.5.3.1.1)
_MAX_DOMAIN = 253
_MAX_LABEL = 63
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})  # RFC 3490 section 3.1
_ATEXT = frozenset("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~.")  # RFC 5322 section 3.2.3, with dots
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


class InvalidAddress(ValueError):
    """Not an address a mailbox here could have; the text says why."""


def normalise_domain(text: str) -> str:
    """The key form of a domain: lower-case A-labels, no final dot. Raise InvalidAddress."""
    if len(text) > 2 * _MAX_DOMAIN:
        raise InvalidAddress("domain too long")
    labels = text.translate(_DOTS).removesuffix(".").split(".")
    domain = ".".join(_label(label) for label in labels)
    if len(domain) > _MAX_DOMAIN:
        raise InvalidAddress("domain too long")
    return domain


def normalise_address(text: str) -> str:
    """The key form of `local@domain`. Raise InvalidAddress."""
    local, at, domain = text.strip().rpartition("@")
    if not at or not local:
        raise InvalidAddress("an address is local@domain")
    return f"{normalise_local(local)}@{normalise_domain(domain)}"


def normalise_local(local: str) -> str:
    """The key form of a local part. Raise InvalidAddress."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())
    try:
        octets = len(folded.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidAddress("not Unicode text") from None
    if not 0 < octets <= _MAX_LOCAL:
        raise InvalidAddress(f"the part before @ has 1 to {_MAX_LOCAL} octets")
    if folded[0] == "." or folded[-1] == "." or ".." in folded:
        raise InvalidAddress("misplaced dot before @")
    if _ATEXT.issuperset(folded):
        return folded
    for character in folded:
        # RFC 6531 section 3.3 adds UTF8-non-ascii to atext; what cannot be seen is left out: it only serves confusion.
        if character not in _ATEXT and (character.isascii() or unicodedata.category(character)[0] in "CZ"):
            raise InvalidAddress(f"character not taken before @: {character!r}")
    return folded


def without_tag(address: str, delimiter: str) -> str | None:
    """The address without its tag (`user+tag@` gives `user@`); None when it has none."""
    local, _, domain = address.rpartition("@")
    if not delimiter or delimiter not in local[1:]:
        return None
    base = local[: local.index(delimiter, 1)]
    return f"{base}@{domain}"


def domain_of(address: str) -> str:
    """The domain of an address in key form."""
    return address.rpartition("@")[2]


def _label(label: str) -> str:
    # NFKC and lower are what UTS 46 maps; lower and not casefold: IDNA 2008 keeps the German sharp s.
    mapped = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).lower())
    if not mapped.isascii():
        if any(unicodedata.category(character)[0] not in "LMN" for character in mapped if not character.isascii()):
            raise InvalidAddress("character not taken in a domain")
        mapped = "xn--" + mapped.encode("punycode").decode("ascii")
    if not 0 < len(mapped) <= _MAX_LABEL or mapped[0] == "-" or mapped[-1] == "-" or not _LETTERS.issuperset(mapped):
        raise InvalidAddress("not a domain")
    return mapped
