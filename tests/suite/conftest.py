"""Free blocks of ports for instances of the suite's tests."""

from collections.abc import Callable

import pytest

import ports


@pytest.fixture
def free_base() -> Callable[[], int]:
    """A function that gives an N for --ports-from, another one at each call."""
    return ports.free_base


@pytest.fixture(scope="module")
def module_base() -> int:
    """One for a whole module."""
    return ports.free_base()
