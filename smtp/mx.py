"""Which hosts take a domain's mail, in the order to try them (RFC 5321 section 5.1, RFC 7505).

Owns the choice between route, smart host and MX, and the order of hosts and addresses. The randomness comes in; the only
thing awaited is the resolver.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from . import outcome as outcomes
from .client_connection import Target
from .outcome import Outcome

MAX_HOSTS = 16
"""Mail hosts of a domain that are looked at; more is someone's joke."""


@dataclass(frozen=True, slots=True)
class Exchanger:
    """An MX record. `host`: lower case without its last dot; "" is the null MX."""

    preference: int
    host: str


class NoSuchDomain(Exception):
    """The name does not exist."""


class LookupFailed(Exception):
    """No answer now. Temporary."""


class Resolver(Protocol):
    """What is asked of the DNS."""

    async def exchangers(self, domain: str) -> Sequence[Exchanger]:
        """MX records, none when there are none. Raise NoSuchDomain, LookupFailed."""
        ...

    async def addresses(self, host: str) -> Sequence[str]:
        """Addresses of a host, both families, in the order to try them. Raise NoSuchDomain, LookupFailed."""
        ...

    async def close(self) -> None:
        """Give up what is being asked."""
        ...


@dataclass(frozen=True, slots=True)
class Routes:
    """Where mail goes, before the DNS is asked.

    `routes`: domain -> "host:port"; `.example.org` stands for all below it.  `smart_host`: "host:port" for the rest, ""
    for none.  `port`: where mail hosts listen; another than 25 only in trials.
    """

    routes: Mapping[str, str] = field(default_factory=dict)
    smart_host: str = ""
    port: int = 25

    def __post_init__(self) -> None:
        """Raise ValueError for a route that names no host and port."""
        for value in (*self.routes.values(), *([self.smart_host] if self.smart_host else [])):
            split_host_port(value)

    def find(self, domain: str) -> tuple[str, int] | None:
        """Host and port for this domain; None: ask for its MX."""
        name = domain.casefold().rstrip(".")
        known = {key.casefold(): value for key, value in self.routes.items()}
        if (route := known.get(name)) is None:
            parts = name.split(".")
            above = (known.get("." + ".".join(parts[position:])) for position in range(1, len(parts)))
            route = next((each for each in above if each is not None), None)
        route = route or self.smart_host
        return split_host_port(route) if route else None


def split_host_port(value: str) -> tuple[str, int]:
    """`host:port`, `[2001:db8::1]:25`. Raise ValueError."""
    host, found, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not found or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"not host:port: {value!r}")
    return host, int(port)


@dataclass(frozen=True, slots=True)
class HostList:
    """Hosts to try, best first, each with its name and port; or why there is none."""

    hosts: Sequence[tuple[str, int]] = ()
    failure: Outcome | None = None


def parse_literal(text: str) -> str | None:
    """The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3), or of a bare address."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if inner[:5].casefold() == "ipv6:":
        inner = inner[5:]
    try:
        return str(ipaddress.ip_address(inner))
    except ValueError:
        return None


def order(exchangers: Sequence[Exchanger], own_names: frozenset[str], random: Random) -> HostList:
    """Records to hosts: by preference, equals shuffled so that load is shared; ourselves and what is worse left out."""
    real = [each for each in exchangers if each.host]
    if exchangers and not real:
        return HostList(failure=outcomes.NULL_MX)
    ours = [each.preference for each in real if each.host in own_names]
    if ours:
        # A host that relays to one no better than itself makes a loop (RFC 5321 section 5.1).
        real = [each for each in real if each.preference < min(ours)]
        if not real:
            return HostList(failure=outcomes.LOOPS_BACK)
    shuffled = random.sample(real, len(real))
    shuffled.sort(key=lambda each: each.preference)
    return HostList([(host, 0) for host in dict.fromkeys(each.host for each in shuffled)][:MAX_HOSTS])


async def find_hosts(domain: str, routes: Routes, resolver: Resolver, own_names: frozenset[str], random: Random) -> HostList:
    """The hosts that take mail for `domain`."""
    if (route := routes.find(domain)) is not None:
        return HostList([route])
    if domain.startswith("["):
        literal = parse_literal(domain)
        return HostList([(literal, routes.port)]) if literal else HostList(failure=outcomes.BAD_ADDRESS)
    try:
        exchangers = await resolver.exchangers(domain)
    except NoSuchDomain:
        return HostList(failure=outcomes.NO_SUCH_DOMAIN)
    except LookupFailed as error:
        return HostList(failure=outcomes.deferred("4.4.3", f"MX of {domain}: {error}"))
    if not exchangers:
        # RFC 5321 section 5.1: without MX records the domain itself is the host.
        exchangers = [Exchanger(0, domain.casefold().rstrip("."))]
    ordered = order(exchangers, own_names, random)
    return HostList([(host, routes.port) for host, _ in ordered.hosts], ordered.failure)


async def find_targets(host: str, port: int, resolver: Resolver) -> Sequence[Target]:
    """The addresses of a host. Raise NoSuchDomain, LookupFailed."""
    if (literal := parse_literal(host)) is not None:
        return [Target(literal, port, host)]
    return [Target(address, port, host) for address in await resolver.addresses(host)]
