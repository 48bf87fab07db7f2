"""What both stores hold collections and items to: names, properties, ETags, time bounds, defaults.

Pure. Never knows where an item is kept.
"""

import hashlib
import json
from collections.abc import Mapping

from .api import NO_PROPERTIES, CollectionKind, ETag, Forbidden, InvalidDocument, InvalidName, Item, ItemFacts, StoreLimits

MAX_SEGMENT = 500
"""Octets of a name or href. Clients make hrefs of UIDs, some of which are long; ours are never file names."""
MAX_PROPERTIES = 100
MAX_PROPERTY = 65_536
"""Characters of a property's value: a calendar's time zone is the longest that clients set."""
MAX_ITEM_PROPERTIES = 262_144
"""Characters of all properties of one item: they go with its file whenever that is written."""
MAX_DEPTH = 10
"""Segments of a plain collection's name below its home."""
MAX_FACT = 1_000
"""Characters of a UID, component or tag."""
MAX_SECOND = 1 << 48
"""Bounds of an item are cut here: nine million years."""

_COMPONENTS = "{urn:ietf:params:xml:ns:caldav}supported-calendar-component-set"
_NAME = "{DAV:}displayname"
_COMPONENT = '<comp xmlns="urn:ietf:params:xml:ns:caldav" name="{}"/>'

DEFAULT_COLLECTIONS: tuple[tuple[CollectionKind, str, Mapping[str, str]], ...] = (
    (CollectionKind.CALENDAR, "calendar", {_COMPONENTS: _COMPONENT.format("VEVENT"), _NAME: "Agenda"}),
    (CollectionKind.CALENDAR, "tasks", {_COMPONENTS: _COMPONENT.format("VTODO"), _NAME: "Tâches"}),
    (CollectionKind.ADDRESSBOOK, "contacts", {_NAME: "Contacts"}),
)
"""What an account has from its first use. Clients show the name; it is the user's to change."""


def check_segment(name: str) -> None:
    """Raise InvalidName unless it can be one decoded path segment."""
    if name in ("", ".", "..") or "/" in name:
        raise InvalidName("not a path segment")
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in name):
        raise InvalidName("control characters")
    if len(name.encode()) > MAX_SEGMENT:
        raise InvalidName(f"longer than {MAX_SEGMENT} octets")


def check_name(kind: CollectionKind, name: str) -> None:
    """Raise InvalidName unless a collection of this kind can be called so: one segment, or a path where plain ones nest."""
    segments = name.split("/") if kind is CollectionKind.PLAIN else [name]
    for segment in segments:
        check_segment(segment)
    if len(segments) > 1 + MAX_DEPTH:
        raise InvalidName(f"deeper than {MAX_DEPTH}")


def parent_of(kind: CollectionKind, name: str) -> str | None:
    """The plain collection that must be there before one of this name; None for who lies in a home, or is kept for one."""
    parent = name.rpartition("/")[0] if kind is CollectionKind.PLAIN else ""
    return parent if "/" in parent else None


def merge_properties(properties: Mapping[str, str], changes: Mapping[str, str | None]) -> Mapping[str, str]:
    """Properties after a change: None removes. Raise Forbidden when they are too many or too long."""
    merged = {name: value for name, value in {**properties, **changes}.items() if value is not None}
    check_properties(merged)
    return merged


def merge_item_properties(properties: Mapping[str, str], changes: Mapping[str, str | None]) -> Mapping[str, str]:
    """The same for an item's."""
    merged = merge_properties(properties, changes)
    if sum(len(name) + len(value) for name, value in merged.items()) > MAX_ITEM_PROPERTIES:
        raise Forbidden("the properties are too long")
    return merged or NO_PROPERTIES


def render_properties(properties: Mapping[str, str]) -> str | None:
    """An item's properties as its row keeps them: ASCII."""
    return json.dumps(dict(properties)) if properties else None


def room_of(item: Item) -> int:
    """Octets it takes of the account's: its own and its properties'."""
    return item.size + len(render_properties(item.properties) or "")


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
    return facts._replace(text=text, start=bounds[0], end=bounds[1])


def render_etag(data: bytes) -> ETag:
    """The strong ETag of these bytes, without the quotes HTTP puts around it (RFC 9110 section 8.8.3)."""
    return ETag(hashlib.sha256(data).hexdigest()[:32])


def touches(facts: ItemFacts, start: int | None, end: int | None) -> bool:
    """Whether an item's bounds touch [start, end); None is open."""
    begins_before = facts.start is None or end is None or facts.start < end
    return begins_before and (facts.end is None or start is None or facts.end >= start)
