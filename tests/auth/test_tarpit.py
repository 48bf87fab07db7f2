"""Attempts that wait: few at a time."""

import asyncio

from preau.auth.tarpit import Tarpit


def test_only_so_many_sleep_in_all_and_of_one_network() -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def sleep(seconds: float) -> None:
            await release.wait()

        tarpit = Tarpit(4, 2, sleep)
        sleeping = [asyncio.create_task(tarpit.wait(network, 2.0)) for network in ("a", "a", "b")]
        await asyncio.sleep(0)
        assert not await tarpit.wait("a", 2.0), "a third of one network"
        sleeping.append(asyncio.create_task(tarpit.wait("b", 2.0)))
        await asyncio.sleep(0)
        assert not await tarpit.wait("c", 2.0), "a fifth in all"
        release.set()
        assert await asyncio.gather(*sleeping) == [True] * 4
        assert await tarpit.wait("a", 2.0)

    asyncio.run(scenario())


def test_a_client_that_goes_away_gives_its_place_back() -> None:
    async def scenario() -> None:
        tarpit = Tarpit(1, 1, lambda seconds: asyncio.sleep(60))
        gone = asyncio.create_task(tarpit.wait("a", 2.0))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        next_one = asyncio.create_task(tarpit.wait("a", 2.0))
        await asyncio.sleep(0)
        assert not next_one.done()
        next_one.cancel()
        await asyncio.gather(next_one, return_exceptions=True)

    asyncio.run(scenario())
