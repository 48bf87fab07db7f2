"""What the index keeps of a card, and what it can say of a query without opening the card. Pure.

ItemFacts.text is a line with the version, then one line for each value that people search by, then an empty one: where that
is missing (the index cuts long texts; older ones knew the version alone) only the card itself can tell.
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
    values = (unescape(line.value) for line in card.lines if line.name in SEARCHED)
    # A value of several lines stays in one piece: nothing is compared but what stands in it.
    return "\n".join([card.version, *(value.replace("\n", "\r") for value in values)]) + _END


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
    collations = {collation for one in known for _, collation in one}
    among = all if asked.every else any

    def may(text: str) -> bool:
        if not text.endswith(_END):
            return True
        folded = {collation: fold_text(text, collation) for collation in collations}
        return among(any(wanted in folded[collation] for wanted, collation in one) for one in known)

    return may


def _needs(asked: PropertyFilter) -> list[tuple[str, str]] | None:
    """Folded texts with their collations, one of which stands in every card that this finds. None: nothing is known."""
    if asked.name not in SEARCHED or asked.not_defined:
        return None
    texts = [(_folded(one.text, one.collation), one.collation) for one in asked.texts if not one.negated]
    if asked.every:
        return texts[:1] or None
    return texts if texts and len(texts) == len(asked.texts) and not asked.parameters else None


def _folded(text: str, collation: str) -> str:
    return fold_text(text.replace("\n", "\r"), collation)
