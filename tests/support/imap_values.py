"""Parenthesised IMAP data read back into lists, strictly: what a client makes of an answer."""

import re

_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00\x80-\xff]|\\["\\])*)"')
_LITERAL = re.compile(rb"\{([0-9]+)\}\r\n")
_ATOM = re.compile(rb"NIL|[0-9]+")


def parse_values(data: bytes) -> list[object]:
    """Lists, bytes of strings, None for NIL, and numbers. Raise ValueError for what is no IMAP data."""
    stack: list[list[object]] = [[]]
    position = 0
    while position < len(data):
        octet = data[position : position + 1]
        if octet == b"(":
            stack.append([])
            position += 1
        elif octet == b")":
            done = stack.pop()
            stack[-1].append(done)
            position += 1
        elif octet == b" ":
            if data[position + 1 : position + 2] in (b" ", b")", b""):
                raise ValueError(f"a blank too many at {position}")
            position += 1
        elif quoted := _QUOTED.match(data, position):
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
            position = quoted.end()
        elif literal := _LITERAL.match(data, position):
            end = literal.end() + int(literal[1])
            content = data[literal.end() : end]
            if b"\0" in content or len(content) != int(literal[1]):
                raise ValueError(f"no literal at {position}")
            stack[-1].append(content)
            position = end
        elif atom := _ATOM.match(data, position):
            stack[-1].append(None if atom[0] == b"NIL" else int(atom[0]))
            position = atom.end()
        else:
            raise ValueError(f"no IMAP data at {position}: {data[position : position + 20]!r}")
    if len(stack) != 1:
        raise ValueError("a parenthesis is open")
    return stack[0]
