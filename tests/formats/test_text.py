import html.parser
import tracemalloc
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from messages import ALTERNATIVE_WITH_ATTACHMENT, FORWARDED, FRENCH_8BIT, HTML_ONLY, MESSAGES, crlf, generated
from preau.formats.headers import decode_words, fields
from preau.formats.mime import MimeLimits, scan
from preau.formats.text import (
    EVERYTHING,
    LINE,
    IndexedText,
    TextLimits,
    extract_message,
    extract_text,
    header_lines,
    normalise,
    strip_markup,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Plain", "plain"),
        ("Élève À NOËL", "eleve a noel"),
        ("E\u0301chéancier", "echeancier"),
        ("Straße", "strasse"),
        ("ﬁn", "fin"),
        ("Cœur, ŒUVRE, Ægir", "coeur, oeuvre, aegir"),
        ("l’école", "l'ecole"),
        ("a\r\n\t b\u00a0c\0d", "a b c d"),
        (" a ", " a "),
        ("\n", " "),
        ("", ""),
        ("soft\u00adhyphen", "softhyphen"),
        ("Ω ΐ Ϊ", "ω ι ι"),
        ("İstanbul", "istanbul"),
        ("\ud800x", "x"),
        ("①½", "112".replace("112", "11\u20442")),
        ("שָׁלוֹם", "שלום"),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_normalise_is_idempotent_for_every_character() -> None:
    for code in range(0, 0x30000, 7):
        once = normalise(chr(code))
        assert normalise(once) == once


@settings(max_examples=200)
@given(st.text(max_size=40))
@example("\u1f80")
def test_spellings_of_one_text_compare_equal(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert "\n" not in once
    assert "\0" not in once
    assert not any(unicodedata.combining(character) for character in once)
    once.encode()  # no halves of characters
    decomposed = unicodedata.normalize("NFD", text)
    assert normalise(decomposed) == once
    assert normalise(unicodedata.normalize("NFC", text)) == once


@settings(max_examples=200)
@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_a_substring_stays_one(before: str, needle: str, after: str) -> None:
    assert normalise(needle) in normalise(before + needle + after)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("<p>a</p><p>b</p>", "a b"),
        ("a<br>b", "a b"),
        ("<b>M</b>onsieur <span class=x>D</span>upont", "monsieur dupont"),
        ("a <!-- hidden <p> --> b", "a b"),
        ("<script>if (a < b) {}</script>x<STYLE>p{}</STYLE >y", "x y"),
        ("<head><title>t</title></head>x", "x"),
        ('<p title="a > b">x</p>', "x"),
        ("<p title='\">'>x</p>", "x"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("&eacute;&#233;&#xE9;&amp;&nbsp;&lt;p&gt;", "eee& <p>"),
        ("<!DOCTYPE html><?xml?>x", "x"),
        ("x<p", "x"),
        ("x<!-- never closed", "x"),
        ("x<script>never closed", "x"),
        ("<styled>x</styled>", "x"),
        ("&#99999999999999999999;x", "\ufffdx"),
    ],
)
def test_strip_markup(document: str, expected: str) -> None:
    assert normalise(strip_markup(document)).strip() == expected


class _Text(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden += tag in ("script", "style", "title")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style", "title")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words += data.split()


@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from(
            ["<p>x</p>", "<div class='a>b'>y</div>", "<!-- c -->", "&eacute;", "<br/>", " z ", "<style>q</style>", "\n"]
        )
        | st.sampled_from(["<td>t</td>", '<img alt="v">', "<script>var w = '<p>';</script>", "&lt;"])
    )
)
def test_words_of_sound_documents_agree_with_the_standard_library(pieces: list[str]) -> None:
    parser = _Text()
    parser.feed("".join(f" {piece} " for piece in pieces))
    parser.close()
    assert strip_markup("".join(f" {piece} " for piece in pieces)).split() == parser.words


@pytest.mark.parametrize(
    "repeated", ["<", "<a", "<a '", "<a \"'", "<!--", "<script", "<script></s", "</script ", "&", "&#9", "<p>", "&#x9"]
)
def test_a_megabyte_of_any_markup_is_read(repeated: str) -> None:
    strip_markup("<script>" * (repeated[0] == "/") + repeated * (1_000_000 // len(repeated)))


def test_marks_without_end_take_linear_time() -> None:
    assert normalise("a" + "\u0301\u0323" * 500_000 + "b") == "ab"
    assert normalise("a" + "\u0f73\u0f71" * 500_000 + "b") == "ab"


def test_what_can_be_found_in_an_ordinary_message() -> None:
    text = extract_message(FRENCH_8BIT)
    assert "subject: reunion du conseil de classe" in text.header.split(LINE)
    assert list(text.values("From")) == ["secretariat du college <secretariat@college.example>"]
    assert next(iter(text.values("received"))).startswith("from mx.college.example (mx.college.example [192.0.2.7]) by mail")
    assert list(text.values("nothing")) == []
    assert "l'echeancier des inscriptions est arrete : l'eleve doit etre present a la reunion" in text.body
    assert text.structure == ""
    assert text.complete


def test_what_can_be_found_in_parts() -> None:
    text = extract_message(ALTERNATIVE_WITH_ATTACHMENT)
    plain, formatted = text.body.split(LINE)
    assert plain == "la sortie est maintenue, meme s'il pleut. les eleves apportent un pique-nique. "
    assert formatted.strip() == "la sortie est maintenue, meme s'il pleut."
    assert "content-disposition: attachment; filename*=utf-8''autorisation%20%c3%a9l%c3%a8ve.pdf; size=12" in text.structure
    assert "content-type" in text.header
    assert "pdf-1" not in text.body


def test_a_message_within_is_found_with_its_header() -> None:
    text = extract_message(FORWARDED)
    assert list(text.values("subject")) == ["fwd: deux messages"]
    lines = text.body.split(LINE)
    assert lines[0] == "voir ci-joint."
    assert "subject: reunion du conseil de classe" in lines
    assert any("le coeur du sujet" in line for line in lines)
    assert "message/rfc822" in text.structure


def test_markup_is_taken_out_of_html_only() -> None:
    assert "remise de 20 % offre valable jusqu'a demain & apres" in extract_message(HTML_ONLY).body
    assert "secret" not in extract_message(HTML_ONLY).body
    assert extract_message(crlf("Content-Type: text/plain\n\na <certificate> b\n")).body == "a <certificate> b "


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("latin1_as_ascii", "deja vu. "),
        ("unknown_charset", "deja vu. "),
        ("japanese", "日本語の本文 "),
        ("nul_and_controls", "body with nul "),
    ],
)
def test_charsets(name: str, expected: str) -> None:
    assert extract_message(MESSAGES[name]).body == normalise(expected)


