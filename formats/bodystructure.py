"""BODY and BODYSTRUCTURE of a message, as IMAP sends them (RFC 3501 section 7.4.2, RFC 9051 section 7.5.2).

Owns that rendering. What a reader of the grammar could not take is put otherwise: a multipart without parts gets an empty
text part, and a part that a limit kept from being looked into is called application/octet-stream.
"""

from .envelope import render_envelope, render_nstring, render_string
from .headers import Parameters
from .mime import Part

_EMPTY = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'


def render_bodystructure(root: Part, *, extended: bool) -> bytes:
    """`(...)`: BODYSTRUCTURE, or, not extended, BODY. Depth is bounded by the scanner's, and nothing here recurses."""
    out: list[bytes] = []
    # What is still to be written, last first: a part, or text behind the parts within one.
    stack: list[Part | bytes] = [root]
    while stack:
        item = stack.pop()
        if isinstance(item, bytes):
            out.append(item)
        elif item.is_multipart:
            out.append(b"(")
            stack.append(_multipart_tail(item, extended))
            if item.children:
                stack.extend(reversed(item.children))
            else:
                out.append(_EMPTY + (b" NIL NIL NIL NIL)" if extended else b")"))
        elif message := item.message:
            out += (b"(", _basic(item), b" ", render_envelope(message.header), b" ")
            stack.append(b" %d%b)" % (item.lines, _extension(item) if extended else b""))
            stack.append(message)
        else:
            out += (b"(", _basic(item))
            if _is_text(item):
                out.append(b" %d" % item.lines)
            if extended:
                out.append(_extension(item))
            out.append(b")")
    return b"".join(out)


def _is_text(part: Part) -> bool:
    return not part.opaque and part.type.lower() == b"text"


def _basic(part: Part) -> bytes:
    """media-type, body-fields: the beginning of every part that is no multipart."""
    if part.opaque:
        kind, parameters = b'"application" "octet-stream"', b"NIL"
    elif part.children:
        kind, parameters = b'"message" "rfc822"', _parameters(part.parameters)
    else:
        kind = b"%b %b" % (render_string(part.type), render_string(part.subtype))
        # RFC 2045 section 5.2: text that says nothing is US-ASCII.
        parameters = _text_parameters(part.parameters) if _is_text(part) else _parameters(part.parameters)
    return b"%b %b %b %b %b %d" % (
        kind,
        parameters,
        render_nstring(part.id),
        render_nstring(part.description),
        render_string(part.encoding or b"7bit"),
        part.length,
    )


def _parameters(parameters: Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    return b"(%b)" % b" ".join([render_string(text) for pair in parameters for text in pair])


def _text_parameters(parameters: Parameters) -> bytes:
    if any(name.lower() == b"charset" for name, _ in parameters):
        return _parameters(parameters)
    if not parameters:
        return b'("charset" "us-ascii")'
    return _parameters(parameters)[:-1] + b' "charset" "us-ascii")'


def _multipart_tail(part: Part, extended: bool) -> bytes:
    subtype = render_string(part.subtype)
    if not extended:
        return b" %b)" % subtype
    return b" %b %b%b)" % (subtype, _parameters(part.parameters), _common_extension(part))


def _extension(part: Part) -> bytes:
    """body-ext-1part: MD5, disposition, language, location."""
    return b" %b%b" % (render_nstring(part.md5), _common_extension(part))


def _common_extension(part: Part) -> bytes:
    if part.disposition is None and not part.languages and part.location is None:
        return b" NIL NIL NIL"
    disposition = languages = b"NIL"
    if part.disposition is not None:
        disposition = b"(%b %b)" % (render_string(part.disposition), _parameters(part.disposition_parameters))
    if part.languages:
        languages = b"(%b)" % b" ".join([render_string(tag) for tag in part.languages])
    return b" %b %b %b" % (disposition, languages, render_nstring(part.location))
