r"""MIME structure: a message to a tree of parts with offsets, sizes and line counts (RFC 2045, RFC 2046, RFC 5322).

Theory of operation. The scanner looks for two things only: the empty line that ends a header, and `\n--boundary` for each
multipart that is open. Both are found with bytes.find, and where each was last found is remembered, so an octet is looked
at once for each boundary that is open over it, at the speed of memchr, however the message comes in pieces. Open parts
stand on a stack; a boundary of one of them ends all parts above it. Nothing recurses.

Boundaries are compared with the beginning of a line (RFC 2046 section 5.1.1: a line need not match in full); where
several match, the longest wins, and among equal ones the innermost.

Offsets and lengths count octets of what was fed. CRLF and LF both end lines. Past a limit the rest is one opaque part.

Owns the shape of messages. Never decodes content, never fails, keeps no content but header blocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .content_fields import ContentFields, read_content_fields
from .headers import MAX_PARAMETERS, Parameters, find_parameter


@dataclass(frozen=True, slots=True)
class MimeLimits:
    """How much of a message's structure is looked at; what lies beyond is one opaque part."""

    parts: int = 1_000
    depth: int = 64  # parts within parts
    header: int = 262_144  # octets of one header block that are kept and parsed
    parameters: int = MAX_PARAMETERS  # of one field
    boundary: int = 250  # octets; RFC 2046 allows 70


DEFAULT_LIMITS = MimeLimits()


@dataclass(frozen=True, slots=True)
class Part:
    """One part. Field values are spelled as in the message, without comments; None where the field is not there.

    A message/rfc822 part has one child: the message in it, whose `header` is the header of that message.
    """

    offset: int  # of the header block
    body_offset: int
    length: int  # octets of the body
    lines: int  # line ends in the body
    header: bytes = field(repr=False)  # with its empty line; cut at MimeLimits.header
    type: bytes = b"text"
    subtype: bytes = b"plain"
    parameters: Parameters = ()
    encoding: bytes | None = None
    id: bytes | None = None
    description: bytes | None = None
    md5: bytes | None = None
    disposition: bytes | None = None
    disposition_parameters: Parameters = ()
    languages: tuple[bytes, ...] = ()
    location: bytes | None = None
    children: tuple["Part", ...] = ()
    opaque: bool = False  # not looked into because of a limit

    @property
    def media_type(self) -> bytes:
        """`type/subtype` in lower case."""
        return b"%b/%b" % (self.type.lower(), self.subtype.lower())

    @property
    def is_multipart(self) -> bool:
        """Whether the body is a series of parts."""
        return self.type.lower() == b"multipart" and not self.opaque

    @property
    def message(self) -> "Part | None":
        """The message within a message/rfc822 part."""
        return self.children[0] if self.children and self.type.lower() == b"message" else None

    def walk(self) -> Iterator["Part"]:
        """This part and all below it, in the order they stand in the message."""
        stack = [self]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.children))


class _Needle:
    """Where an octet string is next found; asked with rising positions it reads each octet once."""

    __slots__ = ("at", "looked", "octets")

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.at = -1  # offset of the last find
        self.looked = 0  # offset before which there is none after `at`

    def find(self, data: bytes | bytearray, base: int, position: int) -> int:
        """Offset of the first match at or after `position`, or -1. `data` begins at `base`."""
        if self.at >= position:
            return self.at
        start = position if position > self.looked else self.looked
        found = data.find(self.octets, start - base)
        if found >= 0:
            self.at = found + base
            return self.at
        looked = base + len(data) - len(self.octets) + 1
        self.looked = looked if looked > start else start
        return -1


class _Open:
    """A part whose end has not come yet."""

    __slots__ = (
        "body_offset",
        "body_start_lines",
        "children",
        "closing",
        "delimiter",
        "digest",
        "fields",
        "header",
        "offset",
        "opaque",
    )

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.header = b""
        self.body_offset = offset
        self.body_start_lines = 0
        self.fields: ContentFields = {}
        self.children: list[Part] = []
        self.delimiter: _Needle | None = None
        self.closing: bytes | tuple[bytes, bytes] = b"--"  # what behind the delimiter makes it the last
        self.digest = False  # its parts are messages unless they say otherwise
        self.opaque = False


_HEADER, _BODY, _DELIMITER_LINE = range(3)


