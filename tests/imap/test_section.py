"""Sections against the tree of a message nested like RFC 9051's own example (section 6.4.5.1)."""

import pytest

from preau.formats.mime import Part, scan
from preau.imap.section import Extract, cut_octets, find_part, locate, locate_in_message, needs_structure
from preau.imap.values import Partial, Section, SectionText

# 1 text/plain, 2 application/octet-stream, 3 message/rfc822 (3.1 text/plain, 3.2 application/octet-stream),
# 4 multipart/mixed (4.1 image/gif, 4.2 message/rfc822 (4.2.1 text/plain, 4.2.2 multipart/alternative (4.2.2.1, 4.2.2.2)))
MESSAGE = b"""From: outer@example
Subject: outer
 folded
Content-Type: multipart/mixed; boundary=A

--A
Content-Type: text/plain

one
--A
Content-Type: application/octet-stream

two
--A
Content-Type: message/rfc822

From: three@example
Subject: three
Content-Type: multipart/mixed; boundary=B

--B

three one
--B
Content-Type: application/octet-stream

three two
--B--
--A
Content-Type: multipart/mixed; boundary=C

--C
Content-Type: image/gif

four one
--C
Content-Type: message/rfc822

Subject: four two
Content-Type: multipart/mixed; boundary=D

--D
Content-Type: text/plain

four two one
--D
Content-Type: multipart/alternative; boundary=E

--E
Content-Type: text/plain

four two two one
--E
Content-Type: text/richtext

four two two two
--E--
--D--
--C--
--A--
""".replace(b"\n", b"\r\n")

SIMPLE = b"Subject: simple\r\n\r\nbody\r\n"
FORWARD = b"Content-Type: message/rfc822\r\n\r\nSubject: within\r\n\r\ntext\r\n"


def read(message: bytes, section: Section) -> bytes | None:
    extract = locate(scan(message), section)
    if extract is None:
        return None
    return extract.pick(message[extract.offset : extract.offset + extract.length])


def part(*numbers: int, text: SectionText = SectionText.ALL, fields: tuple[bytes, ...] = ()) -> Section:
    return Section(numbers, text, fields)


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        pytest.param(part(), MESSAGE, id="message"),
        pytest.param(part(1), b"one", id="1"),
        pytest.param(part(2), b"two", id="2"),
        pytest.param(part(3, 1), b"three one", id="3.1"),
        pytest.param(part(3, 2), b"three two", id="3.2"),
        pytest.param(part(4, 1), b"four one", id="4.1"),
        pytest.param(part(4, 2, 1), b"four two one", id="4.2.1"),
        pytest.param(part(4, 2, 2, 1), b"four two two one", id="4.2.2.1"),
        pytest.param(part(4, 2, 2, 2), b"four two two two", id="4.2.2.2"),
        pytest.param(part(5), None, id="5: not there"),
        pytest.param(part(1, 1), None, id="1.1: text has no parts"),
        pytest.param(part(4, 2, 3), None, id="4.2.3: not there"),
        pytest.param(part(1, text=SectionText.MIME), b"Content-Type: text/plain\r\n\r\n", id="1.MIME"),
        pytest.param(part(3, text=SectionText.MIME), b"Content-Type: message/rfc822\r\n\r\n", id="3.MIME"),
        pytest.param(
            part(3, text=SectionText.HEADER),
            b"From: three@example\r\nSubject: three\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n",
            id="3.HEADER",
        ),
        pytest.param(
            part(3, text=SectionText.HEADER_FIELDS, fields=(b"SUBJECT", b"X")), b"Subject: three\r\n\r\n", id="3.HEADER.FIELDS"
        ),
        pytest.param(part(1, text=SectionText.HEADER), None, id="1.HEADER: no message"),
        pytest.param(part(4, text=SectionText.TEXT), None, id="4.TEXT: no message"),
        pytest.param(
            part(text=SectionText.HEADER_FIELDS, fields=(b"subject",)), b"Subject: outer\r\n folded\r\n\r\n", id="folded field"
        ),
        pytest.param(
            part(text=SectionText.HEADER_FIELDS_NOT, fields=(b"From", b"Content-Type")),
            b"Subject: outer\r\n folded\r\n\r\n",
            id="all other fields",
        ),
        pytest.param(part(text=SectionText.HEADER_FIELDS, fields=(b"X",)), b"\r\n", id="no such field: the empty line"),
    ],
)
def test_sections(section: Section, octets: bytes | None) -> None:
    assert read(MESSAGE, section) == octets


def test_text_of_a_message_within() -> None:
    text = read(MESSAGE, part(3, text=SectionText.TEXT))
    assert text is not None
    assert text.startswith(b"--B\r\n")
    assert text.rstrip(b"\r\n").endswith(b"--B--")
    whole = read(MESSAGE, part(3))
    assert whole == (read(MESSAGE, part(3, text=SectionText.HEADER)) or b"") + text


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        pytest.param(part(1), b"body\r\n", id="a simple message is its own part 1"),
        pytest.param(part(1, text=SectionText.MIME), b"Subject: simple\r\n\r\n", id="whose header is the message's"),
        pytest.param(part(2), None, id="part 2"),
        pytest.param(part(1, 1), None, id="part 1.1"),
        pytest.param(part(text=SectionText.HEADER), b"Subject: simple\r\n\r\n", id="header"),
        pytest.param(part(text=SectionText.TEXT), b"body\r\n", id="text"),
    ],
)
def test_a_simple_message(section: Section, octets: bytes | None) -> None:
    assert read(SIMPLE, section) == octets


def test_a_message_whose_body_is_a_message() -> None:
    assert read(FORWARD, part(1)) == b"Subject: within\r\n\r\ntext\r\n"
    assert read(FORWARD, part(1, text=SectionText.HEADER)) == b"Subject: within\r\n\r\n"
    assert read(FORWARD, part(1, 1)) == b"text\r\n"
    assert read(FORWARD, part(1, text=SectionText.TEXT)) == b"text\r\n"


@pytest.mark.parametrize("text", [t for t in SectionText if t is not SectionText.MIME])
def test_without_part_numbers_no_tree_is_needed(text: SectionText) -> None:
    section = Section((), text, (b"Subject",) if "FIELDS" in text.value else ())
    assert not needs_structure(section)
    header = MESSAGE.index(b"\r\n\r\n") + 4
    assert locate_in_message(section, len(MESSAGE), header) == locate(scan(MESSAGE), section)
    assert needs_structure(Section((1,)))


def test_find_part_gives_the_part_itself() -> None:
    root = scan(MESSAGE)
    assert find_part(root, ()) is root
    found = find_part(root, (4, 1))
    assert isinstance(found, Part)
    assert found.media_type == b"image/gif"


@pytest.mark.parametrize(
    ("partial", "octets"),
    [
        (None, b"0123456789"),
        (Partial(0, 4), b"0123"),
        (Partial(8, 100), b"89"),
        (Partial(10, 1), b""),
        (Partial(1 << 62, 1 << 62), b""),
    ],
)
def test_partial(partial: Partial | None, octets: bytes) -> None:
    data = b"0123456789"
    cut = Extract(5, 10).cut(partial)
    assert (b"....." + data)[cut.offset : cut.offset + cut.length] == octets
    assert cut.offset <= 15
    assert cut_octets(data, partial) == octets


def test_fields_are_picked_before_they_are_cut() -> None:
    extract = Extract(0, 30, (b"Subject",))
    assert extract.cut(Partial(5, 5)) is extract
