import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.smtp.schedule import DAY, HOUR, MINUTE, Schedule


def tries(schedule: Schedule) -> list[int]:
    """When a message that came in at 0 is tried, if every try fails."""
    at, attempts, warned, times = 0, 0, False, []
    while True:
        times.append(at)
        attempts += 1
        if schedule.is_over(0, at):
            return times
        warned = warned or schedule.is_late(0, at)
        at = schedule.next_try(0, attempts, at, warned=warned)


def test_the_schedule_of_a_host_that_is_down() -> None:
    times = tries(Schedule())
    assert times[:8] == [0, 5 * MINUTE, 20 * MINUTE, 50 * MINUTE, 110 * MINUTE, 230 * MINUTE, 4 * HOUR, 8 * HOUR]
    assert times[-2:] == [116 * HOUR, 5 * DAY] or times[-1] == 5 * DAY
    assert len(times) < 45


@pytest.mark.parametrize(
    ("steps", "warn", "over"),
    [
        pytest.param((), 1, 1, id="no steps"),
        pytest.param((0,), 1, 1, id="on the spot"),
        pytest.param((60,), 1, 0, id="over at once"),
        pytest.param((60,), -1, 1, id="warned before it came"),
    ],
)
def test_schedules_that_are_none(steps: tuple[int, ...], warn: int, over: int) -> None:
    with pytest.raises(ValueError, match="schedule"):
        Schedule(steps, warn, over)


@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(0, 10**6), st.booleans())
def test_the_next_try_is_later_and_within_a_step(received: int, attempts: int, later: int, warned: bool) -> None:
    now = received + later
    at = Schedule().next_try(received, attempts, now, warned=warned)
    assert now < at <= now + 4 * HOUR
