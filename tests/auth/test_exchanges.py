"""Open SCRAM exchanges: one answer each, a minute, and never too many."""

from preau.auth.api import Attempt, Service
from preau.auth.exchanges import SECONDS, Exchanges, Opened
from preau.auth.scram import read_client_first


def opened(network: str = "192.0.2.0/24") -> Opened:
    attempt = Attempt(Service.IMAP, "marie", "", "192.0.2.7", True)
    return Opened(attempt, network, read_client_first(b"n,,n=marie,r=abc"), b"r=abcd")


def exchanges(*, limit: int = 10, of_network: int = 10) -> Exchanges:
    count = 0

    def random(size: int) -> bytes:
        nonlocal count
        count += 1
        return count.to_bytes(size, "big")

    return Exchanges(random, limit=limit, of_network=of_network)


def test_one_answer_each() -> None:
    table = exchanges()
    one = opened()
    name = table.open(one, 100)
    assert table.take("another", 100) is None
    assert table.take(name, 100) is one
    assert table.take(name, 100) is None
    assert len(table) == 0


def test_a_minute() -> None:
    table = exchanges()
    names = [table.open(opened(), now) for now in (100, 100, 100 + SECONDS)]
    assert table.take(names[0], 100 + SECONDS) is None
    assert len(table) == 1
    assert table.take(names[2], 100 + SECONDS) is not None


def test_a_clock_that_goes_back_ends_them() -> None:
    table = exchanges()
    name = table.open(opened(), 100)
    assert table.take(name, 50) is None


def test_a_network_pushes_out_its_own_oldest() -> None:
    table = exchanges(of_network=2)
    other = table.open(opened("198.51.100.0/24"), 100)
    names = [table.open(opened(), 100 + number) for number in range(4)]
    assert len(table) == 3
    assert [table.take(name, 104) is not None for name in names] == [False, False, True, True]
    assert table.take(other, 104) is not None


def test_all_together_push_out_the_oldest() -> None:
    table = exchanges(limit=3)
    names = [table.open(opened(f"net {number}"), 100) for number in range(5)]
    assert [table.take(name, 100) is not None for name in names] == [False, False, True, True, True]
    assert len(table) == 0
    assert not table._counts
