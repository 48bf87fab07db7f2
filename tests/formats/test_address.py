import email.utils

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from preau.formats.address import MAX_ADDRESSES, InvalidAddress, SmtpAddress, parse_address, parse_addresses

END = (None, None, None, None)
NO_HOST = b"MISSING_DOMAIN"
NO_MAILBOX = b"MISSING_MAILBOX"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b"a@b", [(None, None, b"a", b"b")]),
        (b" a@b , c@d ", [(None, None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"Marie Durand <m@x.example>", [(b"Marie Durand", None, b"m", b"x.example")]),
        (b'"Durand, Marie" <m@x>', [(b"Durand, Marie", None, b"m", b"x")]),
        (b'"Le \\"Chef\\"" <m@x>', [(b'Le "Chef"', None, b"m", b"x")]),
        (b'"" <m@x>', [(None, None, b"m", b"x")]),
        (b"a   b <m@x>", [(b"a b", None, b"m", b"x")]),
        (b"J. R. R. Tolkien <m@x>", [(b"J. R. R. Tolkien", None, b"m", b"x")]),
        (b'Paul "B" C <m@x>', [(b"Paul B C", None, b"m", b"x")]),
        (b"=?utf-8?q?=C3=A9?= <m@x>", [(b"=?utf-8?q?=C3=A9?=", None, b"m", b"x")]),
        (b"m@x (Marie (la vraie) D.)", [(b"Marie (la vraie) D.", None, b"m", b"x")]),
        (b"<m@x> (Marie)", [(b"Marie", None, b"m", b"x")]),
        (b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", [(b"Pete", None, b"pete", b"silly.test")]),
        (b"<@r1,@r2:m@x>", [(None, b"@r1,@r2", b"m", b"x")]),
        (b'"odd box"@x', [(None, None, b"odd box", b"x")]),
        (b"m@[192.0.2.1]", [(None, None, b"m", b"[192.0.2.1]")]),
        (b"m . n @ x . y", [(None, None, b"m.n", b"x.y")]),
        (b"grp: a@b, C <c@d>;", [(None, None, b"grp", None), (None, None, b"a", b"b"), (b"C", None, b"c", b"d"), END]),
        (b"undisclosed-recipients:;", [(None, None, b"undisclosed-recipients", None), END]),
        (b"two words: a@b; , c@d", [(None, None, b"two words", None), (None, None, b"a", b"b"), END, (None, None, b"c", b"d")]),
        (b"grp: a@b", [(None, None, b"grp", None), (None, None, b"a", b"b"), END]),
        (b"a@b,,c@d", [(None, None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"root", [(None, None, b"root", NO_HOST)]),
        (b"two words", [(b"two words", None, NO_MAILBOX, NO_HOST)]),
        (b'"quoted"', [(b"quoted", None, NO_MAILBOX, NO_HOST)]),
        (b"Name <>", [(b"Name", None, NO_MAILBOX, NO_HOST)]),
        (b"<>", []),
        (b"Name <box>", [(b"Name", None, b"box", NO_HOST)]),
        (b"a@", [(None, None, b"a", NO_HOST)]),
        (b"@b", [(None, None, NO_MAILBOX, b"b")]),
        (b"Name a@b", [(b"Name", None, b"a", b"b")]),
        (b"a@b and more", [(None, None, b"a", b"b")]),
        (b"m@bank.example <evil@x>", [(b"m@bank.example", None, b"evil", b"x")]),
        (b"a <b@c, d@e", [(b"a", None, b"b", b"c"), (None, None, b"d", b"e")]),
        (
            "é@x.example, é <a@é.example>".encode(),
            [(None, None, "é".encode(), b"x.example"), ("é".encode(), None, b"a", "é.example".encode())],
        ),
    ],
)
def test_parse_addresses(value: bytes, expected: object) -> None:
    assert parse_addresses(value) == expected


@pytest.mark.parametrize(
    "value",
    ["a@b.c", "Marie Durand <m@x.y>", '"Durand, M" <m@x.y>, n@x.y', "m@x.y (Marie)", "<m@x.y>", 'A <a@b.c>,\n "B" <"x y"@b.c>'],
)
def test_agrees_with_the_standard_library(value: str) -> None:
    def one(name: bytes | None, mailbox: bytes | None, host: bytes | None) -> tuple[str, str]:
        local = (mailbox or b"").decode()
        return (name or b"").decode(), f"{f'{chr(34)}{local}{chr(34)}' if ' ' in local else local}@{(host or b'').decode()}"

    ours = [one(a.name, a.mailbox, a.host) for a in parse_addresses(value.encode())]
    assert ours == email.utils.getaddresses([value])


@pytest.mark.parametrize(
    "repeated", [b"a@b,", b"a <b@c>, ", b"<", b"a.", b"(", b"@a,", b'"a" ', b"a:", b"@", b'"', b"a ", b",;", b"<@a,", b"\\"]
)
def test_a_million_of_anything_is_read(repeated: bytes) -> None:
    assert len(parse_addresses(repeated * (1_000_000 // len(repeated)))) <= 2 * MAX_ADDRESSES  # each group has an end


def test_addresses_are_counted_and_a_group_still_ends() -> None:
    assert len(parse_addresses(b"a@b," * 1_000_000)) == MAX_ADDRESSES
    assert parse_addresses(b"g:" + b"a@b," * 100, 5)[-1] == END


@settings(max_examples=300)
@given(st.text('ab@<>,;:."\\()[] é\r\n\0', max_size=40).map(str.encode))
@example(b'@:"')
@example(b'""@b')
def test_anything_gives_addresses_or_groups_that_end(value: bytes) -> None:
    inside = False
    for address in parse_addresses(value):
        if address.mailbox is None:
            assert inside
            assert address == END
            inside = False
        elif address.host is None:
            assert not inside
            inside = True
        else:
            assert address.mailbox
            assert address.host
    assert not inside


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        (b"a@b", "a", "b"),
        (b"Marie.Durand+x@Example.ORG", "Marie.Durand+x", "example.org"),
        (b'"a b"@x', "a b", "x"),
        (b'"a\\"\\\\b"@x', 'a"\\b', "x"),
        (b'"a@b"@x', "a@b", "x"),
        (b"a@[192.0.2.1]", "a", "[192.0.2.1]"),
        (b"a@[ipv6:2001:DB8::1]", "a", "[IPv6:2001:db8::1]"),
        (b"a" * 64 + b"@b", "a" * 64, "b"),
    ],
)
def test_parse_address(text: bytes, local: str, domain: str) -> None:
    assert parse_address(text) == SmtpAddress(local, domain)
    assert parse_address(text, utf8=True) == SmtpAddress(local, domain)
    assert parse_address(str(SmtpAddress(local, domain)).encode()) == SmtpAddress(local, domain)


_BAD_LOCAL = [
    b"",
    b"a",
    b"@b",
    b"a@@b",
    b"a b@c",
    b".a@b",
    b"a.@b",
    b"a..b@c",
    b"a\0@b",
    b"a" * 65 + b"@b",
    b"\xff@b",
    b"\xc3\xa9@b",
]
_BAD_QUOTES = [b'""@b', b'"a@b', b'"a"b@c', b'"a\r\n"@b', b"<a@b>"]
_BAD_DOMAIN = [b"a@", b"a@b..c", b"a@.b", b"a@b.", b"a@-b", b"a@b-", b"a@b_c", b"a@b\n", b"a@\xc3\xa9", b"a@" + b"b" * 64]
_BAD_DOMAIN += [b"a@" + b"b." * 130 + b"c"]
_BAD_LITERAL = [b"a@[1.2.3]", b"a@[1.2.3.4", b"a@[IPv6:x]", b"a@[evil.example]"]


@pytest.mark.parametrize("text", _BAD_LOCAL + _BAD_QUOTES + _BAD_DOMAIN + _BAD_LITERAL)
def test_what_is_no_smtp_address(text: bytes) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(text)


def test_an_international_address_needs_smtputf8() -> None:
    address = parse_address("élève@collège.example".encode(), utf8=True)
    assert address == SmtpAddress("élève", "collège.example")
    assert address.needs_utf8
    assert str(address) == "élève@collège.example"
    assert not parse_address(b"a@b").needs_utf8
    with pytest.raises(InvalidAddress):
        parse_address(b"\xe9@b", utf8=True)


@settings(max_examples=200)
@given(st.text('ab.@"\\[]: é-\r\n\0', max_size=20).map(str.encode) | st.binary(max_size=30), st.booleans())
def test_an_smtp_address_is_refused_or_comes_round(text: bytes, utf8: bool) -> None:
    try:
        address = parse_address(text, utf8=utf8)
    except InvalidAddress:
        return
    assert parse_address(str(address).encode(), utf8=True) == address
