"""Who asks: verified once, remembered for a while, forgotten at once when revoked."""

import base64
from typing import Any

import pytest

from dav_plugin import PLUGINS
from dav_world import ANA, World, dav_world
from own_imap import account_of
from preau.auth.api import Revocation, Service
from preau.dav.sign_in import InvalidCredentials, parse_basic
from preau.dav.values import DavSettings

HOME = f"/dav/calendars/{ANA}/"
BOOKS = f"/dav/addressbooks/{ANA}/"


def status(world: World, path: str = HOME, **named: Any) -> int:
    return world.propfind(path, "<D:resourcetype/>", **named).status


def test_a_password_is_verified_once(world: World) -> None:
    for _ in range(5):
        assert status(world) == 207
    assert len(world.authenticator.attempts) == 1
    assert status(world, password="wrong") == 401
    assert status(world, password="wrong") == 401
    assert len(world.authenticator.attempts) == 3


@pytest.mark.parametrize(
    "revocation",
    [Revocation(account=account_of(ANA)), Revocation(lost=True), Revocation(account=account_of(ANA), why="password changed")],
    ids=["account", "stream lost", "with a reason"],
)
def test_a_revocation_ends_what_was_remembered(world: World, revocation: Revocation) -> None:
    assert status(world) == 207
    for callback in world.authenticator.callbacks:
        world.runner.get_loop().call_soon(callback, revocation)
    assert status(world) == 207
    assert len(world.authenticator.attempts) == 2
    assert len(world.authenticator.closed) == 1


def test_another_revocation_does_not(world: World) -> None:
    assert status(world) == 207
    world.runner.get_loop().call_soon(world.authenticator.callbacks[0], Revocation(account=account_of("bob")))
    assert status(world) == 207
    assert len(world.authenticator.attempts) == 1


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", 401),
        ("/dav", 401),
        (HOME, 401),
        ("/nothing", 401),
        ("/autodiscover/autodiscover.xml", 404),
        ("/Autodiscover/Autodiscover.xml", 404),
        ("/.well-known/autoconfig/mail/config-v1.1.xml", 404),
        ("/mail/config-v1.1.xml", 404),
    ],
)
def test_nobody_is_asked_who_they_are_where_set_up_might_be(world: World, path: str, answer: int) -> None:
    # Thunderbird, finding 401 where automatic set-up might be, asks for a password before it does anything else.
    said = world.request("POST", path, "<Autodiscover/>", login=None)
    assert said.status == answer
    assert ("www-authenticate" in said.headers) is (answer == 401)


def test_sessions_are_forgotten(world: World) -> None:
    with dav_world(PLUGINS, DavSettings(session_seconds=0, sessions=1)) as short:
        assert status(short) == 207
        short.runner.get_loop().call_soon(short.sign_in.sweep)
        assert status(short) == 207
        assert len(short.authenticator.attempts) == 2
        assert status(short, "/", login="bob@ecole.example") == 207
        assert status(short) == 207
        assert len(short.authenticator.attempts) == 4


def test_nothing_is_known_without_credentials(world: World) -> None:
    for path in ("/", "/dav/", HOME, f"/dav/principals/{ANA}/", "/nothing", "/dav/calendars/bob@ecole.example/"):
        answer = world.request("PROPFIND", path, login=None)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
    assert world.authenticator.attempts == []


def test_strangers_things_are_not_there(world: World) -> None:
    for path in (
        "/dav/calendars/bob@ecole.example/",
        "/dav/calendars/nobody@x/calendar/",
        "/dav/principals/bob@ecole.example/",
    ):
        assert status(world, path) == 404


def test_a_scope_opens_its_own(world: World) -> None:
    world.authenticator.scopes = frozenset({Service.CARDDAV})
    assert status(world, BOOKS) == 207
    assert status(world, "/") == 207
    assert status(world, f"/dav/principals/{ANA}/") == 207
    refused = world.propfind(HOME, "<D:resourcetype/>")
    assert refused.status in (401, 403)
    assert "REF456" in refused.text


@pytest.mark.parametrize("method", ["GET", "PROPFIND", "OPTIONS", "PUT", "REPORT", "BREW"])
@pytest.mark.parametrize("path", ["/.well-known/caldav", "/.well-known/carddav/"])
def test_well_known_for_everybody(world: World, method: str, path: str) -> None:
    answer = world.request(method, path, login=None)
    assert (answer.status, answer.headers["location"]) == (301, "/dav/")


def test_passwords_need_tls(world: World) -> None:
    assert status(world, tls=False) == 403
    assert world.authenticator.attempts == []
    answer = world.request("GET", "/dav/", login=None, tls=False)
    assert (answer.status, answer.headers["location"]) == (308, "https://dav.ecole.example/dav/")


def test_when_sign_in_is_away(world: World) -> None:
    world.authenticator.connected = False
    answer = world.request("GET", "/dav/")
    assert answer.status == 503
    assert "retry-after" in answer.headers


def basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (basic(b"a@b:c:d"), ("a@b", "c:d")),
        (basic("é:ü".encode()), ("é", "ü")),
        (basic("é:ü".encode("latin-1")), ("é", "ü")),
        ("bAsIc " + base64.b64encode(b"a:").decode(), ("a", "")),
    ],
)
def test_credentials(header: str, found: tuple[str, str]) -> None:
    assert parse_basic(header) == found


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !!!", "Bearer abc", basic(b"nocolon"), basic(b":x"), basic(b"a\x00:b"), basic(b"a:" + b"x" * 3_000)],
)
def test_credentials_that_are_none(world: World, header: str) -> None:
    with pytest.raises(InvalidCredentials):
        parse_basic(header)
    assert world.request("GET", "/dav/", headers={"Authorization": header}).status == 401
    assert world.authenticator.attempts == []
