"""Settings that load, and settings that do not: everything wrong at once, with file, line and the nearest known key."""

import dataclasses
from pathlib import Path

import pytest

from preau.config.load import InvalidSettings, load_settings, parse_listen, parse_settings, sections

BAD = sorted(path.parent for path in Path(__file__).parent.glob("bad/*/preau.toml"))
GOOD = '[instance]\ndomain = "ecole.example"\n'


@pytest.mark.parametrize("folder", BAD, ids=lambda folder: folder.name)
def test_bad_settings_say_everything(folder: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load_settings(folder / "preau.toml")
    told = "".join(f"{line.removeprefix(f'{folder.absolute()}/')}\n" for line in str(caught.value).splitlines())
    assert told == (folder / "expected.txt").read_text(encoding="utf-8")


def test_one_line_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "preau.toml"
    file.write_text(GOOD, encoding="utf-8")
    settings = load_settings(file)
    assert settings.instance.domain == "ecole.example"
    assert settings.instance.data == tmp_path / "data"
    assert settings.tls.certificate == tmp_path / "tls" / "server.pem"
    for name, cls in sections().items():
        assert isinstance(getattr(settings, name), cls)


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    text = GOOD + 'data = "d/e"\nkeys = "/srv/keys"\n'
    settings = parse_settings(text.encode(), tmp_path / "preau.toml")
    assert settings.instance.data == tmp_path / "d" / "e"
    assert settings.instance.keys == Path("/srv/keys")


def test_one_address_needs_no_list(tmp_path: Path) -> None:
    settings = parse_settings((GOOD + '[listen]\nimap = "[::1]:1143"\nimaps = []\n').encode(), tmp_path / "f")
    assert settings.listen.imap == ("[::1]:1143",)
    assert settings.listen.imaps == ()


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings = parse_settings(GOOD.encode(), tmp_path / "f")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.log.level = "debug"  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"\xff", "f:1: not UTF-8", id="not utf-8"),
        pytest.param(b"[instance]\ndomain = '\xc3", "f:2: not UTF-8", id="cut utf-8"),
        pytest.param(b"a = " + b"[" * 5000, "f: nested too deeply", id="deep"),
    ],
)
def test_octets_that_are_no_toml(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        parse_settings(data, tmp_path / "f")
    assert str(caught.value).removeprefix(f"{tmp_path}/") == message


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="No such file"):
        load_settings(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("127.0.0.1:143", ("127.0.0.1", 143), id="v4"),
        pytest.param("[::1]:993", ("::1", 993), id="v6"),
        pytest.param("localhost:24", ("127.0.0.1", 24), id="localhost"),
    ],
)
def test_parse_listen(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["", "143", "host", "::1:993", "1.2.3.4:0", "1.2.3.4:65536", "mail.example:25", "1.2.3.4:-1"])
def test_parse_listen_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param('backends = ["sqlite"]', "backends: say a table: {...}", id="no table"),
        pytest.param("backends = [{}]", "backends: a table needs use: ", id="nothing in it"),
        pytest.param("backends = [{use = 3}]", "backends: say it as text in quotes", id="wrong type"),
        pytest.param(
            'backends = [{use = "file", domains = ["a b"]}]', "backends: 'a b' is not a domain name", id="wrong domain"
        ),
    ],
)
def test_tables_are_checked(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        parse_settings(f"{GOOD}[auth]\n{line}\n".encode(), tmp_path / "f")
    assert str(caught.value).startswith(f"{tmp_path}/f:4: {message}")


def test_a_backend_gets_its_own_options(tmp_path: Path) -> None:
    line = 'backends = [{use = "file", path = "staff", domains = ["b.example"]}, {use = "sqlite"}]'
    first, second = parse_settings(f"{GOOD}[auth]\n{line}\n".encode(), tmp_path / "f").auth.backends
    assert (first.use, first.domains, first.options) == ("file", ("b.example",), {"path": "staff"})
    assert (second.use, second.options) == ("sqlite", {})


def test_routes_are_domains_to_hosts(tmp_path: Path) -> None:
    text = f'{GOOD}[relay.routes]\n"Peer.example" = "127.0.0.1:2525"\n".b.example" = "[::1]:25"\n'
    assert parse_settings(text.encode(), tmp_path / "f").relay.routes == {
        "peer.example": "127.0.0.1:2525",
        ".b.example": "[::1]:25",
    }
    assert parse_settings(GOOD.encode(), tmp_path / "f").relay.routes == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param('routes = "a:25"', 'routes: say a table: {"example.org" = "..."}', id="no table"),
        pytest.param('routes = {"a b" = "a:25"}', "routes: 'a b' is not a domain name", id="no domain"),
        pytest.param('routes = {"a.example" = "host"}', "routes: 'host' is not host:port", id="no port"),
        pytest.param('routes = {"a.example" = 25}', "routes: say it as text in quotes", id="number"),
        pytest.param('smart_host = "host:0"', "smart_host: 'host:0' is not host:port", id="port 0"),
    ],
)
def test_hosts_are_checked(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        parse_settings(f"{GOOD}[relay]\n{line}\n".encode(), tmp_path / "f")
    assert str(caught.value).startswith(f"{tmp_path}/f:4: {message}")


@pytest.mark.parametrize(
    ("section", "line", "message"),
    [
        pytest.param("dns", 'servers = ["dns.example"]', "servers: 'dns.example' is not an IP address", id="name"),
        pytest.param("dns", 'families = ["ipx"]', "families: 'ipx' is not one of ipv4, ipv6", id="family"),
        pytest.param("queue", "steps = [300, 0]", "steps: 0 is less than 1 seconds", id="no wait"),
        pytest.param("queue", 'steps = ["5 min", "soon"]', "steps: ", id="no duration"),
    ],
)
def test_lists_are_checked(section: str, line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        parse_settings(f"{GOOD}[{section}]\n{line}\n".encode(), tmp_path / "f")
    assert str(caught.value).startswith(f"{tmp_path}/f:4: {message}")


@pytest.mark.parametrize(("section", "key"), [("queue", "steps"), ("dns", "families")])
def test_lists_that_may_not_be_empty(section: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=f"{key}: "):
        parse_settings(f"{GOOD}[{section}]\n{key} = []\n".encode(), tmp_path / "f")
