"""Time zones of calendar objects: a TZID to something that knows its offsets (RFC 5545 section 3.6.5, RFC 7809).

A name that the IANA database knows means that zone, whatever the object says of it: definitions written by clients are cut
short or old. So are names with a prefix (/citadel.org/20250101_1/Europe/Paris) and those of Windows. Any other name means the
VTIMEZONE that comes with it, and failing that the city or the offset in the name ("(UTC+01:00) Paris"), and failing that the
calendar's own zone. Never raises for a wrong zone, never evaluates more of a hostile VTIMEZONE than its limits.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo, available_timezones

from .calendar_values import DAY, END, parse_moment, parse_offset
from .content_lines import Component, ContentLimits, InvalidContent, parse_components, split_list
from .recurrence_rules import YEARLY, Budget, Rule, TooManyInstances, parse_rule
from .recurrence_series import Series, last_of_count
from .windows_zones import WINDOWS_ZONES

_LONGEST_NAME = 200
# Real definitions have at most some 250 changes, two rules without an end, and two changes a year.
_MOST_OBSERVANCES = 300
_MOST_CHANGES = 1_000
_MOST_OPEN_RULES = 6
_STEPS = 3_000
# After the year 2200 a rule counts as one without an end.
_FAR = 7_258_118_400
_CACHED_TEXT = 16_384
_ZONE_LIMITS = ContentLimits(lines=5_000, depth=4, components=1_000)
_OFFSET_IN_NAME = re.compile(r"(?:UTC|GMT|Z)?\s*([+-])\s*([0-9]{1,2})(?:[:.]?([0-9]{2}))?", re.IGNORECASE)
_IN_PARENTHESES = re.compile(r"^\(([^)]*)\)\s*(.*)$", re.DOTALL)
_UTC_NAMES = frozenset(
    {"utc", "gmt", "z", "zulu", "etc/utc", "etc/gmt", "universal", "utc+0", "utc-0", "coordinated universal time"}
)


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """The names of the IANA database by their lower case."""
    return {
        name.lower(): name for name in available_timezones() if not name.startswith(("posix", "right/", "Factory", "localtime"))
    }


@lru_cache(maxsize=1)
def _cities() -> dict[str, str]:
    """Zones by the city that their name ends in: "paris" -> "Europe/Paris"."""
    return {
        name.rpartition("/")[2].replace("_", " "): full
        for name, full in sorted(_names().items())
        if "/" in name and "etc/" not in name
    }


@lru_cache(maxsize=1)
def _windows() -> dict[str, str]:
    return {name.lower(): zone for name, zone in WINDOWS_ZONES.items()}


def known_zone(name: str) -> tzinfo | None:
    """The zone of this name: IANA's in any case, with a prefix, or Windows'; None when nobody knows it."""
    return _known_zone(name) if len(name) <= _LONGEST_NAME else None


@lru_cache(maxsize=1024)
def _known_zone(name: str) -> tzinfo | None:
    plain = name.strip().strip('"').lower()
    if plain in _UTC_NAMES:
        return UTC
    found = _names().get(plain) or _windows().get(plain)
    if found is None and "/" in plain:
        # /freeassociation.sourceforge.net/Tzfile/Europe/Paris, /softwarestudio.org/Tzfile/America/Argentina/Salta, tzone://...
        parts = [part for part in re.split(r"[/:]", plain) if part]
        found = next((_names()[tail] for count in (3, 2) if (tail := "/".join(parts[-count:])) in _names()), None)
        found = found or _windows().get(parts[-1] if parts else "")
    if found is None and plain.endswith(" daylight time"):
        found = _windows().get(plain.replace(" daylight time", " standard time"))
    return _load(found) if found else None


def _load(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return None


@lru_cache(maxsize=256)
def _zone_by_look(name: str) -> tzinfo | None:
    """What can be made of "(UTC+01:00) Brussels, Paris", "GMT+0100" and the like: a city's zone, else a fixed offset."""
    found = _IN_PARENTHESES.match(name.strip())
    offset_text, cities = (found[1], found[2]) if found else (name.strip(), "")
    offset = _OFFSET_IN_NAME.fullmatch(offset_text.strip())
    seconds = None
    if offset is not None:
        seconds = int(offset[2]) * 3600 + int(offset[3] or 0) * 60
        seconds = None if seconds >= DAY else -seconds if offset[1] == "-" else seconds
    for city in cities.split(",") if cities else [name]:
        known = _cities().get(city.strip().lower())
        zone = _load(known) if known else None
        if zone is not None and (seconds is None or seconds in _offsets_of_year(zone)):
            return zone
    return None if seconds is None else timezone(timedelta(seconds=seconds))


