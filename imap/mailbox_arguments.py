"""Arguments of the commands that name mailboxes (RFC 9051 section 6.3; RFC 4466, 5258, 5819, 6154, 7162).

Owns their grammar; arguments.py has the table. Never asks whether a mailbox is there.
"""

from collections.abc import Callable

from ..storage.api import DELIMITER
from .grammar import MAX_MODSEQ, CommandParser, Cursor, Unreadable
from .sequence import SequenceSet
from .values import (
    Arguments,
    Create,
    GetQuota,
    List,
    ListReturn,
    ListSelect,
    Lsub,
    QResync,
    Rename,
    Select,
    Status,
    StatusItem,
)

# RFC 6154 section 2, and \Important of RFC 8457.
_SPECIAL_USES = {
    use.lower(): use for use in ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash", "\\Important")
}
_STATUS = {item.value: item for item in StatusItem}
_LIST_SELECT = {option.value: option for option in ListSelect}
_LIST_RETURN = {option.value: option for option in ListReturn}


def parse_select(read_only: bool) -> CommandParser:
    """SELECT or EXAMINE with its parameters (RFC 4466, RFC 7162)."""

    def parse(cursor: Cursor) -> Select:
        cursor.space()
        mailbox = cursor.mailbox()
        condstore = False
        qresync: QResync | None = None

        def parameter() -> None:
            nonlocal condstore, qresync
            name = cursor.word()
            if name == "CONDSTORE":
                condstore = True
            elif name == "QRESYNC":
                cursor.space()
                qresync = _qresync(cursor)
            else:
                raise Unreadable(f"Unknown SELECT parameter {name[:40]}.")

        if not cursor.at_end():
            cursor.space()
            cursor.listed(parameter)
        return Select(mailbox, read_only, condstore, qresync)

    return parse


def _qresync(cursor: Cursor) -> QResync:
    """(uidvalidity modseq [known-uids] [(sequence-set uid-set)]) (RFC 7162 section 7)."""
    cursor.expect(b"(")
    uidvalidity = cursor.nz_number()
    cursor.space()
    modseq = cursor.nz_number(MAX_MODSEQ)
    known: SequenceSet | None = None
    matches: tuple[SequenceSet, SequenceSet] | None = None
    if cursor.take(b" "):
        if cursor.peek() != 0x28:
            known = cursor.set(star=False)
            if cursor.take(b" "):
                matches = _matches(cursor)
        else:
            matches = _matches(cursor)
    cursor.expect(b")")
    return QResync(uidvalidity, modseq, known, matches)


def _matches(cursor: Cursor) -> tuple[SequenceSet, SequenceSet]:
    cursor.expect(b"(")
    numbers = cursor.set(star=False)
    cursor.space()
    uids = cursor.set(star=False)
    cursor.expect(b")")
    return numbers, uids


def parse_create(cursor: Cursor) -> Create:
    """CREATE with USE (RFC 6154 section 3)."""
    cursor.space()
    mailbox = cursor.mailbox()
    uses: list[str] = []

    def use() -> str:
        cursor.expect(b"\\")
        name = "\\" + cursor.atom().decode("ascii")
        return _SPECIAL_USES.get(name.lower(), name)  # an unknown one is answered [USEATTR], not BAD

    def parameter() -> None:
        if cursor.word() != "USE":
            raise Unreadable("Unknown CREATE parameter.")
        cursor.space()
        uses.extend(cursor.listed(use, empty=True))

    if not cursor.at_end():
        cursor.space()
        cursor.listed(parameter)
    # A trailing delimiter says that children will follow (RFC 9051 section 6.3.4): any mailbox takes children here.
    return Create(mailbox.removesuffix(DELIMITER) or mailbox, frozenset(uses))


def parse_one_mailbox(make: Callable[[str], Arguments]) -> CommandParser:
    """A command whose argument is one mailbox."""

    def parse(cursor: Cursor) -> Arguments:
        cursor.space()
        return make(cursor.mailbox())

    return parse


def parse_rename(cursor: Cursor) -> Rename:
    """RENAME."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return Rename(mailbox, cursor.mailbox())


def parse_list(cursor: Cursor) -> List:
    """LIST with its options (RFC 5258, RFC 5819, RFC 6154)."""
    cursor.space()
    select: list[ListSelect] = []
    extended = cursor.peek() == 0x28
    if extended:
        select = cursor.listed(lambda: cursor.option(_LIST_SELECT, "LIST selection option"), empty=True)
        # RECURSIVEMATCH says something of another option: SUBSCRIBED, or SPECIAL-USE, which selects too (RFC 6154
        # section 3), but not REMOTE (RFC 5258 section 3).
        if set(select) <= {ListSelect.RECURSIVEMATCH, ListSelect.REMOTE} and ListSelect.RECURSIVEMATCH in select:
            raise Unreadable("RECURSIVEMATCH needs another selection option.")
        cursor.space()
    reference = cursor.reference()
    cursor.space()
    if cursor.peek() == 0x28:
        extended = True
        patterns = cursor.listed(cursor.list_mailbox)
    else:
        patterns = [cursor.list_mailbox()]
    returns: set[ListReturn] = set()
    status: tuple[StatusItem, ...] = ()

    def returned() -> None:
        nonlocal status
        if cursor.take_word("STATUS"):
            cursor.space()
            status = _status_items(cursor)
        else:
            returns.add(cursor.option(_LIST_RETURN, "LIST return option"))

    if not cursor.at_end():
        extended = True
        cursor.space()
        if cursor.word() != "RETURN":
            raise Unreadable("Expected RETURN.")
        cursor.space()
        cursor.listed(returned, empty=True)
    return List(reference, tuple(patterns), extended, frozenset(select), frozenset(returns), status)


def parse_lsub(cursor: Cursor) -> Lsub:
    """LSUB."""
    cursor.space()
    reference = cursor.reference()
    cursor.space()
    return Lsub(reference, cursor.list_mailbox())


def _status_items(cursor: Cursor) -> tuple[StatusItem, ...]:
    return tuple(dict.fromkeys(cursor.listed(lambda: cursor.option(_STATUS, "STATUS item"))))


def parse_status(cursor: Cursor) -> Status:
    """STATUS."""
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return Status(mailbox, _status_items(cursor))


def parse_get_quota(cursor: Cursor) -> GetQuota:
    """GETQUOTA (RFC 9208): a root is an astring, maybe empty."""
    cursor.space()
    return GetQuota(cursor.reference())
