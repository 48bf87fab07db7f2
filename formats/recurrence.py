"""Instances of calendar components: when something takes place (RFC 5545 sections 3.8.5, RFC 4791 section 9.9)."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo

from .content_lines import Component
from .icalendar import CalendarObject


class TooManyInstances(Exception):
    """A window holds more instances, or costs more work, than the limits allow."""


@dataclass(frozen=True, slots=True)
class RecurrenceLimits:
    """Bounds of one question: instances that come out, and steps of work for what does not come out."""

    instances: int = 20_000
    steps: int = 200_000


DEFAULT_LIMITS = RecurrenceLimits()


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance: [start, end) in UTC seconds since 1970, of the master or of an override.

    `recurrence` is the value of its RECURRENCE-ID as `expand` writes it (UTC, or a DATE); None for what does not recur.
    [first, last) is what the conditions of RFC 4791 section 9.9 compare: an instance is in a range when
    range start < last and range end > first. It differs from start and end where those say "<=".
    """

    start: int
    end: int
    component: Component
    recurrence: str | None
    all_day: bool
    first: int
    last: int


def instances(
    obj: CalendarObject,
    start: int | None,
    end: int | None,
    *,
    default_zone: tzinfo,
    limits: RecurrenceLimits = DEFAULT_LIMITS,
) -> Iterator[Instance]:
    """The instances that overlap [start, end) (RFC 4791 section 9.9; None: open), ascending by start; TooManyInstances."""
    raise NotImplementedError


def bounds(
    obj: CalendarObject, *, default_zone: tzinfo, limits: RecurrenceLimits = DEFAULT_LIMITS
) -> tuple[int | None, int | None, bool]:
    """(first, last, recurs): no instance and no alarm lies outside [first, last); None: open on that side. Safely wide."""
    raise NotImplementedError


def alarms(instance: Instance, alarm: Component, *, default_zone: tzinfo) -> list[int]:
    """When this VALARM of this instance goes off, in UTC seconds, repetitions included."""
    raise NotImplementedError
