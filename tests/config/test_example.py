"""The example file is current, loads as it stands, and loads to the same with every key switched on."""

from pathlib import Path

from preau.config.example import EXAMPLE, render_example
from preau.config.load import parse_settings


def test_the_example_is_current() -> None:
    """Else run `python -P -m preau.config.example`."""
    assert EXAMPLE.read_text(encoding="utf-8") == render_example()


def test_the_example_says_the_defaults(tmp_path: Path) -> None:
    text = render_example()
    switched_on = "\n".join(
        line.removeprefix("#") if line.startswith("#") and line[1:2].isalpha() and not line.endswith("=") else line
        for line in text.splitlines()
    )
    assert switched_on != text
    file = tmp_path / "preau.toml"
    assert parse_settings(text.encode(), file) == parse_settings(switched_on.encode(), file)
