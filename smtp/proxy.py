"""The PROXY header that a load balancer puts before a connection, versions 1 and 2 (HAProxy's proxy-protocol.txt).

Owns its grammar: how much of it is there, whose connection it is. Pure and incremental; aiosmtpd's own reader waits on a
stream without a bound and logs what it reads, so it is not used.
Never decides who may send one: that is a list of networks in reception's settings.
"""

import ipaddress
import re
from dataclasses import dataclass

MAX_HEADER = 4_096
"""Octets. Version 1 has at most 107; version 2 may carry records that nobody here reads."""

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1_MAX = 107  # with CR LF
_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) ([0-9]{1,5}) ([0-9]{1,5})\Z")
_ADDRESSES = {0x11: 4, 0x21: 16}  # family and protocol: TCP over IPv4, over IPv6; octets of an address


class InvalidProxyHeader(Exception):
    """Not a PROXY header: the connection is not served."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What was found. `source`: the client's address, None when the connection is the proxy's own.  `length`: octets."""

    source: str | None
    length: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header that `data` begins with, None when there is more to come. Raise InvalidProxyHeader."""
    if data.startswith(_SIGNATURE):
        return _parse_v2(data)
    if data.startswith(b"PROXY "):
        return _parse_v1(data)
    if _SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    raise InvalidProxyHeader("no signature")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(data) >= _V1_MAX:
            raise InvalidProxyHeader("line too long")
        return None
    line = data[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(None, end + 2)
    found = _V1.match(line)
    if found is None:
        raise InvalidProxyHeader("malformed line")
    source = _address(found[2].decode("ascii"), 4 if found[1] == b"TCP4" else 6)
    _address(found[3].decode("ascii"), 4 if found[1] == b"TCP4" else 6)
    if int(found[4]) > 65_535 or int(found[5]) > 65_535:
        raise InvalidProxyHeader("no port")
    return ProxyHeader(source, end + 2)


def _address(text: str, version: int) -> str:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidProxyHeader("no address") from None
    if parsed.version != version:
        raise InvalidProxyHeader("address of another family")
    return str(parsed)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    version_and_command, family = data[12], data[13]
    length = 16 + int.from_bytes(data[14:16], "big")
    if version_and_command not in (0x20, 0x21):
        raise InvalidProxyHeader("unknown version or command")
    if length > MAX_HEADER:
        raise InvalidProxyHeader("header too long")
    if len(data) < length:
        return None
    if version_and_command == 0x20 or family == 0x00:  # LOCAL: a check of the proxy's own; UNSPEC: it does not know
        return ProxyHeader(None, length)
    octets = _ADDRESSES.get(family)
    if octets is None or length < 16 + 2 * octets + 4:
        raise InvalidProxyHeader("not TCP")
    return ProxyHeader(str(ipaddress.ip_address(data[16 : 16 + octets])), length)
