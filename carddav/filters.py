"""The filter of an addressbook-query (RFC 6352 section 10.5): from its XML to values.

Owns the grammar, its bounds and which conditions a bad one fails. What a filter means is in query.py. Pure.
"""

from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element

from ..dav.collations import COLLATIONS
from ..dav.errors import DavError, bad_request
from ..dav.xml import CARDDAV, text_of

Match = Literal["equals", "contains", "starts-with", "ends-with"]
_MATCHES: tuple[Match, ...] = ("equals", "contains", "starts-with", "ends-with")
_MOST_FILTERS = 100
_LONGEST_TEXT = 1_000
_LONGEST_NAME = 200


def carddav(local: str) -> str:
    """A name of CardDAV's namespace."""
    return f"{{{CARDDAV}}}{local}"


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A text, where it must stand, and how it is compared."""

    text: str
    collation: str
    match: Match
    negated: bool


@dataclass(frozen=True, slots=True)
class ParameterFilter:
    """Of one parameter of a property; neither text nor not_defined: it is there."""

    name: str
    not_defined: bool = False
    text: TextMatch | None = None


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """Of one property; without conditions: it is there. `group` is empty when any will do. `every`: allof, else anyof."""

    name: str
    group: str = ""
    not_defined: bool = False
    every: bool = False
    texts: tuple[TextMatch, ...] = ()
    parameters: tuple[ParameterFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class CardFilter:
    """What cards are asked for; without properties: all. `every`: allof, else anyof."""

    every: bool = False
    properties: tuple[PropertyFilter, ...] = ()


def read_filter(given: Element | None) -> CardFilter:
    """Of a CARDDAV:filter. Raise DavError 400, supported-filter or supported-collation."""
    if given is None:
        raise bad_request("CARDDAV:filter")
    left = [_MOST_FILTERS]
    return CardFilter(_every(given), tuple(_property(child, left) for child in given))


def _every(given: Element) -> bool:
    test = given.get("test", "anyof")
    if test not in ("anyof", "allof"):
        raise _unsupported("test")
    return test == "allof"


def _unsupported(what: str) -> DavError:
    return DavError(403, carddav("supported-filter"), f"Filtre non accepte ({what}). / Filter not supported ({what}).")


def _name(given: Element) -> str:
    name = given.get("name", "").upper()
    if not name or len(name) > _LONGEST_NAME:
        raise bad_request("name")
    return name


def _count(left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise _unsupported("nombre / number")


def _property(given: Element, left: list[int]) -> PropertyFilter:
    _count(left)
    if given.tag != carddav("prop-filter"):
        raise _unsupported("prop-filter")
    # Only those of one group are meant when it is told (section 10.5.1).
    group, _, name = _name(given).rpartition(".")
    not_defined = False
    texts: list[TextMatch] = []
    parameters: list[ParameterFilter] = []
    for child in given:
        if child.tag == carddav("is-not-defined"):
            not_defined = True
        elif child.tag == carddav("text-match"):
            _count(left)
            texts.append(_text(child))
        elif child.tag == carddav("param-filter"):
            _count(left)
            parameters.append(_parameter(child))
        else:
            raise _unsupported("prop-filter")
    if not_defined and len(given) > 1:
        raise bad_request("is-not-defined")
    return PropertyFilter(name, group, not_defined, _every(given), tuple(texts), tuple(parameters))


def _parameter(given: Element) -> ParameterFilter:
    not_defined = False
    text: TextMatch | None = None
    for child in given:
        if child.tag == carddav("is-not-defined"):
            not_defined = True
        elif child.tag == carddav("text-match"):
            text = _text(child)
        else:
            raise _unsupported("param-filter")
    if len(given) > 1:
        raise bad_request("param-filter")
    return ParameterFilter(_name(given), not_defined, text)


def _text(given: Element) -> TextMatch:
    collation = given.get("collation", "i;unicode-casemap")
    if collation == "default":
        collation = "i;unicode-casemap"
    if collation not in COLLATIONS:
        raise DavError(403, carddav("supported-collation"), "Comparaison inconnue. / Unknown collation.")
    asked = given.get("match-type", "contains")
    match = next((one for one in _MATCHES if one == asked), None)
    if match is None:
        raise _unsupported("match-type")
    text = text_of(given)
    if len(text) > _LONGEST_TEXT:
        raise _unsupported("texte / text")
    return TextMatch(text, collation, match, given.get("negate-condition", "no").lower() == "yes")
