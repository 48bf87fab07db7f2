"""What both stores hold collections and items to: names, properties, ETags, time bounds, defaults.

Pure. Never knows where an item is kept.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from .api import CollectionKind, ETag, Forbidden, InvalidDocument, InvalidName, ItemFacts, StoreLimits

MAX_SEGMENT = 500
"""Octets of a name or href. Clients make hrefs of UIDs, some of which are long; ours are never file names."""
MAX_PROPERTIES = 100
MAX_PROPERTY = 65_536
"""Characters of a property's value: a calendar's time zone is the longest that clients set."""
MAX_FACT = 1_000
"""Characters of a UID, component or tag."""
MAX_SECOND = 1 << 48
"""Bounds of an item are cut here: nine million years."""

_COMPONENTS = "{urn:ietf:params:xml:ns:caldav}supported-calendar-component-set"
_COMPONENT = '<comp xmlns="urn:ietf:params:xml:ns:caldav" name="{}"/>'

DEFAULT_COLLECTIONS: tuple[tuple[CollectionKind, str, Mapping[str, str]], ...] = (
    (CollectionKind.CALENDAR, "calendar", {_COMPONENTS: _COMPONENT.format("VEVENT")}),
    (CollectionKind.CALENDAR, "tasks", {_COMPONENTS: _COMPONENT.format("VTODO")}),
    (CollectionKind.ADDRESSBOOK, "contacts", {}),
)
"""What an account has from its first use."""


def check_segment(name: str) -> None:
    """Raise InvalidName unless it can be one decoded path segment."""
    if name in ("", ".", "..") or "/" in name:
        raise InvalidName("not a path segment")
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in name):
        raise InvalidName("control characters")
    if len(name.encode()) > MAX_SEGMENT:
        raise InvalidName(f"longer than {MAX_SEGMENT} octets")


def check_properties(properties: Mapping[str, str]) -> None:
    """Raise Forbidden when they are too many or too long."""
    if len(properties) > MAX_PROPERTIES:
        raise Forbidden(f"more than {MAX_PROPERTIES} properties")
    if any(len(name) > 1_000 or len(value) > MAX_PROPERTY for name, value in properties.items()):
        raise Forbidden("a property is too long")


def bound_facts(facts: ItemFacts, limits: StoreLimits) -> ItemFacts:
    """The facts as they are kept: search text cut at the limit. Raise InvalidDocument for what cannot be kept."""
    for value in (facts.content_type, facts.uid, facts.component, facts.schedule_tag):
        if value is not None and (
            len(value) > MAX_FACT or any(0xD800 <= ord(char) < 0xE000 or char == "\x00" for char in value)
        ):
            raise InvalidDocument("a UID or type is too long, or no text")
    text = facts.text[: limits.indexed_text].encode("utf-8", "replace").decode()
    bounds = [None if bound is None else max(-MAX_SECOND, min(MAX_SECOND, bound)) for bound in (facts.start, facts.end)]
    return replace(facts, text=text, start=bounds[0], end=bounds[1])


def _is_text(value: str) -> bool:
    return "\x00" not in value and (value.isascii() or not any(0xD800 <= ord(char) < 0xE000 for char in value))


def render_etag(data: bytes) -> ETag:
    """The strong ETag of these bytes, without the quotes HTTP puts around it (RFC 9110 section 8.8.3)."""
    return ETag(hashlib.sha256(data).hexdigest()[:32])


def touches(facts: ItemFacts, start: int | None, end: int | None) -> bool:
    """Whether an item's bounds touch [start, end); None is open."""
    begins_before = facts.start is None or end is None or facts.start < end
    return begins_before and (facts.end is None or start is None or facts.end >= start)
