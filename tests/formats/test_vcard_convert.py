"""Cards told in the other version: what each property becomes, and that none is lost there or back."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.content_lines import Line
from preau.formats.vcard import VERSIONS, Card, Version, read_card, render_card, types
from preau.formats.vcard_convert import convert


def card(version: Version, *lines: str, name: str = "FN:Zoé") -> Card:
    text = ["BEGIN:VCARD", f"VERSION:{version}", "UID:urn:uuid:1", *([name] if name else []), *lines, "END:VCARD", ""]
    return read_card("\r\n".join(text).encode())


def lines_of(found: Card) -> list[str]:
    """Its lines as text, those that all cards here have left out."""
    text = render_card(found).replace("\r\n ", "").split("\r\n")[1:-2]
    return [line for line in text if not line.startswith(("VERSION:", "UID:", "FN:")) and line != "N:;;;;"]


def parts(found: Card) -> list[tuple[object, ...]]:
    """Its lines by what they mean: however they were written."""
    return [(line.name, line.value, frozenset(line.parameters), line.group) for line in found.lines]


# What either version has of the other's.
BOTH_WAYS = [
    ("TEL;TYPE=HOME,PREF:1", "TEL;TYPE=HOME;PREF=1:1"),
    ("EMAIL;TYPE=PREF:a@example.com", "EMAIL;PREF=1:a@example.com"),
    ("PHOTO;ENCODING=b;TYPE=JPEG:AAAA", "PHOTO:data:image/jpeg;base64,AAAA"),
    ("KEY;ENCODING=b;TYPE=PGP:AAAA", "KEY:data:application/pgp-keys;base64,AAAA"),
    ("PHOTO;VALUE=uri;TYPE=PNG:https://example.com/x", "PHOTO;MEDIATYPE=image/png:https://example.com/x"),
    ("PHOTO;VALUE=uri:https://example.com/x", "PHOTO:https://example.com/x"),
    ("KEY;VALUE=text:abc", "KEY;VALUE=text:abc"),
    ("BDAY:1996-04-15", "BDAY:19960415"),
    ("BDAY;VALUE=date-time:1996-04-15T08:30:00Z", "BDAY:19960415T083000Z"),
    ("BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-15", "BDAY:--0415"),
    ("BDAY;VALUE=date-and-or-time:1996", "BDAY:1996"),
    ("BDAY;VALUE=text:spring", "BDAY;VALUE=text:spring"),
    ("X-ANNIVERSARY:2009-08-08", "ANNIVERSARY:20090808"),
    ("REV:2020-01-02T03:04:05Z", "REV:20200102T030405Z"),
    ("TZ:-05:00", "TZ;VALUE=utc-offset:-0500"),
    ("TZ;VALUE=text:Europe/Paris", "TZ:Europe/Paris"),
    ("GEO:48.85;2.35", "GEO:geo:48.85,2.35"),
    ("GEO;VALUE=uri:geo:48.85,2.35;u=3", "GEO:geo:48.85,2.35;u=3"),
    ("X-ADDRESSBOOKSERVER-KIND:group", "KIND:group"),
    ("X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:2", "MEMBER:urn:uuid:2"),
    ("X-GENDER:F", "GENDER:F"),
    ("item1.EMAIL:a@example.com", "item1.EMAIL:a@example.com"),
    ("item1.X-ABLabel:_$!<Other>!$_", "item1.X-ABLabel:_$!<Other>!$_"),
    ("RELATED;TYPE=friend:urn:uuid:3", "RELATED;TYPE=friend:urn:uuid:3"),
    ("CLIENTPIDMAP:1;urn:uuid:4", "CLIENTPIDMAP:1;urn:uuid:4"),
    ("EMAIL;PID=4.1;PREF=2:a@example.com", "EMAIL;PID=4.1;PREF=2:a@example.com"),
    ('X-ODD;X-P="a;b":1\\,2\\;3\\n4', 'X-ODD;X-P="a;b":1\\,2\\;3\\n4'),
    ("CLASS:PUBLIC", "CLASS:PUBLIC"),
    ("MAILER:x", "MAILER:x"),
    ("IMPP:xmpp:a@example.com", "IMPP:xmpp:a@example.com"),
    ("CATEGORIES:a,b", "CATEGORIES:a,b"),
    ("ORG:École\\; Nord;Bureau", "ORG:École\\; Nord;Bureau"),
]


@pytest.mark.parametrize(("three", "four"), BOTH_WAYS)
def test_both_ways(three: str, four: str) -> None:
    assert lines_of(convert(card("3.0", three), "4.0")) == [four]
    assert lines_of(convert(card("4.0", four), "3.0")) == [three]


@pytest.mark.parametrize(
    ("three", "four"),
    [
        (["TEL;HOME;PREF:1"], ["TEL;TYPE=HOME;PREF=1:1"]),
        (["TEL;TYPE=home;TYPE=pref:1"], ["TEL;TYPE=home;PREF=1:1"]),
        (["NOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:=C3=A9=0D=0A=41"], ["NOTE:é\\nA"]),
        (["NOTE;QUOTED-PRINTABLE:=C3"], ["NOTE;ENCODING=QUOTED-PRINTABLE:=C3"]),
        (["PHOTO;BASE64;JPEG:AAAA"], ["PHOTO:data:image/jpeg;base64,AAAA"]),
        (["PHOTO;ENCODING=b:not base64!"], ["PHOTO;ENCODING=b:not base64!"]),
        (["BDAY;VALUE=date:1996-04-15"], ["BDAY:19960415"]),
        (["GEO:somewhere"], ["GEO;VALUE=text:somewhere"]),
        (
            ["ADR;TYPE=home:;;1 rue A;Lyon;;69000;", "LABEL;TYPE=home:1 rue A\\nLyon"],
            ['ADR;TYPE=home;LABEL="1 rue A^nLyon":;;1 rue A;Lyon;;69000;'],
        ),
        (["LABEL;TYPE=work:alone"], ["X-LABEL;TYPE=work:alone"]),
        (["X-GENDER:F", "X-GENDER:M"], ["GENDER:F", "X-GENDER:M"]),
    ],
)
def test_three_to_four(three: list[str], four: list[str]) -> None:
    assert lines_of(convert(card("3.0", *three), "4.0")) == four


@pytest.mark.parametrize(
    ("four", "three"),
    [
        (["TEL;VALUE=uri:tel:+33-1"], ["TEL:+33-1"]),
        (["TEL;VALUE=uri:tel:+33-1;ext=2"], ["TEL;VALUE=uri:tel:+33-1;ext=2"]),
        (['TEL;TYPE="home,voice":1'], ["TEL;TYPE=home,voice:1"]),
        (
            ["g.ADR;TYPE=home;LABEL=1 rue A^nLyon:;;1 rue A;Lyon;;69000;"],
            ["g.ADR;TYPE=home:;;1 rue A;Lyon;;69000;", "g.LABEL;TYPE=home:1 rue A\\nLyon"],
        ),
        (["BDAY:--0415"], ["BDAY;X-APPLE-OMIT-YEAR=1604:1604-04-15"]),
        (["PHOTO:data:application/octet-stream;base64,AAAA"], ["PHOTO;ENCODING=b:AAAA"]),
        (["PHOTO:data:text/plain,abc"], ["PHOTO;VALUE=uri:data:text/plain,abc"]),
    ],
)
def test_four_to_three(four: list[str], three: list[str]) -> None:
    assert lines_of(convert(card("4.0", *four), "3.0")) == three


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["N:Doe;Jo;Q;Dr.;Jr."], "Dr. Jo Q Doe Jr."),
        (["N:;;;;", "ORG:École\\; Nord;Bureau"], "École\\; Nord Bureau"),
        (["N:;;;;", "EMAIL:a@example.com"], "a@example.com"),
        (["N:;;;;"], ""),
    ],
)
def test_a_card_without_fn_gets_one(lines: list[str], expected: str) -> None:
    for source, target in (VERSIONS, VERSIONS[::-1]):
        made = convert(card(source, *lines, name=""), target)
        assert [line.value for line in made.lines if line.name == "FN"] == [expected]


def test_three_needs_a_name_and_the_same_version_is_the_same_card() -> None:
    made = convert(card("4.0"), "3.0")
    assert [line.value for line in made.lines if line.name == "N"] == [";;;;"]
    assert [line.name for line in convert(made, "4.0").lines] == ["VERSION", "UID", "FN"]
    assert convert(made, "3.0") is made
    assert made.lines[0] == Line("VERSION", "3.0")


def test_a_uid_that_is_no_uri() -> None:
    text = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:a b\r\nFN:x\r\nEND:VCARD\r\n"
    made = convert(read_card(text), "4.0")
    assert "UID;VALUE=text:a b\r\n" in render_card(made)
    assert "\r\nUID:a b\r\n" in render_card(convert(made, "3.0"))


# Any properties, known or not, with parameters that suit them and parameters that do not.
_VALUES = st.sampled_from(
    [line.partition(":")[2] for pair in BOTH_WAYS for line in pair]
    + ["", " ", ";;;;", "x", "é\\,\\;\\n", "data:,x", "tel:1", "=41", "AAAA", "1604-04-15", "--0415", "19960415T08"]
)
# fmt: off
_NAMES = st.sampled_from(
    [
        "N", "ADR", "LABEL", "TEL", "EMAIL", "PHOTO", "LOGO", "SOUND", "KEY", "BDAY", "X-ANNIVERSARY",
        "ANNIVERSARY", "REV", "TZ", "GEO", "KIND", "MEMBER", "GENDER", "X-GENDER",
        "X-ADDRESSBOOKSERVER-KIND", "X-ADDRESSBOOKSERVER-MEMBER", "RELATED", "NOTE", "X-ODD", "URL", "IMPP",
        "AGENT", "X-LABEL"
    ]
)
_PARAMETERS = st.sampled_from(
    [
        "TYPE=home", "TYPE=PREF", "TYPE=pref,work", "TYPE=JPEG;TYPE=x", "PREF=1", "PREF=7", "HOME", "PREF",
        "VALUE=uri", "VALUE=text", "VALUE=date", "VALUE=date-time", "VALUE=date-and-or-time",
        "VALUE=utc-offset", "ENCODING=b", "ENCODING=QUOTED-PRINTABLE", "BASE64", "MEDIATYPE=image/png",
        "LABEL=a^nb", "CHARSET=utf-8", "X-APPLE-OMIT-YEAR=1604", "ALTID=1", "PID=1.1", 'X-A="b;c"'
    ]
)
# fmt: on
_LINES = st.builds(
    lambda group, name, parameters, value: f"{group}{name}{''.join(f';{one}' for one in parameters)}:{value}",
    st.sampled_from(["", "item1.", "g2."]),
    _NAMES,
    st.lists(_PARAMETERS, max_size=3, unique=True),
    _VALUES,
)
_SAME = {
    "X-ADDRESSBOOKSERVER-KIND": "KIND",
    "X-ADDRESSBOOKSERVER-MEMBER": "MEMBER",
    "X-ANNIVERSARY": "ANNIVERSARY",
    "X-GENDER": "GENDER",
    "X-LABEL": "LABEL",
}


def names(found: Card) -> Counter[str]:
    """How many of each property there are, under one name; an address counts its label. N and VERSION apart."""
    told = Counter(_SAME.get(line.name, line.name) for line in found.lines if line.name not in ("N", "VERSION"))
    told["LABEL"] += sum(line.name == "ADR" and line.parameter("LABEL") is not None for line in found.lines)
    return +told


@settings(max_examples=400)
@given(st.sampled_from(VERSIONS), st.lists(_LINES, max_size=6))
def test_nothing_is_lost_there_and_back(version: Version, lines: list[str]) -> None:
    source = card(version, *lines)
    other: Version = "4.0" if version == "3.0" else "3.0"
    there = convert(source, other)
    assert names(there) == names(source)
    # What is written can be read, and is what was meant.
    read = read_card(render_card(there).encode())
    assert parts(read) == parts(there)
    back = convert(read, version)
    assert names(back) == names(source)
    assert plain(there) == plain(back) == plain(source)
    # From then on nothing changes any more.
    again = convert(back, other)
    assert settled(convert(convert(again, version), other)) == settled(again)


def plain(found: Card) -> list[str]:
    """Values that are the same in both versions."""
    return [line.value for line in found.lines if line.name in ("X-ODD", "URL", "IMPP", "AGENT", "RELATED")]


def settled(found: Card) -> list[tuple[object, ...]]:
    """Its lines, types as a set."""
    return [
        (line.name, line.value, frozenset(types(line)), {one for one in line.parameters if one.name != "TYPE"}, line.group)
        for line in found.lines
    ]
