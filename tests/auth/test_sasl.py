"""PLAIN and LOGIN, and base64 before them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.auth.sasl import (
    MAX_LINE,
    MAX_LOGIN,
    MAX_SECRET,
    MECHANISMS,
    Cancelled,
    Challenge,
    Credentials,
    MalformedResponse,
    decode_response,
    encode_challenge,
    open_mechanism,
)


def exchange(name: str, *responses: bytes | None) -> list[Challenge | Credentials]:
    mechanism = open_mechanism(name)
    assert mechanism is not None
    return [mechanism.receive(response) for response in responses]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param(b"\0marie\0secret", Credentials("marie", "secret", "PLAIN"), id="no authzid"),
        pytest.param(b"marie\0marie\0secret", Credentials("marie", "secret", "PLAIN", "marie"), id="equal authzid"),
        pytest.param(b"paul\0marie\0secret", Credentials("marie", "secret", "PLAIN", "paul"), id="another authzid"),
        pytest.param("\0élise\0été".encode(), Credentials("élise", "été", "PLAIN"), id="UTF-8"),
    ],
)
def test_plain(response: bytes, expected: Credentials) -> None:
    assert exchange("plain", response) == [expected]
    assert exchange("PLAIN", None, response) == [Challenge(b""), expected]


def test_login_asks_twice() -> None:
    asked = [Challenge(b"Username:"), Challenge(b"Password:"), Credentials("marie", "secret", "LOGIN")]
    assert exchange("LOGIN", None, b"marie", b"secret") == asked


def test_login_with_an_initial_response_as_outlook_sends_it() -> None:
    assert exchange("login", b"marie", b"secret") == [Challenge(b"Password:"), Credentials("marie", "secret", "LOGIN")]


@pytest.mark.parametrize(
    ("name", "response"),
    [
        pytest.param("PLAIN", b"", id="empty"),
        pytest.param("PLAIN", b"marie\0secret", id="two parts"),
        pytest.param("PLAIN", b"\0marie\0se\0cret", id="four parts"),
        pytest.param("PLAIN", b"\0\0secret", id="no login"),
        pytest.param("PLAIN", b"\0marie\0", id="no password"),
        pytest.param("PLAIN", b"\0marie\0\xff", id="not UTF-8"),
        pytest.param("PLAIN", b"\0" + b"m" * (MAX_LOGIN + 1) + b"\0secret", id="long login"),
        pytest.param("PLAIN", b"\0marie\0" + b"s" * (MAX_SECRET + 1), id="long password"),
        pytest.param("PLAIN", b"a" * (MAX_LOGIN + 1) + b"\0marie\0secret", id="long authzid"),
        pytest.param("LOGIN", b"", id="LOGIN without a name"),
        pytest.param("LOGIN", b"a\0b", id="LOGIN with NUL"),
        pytest.param("LOGIN", b"\xff", id="LOGIN not UTF-8"),
    ],
)
def test_malformed_responses(name: str, response: bytes) -> None:
    with pytest.raises(MalformedResponse):
        exchange(name, response)


@pytest.mark.parametrize(
    ("line", "expected"),
    [(b"AG1hcmllAHNlY3JldA==", b"\0marie\0secret"), (b"=", b""), (b"", b"")],
    ids=["a response", "empty initial response", "empty line"],
)
def test_base64(line: bytes, expected: bytes) -> None:
    assert decode_response(line) == expected


@pytest.mark.parametrize(
    "line",
    [b"A", b"AG1h cmll", b"AG1hcmllAHNlY3JldA=", b"AG1hcmll!", b"AA==AA==", b"\xc3\xa9", b"A" * (MAX_LINE + 4)],
    ids=["cut", "blank", "padding cut", "sign", "padding within", "not ASCII", "too long"],
)
def test_what_is_not_base64(line: bytes) -> None:
    with pytest.raises(MalformedResponse):
        decode_response(line)


def test_a_star_cancels() -> None:
    with pytest.raises(Cancelled):
        decode_response(b"*")


def test_the_longest_credentials_fit_a_line() -> None:
    message = b"a" * MAX_LOGIN + b"\0" + b"b" * MAX_LOGIN + b"\0" + b"c" * MAX_SECRET
    line = base64.b64encode(message)
    assert len(line) == MAX_LINE
    assert isinstance(exchange("PLAIN", decode_response(line))[0], Credentials)


@given(st.sampled_from(MECHANISMS), st.lists(st.one_of(st.none(), st.binary(max_size=64)), min_size=1, max_size=4))
def test_only_malformed_response_comes_out(name: str, responses: list[bytes | None]) -> None:
    mechanism = open_mechanism(name)
    assert mechanism is not None
    for response in responses:
        try:
            answer = mechanism.receive(response)
        except MalformedResponse:
            return
        if isinstance(answer, Credentials):
            return
        assert b"\n" not in encode_challenge(answer.data)


@given(st.binary(max_size=200))
def test_base64_gives_octets_or_malformed_response(line: bytes) -> None:
    try:
        assert base64.b64encode(decode_response(line)) in (line, b"")
    except MalformedResponse:
        pass


@pytest.mark.parametrize("name", ["", "CRAM-MD5", "SCRAM-SHA-256", "EXTERNAL"])
def test_what_is_not_offered_is_not_opened(name: str) -> None:
    assert open_mechanism(name) is None


def test_the_secret_is_not_in_its_repr() -> None:
    assert "hush" not in repr(Credentials("marie", "hush", "PLAIN"))
