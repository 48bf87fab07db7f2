"""How far back is asked."""

from datetime import datetime

import pytest

from preau.suite.outcome import Misused
from preau.suite.traces import parse_since

NOW = 1_764_000_000


@pytest.mark.parametrize(("text", "back"), [("7d", 604_800), ("12h", 43_200), ("30min", 1800), ("0d", 0)])
def test_so_long_ago(text: str, back: int) -> None:
    assert parse_since(text, NOW) == NOW - back


def test_a_date_is_local() -> None:
    assert parse_since("2026-11-25", NOW) == int(datetime(2026, 11, 25).astimezone().timestamp())
    assert parse_since("2026-11-25T07:42+01:00", NOW) == int(datetime.fromisoformat("2026-11-25T07:42+01:00").timestamp())


@pytest.mark.parametrize("text", ["", "yesterday", "7", "-7d", "7 d", "2026-13-01", "9999999d", "0000-00-00"])
def test_no_time(text: str) -> None:
    with pytest.raises(Misused):
        parse_since(text, NOW)
