"""Calendar object resources: what RFC 4791 section 4.1 forbids, each with its condition; hostile octets; the way back."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calendar_plans import random_plan
from preau.formats.content_lines import Component, ContentLimits, fold, parse_components, render
from preau.formats.icalendar import CalendarLimits, CalendarObject, InvalidCalendar, read_calendar_object

DATA, OBJECT, KIND = "valid-calendar-data", "valid-calendar-object-resource", "supported-calendar-component"
ZONE = "BEGIN:VTIMEZONE|TZID:Mine|BEGIN:STANDARD|DTSTART:19700101T000000|TZOFFSETTO:+0100|END:STANDARD|END:VTIMEZONE"
EVENT = "BEGIN:VEVENT|UID:1|DTSTART:20260101T090000Z|END:VEVENT"
MOVED = "BEGIN:VEVENT|UID:1|RECURRENCE-ID:20260102T090000Z|DTSTART:20260102T100000Z|END:VEVENT"
DEEP = "BEGIN:X|" * 10 + "END:X|" * 10
MANY = "|".join(f"BEGIN:VEVENT|UID:1|RECURRENCE-ID:2026010{day}|END:VEVENT" for day in range(1, 8))


def octets(*parts: str) -> bytes:
    return "|".join(["BEGIN:VCALENDAR", "VERSION:2.0", *parts, "END:VCALENDAR", ""]).replace("|", "\r\n").encode()


def refused(data: bytes, limits: CalendarLimits | None = None) -> str:
    with pytest.raises(InvalidCalendar) as caught:
        read_calendar_object(data, limits or CalendarLimits())
    assert 0 < len(str(caught.value)) < 300
    return caught.value.condition


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"", DATA),
        (b"hello", DATA),
        (b"BEGIN:VCARD\r\nVERSION:3.0\r\nEND:VCARD\r\n", DATA),
        (octets(EVENT) + octets(EVENT), DATA),
        (octets(EVENT) + b"X", DATA),
        (octets(EVENT).replace(b"VERSION:2.0", b"VERSION:1.0"), DATA),
        (octets("CALSCALE:HEBREW", EVENT), DATA),
        (octets(EVENT)[:-20], DATA),
        (octets(EVENT.replace("UID:1", "UID:\0")), DATA),
        (octets(EVENT).replace(b"UID:1", b"UID:\xff"), DATA),
        (octets("METHOD:REQUEST", EVENT), OBJECT),
        (octets("METHOD:", EVENT), OBJECT),
        (octets(), OBJECT),
        (octets(ZONE), OBJECT),
        (octets(EVENT, "BEGIN:VTODO|UID:1|END:VTODO"), OBJECT),
        (octets(EVENT, EVENT.replace("UID:1", "UID:2")), OBJECT),
        (octets(EVENT, MOVED.replace("UID:1", "UID:2")), OBJECT),
        (octets(EVENT, EVENT), OBJECT),
        (octets(EVENT, MOVED, MOVED), OBJECT),
        (octets(MOVED, MOVED), OBJECT),
        (octets(EVENT, MOVED.replace("RECURRENCE-ID:", "RECURRENCE-ID:20260103T090000Z|RECURRENCE-ID:")), OBJECT),
        (octets(EVENT.replace("UID:1|", "")), OBJECT),
        (octets(EVENT.replace("UID:1", "UID:")), OBJECT),
        (octets(EVENT.replace("UID:1", "UID: ")), OBJECT),
        (octets(EVENT.replace("UID:1", "UID:1|UID:1")), OBJECT),
        (octets(EVENT.replace("UID:1", "UID:" + "1" * 1_001)), OBJECT),
        (octets("BEGIN:VALARM|UID:1|END:VALARM"), KIND),
        (octets("BEGIN:X-OTHER|UID:1|END:X-OTHER"), KIND),
        (octets("BEGIN:|END:"), KIND),
    ],
    ids=range(29),
)
def test_what_is_no_object_says_which_condition_it_fails(data: bytes, condition: str) -> None:
    assert refused(data) == condition


@pytest.mark.parametrize(
    ("data", "kind", "overrides", "has_master"),
    [
        (octets(EVENT), "VEVENT", 0, True),
        (octets(ZONE, EVENT, MOVED), "VEVENT", 1, True),
        (octets(MOVED), "VEVENT", 1, False),
        (octets(MOVED, MOVED.replace("20260102", "20260103")), "VEVENT", 2, False),
        (octets("BEGIN:VTODO|UID:1|END:VTODO"), "VTODO", 0, True),
        (octets("BEGIN:VJOURNAL|UID:1|END:VJOURNAL"), "VJOURNAL", 0, True),
        (octets("BEGIN:VFREEBUSY|UID:1|END:VFREEBUSY"), "VFREEBUSY", 0, True),
        (octets("BEGIN:VAVAILABILITY|UID:1|END:VAVAILABILITY"), "VAVAILABILITY", 0, True),
        (octets(EVENT).replace(b"VERSION:2.0\r\n", b""), "VEVENT", 0, True),
        (octets("CALSCALE:gregorian", EVENT), "VEVENT", 0, True),
        (octets(EVENT).replace(b"\r\n", b"\n"), "VEVENT", 0, True),
        (b"\xef\xbb\xbf" + octets(EVENT).lower(), "VEVENT", 0, True),
        (octets(ZONE.replace("TZID:Mine|", ""), EVENT), "VEVENT", 0, True),
    ],
    ids=range(13),
)
def test_objects_are_read(data: bytes, kind: str, overrides: int, *, has_master: bool) -> None:
    obj = read_calendar_object(data)
    assert (obj.kind, obj.uid, len(obj.overrides), obj.master is not None) == (kind, "1", overrides, has_master)


def test_the_same_original_in_two_zones_is_two_overrides_by_their_text() -> None:
    there = MOVED.replace("RECURRENCE-ID:20260102T090000Z", "RECURRENCE-ID;TZID=Mine:20260102T090000")
    obj = read_calendar_object(octets(ZONE, EVENT, MOVED, there))
    assert (len(obj.overrides), list(obj.zones)) == (2, ["Mine"])


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (octets(DEEP), CalendarLimits()),
        (octets(EVENT.replace("UID:1", "UID:1|" + DEEP)), CalendarLimits()),
        (octets(EVENT.replace("|END", "|X:1" * 200_000 + "|END")), CalendarLimits()),
        (octets(EVENT.replace("|END", "|X:1" + "|  1" * 200_000 + "|X:" + "y" * 10_485_760 + "|END")), CalendarLimits()),
        (octets("BEGIN:X|END:X|" * 10_001), CalendarLimits()),
        (octets(EVENT, MANY), CalendarLimits(overrides=6)),
        (octets(EVENT), CalendarLimits(content=ContentLimits(lines=5))),
        (b"BEGIN:VCALENDAR\r\n" * 100_000, CalendarLimits()),
        (b"\r\n" * 200_000, CalendarLimits()),
        (b"BEGIN:VCALENDAR\r\nX" + b";A" * 5_000_000, CalendarLimits()),
    ],
    ids=[
        "deep",
        "deep inside",
        "200,000 lines",
        "10 MB line",
        "components",
        "overrides",
        "few lines",
        "opens",
        "empty",
        "head",
    ],
)
def test_limits_end_what_is_too_much(data: bytes, limits: CalendarLimits) -> None:
    assert refused(data, limits) in (DATA, OBJECT)


def read(data: bytes) -> CalendarObject | None:
    try:
        return read_calendar_object(data)
    except InvalidCalendar:
        return None


@settings(max_examples=100)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_octets_are_an_object_or_refused(data: bytes) -> None:
    assert read(data) is None
    read(b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\n" + data + b"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")


PIECES = [
    *(b"BEGIN:VEVENT", b"END:VEVENT", b"BEGIN:VCALENDAR", b"UID:2", b"METHOD:X", b"RECURRENCE-ID:20260102T090000Z"),
    *(b"\r\n", b"\n", b" ", b"\0", b"\xff", b":", b";", b'"', b"=", b""),
]


def test_valid_objects_mutated_are_objects_or_refused() -> None:
    kept = 0
    for number in range(150):
        random = Random(f"mutation {number}")
        data = bytearray(random_plan(random).text().encode())
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(data))
            data[at : at + random.choice((0, 0, 1, 5, 40))] = random.choice(PIECES)
        obj = read(bytes(data))
        if obj is not None:
            kept += 1
            assert read_calendar_object(render(obj.calendar).encode()).uid == obj.uid
    assert 20 < kept < 150


def values(component: Component) -> tuple[object, ...]:
    return component.name, [line[:4] for line in component.lines], [values(each) for each in component.components]


def test_canonical_text_comes_back_octet_for_octet() -> None:
    for number in range(80):
        lines = random_plan(Random(f"canonical {number}")).text().split("\r\n")[:-1]
        data = "".join(map(fold, lines)).encode()
        assert all(len(line) <= 75 for line in data.split(b"\r\n"))
        (found,) = parse_components(data)
        assert render(found).encode() == data


NEWLINES = st.sampled_from(["\r\n", "\n"])
FOLDS = st.sampled_from(["\r\n ", "\n ", "\n\t", "\r\n\t"])


@settings(max_examples=40)
@given(st.integers(0, 60), NEWLINES, st.lists(st.tuples(st.integers(0, 5_000), FOLDS), max_size=8), st.booleans())
def test_any_way_to_write_it_has_the_same_values(number: int, newline: str, folds: list[tuple[int, str]], lower: bool) -> None:
    """Folded anywhere inside lines, with either newline, names in either case: parsed alike, and canonical when rendered."""
    text = random_plan(Random(f"any {number}")).text()
    lines = [line for line in text.split("\r\n") if line]
    canonical = render(parse_components(text.encode())[0])
    for index, (at, folding) in {at % len(lines): (at, folding) for at, folding in folds}.items():
        cut = 1 + at % (len(lines[index]) - 1)
        lines[index] = lines[index][:cut] + folding + lines[index][cut:]
    written = newline.join(lines)
    if lower:
        written = written.replace("BEGIN:", "begin:").replace("DTSTART", "dtstart").replace("SUMMARY", "Summary")
    (found,) = parse_components(written.encode())
    (expected,) = parse_components(canonical.encode())
    assert values(found) == values(expected)
    assert values(parse_components(render(found).encode())[0]) == values(found)
