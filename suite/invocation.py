"""One call of `preau`: its arguments, its voice and its settings, as the verbs get them; and how verbs declare themselves.

Owns the options that every command has (--config, --json). Settings are read when a verb first asks for them.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..config.load import InvalidSettings, load_settings
from ..config.schema import Settings
from .outcome import Misused, Refused
from .output import Output

DEFAULT_CONFIG = Path("/etc/preau/preau.toml")
MAX_SECRET = 1024  # octets of a password on standard input


@dataclass
class Invocation:
    """What a verb gets. `arguments` are those of its parser."""

    arguments: argparse.Namespace
    output: Output
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @cached_property
    def config_file(self) -> Path:
        """--config, else $PREAU_CONFIG, else /etc/preau/preau.toml."""
        return Path(self.arguments.config or self.environment.get("PREAU_CONFIG") or DEFAULT_CONFIG)

    @cached_property
    def settings(self) -> Settings:
        """The settings. Raise Refused with everything that is wrong with them."""
        try:
            return load_settings(self.config_file)
        except InvalidSettings as error:
            hint = "" if self.config_file.exists() else " (give --config FILE or set PREAU_CONFIG; `preau init` makes one)"
            raise Refused(str(error) + hint) from None

    def read_secret(self, prompt: str) -> str:
        """One line from standard input: a secret never stands in the arguments. Raise Misused."""
        if sys.stdin.isatty():
            import getpass  # only people need it

            first = getpass.getpass(f"{prompt}: ")
            if getpass.getpass(f"{prompt} (again): ") != first:
                raise Misused("the two do not match")
            return first
        data = sys.stdin.buffer.read(MAX_SECRET + 1)
        if len(data) > MAX_SECRET:
            raise Misused(f"more than {MAX_SECRET} octets on standard input")
        try:
            secret = data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise Misused("standard input is not UTF-8") from None
        if not secret or "\n" in secret:
            raise Misused("give the secret as one line on standard input")
        return secret


Run = Callable[[Invocation], None]


class Verbs:
    """A level of the command line: `preau` itself or a group like `preau user`."""

    def __init__(self, parser: argparse.ArgumentParser, title: str = "commands") -> None:
        """Take verbs under `parser`."""
        self._subparsers: Any = parser.add_subparsers(title=title, metavar="COMMAND", required=True)

    def add(self, name: str, run: Run, purpose: str, *, examples: str = "") -> argparse.ArgumentParser:
        """A verb. `purpose` completes "preau NAME: ..."; `examples` stand at the end of its --help."""
        parser = self._parser(name, purpose, examples)
        add_common_options(parser)
        parser.set_defaults(run=run)
        return parser

    def group(self, name: str, purpose: str, *, examples: str = "") -> "Verbs":
        """A verb that has verbs of its own."""
        return Verbs(self._parser(name, purpose, examples))

    def _parser(self, name: str, purpose: str, examples: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = self._subparsers.add_parser(
            name,
            help=purpose,
            description=purpose[0].upper() + purpose[1:] + ".",
            epilog=f"examples:\n{examples}" if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        return parser


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """--config and --json."""
    common = parser.add_argument_group("common options")
    common.add_argument("--config", metavar="FILE", help="settings (default $PREAU_CONFIG, then /etc/preau/preau.toml)")
    common.add_argument("--json", action="store_true", help="answer in JSON")
