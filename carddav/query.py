"""What a filter means of one card (RFC 6352 sections 8.6 and 10.5). Pure."""

from collections.abc import Sequence

from ..dav.collations import fold_text
from ..formats.content_lines import Line, unescape
from ..formats.vcard import Card, types
from .filters import CardFilter, ParameterFilter, PropertyFilter, TextMatch


def matches(asked: CardFilter, card: Card) -> bool:
    """Whether the card is found."""
    if not asked.properties:
        return True
    found = (_property(one, card.lines) for one in asked.properties)
    return all(found) if asked.every else any(found)


def _property(asked: PropertyFilter, lines: Sequence[Line]) -> bool:
    named = [line for line in lines if line.name == asked.name and (not asked.group or line.group.upper() == asked.group)]
    if asked.not_defined:
        return not named
    return any(_line(asked, line) for line in named)


def _line(asked: PropertyFilter, line: Line) -> bool:
    """All conditions are asked of one and the same line: work and address of one telephone number."""
    if not asked.texts and not asked.parameters:
        return True
    value = unescape(line.value) if asked.texts else ""
    found = (
        *(text_matches(one, value) for one in asked.texts),
        *(_parameter(one, line) for one in asked.parameters),
    )
    return all(found) if asked.every else any(found)


def _parameter(asked: ParameterFilter, line: Line) -> bool:
    if asked.name == "TYPE":
        values = list(types(line))  # however it is written: one by one
    else:
        values = [value for name, given in line.parameters if name == asked.name for value in given or ("",)]
    if asked.not_defined:
        return not values
    if asked.text is None:
        return bool(values)
    text = asked.text
    return any(text_matches(text, value) for value in values)


def text_matches(asked: TextMatch, value: str) -> bool:
    """Whether a text stands where it should in another (section 10.5.4), or does not when it is negated."""
    wanted, folded = fold_text(asked.text, asked.collation), fold_text(value, asked.collation)
    match asked.match:
        case "equals":
            found = wanted == folded
        case "contains":
            found = wanted in folded
        case "starts-with":
            found = folded.startswith(wanted)
        case "ends-with":
            found = folded.endswith(wanted)
    return found is not asked.negated
