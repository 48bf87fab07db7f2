import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.content_fields import read_content_fields


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"", {}),
        (b"Subject: Content-ID: x\r\n", {}),
        (b"Content-ID:\r\n", {}),
        (b"Content-Type: text/x; a=b\r\n", {"type": b"text", "subtype": b"x", "parameters": ((b"a", b"b"),)}),
        (b"CONTENT-ID : (c) <x>\r\n\r\n", {"id": b"(c) <x>"}),
        (b"A: b\r\nContent-Description: a\r\n\tb\r\n c\r\nB: c", {"description": b"a b c"}),
        (b"Content-Transfer-Encoding: (x) Base64 (y)\r\n", {"encoding": b"Base64"}),
        (b"Content-Transfer-Encoding: base64; x=y\r\n", {"encoding": b"base64"}),
        (b"Content-Transfer-Encoding: base 64\r\n", {}),
        (b"Content-Disposition: inline\r\n", {"disposition": b"inline", "disposition_parameters": ()}),
        (b"Content-Disposition: ;x=y\r\nContent-Disposition: a\r\n", {"disposition": b"a", "disposition_parameters": ()}),
        (b"Content-Language: fr-FR (c), en\r\n", {"languages": (b"fr-FR", b"en")}),
        (b"Content-MD5: a\r\nContent-MD5: b\r\nContent-Location: u\r\n", {"md5": b"a", "location": b"u"}),
        (b"Content-Unknown: x\r\nContent-: y\r\nContent-ID\r\n", {}),
    ],
)
def test_read_content_fields(header: bytes, expected: dict[str, object]) -> None:
    assert read_content_fields(header, 10) == expected
    assert read_content_fields(header.replace(b"\r\n", b"\n"), 10) == expected


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            [b"Content-Type:", b"Content-ID: ", b"content-language:", b"\r\n", b"\n", b" ", b"a/b", b";c=d", b'"', b"(", b"\0"]
        )
    ).map(b"".join)
)
def test_anything_is_read(header: bytes) -> None:
    for value in read_content_fields(header, 3).values():
        assert value == () or value
