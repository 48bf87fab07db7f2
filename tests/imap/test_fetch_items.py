"""FETCH items: what is read, how answers will begin."""

import pytest

from imap_reading import read_command
from preau.imap.values import (
    Fetch,
    FetchBinary,
    FetchBinarySize,
    FetchBody,
    FetchFact,
    FetchItem,
    FetchPreview,
    Partial,
    Section,
    SectionText,
)

THUNDERBIRD = (
    b"(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References "
    b"Newsgroups In-Reply-To Content-Type Reply-To Received)])"
)


def items(text: bytes) -> tuple[FetchItem, ...] | str:
    arguments = read_command(b"FETCH 1 " + text)
    if isinstance(arguments, str):
        return arguments
    assert isinstance(arguments, Fetch)
    return arguments.items


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"flags", (FetchFact.FLAGS,), id="one, any case"),
        pytest.param(b"(UID UID FLAGS)", (FetchFact.UID, FetchFact.FLAGS), id="doubles dropped"),
        pytest.param(b"ALL", (FetchFact.FLAGS, FetchFact.INTERNALDATE, FetchFact.SIZE, FetchFact.ENVELOPE), id="ALL"),
        pytest.param(
            b"FULL", (FetchFact.FLAGS, FetchFact.INTERNALDATE, FetchFact.SIZE, FetchFact.ENVELOPE, FetchFact.BODY), id="FULL"
        ),
        pytest.param(
            b"(BODY BODYSTRUCTURE MODSEQ EMAILID THREADID SAVEDATE)",
            (
                FetchFact.BODY,
                FetchFact.BODYSTRUCTURE,
                FetchFact.MODSEQ,
                FetchFact.EMAILID,
                FetchFact.THREADID,
                FetchFact.SAVEDATE,
            ),
            id="facts",
        ),
        pytest.param(b"BODY[]", (FetchBody(Section(), False, b"BODY[]"),), id="message"),
        pytest.param(b"BODY.PEEK[]<0.1024>", (FetchBody(Section(), True, b"BODY[]<0>", Partial(0, 1024)),), id="partial"),
        pytest.param(b"BODY[1.2.mime]", (FetchBody(Section((1, 2), SectionText.MIME), False, b"BODY[1.2.MIME]"),), id="mime"),
        pytest.param(b"BODY[3]", (FetchBody(Section((3,)), False, b"BODY[3]"),), id="part"),
        pytest.param(b"BODY[TEXT]", (FetchBody(Section((), SectionText.TEXT), False, b"BODY[TEXT]"),), id="text"),
        pytest.param(
            b'BODY.PEEK[4.HEADER.FIELDS.NOT ("odd name" To)]',
            (
                FetchBody(
                    Section((4,), SectionText.HEADER_FIELDS_NOT, (b"odd name", b"To")),
                    True,
                    b'BODY[4.HEADER.FIELDS.NOT ("odd name" To)]',
                ),
            ),
            id="fields",
        ),
        pytest.param(b"RFC822", (FetchBody(Section(), False, b"RFC822"),), id="RFC822"),
        pytest.param(
            b"RFC822.HEADER", (FetchBody(Section((), SectionText.HEADER), True, b"RFC822.HEADER"),), id="RFC822.HEADER"
        ),
        pytest.param(b"BINARY.PEEK[1]<5.9>", (FetchBinary((1,), True, b"BINARY[1]<5>", Partial(5, 9)),), id="binary"),
        pytest.param(b"BINARY[]", (FetchBinary((), False, b"BINARY[]"),), id="binary message"),
        pytest.param(b"BINARY.SIZE[2.1]", (FetchBinarySize((2, 1), b"BINARY.SIZE[2.1]"),), id="binary size"),
        pytest.param(b"(PREVIEW (LAZY) UID)", (FetchPreview(True), FetchFact.UID), id="preview, lazy"),
        pytest.param(b"PREVIEW (CHANGEDSINCE 5)", (FetchPreview(),), id="preview, then a modifier"),
        pytest.param(b"()", "Expected a name.", id="nothing"),
        pytest.param(b"(ALL)", "Unknown FETCH item ALL.", id="macro among others"),
        pytest.param(b"FOO", "Unknown FETCH item FOO.", id="unknown"),
        pytest.param(b"FLAGS[]", "FLAGS takes no section.", id="section of what has none"),
        pytest.param(b"BODY.PEEK", "Unknown FETCH item BODY.PEEK.", id="peek at nothing"),
        pytest.param(b"BODY[MIME]", "MIME goes with a part number only.", id="mime of the message"),
        pytest.param(b"BODY[0]", "Invalid section.", id="part 0"),
        pytest.param(b"BODY[1.]", "Invalid section.", id="dot at the end"),
        pytest.param(b"BODY[1", "Expected '.'.", id="no end"),
        pytest.param(b"BODY[HEADER.FIELDS ()]", "Expected a string.", id="no fields"),
        pytest.param(b"BODY[]<0.0>", "Number must not be 0.", id="partial of nothing"),
        pytest.param(b"BODY[]<5>", "Expected '.'.", id="partial without a length"),
        pytest.param(b"BODY[]<-1.5>", "Expected a number.", id="negative offset"),
        pytest.param(b"BODY[]<99999999999999999999.1>", "Number too large.", id="offset beyond 63 bits"),
        pytest.param(b"BODY[" + b"1." * 60 + b"1]", "Section nested too deep.", id="deep"),
        pytest.param(b"BODY[" + b"9" * 20 + b"]", "Expected '.'.", id="long part number"),
        pytest.param(b"BODY[HEADER.FIELDS (" + b" ".join([b"x"] * 201) + b")]", "Too many items in a list.", id="many fields"),
    ],
)
def test_items(text: bytes, expected: tuple[FetchItem, ...] | str) -> None:
    assert items(text) == expected


def test_what_thunderbird_asks_for() -> None:
    read = items(THUNDERBIRD)
    assert read[:3] == (FetchFact.UID, FetchFact.SIZE, FetchFact.FLAGS)
    body = read[3]
    assert isinstance(body, FetchBody)
    assert body.peek
    assert len(body.section.fields) == 15
    assert body.label == b"BODY[" + THUNDERBIRD[THUNDERBIRD.index(b"HEADER") : -2] + b"]"


def test_long_lists_and_literals_are_read_too() -> None:
    read = items(b"(FLAGS BODY.PEEK[HEADER.FIELDS (" + b" ".join(b"X-Header-%d" % i for i in range(100)) + b")])")
    assert isinstance(read[1], FetchBody)
    assert len(read[1].section.fields) == 100
    read = items(b"BODY[HEADER.FIELDS ({4+}\r\nFrom To)]")
    assert isinstance(read[0], FetchBody)
    assert read[0].section.fields == (b"From", b"To")
