"""A world with two kinds of collections."""

from collections.abc import Iterator

import pytest

from dav_plugin import PLUGINS
from dav_world import World, dav_world


@pytest.fixture
def world() -> Iterator[World]:
    """An application with Ana's account."""
    with dav_world(PLUGINS) as one:
        yield one
