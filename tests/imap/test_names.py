"""Mailbox names on the wire, the hierarchy, and LIST patterns against a naive matcher."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.imap.names import (
    InvalidMailboxName,
    ListPattern,
    ListPatterns,
    decode_mailbox,
    encode_mailbox,
    fold_inbox,
    is_below,
    parents,
)

PAIRS = [
    pytest.param("INBOX", b"INBOX", id="ascii"),
    pytest.param("Tom & Jerry", b"Tom &- Jerry", id="ampersand"),
    pytest.param("Envoy\u00e9s", b"Envoy&AOk-s", id="french"),
    pytest.param("\u00c9l\u00e8ves/3\u00b0", b"&AMk-l&AOg-ves/3&ALA-", id="hierarchy"),
    pytest.param("~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", id="RFC 3501's own"),
    pytest.param("\U0001f600", b"&2D3eAA-", id="surrogate pair"),
    pytest.param("\u00e9&\u00e9", b"&AOk-&-&AOk-", id="ampersand between runs"),
    pytest.param("", b"", id="empty"),
]


@pytest.mark.parametrize(("name", "octets"), PAIRS)
def test_modified_utf7(name: str, octets: bytes) -> None:
    assert encode_mailbox(name) == octets
    assert decode_mailbox(octets) == name


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"&", id="no end"),
        pytest.param(b"&AOk", id="run without its end"),
        pytest.param(b"&AGE-", id="printable ASCII in base64"),
        pytest.param(b"&AOk-&AOg-", id="two runs side by side"),
        pytest.param(b"&AO-", id="half a character"),
        pytest.param(b"&AOl-", id="stray bits"),
        pytest.param(b"&AOk=-", id="padded"),
        pytest.param(b"&U/BTFw-", id="slash of common base64"),
        pytest.param(b"&2D0-", id="half a surrogate pair"),
        pytest.param(b"&!!!!-", id="not base64"),
        pytest.param("Envoy\u00e9s".encode(), id="8-bit"),
    ],
)
def test_a_name_has_one_spelling(octets: bytes) -> None:
    with pytest.raises(InvalidMailboxName):
        decode_mailbox(octets)


def test_utf8_names() -> None:
    assert decode_mailbox("Envoy\u00e9s".encode(), utf8=True) == "Envoy\u00e9s"
    assert decode_mailbox(b"Tom &- Jerry", utf8=True) == "Tom &- Jerry"
    with pytest.raises(InvalidMailboxName):
        decode_mailbox(b"\xff", utf8=True)


def test_lone_surrogates_have_no_encoding() -> None:
    with pytest.raises(InvalidMailboxName):
        encode_mailbox("\ud800")


@given(st.text())
def test_round_trip(name: str) -> None:
    octets = encode_mailbox(name)
    assert octets.isascii()
    assert decode_mailbox(octets) == name


@given(st.binary(max_size=30))
def test_what_decodes_is_the_only_spelling(octets: bytes) -> None:
    try:
        name = decode_mailbox(octets)
    except InvalidMailboxName:
        return
    if all(0x20 <= octet < 0x7F for octet in octets):
        assert encode_mailbox(name) == octets


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("inbox", "INBOX"),
        ("InBox/Class", "INBOX/Class"),
        ("inboxes", "inboxes"),
        ("a/inbox", "a/inbox"),
        ("\u0131nbox", "\u0131nbox"),
        ("", ""),
    ],
)
def test_fold_inbox(name: str, folded: str) -> None:
    assert fold_inbox(name) == folded


def test_hierarchy() -> None:
    assert list(parents("a/b/c")) == ["a/b", "a"]
    assert list(parents("a")) == []
    assert is_below("a/b", "a")
    assert not is_below("ab", "a")


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "a/b", True),
        ("%", "a/b", False),
        ("%", "a", True),
        ("%/%", "a/b", True),
        ("a/%", "a/b/c", False),
        ("a/*", "a/b/c", True),
        ("a*c", "a/b/c", True),
        ("a%c", "abbc", True),
        ("a%c", "ab/c", False),
        ("%*", "a/b", True),
        ("*%", "a/b", True),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("A", "a", False),
        ("a%", "a", True),
        ("%%", "a/b", False),
    ],
)
def test_list_pattern(pattern: str, name: str, matches: bool) -> None:
    assert ListPattern(pattern).matches(name) is matches


@given(st.text("ab/%*", max_size=8), st.text("ab/", max_size=10))
def test_list_pattern_agrees_with_a_regular_expression(pattern: str, name: str) -> None:
    regex = "".join({"*": ".*", "%": "[^/]*"}.get(c, re.escape(c)) for c in pattern)
    assert ListPattern(pattern).matches(name) is bool(re.fullmatch(regex, name, re.DOTALL))


def test_many_wildcards_end() -> None:
    # A backtracking matcher would not come back from this one.
    assert not ListPattern("%a" * 400 + "x").matches("a" * 1000)
    assert ListPattern("*a" * 400).matches("a" * 1000)


@pytest.mark.parametrize("pattern", ["inbox", "INBOX", "InB%", "*"])
def test_inbox_matches_in_any_case(pattern: str) -> None:
    assert ListPatterns("", (pattern,)).matches("INBOX")


def test_patterns_join_the_reference() -> None:
    patterns = ListPatterns("Classes/", ("%", "*/2026"))
    assert patterns.matches("Classes/3A")
    assert patterns.matches("Classes/3A/2026")
    assert not patterns.matches("3A")
    assert ListPatterns("", ("inbox/%",)).matches("INBOX/a")
