"""What auth said is asked once a moment, and what it did not know is asked again."""

import asyncio

import pytest

from lmtp import ANNE, UNKNOWN, FakeAuth, local
from preau.auth.api import AuthUnavailable, Recipients
from preau.smtp.lookups import Lookups


def test_what_was_found_is_asked_once_until_it_is_old_or_revoked() -> None:
    async def test() -> None:
        auth = FakeAuth()
        lookups = Lookups(auth, 0.05)
        found = [await lookups.find("anne@example.com") for _ in range(3)]
        assert found == [Recipients((local(ANNE, "anne@example.com"),), ())] * 3
        assert auth.asked == ["anne@example.com"]
        lookups.clear()
        await lookups.find("anne@example.com")
        assert len(auth.asked) == 2
        await asyncio.sleep(0.06)
        await lookups.find("anne@example.com")
        assert len(auth.asked) == 3

    asyncio.run(test())


def test_who_was_not_found_is_known_as_soon_as_there_is_such_a_person() -> None:
    async def test() -> None:
        auth = FakeAuth()
        lookups = Lookups(auth, 60.0)
        assert await lookups.find("new@example.com") == UNKNOWN
        auth.addresses["new@example.com"] = AuthUnavailable("down")
        with pytest.raises(AuthUnavailable):
            await lookups.find("new@example.com")
        auth.addresses["new@example.com"] = Recipients((local(ANNE, "new@example.com"),), ())
        assert (await lookups.find("new@example.com")).local[0].account == ANNE

    asyncio.run(test())


def test_a_bounded_number_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("preau.smtp.lookups._MOST", 2)
        auth = FakeAuth()
        lookups = Lookups(auth, 60.0)
        for name in ("anne", "bob", "carl", "bob", "anne"):
            await lookups.find(f"{name}@example.com")
        assert [each[:4] for each in auth.asked] == ["anne", "bob@", "carl", "anne"]

    asyncio.run(test())
