"""argon2 as cheap as it can be, except where a test asks for the real one."""

from collections.abc import Iterator

import pytest

from auth_bench import cheap_argon2


@pytest.fixture(autouse=True)
def _cheap(request: pytest.FixtureRequest) -> Iterator[None]:
    if "real_argon2" in request.fixturenames:
        yield
        return
    undo = cheap_argon2()
    yield
    undo()


@pytest.fixture
def real_argon2() -> None:
    """This test hashes at full cost."""
