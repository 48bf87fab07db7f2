"""Dates: RFC 5322 section 3.3 read leniently, and the dates of mail and IMAP written (RFC 5322, RFC 9051 section 9).

Owns both directions. Never asks for the time: seconds since 1970 and offsets in minutes come in as arguments.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from .headers import strip_comments

_EPOCH = date(1970, 1, 1).toordinal()
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

# obs-zone, in minutes (RFC 5322 section 4.3). Military letters and all others count as -0000.
_ZONES = {b"ut": 0, b"gmt": 0, b"utc": 0, b"z": 0, b"est": -300, b"edt": -240, b"cst": -360, b"cdt": -300}
_ZONES |= {b"mst": -420, b"mdt": -360, b"pst": -480, b"pdt": -420, b"cet": 60, b"cest": 120, b"met": 60, b"mest": 120}

# [day-name ","] day month year hour ":" minute [":" second] [zone]; hyphens as in IMAP and in old news.
_DATE = re.compile(
    rb"(?:[A-Za-z]{2,9}\.?[ \t]*,?[ \t]*)?"
    rb"([0-9]{1,2})[ \t-]+([A-Za-z]{3})[a-z]{0,6}\.?[ \t-]+([0-9]{2,4})"
    rb"(?:[ \t,]+([0-9]{1,2})[ \t]*:[ \t]*([0-9]{1,2})(?:[ \t]*:[ \t]*([0-9]{1,2})(?:\.[0-9]{1,9})?)?"
    rb"[ \t]*(?:([+-][0-9]{1,4}:?[0-9]{0,2})|([A-Za-z]{1,5}))?)?"
)
# asctime(), as some programs send it: Tue Nov  3 10:11:12 2026 [zone]
_ASCTIME = re.compile(
    rb"(?:[A-Za-z]{3,9},?[ \t]+)?([A-Za-z]{3})[a-z]{0,6}[ \t]+([0-9]{1,2})[ \t,]+"
    rb"([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2}))?[ \t]+(?:([A-Za-z]{1,5})[ \t]+)?([0-9]{4})(?:[ \t]*([+-][0-9]{4}))?"
)
_INTERNALDATE = re.compile(
    rb"([ 0-3]?[0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"
)


@dataclass(frozen=True, slots=True)
class Date:
    """A moment, and what the calendar said where it was written."""

    seconds: int  # since 1970, UTC
    day: int  # since 1970, in its own zone: what SENTBEFORE and its like compare
    offset: int  # of that zone, minutes east of UTC


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970. Raise ValueError for a day that is not in the calendar."""
    return date(year, month, day).toordinal() - _EPOCH


def parse_date(value: bytes) -> Date | None:
    """The date of an unfolded header value, as widely spread mistakes allow; None where there is none to be seen.

    No time of day means midnight, no zone or an unknown one UTC, a second 60 the one after 59. A year of two digits is
    from 1950 to 2049, one of three counts from 1900 (RFC 5322 section 4.3).
    """
    value = strip_comments(value[:500]).strip(b" \t\r\n\0")
    zone: bytes | None
    if match := _DATE.match(value):
        day, name, year, hour, minute, second, digits, word = match.groups()
        zone = digits or word
    elif match := _ASCTIME.match(value):
        name, day, hour, minute, second, word, year, digits = match.groups()
        zone = digits or word
    else:
        return None
    month = _MONTH_NUMBERS.get(name.lower())
    if month is None:
        return None
    return _date(_year(year), month, int(day), (int(hour or 0), int(minute or 0), int(second or 0)), _offset(zone))


def parse_internaldate(value: bytes) -> Date | None:
    """IMAP's date-time without its quotes, as APPEND sends it (RFC 9051 section 9); None where it is none."""
    match = _INTERNALDATE.fullmatch(value)
    if match is None:
        return None
    day, name, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
    month = _MONTH_NUMBERS.get(name.lower())
    if month is None or int(zone_hours) > 23 or int(zone_minutes) > 59:
        return None
    offset = int(zone_hours) * 60 + int(zone_minutes)
    return _date(int(year), month, int(day), (int(hour), int(minute), int(second)), -offset if sign == b"-" else offset)


def _date(year: int, month: int, day: int, time: tuple[int, int, int], offset: int) -> Date | None:
    hour, minute, second = time
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        number = day_number(year, month, day)
    except ValueError:
        return None
    return Date(number * 86_400 + hour * 3_600 + minute * 60 + second - offset * 60, number, offset)


def _year(digits: bytes) -> int:
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year


def _offset(zone: bytes | None) -> int:
    if not zone:
        return 0
    if zone[:1] not in b"+-":
        return _ZONES.get(zone.lower(), 0)
    digits = zone[1:].replace(b":", b"")
    hours, minutes = (int(digits), 0) if len(digits) < 3 else (int(digits[:-2]), int(digits[-2:]))
    if hours > 23 or minutes > 59:
        return 0
    return -(hours * 60 + minutes) if zone[:1] == b"-" else hours * 60 + minutes


def _local(seconds: int, offset: int) -> datetime:
    zone = timezone(timedelta(minutes=offset))
    return datetime(1970, 1, 1, tzinfo=zone) + timedelta(seconds=seconds, minutes=offset)


def _zone_text(offset: int) -> str:
    return f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}{abs(offset) % 60:02}"


def render_internaldate(seconds: int, offset: int = 0) -> bytes:
    """INTERNALDATE with its quotes: `"03-Nov-2026 10:11:12 +0100"`. Raise OverflowError outside years 1 to 9999."""
    t = _local(seconds, offset)
    text = f'"{t.day:02}-{_MONTHS[t.month - 1]}-{t.year:04} {t.hour:02}:{t.minute:02}:{t.second:02} {_zone_text(offset)}"'
    return text.encode("ascii")


def render_date(seconds: int, offset: int = 0) -> bytes:
    """A date of RFC 5322: `Tue, 3 Nov 2026 10:11:12 +0100`. Raise OverflowError outside years 1 to 9999."""
    t = _local(seconds, offset)
    text = f"{_DAYS[t.weekday()]}, {t.day} {_MONTHS[t.month - 1]} {t.year:04} {t.hour:02}:{t.minute:02}:{t.second:02} "
    return (text + _zone_text(offset)).encode("ascii")
