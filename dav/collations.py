"""How reports of calendars and address books compare text (RFC 4790, RFC 4791 section 7.5, RFC 6352 section 8.3). Pure."""

import unicodedata

COLLATIONS = ("i;ascii-casemap", "i;octet", "i;unicode-casemap")


def fold_text(text: str, collation: str) -> str:
    """A text as a collation compares it: RFC 4790 section 9.2 (ASCII letters alone), RFC 5051, or as it is."""
    if collation == "i;octet":
        return text
    if collation == "i;ascii-casemap":
        return text.lower() if text.isascii() else "".join([char.lower() if char.isascii() else char for char in text])
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