def test_a_cut_text_says_so() -> None:
    message = crlf("Subject: s\n\n" + "mot " * 1_000)
    assert extract_message(message).complete
    cut = extract_message(message, TextLimits(part=100))
    assert not cut.complete
    assert len(cut.body) == 100
    assert not extract_message(message, TextLimits(total=100)).complete
    assert not extract_message(message, TextLimits(header=5)).complete
    assert extract_message(message, EVERYTHING) == extract_message(message)


def test_less_than_asked_for_is_a_cut() -> None:
    message = crlf("Subject: s\n\n" + "mot " * 100)
    text = extract_text(lambda offset, length: message[:200][offset : offset + length], scan(message))
    assert not text.complete
    assert text.body in extract_message(message).body


def test_prefix() -> None:
    message = crlf("Subject: Été\n\nx\n")
    prefix = b"Return-Path: <\xc3\xa9@b>\r\n"
    assert extract_message(message).with_prefix(prefix) == extract_message(prefix + message)
    assert extract_message(b"\r\nx").with_prefix(prefix) == extract_message(prefix + b"\r\nx")


def test_parts_that_were_not_looked_into_have_no_text() -> None:
    text = extract_message(MESSAGES["no_last_boundary"], mime=MimeLimits(depth=1))
    assert text.body == ""


@pytest.mark.parametrize("name", MESSAGES)
def test_odd_messages_have_text(name: str) -> None:
    assert isinstance(extract_message(MESSAGES[name]), IndexedText)


def test_what_is_cut_is_found_in_the_whole() -> None:
    for message in generated(60, seed=11):
        whole = extract_message(message, EVERYTHING)
        assert extract_message(message) == whole
        cut = extract_message(message, TextLimits(part=80, total=200, header=200))
        for have, full in ((cut.body, whole.body), (cut.header, whole.header), (cut.structure, whole.structure)):
            for line in have.split(LINE):
                assert line in full


@settings(max_examples=100)
@given(
    st.binary(max_size=200),
    st.sampled_from(["utf-8", "utf-16", "utf-7", "iso-2022-jp", "gb2312", "x"]),
    st.sampled_from(["plain", "html"]),
)
def test_any_content_has_text(body: bytes, charset: str, subtype: str) -> None:
    for encoding in ("8bit", "base64", "quoted-printable"):
        header = f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        text = extract_message(header + body)
        assert text.complete
        assert LINE not in text.body
        text.body.encode()


def test_a_long_text_is_not_taken_apart_at_once() -> None:
    text = b"des mots sans fin\r\n" * 220_000
    message = b"Subject: long\r\n\r\n" + text
    tracemalloc.start()
    found = extract_message(message, EVERYTHING)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.body == ("des mots sans fin " * 220_000)
    assert peak < 8 * len(text)  # some copies; as a list of words it would be twenty times the text


_HEADER_PIECES = [
    b"Subject",
    b"To ",
    b":",
    b" a  B",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\x0b",
    b"\x1f",
    b"\0",
    b"\xc3\xa9",
    b"=?u?q?=41?=",
]


@given(st.lists(st.sampled_from(_HEADER_PIECES), max_size=12).map(b"".join) | st.binary(max_size=40))
@settings(max_examples=1_000)
def test_header_lines_are_names_and_values_normalised(block: bytes) -> None:
    expected = [f"{normalise(name.decode('latin-1'))}: {normalise(decode_words(value))}" for name, value in fields(block)]
    assert header_lines(block) == expected


def test_values_are_of_that_name_alone() -> None:
    text = IndexedText("to: a\nx-to: b\nto: \nsubject: to: c\nto: d", "", "")
    assert list(text.values("To")) == ["a", "", "d"]
    assert list(text.values("subject")) == ["to: c"]
    assert list(text.values("cc")) == []


@pytest.mark.parametrize("room", range(24))
def test_a_bound_cuts_lines_the_same_however_they_come(room: int) -> None:
    message = b"A: bcd\r\nE: fgh\r\nI: j\r\n\r\n"
    lines = ["a: bcd", "e: fgh", "i: j"]
    left, expected = room, []
    for line in lines:
        expected.append(line[:left])
        left = max(0, left - len(expected[-1]) - 1)
    found = extract_message(message, TextLimits(header=room))
    assert found.header == LINE.join(expected)
    assert found.complete == (expected == lines)