def _offsets_of_year(zone: tzinfo) -> set[int]:
    days = (datetime(2026, month, 1, tzinfo=zone).utcoffset() for month in (1, 7))
    return {int(each.total_seconds()) for each in days if each is not None}


class Zones:
    """The zones of one object: its VTIMEZONEs by TZID, and the zone of the calendar it lies in."""

    __slots__ = ("_embedded", "_found", "floating", "lost")

    def __init__(self, vtimezones: dict[str, Component], default: tzinfo = UTC) -> None:
        self._embedded = vtimezones
        self._found: dict[str, tzinfo] = {}
        self.floating = default
        # TZIDs that nobody could make sense of.
        self.lost: set[str] = set()

    def resolve(self, tzid: str | None) -> tzinfo:
        """The zone of a TZID parameter; that of the calendar for none (floating times) and for one nobody can make sense of."""
        if not tzid:
            return self.floating
        zone = self._found.get(tzid)
        if zone is None:
            zone = known_zone(tzid) or self._defined(tzid) or self._guessed(tzid)
            if zone is None:
                self.lost.add(tzid)
                zone = self.floating
            self._found[tzid] = zone
        return zone

    def _defined(self, tzid: str) -> tzinfo | None:
        component = self._embedded.get(tzid) or self._embedded.get(tzid.strip())
        return None if component is None else embedded_zone(component)

    def _guessed(self, tzid: str) -> tzinfo | None:
        return _zone_by_look(tzid) if len(tzid) <= _LONGEST_NAME else None


def read_calendar_timezone(text: str) -> tzinfo | None:
    """The zone of a CALDAV:calendar-timezone value, a VCALENDAR with one VTIMEZONE (RFC 4791 section 5.2.2), or None."""
    try:
        found = parse_components(text.encode("utf-8", "surrogatepass"), _ZONE_LIMITS)
    except InvalidContent:
        return None
    zones = found[0].named("VTIMEZONE") if len(found) == 1 and found[0].name == "VCALENDAR" else []
    line = zones[0].line("TZID") if len(zones) == 1 else None
    return None if line is None else known_zone(line.value) or embedded_zone(zones[0])


def embedded_zone(component: Component) -> tzinfo | None:
    """The zone a VTIMEZONE defines, or the known one that its X-LIC-LOCATION or TZID-ALIAS-OF names; None if it is void."""
    for name in ("X-LIC-LOCATION", "TZID-ALIAS-OF"):
        line = component.line(name)
        known = known_zone(line.value) if line is not None else None
        if known is not None:
            return known
    texts = tuple(
        tuple((line.name, line.value) for line in inner.lines if line.name in _READ)
        for inner in component.components[:_MOST_OBSERVANCES]
        if inner.name in ("STANDARD", "DAYLIGHT")
    )
    size = sum(len(value) for lines in texts for _, value in lines)
    return _embedded_zone(texts) if size <= _CACHED_TEXT else _build_zone(texts)


_READ = frozenset({"DTSTART", "TZOFFSETFROM", "TZOFFSETTO", "RRULE", "RDATE"})
_Texts = tuple[tuple[tuple[str, str], ...], ...]


@lru_cache(maxsize=128)
def _embedded_zone(texts: _Texts) -> tzinfo | None:
    return _build_zone(texts)


def _build_zone(texts: _Texts) -> tzinfo | None:
    observances = [found for lines in texts if (found := _Observance.read(lines)) is not None]
    open_ones = [each for each in observances if each.series is not None]
    for each in open_ones[:-_MOST_OPEN_RULES]:
        each.series = None
    return EmbeddedZone(observances) if observances else None


