"""Sizes and durations as people write them."""

import pytest

from preau.config.units import parse_duration, parse_size


@pytest.mark.parametrize(("text", "octets"), [("50 MiB", 52_428_800), ("20kB", 20_000), ("1 b", 1), (" 2 GiB ", 2 << 30)])
def test_parse_size(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize(("text", "seconds"), [("10 min", 600), ("30s", 30), ("2 h", 7200), ("30 d", 2_592_000)])
def test_parse_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "MiB", "-1 MiB", "1.5 MiB", "1 MiB MiB", "9999999999999999 b", "1 year"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="not a number with a unit"):
        parse_size(text)
    with pytest.raises(ValueError, match="not a number with a unit"):
        parse_duration(text)
