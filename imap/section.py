"""Which octets of a message a FETCH section means (RFC 9051 section 6.4.5.1; RFC 3516 for BINARY).

Owns part numbers over a tree of MIME parts, and partial ranges. Never reads a message: it says what to read. A section
that names nothing is None, answered NIL.
"""

from dataclasses import dataclass

from ..formats.headers import select_fields
from ..formats.mime import Part
from .values import Partial, Section, SectionText


@dataclass(frozen=True, slots=True)
class Extract:
    """Octets of the message: `length` from `offset` on. When `fields` is set, only these header fields of them.

    `exclude`: all fields but these.
    """

    offset: int
    length: int
    fields: tuple[bytes, ...] | None = None
    exclude: bool = False

    def pick(self, octets: bytes) -> bytes:
        """What is answered, of the octets that were read."""
        if self.fields is None:
            return octets
        return select_fields(octets, frozenset(name.lower() for name in self.fields), exclude=self.exclude)

    def cut(self, partial: Partial | None) -> "Extract":
        """With the partial range applied to octets that are answered as they are; beyond the end nothing is left.

        Fields must be picked before they are cut: see `cut_octets`.
        """
        if partial is None or self.fields is not None:
            return self
        begin = min(partial.offset, self.length)
        return Extract(self.offset + begin, min(partial.length, self.length - begin))


def cut_octets(octets: bytes, partial: Partial | None) -> bytes:
    """A partial range of octets in hand."""
    return octets if partial is None else octets[partial.offset : partial.offset + partial.length]


def needs_structure(section: Section) -> bool:
    """Whether the tree of parts is needed, or the message's size and the end of its header are enough."""
    return bool(section.part)


def locate_in_message(section: Section, size: int, header_size: int) -> Extract:
    """`locate` for sections without part numbers: of the message itself, no tree needed.

    `size`: of the message; `header_size`: of its header with the empty line.
    """
    return _text(section, Extract(0, size), Extract(0, header_size), Extract(header_size, size - header_size))


def locate(root: Part, section: Section) -> Extract | None:
    """What the section means in the message whose tree is `root`. None: there is no such part, or it has no such text."""
    if not section.part:
        end = root.body_offset + root.length
        return locate_in_message(section, end, root.body_offset)
    part = find_part(root, section.part)
    if part is None:
        return None
    if section.text is SectionText.ALL:
        return _body(part)
    if section.text is SectionText.MIME:
        return _header(part)
    message = part.message  # HEADER and TEXT are of a message within, not of a part (RFC 9051 section 6.4.5.1)
    if message is None:
        return None
    return _text(section, _body(part), _header(message), _body(message))


def _text(section: Section, whole: Extract, header: Extract, body: Extract) -> Extract:
    match section.text:
        case SectionText.HEADER:
            return header
        case SectionText.HEADER_FIELDS:
            return Extract(header.offset, header.length, section.fields)
        case SectionText.HEADER_FIELDS_NOT:
            return Extract(header.offset, header.length, section.fields, exclude=True)
        case SectionText.TEXT:
            return body
        case _:
            return whole


def _header(part: Part) -> Extract:
    return Extract(part.offset, part.body_offset - part.offset)


def _body(part: Part) -> Extract:
    return Extract(part.body_offset, part.length)


def find_part(root: Part, numbers: tuple[int, ...]) -> Part | None:
    """The part that the numbers lead to, None if there is none. No numbers: the message itself.

    A multipart numbers its children. A message, the outermost or one within, numbers those of its multipart; when it has
    none it is its own part 1 (RFC 9051 section 6.4.5.1).
    """
    part = root
    is_message = True
    for number in numbers:
        if not is_message:
            message = part.message
            if message is not None:
                part, is_message = message, True
        if part.is_multipart:
            if number > len(part.children):
                return None
            part = part.children[number - 1]
        elif not is_message or number != 1:
            return None
        is_message = False
    return part
