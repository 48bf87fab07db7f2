"""Peers by network: /24 of an IPv4 address, /48 of an IPv6 one; what the policies count by and the traces keep."""

import ipaddress
from functools import lru_cache

UNKNOWN = "unknown"
_LOCAL = "local"  # a Unix socket: no address
_REMEMBERED = 4096  # addresses: parsing one takes longer than all else that a policy does with it


@lru_cache(maxsize=_REMEMBERED)
def network_of(address: str) -> str:
    """The network of a peer's address. Never raises: what is no address is `unknown`, so it shares one budget."""
    parsed = _parse(address)
    if parsed is None:
        return _LOCAL if not address else UNKNOWN
    prefix = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


@lru_cache(maxsize=_REMEMBERED)
def is_loopback(address: str) -> bool:
    """Whether the peer is on this machine."""
    parsed = _parse(address)
    return parsed is not None and parsed.is_loopback


def parse_networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Networks in their canonical form. Raise ValueError with the one that is none."""
    found = []
    for text in texts:
        try:
            found.append(str(ipaddress.ip_network(text.strip(), strict=False)))
        except ValueError:
            raise ValueError(f"not a network: {text[:50]!r} (like 192.0.2.0/24 or 2001:db8::/48)") from None
    return tuple(dict.fromkeys(found))


def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether the peer is in one of `networks`; an empty tuple means anywhere."""
    if not networks:
        return True
    parsed = _parse(address)
    return parsed is not None and any(
        parsed.version == network.version and parsed in network for network in map(ipaddress.ip_network, networks)
    )


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    # ::ffff:192.0.2.1 is the IPv4 peer 192.0.2.1 seen through a dual-stack socket.
    return (parsed.version == 6 and parsed.ipv4_mapped) or parsed
