"""The filter of a calendar-query (RFC 4791 section 9.7): from its XML to values.

Owns the grammar, its bounds and which conditions a bad one fails. What a filter means is in query.py. Pure.
"""

from dataclasses import dataclass
from typing import NoReturn
from xml.etree.ElementTree import Element

from ..dav.collations import COLLATIONS
from ..dav.errors import DavError
from ..dav.xml import CALDAV, text_of
from ..formats.calendar_values import parse_moment

_MOST_FILTERS = 100
_LONGEST_TEXT = 1_000


def caldav(local: str) -> str:
    """A name of CalDAV's namespace."""
    return f"{{{CALDAV}}}{local}"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """[start, end) in UTC seconds since 1970; None: open. Never open on both sides."""

    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A substring, compared as `collation` says."""

    text: str
    collation: str
    negated: bool


@dataclass(frozen=True, slots=True)
class ParameterFilter:
    """Of one parameter of a property."""

    name: str
    not_defined: bool = False
    text: TextMatch | None = None


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """Of one property of a component."""

    name: str
    not_defined: bool = False
    range: TimeRange | None = None
    text: TextMatch | None = None
    parameters: tuple[ParameterFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class ComponentFilter:
    """Of one component, and of what is in it."""

    name: str
    not_defined: bool = False
    range: TimeRange | None = None
    properties: tuple[PropertyFilter, ...] = ()
    components: tuple["ComponentFilter", ...] = ()


def read_filter(given: Element | None) -> ComponentFilter:
    """Of a CALDAV:filter: that of VCALENDAR. Raise DavError valid-filter, supported-filter or supported-collation."""
    children = [] if given is None else list(given)
    if len(children) != 1 or children[0].tag != caldav("comp-filter") or _name(children[0]) != "VCALENDAR":
        _invalid("one comp-filter of VCALENDAR")
    return _Reader().component(children[0], "")


def read_range(given: Element) -> TimeRange:
    """Of a CALDAV:time-range (section 9.9). Raise DavError valid-filter."""
    start, end = (_moment(given.get(name)) for name in ("start", "end"))
    if (start is None and end is None) or (start is not None and end is not None and start >= end):
        _invalid("time-range")
    return TimeRange(start, end)


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    moment = parse_moment(text)
    if moment is None or moment.form != "utc":
        _invalid("time-range: UTC")
    return moment.wall


def _invalid(what: str) -> NoReturn:
    raise DavError(403, caldav("valid-filter"), f"Filtre incorrect ({what}). / Invalid filter ({what}).")


def _name(given: Element) -> str:
    name = given.get("name", "").upper()
    if not name or len(name) > 200:
        _invalid("name")
    return name


# Where a time-range may stand (section 9.7.1); of other components nobody can say when they take place.
_TIMED = frozenset({"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VALARM", "VAVAILABILITY"})


class _Reader:
    """Counts as it reads."""

    def __init__(self) -> None:
        self._left = _MOST_FILTERS

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise DavError(403, caldav("supported-filter"), "Filtre trop long. / Filter too long.")

    def component(self, given: Element, above: str) -> ComponentFilter:
        self._count()
        name = _name(given)
        if (name == "VCALENDAR") != (above == ""):
            _invalid(name[:20])
        not_defined, span = False, None
        properties: list[PropertyFilter] = []
        components: list[ComponentFilter] = []
        for child in given:
            if child.tag == caldav("is-not-defined"):
                not_defined = True
            elif child.tag == caldav("time-range"):
                if name not in _TIMED:
                    raise DavError(403, caldav("supported-filter"), "time-range", content=_unsupported(given))
                span = read_range(child)
            elif child.tag == caldav("prop-filter"):
                properties.append(self.property(child))
            elif child.tag == caldav("comp-filter"):
                components.append(self.component(child, name))
            else:
                _invalid("comp-filter")
        if not_defined and len(given) > 1:
            _invalid("is-not-defined")
        return ComponentFilter(name, not_defined, span, tuple(properties), tuple(components))

    def property(self, given: Element) -> PropertyFilter:
        self._count()
        not_defined, span, text = False, None, None
        parameters: list[ParameterFilter] = []
        for child in given:
            if child.tag == caldav("is-not-defined"):
                not_defined = True
            elif child.tag == caldav("time-range"):
                span = read_range(child)
            elif child.tag == caldav("text-match"):
                text = _text(child)
            elif child.tag == caldav("param-filter"):
                parameters.append(self.parameter(child))
            else:
                _invalid("prop-filter")
        if not_defined and len(given) > 1:
            _invalid("is-not-defined")
        return PropertyFilter(_name(given), not_defined, span, text, tuple(parameters))

    def parameter(self, given: Element) -> ParameterFilter:
        self._count()
        not_defined, text = False, None
        for child in given:
            if child.tag == caldav("is-not-defined"):
                not_defined = True
            elif child.tag == caldav("text-match"):
                text = _text(child)
            else:
                _invalid("param-filter")
        return ParameterFilter(_name(given), not_defined, text)


def _text(given: Element) -> TextMatch:
    collation = given.get("collation", "i;ascii-casemap")
    if collation == "default":
        collation = "i;ascii-casemap"
    if collation not in COLLATIONS:
        raise DavError(403, caldav("supported-collation"), "Comparaison inconnue. / Unknown collation.")
    text = text_of(given)
    if len(text) > _LONGEST_TEXT:
        raise DavError(403, caldav("supported-filter"), "Texte trop long. / Text too long.")
    return TextMatch(text, collation, given.get("negate-condition", "no").lower() == "yes")


def _unsupported(given: Element) -> str:
    return f'<C:comp-filter name="{_name(given) if _name(given).isalnum() else "X"}"/>'
