"""Where each key of a TOML file stands: what `tomllib` does not tell.

Owns a light scan that only needs to be right for files that `tomllib` took. Pure.
"""

import re
from collections.abc import Mapping

_TABLE = re.compile(r'\s*\[\[?\s*([A-Za-z0-9_."-]+)\s*\]?\]\s*(?:#.*)?')
_KEY = re.compile(r'\s*([A-Za-z0-9_-]+|"[^"]*")\s*(?:\.[^=]*)?=')


def key_lines(text: str) -> Mapping[tuple[str, str], int]:
    """(section, key) -> line number from 1; a section itself is (section, "")."""
    lines: dict[tuple[str, str], int] = {}
    section = ""
    quote = ""  # inside a multi-line string: what ends it
    for number, line in enumerate(text.splitlines(), start=1):
        if quote:
            if quote in line:
                quote = ""
            continue
        if table := _TABLE.fullmatch(line):
            section = table[1].replace('"', "")
            lines.setdefault((section, ""), number)
        elif key := _KEY.match(line):
            lines.setdefault((section, key[1].strip('"')), number)
        for mark in ('"""', "'''"):
            if line.count(mark) % 2:
                quote = mark
    return lines
