"""Access control as RFC 3744 tells it, read-only: what auth/permits.py decides, in DAV's words.

Owns the words. Never decides. Rights are not given over DAV yet: the ACL method is refused, every ACE is protected, and
write-acl and unlock are left out of what is supported.
"""

from ..auth.permits import Right
from ..storage.api import CollectionKind

#   privilege -> the rights of RFC 4314 that it takes, all of them
_TAKES: dict[str, frozenset[Right]] = {
    "read": frozenset({Right.READ}),
    "read-current-user-privilege-set": frozenset({Right.LOOKUP}),
    "read-acl": frozenset({Right.ADMINISTER}),
    "write-properties": frozenset({Right.WRITE}),
    "write-content": frozenset({Right.INSERT, Right.EXPUNGE}),
    "bind": frozenset({Right.INSERT}),
    "unbind": frozenset({Right.DELETE_ITEMS, Right.EXPUNGE}),
}
_WRITE = ("write-properties", "write-content", "bind", "unbind")

# RFC 4791 section 6.1.1: part of read on calendars and above them. The one word here that is not DAV's own.
_FREE_BUSY = "<C:read-free-busy/>"


def privilege_set(rights: frozenset[Right], kind: CollectionKind | None) -> str:
    """Inner XML of current-user-privilege-set for these rights."""
    held = [name for name, takes in _TAKES.items() if takes <= rights]
    names = list(held)
    if all(name in held for name in _WRITE):
        names.append("write")
    if len(held) == len(_TAKES):
        names.insert(0, "all")
    words = [f"<D:privilege><D:{name}/></D:privilege>" for name in names]
    if kind is CollectionKind.CALENDAR and "read" in held:
        words.append(f"<D:privilege>{_FREE_BUSY}</D:privilege>")
    return "".join(words)


def _supported(name: str, description: str, below: str = "") -> str:
    words = f'<D:description xml:lang="en">{description}</D:description>'
    return f"<D:supported-privilege><D:privilege>{name}</D:privilege>{words}{below}</D:supported-privilege>"


def supported_privilege_set(kind: CollectionKind | None) -> str:
    """Inner XML of supported-privilege-set (RFC 3744 section 5.3)."""
    free_busy = _supported(_FREE_BUSY, "Read free busy information") if kind is CollectionKind.CALENDAR else ""
    write = "".join(_supported(f"<D:{name}/>", name.replace("-", " ").capitalize()) for name in _WRITE)
    return _supported(
        "<D:all/>",
        "Any operation",
        _supported("<D:read/>", "Read", free_busy)
        + _supported("<D:read-acl/>", "Read the access control list")
        + _supported("<D:read-current-user-privilege-set/>", "Read own privileges")
        + _supported("<D:write/>", "Write", write),
    )


OWNER_ACL = (
    "<D:ace><D:principal><D:property><D:owner/></D:property></D:principal>"
    "<D:grant><D:privilege><D:all/></D:privilege></D:grant><D:protected/></D:ace>"
)
"""The one entry there is (RFC 3744 section 5.5)."""
AUTHENTICATED_ACL = (
    "<D:ace><D:principal><D:authenticated/></D:principal>"
    "<D:grant><D:privilege><D:read/></D:privilege></D:grant><D:protected/></D:ace>"
)
"""Of what belongs to nobody: the folders above accounts."""
ACL_RESTRICTIONS = "<D:grant-only/><D:no-invert/>"
READ_ONLY = frozenset({Right.LOOKUP, Right.READ})
"""Rights on what is nobody's, and on principals."""
