import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.daemon.limits import ConnectionCaps, TokenBuckets, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_one_subscriber_is_one_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_bucket_empties_and_fills() -> None:
    buckets = TokenBuckets(2.0, 3.0)
    assert [buckets.take("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.5) == 0.0
    assert buckets.take("a", 0.5) == 0.5
    buckets.refund("a")
    assert buckets.take("a", 0.5) == 0.0
    assert buckets.take("a", 100.0, 3.0) == 0.0
    assert buckets.take("a", 99.0) == 0.5  # a clock that steps back gives nothing
    buckets.refund("unknown")


def test_the_map_is_bounded_and_the_busiest_stay() -> None:
    buckets = TokenBuckets(1.0, 1.0, max_keys=3)
    assert buckets.take("busy", 0.0) == 0.0
    for n in range(100):
        buckets.take(str(n), 0.0)
        assert buckets.take("busy", 0.0) > 0
    assert len(buckets) == 3


@pytest.mark.parametrize(("rate", "burst", "keys"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_bounds_must_be_positive(rate: float, burst: float, keys: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        TokenBuckets(rate, burst, max_keys=keys)


@given(st.lists(st.floats(0, 10), max_size=60))
@settings(max_examples=50)
def test_never_more_than_burst_and_rate_allow(steps: list[float]) -> None:
    buckets, now, taken = TokenBuckets(1.5, 4.0), 0.0, 0
    for step in steps:
        now += step
        taken += buckets.take("a", now) == 0.0
    assert taken <= 4.0 + 1.5 * now + 1e-6


def test_caps_count_the_unauthenticated_of_a_network() -> None:
    caps = ConnectionCaps(10, per_address=2)
    first, second = caps.admit("2001:db8::1"), caps.admit("2001:db8::2")
    assert first is not None
    assert second is not None
    assert caps.admit("2001:db8::3") is None
    assert caps.admit("192.0.2.1") is not None
    first.authenticated()
    first.authenticated()
    assert caps.admit("2001:db8::3") is not None
    assert caps.admit("2001:db8::3") is None
    second.release()
    second.release()
    assert caps.admit("2001:db8::3") is not None
    first.release()
    assert (caps.connections, caps.unauthenticated) == (3, 3)


def test_the_first_that_gives_way_makes_room() -> None:
    caps = ConnectionCaps(10, per_address=3)
    slots = [caps.admit("192.0.2.1") for _ in range(3)]
    asked: list[int] = []

    def answer(number: int, *, says: bool) -> bool:
        asked.append(number)
        return says

    for number, slot in enumerate(slots):
        assert slot is not None
        slot.gives_way = functools.partial(answer, number, says=number == 1)
    assert caps.admit("192.0.2.1") is not None
    assert asked == [0, 1]
    assert (caps.connections, caps.unauthenticated) == (4, 3)
    gone = slots[1]
    assert gone is not None
    gone.release()
    assert (caps.connections, caps.unauthenticated) == (3, 3)
    asked.clear()
    assert caps.admit("192.0.2.1") is None
    assert asked == [0, 2]  # the newest never says


def test_where_all_places_are_taken_the_network_with_most_makes_room() -> None:
    caps = ConnectionCaps(6, per_address=9)
    asked: list[str] = []

    def answer(network: str) -> bool:
        asked.append(network)
        return True

    for network in ("a", "b", "c", "b", "c", "b"):
        slot = caps.admit(network)
        assert slot is not None
        slot.gives_way = functools.partial(answer, network)
    new = caps.admit("d")
    assert (asked, new is not None) == (["b"], True)
    assert caps.admit("d", exempt=True) is not None
    assert asked in (["b", "b"], ["b", "c"])


def test_caps_in_all() -> None:
    caps = ConnectionCaps(3, per_address=9, unauthenticated=1)
    assert caps.admit("a") is not None
    assert caps.admit("b") is None
    assert caps.admit("b", exempt=True) is not None
    slot = caps.admit("b", exempt=True)
    assert slot is not None
    assert caps.admit("c", exempt=True) is None
    slot.authenticated()
    slot.release()
    assert (caps.connections, caps.unauthenticated) == (2, 1)
