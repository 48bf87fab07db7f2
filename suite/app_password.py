"""`preau app-password`: one password a device.

Owns the arguments and that a password is shown once.
"""

from ..auth.api import Service
from .administration import open_administration
from .invocation import Invocation, Verbs
from .outcome import Misused

_EXAMPLES = """\
  preau app-password add marie.durand@ecole.example --label "Thunderbird, salle 12"
  preau app-password add robot@ecole.example --label backup --scope imap --expires 90 --net 192.0.2.0/24
  preau app-password revoke marie.durand@ecole.example 3
"""


def add_verbs(verbs: Verbs) -> None:
    """Add `app-password`."""
    group = verbs.group("app-password", "one password a device", examples=_EXAMPLES)
    add = group.add("add", run_add, "make an app password and show it once", examples=_EXAMPLES)
    add.add_argument("address", metavar="ADDRESS")
    add.add_argument("--label", required=True, metavar="TEXT", help="what it is for, as the owner will recognise it")
    add.add_argument("--scope", metavar="LIST", help=f"comma-separated: {','.join(Service)} (default all)")
    add.add_argument("--expires", type=int, metavar="DAYS", help="days it is good for (default: while it is used)")
    add.add_argument("--net", action="append", default=[], metavar="CIDR", help="network it is good from; may be repeated")
    group.add("list", run_list, "list app passwords with scopes, expiry and last use").add_argument(
        "address", metavar="ADDRESS"
    )
    revoke = group.add("revoke", run_revoke, "revoke an app password; its sessions end at once")
    revoke.add_argument("address", metavar="ADDRESS")
    revoke.add_argument("id", metavar="ID", help="as `list` shows it")


def run_add(invocation: Invocation) -> None:
    """Make and show."""
    arguments = invocation.arguments
    scopes = None if arguments.scope is None else [each.strip() for each in arguments.scope.split(",") if each.strip()]
    if unknown := [each for each in scopes or () if each not in list(Service)]:
        raise Misused(f"--scope {','.join(unknown)}: take {', '.join(Service)}")
    if scopes == []:
        raise Misused("--scope: name at least one")
    with open_administration(invocation.settings) as administration:
        made = administration.app_password_add(
            arguments.address,
            label=arguments.label,
            scopes=scopes,
            expires_days=arguments.expires,
            networks=arguments.net,
        )
    invocation.output.answer(
        made, f"App password {made['id']} of {arguments.address}, shown this once:", "", f"  {made['password']}", ""
    )


def run_list(invocation: Invocation) -> None:
    """List."""
    with open_administration(invocation.settings) as administration:
        rows = administration.app_password_list(invocation.arguments.address)
    columns = {
        "id": "ID",
        "label": "LABEL",
        "scopes": "SCOPES",
        "networks": "NETWORKS",
        "expires": "EXPIRES",
        "last_used": "LAST USED",
        "revoked": "REVOKED",
    }
    invocation.output.table(rows, columns, empty="no app passwords")


def run_revoke(invocation: Invocation) -> None:
    """Revoke."""
    arguments = invocation.arguments
    with open_administration(invocation.settings) as administration:
        administration.app_password_revoke(arguments.address, arguments.id)
    invocation.output.answer({"id": arguments.id, "revoked": True}, f"{arguments.id} is revoked; its sessions end now.")
