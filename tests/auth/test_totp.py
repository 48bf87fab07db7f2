"""Time-based codes and recovery codes."""

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.auth import totp

SECRET = b"12345678901234567890"  # RFC 6238 appendix B


@pytest.mark.parametrize(
    ("now", "code"),
    [
        pytest.param(59, "287082", id="59"),
        pytest.param(1111111109, "081804", id="1111111109"),
        pytest.param(1234567890, "005924", id="1234567890"),
        pytest.param(20000000000, "353130", id="20000000000"),
    ],
)
def test_the_vectors_of_rfc_6238(now: int, code: str) -> None:
    assert totp.code_at(SECRET, now // totp.STEP) == code
    assert totp.matching_step(SECRET, code, now) == now // totp.STEP


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(-60, False), (-30, True), (0, True), (30, True), (60, False)],
    ids=["two steps back", "one back", "now", "one ahead", "two ahead"],
)
def test_the_window_is_one_step_each_way(offset: int, expected: bool) -> None:
    now = 1_800_000_015
    code = totp.code_at(SECRET, (now + offset) // totp.STEP)
    assert totp.matching_step(SECRET, code, now) == ((now + offset) // totp.STEP if expected else None)


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param("", id="empty"),
        pytest.param("28708", id="five"),
        pytest.param("2870822", id="seven"),
        pytest.param(" 287082", id="blank before"),
        pytest.param("\uff12\uff18\uff17\uff10\uff18\uff12", id="full-width digits"),
        pytest.param("٢٨٧٠٨٢", id="Arabic digits"),
        pytest.param("28708²", id="superscript"),
        pytest.param("-28708", id="sign"),
    ],
)
def test_only_six_ascii_digits_are_a_code(typed: str) -> None:
    assert totp.matching_step(SECRET, typed, 59) is None


def test_the_uri_is_read_by_others() -> None:
    uri = totp.provisioning_uri(SECRET, "marie@ecole.example", "Préau & Cie")
    parsed = pyotp.parse_uri(uri)
    assert isinstance(parsed, pyotp.TOTP)
    assert parsed.at(59) == "287082"
    assert (parsed.name, parsed.issuer) == ("marie@ecole.example", "Préau & Cie")


@given(st.binary(min_size=totp.RECOVERY_RANDOM_OCTETS, max_size=totp.RECOVERY_RANDOM_OCTETS))
def test_recovery_codes_are_parsed_as_they_are_printed(random: bytes) -> None:
    codes = totp.make_recovery_codes(random)
    assert len(codes) == 10
    for code in codes:
        assert len(code) == 11
        assert code[5] == "-"
        assert totp.parse_recovery_code(code.upper().replace("-", " ")) == code.replace("-", "")


@pytest.mark.parametrize("typed", ["", "abcde", "abcde-fghj1", "abcde-fghjk-m", "x" * 1000])
def test_what_is_no_recovery_code(typed: str) -> None:
    assert totp.parse_recovery_code(typed) is None


def test_recovery_macs_are_bound_to_the_account() -> None:
    assert totp.recovery_mac(b"p", "one", "abcde") != totp.recovery_mac(b"p", "two", "abcde")
