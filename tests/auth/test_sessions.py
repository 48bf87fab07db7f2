"""Session ids and references."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.auth.api import CredentialId, Revocation, SessionId
from preau.auth.references import References
from preau.auth.sessions import Session, Sessions, make_session_id, parse_session_id, short_id
from preau.storage.api import AccountId

KEY = b"k" * 32
MARIE, PAUL = AccountId("marie"), AccountId("paul")
PASSWORD, PHONE = CredentialId("password"), CredentialId("app:41")


def make_id(account: AccountId = MARIE, credential: CredentialId = PHONE, random: bytes = bytes(8)) -> SessionId:
    return make_session_id(account, credential, 1_800_000_000, random, KEY)


def test_an_id_says_whose_it_is() -> None:
    assert parse_session_id(make_id(), KEY) == Session(MARIE, PHONE, 1_800_000_000)
    assert short_id(make_id(random=b"\x01" * 8)) == "01" * 8


@pytest.mark.parametrize(
    "text",
    ["", ".", "....", make_id()[:-1], make_id().replace("marie", "paul"), make_id() + "0", "x" * 300, "é", make_id() + "é"],
    ids=["empty", "dot", "dots", "cut", "another account", "longer", "long", "not ASCII", "not ASCII behind"],
)
def test_what_is_no_id_of_ours(text: str) -> None:
    assert parse_session_id(text, KEY) is None


def test_an_id_under_another_key_is_none() -> None:
    assert parse_session_id(make_id(), b"other") is None


@given(st.text(max_size=100))
def test_parsing_never_raises(text: str) -> None:
    assert parse_session_id(text, KEY) is None


@pytest.mark.parametrize(
    ("revocation", "left"),
    [
        pytest.param(Revocation(account=MARIE), {"paul phone"}, id="account"),
        pytest.param(Revocation(account=MARIE, credential=PHONE), {"marie", "paul phone"}, id="credential of an account"),
        pytest.param(Revocation(session=SessionId("marie")), {"marie phone", "paul phone"}, id="session"),
    ],
)
def test_revocation_ends_what_matches_every_field(revocation: Revocation, left: set[str]) -> None:
    sessions = Sessions()
    sessions.open(SessionId("marie"), Session(MARIE, PASSWORD, 0))
    sessions.open(SessionId("marie phone"), Session(MARIE, PHONE, 0))
    sessions.open(SessionId("paul phone"), Session(PAUL, PHONE, 0))
    assert sessions.end(revocation) == 3 - len(left)
    assert {name for name in ("marie", "marie phone", "paul phone") if sessions.get(SessionId(name))} == left


def test_the_table_of_sessions_is_bounded() -> None:
    sessions = Sessions(limit=10)
    for number in range(100):
        sessions.open(SessionId(str(number)), Session(MARIE, PASSWORD, 0))
    assert len(sessions) == 10
    assert sessions.get(SessionId("99")) is not None
    assert sessions.close(SessionId("0")) is None


def references(limit: int = 100) -> References:
    count = iter(range(1_000_000))
    return References(lambda size: next(count).to_bytes(size, "big"), limit=limit)


def test_a_refusal_that_repeats_has_one_reference_a_minute() -> None:
    some = references()
    first, is_new = some.draw("key", 0)
    assert is_new
    assert len(first) == 4
    assert [some.draw("key", second) for second in range(1, 60)] == [(first, False)] * 59
    second, is_new = some.draw("key", 60)
    assert is_new
    assert second != first
    assert some.take_repeated(61) == [(first, 59)]
    assert some.take_repeated(61) == []


def test_repetitions_are_told_when_their_minute_is_over_or_room_is_needed() -> None:
    some = references(limit=2)
    names = {}
    for key in ("a", "b"):
        names[key] = some.draw(key, 0)[0]
        some.draw(key, 1)
    some.draw("c", 2)
    assert some.take_repeated(3) == [(names["a"], 1)]
    assert some.take_repeated(100) == [(names["b"], 1)]


def test_all_that_is_open_is_told_at_the_end() -> None:
    some = references()
    name, _ = some.draw("a", 0)
    some.draw("a", 0)
    assert some.take_repeated(0, everything=True) == [(name, 1)]
