"""Keeps the checkout's folders off the import path, so that `import caldav` is never our folder of that name.

What instances put into the folder of temporary files goes when the tests are over. Hypothesis measures no time: no test does.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

_ROOT = str(Path(__file__).resolve().parent.parent)
sys.path[:] = [entry for entry in sys.path if entry not in ("", _ROOT)]

settings.register_profile("preau", settings(), deadline=None)
settings.load_profile("preau")


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A short folder for sockets: tests call `preau init` far down, and an instance keeps its run folder when it ends."""
    tmp_path_factory.getbasetemp()  # pytest's own stays where it looks for it next time
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="preau-") as folder:
        os.chmod(folder, 0o755)  # Dovecot, that tests compare with, runs as somebody else
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield
