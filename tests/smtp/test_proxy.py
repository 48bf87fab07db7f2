import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.smtp.proxy import MAX_HEADER, InvalidProxyHeader, ProxyHeader, parse_proxy_header

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
ADDRESSES_4 = b"\xc0\x00\x02\x01\xc6\x33\x64\x01\x00\x01\x00\x19"
ADDRESSES_6 = bytes.fromhex("20010db8" + "00" * 11 + "09") + bytes(16) + b"\x00\x01\x00\x19"

GOOD = [
    pytest.param(b"PROXY TCP4 192.0.2.1 198.51.100.1 1 25\r\n", "192.0.2.1", id="v1"),
    pytest.param(b"PROXY TCP6 2001:DB8::9 ::1 65535 25\r\n", "2001:db8::9", id="v1 over IPv6"),
    pytest.param(b"PROXY UNKNOWN\r\n", None, id="v1 unknown"),
    pytest.param(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None, id="v1 unknown with what it knows"),
    pytest.param(V2 + b"\x21\x11\x00\x0c" + ADDRESSES_4, "192.0.2.1", id="v2"),
    pytest.param(V2 + b"\x21\x21\x00\x24" + ADDRESSES_6, "2001:db8::9", id="v2 over IPv6"),
    pytest.param(V2 + b"\x21\x11\x00\x13" + ADDRESSES_4 + b"\x04\x00\x04abcd", "192.0.2.1", id="v2 with a record"),
    pytest.param(V2 + b"\x20\x00\x00\x00", None, id="v2 local"),
    pytest.param(V2 + b"\x20\x11\x00\x0c" + ADDRESSES_4, None, id="v2 local with addresses"),
    pytest.param(V2 + b"\x21\x00\x00\x03abc", None, id="v2 unspecified"),
]


@pytest.mark.parametrize(("header", "source"), GOOD)
def test_whole_byte_by_byte_and_with_what_follows(header: bytes, source: str | None) -> None:
    expected = ProxyHeader(source, len(header))
    for end in range(len(header)):
        assert parse_proxy_header(header[:end]) is None
    assert parse_proxy_header(header) == expected
    assert parse_proxy_header(header + b"\x16\x03\x01") == expected


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO x\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.1 1 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 25 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.1 1 25\r\n",
        b"PROXY TCP4 ::1 ::1 1 25\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.1 1 25\r\n",
        b"PROXY TCP4 192.0.2.999 198.51.100.1 1 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.1 1 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 25\nEHLO x\r\n",
        b"PROXY " + b"x" * 101,
        V2 + b"\x11\x11\x00\x0c" + ADDRESSES_4,
        V2 + b"\x22\x11\x00\x0c" + ADDRESSES_4,
        V2 + b"\x21\x12\x00\x0c" + ADDRESSES_4,
        V2 + b"\x21\x31\x00\xd8" + bytes(216),
        V2 + b"\x21\x11\x00\x0b" + ADDRESSES_4[:-1],
        V2 + b"\x21\x21\x00\x0c" + ADDRESSES_4,
        V2 + b"\x21\x11" + MAX_HEADER.to_bytes(2, "big"),
    ],
)
def test_what_is_none(header: bytes) -> None:
    with pytest.raises(InvalidProxyHeader):
        parse_proxy_header(header)


@given(st.one_of(st.just(b""), st.just(V2), st.just(b"PROXY "), st.just(V2 + b"\x21\x11")), st.binary(max_size=150))
@settings(max_examples=300)
def test_only_the_documented_exception_comes_out(begin: bytes, rest: bytes) -> None:
    try:
        found = parse_proxy_header(begin + rest)
    except InvalidProxyHeader:
        return
    assert found is None or found.length <= len(begin + rest)
