"""Conditional requests: what is read, and what it means for what is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.dav.conditions import NOTHING, InvalidCondition, State, holds, parse_etags, parse_if, weigh

HERE = State(True, "abc", 1_700_000_000, frozenset({"data:,7.3"}))
DATE, EARLIER = "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:19 GMT"


@pytest.mark.parametrize(
    ("headers", "state", "reads", "status"),
    [
        pytest.param({}, HERE, False, None, id="none"),
        pytest.param({"if-match": '"abc"'}, HERE, False, None, id="match"),
        pytest.param({"if-match": '"x", "abc"'}, HERE, False, None, id="one of two"),
        pytest.param({"if-match": "abc"}, HERE, False, None, id="without quotes"),
        pytest.param({"if-match": '"x"'}, HERE, False, 412, id="no match"),
        pytest.param({"if-match": 'W/"abc"'}, HERE, False, 412, id="a weak tag never matches strongly"),
        pytest.param({"if-match": "*"}, HERE, False, None, id="any, there"),
        pytest.param({"if-match": "*"}, NOTHING, False, 412, id="any, nothing there"),
        pytest.param({"if-match": '"abc"'}, NOTHING, False, 412, id="match, nothing there"),
        pytest.param({"if-none-match": "*"}, NOTHING, False, None, id="none, nothing there"),
        pytest.param({"if-none-match": "*"}, HERE, False, 412, id="none, there"),
        pytest.param({"if-none-match": '"abc"'}, HERE, True, 304, id="not modified"),
        pytest.param({"if-none-match": 'W/"abc"'}, HERE, True, 304, id="weakly not modified"),
        pytest.param({"if-none-match": '"abc"'}, HERE, False, 412, id="a write of the same"),
        pytest.param({"if-none-match": '"x"'}, HERE, True, None, id="another"),
        pytest.param({"if-modified-since": DATE}, HERE, True, 304, id="not since"),
        pytest.param({"if-modified-since": EARLIER}, HERE, True, None, id="since"),
        pytest.param({"if-modified-since": "yesterday"}, HERE, True, None, id="no date"),
        pytest.param({"if-modified-since": DATE, "if-none-match": '"x"'}, HERE, True, None, id="tags before dates"),
        pytest.param({"if-unmodified-since": EARLIER}, HERE, False, 412, id="modified since"),
        pytest.param({"if-unmodified-since": DATE}, HERE, False, None, id="unmodified since"),
        pytest.param({"if": '(["abc"])'}, HERE, False, None, id="If, tag"),
        pytest.param({"if": '(["x"])'}, HERE, False, 412, id="If, other tag"),
        pytest.param({"if": '(["x"]) (["abc"])'}, HERE, False, None, id="If, second list"),
        pytest.param({"if": '(Not ["x"] ["abc"])'}, HERE, False, None, id="If, not"),
        pytest.param({"if": "(<data:,7.3>)"}, HERE, False, None, id="If, sync token"),
        pytest.param({"if": "(<data:,7.2>)"}, HERE, False, 412, id="If, older token"),
        pytest.param({"if": "(<opaquelocktoken:x>)"}, HERE, False, 412, id="If, a lock nobody holds"),
        pytest.param({"if": "(Not <DAV:no-lock>)"}, HERE, False, None, id="If, no lock"),
    ],
)
def test_conditions(headers: dict[str, str], state: State, reads: bool, status: int | None) -> None:
    assert weigh(headers, state, lambda tag: state, reads=reads) == status


def test_tagged_lists_ask_about_their_own_resource() -> None:
    groups = parse_if('</a> (["1"]) </b> (["2"] <t>)')
    states = {"/a": State(True, "x"), "/b": State(True, "2", tokens=frozenset({"t"}))}
    assert holds(groups, lambda tag: states[tag or ""])


@pytest.mark.parametrize(
    "header",
    ["", "()", "(", "([", "x", "</a>", "</a> </b> ()", '(["a"]) </b> (["c"])', '(Not Not ["a"])', "(Not)", '(["a"]' * 600],
)
def test_a_bad_if_is_refused(header: str) -> None:
    with pytest.raises(InvalidCondition):
        parse_if(header)


@given(st.text(alphabet='()<>[]"Not W/* ,abc', max_size=40))
def test_only_its_own_error_comes_out(header: str) -> None:
    for parse in (parse_if, parse_etags):
        try:
            parse(header)
        except InvalidCondition:
            pass