class Scanner:
    """Feed it a message in any pieces, then close it to have the tree."""

    def __init__(self, limits: MimeLimits = DEFAULT_LIMITS) -> None:
        """Begin a message."""
        self._limits = limits
        self._data: bytes | bytearray = b"\n"  # what is not settled, after the line end before it
        # In here offsets count from that line end, so that all are positive; Part has those of the message.
        self._base = 0  # offset of _data[0]
        self._position = 1  # offset up to which all is settled
        self._lines = 0  # line ends before _position
        self._crlf = _Needle(b"\n\r\n")
        self._lf = _Needle(b"\n\n")
        self._newline = _Needle(b"\n")
        self._state = _HEADER
        self._kept = bytearray()  # header octets of the part being read that have left _data
        self._stack = [_Open(1)]
        self._count = 1
        self._root: Part | None = None

    def feed(self, data: bytes) -> None:
        """Take the next octets."""
        if isinstance(self._data, bytearray):
            self._data += data
        else:
            # The first piece is mostly the only one; bytes are searched in place, a bytearray when more comes.
            if self._data != b"\n":
                self._data = bytearray(self._data)
                self._data += data
            else:
                self._data = self._data + data
        self._run(final=False)

    def close(self) -> Part:
        """The message ends here. Give its tree."""
        if self._root is None:
            self._run(final=True)
            end = self._base + len(self._data)
            if self._state == _HEADER:
                self._settle(end)
                self._end_header(descend=False)
            elif self._state == _DELIMITER_LINE:
                self._settle(end)
                self._begin_part()
                self._end_header(descend=False)
            self._settle(end)
            self._finish(0)
            self._data = b""
        assert self._root is not None
        return self._root

    # -- the loop

    def _run(self, *, final: bool) -> None:
        while True:
            match self._state:
                case 0:
                    going = self._read_header(final)
                case 1:
                    going = self._read_body(final)
                case _:
                    going = self._skip_line()
            if not going:
                break
        if not final:
            self._let_go()

    def _read_header(self, final: bool) -> bool:
        data, base, position = self._data, self._base, self._position
        start = position - 1  # the line end before: a header may be empty
        crlf = self._crlf.find(data, base, start)
        # A bare pair matters only before the CRLF one; what lies behind it is looked at when its turn comes.
        bare = self._lf.find(data, base, start) if crlf < 0 else self._bare_before(crlf, start)
        end = bare + 2 if bare >= 0 else crlf + 3 if crlf >= 0 else -1
        if len(self._stack) > 1:
            at, level = self._find_delimiter(start)
            if at >= 0 and (end < 0 or at < end - 1):
                if not self._is_whole_delimiter(at, level, final):
                    return False
                self._settle(max(position, self._line_content_end(at, position)))
                self._end_header(descend=False)
                return True
        if end < 0:
            return False
        self._settle(end)
        self._end_header(descend=True)
        return True

    def _bare_before(self, crlf: int, start: int) -> int:
        needle = self._lf
        if needle.at >= start:
            return needle.at if needle.at < crlf else -1
        begin = max(start, needle.looked)
        if begin < crlf:
            found = self._data.find(b"\n\n", begin - self._base, crlf - self._base + 1)
            if found >= 0:
                needle.at = found + self._base
                return needle.at
            needle.looked = crlf
        return -1

    def _read_body(self, final: bool) -> bool:
        at, level = self._find_delimiter(self._position - 1)
        if at < 0 or not self._is_whole_delimiter(at, level, final):
            return False
        multipart = self._stack[level]
        needle = multipart.delimiter
        assert needle is not None
        self._settle(max(self._position, self._line_content_end(at, self._position)))
        self._finish(level + 1)
        after = at + len(needle.octets)
        self._settle(after)
        if self._data.startswith(multipart.closing, after - self._base):
            multipart.delimiter = None  # what follows is its epilogue
        else:
            self._state = _DELIMITER_LINE
        return True

    def _skip_line(self) -> bool:
        newline = self._newline.find(self._data, self._base, self._position)
        if newline < 0:
            return False
        self._settle(newline + 1)
        self._begin_part()
        return True

    # -- delimiters

    def _find_delimiter(self, start: int) -> tuple[int, int]:
        """(offset of the line end before it, level of its multipart) of the next delimiter at or after `start`, or -1."""
        data, base = self._data, self._base
        best, level, size = -1, -1, 0
        for index, part in enumerate(self._stack):
            needle = part.delimiter
            if needle is None:
                continue
            at = needle.at if needle.at >= start else needle.find(data, base, start)
            if at >= 0 and (best < 0 or at < best or (at == best and len(needle.octets) >= size)):
                best, level, size = at, index, len(needle.octets)
        return best, level

    def _is_whole_delimiter(self, at: int, level: int, final: bool) -> bool:
        """Whether enough came to tell which boundary it is and whether it is the last of its multipart."""
        return final or self._base + len(self._data) >= at + self._limits.boundary + 6 or self._line_is_there(at + 1)

    def _line_is_there(self, offset: int) -> bool:
        return self._data.find(b"\n", offset - self._base, offset - self._base + self._limits.boundary + 6) >= 0

    def _line_content_end(self, newline: int, floor: int) -> int:
        """Where the line ends whose LF is at `newline`: the line end before a delimiter belongs to the delimiter."""
        if newline - 1 >= floor and self._data[newline - 1 - self._base] == 0x0D:
            return newline - 1
        return newline

    # -- parts

    def _begin_part(self) -> None:
        part = _Open(self._position)
        self._stack.append(part)
        self._count += 1
        if self._count >= self._limits.parts:
            # The last one allowed: it takes all the rest of the message, unseen.
            part.opaque = True
            for above in self._stack:
                above.delimiter = None
            part.body_start_lines = self._lines
            self._state = _BODY
        else:
            self._state = _HEADER

    def _end_header(self, *, descend: bool) -> None:
        """The header of the innermost part ends at the present position: read it, and see what its body is."""
        part = self._stack[-1]
        part.header = bytes(self._kept)
        self._kept.clear()
        part.body_offset = self._position
        part.body_start_lines = self._lines
        fields = part.fields = read_content_fields(part.header, self._limits.parameters)
        self._state = _BODY
        kind = fields.get("type")
        if kind is None:
            if len(self._stack) < 2 or not self._stack[-2].digest:
                return
            # RFC 2046 section 5.1.5: the parts of a digest are messages by default.
            kind = fields["type"] = b"message"
            fields["subtype"] = b"rfc822"
        kind = kind.lower()
        if kind == b"multipart":
            self._open_multipart(part)
        elif kind == b"message" and fields["subtype"].lower() == b"rfc822":
            if len(self._stack) >= self._limits.depth or self._count >= self._limits.parts:
                part.opaque = True
                return
            self._stack.append(_Open(self._position))
            self._count += 1
            self._state = _HEADER
            if not descend:
                self._end_header(descend=False)

    def _open_multipart(self, part: _Open) -> None:
        declared = (find_parameter(part.fields["parameters"], b"boundary") or b"")[: self._limits.boundary]
        boundary = declared.rstrip(b" \t")  # RFC 2046 section 5.1.1: it does not end in a blank
        if not boundary:
            return
        if len(self._stack) >= self._limits.depth or self._count >= self._limits.parts:
            part.opaque = True
            return
        part.delimiter = _Needle(b"\n--" + boundary)
        if declared != boundary:
            part.closing = (b"--", declared[len(boundary) :] + b"--")
        part.digest = part.fields["subtype"].lower() == b"digest"

    def _finish(self, level: int) -> None:
        """End all open parts from the innermost down to `level` at the present position."""
        while len(self._stack) > level:
            part = self._stack.pop()
            made = Part(
                offset=part.offset - 1,
                body_offset=part.body_offset - 1,
                length=self._position - part.body_offset,
                lines=self._lines - part.body_start_lines,
                header=part.header,
                children=tuple(part.children),
                opaque=part.opaque,
                **part.fields,
            )
            if self._stack:
                self._stack[-1].children.append(made)
            else:
                self._root = made

    # -- moving on

    def _settle(self, offset: int) -> None:
        """Everything before `offset` is understood."""
        begin, end = self._position - self._base, offset - self._base
        if end <= begin:
            return
        self._lines += _line_ends(self._data[begin:end])
        if self._state == _HEADER:
            room = self._limits.header - len(self._kept)
            if room > 0:
                self._kept += self._data[begin : min(end, begin + room)]
        self._position = offset

    def _let_go(self) -> None:
        """Settle what no later octet can change, and forget it."""
        data, base = self._data, self._base
        last = data.rfind(b"\n", max(0, self._position - 1 - base))
        safe = base + len(data) - 1
        if last >= 0 and len(data) - last <= self._limits.boundary + 6:
            # A delimiter or empty line may begin at the last line end; its CR may belong to it.
            safe = base + last - 1
        if safe > self._position:
            self._settle(safe)
        keep = self._position - 2 - base
        if keep > 0:
            if isinstance(data, bytearray):
                del data[:keep]
            else:
                self._data = bytearray(data[keep:])
            self._base += keep


def _line_ends(data: bytes | bytearray) -> int:
    # Two to three times as fast as count(), which looks at each octet; this one leaps from one to the next.
    return len(data) - len(data.replace(b"\n", b""))


def scan(message: bytes, limits: MimeLimits = DEFAULT_LIMITS) -> Part:
    """The tree of a whole message."""
    scanner = Scanner(limits)
    scanner.feed(message)
    return scanner.close()
