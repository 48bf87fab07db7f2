"""What is read in is bounded, what goes out is XML, and what clients store comes back as it was."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preau.dav import xml
from preau.dav.xml import InvalidXml, Parser, XmlLimits, parse

LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><l>&b;</l>'


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(LAUGHS, id="billion laughs"),
        pytest.param(b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', id="external document type"),
        pytest.param(b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>', id="XXE"),
        pytest.param(b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/">%p;]><x/>', id="parameter entity"),
        pytest.param(b"<a>" * 65 + b"</a>" * 65, id="depth"),
        pytest.param(b"<a>" + b"<b/>" * 100_001 + b"</a>", id="elements"),
        pytest.param(b"<a " + b" ".join(b'x%d="1"' % n for n in range(40)) + b"/>", id="attributes"),
        pytest.param(b'<a x="' + b"y" * 100_001 + b'"/>', id="an attribute"),
        pytest.param(b"<" + b"n" * 501 + b"/>", id="a name"),
        pytest.param(b'<a xmlns="' + b"u" * 501 + b'"/>', id="a namespace"),
        pytest.param(b'<p:a xmlns:p=""/>', id="an empty namespace"),
        pytest.param(b"<a>&nbsp;</a>", id="an entity nobody declared"),
        pytest.param(b"<a>\x00</a>", id="NUL"),
        pytest.param(b'<?xml version="1.0" encoding="klingon"?><a/>', id="encoding"),
        pytest.param(b"<a><b></a>", id="not well-formed"),
        pytest.param(b"<a>", id="cut off"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_hostile_documents_are_refused(hostile: bytes) -> None:
    with pytest.raises(InvalidXml):
        parse(hostile)


def test_limits_are_settings() -> None:
    parse(b"<a><b/></a>", XmlLimits(depth=2, elements=2))
    with pytest.raises(InvalidXml, match="deeper"):
        parse(b"<a><b/></a>", XmlLimits(depth=1))


def test_a_document_may_come_in_pieces() -> None:
    parser = xml.Parser()
    for octet in b'<D:prop xmlns:D="DAV:">\xc3\xa9</D:prop>':
        parser.feed(bytes([octet]))
    found = parser.close()
    assert (found.tag, found.text) == ("{DAV:}prop", "é")


@given(st.text())
def test_text_survives(text: str) -> None:
    written = xml.element("{DAV:}displayname", xml.escape(text), f' x="{xml.escape_attribute(text)}"')
    back = parse(f"<r{xml.DECLARATIONS}>{written}</r>".encode("utf-8", "replace"))[0]
    expected = "".join("\ufffd" if xml.escape(char) == "\ufffd" else char for char in text)
    assert (back.text or "") == expected
    assert back.get("x") == expected


STORED = [
    pytest.param('<x xmlns="u:x">text</x>', id="text"),
    pytest.param('<x xmlns="u:x" xmlns:y="u:y"><y:a b="1" y:c="2">t<y:d/>u</y:a>v</x>', id="children"),
    pytest.param('<x xmlns="u:x" xml:lang="fr">t</x>', id="language"),
    pytest.param(
        '<A:calendar-color xmlns:A="http://apple.com/ns/ical/" symbolic-color="b?>l">#FF</A:calendar-color>', id="Apple"
    ),
    pytest.param("<x>no namespace<y/></x>", id="no namespace"),
    pytest.param('<x xmlns="u:x"><![CDATA[<&>]]></x>', id="CDATA"),
    pytest.param('<x xmlns="u:x"/>', id="empty"),
]


@pytest.mark.parametrize("given_text", STORED)
def test_what_clients_store_comes_back(given_text: str) -> None:
    given_element = parse(given_text.encode())
    written = xml.stored_element(given_element.tag, xml.store(given_element))
    back = parse(f"<r{xml.DECLARATIONS}>{written}</r>".encode())[0]
    back.tail = None
    assert ElementTree.canonicalize(ElementTree.tostring(back)) == ElementTree.canonicalize(ElementTree.tostring(given_element))


@given(st.binary(max_size=200))
def test_only_its_own_error_comes_out(data: bytes) -> None:
    try:
        parse(b"<a>" + data + b"</a>")
    except InvalidXml:
        pass


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        ("/dav/calendars/ana@ecole.example/x.ics", "/dav/calendars/ana@ecole.example/x.ics"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("a&b<c>", "a%26b%3Cc%3E"),
        ("100%", "100%25"),
        ("a?b#c", "a%3Fb%23c"),
    ],
)
def test_paths_are_quoted_for_href_and_xml_alike(path: str, quoted: str) -> None:
    assert xml.quote(path) == quoted


@given(
    st.one_of(st.binary(max_size=40), st.text("a\r\n\t&<>é\x00\x0b\ufffe\uffff\uff21\U0001f600", max_size=20).map(str.encode))
)
def test_octets_are_escaped_as_their_text_is(data: bytes) -> None:
    assert xml.escape_octets(data) == xml.escape(data.decode("utf-8", "replace"))


@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_octets_may_come_in_pieces(step: int) -> None:
    document = '<a xmlns="DAV:">été<b c="é">&amp;</b><!-- <x> --><![CDATA[<y>]]></a>'.encode()
    parser = Parser()
    for begin in range(0, len(document), step):
        parser.feed(document[begin : begin + step])
    assert ElementTree.tostring(parser.close()) == ElementTree.tostring(parse(document))


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"".join(b' a%d=">"' % number for number in range(300_000)), id="attributes"),
        pytest.param(b' a="' + b">" * 3_000_000, id="a value"),
        pytest.param(b"><!--" + b">" * 3_000_000, id="a comment"),
    ],
)
def test_a_tag_that_does_not_end_is_given_up_early(endless: bytes) -> None:
    parser = Parser()

    def feed() -> None:
        for begin in range(0, 600_000, 32_768):
            parser.feed((b"" if begin else b"<a") + endless[begin : begin + 32_768])

    with pytest.raises(InvalidXml, match="too long"):
        feed()
