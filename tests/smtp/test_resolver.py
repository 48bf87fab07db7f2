import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

import knot
from preau.smtp.client_session import Receiver, Sending
from preau.smtp.mx import Exchanger, LookupFailed, NoSuchDomain, Routes
from preau.smtp.relay import Relay, RelaySettings
from preau.smtp.resolver import DnsResolver, ResolverSettings
from smtp_peer import DROP, Octets, Peer, free_port
from smtp_world import QUICK

needs_knot = pytest.mark.skipif(knot.KNOTD is None, reason="knotd is not installed (Debian: knot)")

ZONE = """
@       MX 20 backup
@       MX 10 one
@       MX 10 two
one     A 127.0.0.11
two     A 127.0.0.12
two     AAAA ::1
backup  A 127.0.0.13
null    MX 0 .
plain   A 127.0.0.12
alias   CNAME mail
mail    MX 5 one
chain   CNAME far.other.test.
loop1   CNAME loop2
loop2   CNAME loop1
short   2 A 127.0.0.11
long    90000 A 127.0.0.11
text    TXT "nothing else"
failing MX 10 nowhere
failing MX 20 two
"""
OTHER = "far MX 7 one.school.test.\n"


def run(folder: Path, test: Callable[[DnsResolver], Awaitable[None]]) -> None:
    async def running() -> None:
        async with knot.serving(folder, {"school.test": ZONE, "other.test": OTHER}) as (host, port):
            resolver = DnsResolver(ResolverSettings([host], port, timeout=5.0))
            try:
                await asyncio.wait_for(test(resolver), 20)
            finally:
                await resolver.close()

    asyncio.run(running())


@needs_knot
def test_answers_of_a_real_server(tmp_path: Path) -> None:
    async def test(resolver: DnsResolver) -> None:
        assert sorted(await resolver.exchangers("School.TEST."), key=lambda each: each.host) == [
            Exchanger(20, "backup.school.test"),
            Exchanger(10, "one.school.test"),
            Exchanger(10, "two.school.test"),
        ]
        assert await resolver.exchangers("null.school.test") == [Exchanger(0, "")]
        assert await resolver.exchangers("plain.school.test") == []
        assert await resolver.exchangers("alias.school.test") == [Exchanger(5, "one.school.test")]
        assert await resolver.exchangers("chain.school.test") == [Exchanger(7, "one.school.test")]
        assert await resolver.addresses("two.school.test") == ["127.0.0.12", "::1"]
        assert await resolver.addresses("text.school.test") == []
        with pytest.raises(NoSuchDomain):
            await resolver.exchangers("nowhere.school.test")
        with pytest.raises(NoSuchDomain):
            await resolver.addresses("nowhere.school.test")
        with pytest.raises(LookupFailed):
            await resolver.exchangers("loop1.school.test")
        with pytest.raises(LookupFailed):
            await resolver.exchangers("not-served.example")  # REFUSED
        for name in ("a..b", "x" * 64 + ".test", ".".join(["y" * 60] * 5)):
            with pytest.raises(NoSuchDomain):
                await resolver.exchangers(name)

    run(tmp_path, test)


@needs_knot
def test_answers_are_kept_and_asked_for_once(tmp_path: Path) -> None:
    async def test(resolver: DnsResolver) -> None:
        now = [1_000.0]
        resolver._clock = lambda: now[0]
        await asyncio.gather(*(resolver.exchangers("school.test") for _ in range(50)))
        assert resolver.asked == 1
        now[0] += 299
        await resolver.exchangers("SCHOOL.test")
        assert resolver.asked == 1
        now[0] += 2
        await resolver.exchangers("school.test")
        assert resolver.asked == 2
        for name, good_for in (("short", 5), ("long", 3_600)):
            resolver.settings = replace(resolver.settings, families=("ipv4",))
            begin = resolver.asked
            await resolver.addresses(f"{name}.school.test")
            now[0] += good_for - 1
            await resolver.addresses(f"{name}.school.test")
            assert resolver.asked == begin + 1
            now[0] += 2
            await resolver.addresses(f"{name}.school.test")
            assert resolver.asked == begin + 2
        begin = resolver.asked
        for _ in range(3):
            with pytest.raises(NoSuchDomain):
                await resolver.exchangers("nowhere.school.test")
        assert resolver.asked == begin + 1

    run(tmp_path, test)


def test_one_who_gives_up_does_not_take_the_answer_from_the_others() -> None:
    async def running() -> None:
        resolver = DnsResolver(ResolverSettings(["127.0.0.1"], 1, timeout=0.3))
        impatient = asyncio.create_task(resolver.exchangers("school.test"))
        patient = asyncio.create_task(resolver.exchangers("school.test"))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(LookupFailed):
            await patient
        assert resolver.asked == 1
        await resolver.close()

    asyncio.run(running())


def test_families_that_are_none() -> None:
    with pytest.raises(ValueError, match="families"):
        ResolverSettings(families=("ipx",))
    with pytest.raises(ValueError, match="families"):
        ResolverSettings(families=())


@needs_knot
@pytest.mark.parametrize(
    ("domain", "down", "expected"),
    [
        pytest.param("school.test", (), {"one", "two"}, id="both best ones share"),
        pytest.param("school.test", ("one",), {"two"}, id="one of the best is down"),
        pytest.param("school.test", ("one", "two"), {"backup"}, id="the backup"),
        pytest.param("plain.school.test", (), {"plain"}, id="no MX: the address"),
        pytest.param("alias.school.test", (), {"one"}, id="an alias"),
        pytest.param("failing.school.test", (), {"two"}, id="a host that is not there first"),
        pytest.param("null.school.test", (), {"5.1.10"}, id="null MX"),
        pytest.param("nowhere.school.test", (), {"5.1.2"}, id="no such domain"),
        pytest.param("school.test", ("one", "two", "backup"), {"4.4.2"}, id="all die"),
    ],
)
def test_fail_over_between_hosts_of_a_real_dns(tmp_path: Path, domain: str, down: tuple[str, ...], expected: set[str]) -> None:
    peers = {"one": Peer(), "two": Peer(), "backup": Peer()}
    for name in down:
        peers[name].script = {"MAIL": [DROP]}

    async def test(resolver: DnsResolver) -> None:
        port = free_port()
        for position, peer in enumerate(peers.values()):
            await peer.start(f"127.0.0.{11 + position}", port)
        relay = Relay(RelaySettings("me.example", routes=Routes(port=port), deadlines=QUICK, down_first=0.0), resolver)
        seen = set()
        for _ in range(12 if len(expected) > 1 else 2):
            done = await relay.deliver(domain, Sending("", Octets(b"A: b\r\n\r\n")), [Receiver(1, f"a@{domain}")])
            seen.add(done[1].host.partition(".")[0] if done[1].status == "2.0.0" else done[1].status)
        assert seen == expected
        await relay.close()
        for peer in peers.values():
            await peer.stop()

    run(tmp_path, test)
