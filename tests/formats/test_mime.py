import email
import email.message

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages import ALTERNATIVE_WITH_ATTACHMENT, FORWARDED, MESSAGES, crlf, generated
from preau.formats.mime import MimeLimits, Part, Scanner, scan


def in_pieces(message: bytes, size: int) -> Part:
    scanner = Scanner()
    for begin in range(0, len(message), size):
        scanner.feed(message[begin : begin + size])
    return scanner.close()


def body(message: bytes, part: Part) -> bytes:
    return message[part.body_offset : part.body_offset + part.length]


def shape(part: Part) -> object:
    return (part.media_type.decode(), [shape(child) for child in part.children]) if part.children else part.media_type.decode()


@pytest.mark.parametrize("name", MESSAGES)
def test_pieces_of_any_size_give_the_same_tree(name: str) -> None:
    message = MESSAGES[name]
    whole = scan(message)
    for size in (1, 2, 3, 7, 64, 1000):
        assert in_pieces(message, size) == whole


@pytest.mark.parametrize("name", MESSAGES)
def test_a_scanned_message_may_be_followed_by_another(name: str) -> None:
    # The scanner has no state beside the object.
    assert [scan(message) for message in (MESSAGES[name], b"x", MESSAGES[name])][::2] == [scan(MESSAGES[name])] * 2


def test_offsets_lengths_and_lines() -> None:
    message = crlf("A: b\nContent-Type: multipart/mixed; boundary=x\n\npre\n--x\n\none\ntwo\n--x\nB: c\n\nthree\n--x--\nend\n")
    root = scan(message)
    first, second = root.children
    assert body(message, root).startswith(b"pre\r\n--x")
    assert body(message, root).endswith(b"end\r\n")
    assert root.lines == body(message, root).count(b"\n")
    assert (body(message, first), first.lines) == (b"one\r\ntwo", 1)
    assert (body(message, second), second.lines) == (b"three", 0)
    assert second.header == b"B: c\r\n\r\n" == message[second.offset : second.body_offset]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("empty", "text/plain"),
        ("no_header", "text/plain"),
        ("no_body", "text/plain"),
        ("no_last_boundary", ("multipart/mixed", ["text/plain", "text/html"])),
        ("equal_boundaries", ("multipart/mixed", [("multipart/alternative", ["text/plain", "text/html"]), "text/plain"])),
        ("prefix_boundaries", ("multipart/mixed", [("multipart/alternative", ["text/plain", "text/html"]), "text/plain"])),
        ("blanks_behind_boundary", ("multipart/mixed", ["text/plain"])),
        ("boundary_in_header", ("multipart/mixed", ["text/html", "text/plain"])),
        ("no_boundary", "multipart/mixed"),
        ("no_parts", "multipart/mixed"),
        ("digest", ("multipart/digest", [("message/rfc822", ["text/plain"])] * 2)),
        (
            "adjacent_boundaries",
            (
                "multipart/mixed",
                [("multipart/mixed", ["text/plain"]), ("message/rfc822", [("multipart/mixed", ["text/plain"])])],
            ),
        ),
        (
            "forwarded",
            (
                "multipart/mixed",
                [
                    "text/plain",
                    ("message/rfc822", ["text/plain"]),
                    (
                        "message/rfc822",
                        [("multipart/mixed", [("multipart/alternative", ["text/plain", "text/html"]), "application/pdf"])],
                    ),
                ],
            ),
        ),
    ],
)
def test_shapes(name: str, expected: object) -> None:
    assert shape(scan(MESSAGES[name])) == expected


def test_bodies_of_odd_boundaries() -> None:
    def texts(name: str) -> list[bytes]:
        message = MESSAGES[name]
        return [body(message, part) for part in scan(message).walk() if not part.children]

    assert texts("equal_boundaries") == [b"one", b"two", b"three"]
    assert texts("prefix_boundaries") == [b"one", b"two", b"three"]
    assert texts("blanks_behind_boundary") == [b"one"]
    assert texts("boundary_in_header") == [b"", b"two"]
    assert texts("adjacent_boundaries") == [b"one", b"two"]
    assert texts("no_last_boundary") == [b"one", b"<p>two"]


def test_the_line_end_before_a_boundary_belongs_to_it() -> None:
    # RFC 2046 section 5.1.1: also when the line before is a boundary itself.
    message = MESSAGES["adjacent_boundaries"]
    forwarded = scan(message).children[1]
    assert body(message, forwarded).endswith(b"\r\n--z--")


def test_fields_of_a_part() -> None:
    pdf = scan(ALTERNATIVE_WITH_ATTACHMENT).children[1]
    assert (pdf.type, pdf.subtype, pdf.encoding) == (b"application", b"pdf", b"base64")
    assert pdf.parameters == ((b"name*", b"utf-8''Autorisation%20%C3%A9l%C3%A8ve.pdf"),)
    assert pdf.disposition == b"attachment"
    assert pdf.disposition_parameters == ((b"filename*", b"UTF-8''Autorisation%20%C3%A9l%C3%A8ve.pdf"), (b"size", b"12"))
    assert (pdf.id, pdf.description, pdf.md5) == (b"<pdf1@college.example>", b"Autorisation", b"Q2hlY2sgSW50ZWdyaXR5IQ==")
    assert (pdf.languages, pdf.location) == ((b"fr", b"en"), b"http://college.example/a.pdf")


