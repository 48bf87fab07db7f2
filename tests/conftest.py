"""Keeps the checkout's folders off the import path, so that `import caldav` is never our folder of that name."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent.parent)
sys.path[:] = [entry for entry in sys.path if entry not in ("", _ROOT)]
