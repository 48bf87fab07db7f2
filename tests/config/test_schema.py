"""Every key says what it means, and its default is one the loader would take."""

import pytest

from preau.config.key import KeyInfo, keys_of
from preau.config.load import sections

KEYS = [info for name, cls in sections().items() for info in keys_of(name, cls)]


@pytest.mark.parametrize("info", KEYS, ids=lambda info: f"{info.section}.{info.name}")
def test_a_key_has_one_line_of_meaning(info: KeyInfo) -> None:
    assert info.meaning
    assert "\n" not in info.meaning
    assert len(info.meaning) < 110


def test_a_name_belongs_to_one_idea() -> None:
    names = [(info.section, info.name) for info in KEYS]
    assert len(names) == len(set(names))
