"""What a try's outcome makes of a recipient: pure (RFC 5321 section 4.5.4, RFC 3461 section 5.2.7).

Owns the step from (row, outcome, time) to the next row and to what its sender is to hear; and what stands in for a group.
"""

from collections.abc import Sequence
from dataclasses import replace

from .outcome import Outcome, Verdict
from .queue_store import Queued, State
from .schedule import Schedule
from .spool import SpoolRecipient


def step(one: Queued, outcome: Outcome, received: int, now: int, schedule: Schedule) -> tuple[Queued, str]:
    """(the row as it is now, kind of notice: failed, delayed, success or "")."""
    tried = replace(
        one,
        verdict=outcome.verdict.value,
        status=outcome.status,
        reply=outcome.text[:1_000],
        host=outcome.host,
        tried_at=now,
        attempts=one.attempts + (outcome.verdict is not Verdict.POSTPONED),
    )
    match outcome.verdict:
        case Verdict.DELIVERED | Verdict.RELAYED | Verdict.EXPANDED:
            return replace(tried, state=State.DONE), "success"
        case Verdict.PASSED:
            return replace(tried, state=State.DONE), ""
        case Verdict.FAILED:
            return replace(tried, state=State.FAILED), "failed"
        case Verdict.DEFERRED | Verdict.POSTPONED:
            return _again(tried, outcome, received, now, schedule, regular=schedule.is_regular(one.tried_at, now))


def _again(one: Queued, outcome: Outcome, received: int, now: int, schedule: Schedule, *, regular: bool) -> tuple[Queued, str]:
    if regular and schedule.is_over(received, now):
        # RFC 3463 section 3.5: delivery time expired. What was said last stands beside it.
        return replace(one, state=State.FAILED, verdict=Verdict.FAILED.value, status="5.4.7"), "failed"
    late = not one.warned and schedule.is_late(received, now)
    one = replace(one, verdict=Verdict.DEFERRED.value, warned=one.warned or late)
    if outcome.verdict is Verdict.POSTPONED:
        end = received + schedule.give_up_after
        at = min([now + max(outcome.after, 1), *([end] if end > now else [])])
    else:
        at = schedule.next_try(received, one.attempts, now, warned=one.warned)
    return replace(one, next_try=at), "delayed" if late else ""


def members_of(group: Queued, addresses: Sequence[str]) -> list[SpoolRecipient]:
    """The recipients that stand in for an address that leads to others.

    To a single one the wishes of the sender go along as they are (RFC 3461 section 5.2.7.2), and nothing is reported for
    the address itself; to several without SUCCESS, which is answered here by "expanded" (5.2.7.3 c).
    """
    notify = group.notify
    if len(addresses) > 1 and "SUCCESS" in notify:
        notify = notify - {"SUCCESS"} or frozenset({"NEVER"})
    orcpt = group.orcpt or f"{'rfc822' if group.address.isascii() else 'utf-8'};{group.address}"
    return [SpoolRecipient(address, notify, orcpt) for address in dict.fromkeys(addresses)]
