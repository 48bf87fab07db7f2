"""`preau mailbox`: the mailboxes of an account, by the store itself.

Owns the arguments. Sessions that have the account open see the change as they see each other's.
"""

from ..storage.api import AlreadyExists, Forbidden, InvalidName, NotFound, StoreError
from .accounts import open_store_of
from .invocation import Invocation, Verbs
from .outcome import Refused
from .unbuilt import refuse

SPECIAL_USE = ("Archive", "Drafts", "Junk", "Sent", "Trash")

_EXAMPLES = """\
  preau mailbox list marie.durand@ecole.example
  preau mailbox create marie.durand@ecole.example "Classes/5e B"
"""


def add_verbs(verbs: Verbs) -> None:
    """Add `mailbox`."""
    group = verbs.group("mailbox", "mailboxes of an account", examples=_EXAMPLES)
    group.add("list", run_list, "list mailboxes with their counts").add_argument("address", metavar="ADDRESS")
    create = group.add("create", run_create, "make a mailbox and the parents it lacks", examples=_EXAMPLES)
    create.add_argument("address", metavar="ADDRESS")
    create.add_argument("name", metavar="NAME", help="with / between levels")
    create.add_argument("--special-use", choices=SPECIAL_USE, help="what clients use it for (RFC 6154)")
    delete = group.add("delete", run_delete, "delete a mailbox with its messages")
    delete.add_argument("address", metavar="ADDRESS")
    delete.add_argument("name", metavar="NAME")
    group.add("acl", run_acl, "rights of others on a mailbox (not built yet)").add_argument("anything", nargs="*")


def run_list(invocation: Invocation) -> None:
    """List."""
    with open_store_of(invocation.settings, invocation.arguments.address, "mailbox list") as (_, account):
        mailboxes = account.mail.mailboxes()
        counters = {status.id: status for status in account.mail.status([mailbox.id for mailbox in mailboxes])}
        quota = account.quota()
    rows = [
        {
            "name": mailbox.name,
            "special_use": sorted(mailbox.special_use),
            "messages": counters[mailbox.id].messages,
            "unseen": counters[mailbox.id].unseen,
            "size": counters[mailbox.id].size,
            "subscribed": mailbox.subscribed,
        }
        for mailbox in mailboxes
        if mailbox.id in counters
    ]
    columns = {"name": "MAILBOX", "special_use": "USE", "messages": "MESSAGES", "unseen": "UNSEEN", "size": "SIZE"}
    invocation.output.table(rows, columns, empty="no mailboxes")
    invocation.output.note(f"{quota.used} octets used of {'any number' if quota.limit is None else quota.limit}")


def run_create(invocation: Invocation) -> None:
    """Create."""
    arguments = invocation.arguments
    special_use = frozenset({f"\\{arguments.special_use}"} if arguments.special_use else ())
    with open_store_of(invocation.settings, arguments.address, "mailbox create") as (_, account):
        try:
            made = account.mail.create(arguments.name, special_use=special_use)
        except AlreadyExists:
            raise Refused(f"{arguments.name} is there already") from None
        except (InvalidName, Forbidden) as error:
            raise Refused(f"{arguments.name}: {error or 'not a name for a mailbox'}") from None
    invocation.output.answer({"name": made.name, "uidvalidity": made.uidvalidity}, f"{made.name} is there.")


def run_delete(invocation: Invocation) -> None:
    """Delete."""
    arguments = invocation.arguments
    with open_store_of(invocation.settings, arguments.address, "mailbox delete") as (_, account):
        try:
            account.mail.delete(arguments.name)
        except NotFound:
            raise Refused(f"no mailbox {arguments.name}") from None
        except StoreError as error:
            raise Refused(f"{arguments.name}: {error}") from None
    invocation.output.answer({"name": arguments.name, "deleted": True}, f"{arguments.name} is deleted.")


def run_acl(invocation: Invocation) -> None:
    """Not built."""
    raise refuse("preau mailbox acl")
