"""Running the `preau` command in this process: quick, and its output split as a shell sees it."""

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest import mock

from preau.suite.main import main


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    output: str
    error: str


def preau(*words: object, stdin: str = "") -> Done:
    """Run `preau WORDS...`."""
    output, error = io.StringIO(), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error), mock.patch.object(sys, "stdin", given):
        try:
            code = main([str(word) for word in words])
        except SystemExit as exit_:  # argparse: 2 for misuse, 0 after --help
            code = int(exit_.code or 0)
    return Done(code, output.getvalue(), error.getvalue())
