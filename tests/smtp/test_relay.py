import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from preau.smtp.client_session import Receiver, Sending
from preau.smtp.mx import Exchanger, LookupFailed, NoSuchDomain, Routes
from preau.smtp.outcome import Outcome
from preau.smtp.relay import Relay, RelaySettings
from smtp_peer import DROP, Octets, Peer, free_port, server_tls
from smtp_world import QUICK, FakeDns

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"
DOMAIN = "peer.example"
FIRST = FakeDns(
    {DOMAIN: [Exchanger(10, "one"), Exchanger(20, "two"), Exchanger(30, "three")]},
    {"one": ["127.0.0.11"], "two": ["127.0.0.12"], "three": ["127.0.0.13"]},
)


class Relayed:
    """A relay, and what it said."""

    def __init__(self, relay: Relay, peers: Sequence[Peer]) -> None:
        self.relay, self.peers = relay, peers

    async def send(self, *addresses: str, message: bytes = MESSAGE) -> list[str]:
        receivers = [Receiver(key, address) for key, address in enumerate(addresses or ("a@peer.example",))]
        done = await self.relay.deliver(DOMAIN, Sending("me@here.example", Octets(message)), receivers)
        assert sorted(done) == [each.key for each in receivers]
        return [f"{outcome.verdict.value} {outcome.status} {outcome.host}".rstrip() for _, outcome in sorted(done.items())]


def run(test: Callable[[Relayed], Awaitable[None]], *peers: Peer | None, dns: FakeDns = FIRST, **settings: Any) -> None:
    """`peers` in the order of preference; None: nobody listens there."""

    async def running() -> None:
        port = free_port()
        for position, peer in enumerate(peers):
            if peer is not None:
                await peer.start(f"127.0.0.{11 + position}", port)
        base = RelaySettings("me.example", routes=Routes(port=port), deadlines=QUICK)
        relay = Relay(replace(base, **settings), dns, random=Random(1))
        try:
            await asyncio.wait_for(test(Relayed(relay, [peer for peer in peers if peer is not None])), 20)
        finally:
            await relay.close()
            for peer in peers:
                if peer is not None:
                    await peer.stop()

    asyncio.run(running())


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(None, id="nobody listens"),
        pytest.param(Peer({"GREETING": ["554 5.7.1 not you"]}), id="greeting 554"),
        pytest.param(Peer({"GREETING": ["421 4.3.2 busy"]}), id="greeting 421"),
        pytest.param(Peer({"GREETING": [DROP]}), id="dies at the greeting"),
        pytest.param(Peer({"EHLO": [DROP]}), id="dies at EHLO"),
        pytest.param(Peer({"MAIL": [DROP]}), id="dies at MAIL"),
        pytest.param(Peer({"RCPT": [DROP]}), id="dies at RCPT"),
        pytest.param(Peer({"DATA": [DROP]}), id="dies at DATA"),
        pytest.param(Peer({"MAIL": ["421 4.3.2 shutting down"]}), id="421 at MAIL"),
        pytest.param(Peer({"RCPT": ["421 4.3.2 shutting down"]}), id="421 at RCPT"),
    ],
)
def test_the_next_host_is_tried(first: Peer | None) -> None:
    second = Peer()

    async def test(relayed: Relayed) -> None:
        assert await relayed.send() == ["passed 2.0.0 two"]
        assert len(second.taken) == 1

    run(test, first, second)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param({"RCPT": ["451 4.7.1 greylisted"]}, "deferred 4.7.1 one", id="greylisted"),
        pytest.param({"RCPT": ["550 5.1.1 no"]}, "failed 5.1.1 one", id="refused"),
        pytest.param({"FINAL": ["451 4.3.0 later"]}, "deferred 4.3.0 one", id="message later"),
        pytest.param({"FINAL": [DROP]}, "deferred 4.4.2 one", id="broken behind the end: it may have been taken"),
    ],
)
def test_an_answer_is_an_answer(script: Any, expected: str) -> None:
    second = Peer()

    async def test(relayed: Relayed) -> None:
        assert await relayed.send() == [expected]
        assert second.connections == 0

    run(test, Peer(script), second)


def test_a_host_that_breaks_off_behind_the_end_is_asked_last_next_time() -> None:
    """Or one that always dies of a message keeps it from the host beside it until it is given up."""
    first, second = Peer({"FINAL": [DROP]}), Peer()

    async def test(relayed: Relayed) -> None:
        assert await relayed.send() == ["deferred 4.4.2 one"]
        assert await relayed.send() == ["passed 2.0.0 two"]
        await second.stop()
        relayed.relay.forgive()
        first.script = {}
        assert await relayed.send() == ["passed 2.0.0 one"]

    run(test, first, second)


def test_all_hosts_down_and_then_left_alone_for_a_while() -> None:
    async def test(relayed: Relayed) -> None:
        assert await relayed.send() == ["deferred 4.4.1 three"]
        done = await relayed.relay.deliver(DOMAIN, Sending("", Octets(MESSAGE)), [Receiver(1, "a@peer.example")])
        assert done[1].text == "not tried again yet: Connection refused"
        relayed.relay.forgive()
        done = await relayed.relay.deliver(DOMAIN, Sending("", Octets(MESSAGE)), [Receiver(1, "a@peer.example")])
        assert done[1].text == "Connection refused"

    run(test)


