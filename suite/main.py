"""The `preau` command: arguments to verbs, outcomes to exit codes (0 done, 1 refused, 2 misused).

Owns the top of the command line. Each verb group is a module of its own; what it needs is imported when it runs, so that
`preau --help` and a completion are quick.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from .. import __version__
from . import app_password, check, group, init, mailbox, queue, serve, store, totp, traces, unbuilt, user
from .invocation import Invocation, Verbs
from .outcome import Misused, Refused
from .output import Output

_EXAMPLES = """\
examples:
  preau init /srv/preau --domain ecole.example --ports-from 10000
  preau serve --config /srv/preau/preau.toml
  preau user add marie.durand@ecole.example --name "Marie Durand" --password-stdin
  preau app-password add marie.durand@ecole.example --label "Thunderbird"
  preau check
Each command has its own --help. Exit codes: 0 done, 1 refused, 2 misused.
"""


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="preau",
        description="Préau: mail and groupware for schools and administrations.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"preau {__version__}")
    verbs = Verbs(parser)
    for module in (init, serve, user, group, totp, app_password, mailbox, queue, store, traces, check, unbuilt):
        module.add_verbs(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    parsed = make_parser().parse_args(arguments)
    output = Output(json_lines=parsed.json)
    # What parts log is for daemons; a command tells what matters itself. `serve` configures the real thing.
    logging.getLogger("preau").addHandler(logging.NullHandler())
    try:
        parsed.run(Invocation(parsed, output))
        sys.stdout.flush()
    except BrokenPipeError:
        # `preau user list | head` ends quietly; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Misused as error:
        output.complain(str(error))
        return 2
    except Refused as error:
        output.complain(str(error))
        return 1
    except KeyboardInterrupt:
        output.complain("stopped")
        return 130
    return 0


if __name__ == "__main__":
    # `python -m` from a checkout must not see the checkout's folders as packages (-P does the same).
    sys.path[:] = [entry for entry in sys.path if entry not in ("", os.getcwd())]
    sys.exit(main())
