import email.utils

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.dates import Date, day_number, parse_date, parse_internaldate, render_date, render_internaldate

NOON = 1793697072  # Tue, 3 Nov 2026 09:11:12 UTC
DAY = 20760


@pytest.mark.parametrize(
    "value",
    [
        b"Tue, 3 Nov 2026 10:11:12 +0100",
        b"3 Nov 2026 10:11:12 +0100",
        b"Tue,  3 Nov 2026 10:11:12 +0100 (CET)",
        b"tue, 03 NOV 2026 10:11:12 +0100",
        b"Tue (day), 3 Nov (month) 2026 10 : 11 : 12 (x (y)) +0100",
        b"Tue, 3 Nov 26 10:11:12 +0100",
        b"Tue, 3 Nov 126 10:11:12 +0100",
        b"Tuesday, 3 November 2026 10:11:12 CET",
        b"3-Nov-2026 10:11:12 +01:00",
        b"Tue Nov  3 10:11:12 2026 +0100",
        b"Tue Nov 3 10:11:12 CET 2026",
        b"Tue, 3 Nov 2026 10:11:12.345 +0100",
        b"  Tue,3 Nov 2026 10:11:12 +0100 trailing words",
    ],
)
def test_spellings_of_one_moment(value: bytes) -> None:
    assert parse_date(value) == Date(NOON, DAY, 60)


@pytest.mark.parametrize(
    ("value", "seconds", "day", "offset"),
    [
        (b"3 Nov 2026", DAY * 86400, DAY, 0),
        (b"3 Nov 2026 10:11", DAY * 86400 + 36660, DAY, 0),
        (b"3 Nov 2026 23:30:00 -0500", DAY * 86400 + 84600 + 18000, DAY, -300),
        (b"3 Nov 2026 00:30:00 +1400", DAY * 86400 + 1800 - 50400, DAY, 840),
        (b"3 Nov 2026 00:00:00 EST", DAY * 86400 + 18000, DAY, -300),
        (b"3 Nov 2026 00:00:00 XYZ", DAY * 86400, DAY, 0),
        (b"3 Nov 2026 00:00:00 A", DAY * 86400, DAY, 0),
        (b"3 Nov 2026 00:00:00 +9999", DAY * 86400, DAY, 0),
        (b"31 Dec 2016 23:59:60 +0000", 1483228800, 17166, 0),
        (b"1 Jan 70 00:00:00 GMT", 0, 0, 0),
        (b"1 Jan 1969 00:00:00 GMT", -365 * 86400, -365, 0),
        (b"29 Feb 2028 00:00 GMT", 1835395200, 21243, 0),
    ],
)
def test_parse_date(value: bytes, seconds: int, day: int, offset: int) -> None:
    assert parse_date(value) == Date(seconds, day, offset)


_OUT_OF_RANGE = [b"32 Nov 2026 00:00:00 +0000", b"29 Feb 2027", b"3 Nov 2026 25:00:00", b"3 Nov 2026 10:60:00"]
_OUT_OF_RANGE += [b"3 Nov 2026 10:10:61", b"1 Jan 0000", b"0 Jan 2026"]
_GARBAGE = [b"", b"garbage", b"3 Foo 2026", b"Nov", b"\0\xff", b"(" * 1000, b"1 " * 100_000]


@pytest.mark.parametrize("value", _OUT_OF_RANGE + _GARBAGE)
def test_what_is_no_date(value: bytes) -> None:
    assert parse_date(value) is None


def test_rendering() -> None:
    assert render_date(NOON, 60) == b"Tue, 3 Nov 2026 10:11:12 +0100"
    assert render_internaldate(NOON, 60) == b'"03-Nov-2026 10:11:12 +0100"'
    assert render_internaldate(NOON) == b'"03-Nov-2026 09:11:12 +0000"'
    assert render_internaldate(NOON, -210) == b'"03-Nov-2026 05:41:12 -0330"'
    assert day_number(2026, 11, 3) == DAY
    with pytest.raises(OverflowError):
        render_date(10**15)


@pytest.mark.parametrize("value", [b"3-Nov-2026 10:11:12 +0100", b" 3-Nov-2026 10:11:12 +0100", b"03-nov-2026 10:11:12 +0100"])
def test_parse_internaldate(value: bytes) -> None:
    assert parse_internaldate(value) == Date(NOON, DAY, 60)


@pytest.mark.parametrize(
    "value",
    [b"", b"3-Nov-26 10:11:12 +0100", b"3-Nov-2026 10:11:12", b"3-Nov-2026 10:11:12 +2500", b"31-Feb-2026 10:11:12 +0000"],
)
def test_what_is_no_internaldate(value: bytes) -> None:
    assert parse_internaldate(value) is None


@settings(max_examples=300)
@given(st.integers(-(10**10), 10**11), st.integers(-1439, 1439))
def test_dates_come_round(seconds: int, offset: int) -> None:
    day = (seconds + offset * 60) // 86400
    assert parse_date(render_date(seconds, offset)) == Date(seconds, day, offset)
    assert parse_internaldate(render_internaldate(seconds, offset)[1:-1]) == Date(seconds, day, offset)
    assert email.utils.parsedate_to_datetime(render_date(seconds, offset).decode()).timestamp() == seconds


@settings(max_examples=200)
@given(st.text("0123456789 :+-,()NovTueGMT\0é", max_size=40).map(str.encode))
def test_anything_is_a_date_or_none(value: bytes) -> None:
    parse_date(value)
    parse_internaldate(value)
