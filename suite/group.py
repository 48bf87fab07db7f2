"""`preau group`: addresses that lead to several people.

Owns the arguments alone.
"""

from .administration import open_administration
from .invocation import Invocation, Verbs

_EXAMPLES = """\
  preau group add equipe@ecole.example --member marie.durand@ecole.example --member paul.bernard@ecole.example
  preau group member add equipe@ecole.example lea.petit@ecole.example
"""


def add_verbs(verbs: Verbs) -> None:
    """Add `group`."""
    group = verbs.group("group", "addresses that lead to several people", examples=_EXAMPLES)
    add = group.add("add", run_add, "make a group", examples=_EXAMPLES)
    add.add_argument("address", metavar="NAME@DOMAIN")
    add.add_argument(
        "--member", action="append", default=[], metavar="ADDRESS", help="an account, a group or an outside address"
    )
    group.add("list", run_list, "list groups")
    group.add("show", run_show, "show a group with its members").add_argument("address", metavar="NAME@DOMAIN")
    members = group.group("member", "members of a group", examples=_EXAMPLES)
    for name, purpose in (("add", "add a member"), ("remove", "remove a member")):
        parser = members.add(name, run_member, purpose)
        parser.add_argument("address", metavar="NAME@DOMAIN")
        parser.add_argument("member", metavar="ADDRESS")
        parser.set_defaults(present=name == "add")


def run_add(invocation: Invocation) -> None:
    """Make a group."""
    arguments = invocation.arguments
    with open_administration(invocation.settings) as administration:
        made = administration.group_add(arguments.address, members=arguments.member)
    invocation.output.answer(made, f"{arguments.address} leads to {len(arguments.member)} members.")


def run_list(invocation: Invocation) -> None:
    """List groups."""
    with open_administration(invocation.settings) as administration:
        rows = administration.group_list()
    invocation.output.table(rows, {"address": "ADDRESS", "members": "MEMBERS"}, empty="no groups yet: preau group add")


def run_show(invocation: Invocation) -> None:
    """Show one."""
    with open_administration(invocation.settings) as administration:
        invocation.output.facts(administration.group_show(invocation.arguments.address))


def run_member(invocation: Invocation) -> None:
    """Add or remove a member."""
    arguments = invocation.arguments
    with open_administration(invocation.settings) as administration:
        changed = administration.group_member(arguments.address, arguments.member, present=arguments.present)
    did = "is in" if arguments.present else "is no longer in"
    invocation.output.answer(changed, f"{arguments.member} {did} {arguments.address}.")
