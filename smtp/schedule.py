"""When a message is tried again, when its sender is warned, when it is given up (RFC 5321 section 4.5.4.1).

Owns the arithmetic of the queue: pure, the time comes in. No jitter: who waits can be told exactly until when.

After the nth failed try the nth step is waited, the last one again and again: by default 5, 15 and 30 minutes, 1 hour,
2 hours, then every 4 hours for 5 days. A greylisting host is passed within the first half hour; a host that is down over a
weekend loses nothing. Nor does a clock that jumps ahead: nothing is given up at the first try after a long time.
"""

from dataclasses import dataclass

MINUTE, HOUR, DAY = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Schedule:
    """`steps`: seconds between tries.  `warn_after` (0: never), `give_up_after`: seconds since the message came in."""

    steps: tuple[int, ...] = (5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR)
    warn_after: int = 4 * HOUR
    give_up_after: int = 5 * DAY

    def __post_init__(self) -> None:
        """Raise ValueError for a schedule that would turn on the spot or never end."""
        if not self.steps or min(self.steps) < 1 or self.give_up_after < 1 or self.warn_after < 0:
            raise ValueError("a schedule needs steps of a second or more, and an end")

    def next_try(self, received: int, attempts: int, now: int, *, warned: bool) -> int:
        """When to try again after `attempts` tries, the last one now.

        Never past the moment at which the sender is to be warned or the message given up: it is tried once more then, so
        that what the sender is told is fresh.
        """
        at = now + self.steps[min(max(attempts, 1), len(self.steps)) - 1]
        marks = [received + self.give_up_after]
        if self.warn_after and not warned:
            marks.append(received + self.warn_after)
        return min([at, *(mark for mark in marks if mark > now)])

    def is_over(self, received: int, now: int) -> bool:
        """Whether the message is given up."""
        return now >= received + self.give_up_after

    @property
    def furthest(self) -> int:
        """Seconds from now that no next try is beyond, unless the clock was ahead that set it."""
        return max(HOUR, 2 * max(self.steps))

    def is_regular(self, tried_at: int, now: int) -> bool:
        """Whether tries are as regular as ever. Else the clock jumped, or the queue stood still, and age tells nothing."""
        return abs(now - tried_at) <= self.furthest

    def is_late(self, received: int, now: int) -> bool:
        """Whether the sender is to hear that the message is still waiting."""
        return self.warn_after > 0 and now >= received + self.warn_after
