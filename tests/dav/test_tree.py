"""Paths: decoded once, and nothing but what is meant."""

import pytest

from preau.dav.errors import DavError
from preau.dav.tree import parse_path, path_of


@pytest.mark.parametrize(
    ("path", "names", "slash"),
    [
        ("/", (), True),
        ("/dav/", ("dav",), True),
        ("/dav/calendars/a@b/x", ("dav", "calendars", "a@b", "x"), False),
        ("/dav/calendars/a%40b/x%20y", ("dav", "calendars", "a@b", "x y"), False),
        ("/%C3%A9", ("é",), False),
        ("/a%252e", ("a%2e",), False),
    ],
)
def test_paths_are_decoded_once(path: str, names: tuple[str, ...], slash: bool) -> None:
    assert (parse_path(path).names, parse_path(path).slash) == (names, slash)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/..", 404),
        ("/dav/../etc", 404),
        ("/dav/%2e%2e/etc", 404),
        ("/dav/%2E/x", 404),
        ("/a%2fb", 404),
        ("/a//b", 404),
        ("/a%00", 404),
        ("/a%0d%0ab", 404),
        ("/%c2%85", 404),
        ("/%ff", 400),
        ("/%c0%ae%c0%ae/", 400),
        ("/%ed%a0%80", 400),
        ("/%zz", 400),
        ("/%4", 400),
        ("relative", 400),
        ("/" + "a" * 8_192, 400),
    ],
)
def test_traversal_in_every_spelling_names_nothing(path: str, status: int) -> None:
    with pytest.raises(DavError) as caught:
        parse_path(path)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("href", "host", "found"),
    [
        ("/a/b", "h", "/a/b"),
        ("https://h/a", "h", "/a"),
        ("https://H:443/a", "h", "/a"),
        ("https://h:8443/a?q#f", "h:8443", "/a"),
        ("http://h/a", "h", "/a"),
        ("https://[::1]:8443/a", "[::1]:8443", "/a"),
        ("https://h", "h", "/"),
    ],
)
def test_urls_of_ours(href: str, host: str, found: str) -> None:
    assert path_of(href, host) == found


@pytest.mark.parametrize(
    ("href", "status"),
    [
        ("https://other/a", 502),
        ("https://h:1/a", 502),
        ("//other/a", 400),
        ("ftp://h/a", 400),
        ("https://u@h/a", 400),
        ("https://h:x/a", 400),
        ("a/b", 400),
        ("", 400),
    ],
)
def test_urls_of_others(href: str, status: int) -> None:
    with pytest.raises(DavError) as caught:
        path_of(href, "h")
    assert caught.value.status == status
