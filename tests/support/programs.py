"""Programs that are not ours: whether they are here, and files that they want for themselves."""

import shutil
from pathlib import Path

import pytest


def needs(program: str) -> str:
    """Where a program is; the test is skipped when it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def private(path: Path, text: str) -> Path:
    """A file with a password in it, which these programs want to be its owner's alone."""
    path.touch(mode=0o600)
    path.write_text(text)
    return path
