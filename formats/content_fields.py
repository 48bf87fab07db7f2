"""The Content-* fields of a header block (RFC 2045 sections 5, 6, 7, 8; RFC 1864, RFC 2183, RFC 2557, RFC 3282).

Owns what such a field says where it is odd or broken. Never raises, and looks at no field but these.
"""

import re
from typing import TypedDict

from .headers import Parameters, parse_value, strip_comments, unfold


class ContentFields(TypedDict, total=False):
    """Those that are there, spelled as in the message, without comments; names are those of mime.Part."""

    type: bytes
    subtype: bytes
    parameters: Parameters
    encoding: bytes
    id: bytes
    description: bytes
    md5: bytes
    disposition: bytes
    disposition_parameters: Parameters
    languages: tuple[bytes, ...]
    location: bytes


def read_content_fields(header: bytes, limit: int) -> ContentFields:
    """The Content-* fields of a header block; where one stands twice, the first that says something counts.

    `limit`: parameters of one field that are looked at.
    """
    fields: ContentFields = {}
    lower = b"\n" + header.lower()
    position = lower.find(b"\ncontent-")
    while position >= 0:
        # header[n] is lower[n + 1]: the field begins at `position` in header.
        end = _field_end(header, position)
        name, _, value = header[position:end].partition(b":")
        value = unfold(value).strip(b" \t\r\n")
        match name.strip().lower()[8:]:
            case b"type":
                parsed = parse_value(value, limit=limit)
                # RFC 2045 section 5.2: what is no valid Content-Type is text/plain.
                if parsed and parsed[1] and "type" not in fields:
                    fields["type"], fields["subtype"], fields["parameters"] = parsed
            case b"disposition":
                parsed = parse_value(value, limit=limit)
                if parsed and "disposition" not in fields:
                    fields["disposition"], _, fields["disposition_parameters"] = parsed
            case b"transfer-encoding":
                if match := _ENCODING.fullmatch(strip_comments(value)):
                    fields.setdefault("encoding", match[1])
            case b"language":
                if tags := tuple(_LANGUAGE.findall(strip_comments(value[:1_000]))):
                    fields.setdefault("languages", tags)
            case b"id" if value:
                fields.setdefault("id", value)
            case b"description" if value:
                fields.setdefault("description", value)
            case b"md5" if value:
                fields.setdefault("md5", value)
            case b"location" if value:
                fields.setdefault("location", value)
        position = lower.find(b"\ncontent-", end)
    return fields


_ENCODING = re.compile(rb"[ \t]*+([!#-'*+\-.0-9A-Z^-~]+)[ \t]*+(?:;.*+)?", re.DOTALL)
_LANGUAGE = re.compile(rb"[A-Za-z0-9-]+")


def _field_end(header: bytes, position: int) -> int:
    """Where the field that begins at `position` ends: the first line end that no blank follows."""
    end = header.find(b"\n", position)
    while end >= 0:
        if header[end + 1 : end + 2] not in (b" ", b"\t"):
            return end
        end = header.find(b"\n", end + 1)
    return len(header)
