"""Calendar objects written otherwise: expanded, or with few overrides (RFC 4791 sections 9.6.5 and 9.6.6)."""

from datetime import tzinfo

from .icalendar import CalendarObject
from .recurrence import DEFAULT_LIMITS, RecurrenceLimits


def expand(
    obj: CalendarObject, start: int, end: int, *, default_zone: tzinfo, limits: RecurrenceLimits = DEFAULT_LIMITS
) -> bytes:
    """One component an instance in [start, end), times in UTC, no recurrence properties, no VTIMEZONE."""
    raise NotImplementedError


def limit_recurrence_set(
    obj: CalendarObject, start: int, end: int, *, default_zone: tzinfo, limits: RecurrenceLimits = DEFAULT_LIMITS
) -> bytes:
    """The object with only those overrides that are, or would have been, in [start, end)."""
    raise NotImplementedError
