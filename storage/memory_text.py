"""What the memory store reads out of a message, the slow and plain way (see memory.py).

Search goes through the standard library's email package on purpose: the file store uses formats/, and where the two
differ the contract tests say so. Never cached.
"""

import email
import email.message
import email.policy
import email.utils
import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date

from ..formats.bodystructure import render_bodystructure
from ..formats.envelope import render_envelope
from ..formats.headers import decode_words, fields, select_fields, split_header
from ..formats.mime import scan
from .api import TextField, TextKey

_DAY = 86_400
_MARKUP = re.compile(r"<[^>]*>")


def header_fields(message: bytes, names: Sequence[bytes]) -> bytes:
    """The fields of these names in the message's order, and an empty line."""
    return select_fields(split_header(message)[0], {name.lower() for name in names})


def rendered(message: bytes) -> tuple[bytes, int]:
    """ENVELOPE and BODYSTRUCTURE as IMAP sends them, and where the first one ends."""
    part = scan(message)
    envelope = b"ENVELOPE " + render_envelope(part.header)
    return envelope + b" BODYSTRUCTURE " + render_bodystructure(part, extended=True), len(envelope)


def fold(text: str) -> str:
    """Text for comparison: without case and accents, runs of blanks as one space."""
    marks = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(char for char in marks if not unicodedata.combining(char)).casefold().split())


def matches(message: bytes, key: TextKey) -> bool:
    """Whether the criterion holds."""
    needle = fold(key.needle)
    header = split_header(message)[0]
    if key.field is TextField.HEADER:
        name = key.header.lower().encode()
        return any(found.lower() == name and needle in fold(decode_words(value)) for found, value in fields(header))
    texts = list(_texts(message))
    if key.field is TextField.TEXT:
        texts += [f"{name.decode('latin-1')}: {decode_words(value)}" for name, value in fields(header)]
    return any(needle in fold(text) for text in texts)


def _texts(message: bytes) -> Iterator[str]:
    for part in email.message_from_bytes(message, policy=email.policy.compat32).walk():
        if part.get_content_maintype() == "text":
            payload = part.get_payload(decode=True)
            text = payload.decode(_codec(part), "replace") if isinstance(payload, bytes) else ""
            yield _MARKUP.sub(" ", text) if part.get_content_subtype() == "html" else text


def _codec(part: "email.message.Message[str, str]") -> str:
    charset = part.get_content_charset("utf-8")
    try:
        b"".decode(charset)
    except LookupError:
        return "latin-1"
    return charset


def local_day(message: bytes, internal_date: int) -> int:
    """Days since 1970 of the Date header in its own zone, else of the internal date."""
    for name, value in fields(split_header(message)[0]):
        if name.lower() == b"date":
            parsed = email.utils.parsedate_tz(value.decode("latin-1"))
            if parsed is not None:
                try:
                    return date(*parsed[:3]).toordinal() - date(1970, 1, 1).toordinal()
                except ValueError:
                    pass
            break
    return internal_date // _DAY
