"""Charset names of mail to Python codecs, and bytes to text that never fails (RFC 2045 section 5.1, RFC 2978).

Owns which charsets are decoded at all. A name from a message never reaches the codec machinery unless it stands in the
table: Python also knows codecs that are slow (punycode, idna) or that are no charsets (unicode_escape).
Never raises for what a message holds.
"""

import re
from collections.abc import Iterator

# What browsers do too: who says Latin-1 or ASCII and sends octets 0x80 to 0x9f means windows-1252.
_WESTERN = "cp1252"

_CODECS: dict[str, str] = {
    "utf8": "utf-8",
    "unicode11utf8": "utf-8",
    "utf7": "utf-7",
    "unicode11utf7": "utf-7",
    "utf16": "utf-16",
    "utf16le": "utf-16-le",
    "utf16be": "utf-16-be",
    "utf32": "utf-32",
    "utf32le": "utf-32-le",
    "utf32be": "utf-32-be",
    "iso88591": _WESTERN,
    "latin1": _WESTERN,
    "l1": _WESTERN,
    "88591": _WESTERN,
    "ansi": _WESTERN,
    "xansi": _WESTERN,
    "iso88598i": "iso8859-8",
    "iso88598e": "iso8859-8",
    "iso88596i": "iso8859-6",
    "iso88596e": "iso8859-6",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin9": "iso8859-15",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "koi8": "koi8-r",
    "gb2312": "gb18030",
    "xgb2312": "gb18030",
    "gbk": "gb18030",
    "xgbk": "gb18030",
    "cp936": "gb18030",
    "gb18030": "gb18030",
    "hz": "hz",
    "hzgb2312": "hz",
    "big5": "cp950",
    "xbig5": "cp950",
    "cnbig5": "cp950",
    "big5hkscs": "big5hkscs",
    "shiftjis": "cp932",
    "sjis": "cp932",
    "xsjis": "cp932",
    "windows31j": "cp932",
    "mskanji": "cp932",
    "eucjp": "euc_jp",
    "xeucjp": "euc_jp",
    "iso2022jp": "iso2022_jp_2",
    "iso2022jp1": "iso2022_jp_2",
    "iso2022jp2": "iso2022_jp_2",
    "iso2022jp3": "iso2022_jp_3",
    "iso2022jpext": "iso2022_jp_ext",
    "iso2022jp2004": "iso2022_jp_2004",
    "euckr": "cp949",
    "ksc56011987": "cp949",
    "ksc5601": "cp949",
    "uhc": "cp949",
    "iso2022kr": "iso2022_kr",
    "johab": "johab",
    "tis620": "cp874",
    "macintosh": "mac-roman",
    "macroman": "mac-roman",
    "xmacroman": "mac-roman",
    "xmaccyrillic": "mac-cyrillic",
}
_CODECS.update({f"iso8859{n}": f"iso8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)})
_CODECS.update({f"windows{n}": f"cp{n}" for n in range(1250, 1259)})
_CODECS.update({f"cp{n}": f"cp{n}" for n in (437, 850, 852, 855, 858, 860, 863, 866, 874, 932, 949, 950, *range(1250, 1259))})
_CODECS.update({f"ibm{n}": f"cp{n}" for n in (437, 850, 852, 855, 858, 866)})
_CODECS["windows874"] = "cp874"

_NOT_NAME = re.compile(r"[^0-9a-z]+")
_HOLES = re.compile(rb"[\x81\x8d\x8f\x90\x9d]+")  # what windows-1252 leaves open
_SHIFTS = re.compile(rb"[\x00\x0e\x1b+~]")  # ASCII octets that mean more in utf-16, iso-2022, utf-7 or hz


def find_codec(charset: str) -> str | None:
    """The Python codec for a charset name of a message, or None: unknown, none, or ASCII."""
    return _CODECS.get(_NOT_NAME.sub("", charset[:64].lower()))


def decode_charset(data: bytes, charset: str = "") -> str:
    """Text of `data`: as declared where the charset is known, else UTF-8 if it is that, else windows-1252.

    What does not decode becomes U+FFFD. Senders who declare nothing or ASCII and send 8-bit text mean one of the two.
    """
    if data.isascii() and not _SHIFTS.search(data):
        return data.decode("ascii")
    codec = find_codec(charset)
    if codec is None:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            codec = _WESTERN
    if codec == _WESTERN:
        return _decode_western(data)
    try:
        return data.decode(codec, "replace")
    except (UnicodeError, LookupError):
        # utf-16 and utf-32 fail on cut input in some releases in spite of "replace".
        return _decode_western(data)


def _decode_western(data: bytes) -> str:
    """windows-1252 with its five holes filled by Latin-1, as browsers do it."""
    try:
        return data.decode(_WESTERN)
    except UnicodeDecodeError:
        return "".join(_western_pieces(data))


def _western_pieces(data: bytes) -> Iterator[str]:
    begin = 0
    for hole in _HOLES.finditer(data):
        yield data[begin : hole.start()].decode(_WESTERN)
        yield hole.group().decode("latin-1")
        begin = hole.end()
    yield data[begin:].decode(_WESTERN)
