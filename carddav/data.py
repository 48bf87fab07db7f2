"""Cards as a client asks for them: address-data whole or in part, in either version (RFC 6352 sections 5.1.1 and 10.4).

What is asked for in the version it has goes out as it was put. Pure.
"""

from collections.abc import Callable
from functools import lru_cache
from xml.etree.ElementTree import Element

from ..dav.errors import DavError
from ..dav.xml import escape, escape_octets
from ..formats.content_lines import Line
from ..formats.vcard import VERSIONS, Card, InvalidCard, Version, read_card, render_card, version_of
from ..formats.vcard_convert import convert
from .filters import carddav

_MOST_NAMES = 200
MEDIA_TYPES = ("text/vcard", "text/x-vcard", "text/directory")
"""What cards are called in requests."""


def reads_both(user_agent: str) -> bool:
    """Whether a client that names no version is known to read, and to write, both.

    Thunderbird makes cards of 4.0 and takes back at once what it stored, by an element without attributes: told in 3.0, an
    anniversary would be gone from its window as soon as it was typed, and the next change would store the card in 3.0.
    """
    return " Thunderbird/" in user_agent


def data_renderer(asked: Element, user_agent: str = "") -> Callable[[bytes], str]:
    """Octets of a card -> the text of its address-data. Raise DavError for what is asked wrongly."""
    # Who says nothing means 3.0: those are the defaults of the element (section 10.4), and what phones understand.
    version = asked_version(asked.get("content-type", "text/vcard"), asked.get("version", "3.0"))
    as_stored = not asked.attrib and reads_both(user_agent)
    if len(asked) > _MOST_NAMES:
        raise DavError(403, carddav("supported-filter"), "Trop de noms. / Too many names.")
    names: dict[str, bool] = {}
    everything = not any(child.tag == carddav("prop") for child in asked)
    for child in asked:
        if child.tag == carddav("prop"):
            names[child.get("name", "").upper()] = child.get("novalue", "no").lower() == "yes"

    def text(data: bytes) -> str:
        if everything:
            return escape_octets(data if as_stored else in_version(data, version))
        try:
            card = read_card(data)
            if not as_stored:
                card = convert(card, version)
        except InvalidCard:
            return escape_octets(data)
        return escape(render_card(_take(card, names)))

    return text


def asked_version(media_type: str, version: str) -> Version:
    """Raise DavError for what cards are not told in."""
    found = next((one for one in VERSIONS if one == version), None)
    if media_type.lower() not in MEDIA_TYPES or found is None:
        raise DavError(403, carddav("supported-address-data"), "vCard 3.0 ou 4.0. / vCard 3.0 or 4.0.")
    return found


def in_version(data: bytes, version: Version) -> bytes:
    """The octets themselves when they are in that version, or are no card that could be told in it."""
    if version_of(data) == version:
        return data
    try:
        card = read_card(data)
    except InvalidCard:
        return data  # what another program left in the store
    return data if card.version == version else render_card(convert(card, version)).encode()


def _take(card: Card, names: dict[str, bool]) -> Card:
    lines = []
    for line in card.lines:
        full = f"{line.group}.{line.name}".upper() if line.group else line.name
        empty = names.get(line.name, names.get(full))
        if empty is not None:
            lines.append(Line(line.name, "", line.parameters, line.group) if empty else line)
    return Card(card.version, card.uid, lines)


@lru_cache(maxsize=256)
def preferred_version(accept: str, stored: Version) -> Version:
    """The version that an Accept header (RFC 9110 section 12.5.1) likes best; the stored one where it has no preference."""
    best, most = stored, _quality(accept, stored)
    for version in VERSIONS:
        if (quality := _quality(accept, version)) > most:
            best, most = version, quality
    return best


def _quality(accept: str, version: Version) -> float:
    """How much a version is wanted: by the most exact range that names it."""
    exact, quality = -1, 0.0 if accept.strip() else 1.0
    for part in accept.lower().split(",")[:50]:
        media, *parameters = (piece.strip() for piece in part.split(";"))
        told = {name.strip(): value for name, _, value in (piece.partition("=") for piece in parameters)}
        wanted = told.get("version", "").strip('" ')
        if media in MEDIA_TYPES:
            # Elder names are of elder versions.
            if wanted not in ("", version) or (not wanted and media != "text/vcard" and version != "3.0"):
                continue
            rank = 3 if wanted else 2
        elif media in ("text/*", "*/*"):
            rank = 1 if media == "text/*" else 0
        else:
            continue
        if rank > exact:
            exact, quality = rank, _number(told.get("q", "1"))
    return quality


def _number(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
