"""Cards: one vCard as an address book holds it (RFC 2426, RFC 6350, RFC 6352 section 5.1).

Owns what may be stored: one VCARD of version 3.0 or 4.0 with one UID and a name. Conversion is in vcard_convert.py.
Never changes what a client wrote, and never judges a property that the checks of an address book do not name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from .content_lines import Component, ContentLimits, InvalidContent, Line, parse_components, render

Version = Literal["3.0", "4.0"]
VERSIONS: tuple[Version, ...] = ("3.0", "4.0")

BINARY = frozenset({"PHOTO", "LOGO", "SOUND", "KEY"})
"""Properties that hold octets, or an address where they are."""


class InvalidCard(ValueError):
    """No card that an address book takes; `condition` is the precondition of RFC 6352 section 6.3.2.1 that is not met."""

    def __init__(self, condition: Literal["valid-address-data", "supported-address-data", "max-image-size"], text: str) -> None:
        """Say which and why."""
        super().__init__(text)
        self.condition = condition


@dataclass(frozen=True, slots=True)
class CardLimits:
    """Bounds of one card."""

    content: ContentLimits = field(default_factory=lambda: ContentLimits(lines=20_000, depth=1, components=1))
    uid_length: int = 1_000  # characters
    image_octets: int = 7_340_032  # of one PHOTO, LOGO, SOUND or KEY, decoded


@dataclass(slots=True)
class Card:
    """A card. `lines` are those between BEGIN and END, VERSION and UID among them, in the order written."""

    version: Version
    uid: str
    lines: list[Line]


DEFAULT_LIMITS = CardLimits()

_VERSION = re.compile(rb"^VERSION:[ \t]*([0-9.]+)[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)


def read_card(data: bytes, limits: CardLimits = DEFAULT_LIMITS) -> Card:
    """The card in these octets. Raise InvalidCard."""
    try:
        found = parse_components(data, limits.content)
    except InvalidContent as error:
        # vCard 2.1 folds and codes as it likes: it is told as what it is, not as a bad line.
        if (told := _VERSION.search(data)) is not None and told[1] == b"2.1":
            raise _version_refused("2.1") from None
        raise InvalidCard("valid-address-data", str(error)) from None
    if len(found) != 1 or found[0].name != "VCARD":
        raise InvalidCard("valid-address-data", "not one VCARD")
    lines = found[0].lines
    version = _one(lines, "VERSION")
    if version not in VERSIONS:
        raise _version_refused(version)
    uid = _one(lines, "UID")
    if len(uid) > limits.uid_length:
        raise InvalidCard("valid-address-data", f"UID longer than {limits.uid_length} characters")
    # FN is a must of both versions; phones leave it out and write N.
    if not any(line.name in ("FN", "N") for line in lines):
        raise InvalidCard("valid-address-data", "neither FN nor N")
    for line in lines:
        # Four characters of base64 are three octets.
        if line.name in BINARY and len(line.value) > limits.image_octets // 3 * 4 + 1_024:
            raise InvalidCard("max-image-size", f"{line.name} of more than {limits.image_octets} octets")
    return Card("4.0" if version == "4.0" else "3.0", uid, lines)


def _one(lines: list[Line], name: str) -> str:
    values = [line.value.strip() for line in lines if line.name == name]
    if len(values) != 1 or not values[0]:
        raise InvalidCard("valid-address-data", f"{'more than one' if len(values) > 1 else 'no'} {name}")
    return values[0]


def _version_refused(version: str) -> InvalidCard:
    return InvalidCard("supported-address-data", f"vCard {version[:10]} is not kept here, 3.0 and 4.0 are")


def version_of(data: bytes) -> str | None:
    """The version that a stored card says, without reading the rest; None when that takes a parser."""
    found = _VERSION.search(data, 0, 4_096)
    return found[1].decode() if found is not None else None


def render_card(card: Card) -> str:
    """The card as text; lines that came from a text are as they were written there."""
    return render(Component("VCARD", card.lines))


def types(line: Line) -> Iterator[str]:
    """The values of TYPE, one by one: `TYPE=home,work`, `TYPE=home;TYPE=work`, `TYPE="home,work"` and vCard 2.1's `;HOME`."""
    for name, values in line.parameters:
        if name == "TYPE":
            for value in values:
                yield from (part.strip() for part in value.split(",") if part.strip())
        elif not values:
            yield name
