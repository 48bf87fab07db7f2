"""Content lines and the components they make: iCalendar and vCard alike (RFC 5545 section 3.1, RFC 6350 section 3.2, RFC 6868).

Owns unfolding, names, parameters, BEGIN and END, escapes of text, and the way back. What was written is kept: a line holds its
unfolded text, which is what `render` writes again. Never knows what a property means.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple


class InvalidContent(ValueError):
    """These octets are no content lines; the text says where (physical line, counted from 1) and why."""


class Parameter(NamedTuple):
    """`;NAME=value,value`: the name in upper case, values without quotes and with ^n, ^' and ^^ decoded (RFC 6868)."""

    name: str
    values: tuple[str, ...]


class Line(NamedTuple):
    """One content line. `value` is as written, escapes and all; `raw`, when not empty, is the whole unfolded line."""

    name: str
    value: str
    parameters: tuple[Parameter, ...] = ()
    group: str = ""
    raw: str = ""

    def parameter(self, name: str) -> str | None:
        """The first value of this parameter (name in upper case), None when it is not there."""
        for found, values in self.parameters:
            if found == name:
                return values[0] if values else ""
        return None


@dataclass(slots=True)
class Component:
    """What stands between BEGIN and END: lines and inner components, each in the order written."""

    name: str
    lines: list[Line] = field(default_factory=list)
    components: list["Component"] = field(default_factory=list)

    def line(self, name: str) -> Line | None:
        """The first line of this name."""
        for line in self.lines:
            if line[0] == name:
                return line
        return None

    def all(self, name: str) -> list[Line]:
        """Every line of this name."""
        return [line for line in self.lines if line[0] == name]

    def named(self, name: str) -> list["Component"]:
        """The inner components of this name."""
        return [component for component in self.components if component.name == name]


@dataclass(frozen=True, slots=True)
class ContentLimits:
    """Bounds of one text: unfolded lines, nesting, components, octets of an unfolded line (photos are long)."""

    lines: int = 200_000
    depth: int = 8
    components: int = 20_000
    line_octets: int = 10 * 1024 * 1024


DEFAULT_LIMITS = ContentLimits()

# contentline = [group "."] name *(";" param) ":" value;  param = name ["=" value *("," value)]
# A parameter without "=" is vCard 2.1's (TEL;WORK:), quotes in the midst of a value are old Outlook's (CN=A "B" C).
# Everything is possessive: no text makes this go back.
_PART = r'(?:[^";:,]++|"[^"]*+")*+'
_HEAD = re.compile(
    r"(?:(?P<group>[A-Za-z0-9_-]++)\.)?(?P<name>[A-Za-z0-9_-]++)"
    rf"(?P<parameters>(?:;[ ]*+[A-Za-z0-9_-]++(?:[ ]*+={_PART}(?:,{_PART})*+)?+)*+);?:"
)
_PARAMETER = re.compile(rf";[ ]*+([A-Za-z0-9_-]++)(?:[ ]*+(={_PART}(?:,{_PART})*+))?+")
_VALUE = re.compile(rf"[=,]({_PART})")
_CARETS = re.compile(r"\^([n'^])")
_CARET_OF = {"n": "\n", "'": '"', "^": "^"}
_ESCAPES = re.compile(r'\\([\\;,:nN"])')
_QUOTED = re.compile('[,;:"\\s]')
_CACHED_HEAD = 160


def parse_components(data: bytes, limits: ContentLimits = DEFAULT_LIMITS) -> list[Component]:
    """The outermost components of a text: UTF-8 (a BOM is skipped), CRLF or LF, folded or not, empty lines skipped.

    Raises InvalidContent for anything else: bad UTF-8, NUL, lines outside of components, BEGIN without END, past the limits.
    """
    # Unfolded before it is decoded: some writers fold in the midst of a character (RFC 5545 section 3.1).
    unfolded = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\n ", b"").replace(b"\n\t", b"")
    if b"\0" in unfolded:
        raise InvalidContent(f"line {data.count(10, 0, data.index(0)) + 1}: a NUL octet")
    if unfolded.count(b"\n") > limits.lines:
        raise InvalidContent(f"more than {limits.lines} lines")
    try:
        text = unfolded.decode()
    except UnicodeDecodeError as error:
        raise _invalid(data, unfolded.count(b"\n", 0, error.start), "not UTF-8") from None
    return _build(text.split("\n"), data, limits)


