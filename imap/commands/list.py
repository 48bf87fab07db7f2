"""LIST and LSUB (RFC 9051 section 6.3.9, RFC 3501 section 6.3.9; RFC 5258, RFC 5819, RFC 6154).

Owns what the hierarchy looks like from outside: attributes, names that are there only as parents or only subscribed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...storage.api import DELIMITER, MailboxInfo
from ..encode import render_mailbox
from ..names import INBOX, ListPatterns, parents
from ..session import Session
from ..steps import Steps
from ..values import List, ListReturn, ListSelect, Lsub, StatusItem
from .status import render_status

_CRITERIA = (ListSelect.SUBSCRIBED, ListSelect.SPECIAL_USE)
_SLICE = 100  # lines a piece of the answer has
_ROOT = b'"' + DELIMITER.encode("ascii") + b'"'


@dataclass(slots=True)
class _Entry:
    """A name of the hierarchy: a mailbox, or only a parent or a subscription (then `info` is None)."""

    info: MailboxInfo | None = None
    subscribed: bool = False
    has_children: bool = False
    has_subscribed_children: bool = False


def _hierarchy(session: Session) -> Mapping[str, _Entry]:
    """All names, sorted, INBOX first."""
    entries: dict[str, _Entry] = {}
    for info in session.mail.mailboxes():
        entries[info.name] = _Entry(info)
    for name in session.mail.subscriptions():
        entries.setdefault(name, _Entry()).subscribed = True
    for name in list(entries):
        child = entries[name]
        for parent in parents(name):
            above = entries.setdefault(parent, _Entry())
            above.has_children |= child.info is not None
            above.has_subscribed_children |= child.subscribed
    return dict(sorted(entries.items(), key=lambda item: (item[0] != INBOX, item[0])))


def handle_list(session: Session, args: List) -> Steps:
    """LIST in its plain and its extended form."""
    if len(args.patterns) > session.site.settings.list_patterns:
        return b"NO [LIMIT] Too many patterns"
    if not args.extended and args.patterns == ("",):
        # RFC 9051 section 6.3.9: an empty pattern asks for the delimiter and the root of the reference.
        yield b"* LIST (\\Noselect) " + _ROOT + b' ""\r\n'
        return b"OK LIST completed"
    lines: list[bytes] = []
    for told in _matching(session, args):
        lines.append(_line(session, told, args))
        if args.status and told.entry.info is not None and told.selected:
            lines.extend(_status(session, told.entry.info, args.status))
        if len(lines) >= _SLICE:
            yield b"".join(lines)
            lines.clear()
    yield b"".join(lines)
    return b"OK LIST completed"


@dataclass(frozen=True, slots=True)
class _Told:
    """A name to be told: because it meets the selection options, or because something below it does, or both."""

    name: str
    entry: _Entry
    selected: bool
    above_selected: bool


def _matching(session: Session, args: List) -> Iterator[_Told]:
    patterns = ListPatterns(args.reference, args.patterns)
    hierarchy = _hierarchy(session)
    shown = {name for name in hierarchy if patterns.matches(name)}
    above: set[str] = set()  # names with something selected below them
    owed: set[str] = set()  # those of them where it is not told by itself (RFC 5258 section 3.3, rule 2 B)
    if ListSelect.RECURSIVEMATCH in args.select:
        for name, entry in hierarchy.items():
            if _is_selected(entry, args):
                above.update(parents(name))
                if name not in shown:
                    owed.update(parents(name))
    for name, entry in hierarchy.items():
        if name in shown:
            selected = _is_selected(entry, args)
            if selected or name in owed:
                yield _Told(name, entry, selected, name in above)


def _is_selected(entry: _Entry, args: List) -> bool:
    """Whether a name meets the selection options."""
    if ListSelect.SPECIAL_USE in args.select and (entry.info is None or not entry.info.special_use):
        return False
    if ListSelect.SUBSCRIBED in args.select:
        return entry.subscribed
    # A name that is neither a mailbox nor above one is a subscription left behind: LIST does not tell it.
    return entry.info is not None or entry.has_children


def _line(session: Session, told: _Told, args: List) -> bytes:
    entry = told.entry
    attributes = []
    if entry.info is None:
        # RFC 5258 section 3.1: \NonExistent implies \Noselect; a client of plain LIST knows only the latter.
        attributes.append("\\NonExistent" if args.extended else "\\Noselect")
    attributes.append("\\HasChildren" if entry.has_children else "\\HasNoChildren")
    if entry.subscribed and (ListSelect.SUBSCRIBED in args.select or ListReturn.SUBSCRIBED in args.returns):
        attributes.append("\\Subscribed")
    if entry.info is not None:
        # Told in every LIST (RFC 6154 section 2 allows it; Outlook and iOS never ask).
        attributes += sorted(entry.info.special_use)
    line = b"* LIST (" + " ".join(attributes).encode("ascii") + b") " + _ROOT + b" "
    line += render_mailbox(told.name, utf8=session.utf8)
    if told.above_selected:
        criteria = b" ".join(b'"%b"' % option.value.encode("ascii") for option in _CRITERIA if option in args.select)
        line += b' ("CHILDINFO" (%b))' % criteria
    return line + b"\r\n"


def _status(session: Session, info: MailboxInfo, items: tuple[StatusItem, ...]) -> Iterator[bytes]:
    for status in session.mail.status([info.id]):
        yield render_status(session, info, status, items)


def handle_lsub(session: Session, args: Lsub) -> Steps:
    """LSUB; with `%` a name that is not subscribed stands for its subscribed children as \\Noselect."""
    patterns = ListPatterns(args.reference, (args.pattern,))
    lines = []
    for name, entry in _hierarchy(session).items():
        if not patterns.matches(name):
            continue
        if entry.subscribed:
            attributes = b"" if entry.info is not None else b"\\Noselect"
        elif entry.has_subscribed_children and args.pattern.endswith("%"):
            attributes = b"\\Noselect"
        else:
            continue
        lines.append(b"* LSUB (" + attributes + b") " + _ROOT + b" " + render_mailbox(name, utf8=session.utf8) + b"\r\n")
    yield b"".join(lines)
    return b"OK LSUB completed"
