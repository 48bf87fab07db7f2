"""Values that vCard 3.0 and 4.0 write differently: dates, places, octets (RFC 2426 sections 3, 4; RFC 6350 sections 4, 6).

Each function gives None for what has no other way of writing, so that its caller keeps it as it is. Pure.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

_ZONE = r"(Z|[+-]\d{2}(?::?\d{2})?)?"
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_DATE_TIME = re.compile(rf"(\d{{4}})-?(\d{{2}})-?(\d{{2}})T(\d{{2}}):?(\d{{2}}):?(\d{{2}}){_ZONE}")
_NO_YEAR = re.compile(r"--(\d{2})-?(\d{2})")
_OFFSET = re.compile(r"([+-])(\d{2})(?::?(\d{2}))?")
_GEO_3 = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*;\s*(-?\d+(?:\.\d+)?)\s*")
_GEO_4 = re.compile(r"geo:(-?\d+(?:\.\d+)?),(-?\d+(?:\.\d+)?)", re.IGNORECASE)
_TEL = re.compile(r"tel:([0-9A-Fa-f+*#().-]+)", re.IGNORECASE)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:\S*")
_DATA = re.compile(r"data:([A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+);base64,([A-Za-z0-9+/=]*)", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")

MEDIA: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "PHOTO": ("image/", {}),
        "LOGO": ("image/", {}),
        "SOUND": ("audio/", {}),
        "KEY": ("application/", {"PGP": "pgp-keys", "X509": "pkix-cert"}),
    }
)
"""Property -> what its media types begin with, and the words of TYPE (3.0) that are not simply the rest of it."""
_KNOWN = frozenset(
    {
        "AIFF",
        "BASIC",
        "BMP",
        "GIF",
        "HEIC",
        "JPEG",
        "JPG",
        "MP3",
        "MPEG",
        "OGG",
        "PNG",
        "SVG+XML",
        "TIFF",
        "WAV",
        "WAVE",
        "WEBP",
    }
    | {"PGP", "X509"}
)
_OTHERS = frozenset({"HOME", "WORK"})


def is_uri(value: str) -> bool:
    """Whether a value can be an address."""
    return _URI.fullmatch(value.strip()) is not None


def basic_date(value: str) -> str | None:
    """A date or date-time of either form in the basic one that 4.0 wants: 19960415, 19960415T083000-0600."""
    if found := _DATE.fullmatch(value):
        return "".join(found.groups())
    if found := _DATE_TIME.fullmatch(value):
        year, month, day, hour, minute, second, zone = found.groups()
        return f"{year}{month}{day}T{hour}{minute}{second}{(zone or '').replace(':', '')}"
    return None


def extended_date(value: str) -> str | None:
    """The same with dashes and colons, as 3.0's writers do: 1996-04-15, 1996-04-15T08:30:00-06:00."""
    if found := _DATE.fullmatch(value):
        return "-".join(found.groups())
    if found := _DATE_TIME.fullmatch(value):
        year, month, day, hour, minute, second, zone = found.groups()
        zone = zone or ""
        if zone not in ("", "Z"):
            zone = f"{zone[:3]}:{zone[3:].lstrip(':') or '00'}"
        return f"{year}-{month}-{day}T{hour}:{minute}:{second}{zone}"
    return None


def yearless(value: str) -> str | None:
    """The month and day of a date without year, as `MM-DD`."""
    found = _NO_YEAR.fullmatch(value)
    return f"{found[1]}-{found[2]}" if found else None


def basic_offset(value: str) -> str | None:
    """An offset from UTC as 4.0 writes it: -0500."""
    found = _OFFSET.fullmatch(value.strip())
    return f"{found[1]}{found[2]}{found[3] or '00'}" if found else None


def extended_offset(value: str) -> str | None:
    """An offset from UTC as 3.0 writes it: -05:00."""
    found = _OFFSET.fullmatch(value.strip())
    return f"{found[1]}{found[2]}:{found[3] or '00'}" if found else None


def geo_uri(value: str) -> str | None:
    """`37.4;-122.1` (3.0) as `geo:37.4,-122.1` (4.0)."""
    found = _GEO_3.fullmatch(value)
    return f"geo:{found[1]},{found[2]}" if found else None


def geo_pair(value: str) -> str | None:
    """The way back; None for a geo URI that says more than two numbers."""
    found = _GEO_4.fullmatch(value)
    return f"{found[1]};{found[2]}" if found else None


def telephone(value: str) -> str | None:
    """The number of a plain tel URI."""
    found = _TEL.fullmatch(value.strip())
    return found[1] if found else None


def media_type(name: str, word: str) -> str:
    """The media type that TYPE says in 3.0: JPEG of a PHOTO is image/jpeg; empty when there is none."""
    prefix, words = MEDIA[name]
    if not word:
        return ""
    return word.lower() if "/" in word else prefix + words.get(word.upper(), word.lower())


def media_word(name: str, media: str) -> str | None:
    """The word for TYPE (3.0) that `media_type` gives the same media type for."""
    prefix, words = MEDIA[name]
    media = media.lower()
    for word, rest in words.items():
        if media == prefix + rest:
            return word
    return media[len(prefix) :].upper() if media.startswith(prefix) and len(media) > len(prefix) else None


def split_types(words: list[str], *, known: bool) -> tuple[str, list[str]]:
    """The word of TYPE (3.0) that tells the media type, and the others. `known`: only one that is sure to be such a word."""
    for wanted in (_is_known, _may_be) if not known else (_is_known,):
        for at, word in enumerate(words):
            if wanted(word):
                return word, words[:at] + words[at + 1 :]
    return "", words


def _is_known(word: str) -> bool:
    return word.upper() in _KNOWN or "/" in word


def _may_be(word: str) -> bool:
    return word.upper() not in _OTHERS


def known_word(name: str, media: str) -> str | None:
    """`media_word`, when `split_types` is sure to know it again."""
    word = media_word(name, media)
    return word if word is not None and word in _KNOWN else None


def data_uri(media: str, value: str) -> str | None:
    """Octets in base64 as a data: URI; None when they are no base64."""
    value = "".join(value.split())
    if _BASE64.fullmatch(value) is None:
        return None
    return f"data:{media or 'application/octet-stream'};base64,{value}"


def data_of(value: str) -> tuple[str, str] | None:
    """(media type, base64) of a data: URI that holds nothing else."""
    found = _DATA.fullmatch(value.strip())
    return (found[1].lower(), found[2]) if found else None
