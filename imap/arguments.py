"""Command lines to Command values (RFC 3501 and 9051 section 6, formal syntax section 9).

Owns the table of commands and the grammar of their arguments. Whether a command may be given now is the session's
business: here it is only read. APPEND is read by append_arguments.py, since its messages never lie in memory whole.
"""

from collections.abc import Callable
from functools import lru_cache

from ..storage.api import FlagOp
from .fetch_items import parse_fetch_items, parse_fetch_modifiers
from .grammar import MAX_MODSEQ, Bounds, CommandParser, Cursor, Unreadable
from .mailbox_arguments import (
    parse_create,
    parse_get_quota,
    parse_list,
    parse_lsub,
    parse_one_mailbox,
    parse_rename,
    parse_select,
    parse_status,
)
from .search_keys import parse_search_keys
from .sequence import SequenceSet
from .values import (
    Arguments,
    Authenticate,
    Capability,
    Check,
    Close,
    Compress,
    Copy,
    Delete,
    Enable,
    Expunge,
    Fetch,
    FetchItem,
    GetQuotaRoot,
    Id,
    Idle,
    Login,
    Logout,
    Move,
    Namespace,
    Noop,
    Search,
    SearchReturn,
    Sort,
    SortKey,
    StartTls,
    Store,
    Subscribe,
    Thread,
    Unselect,
    Unsubscribe,
)

_SEARCH_RETURN = {option.value: option for option in SearchReturn}
_SORT_KEYS = {key.value: key for key in SortKey}
_MAX_ID_FIELDS = 30  # RFC 2971 section 3.3, as are the lengths
_MAX_ID_NAME = 30
_MAX_ID_VALUE = 1_024


def parse_arguments(name: str, cursor: Cursor) -> Arguments:
    """Read the arguments of the command `name` (upper case) to the end. Raise UnknownCommand, Unreadable, UnusableName."""
    parse = COMMANDS.get(name)
    if parse is None:
        raise UnknownCommand(name)
    arguments = parse(cursor)
    cursor.end()
    return arguments


class UnknownCommand(Exception):
    """No command of that name."""


# ---------------------------------------------------------------------------------------------------------------------
# Any state, not authenticated


def _plain(arguments: Arguments) -> CommandParser:
    """A command without arguments."""

    def parse(cursor: Cursor) -> Arguments:
        return arguments

    return parse


def _id(cursor: Cursor) -> Id:
    cursor.space()
    if cursor.peek() != 0x28:
        if cursor.nstring() is not None:
            raise Unreadable("ID takes a list or NIL.")
        return Id(None)

    def pair() -> tuple[str, str | None]:
        name = cursor.string()
        cursor.space()
        value = cursor.nstring()
        if len(name) > _MAX_ID_NAME or len(value or b"") > _MAX_ID_VALUE:
            raise Unreadable("ID field too long.")
        return name.decode("utf-8", "replace"), None if value is None else value.decode("utf-8", "replace")

    fields = cursor.listed(pair, empty=True)
    if len(fields) > _MAX_ID_FIELDS:
        raise Unreadable("Too many ID fields.")
    return Id(tuple(fields))


def _login(cursor: Cursor) -> Login:
    cursor.space()
    user = cursor.astring()
    cursor.space()
    return Login(user, cursor.astring())


def _authenticate(cursor: Cursor) -> Authenticate:
    cursor.space()
    mechanism = cursor.word()
    if cursor.at_end():
        return Authenticate(mechanism)
    cursor.space()  # RFC 4959
    initial = cursor.octets[cursor.position :]
    if not initial or b" " in initial:
        raise Unreadable("Invalid initial response.")
    cursor.position = len(cursor.octets)
    return Authenticate(mechanism, initial)


def _compress(cursor: Cursor) -> Compress:
    cursor.space()
    return Compress(cursor.word())


def _enable(cursor: Cursor) -> Enable:
    names = []
    while not cursor.at_end():
        cursor.space()
        names.append(cursor.atom().decode("ascii").upper())
    if not 0 < len(names) <= cursor.bounds.items:
        raise Unreadable("ENABLE takes capability names.")
    return Enable(tuple(names))


# ---------------------------------------------------------------------------------------------------------------------
# Messages


def _fetch(uid: bool) -> CommandParser:
    def parse(cursor: Cursor) -> Fetch:
        cursor.space()
        numbers = cursor.set()
        cursor.space()
        rest = cursor.octets[cursor.position :]
        if len(rest) <= _SHORT and b"{" not in rest and rest.isascii():
            items, changed_since, vanished = _short_fetch(rest, uid, cursor.bounds)
            cursor.position = len(cursor.octets)
        else:
            items, changed_since, vanished = _items(cursor, uid)
        return Fetch(numbers, items, uid, changed_since, vanished)

    return parse


_FetchTail = tuple[tuple[FetchItem, ...], int | None, bool]
_SHORT = 512


def _items(cursor: Cursor, uid: bool) -> _FetchTail:
    items = parse_fetch_items(cursor)
    changed_since, vanished = parse_fetch_modifiers(cursor, uid=uid)
    cursor.end()
    return items, changed_since, vanished


@lru_cache(maxsize=256)
def _short_fetch(text: bytes, uid: bool, bounds: Bounds) -> _FetchTail:
    """What is asked for repeats itself, of other messages each time."""
    return _items(Cursor(text, 0, bounds), uid)


_STORE_ITEMS = {
    "FLAGS": (FlagOp.REPLACE, False),
    "FLAGS.SILENT": (FlagOp.REPLACE, True),
    "+FLAGS": (FlagOp.ADD, False),
    "+FLAGS.SILENT": (FlagOp.ADD, True),
    "-FLAGS": (FlagOp.REMOVE, False),
    "-FLAGS.SILENT": (FlagOp.REMOVE, True),
}


