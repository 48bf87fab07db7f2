"""Those who have signed in before strangers, and strangers by turns."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from selectors import EVENT_READ

import pytest

from preau.daemon.limits import ConnectionCaps
from preau.daemon.turns import STRANGERS, FairLoop, FairSelector, after_others

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def selector() -> Iterator[FairSelector]:
    with FairSelector() as made:
        yield made


@contextlib.contextmanager
def connections(many: int) -> Iterator[list[Pair]]:
    pairs = [socket.socketpair() for _ in range(many)]
    try:
        yield pairs
    finally:
        for ours, theirs in pairs:
            ours.close()
            theirs.close()


def served(selector: FairSelector) -> list[int]:
    return [key.fd for key, _ in selector.select(0)]


def test_a_crowd_of_strangers_is_served_by_turns_after_the_others(selector: FairSelector) -> None:
    with connections(3 * STRANGERS) as crowd, connections(5) as people:
        for ours, theirs in (*crowd, *people):
            selector.register(ours, EVENT_READ)
            theirs.send(b"x")
        for ours, _ in crowd:
            selector.mark(ours.fileno())
        known, strangers = {ours.fileno() for ours, _ in people}, {ours.fileno() for ours, _ in crowd}
        seen: set[int] = set()
        for _ in range(3):  # nobody reads what came: all are ready each time
            turn = served(selector)
            assert set(turn[:5]) == known
            assert len(turn) == 5 + STRANGERS
            assert not seen & set(turn[5:])
            seen |= set(turn[5:])
        assert seen == strangers
        assert set(served(selector)[5:]) <= strangers  # and so on, from the first


def test_who_was_left_and_has_gone_is_forgotten(selector: FairSelector) -> None:
    with connections(2 * STRANGERS) as crowd:
        for ours, theirs in crowd:
            selector.register(ours, EVENT_READ)
            selector.mark(ours.fileno())
            theirs.send(b"x")
        first = set(served(selector))
        for ours, _ in crowd:
            if ours.fileno() not in first:
                selector.unregister(ours)
        assert set(served(selector)) == first


def test_few_strangers_wait_for_nobody(selector: FairSelector) -> None:
    with connections(STRANGERS) as crowd, connections(5) as people:
        for ours, theirs in (*crowd, *people):
            selector.register(ours, EVENT_READ)
            theirs.send(b"x")
        for ours, _ in crowd:
            selector.mark(ours.fileno())
        assert len(served(selector)) == STRANGERS + 5


def test_a_number_that_is_another_connections_by_now_stays_marked(selector: FairSelector) -> None:
    first, second = selector.mark(7), selector.mark(7)
    selector.unmark(7, first)
    assert 7 in selector._strangers
    selector.unmark(7, second)
    assert not selector._strangers


class Named(asyncio.BaseTransport):
    """A transport that has a socket, and no more."""

    def __init__(self, of: socket.socket | None) -> None:
        super().__init__({"socket": of})


def test_a_connection_is_a_strangers_until_its_slot_knows_better() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, FairLoop)
        caps = ConnectionCaps(9, per_address=9)
        with connections(2) as ((one, _), (other, _)):
            for end in ("authenticated", "release"):
                slot = caps.admit("192.0.2.1")
                assert slot is not None
                after_others(Named(one), slot)
                assert list(loop.turns._strangers) == [one.fileno()]
                getattr(slot, end)()
                slot.release()
                assert not loop.turns._strangers
            exempt = caps.admit("127.0.0.1", exempt=True)
            assert exempt is not None
            after_others(Named(other), exempt)
            assert not loop.turns._strangers

    with asyncio.Runner(loop_factory=FairLoop) as runner:
        runner.run(test())
