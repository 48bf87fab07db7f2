"""Who may do what: the one authorisation function, asked on every path (architecture rule 8, decisions 13).

IMAP, DAV, Sieve's fileinto, search, scheduling and principal search ask it before they look; what is not permitted is
told as what does not exist, so a stranger learns nothing. Rights themselves are data of the store, kept with the
mailbox or collection and handed in; this module only weighs them.

Today the store keeps no rights of others: the owner may everything, all others nothing. Rights given by name come in as
`rights`, in the words of RFC 4314 section 2.1, onto which the privileges of RFC 3744 map.

Never reads a store, never raises, never speaks a protocol's word. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ..storage.api import AccountId


class Right(StrEnum):
    """One right on a mailbox or collection (RFC 4314 section 2.1; the letters are IMAP's)."""

    LOOKUP = "l"  # know that it is there
    READ = "r"  # open it, read what is in it
    SEEN = "s"  # keep \\Seen
    WRITE = "w"  # set other flags, change properties
    INSERT = "i"  # add
    POST = "p"  # mail into it, schedule with it
    CREATE = "k"  # make children
    DELETE = "x"  # remove or rename it
    DELETE_ITEMS = "t"  # mark for removal
    EXPUNGE = "e"  # remove items
    ADMINISTER = "a"  # give rights


ALL_RIGHTS = frozenset(Right)
NO_RIGHTS: frozenset[Right] = frozenset()


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked about: a mailbox or collection of `owner`, with the rights its owner gave to others."""

    owner: AccountId
    rights: Mapping[AccountId, frozenset[Right]] = field(default_factory=dict)


def rights_of(identity: AccountId, target: Target) -> frozenset[Right]:
    """All that `identity` may do: MYRIGHTS, current-user-privilege-set. Deny by default."""
    if identity == target.owner:
        return ALL_RIGHTS
    given = target.rights.get(identity, NO_RIGHTS)
    # Without LOOKUP nothing else counts: who may not know of a thing cannot use it.
    return given if Right.LOOKUP in given else NO_RIGHTS


def may(identity: AccountId, right: Right, target: Target) -> bool:
    """Whether `identity` may do `right` on `target`."""
    return right in rights_of(identity, target)
