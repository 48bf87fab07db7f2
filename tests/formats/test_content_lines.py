"""Content lines: what real writers send is read, kept and written again; all else is InvalidContent."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.content_lines import (
    Component,
    ContentLimits,
    InvalidContent,
    Line,
    Parameter,
    escape,
    fold,
    parse_components,
    render,
    render_line,
    split_list,
    unescape,
)

SMALL = ContentLimits(lines=50, depth=3, components=10, line_octets=100)


def one_line(text: str) -> Line:
    (component,) = parse_components(f"BEGIN:X\r\n{text}\r\nEND:X\r\n".encode())
    (line,) = component.lines
    return line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SUMMARY:Lunch: at noon", Line("SUMMARY", "Lunch: at noon")),
        ("summary:x", Line("SUMMARY", "x")),
        ("X-EMPTY:", Line("X-EMPTY", "")),
        (
            "DTSTART;TZID=Europe/Paris:20260101T090000",
            Line("DTSTART", "20260101T090000", (Parameter("TZID", ("Europe/Paris",)),)),
        ),
        ('ATTENDEE;CN="A, B: C; D":mailto:a@b', Line("ATTENDEE", "mailto:a@b", (Parameter("CN", ("A, B: C; D",)),))),
        ("A;M=\"mailto:a\",'b',c:v", Line("A", "v", (Parameter("M", ("mailto:a", "'b'", "c")),))),
        ("A;CN=George ^'Babe^' ^^ Ruth^n2:v", Line("A", "v", (Parameter("CN", ('George "Babe" ^ Ruth\n2',)),))),
        ("A;CN=^x^:v", Line("A", "v", (Parameter("CN", ("^x^",)),))),
        ("item1.X-ABLabel:_$!<HomePage>!$_", Line("X-ABLABEL", "_$!<HomePage>!$_", group="item1")),
        ("TEL;WORK;VOICE:1", Line("TEL", "1", (Parameter("WORK", ()), Parameter("VOICE", ())))),
        ("TEL;TYPE=:1", Line("TEL", "1", (Parameter("TYPE", ("",)),))),
        ('A;CN=Jean "Jo" Petit:v', Line("A", "v", (Parameter("CN", ('Jean "Jo" Petit',)),))),
        ("A;B=1;:v", Line("A", "v", (Parameter("B", ("1",)),))),
        ("A; B=1:v", Line("A", "v", (Parameter("B", ("1",)),))),
    ],
    ids=str,
)
def test_a_line_is_taken_apart(text: str, expected: Line) -> None:
    line = one_line(text)
    assert line[:4] == expected[:4]
    assert line.raw == text


def test_the_first_value_of_a_parameter_is_found_by_name() -> None:
    line = one_line("TEL;TYPE=HOME,VOICE;PREF;TYPE=X:1")
    assert (line.parameter("TYPE"), line.parameter("PREF"), line.parameter("LABEL")) == ("HOME", "", None)


@pytest.mark.parametrize("newline", ["\r\n", "\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_folded_text_is_one_line(newline: str, bom: bytes) -> None:
    text = newline.join(["BEGIN:A", "X:one", "  two", "\tthree", "", " ", "BEGIN:B", "Y:1", "END:B", "END:A", ""])
    (found,) = parse_components(bom + text.encode())
    assert [line.value for line in found.all("X")] == ["one twothree"]
    assert [inner.name for inner in found.components] == ["B"]
    inner = found.named("B")[0].line("Y")
    assert inner is not None
    assert (inner.value, found.line("Y")) == ("1", None)


def test_a_fold_inside_a_character_is_mended() -> None:
    octets = "BEGIN:A\r\nX:é\r\nEND:A\r\n".encode().replace(b"\xc3\xa9", b"\xc3\r\n \xa9")
    assert parse_components(octets)[0].lines[0].value == "é"


def test_several_components_and_lower_case_marks() -> None:
    first, second = parse_components(b"begin:vcard\nN:a\nend:VCARD\nBEGIN:VCARD\nN:b\nEND:VCARD")
    assert (first.name, second.name, second.lines[0].value) == ("VCARD", "VCARD", "b")
    assert parse_components(b"") == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"BEGIN:A\r\nX:a\0b\r\nEND:A\r\n", "line 2: a NUL octet"),
        (b"BEGIN:A\r\nX:1\r\n  2\r\nY:\xff\r\nEND:A\r\n", "line 4: not UTF-8"),
        (b"BEGIN:A\r\nX:\xed\xa0\x80\r\nEND:A\r\n", "line 2: not UTF-8"),
        (b"BEGIN:A\r\nno colon\r\nEND:A\r\n", "line 2: not a name"),
        (b"BEGIN:A\r\n:no name\r\nEND:A\r\n", "line 2: not a name"),
        (b'BEGIN:A\r\nX;CN="open:v\r\nEND:A\r\n', "line 2: not a name"),
        (b"BEGIN:A\r\nX Y:v\r\nEND:A\r\n", "line 2: not a name"),
        (b"BEGIN:A\r\nEND:B\r\n", "line 2: END:B where END:A is due"),
        (b"BEGIN:A\r\nBEGIN:B\r\nEND:B\r\n", "END:A is missing"),
        (b"END:A\r\n", "line 1: END outside"),
        (b"X:1\r\nBEGIN:A\r\nEND:A\r\n", "line 1: X outside"),
        (b"BEGIN:A\r\n" * 4 + b"END:A\r\n" * 4, "line 4: components nested deeper than 3"),
        (b"BEGIN:A\r\n" + b"BEGIN:B\r\nEND:B\r\n" * 10 + b"END:A\r\n", "line 20: more than 10 components"),
        (b"BEGIN:A\r\n" + b"X:1\r\n" * 60 + b"END:A\r\n", "more than 50 lines"),
        (b"BEGIN:A\r\nX:" + b"a" * 99 + b"\r\nEND:A\r\n", "line 2: longer than 100 octets"),
        (b"BEGIN:A\r\nX:" + "é".encode() * 50 + b"\r\nEND:A\r\n", "line 2: longer than 100 octets"),
        (b"\x00\x01\x02", "NUL"),
    ],
    ids=range(17),
)
def test_what_is_refused_says_where_and_why(data: bytes, why: str) -> None:
    with pytest.raises(InvalidContent) as caught:
        parse_components(data, SMALL)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda size: 'X;CN="' + "a" * size,
        lambda size: "X" + ";A=b" * (size // 4),
        lambda size: "X;A=" + '"a"' * (size // 3),
        lambda size: "X;A=" + "," * size,
        lambda size: "X" + ";" * size,
        lambda size: "X-" * (size // 2),
        lambda size: 'X;A="' + '","' * (size // 3),
    ],
    ids=range(7),
)
def test_a_line_of_a_megabyte_that_does_not_parse_is_refused(make: Callable[[int], str]) -> None:
    """Linear work: each of these would take hours if the pattern went back."""
    with pytest.raises(InvalidContent):
        parse_components(f"BEGIN:A\r\n{make(1_000_000)}\r\nEND:A\r\n".encode())


def test_a_line_of_a_megabyte_comes_back() -> None:
    data = b"BEGIN:A\r\nPHOTO;ENCODING=b:" + b"QUJD" * 250_000 + b"\r\nEND:A\r\n"
    (component,) = parse_components(data)
    assert parse_components(render(component).encode()) == [component]


def test_render_folds_and_keeps_what_was_written() -> None:
    raw = 'ATTENDEE;CN="Plain";x-thing=ok:mailto:' + "é" * 60
    text = render(Component("A", [one_line(raw), Line("X", "y", (Parameter("P", ('a"b', "c,d")), Parameter("FLAG", ())), "g")]))
    assert all(len(each.encode()) <= 75 for each in text.split("\r\n"))
    assert text.replace("\r\n ", "").split("\r\n") == ["BEGIN:A", raw, 'g.X;P=a^\'b,"c,d";FLAG:y', "END:A", ""]


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [(r"a\, b\; c\\ d\n", "a, b; c\\ d\n"), (r"\N\:\"", '\n:"'), (r"C:\temp", r"C:\temp"), ("end\\", "end\\"), (r"\\n", r"\n")],
)
def test_unescape(escaped: str, plain: str) -> None:
    assert unescape(escaped) == plain


@pytest.mark.parametrize(
    ("value", "separator", "items"),
    [
        ("a,b", ",", ["a", "b"]),
        (r"a\,b,c\\,d", ",", [r"a\,b", r"c\\", "d"]),
        ("", ",", [""]),
        (r"x;y\;z;", ";", ["x", r"y\;z", ""]),
    ],
)
def test_split_list(value: str, separator: str, items: list[str]) -> None:
    assert split_list(value, separator) == items


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80)
NAME = st.from_regex(r"[A-Z][A-Z0-9-]{0,8}", fullmatch=True).filter(lambda name: name not in ("BEGIN", "END"))
VALUE = TEXT.filter(lambda text: "\n" not in text and "\r" not in text)
PARAMETERS = st.lists(
    st.builds(
        Parameter,
        NAME,
        st.lists(TEXT.filter(lambda text: "\r" not in text), min_size=1, max_size=3).map(lambda each: tuple(each)),
    ),
    max_size=3,
).map(lambda each: tuple(each))
LINE = st.builds(Line, NAME, VALUE, PARAMETERS, st.sampled_from(["", "item1"]), st.just(""))
TREE = st.recursive(
    st.builds(Component, NAME, st.lists(LINE, max_size=4)),
    lambda inner: st.builds(Component, NAME, st.lists(LINE, max_size=2), st.lists(inner, max_size=2)),
    max_leaves=4,
)


def without_raw(component: Component) -> Component:
    return Component(
        component.name,
        [line._replace(raw="") for line in component.lines],
        [without_raw(each) for each in component.components],
    )


@settings(max_examples=150)
@given(TREE)
def test_what_is_rendered_is_parsed_again(component: Component) -> None:
    text = render(component)
    (again,) = parse_components(text.encode(), ContentLimits(depth=20))
    assert without_raw(again) == component
    assert render(again) == text


@settings(max_examples=100)
@given(TEXT)
def test_text_is_escaped_and_back(text: str) -> None:
    assert unescape(escape(text)) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert split_list(escape(text)) == [escape(text)]


@settings(max_examples=100)
@given(VALUE)
def test_fold_breaks_nothing(text: str) -> None:
    folded = fold(text)
    assert folded.replace("\r\n ", "") == text + "\r\n"
    assert all(len(each.encode()) <= 75 for each in folded.split("\r\n"))


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from([b"BEGIN:", b"END:", b"A", b";", b"=", b'"', b":", b",", b"\r\n", b"\n ", b"\xc3", b"\0", b"."]),
        max_size=30,
    )
)
def test_only_invalid_content_comes_out(pieces: list[bytes]) -> None:
    try:
        found = parse_components(b"".join(pieces), SMALL)
    except InvalidContent:
        return
    assert all(render(each).endswith("\r\n") for each in found)


@settings(max_examples=100)
@given(LINE)
def test_a_line_alone_comes_back(line: Line) -> None:
    assert one_line(render_line(line))[:4] == line[:4]
