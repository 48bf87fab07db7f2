"""Dates, times, durations and periods of iCalendar (RFC 5545 section 3.3), as whole seconds.

A time on the wall is counted like UTC: seconds from 1970-01-01 00:00 on the same wall, so that days are 86,400 of them and
rules need no calendar library. `utc_of` and `wall_of` are the only doors between the wall of a zone and UTC.
Never raises for a value that a client wrote: what does not parse is None.
"""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()
# The years 1 to 9999, which is what four digits and datetime can say; END is not inside.
BEGINNING = (date.min.toordinal() - EPOCH) * DAY
END = (date.max.toordinal() - EPOCH + 1) * DAY
# A duration longer than all of time is as long as all of time.
_LONGEST = END - BEGINNING
_REMEMBERED = 8_192  # moments

_DATE_TIME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{2})([0-9]{2})([0-9]{2})?(Z)?)?", re.ASCII)
_DURATION = re.compile(
    r"([+-])?P(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})S)?)?", re.ASCII
)
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2}):?([0-9]{2})?", re.ASCII)


class Moment(NamedTuple):
    """A DATE or a DATE-TIME: seconds on the wall, and what sort of value it is (`utc` ends in Z)."""

    wall: int
    form: Literal["date", "local", "utc"]


class Duration(NamedTuple):
    """A DURATION: days count on the wall (a day may have 23 hours), seconds are exact (RFC 5545 section 3.3.6)."""

    days: int
    seconds: int

    @property
    def total(self) -> int:
        """Seconds, days taken as 24 hours."""
        return self.days * DAY + self.seconds


@lru_cache(maxsize=4096)
def _parse_moment(text: str) -> Moment | None:
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, zulu = found.groups()
    try:
        wall = (date(int(year), int(month), int(day)).toordinal() - EPOCH) * DAY
    except ValueError:
        return None
    if hour is None:
        return Moment(wall, "date")
    # Second 60 is a leap second; 24:00 is written by a few.
    if int(hour) > 24 or int(minute) > 59 or int(second or 0) > 60:
        return None
    wall += int(hour) * 3600 + int(minute) * 60 + min(int(second or 0), 59)
    return Moment(wall, "utc" if zulu else "local") if wall < END else None


def parse_moment(text: str) -> Moment | None:
    """A DATE or DATE-TIME, told apart by its form; None when it is neither or no day of the calendar."""
    text = text.strip()
    return _parse_moment(text) if len(text) <= 16 else None


def parse_duration(text: str) -> Duration | None:
    """A DURATION, None when it is none."""
    text = text.strip().upper()
    found = _DURATION.fullmatch(text) if len(text) < 80 else None
    if found is None or text[-1:] in ("P", "T"):
        return None
    sign = -1 if found[1] == "-" else 1
    weeks, days, hours, minutes, seconds = (int(each or 0) for each in found.groups()[1:])
    days = min(weeks * 7 + days, _LONGEST // DAY)
    exact = min(hours * 3600 + minutes * 60 + seconds, _LONGEST)
    return Duration(sign * days, sign * exact)


def parse_offset(text: str) -> int | None:
    """A UTC-OFFSET in seconds; None when it is none or 24 hours and more."""
    found = _OFFSET.fullmatch(text.strip())
    if found is None:
        return None
    seconds = int(found[2]) * 3600 + int(found[3]) * 60 + int(found[4] or 0)
    if seconds >= DAY:
        return None
    return -seconds if found[1] == "-" else seconds


def utc_of(wall: int, zone: tzinfo) -> int:
    """UTC seconds of a time on the wall of this zone.

    A time that a change of clocks skips is taken with the offset before it, one that comes twice is the first
    (RFC 5545 section 3.3.5). Times out of the years 1 to 9999 take the offset at the border.
    """
    if zone is UTC:
        return wall
    # What is the same zone for all objects is asked the same again and again: lessons begin when lessons begin.
    return _remembered_utc_of(wall, zone) if type(zone) is ZoneInfo else _utc_of(wall, zone)


def _utc_of(wall: int, zone: tzinfo) -> int:
    inside = BEGINNING if wall < BEGINNING else END - 1 if wall >= END else wall
    offset = zone.utcoffset(datetime(1970, 1, 1, tzinfo=zone) + timedelta(seconds=inside))
    return wall if offset is None else wall - offset.days * DAY - offset.seconds


_remembered_utc_of = lru_cache(maxsize=_REMEMBERED)(_utc_of)


def wall_of(utc: int, zone: tzinfo) -> int:
    """Seconds on the wall of this zone at this moment."""
    if zone is UTC:
        return utc
    return _remembered_wall_of(utc, zone) if type(zone) is ZoneInfo else _wall_of(utc, zone)


def _wall_of(utc: int, zone: tzinfo) -> int:
    # A day from the borders: what is beyond takes the offset there.
    inside = max(BEGINNING + DAY, min(utc, END - 1 - DAY))
    offset = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=inside)).astimezone(zone).utcoffset()
    return utc if offset is None else utc + offset.days * DAY + offset.seconds


_remembered_wall_of = lru_cache(maxsize=_REMEMBERED)(_wall_of)


def render_date(wall: int) -> str:
    """YYYYMMDD of the day this time is in."""
    wall = max(BEGINNING, min(wall, END - 1))
    day = date.fromordinal(EPOCH + wall // DAY)
    return f"{day.year:04}{day.month:02}{day.day:02}"


@lru_cache(maxsize=_REMEMBERED)
def render_utc(utc: int) -> str:
    """YYYYMMDDTHHMMSSZ."""
    utc = max(BEGINNING, min(utc, END - 1))
    minutes, second = divmod(utc % DAY, 60)
    return f"{render_date(utc)}T{minutes // 60:02}{minutes % 60:02}{second:02}Z"