def test_a_message_within_has_its_own_header() -> None:
    message = scan(FORWARDED).children[1].message
    assert message is not None
    assert message.header.startswith(b"Return-Path: ")
    assert FORWARDED[message.offset : message.body_offset] == message.header


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"Content-Type: TEXT/Html; charset=x", b"text/html"),
        (b"content-type :text/html", b"text/html"),
        (b"Content-Type:\r\n\ttext/html", b"text/html"),
        (b"Content-Type: text/html (comment; with/slash)", b"text/html"),
        (b"Content-Type: text/html charset=utf-8", b"text/html"),
        (b"Content-Type: text", b"text/plain"),
        (b"Content-Type: ", b"text/plain"),
        (b"Content-Type: \xff\xfe", b"text/plain"),
        (b"Content-Type: ;;;\r\nContent-Type: text/html", b"text/html"),
        (b"X-Content-Type: text/html", b"text/plain"),
    ],
)
def test_content_type(field: bytes, expected: bytes) -> None:
    assert scan(field + b"\r\n\r\nx").media_type == expected


def test_beyond_depth_is_opaque() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%dx\r\n\r\n--b%dx\r\n" % (i, i) for i in range(10_000))
    root = scan(deep)
    parts = list(root.walk())
    assert len(parts) == MimeLimits().depth
    assert parts[-1].opaque
    assert not any(part.opaque for part in parts[:-1])
    messages = list(scan(b"Content-Type: message/rfc822\r\n\r\n" * 10_000).walk())
    assert len(messages) == MimeLimits().depth
    assert messages[-1].opaque


def test_beyond_the_number_of_parts_is_one_opaque_part() -> None:
    message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000 + b"--b--\r\n"
    root = scan(message)
    assert len(list(root.walk())) == MimeLimits().parts
    last = root.children[-1]
    assert last.opaque
    assert last.body_offset + last.length == len(message)


def test_a_long_header_is_kept_in_part_and_measured_whole() -> None:
    message = b"X: " + b"y" * 1_000_000 + b"\r\nContent-Type: text/html\r\n\r\nbody"
    for part in (scan(message), in_pieces(message, 10_000)):
        assert len(part.header) == MimeLimits().header
        assert part.body_offset == len(message) - 4
        assert part.media_type == b"text/plain"  # said beyond the limit


def test_many_parameters_are_cut() -> None:
    message = b"Content-Type: text/plain" + b"".join(b";\r\n n*%d=a" % i for i in range(100_000)) + b"\r\n\r\n"
    assert scan(message).parameters == ((b"n", b"a" * MimeLimits().parameters),)


def test_fifty_megabytes_without_structure() -> None:
    assert scan(b"X: " + b"y" * 50_000_000).length == 0
    assert scan(b"X: y\r\n\r\n" + b"--\r\n" * 2_500_000).lines == 2_500_000


@pytest.mark.parametrize("message", list(generated(60, seed=5)), ids=lambda message: str(len(message)))
def test_agrees_with_the_standard_library(message: bytes) -> None:
    def compare(ours: Part, theirs: email.message.Message) -> None:
        assert ours.media_type.decode() == theirs.get_content_type()
        if theirs.is_multipart():
            children = theirs.get_payload()
            assert isinstance(children, list)
            assert len(ours.children) == len(children)
            for mine, other in zip(ours.children, children, strict=True):
                assert isinstance(other, email.message.Message)
                compare(mine, other)
        else:
            # Its parser keeps the line end of a part that no boundary ends.
            payload = theirs.get_payload()
            assert isinstance(payload, str)
            assert body(message, ours).rstrip() == payload.encode("latin-1").rstrip()

    compare(scan(message), email.message_from_string(message.decode("latin-1")))


_PIECES = st.sampled_from(
    [
        *(b"--b", b"--b--", b"--bb", b"\r\n", b"\n", b"\r", b"-", b"--", b" ", b"\0", b"x", b"\xe9"),
        b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Type: multipart/digest; boundary=bb",
        b"Content-Type: message/rfc822",
        b"Content-Disposition: attachment; filename=x",
        *(b'Content-Type: text/plain; name="', b"; a*0=b", b"(", b'"', b"\\", b"\n\n", b"\r\n\r\n"),
    ]
)


@settings(max_examples=300)
@given(st.lists(_PIECES, max_size=40).map(b"".join), st.integers(1, 9))
def test_anything_gives_a_consistent_tree_in_any_pieces(message: bytes, size: int) -> None:
    root = scan(message, MimeLimits(parts=12, depth=5, header=80, parameters=3, boundary=10))
    assert root.body_offset + root.length == len(message)
    for part in root.walk():
        assert part.offset <= part.body_offset
        assert part.lines == body(message, part).count(b"\n")
        for child in part.children:
            assert part.body_offset <= child.offset
            assert child.body_offset + child.length <= part.body_offset + part.length
    assert in_pieces(message, size) == scan(message)
