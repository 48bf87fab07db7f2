"""Verbs and roles of the command line that are not built yet: they say so and exit 2.

Owns the list, so that help, completion of names and answers agree. A verb leaves it in the commit that builds it.
"""

import argparse

from .invocation import Invocation, Verbs
from .outcome import Misused

ROLES = ("managesieve",)
_VERBS = {
    "share": "give others rights on a space of documents",
    "import": "import mail, calendars and cards from elsewhere",
    "export": "export an account",
    "dns": "print and check DNS records",
}


def add_verbs(verbs: Verbs) -> None:
    """Add each as a verb that takes anything."""
    for name, purpose in _VERBS.items():
        parser = verbs.add(name, _refuse, f"{purpose} (not built yet)")
        parser.add_argument("anything", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        parser.set_defaults(verb=name)


def refuse(what: str) -> Misused:
    """The one sentence for what is not built."""
    return Misused(f"{what} is not built yet; see the table in README.md for what works")


def _refuse(invocation: Invocation) -> None:
    raise refuse(f"preau {invocation.arguments.verb}")