def _store(uid: bool) -> CommandParser:
    def parse(cursor: Cursor) -> Store:
        cursor.space()
        numbers = cursor.set()
        cursor.space()
        unchanged_since: int | None = None
        if cursor.take(b"("):
            if cursor.word() != "UNCHANGEDSINCE":
                raise Unreadable("Unknown STORE modifier.")
            cursor.space()
            unchanged_since = cursor.number(MAX_MODSEQ)
            cursor.expect(b")")
            cursor.space()
        item = _STORE_ITEMS.get(cursor.word())
        if item is None:
            raise Unreadable("STORE changes FLAGS only.")
        cursor.space()
        if cursor.peek() == 0x28:
            flags = cursor.flag_list()
        else:
            bare = [cursor.flag()]
            while not cursor.at_end():
                cursor.space()
                bare.append(cursor.flag())
                if len(bare) > cursor.bounds.items:
                    raise Unreadable("Too many flags.")
            flags = frozenset(bare)
        return Store(numbers, item[0], flags, item[1], uid, unchanged_since)

    return parse


def _copy(make: Callable[[SequenceSet, str, bool], Arguments], uid: bool) -> CommandParser:
    def parse(cursor: Cursor) -> Arguments:
        cursor.space()
        numbers = cursor.set()
        cursor.space()
        return make(numbers, cursor.mailbox(), uid)

    return parse


def _uid_expunge(cursor: Cursor) -> Expunge:
    cursor.space()
    return Expunge(cursor.set())


def _returns(cursor: Cursor) -> frozenset[SearchReturn] | None:
    """RETURN (...) if it comes, with the space behind it (RFC 4731 section 3.1)."""
    if not cursor.take_word("RETURN"):
        return None
    cursor.space()
    options = frozenset(cursor.listed(lambda: cursor.option(_SEARCH_RETURN, "RETURN option"), empty=True))
    cursor.space()
    return options or frozenset({SearchReturn.ALL})


def _charset(cursor: Cursor) -> str:
    name = cursor.astring()
    return name.decode("ascii", "replace").upper()


def _search(uid: bool) -> CommandParser:
    def parse(cursor: Cursor) -> Search:
        cursor.space()
        returns = _returns(cursor)
        charset = "UTF-8" if cursor.utf8 else "US-ASCII"
        if cursor.take_word("CHARSET"):
            if cursor.utf8:
                raise Unreadable("No CHARSET with UTF8=ACCEPT.")  # RFC 6855 section 3
            cursor.space()
            charset = _charset(cursor)
            cursor.space()
        return Search(parse_search_keys(cursor), charset, returns, uid)

    return parse


def _sort(uid: bool) -> CommandParser:
    def parse(cursor: Cursor) -> Sort:
        cursor.space()
        returns = _returns(cursor)

        def criterion() -> tuple[SortKey, bool]:
            reverse = cursor.take_word("REVERSE")
            if reverse:
                cursor.space()
            return cursor.option(_SORT_KEYS, "SORT criterion"), reverse

        criteria = tuple(cursor.listed(criterion))
        cursor.space()
        charset = _charset(cursor)
        cursor.space()
        return Sort(criteria, charset, parse_search_keys(cursor), returns, uid)

    return parse


def _thread(uid: bool) -> CommandParser:
    def parse(cursor: Cursor) -> Thread:
        cursor.space()
        algorithm = cursor.word()
        cursor.space()
        charset = _charset(cursor)
        cursor.space()
        return Thread(algorithm, charset, parse_search_keys(cursor), uid)

    return parse


COMMANDS: dict[str, CommandParser] = {
    "AUTHENTICATE": _authenticate,
    "CAPABILITY": _plain(Capability()),
    "CHECK": _plain(Check()),
    "CLOSE": _plain(Close()),
    "COMPRESS": _compress,
    "COPY": _copy(Copy, False),
    "CREATE": parse_create,
    "DELETE": parse_one_mailbox(Delete),
    "ENABLE": _enable,
    "EXAMINE": parse_select(True),
    "EXPUNGE": _plain(Expunge()),
    "FETCH": _fetch(False),
    "GETQUOTA": parse_get_quota,
    "GETQUOTAROOT": parse_one_mailbox(GetQuotaRoot),
    "ID": _id,
    "IDLE": _plain(Idle()),
    "LIST": parse_list,
    "LOGIN": _login,
    "LOGOUT": _plain(Logout()),
    "LSUB": parse_lsub,
    "MOVE": _copy(Move, False),
    "NAMESPACE": _plain(Namespace()),
    "NOOP": _plain(Noop()),
    "RENAME": parse_rename,
    "SEARCH": _search(False),
    "SELECT": parse_select(False),
    "SORT": _sort(False),
    "STARTTLS": _plain(StartTls()),
    "STATUS": parse_status,
    "STORE": _store(False),
    "SUBSCRIBE": parse_one_mailbox(Subscribe),
    "THREAD": _thread(False),
    "UID COPY": _copy(Copy, True),
    "UID EXPUNGE": _uid_expunge,
    "UID FETCH": _fetch(True),
    "UID MOVE": _copy(Move, True),
    "UID SEARCH": _search(True),
    "UID SORT": _sort(True),
    "UID STORE": _store(True),
    "UID THREAD": _thread(True),
    "UNSELECT": _plain(Unselect()),
    "UNSUBSCRIBE": parse_one_mailbox(Unsubscribe),
}
"""How each command's arguments are read; the names are all that a decoder knows. APPEND is not among them."""
