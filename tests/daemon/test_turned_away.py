import logging

import pytest

from preau.daemon.log import logger
from preau.daemon.turned_away import TurnedAway


def test_a_crowd_is_a_line_a_second_and_none_is_left_out_of_the_count(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    turned_away = TurnedAway(logger("turned"), lambda: now)
    with caplog.at_level(logging.WARNING, "preau.turned"):
        for number in range(1_000):
            turned_away.note(f"192.0.2.{number % 250}", 100)
        assert len(caplog.records) == 10
        now = 1.0
        turned_away.note("198.51.100.1", 99)
        turned_away.note("198.51.100.2", 99)
    assert len(caplog.records) == 11
    fields = vars(caplog.records[-1])
    assert "990" in str(fields)
    assert "198.51.100.1" in str(fields)
