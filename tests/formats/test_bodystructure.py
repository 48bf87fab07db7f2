import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imap_values import parse_values
from messages import ALTERNATIVE_WITH_ATTACHMENT, MESSAGES, crlf, generated
from preau.formats.bodystructure import render_bodystructure
from preau.formats.envelope import render_envelope
from preau.formats.mime import MimeLimits, scan


def both(message: bytes) -> tuple[bytes, bytes]:
    root = scan(message)
    return render_bodystructure(root, extended=False), render_bodystructure(root, extended=True)


PLAIN = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" '


@pytest.mark.parametrize(
    ("message", "body", "extension"),
    [
        (b"\r\nx\r\n", PLAIN + b"3 1", b" NIL NIL NIL NIL)"),
        (b"", PLAIN + b"0 0", b" NIL NIL NIL NIL)"),
        (
            b"Content-Type: TEXT/x; format=flowed\r\nContent-Transfer-Encoding: 8Bit\r\n\r\nx",
            b'("TEXT" "x" ("format" "flowed" "charset" "us-ascii") NIL NIL "8Bit" 1 0',
            b" NIL NIL NIL NIL)",
        ),
        (
            b'Content-Type: image/png\r\nContent-ID: <x>\r\nContent-Description: "y"\r\nContent-MD5: z\r\n'
            b"Content-Disposition: inline\r\nContent-Language: fr\r\nContent-Location: l\r\n\r\n\0",
            b'("image" "png" NIL "<x>" "\\"y\\"" "7bit" 1',
            b' "z" ("inline" NIL) ("fr") "l")',
        ),
        (
            b"Content-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nx\r\n",
            b'("message" "rfc822" NIL NIL NIL "7bit" 17 (NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL) ' + PLAIN + b"3 1",
            b" NIL NIL NIL NIL)",
        ),
    ],
    ids=["plain", "empty", "parameters", "fields", "message"],
)
def test_single_parts(message: bytes, body: bytes, extension: bytes) -> None:
    short, long = both(message)
    if b"rfc822" in body:
        assert short == body + b") 3)"
        assert long == body + extension + b" 3" + extension
    else:
        assert short == body + b")"
        assert long == body + extension


def test_multipart() -> None:
    _, long = both(crlf("Content-Type: multipart/mixed; boundary=x\nContent-Disposition: inline; a=b\n\n--x\n\none\n--x--\n"))
    assert long == b"(" + PLAIN + b'3 0 NIL NIL NIL NIL) "mixed" ("boundary" "x") ("inline" ("a" "b")) NIL NIL)'


def test_a_real_one() -> None:
    short, long = both(ALTERNATIVE_WITH_ATTACHMENT)
    assert parse_values(short) == [
        [
            [
                [b"text", b"plain", [b"charset", b"iso-8859-1"], None, None, b"quoted-printable", 89, 2],
                [b"text", b"html", [b"charset", b"utf-8"], None, None, b"base64", 218, 3],
                b"alternative",
            ],
            [
                b"application",
                b"pdf",
                [b"name*", b"utf-8''Autorisation%20%C3%A9l%C3%A8ve.pdf"],
                b"<pdf1@college.example>",
                b"Autorisation",
                b"base64",
                12,
            ],
            b"mixed",
        ]
    ]
    disposition = [b"attachment", [b"filename*", b"UTF-8''Autorisation%20%C3%A9l%C3%A8ve.pdf", b"size", b"12"]]
    whole = parse_values(long)[0]
    assert isinstance(whole, list)
    assert whole[1][7:] == [b"Q2hlY2sgSW50ZWdyaXR5IQ==", disposition, [b"fr", b"en"], b"http://college.example/a.pdf"]
    assert whole[2:] == [b"mixed", [b"boundary", b"outer=_42"], None, None, None]


@pytest.mark.parametrize("name", ["no_parts", "no_boundary"])
def test_a_multipart_without_parts_shows_an_empty_text(name: str) -> None:
    # body-type-mpart = 1*body SP media-subtype: a reader of the grammar needs one.
    values = parse_values(both(MESSAGES[name])[0])
    assert values == [[[b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit", 0, 0], b"mixed"]]


def test_what_was_not_looked_into_is_octets() -> None:
    limits = MimeLimits(depth=1)
    for message in (MESSAGES["no_last_boundary"], b"Content-Type: message/rfc822\r\n\r\nx"):
        root = scan(message, limits)
        assert root.opaque
        expected = [b"application", b"octet-stream", None, None, None, b"7bit", root.length]
        assert parse_values(render_bodystructure(root, extended=False)) == [expected]


def test_deep_and_wide_messages() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%dx\r\n\r\n--b%dx\r\n" % (i, i) for i in range(10_000))
    wide = b"Content-Type: multipart/digest; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000
    for message in (deep, wide, b"Content-Type: message/rfc822\r\n\r\n" * 10_000):
        check(message)


@pytest.mark.parametrize("name", MESSAGES)
def test_odd_messages_have_a_structure(name: str) -> None:
    check(MESSAGES[name])


def test_many_messages_have_a_structure() -> None:
    for message in generated(100, seed=3):
        check(message)


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [b"--b", b"--b--", b"\r\n", b"\n", b" ", b"x", b"\0", b"\xe9", b"Content-Type: multipart/mixed; boundary=b"]
        )
        | st.sampled_from([b"Content-Type: message/rfc822", b'Content-Disposition: a; b="', b"Content-ID: \xff", b"\r\n\r\n"]),
        max_size=40,
    )
)
def test_anything_has_a_structure(pieces: list[bytes]) -> None:
    check(b"".join(pieces))


def check(message: bytes) -> None:
    """The grammar of RFC 9051: body, and the extension fields only in BODYSTRUCTURE."""
    for extended, rendered in zip((False, True), both(message), strict=True):
        (value,) = parse_values(rendered)
        _check_body(value, extended)


def _check_body(body: object, extended: bool) -> None:
    stack = [body]
    while stack:
        body = stack.pop()
        assert isinstance(body, list)
        if isinstance(body[0], list):
            parts = list(itertools.takewhile(lambda item: isinstance(item, list), body))
            rest = body[len(parts) :]
            assert isinstance(rest[0], bytes)
            assert len(rest) == (5 if extended else 1)
            stack.extend(parts)
            continue
        media, subtype, parameters, identifier, description, encoding, octets, *rest = body
        assert isinstance(media, bytes)
        assert isinstance(subtype, bytes)
        assert parameters is None or len(parameters) % 2 == 0
        assert identifier is None or isinstance(identifier, bytes)
        assert description is None or isinstance(description, bytes)
        assert isinstance(encoding, bytes)
        assert isinstance(octets, int)
        if (media.lower(), subtype.lower()) == (b"message", b"rfc822"):
            envelope, inner, lines, *rest = rest
            assert len(envelope) == 10
            assert isinstance(lines, int)
            stack.append(inner)
        elif media.lower() == b"text":
            lines, *rest = rest
            assert isinstance(lines, int)
        assert len(rest) == (4 if extended else 0)


def test_the_envelope_within_is_that_of_the_message() -> None:
    root = scan(MESSAGES["forwarded"])
    inner = root.children[1].message
    assert inner is not None
    assert render_envelope(inner.header) in render_bodystructure(root, extended=True)
