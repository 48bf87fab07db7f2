"""The form of app passwords: nothing mistyped passes, everything copying does to them is undone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.auth.app_passwords import LENGTH, RANDOM_OCTETS, AppPassword, check_symbol, mac, make, parse, render
from preau.auth.symbols import ALPHABET

randoms = st.binary(min_size=RANDOM_OCTETS, max_size=RANDOM_OCTETS)


def test_the_alphabet_has_31_symbols_and_none_that_looks_like_another() -> None:
    assert len(set(ALPHABET)) == 31
    assert not set("ilo01") & set(ALPHABET)


@given(randoms)
def test_what_is_rendered_is_parsed(random: bytes) -> None:
    password = make(random)
    assert len(password.selector) == 4
    assert len(password.secret) == 15
    assert parse(render(password)) == password


@given(randoms, st.integers(0, LENGTH - 1), st.sampled_from(ALPHABET))
@settings(max_examples=300)
def test_one_wrong_symbol_is_caught(random: bytes, place: int, other: str) -> None:
    symbols = render(make(random)).replace("-", "")
    changed = symbols[:place] + other + symbols[place + 1 :]
    assert (parse(changed) is None) == (changed != symbols)


@given(randoms)
@settings(max_examples=30)
def test_every_swap_of_two_symbols_is_caught(random: bytes) -> None:
    symbols = render(make(random)).replace("-", "")
    for first in range(LENGTH):
        for second in range(first + 1, LENGTH):
            swapped = list(symbols)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            assert (parse("".join(swapped)) is None) == (swapped != list(symbols))


EXAMPLE = render(AppPassword("k7mf", "p9xq2ctn4wdb8rj"))


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param(EXAMPLE, id="as shown"),
        pytest.param(EXAMPLE.upper(), id="capitals"),
        pytest.param(EXAMPLE.replace("-", ""), id="in one piece"),
        pytest.param(EXAMPLE.replace("-", " "), id="blanks"),
        pytest.param(EXAMPLE.replace("-", "\u00a0"), id="no-break spaces"),
        pytest.param(EXAMPLE.replace("-", "\u2013"), id="en dashes"),
        pytest.param(EXAMPLE.replace("-", "\u2011"), id="no-break hyphens"),
        pytest.param(EXAMPLE.replace("-", "\u2019"), id="apostrophes"),
        pytest.param(f"\ufeff {EXAMPLE}\u202f", id="blanks around"),
    ],
)
def test_what_copying_does_is_undone(typed: str) -> None:
    assert parse(typed) == AppPassword("k7mf", "p9xq2ctn4wdb8rj")


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param("", id="empty"),
        pytest.param(EXAMPLE[:-1], id="a symbol short"),
        pytest.param(EXAMPLE + "a", id="a symbol long"),
        pytest.param("i" + EXAMPLE[1:], id="symbol of no alphabet"),
        pytest.param(EXAMPLE + " " * 64, id="longer than is looked at"),
        pytest.param("-" * 10_000_000, id="very long"),
        pytest.param("motdepasse1234567890", id="a password"),
    ],
)
def test_other_forms_are_something_else(typed: str) -> None:
    assert parse(typed) is None


def test_few_passwords_of_twenty_symbols_are_mistaken_for_one() -> None:
    symbols = "abcdefghjkmnpqrstuvw"
    assert sum(parse(symbols[:-1] + last) is not None for last in ALPHABET) == 1


def test_the_mac_is_bound_to_account_and_selector() -> None:
    password, other = AppPassword("aaaa", "b" * 15), AppPassword("aaab", "b" * 15)
    macs = {mac(b"p" * 32, "one", password), mac(b"p" * 32, "two", password), mac(b"p" * 32, "one", other)}
    macs.add(mac(b"q" * 32, "one", password))
    assert len(macs) == 4


def test_the_secret_is_not_in_its_repr() -> None:
    assert "secret" not in repr(AppPassword("k7mf", "p9xq2ctn4wdb8rj"))


def test_the_check_symbol_is_the_weighted_sum() -> None:
    assert check_symbol("a" * 19) == "a"
    assert check_symbol("b" + "a" * 18) == ALPHABET[1]
    assert check_symbol("a" * 18 + "b") == ALPHABET[19]
