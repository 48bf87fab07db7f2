"""Instances of calendar objects: what others ask (RFC 5545 section 3.8.5, RFC 4791 section 9.9).

Which instances overlap a range, the bounds of all of them for an index, when their alarms go off. Never does more than the
limits allow. How an object is read as a series is recurrence_set.py's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo

from .calendar_alarms import alarm_times
from .content_lines import Component
from .icalendar import CalendarObject
from .recurrence_rules import Budget
from .recurrence_rules import TooManyInstances as TooManyInstances
from .recurrence_set import ALWAYS, Recurrence
from .recurrence_set import Instance as Instance
from .timezones import Zones


@dataclass(frozen=True, slots=True)
class RecurrenceLimits:
    """Bounds of one question: instances that come out, and steps of work for what does not come out."""

    instances: int = 20_000
    steps: int = 200_000


DEFAULT_LIMITS = RecurrenceLimits()


def instances(
    obj: CalendarObject,
    start: int | None,
    end: int | None,
    *,
    default_zone: tzinfo,
    limits: RecurrenceLimits = DEFAULT_LIMITS,
) -> Iterator[Instance]:
    """The instances that overlap [start, end) (RFC 4791 section 9.9; None: open), ascending by start.

    Raises TooManyInstances past the limits, which an open range of an open rule reaches: take what you need and stop.
    """
    since = -ALWAYS if start is None else start
    until = ALWAYS if end is None else end
    recurring = _series_of(obj, default_zone)
    left = limits.instances
    for instance in recurring.around(since, until, Budget(limits.steps)):
        if instance.first < until and instance.last > since:
            left -= 1
            if left < 0:
                raise TooManyInstances(f"more than {limits.instances} instances")
            yield instance


def _series_of(obj: CalendarObject, zone: tzinfo) -> Recurrence:
    kept = obj.kept.get("series")
    if kept is not None and kept[0] is zone:
        found: Recurrence = kept[1]
        return found
    made = Recurrence(obj, Zones(obj.zones, zone))
    obj.kept["series"] = (zone, made)
    return made


def bounds(obj: CalendarObject, *, default_zone: tzinfo) -> tuple[int | None, int | None, bool]:
    """(first, last, recurs): every instance and alarm lies in [first, last), None being open on that side.

    Exact for plain events; safely wide for the rest, and for floating times and dates as wide as any zone makes them.
    """
    return Recurrence(obj, Zones(obj.zones, default_zone)).bounds()


def alarms(obj: CalendarObject, instance: Instance, alarm: Component, *, default_zone: tzinfo) -> list[int]:
    """When this VALARM of this instance's component goes off: UTC seconds, repetitions included; empty when it never does."""
    return alarm_times(alarm, instance.start, instance.end, Zones(obj.zones, default_zone), of=instance.component)
