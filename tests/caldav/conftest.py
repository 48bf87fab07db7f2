"""A world with calendars."""

from collections.abc import Iterator

import pytest

from dav_plugin import PLUGINS
from dav_world import World, dav_world
from preau.caldav.plugin import Calendars


@pytest.fixture
def world() -> Iterator[World]:
    """An application with Ana's account and real calendars."""
    with dav_world((Calendars(), PLUGINS[1])) as one:
        yield one
