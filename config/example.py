"""The example file, made from the schema so that it cannot lie: `python -m preau.config.example` writes it anew.

Owns the layout of preau.example.toml; every key stands there commented out, with its default.
"""

import dataclasses
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .key import KeyInfo, Unit, keys_of
from .load import sections

_HEADER = """\
# Préau: every setting, with its default. Generated from the schema; `preau check` tells all that is wrong in a file.
# Relative paths start at this file's folder. Octets may be written "50 MiB", seconds "10 min".
"""
EXAMPLE = Path(__file__).with_name("preau.example.toml")


def render_example() -> str:
    """The whole file."""
    blocks = [_HEADER]
    for name, cls in sections().items():
        lines = [*(f"# {line}" for line in textwrap.wrap(cls.__doc__ or "", 110)), f"[{name}]"]
        for info in keys_of(name, cls):
            lines += [f"# {_describe(info)}", _assignment(info)]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _describe(info: KeyInfo) -> str:
    notes = []
    if info.unit is not Unit.NONE:
        notes.append(info.unit.value)
    if info.choices:
        notes.append(" | ".join(info.choices))
    if info.minimum:
        notes.append(f"at least {info.minimum}")
    if info.maximum is not None:
        notes.append(f"at most {info.maximum}")
    return info.meaning + (f" ({', '.join(notes)})" if notes else "")


def _assignment(info: KeyInfo) -> str:
    if info.required:
        return f'{info.name} = "example.org"'
    if info.default is None:
        return f"#{info.name} ="
    return f"#{info.name} = {render_value(info.default)}"


def render_value(value: Any) -> str:
    """A value as TOML."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:_}" if isinstance(value, int) and value >= 10_000 else str(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
            return "{ " + ", ".join(f"{name} = {render_value(each)}" for name, each in fields.items() if each) + " }"
        case Mapping():
            pairs = [f"{render_value(name)} = {render_value(each)}" for name, each in value.items()]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case tuple() | list():
            return f"[{', '.join(map(render_value, value))}]"
        case _:
            escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'


if __name__ == "__main__":
    EXAMPLE.write_text(render_example(), encoding="utf-8")
