"""What the index keeps of a card, and what it can say of a query without opening the card. Pure.

ItemFacts.text is a line with the version, then one line for each value that people search by, folded as i;unicode-casemap
compares, then an empty one: where that is missing (the index cuts long texts; older ones knew the version alone) only the
card itself can tell.
"""

from collections.abc import Callable

from ..dav.collations import fold_text
from ..formats.content_lines import unescape
from ..formats.vcard import VERSIONS, Card, Version
from .filters import CardFilter, PropertyFilter

SEARCHED = frozenset({"FN", "N", "NICKNAME", "EMAIL", "TEL", "ORG", "TITLE", "CATEGORIES", "UID"})
"""Properties whose values the index keeps."""
_END = "\n\n"


def index_text(card: Card) -> str:
    """Of a card that is stored."""
    values = [_folded(unescape(line.value)) for line in card.lines if line.name in SEARCHED]
    return "\n".join([card.version, *values]) + _END


def version_in(text: str) -> Version | None:
    """The version that an index text tells."""
    told = text.partition("\n")[0]
    return next((one for one in VERSIONS if one == told), None)


def narrow(asked: CardFilter) -> Callable[[str], bool] | None:
    """Whether a card with this index text may be found. None: all may."""
    needs = [_needs(one) for one in asked.properties]
    known = [one for one in needs if one is not None]
    if not known or (not asked.every and len(known) < len(needs)):
        return None
    among = all if asked.every else any

    def may(text: str) -> bool:
        return not text.endswith(_END) or among(any(wanted in text for wanted in one) for one in known)

    return may


def _needs(asked: PropertyFilter) -> list[str] | None:
    """Folded texts, one of which stands in every card that this finds. None: nothing is known."""
    if asked.name not in SEARCHED or asked.not_defined:
        return None
    # What other collations find is found folded as well where it is ASCII, of which folding moves nothing.
    texts = [
        _folded(one.text)
        for one in asked.texts
        if not one.negated and (one.collation == "i;unicode-casemap" or one.text.isascii())
    ]
    if asked.every:
        return texts[:1] or None
    return texts if texts and len(texts) == len(asked.texts) and not asked.parameters else None


def _folded(text: str) -> str:
    # A value of several lines stays in one piece: only the end has an empty line.
    return fold_text(text, "i;unicode-casemap").replace("\n", "\r")
