"""Dates, durations, offsets, and the doors between the wall and UTC."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.calendar_values import (
    BEGINNING,
    DAY,
    END,
    Duration,
    Moment,
    parse_duration,
    parse_moment,
    parse_offset,
    render_date,
    render_utc,
    utc_of,
    wall_of,
)

NEW_YEAR = 1_767_225_600


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260101", Moment(NEW_YEAR, "date")),
        ("20260101T000000", Moment(NEW_YEAR, "local")),
        (" 20260101T000000Z ", Moment(NEW_YEAR, "utc")),
        ("20260101T0001", Moment(NEW_YEAR + 60, "local")),
        ("20251231T240000", Moment(NEW_YEAR, "local")),
        ("20251231T235960Z", Moment(NEW_YEAR - 1, "utc")),
        ("00010101", Moment(BEGINNING, "date")),
        ("99991231T235959", Moment(END - 1, "local")),
        ("20240229", Moment(1_709_164_800, "date")),
        ("20260229", None),
        ("20261301", None),
        ("00000101", None),
        ("20260101T250000", None),
        ("20260101T006000", None),
        ("20260101T000061", None),
        ("99991231T240000", None),
        ("2026-01-01", None),
        ("20260101Z", None),
        ("20260101T", None),
        ("20260101T000000ZZ", None),
        ("٢٠٢٦٠١٠١", None),
        ("", None),
    ],
)
def test_moments(text: str, expected: Moment | None) -> None:
    assert parse_moment(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P1D", Duration(1, 0)),
        ("-P1W", Duration(-7, 0)),
        ("+PT15M", Duration(0, 900)),
        ("P1DT2H3M4S", Duration(1, 7384)),
        ("pt0s", Duration(0, 0)),
        ("P1W2D", Duration(9, 0)),
        ("-PT24H", Duration(0, -DAY)),
        ("P999999999W", Duration((END - BEGINNING) // DAY, 0)),
        ("P", None),
        ("PT", None),
        ("P1DT", None),
        ("P1H", None),
        ("PT1D", None),
        ("P-1D", None),
        ("1D", None),
        ("P1.5D", None),
        ("P1000000000D", None),
        ("P" + "0" * 100 + "D", None),
    ],
    ids=lambda each: each[:20] if isinstance(each, str) else "",
)
def test_durations(text: str, expected: Duration | None) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("+0100", 3600), ("-0330", -12_600), ("+010203", 3723), ("+01:00", 3600), (" +0000 ", 0), ("-2359", -86_340)),
        *(("+2400", None), ("0100", None), ("+1", None), ("+01000", None), ("", None)),
    ],
)
def test_offsets(text: str, expected: int | None) -> None:
    assert parse_offset(text) == expected


@settings(max_examples=100)
@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59)))  # noqa: DTZ001  # hypothesis asks for naive bounds
def test_what_is_rendered_is_read_again(moment: datetime) -> None:
    seconds = (moment.replace(tzinfo=UTC, microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    assert parse_moment(render_utc(seconds)) == Moment(seconds, "utc")
    assert parse_moment(render_date(seconds)) == Moment(seconds - seconds % DAY, "date")


@settings(max_examples=100)
@given(st.text("0123456789TZPDWHMS+-:/ ", max_size=18))
def test_any_text_is_a_value_or_none(text: str) -> None:
    moment = parse_moment(text)
    assert moment is None or BEGINNING <= moment.wall < END
    duration = parse_duration(text)
    assert duration is None or abs(duration.total) <= 2 * (END - BEGINNING)
    offset = parse_offset(text)
    assert offset is None or abs(offset) < DAY


@settings(max_examples=100)
@given(
    st.one_of(st.integers(BEGINNING - 3 * DAY, END + 3 * DAY), st.sampled_from([BEGINNING, BEGINNING - 1, END - 1, END])),
    st.sampled_from([ZoneInfo("Europe/Paris"), ZoneInfo("Pacific/Apia"), timezone(timedelta(hours=-23, minutes=-59)), UTC]),
)
def test_the_doors_never_fail_and_lead_back(utc: int, zone: ZoneInfo | timezone) -> None:
    there = wall_of(utc, zone)
    assert abs(there - utc) < DAY
    # A time that comes twice is the first, Apia's lost day apart.
    assert abs(utc_of(there, zone) - utc) in (0, 3600)
