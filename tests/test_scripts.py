"""The scripts: executable, strict, short, and clean under shellcheck where it is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHELL = [
    path
    for path in [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"]
    if path.is_file() and path.read_bytes()[:11] == b"#!/bin/bash"
]


def test_the_scripts_are_there() -> None:
    assert {path.name for path in SHELL} >= {"install", "lint", "check", "test", "bench", "demo", "run"}


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_a_script_is_strict_and_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in text
    assert len(text.splitlines()) <= 60
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert done.stdout == ""
