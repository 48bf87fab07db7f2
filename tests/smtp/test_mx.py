import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from preau.smtp.client_connection import Target
from preau.smtp.mx import (
    MAX_HOSTS,
    Exchanger,
    HostList,
    LookupFailed,
    NoSuchDomain,
    Routes,
    find_hosts,
    find_targets,
    order,
    parse_literal,
    split_host_port,
)
from smtp_world import FakeDns


def hosts(domain: str, dns: FakeDns, routes: Routes | None = None) -> HostList:
    return asyncio.run(find_hosts(domain, routes or Routes(), dns, frozenset({"me.example"}), Random(1)))


def test_preference_decides_and_equals_share_the_load() -> None:
    records = [Exchanger(20, "c"), Exchanger(10, "a"), Exchanger(10, "b"), Exchanger(20, "a")]
    seen = set()
    for seed in range(30):
        found = [host for host, _ in order(records, frozenset(), Random(seed)).hosts]
        assert set(found[:2]) == {"a", "b"}
        assert found[2:] == ["c"]
        seen.add(found[0])
    assert seen == {"a", "b"}


@pytest.mark.parametrize(
    ("records", "hosts_left", "status"),
    [
        pytest.param([Exchanger(0, "")], [], "5.1.10", id="null MX"),
        pytest.param([Exchanger(0, ""), Exchanger(5, "a")], ["a"], None, id="null MX beside another is none"),
        pytest.param([Exchanger(5, "a"), Exchanger(10, "me.example"), Exchanger(20, "z")], ["a"], None, id="better than us"),
        pytest.param([Exchanger(10, "me.example"), Exchanger(10, "z")], [], "5.4.6", id="we are the best"),
    ],
)
def test_records_that_are_special(records: list[Exchanger], hosts_left: list[str], status: str | None) -> None:
    found = order(records, frozenset({"me.example"}), Random(1))
    assert [host for host, _ in found.hosts] == hosts_left
    assert (found.failure.status if found.failure else None) == status


def test_no_more_hosts_than_a_sane_domain_has() -> None:
    assert len(order([Exchanger(1, str(n)) for n in range(500)], frozenset(), Random(1)).hosts) == MAX_HOSTS


def test_the_dns_is_asked_when_no_route_is_there() -> None:
    dns = FakeDns(
        {"x.example": [Exchanger(5, "mx.x.example")], "gone.example": NoSuchDomain(), "dark.example": LookupFailed("t")}
    )
    assert hosts("X.Example.", dns).hosts == [("mx.x.example", 25)]
    assert hosts("plain.example", dns).hosts == [("plain.example", 25)]
    for domain, status in (("gone.example", "5.1.2"), ("dark.example", "4.4.3"), ("[oops]", "5.1.3")):
        failure = hosts(domain, dns).failure
        assert failure is not None
        assert failure.status == status
    assert hosts("[192.0.2.7]", dns, Routes(port=2525)).hosts == [("192.0.2.7", 2525)]


def test_routes_and_the_smart_host_win() -> None:
    routes = Routes({"a.example": "127.0.0.1:2525", ".b.example": "[::1]:26", "C.example": "relay.example:587"}, port=2500)
    dns = FakeDns({})
    assert hosts("a.example", dns, routes).hosts == [("127.0.0.1", 2525)]
    assert hosts("A.EXAMPLE.", dns, routes).hosts == [("127.0.0.1", 2525)]
    assert hosts("x.y.b.example", dns, routes).hosts == [("::1", 26)]
    assert hosts("b.example", dns, routes).hosts == [("b.example", 2500)]
    assert hosts("c.example", dns, routes).hosts == [("relay.example", 587)]
    assert hosts("d.example", dns, Routes(smart_host="smart.example:25")).hosts == [("smart.example", 25)]
    assert dns.asked == ["MX b.example"]


@pytest.mark.parametrize("value", ["", "host", ":25", "host:", "host:0", "host:70000", "host:x", "host:²"])
def test_routes_that_are_none(value: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        split_host_port(value)
    with pytest.raises(ValueError, match="host:port"):
        Routes({"x": value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:DB8::1]", "2001:db8::1"), ("::1", "::1"), ("[x]", None), ("example.org", None)],
)
def test_literals(text: str, expected: str | None) -> None:
    assert parse_literal(text) == expected


def test_targets() -> None:
    dns = FakeDns(addresses={"mx.example": ["192.0.2.1", "2001:db8::1"]})

    async def found(host: str) -> Sequence[Any]:
        return await find_targets(host, 25, dns)

    assert asyncio.run(found("mx.example")) == [Target("192.0.2.1", 25, "mx.example"), Target("2001:db8::1", 25, "mx.example")]
    assert asyncio.run(found("127.0.0.1")) == [Target("127.0.0.1", 25, "127.0.0.1")]
