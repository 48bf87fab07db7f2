"""What the index says of a card: never less than the card itself does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.carddav.facts import SEARCHED, index_text, narrow, version_in
from preau.carddav.filters import CardFilter, PropertyFilter, TextMatch
from preau.carddav.query import matches
from preau.formats.content_lines import Line, escape
from preau.formats.vcard import Card


def card(*lines: tuple[str, str]) -> Card:
    return Card("3.0", "u", [Line(name, escape(value)) for name, value in lines])


def asked(*properties: PropertyFilter, every: bool = False) -> CardFilter:
    return CardFilter(every, properties)


def text(wanted: str, *, negated: bool = False, collation: str = "i;unicode-casemap") -> TextMatch:
    return TextMatch(wanted, collation, "contains", negated)


EMAIL = PropertyFilter("EMAIL", texts=(text("DURAND"),))
NOTE = PropertyFilter("NOTE", texts=(text("x"),))


def test_version() -> None:
    assert version_in(index_text(card(("FN", "Léa")))) == "3.0"
    assert version_in("4.0") == "4.0"  # as it was kept before there was more
    assert version_in("") is None


@pytest.mark.parametrize(
    ("filter_", "may"),
    [
        pytest.param(asked(EMAIL), (True, False), id="one"),
        pytest.param(asked(EMAIL, NOTE), None, id="any-with-unknown"),
        pytest.param(asked(EMAIL, NOTE, every=True), (True, False), id="all-with-unknown"),
        pytest.param(asked(PropertyFilter("EMAIL", not_defined=True)), None, id="not-defined"),
        pytest.param(asked(PropertyFilter("EMAIL", texts=(text("x", negated=True),))), None, id="negated"),
        pytest.param(asked(PropertyFilter("FN")), None, id="defined"),
        pytest.param(asked(), None, id="nothing"),
    ],
)
def test_narrow(filter_: CardFilter, may: tuple[bool, bool] | None) -> None:
    found = narrow(filter_)
    known = index_text(card(("EMAIL", "m.durand@x.example"))), index_text(card(("EMAIL", "p.petit@x.example")))
    assert (None if found is None else (found(known[0]), found(known[1]))) == may


def test_a_text_that_was_cut_tells_nothing() -> None:
    found = narrow(asked(EMAIL))
    assert found is not None
    whole = index_text(card(("EMAIL", "p.petit@x.example"), ("ORG", "a\n\nb")))
    assert not found(whole)
    assert all(found(whole[:cut]) for cut in range(len(whole)))
    assert found("3.0")


_VALUES = st.text("aé\u0301ÉßİſA\n\r, ;", max_size=6)
_MATCHES = st.builds(
    TextMatch,
    _VALUES,
    st.sampled_from(["i;ascii-casemap", "i;octet", "i;unicode-casemap"]),
    st.sampled_from(["equals", "contains", "starts-with", "ends-with"]),
    st.booleans(),
)
_NAMES = st.sampled_from([*sorted(SEARCHED)[:3], "NOTE"])
_PROPERTIES = st.builds(PropertyFilter, name=_NAMES, every=st.booleans(), texts=st.lists(_MATCHES, max_size=2).map(tuple))


@given(
    st.lists(st.tuples(_NAMES, _VALUES), max_size=4),
    st.builds(CardFilter, every=st.booleans(), properties=st.lists(_PROPERTIES, max_size=2).map(tuple)),
)
def test_what_matches_is_never_left_out(lines: list[tuple[str, str]], filter_: CardFilter) -> None:
    one = card(*lines)
    found = narrow(filter_)
    assert found is None or found(index_text(one)) or not matches(filter_, one)
