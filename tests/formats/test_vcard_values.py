"""Dates, places and octets as vCard 3.0 and 4.0 write them."""

from collections.abc import Callable

import pytest

from preau.formats.vcard_values import (
    basic_date,
    basic_offset,
    data_of,
    data_uri,
    extended_date,
    extended_offset,
    geo_pair,
    geo_uri,
    is_uri,
    known_word,
    media_type,
    media_word,
    split_types,
    telephone,
    yearless,
)


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (basic_date, "1996-04-15", "19960415"),
        (basic_date, "19960415", "19960415"),
        (basic_date, "1996-04-15T08:30:00-06:00", "19960415T083000-0600"),
        (basic_date, "1996-04-15T08:30:00Z", "19960415T083000Z"),
        (basic_date, "spring", None),
        (basic_date, "--0415", None),
        (extended_date, "19960415", "1996-04-15"),
        (extended_date, "19960415T083000-06", "1996-04-15T08:30:00-06:00"),
        (extended_date, "19960415T083000", "1996-04-15T08:30:00"),
        (extended_date, "1996", None),
        (yearless, "--0415", "04-15"),
        (yearless, "--04-15", "04-15"),
        (yearless, "---15", None),
        (basic_offset, "-05:00", "-0500"),
        (basic_offset, "+01", "+0100"),
        (basic_offset, "Europe/Paris", None),
        (extended_offset, "-0500", "-05:00"),
        (extended_offset, "5", None),
        (geo_uri, "48.85;2.35", "geo:48.85,2.35"),
        (geo_uri, "48.85", None),
        (geo_pair, "geo:48.85,-2.35", "48.85;-2.35"),
        (geo_pair, "geo:48.85,2.35;u=3", None),
        (telephone, "tel:+33-1-23", "+33-1-23"),
        (telephone, "tel:+33;ext=5", None),
        (data_of, "data:image/png;base64,AAA=", ("image/png", "AAA=")),
        (data_of, "data:image/png,AAA", None),
        (data_of, "https://example.com/x", None),
    ],
)
def test_values(function: Callable[[str], object], value: str, expected: object) -> None:
    assert function(value) == expected


def test_octets_become_a_uri_only_when_they_are_base64() -> None:
    assert data_uri("image/png", "AA A=") == "data:image/png;base64,AAA="
    assert data_uri("", "AAAA") == "data:application/octet-stream;base64,AAAA"
    assert data_uri("image/png", "no!") is None


@pytest.mark.parametrize(
    ("name", "word", "media"),
    [
        ("PHOTO", "JPEG", "image/jpeg"),
        ("SOUND", "BASIC", "audio/basic"),
        ("KEY", "PGP", "application/pgp-keys"),
        ("KEY", "X509", "application/pkix-cert"),
    ],
)
def test_media_types_and_their_words(name: str, word: str, media: str) -> None:
    assert media_type(name, word) == media
    assert media_word(name, media) == word
    assert known_word(name, media) == word


def test_words_that_are_no_media_type() -> None:
    assert media_type("PHOTO", "") == ""
    assert media_type("PHOTO", "image/JPEG") == "image/jpeg"
    assert media_word("PHOTO", "audio/basic") is None
    assert known_word("PHOTO", "image/x-odd") is None
    assert split_types(["HOME", "png"], known=True) == ("png", ["HOME"])
    assert split_types(["HOME", "ODD"], known=False) == ("ODD", ["HOME"])
    assert split_types(["HOME", "ODD"], known=True) == ("", ["HOME", "ODD"])


@pytest.mark.parametrize(("value", "expected"), [("urn:uuid:1", True), ("http://x/", True), ("a b", False), ("C:x y", False)])
def test_uris(value: str, expected: bool) -> None:
    assert is_uri(value) is expected