def _build(lines: list[str], data: bytes, limits: ContentLimits) -> list[Component]:
    found: list[Component] = []
    above: list[Component] = []
    current: Component | None = None
    count = 0
    for number, raw in enumerate(lines):
        if not raw or not raw.strip():
            continue
        # A character has at most four octets: the exact count is taken only where it could matter.
        if len(raw) * 4 > limits.line_octets and len(raw.encode()) > limits.line_octets:
            raise _invalid(data, number, f"longer than {limits.line_octets} octets")
        head, colon, value = raw.partition(":")
        if '"' in head or len(head) > _CACHED_HEAD or not colon:
            line = _parse_long(raw)
            if line is None:
                raise _invalid(data, number, "not a name, parameters, a colon and a value")
        else:
            parsed = _parse_head(head)
            if parsed is None:
                raise _invalid(data, number, "not a name, parameters, a colon and a value")
            line = Line(parsed[0], value, parsed[1], parsed[2], raw)
        name = line[0]
        if name == "BEGIN":
            count += 1
            if len(above) + (current is not None) >= limits.depth:
                raise _invalid(data, number, f"components nested deeper than {limits.depth}")
            if count > limits.components:
                raise _invalid(data, number, f"more than {limits.components} components")
            inner = Component(line[1].strip().upper(), [], [])
            if current is None:
                found.append(inner)
            else:
                current.components.append(inner)
                above.append(current)
            current = inner
        elif current is None:
            raise _invalid(data, number, f"{name[:40]} outside of BEGIN and END")
        elif name == "END":
            if line[1].strip().upper() != current.name:
                raise _invalid(data, number, f"END:{line[1].strip()[:40]} where END:{current.name[:40]} is due")
            current = above.pop() if above else None
        else:
            current.lines.append(line)
    if current is not None:
        raise _invalid(data, len(lines) - 1, f"END:{current.name[:40]} is missing")
    return found


def _invalid(data: bytes, number: int, why: str) -> InvalidContent:
    """The error at an unfolded line, with the line an editor shows."""
    starts = -1
    for physical, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        starts += physical == 1 or not line.startswith((b" ", b"\t"))
        if starts == number:
            return InvalidContent(f"line {physical}: {why}")
    return InvalidContent(f"line {number + 1}: {why}")


@lru_cache(maxsize=2048)
def _parse_head(head: str) -> tuple[str, tuple[Parameter, ...], str] | None:
    """Name, parameters and group of a head without quotes; heads repeat, so they are remembered."""
    found = _HEAD.fullmatch(head + ":")
    return (found["name"].upper(), _parameters(found["parameters"]), found["group"] or "") if found else None


def _parse_long(raw: str) -> Line | None:
    found = _HEAD.match(raw)
    if found is None:
        return None
    return Line(found["name"].upper(), raw[found.end() :], _parameters(found["parameters"]), found["group"] or "", raw)


def _parameters(text: str) -> tuple[Parameter, ...]:
    if not text:
        return ()
    return tuple(
        Parameter(name.upper(), tuple(_decode(value) for value in _VALUE.findall(values)) if values else ())
        for name, values in _PARAMETER.findall(text)
    )


def _decode(value: str) -> str:
    if '"' in value:
        # Quotes around a value go; those in its midst stay what the writer meant them to be.
        value = value[1:-1] if value[0] == value[-1] == '"' and value.count('"') == 2 else value
    return _CARETS.sub(lambda found: _CARET_OF[found[1]], value) if "^" in value else value


def render(component: Component) -> str:
    """The component as text: CRLF, folded at 75 octets, lines that came from a text as they were written there."""
    return "".join(_render_lines(component))


def _render_lines(component: Component) -> Iterator[str]:
    yield f"BEGIN:{component.name}\r\n"
    for line in component.lines:
        raw = line[4] or render_line(line)
        yield f"{raw}\r\n" if len(raw) <= 75 and raw.isascii() else fold(raw)
    for inner in component.components:
        yield from _render_lines(inner)
    yield f"END:{component.name}\r\n"


def render_line(line: Line) -> str:
    """The unfolded line, from its parts; `raw` is not looked at."""
    parameters = "".join(
        f";{name}={','.join(_encode(value) for value in values)}" if values else f";{name}" for name, values in line.parameters
    )
    return f"{line.group}.{line.name}{parameters}:{line.value}" if line.group else f"{line.name}{parameters}:{line.value}"


def _encode(value: str) -> str:
    value = value.replace("^", "^^").replace("\n", "^n").replace('"', "^'")
    return f'"{value}"' if _QUOTED.search(value) else value


def fold(line: str) -> str:
    """The line with CRLF, broken before the 76th octet and never inside a character."""
    octets = line.encode()
    pieces: list[bytes] = []
    start, room = 0, 75
    while len(octets) - start > room:
        end = start + room
        while octets[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(octets[start:end])
        start, room = end, 74
    pieces.append(octets[start:])
    return b"\r\n ".join(pieces).decode() + "\r\n"


def unescape(value: str) -> str:
    r"""The text that a TEXT value stands for: \\ \; \, \n \N, and \: and \" of writers that escape too much."""
    if "\\" not in value:
        return value
    return _ESCAPES.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)


def escape(value: str) -> str:
    """A TEXT value for this text (RFC 5545 section 3.3.11)."""
    value = value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    return value.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")


def split_list(value: str, separator: str = ",") -> list[str]:
    """The items of a list value, still escaped; a separator behind a backslash does not separate."""
    if "\\" not in value:
        return value.split(separator)
    items: list[str] = []
    start = at = 0
    while at < len(value):
        if value[at] == "\\":
            at += 2
            continue
        if value[at] == separator:
            items.append(value[start:at])
            start = at + 1
        at += 1
    items.append(value[start:])
    return items