class _Observance:
    """STANDARD or DAYLIGHT: the UTC times of its changes to `offset`, listed, and by a rule when they go on for ever."""

    __slots__ = ("before", "listed", "offset", "series")

    def __init__(self, before: int, offset: int, listed: list[int], series: Series | None) -> None:
        self.before, self.offset, self.listed, self.series = before, offset, listed, series

    @classmethod
    def read(cls, lines: tuple[tuple[str, str], ...]) -> "_Observance | None":
        """From its lines; None when it lacks what it must have."""
        values = dict(reversed(lines))
        start = parse_moment(values.get("DTSTART", ""))
        before, offset = parse_offset(values.get("TZOFFSETFROM", "")), parse_offset(values.get("TZOFFSETTO", ""))
        if start is None or offset is None:
            return None
        before = offset if before is None else before
        walls = [start.wall]
        for name, value in lines:
            if name == "RDATE":
                moments = (parse_moment(each.partition("/")[0]) for each in islice(split_list(value), _MOST_CHANGES))
                walls.extend(each.wall for each in moments if each is not None)
        rule = parse_rule(values.get("RRULE", ""))
        series = None
        # Zones change by the year. What claims to change every hour is hostile: its DTSTART stands.
        if rule is not None and rule.frequency == YEARLY and len(rule.hours) < 2 and not rule.minutes and not rule.seconds:
            series = Series(rule, start.wall)
            last = _last_change(rule, start.wall, before)
            if last < _FAR:
                walls.extend(islice(takewhile(lambda wall: wall <= last, _walls(series, start.wall)), _MOST_CHANGES))
                series = None
        return cls(before, offset, sorted(each - before for each in walls[:_MOST_CHANGES]), series)

    def changes(self, begin: int, end: int) -> list[int]:
        """Its changes in [begin, end), and the last one before."""
        at = bisect_right(self.listed, begin)
        found = [each for each in self.listed[max(0, at - 1) :] if each < end]
        if self.series is not None:
            # Asked for the time of one more interval, which has the last one before in it.
            since = begin - (self.series.rule.interval + 1) * 366 * DAY + self.before
            walls = takewhile(lambda wall: wall - self.before < end, _walls(self.series, since))
            found.extend(wall - self.before for wall in islice(walls, _MOST_CHANGES))
        return found


def _last_change(rule: Rule, start: int, before: int) -> int:
    """The time on the wall after which this rule says nothing; END when it is open."""
    if rule.until is not None:
        return rule.until.wall + before if rule.until.form == "utc" else rule.until.wall
    last = last_of_count(rule, start) if rule.count is not None else None
    return END if last is None else last


def _walls(series: Series, since: int) -> Iterator[int]:
    """As the series gives them, until it costs too much."""
    try:
        yield from series.walls(since, Budget(_STEPS))
    except TooManyInstances:
        return


class EmbeddedZone(tzinfo):
    """The offsets of a VTIMEZONE, worked out year by year and remembered (the last few hundred years asked for)."""

    def __init__(self, observances: list[_Observance]) -> None:
        self._observances = observances
        self._years: dict[int, tuple[list[int], list[int], list[int]]] = {}
        earliest = min(observances, key=lambda each: each.listed[0])
        self._before_all = earliest.before

    def _changes(self, year: int) -> tuple[list[int], list[int], list[int]]:
        """For this year's times: changes in UTC, the offsets before the first and from each on, changes on the wall."""
        known = self._years.get(year)
        if known is not None:
            return known
        begin = (datetime(year, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days * DAY
        found: dict[int, int] = {}
        for observance in self._observances:
            for change in observance.changes(begin - 2 * DAY, begin + 368 * DAY):
                found[change] = observance.offset
        times = sorted(found)
        offsets = [self._before_all, *(found[each] for each in times)]
        # On the wall, an offset holds from where its first moment is told by whichever clock is later there: what a change
        # skips counts with the offset before, what comes twice with the first (RFC 5545 section 3.3.5).
        walls = [each + max(offsets[index], offsets[index + 1]) for index, each in enumerate(times)]
        if len(self._years) >= 400:
            self._years.clear()
        self._years[year] = (times, offsets, walls)
        return self._years[year]

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """The offset at this time of the wall; fold 1 chooses the second of two, and the offset after what is skipped."""
        if moment is None:
            return None
        times, offsets, walls = self._changes(moment.year)
        wall = _wall(moment)
        at = bisect_right(walls, wall)
        if moment.fold and at < len(times) and wall >= times[at] + min(offsets[at], offsets[at + 1]):
            at += 1
        return timedelta(seconds=offsets[at])

    def fromutc(self, moment: datetime) -> datetime:
        """A time in UTC, told on this wall."""
        times, offsets, _ = self._changes(moment.year)
        utc = _wall(moment)
        at = bisect_right(times, utc)
        told = moment + timedelta(seconds=offsets[at])
        back = at and offsets[at] < offsets[at - 1] and utc < times[at - 1] + offsets[at - 1] - offsets[at]
        return told.replace(fold=1) if back else told

    def dst(self, moment: datetime | None) -> timedelta | None:
        """Not told."""
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        """Not told."""
        return None


def _wall(moment: datetime) -> int:
    """Seconds since 1970-01-01 on its own wall."""
    passed = moment.replace(tzinfo=UTC, fold=0) - datetime(1970, 1, 1, tzinfo=UTC)
    return passed.days * DAY + passed.seconds
