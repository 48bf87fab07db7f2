"""One key for all spellings of an address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.auth.addresses import InvalidAddress, domain_of, normalise_address, normalise_domain, without_tag


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Marie.Durand@Ecole.Example", "marie.durand@ecole.example"),
        (" marie@ecole.example. ", "marie@ecole.example"),
        ("Élise@ÉCOLE.example", "élise@xn--cole-9oa.example"),
        ("e\u0301lise@e\u0301cole.example", "élise@xn--cole-9oa.example"),
        ("élise@XN--COLE-9OA.example", "élise@xn--cole-9oa.example"),
        ("a@stra\u00dfe.example", "a@xn--strae-oqa.example"),
        ("a@ecole\u3002example", "a@ecole.example"),
        ("o'neil+tag@ecole.example", "o'neil+tag@ecole.example"),
        ("a@localhost", "a@localhost"),
    ],
)
def test_normalise_address(text: str, key: str) -> None:
    assert normalise_address(text) == key
    assert normalise_address(key) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "marie",
        "@ecole.example",
        "marie@",
        "marie@ecole..example",
        "marie@-ecole.example",
        ".marie@ecole.example",
        "ma..rie@ecole.example",
        '"marie durand"@ecole.example',
        "marie durand@ecole.example",
        "marie\r\n@ecole.example",
        "marie\u200b@ecole.example",
        "a@b@ecole.example",
        "marie@[192.0.2.1]",
        "marie@ecole.example\0",
        "m" * 65 + "@ecole.example",
        "marie@" + "e" * 64 + ".example",
        "marie@" + "ecole." * 50,
        "marie@" + "x" * 100_000,
        "\ud800@ecole.example",
        "marie@\U0001f600.example",
    ],
    ids=range(21),
)
def test_what_is_no_address_here(text: str) -> None:
    with pytest.raises(InvalidAddress):
        normalise_address(text)


@given(st.text(max_size=80))
def test_a_key_stays_a_key(text: str) -> None:
    try:
        key = normalise_address(text)
    except InvalidAddress:
        return
    assert normalise_address(key) == key
    assert domain_of(key) == normalise_domain(domain_of(key))


@pytest.mark.parametrize(
    ("address", "delimiter", "base"),
    [
        ("marie+tag@x", "+", "marie@x"),
        ("marie+a+b@x", "+", "marie@x"),
        ("marie@x", "+", None),
        ("+tag@x", "+", None),
        ("marie-tag@x", "-", "marie@x"),
        ("marie+tag@x", "", None),
    ],
)
def test_without_tag(address: str, delimiter: str, base: str | None) -> None:
    assert without_tag(address, delimiter) == base
