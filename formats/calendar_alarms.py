"""When alarms go off (RFC 5545 section 3.6.6, RFC 9074 for what is ignored here).

Owns TRIGGER, REPEAT and DURATION of a VALARM. Never looks at ACTION or at what was acknowledged.
"""

from .calendar_times import zone_of
from .calendar_values import DAY, Duration, parse_duration, parse_moment, utc_of, wall_of
from .content_lines import Component
from .timezones import Zones

# A clock that rings more often is not an alarm; the rest is not looked at.
MOST_REPEATS = 1_000


def alarm_times(alarm: Component, start: int, end: int, zones: Zones, *, of: Component) -> list[int]:
    """UTC seconds at which an alarm of an instance of `of` that lasts from `start` to `end` goes off, repetitions included."""
    line = alarm.line("TRIGGER")
    if line is None:
        return []
    moment = parse_moment(line.value)
    if moment is not None:
        first = utc_of(moment.wall, zone_of(moment, line, zones))
    else:
        trigger = parse_duration(line.value)
        if trigger is None:
            return []
        anchor = end if (line.parameter("RELATED") or "").upper() == "END" else start
        first = _moved(anchor, trigger, zones, of)
    repeats, pause = _repetition(alarm)
    return [first + pause * each for each in range(repeats + 1)]


def _moved(anchor: int, by: Duration, zones: Zones, of: Component) -> int:
    """Days of a trigger are days on the wall of the component's start."""
    if not by.days:
        return anchor + by.seconds
    line = of.line("DTSTART") or of.line("DUE")
    moment = None if line is None else parse_moment(line.value)
    if line is None or moment is None:
        return anchor + by.total
    zone = zone_of(moment, line, zones)
    return utc_of(wall_of(anchor, zone) + by.days * DAY, zone) + by.seconds


def _repetition(alarm: Component) -> tuple[int, int]:
    """(times more, seconds between); both lines must be there."""
    repeat, pause = alarm.line("REPEAT"), alarm.line("DURATION")
    if repeat is None or pause is None:
        return 0, 0
    duration = parse_duration(pause.value)
    text = repeat.value.strip()
    if duration is None or duration.total <= 0 or not (text.isascii() and text.isdigit()) or len(text) > 9:
        return 0, 0
    return min(int(text), MOST_REPEATS), duration.total


def reach(component: Component, zones: Zones) -> tuple[int, int, list[int]]:
    """(seconds before the start, seconds after the end, times that stand for themselves) that its alarms reach; safely wide."""
    before = after = 0
    absolute: list[int] = []
    for alarm in component.components:
        line = alarm.line("TRIGGER") if alarm.name == "VALARM" else None
        if line is None:
            continue
        repeats, pause = _repetition(alarm)
        trigger = parse_duration(line.value)
        if trigger is None:
            times = alarm_times(alarm, 0, 0, zones, of=component)
            absolute += [times[0], times[-1]] if times else []
            continue
        # A day on the wall may be an hour longer, and RELATED=END of an instance is never before its start.
        slack = DAY if trigger.days else 0
        before = max(before, slack - trigger.total)
        after = max(after, trigger.total + slack + repeats * pause)
    return before, after, absolute
