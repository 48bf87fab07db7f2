"""Where the dead lie: in memory where there is a file system for that, because their flushes prove nothing."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def morgue(tmp_path: Path) -> Iterator[Path]:
    """A folder for what deaths leave."""
    if not os.access(_MEMORY, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="preau-crash-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
