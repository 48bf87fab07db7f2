import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.formats.charsets import _CODECS, decode_charset, find_codec


@pytest.mark.parametrize("codec", sorted(set(_CODECS.values())))
def test_every_codec_of_the_table_is_a_text_codec(codec: str) -> None:
    assert codecs.lookup(codec)
    assert isinstance(decode_charset(b"a\xe9\x00\xff+~\x1b$B", next(name for name, c in _CODECS.items() if c == codec)), str)


@pytest.mark.parametrize("text", ["Élève déjà vu à Noël, cœur €", "日本語の本文", "Привет", "שלום", "한국어"])
def test_round_trips(text: str) -> None:
    charsets = ["utf-8", "UTF8", "utf-16", "utf-7", "windows-1252", "iso-8859-15", "koi8-r", "iso-2022-jp", "Shift_JIS"]
    charsets += ["euc-kr", "gb2312", "big5", "windows-1255", "iso-8859-8-i", "EUC-JP", "x-sjis", "ks_c_5601-1987", "hz-gb-2312"]
    for charset in charsets:
        codec = find_codec(charset)
        assert codec is not None
        try:
            data = text.encode(codec)
        except UnicodeEncodeError:
            continue
        assert decode_charset(data, charset) == text


@pytest.mark.parametrize(
    ("data", "charset", "expected"),
    [
        (b"caf\xc3\xa9", "", "café"),
        (b"caf\xe9", "", "café"),
        (b"caf\xe9", "us-ascii", "café"),
        (b"caf\xc3\xa9", "x-unknown", "café"),
        (b"\x80\x81", "iso-8859-1", "€\x81"),
        (b"caf\xe9", "utf-8", "caf\ufffd"),
        (b"a+b~c", "utf-8", "a+b~c"),
        (b"x", "utf-16", "x"),
        (b"x\0y", "utf-16-le", "x\ufffd"),
        (b"", "utf-16", ""),
    ],
)
def test_decode_charset(data: bytes, charset: str, expected: str) -> None:
    assert decode_charset(data, charset) == expected


@pytest.mark.parametrize(
    "charset", ["", "punycode", "idna", "unicode_escape", "zlib", "rot13", "hex", "undefined", "../x", "\0", "x" * 10**6]
)
def test_names_that_are_no_charsets_reach_no_codec(charset: str) -> None:
    assert find_codec(charset) is None
    assert decode_charset(b"\\x41\xe9", charset) == "\\x41é"


@settings(max_examples=200)
@given(st.binary(max_size=60), st.sampled_from(sorted(_CODECS)) | st.text(max_size=12))
def test_anything_decodes(data: bytes, charset: str) -> None:
    assert isinstance(decode_charset(data, charset), str)
