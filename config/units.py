"""Sizes and durations as people write them: "50 MiB" to octets, "10 min" to seconds.

Owns the two tables of units. Pure.
"""

import re

from .key import InvalidValue

_SIZES = {
    "b": 1,
    "octets": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}
_DURATIONS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400, "days": 86_400, "weeks": 604_800}
_AMOUNT = re.compile(r"([0-9]{1,15})\s*([A-Za-z]{1,6})")


def parse_size(text: str) -> int:
    """Octets of "50 MiB", "20 kB". Raise InvalidValue."""
    return _parse(text, _SIZES, '"50 MiB"')


def parse_duration(text: str) -> int:
    """Seconds of "10 min", "2 h", "30 d". Raise InvalidValue."""
    return _parse(text, _DURATIONS, '"10 min"')


def _parse(text: str, units: dict[str, int], example: str) -> int:
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or match[2].lower() not in units:
        raise InvalidValue(f"not a number with a unit like {example}")
    return int(match[1]) * units[match[2].lower()]
