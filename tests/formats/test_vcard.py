"""What an address book takes as a card, and what it says of what it does not take."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.content_lines import ContentLimits
from preau.formats.vcard import CardLimits, InvalidCard, read_card, render_card, types, version_of


def card(*lines: str, version: str = "3.0", uid: str = "UID:1", name: str = "FN:Zoé") -> bytes:
    told = [line for line in (f"VERSION:{version}" if version else "", uid, name, *lines) if line]
    return "\r\n".join(["BEGIN:VCARD", *told, "END:VCARD", ""]).encode()


def test_a_card_is_read_and_written_again_as_it_was() -> None:
    data = card("item1.TEL;type=CELL;type=pref:+33 1", "item1.X-ABLabel:_$!<Other>!$_", "NOTE:" + "é" * 60)
    found = read_card(data)
    assert (found.version, found.uid) == ("3.0", "1")
    assert [line.name for line in found.lines] == ["VERSION", "UID", "FN", "TEL", "X-ABLABEL", "NOTE"]
    assert read_card(render_card(found).encode()) == found
    assert read_card(card(version="4.0", uid="UID:urn:uuid:1")).version == "4.0"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(card(name="N:Doe;Jo;;;"), id="N alone, as phones send"),
        pytest.param(card(name="FN:"), id="an empty FN"),
        pytest.param(b"\xef\xbb\xbf" + card(), id="BOM"),
        pytest.param(card().replace(b"\r\n", b"\n"), id="LF"),
        pytest.param(card().lower(), id="lower case"),
        pytest.param(b"\r\n" + card() + b"\r\n\r\n", id="empty lines around"),
        pytest.param(card("TEL;WORK;VOICE:1", "X-OLD;A=b;:"), id="parameters without value"),
        pytest.param(card("FN:Zoe", "FN;LANGUAGE=fr:Z", version="4.0"), id="FN more than once"),
    ],
)
def test_what_real_writers_send_is_taken(data: bytes) -> None:
    assert read_card(data).uid == "1"


VALID = "valid-address-data"
SUPPORTED = "supported-address-data"
SMALL = CardLimits(ContentLimits(lines=20, depth=1, components=1, line_octets=9_000), uid_length=10, image_octets=3_000)


@pytest.mark.parametrize(
    ("data", "condition", "text"),
    [
        (b"", VALID, "not one VCARD"),
        (b"hello", VALID, "line 1"),
        (card() + card(), VALID, "more than 1 components"),
        (card().replace(b"VCARD", b"VCALENDAR"), VALID, "not one VCARD"),
        (card("BEGIN:VCARD", "END:VCARD"), VALID, "nested"),
        (card(uid=""), VALID, "no UID"),
        (card(uid="UID: "), VALID, "no UID"),
        (card("UID:2"), VALID, "more than one UID"),
        (card(uid="UID:12345678901"), VALID, "UID longer than 10"),
        (card(name="NOTE:x"), VALID, "neither FN nor N"),
        (card(version=""), VALID, "no VERSION"),
        (card(version="2.1"), SUPPORTED, "vCard 2.1"),
        (card("NOTE;QUOTED-PRINTABLE:a=", "b", version="2.1"), SUPPORTED, "vCard 2.1"),
        (card(version="5.0"), SUPPORTED, "vCard 5.0"),
        (card("NOTE:\xff").replace(b"\xc3\xbf", b"\xff"), VALID, "line 5: not UTF-8"),
        (card("NOTE:\0"), VALID, "NUL"),
        (card(*["X:1"] * 30), VALID, "more than 20 lines"),
        (card("NOTE:" + "x" * 10_000), VALID, "longer than 9000"),
        (card()[:-11], VALID, "END:VCARD"),
        (card("PHOTO;ENCODING=b:" + "A" * 8_000), "max-image-size", "PHOTO of more than 3000"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_card_says_which_precondition(data: bytes, condition: str, text: str) -> None:
    with pytest.raises(InvalidCard, match=text) as caught:
        read_card(data, SMALL)
    assert caught.value.condition == condition


def test_the_version_of_a_stored_card_is_found_without_a_parser() -> None:
    assert version_of(card()) == "3.0"
    assert version_of(card(version="4.0").replace(b"\r\n", b"\n")) == "4.0"
    assert version_of(b"BEGIN:VCARD\r\nversion: 4.0 \r\n") == "4.0"
    assert version_of(b"BEGIN:VCARD\r\nVERS\r\n ION:4.0\r\n") is None
    assert version_of(b"BEGIN:VCARD\r\nNOTE:\\n\r\n VERSION:3.0\r\nVERSION:4.0\r\n") == "4.0"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("TEL;TYPE=home,work:1", ["home", "work"]),
        ("TEL;TYPE=home;TYPE=work:1", ["home", "work"]),
        ('TEL;TYPE="home,work":1', ["home", "work"]),
        ("TEL;HOME;X-A=b:1", ["HOME"]),
        ("TEL;TYPE=:1", []),
    ],
)
def test_types_are_told_one_by_one(line: str, expected: list[str]) -> None:
    assert list(types(read_card(card(line)).lines[-1])) == expected


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: card(*text.split("\n")))))
def test_only_invalid_card_comes_out(data: bytes) -> None:
    condition = ""
    try:
        found = read_card(data, SMALL)
    except InvalidCard as error:
        condition = error.condition
    else:
        assert read_card(render_card(found).encode(), CardLimits()) == found
    assert condition in ("", VALID, SUPPORTED, "max-image-size")
