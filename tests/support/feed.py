"""One way to feed a parser: whole, byte by byte, and with bytes behind it that are not its own."""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Incremental(Protocol[T]):
    """A parser that is fed pieces and gives what they completed."""

    def receive(self, data: bytes) -> list[T]:
        """Take `data`, give the values it completed."""
        ...


def three_ways(make: Callable[[], Incremental[T]], data: bytes, expected: list[T], trailing: bytes = b"\x00\xff(") -> None:
    """Assert that `data` gives `expected` whole, byte by byte, and when `trailing` follows in the same piece."""
    assert make().receive(data) == expected
    parser = make()
    assert [value for i in range(len(data)) for value in parser.receive(data[i : i + 1])] == expected
    assert make().receive(data + trailing)[: len(expected)] == expected
