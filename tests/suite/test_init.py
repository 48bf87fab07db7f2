"""`preau init`: what it makes, what it refuses, and that it can be run again."""

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from command import preau  # tests/support
from preau.config.load import load_settings
from preau.suite.init import MAX_BASE, OFFSETS, make_plan, render_settings
from preau.suite.layout import is_run_path_short, layout_of
from preau.suite.outcome import Misused


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_init_makes_an_instance(tmp_path: Path, free_base: Callable[[], int]) -> None:
    base = free_base()
    done = preau("init", tmp_path / "i", "--domain", "Ecole.Example", "--ports-from", base, "--json")
    assert done.code == 0, done.error
    answer = json.loads(done.output)
    assert answer["ports"] == {name: base + offset for name, offset in OFFSETS.items()}
    assert answer["domain"] == "ecole.example"
    settings = load_settings(tmp_path / "i" / "preau.toml")
    assert settings.listen.imaps == (f"127.0.0.1:{base + 993}",)
    assert settings.listen.lmtp == (f"127.0.0.1:{base + 24}",)
    assert not settings.listen.plaintext
    layout = layout_of(settings)
    for folder, wanted in layout.folders():
        assert mode(folder) == wanted, folder
    for secret in (layout.kek, settings.tls.private_key, tmp_path / "i" / "tls" / "ca.key"):
        assert mode(secret) == 0o600, secret
    assert layout.kek.stat().st_size == 32
    assert (tmp_path / "i" / "ca.pem").read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert not [path.name for path in (tmp_path / "i").iterdir() if path.name.startswith(".") or path.suffix == ".new"]


def test_plaintext_is_said_in_the_settings(tmp_path: Path, free_base: Callable[[], int]) -> None:
    assert preau("init", tmp_path / "i", "--domain", "a.example", "--ports-from", free_base(), "--plaintext").code == 0
    assert load_settings(tmp_path / "i" / "preau.toml").listen.plaintext


def test_again_changes_nothing(tmp_path: Path, free_base: Callable[[], int]) -> None:
    base = str(free_base())
    words = ("init", tmp_path / "i", "--domain", "a.example", "--ports-from", base, "--json")
    assert preau(*words).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "i").rglob("*") if path.is_file()}
    again = preau(*words)
    assert (again.code, json.loads(again.output)["did"]) == (0, [])
    assert {path: path.read_bytes() for path in (tmp_path / "i").rglob("*") if path.is_file()} == before


def test_again_makes_what_is_missing(tmp_path: Path, free_base: Callable[[], int]) -> None:
    words = ("init", tmp_path / "i", "--domain", "a.example", "--ports-from", free_base(), "--json")
    assert preau(*words).code == 0
    (tmp_path / "i" / "tls" / "server.pem").unlink()
    (tmp_path / "i" / "data" / "traces").rmdir()
    assert json.loads(preau(*words).output)["did"] == ["certificate made"]
    assert (tmp_path / "i" / "data" / "traces").is_dir()


def test_a_lost_kek_is_never_replaced(tmp_path: Path, free_base: Callable[[], int]) -> None:
    words = ("init", tmp_path / "i", "--domain", "a.example", "--ports-from", free_base())
    assert preau(*words).code == 0
    (tmp_path / "i" / "keys" / "kek").unlink()
    done = preau(*words)
    assert done.code == 1
    assert "put it back" in done.error
    assert not (tmp_path / "i" / "keys" / "kek").exists()


def test_another_domain_is_refused(tmp_path: Path, free_base: Callable[[], int]) -> None:
    assert preau("init", tmp_path / "i", "--domain", "a.example", "--ports-from", free_base()).code == 0
    done = preau("init", tmp_path / "i", "--domain", "b.example")
    assert (done.code, "instance of a.example, not of b.example" in done.error) == (1, True)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, free_base: Callable[[], int]) -> None:
    (tmp_path / "letter").write_text("dear")
    for _ in range(2):
        done = preau("init", tmp_path, "--domain", "a.example", "--ports-from", free_base())
        assert (done.code, "is not empty" in done.error) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_an_init_that_was_cut_off_is_finished(tmp_path: Path, free_base: Callable[[], int]) -> None:
    (tmp_path / ".preau-init").touch()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "kek").write_bytes(bytes(32))
    (tmp_path / "keys" / "kek").chmod(0o600)
    assert preau("init", tmp_path, "--domain", "a.example", "--ports-from", free_base()).code == 0
    assert (tmp_path / "keys" / "kek").read_bytes() == bytes(32)


@pytest.mark.parametrize("listener", sorted(OFFSETS))
def test_a_port_that_is_taken_is_refused_before_anything_is_made(
    listener: str, tmp_path: Path, free_base: Callable[[], int]
) -> None:
    base = free_base()
    with socket.socket() as other:
        other.bind(("127.0.0.1", base + OFFSETS[listener]))
        other.listen()
        done = preau("init", tmp_path / "i", "--domain", "a.example", "--ports-from", base)
    assert (done.code, f"{listener} 127.0.0.1:{base + OFFSETS[listener]}" in done.error) == (1, True)
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--ports-from", str(MAX_BASE + 1)], "31000", id="ephemeral ports"),
        pytest.param(["--ports-from", "0"], "31000", id="zero"),
        pytest.param(["--ports-from", "many"], "invalid int", id="no number"),
        pytest.param(["--host", "mail.example"], "give an IP address", id="host name"),
        pytest.param(["--host", "192.0.2.1", "--plaintext"], "loopback", id="plaintext for others"),
        pytest.param(["--domain", "not a domain"], "not a domain name", id="domain"),
        pytest.param(["--dom", "a.example"], "unrecognized", id="abbreviated"),
    ],
)
def test_misuse(words: list[str], message: str, tmp_path: Path) -> None:
    done = preau("init", tmp_path / "i", "--domain", "a.example", *words)
    assert (done.code, message in done.error, done.output) == (2, True, "")
    assert not (tmp_path / "i").exists()


def test_without_ports_from_the_ports_are_the_standard_ones(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "i", "a.example", "::", None, False)
    assert plan.ports == {**OFFSETS, "sieve": 4190}
    text = render_settings(plan)
    assert 'imaps = ["[::]:993"]' in text
    assert 'lmtp = ["127.0.0.1:24"]' in text  # never beyond the machine by itself


def test_long_paths_get_their_sockets_elsewhere(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / ("d" * 60) / ("e" * 60), "a.example", "127.0.0.1", 1000, False)
    line = next(line for line in render_settings(plan).splitlines() if line.startswith("run = "))
    run = Path(line.split('"')[1])
    assert is_run_path_short(run)
    assert run.name.startswith(f"preau-{os.geteuid()}-")


def test_a_plan_says_misused() -> None:
    with pytest.raises(Misused):
        make_plan(Path("x"), "a.example", "127.0.0.1", -5, False)
