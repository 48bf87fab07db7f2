"""Transfer encodings undone piece by piece: what comes out is what the whole gives."""

import binascii

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.headers import decode_base64
from preau.formats.transfer import UnknownEncoding, is_identity, open_transfer


def decoded(encoding: bytes | None, *pieces: bytes) -> bytes:
    decoder = open_transfer(encoding)
    return b"".join([decoder.feed(piece) for piece in pieces]) + decoder.finish()


@pytest.mark.parametrize("encoding", [None, b"", b"7bit", b"8BIT", b"Binary"])
def test_identity(encoding: bytes | None) -> None:
    assert is_identity(encoding)
    assert decoded(encoding, b"a\0", b"\xff") == b"a\0\xff"


@pytest.mark.parametrize("encoding", [b"x-uuencode", b"base 64", b"quoted-printable; x"])
def test_unknown(encoding: bytes) -> None:
    assert not is_identity(encoding)
    with pytest.raises(UnknownEncoding):
        open_transfer(encoding)


@pytest.mark.parametrize(
    ("encoding", "text", "expected"),
    [
        pytest.param(b"BASE64", b"SGVs\r\nbG8=\r\n", b"Hello", id="base64"),
        pytest.param(b"base64", b"SGVsbG8=SGk=", b"HelloHi", id="padding within"),
        pytest.param(b"base64", b"SGVsbG8", b"Hello", id="no padding"),
        pytest.param(b"base64", b"S*G V\0s!bA", b"Hell", id="odd signs"),
        pytest.param(b"base64", b"SGVsb", b"Hel", id="a sign too many"),
        pytest.param(b"quoted-printable", b"caf=C3=A9 =\r\nau lait\r\n=3D", b"caf\xc3\xa9 au lait\r\n=", id="qp"),
        pytest.param(b"quoted-printable", b"100=% =zz =", b"100=% =zz ", id="broken qp"),
    ],
)
def test_whole_and_octet_by_octet(encoding: bytes, text: bytes, expected: bytes) -> None:
    assert decoded(encoding, text) == expected
    assert decoded(encoding, *(bytes([octet]) for octet in text)) == expected


@settings(max_examples=80)
@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"SGVs", b"=", b"==", b"\r\n", b"QQ"]), max_size=8))
def test_base64_pieces_are_the_whole(pieces: list[bytes]) -> None:
    assert decoded(b"base64", *pieces) == decode_base64(b"".join(pieces))


@settings(max_examples=80)
@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"=C3", b"=", b"=\r\n", b"\n"]), max_size=8))
def test_quoted_printable_pieces_are_the_whole(pieces: list[bytes]) -> None:
    assert decoded(b"quoted-printable", *pieces) == binascii.a2b_qp(b"".join(pieces))


def test_a_line_without_end_is_not_kept() -> None:
    text = b"=41" * 400_000
    decoder = open_transfer(b"quoted-printable")
    out = b"".join(decoder.feed(text[begin : begin + 10_001]) for begin in range(0, len(text), 10_001))
    assert len(out) > 370_000
    assert out + decoder.finish() == b"A" * 400_000
