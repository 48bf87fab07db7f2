"""A world with address books."""

from collections.abc import Iterator

import pytest

from dav_plugin import PLUGINS
from dav_world import World, dav_world
from preau.carddav.plugin import AddressBooks


@pytest.fixture
def world() -> Iterator[World]:
    """An application with Ana's account and real address books."""
    with dav_world((PLUGINS[0], AddressBooks())) as one:
        yield one