def test_a_host_that_was_down_is_asked_last_time_first() -> None:
    first, second = Peer({"GREETING": ["421 4.3.2 busy", "220 ready"]}), Peer()

    async def test(relayed: Relayed) -> None:
        assert await relayed.send() == ["passed 2.0.0 two"]
        assert await relayed.send() == ["passed 2.0.0 two"]
        assert first.connections == 1
        relayed.relay.forgive()
        assert await relayed.send() == ["passed 2.0.0 one"]

    run(test, first, second)


@pytest.mark.parametrize(
    ("dns", "expected"),
    [
        pytest.param(FakeDns({DOMAIN: [Exchanger(0, "")]}), "failed 5.1.10", id="null MX"),
        pytest.param(FakeDns({DOMAIN: NoSuchDomain()}), "failed 5.1.2", id="no such domain"),
        pytest.param(FakeDns({DOMAIN: LookupFailed("t")}), "deferred 4.4.3", id="dns down"),
        pytest.param(FakeDns({DOMAIN: [Exchanger(1, "me.example")]}), "failed 5.4.6", id="ourselves"),
        pytest.param(FakeDns({DOMAIN: [Exchanger(1, "x")]}, {"x": NoSuchDomain()}), "failed 5.4.4 x", id="host is not there"),
        pytest.param(FakeDns({DOMAIN: [Exchanger(1, "x")]}, {"x": []}), "failed 5.4.4 x", id="host has no address"),
        pytest.param(FakeDns({DOMAIN: [Exchanger(1, "x")]}, {"x": LookupFailed("t")}), "deferred 4.4.3 x", id="address later"),
        pytest.param(
            FakeDns({DOMAIN: [Exchanger(1, "x"), Exchanger(2, "y")]}, {"x": NoSuchDomain(), "y": ["127.0.0.11"]}),
            "passed 2.0.0 y",
            id="a dead name before a good one",
        ),
        pytest.param(
            FakeDns({}, {DOMAIN: ["127.0.0.77", "127.0.0.11"]}), "passed 2.0.0 peer.example", id="no MX, two addresses"
        ),
    ],
)
def test_what_the_dns_says(dns: FakeDns, expected: str) -> None:
    async def test(relayed: Relayed) -> None:
        assert await relayed.send() == [expected]

    run(test, Peer(), dns=dns)


def test_connections_are_used_again_and_replaced_when_the_peer_hung_up() -> None:
    peer = Peer()

    async def test(relayed: Relayed) -> None:
        for _ in range(3):
            assert await relayed.send() == ["passed 2.0.0 one"]
        assert peer.connections == 1
        for task in tuple(peer._tasks):
            task.cancel()  # between two messages, unseen by us
        assert await relayed.send() == ["passed 2.0.0 one"]
        assert peer.connections == 2
        peer.script = {"MAIL": ["421 4.4.2 idle for too long", "250 2.1.0 ok"]}
        assert await relayed.send() == ["passed 2.0.0 one"]
        assert peer.connections == 3

    run(test, peer)


def test_no_more_connections_to_a_domain_than_it_gets() -> None:
    peer = Peer()

    async def test(relayed: Relayed) -> None:
        said = await asyncio.gather(*(relayed.send() for _ in range(10)))
        assert said == [["passed 2.0.0 one"]] * 10
        assert peer.most_open <= 2

    run(test, peer, connections_per_domain=2)


def test_what_waits_for_a_busy_domain_is_put_back() -> None:
    release = asyncio.Event()
    peer = Peer(hold={"GREETING": release})

    async def test(relayed: Relayed) -> None:
        sending = [asyncio.create_task(relayed.send()) for _ in range(3)]
        await asyncio.sleep(0)
        assert await relayed.send() == ["postponed 4.3.2"]
        release.set()
        assert [await each for each in sending] == [["passed 2.0.0 one"]] * 3
        assert await relayed.send() == ["passed 2.0.0 one"]

    run(test, peer, connections_per_domain=1, waiting_per_domain=2)


def test_too_many_recipients_go_in_several_transactions() -> None:
    peer = Peer({"RCPT": ["250 ok", "250 ok", "452 4.5.3 enough", "452 4.5.3 enough", "250 ok"]})

    async def test(relayed: Relayed) -> None:
        said = await relayed.send(*(f"{n}@peer.example" for n in range(9)))
        assert said == ["passed 2.0.0 one"] * 9
        assert [len(each.rcpts) for each in peer.taken] == [2, 4, 3]
        assert peer.connections == 1

    run(test, peer, recipients=4)


def test_a_broken_tls_does_not_keep_mail_back(tmp_path: Path) -> None:
    peer = Peer({"STARTTLS": ["220 soon, but not now"]}, tls=server_tls(tmp_path))

    async def test(relayed: Relayed) -> None:
        assert await relayed.send() == ["passed 2.0.0 one"]
        assert not peer.taken[0].tls
        assert peer.connections == 2
        assert await relayed.send() == ["passed 2.0.0 one"]
        assert peer.verbs.count("STARTTLS") == 1

    run(test, peer)


def test_a_route_is_taken_instead_of_the_dns() -> None:
    async def running() -> None:
        peer = await Peer().start()
        dns = FakeDns()
        routes = Routes({DOMAIN: f"{peer.host}:{peer.port}"})
        relay = Relay(RelaySettings("me.example", routes=routes, deadlines=QUICK), dns)
        done = await relay.deliver(DOMAIN, Sending("", Octets(MESSAGE)), [Receiver(1, "a@peer.example")])
        assert done[1] == Outcome(done[1].verdict, "2.0.0", "250 2.0.0 taken", "127.0.0.1")
        assert dns.asked == []
        await relay.close()
        await peer.stop()

    asyncio.run(running())
