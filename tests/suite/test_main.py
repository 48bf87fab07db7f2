"""The command line itself: help everywhere, exit codes, and nothing but the answer on standard output."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from command import preau  # tests/support
from preau.suite.main import make_parser


def commands() -> Iterator[list[str]]:
    """Every command that can be given, groups too."""

    def below(parser: argparse.ArgumentParser, words: list[str]) -> Iterator[list[str]]:
        yield words
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, child in action.choices.items():
                    yield from below(child, [*words, name])

    return below(make_parser(), [])


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_help(words: list[str]) -> None:
    done = preau(*words, "--help")
    assert (done.code, done.error) == (0, "")
    assert done.output.startswith(" ".join(["usage: preau", *words]))


@pytest.mark.parametrize("words", [words for words in commands() if words], ids=" ".join)
def test_every_command_takes_settings_and_json(words: list[str]) -> None:
    done = preau(*words, "--help")
    assert "--config FILE" in done.output or "COMMAND" in done.output


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["fly"], id="no such command"),
        pytest.param(["user"], id="group alone"),
        pytest.param(["user", "lock", "a@b.example"], id="missing option"),
        pytest.param(["user", "show"], id="missing address"),
        pytest.param(["serve", "imap", "fly", "--config", "x"], id="no such role"),
        pytest.param(["traces", "show", "a@b.example", "--since", "yesterday", "--config", "x"], id="no date"),
        pytest.param(
            ["app-password", "add", "a@b.example", "--label", "x", "--scope", "imap,fly", "--config", "x"], id="no scope"
        ),
    ],
)
def test_misuse_is_2(words: list[str]) -> None:
    done = preau(*words)
    assert (done.code, done.output) == (2, "")
    assert done.error


@pytest.mark.parametrize(
    "words",
    [
        *(["share", "list"], ["import", "imap"], ["export", "a@b.example"], ["dns", "check"]),
        *(["serve", "managesieve"], ["mailbox", "acl"], ["check", "--probe"]),
    ],
    ids=" ".join,
)
def test_what_is_not_built_says_so(words: list[str]) -> None:
    done = preau(*words)
    assert (done.code, done.output) == (2, "")
    assert "is not built yet" in done.error


@pytest.mark.parametrize("words", [["user", "list"], ["serve"], ["store", "verify"], ["check"]], ids=" ".join)
def test_missing_settings_are_1(words: list[str], tmp_path: Path) -> None:
    done = preau(*words, "--config", tmp_path / "preau.toml")
    assert done.code == 1
    assert "preau.toml" in done.error + done.output


def test_an_error_is_json_for_machines(tmp_path: Path) -> None:
    done = preau("user", "list", "--config", tmp_path / "preau.toml", "--json")
    assert (done.code, done.output) == (1, "")
    assert "No such file" in json.loads(done.error)["error"]


def test_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREAU_CONFIG", str(tmp_path / "elsewhere.toml"))
    assert "elsewhere.toml" in preau("user", "list").error


def test_version() -> None:
    assert preau("--version").output.startswith("preau 0.")


def test_the_installed_command_runs_anywhere(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("preau")
    done = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("preau ")


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """`preau --help | head -1`: no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-P", "-m", "preau.suite.main", "check", "--config", str(tmp_path / "x"), "--json"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert "Traceback" not in done.stderr


def test_secrets_never_stand_in_arguments() -> None:
    for words in commands():
        text = preau(*words, "--help").output
        for option in ("--password ", "--secret", "--passphrase"):
            assert option not in text, words
