from dataclasses import replace

import pytest

from preau.smtp.outcome import Outcome, Verdict, deferred, failed, postponed
from preau.smtp.queue_rules import members_of, step
from preau.smtp.queue_store import Queued, State
from preau.smtp.schedule import DAY, HOUR, Schedule
from preau.smtp.spool import SpoolRecipient

BOB = Queued(1, "m", "bob@x", frozenset(), "", False, State.WAITING, 0, 0, False, 0, "", "", "", "")
LATER = deferred("4.7.1", "451 later", "mx")


@pytest.mark.parametrize(
    ("outcome", "state", "kind"),
    [
        (Outcome(Verdict.DELIVERED, "2.0.0", "ok"), State.DONE, "success"),
        (Outcome(Verdict.RELAYED, "2.0.0", "ok", "mx"), State.DONE, "success"),
        (Outcome(Verdict.EXPANDED, "2.0.0", "ok"), State.DONE, "success"),
        (Outcome(Verdict.PASSED, "2.0.0", "ok", "mx"), State.DONE, ""),
        (failed("5.1.1", "550 no", "mx"), State.FAILED, "failed"),
        (LATER, State.WAITING, ""),
        (postponed("away", 15), State.WAITING, ""),
    ],
)
def test_one_step(outcome: Outcome, state: State, kind: str) -> None:
    row, told = step(BOB, outcome, 0, 100, Schedule())
    assert (row.state, told) == (state, kind)
    assert row.attempts == (outcome.verdict is not Verdict.POSTPONED)
    assert (row.status, row.reply, row.host, row.tried_at) == (outcome.status, outcome.text, outcome.host, 100)
    if state is State.WAITING:
        assert row.next_try == 100 + (300 if outcome is LATER else 15)


@pytest.mark.parametrize("outcome", [LATER, postponed("away", 15)])
def test_late_is_told_once_and_over_is_over(outcome: Outcome) -> None:
    row, told = step(BOB, outcome, 0, 4 * HOUR, Schedule())
    assert (told, row.warned, row.verdict, row.state) == ("delayed", True, "deferred", State.WAITING)
    row, told = step(row, outcome, 0, 5 * HOUR, Schedule())
    assert told == ""
    row, told = step(row, outcome, 0, 5 * DAY - 4 * HOUR, Schedule())
    row, told = step(row, outcome, 0, 5 * DAY, Schedule())
    assert (told, row.state, row.status, row.verdict) == ("failed", State.FAILED, "5.4.7", "failed")
    assert row.reply == outcome.text


@pytest.mark.parametrize("jump", [365 * DAY, -365 * DAY])
@pytest.mark.parametrize("outcome", [LATER, postponed("away", 15)])
def test_nothing_is_given_up_because_the_clock_jumped(outcome: Outcome, jump: int) -> None:
    """Nor because the queue stood still: age counts when tries are as regular as ever."""
    begin = 400 * DAY
    row, _ = step(BOB, outcome, begin, begin + HOUR, Schedule())
    now = begin + 2 * HOUR + jump
    row, told = step(row, outcome, begin, now, Schedule())
    assert (row.state, told in ("", "delayed")) == (State.WAITING, True)
    assert now < row.next_try <= now + 4 * HOUR
    if jump > 0:
        assert step(row, outcome, begin, row.next_try, Schedule())[1] == "failed"


def test_a_message_that_waited_for_us_is_tried_before_it_is_given_up() -> None:
    delivered = Outcome(Verdict.DELIVERED, "2.0.0", "ok")
    assert step(BOB, delivered, 0, 50 * DAY, Schedule())[0].state is State.DONE


def test_replies_are_kept_short() -> None:
    assert len(step(BOB, failed("5.0.0", "x" * 100_000), 0, 1, Schedule())[0].reply) == 1_000


@pytest.mark.parametrize(
    ("notify", "addresses", "expected"),
    [
        pytest.param((), ["a@x", "b@x"], frozenset(), id="nothing said"),
        pytest.param(("SUCCESS",), ["a@x", "b@x"], frozenset({"NEVER"}), id="success to several"),
        pytest.param(("SUCCESS", "DELAY"), ["a@x", "b@x"], frozenset({"DELAY"}), id="success and delay"),
        pytest.param(("SUCCESS",), ["a@x"], frozenset({"SUCCESS"}), id="a single one"),
        pytest.param(("NEVER",), ["a@x", "b@x", "a@x"], frozenset({"NEVER"}), id="never, one twice"),
    ],
)
def test_members(notify: tuple[str, ...], addresses: list[str], expected: frozenset[str]) -> None:
    group = replace(BOB, address="staff@x", notify=frozenset(notify))
    wanted = [SpoolRecipient(each, expected, "rfc822;staff@x") for each in dict.fromkeys(addresses)]
    assert members_of(group, addresses) == wanted
    kept = members_of(replace(group, orcpt="rfc822;All@y", address="é@x"), ["a@x"])
    assert kept[0].orcpt == "rfc822;All@y"
    assert members_of(replace(group, address="é@x"), ["a@x"])[0].orcpt == "utf-8;é@x"
