"""SEARCH and UID SEARCH (RFC 9051 section 6.4.4; RFC 4731 for RETURN, RFC 5182 for SAVE and `$`, RFC 7162 section 3.1.5).

Owns which messages are searched and the form of the answer. What keys mean is imap/search.py's, text is the store's.
"""

from array import array
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...storage.api import Facts, Mail, MailboxId, TextKey, Uid
from ..encode import render_esearch, render_search
from ..search import CHARSETS, BadCharset, Columns, UndecodableText, asks_modseq, is_quick, search
from ..session import Session
from ..steps import Step, Steps, work
from ..values import Search, SearchKey, SearchReturn
from ..view import View

_CHARSET_LIST = " ".join(CHARSETS).encode("ascii")


class MailboxSources:
    """The store as imap/search.py and imap/sort.py want it: one mailbox."""

    __slots__ = ("_mail", "_mailbox")

    def __init__(self, mail: Mail, mailbox: MailboxId) -> None:
        self._mail = mail
        self._mailbox = mailbox

    def facts(self, uids: Sequence[Uid]) -> Iterable[Facts]:
        """See Mail."""
        return self._mail.facts(self._mailbox, uids)

    def sizes(self, uids: Sequence[Uid]) -> Iterable[tuple[Uid, int, int]]:
        """See Mail."""
        return self._mail.sizes(self._mailbox, uids)

    def header_fields(self, uids: Sequence[Uid], names: Sequence[bytes]) -> Iterable[tuple[Uid, bytes]]:
        """See Mail."""
        return self._mail.header_fields(self._mailbox, uids, names)

    def search_text(self, key: TextKey, uids: Sequence[Uid]) -> set[Uid]:
        """See Mail."""
        return self._mail.search_text(self._mailbox, key, uids)

    def sent_dates(self, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        """See Mail."""
        return self._mail.sent_dates(self._mailbox, uids)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: `places` in the columns, ascending. What is found whole is not copied message by message."""

    places: Sequence[int]
    columns: Columns

    @property
    def numbers(self) -> Sequence[int]:
        """Message sequence numbers."""
        places = self.places
        if isinstance(places, range):
            return range(places.start + 1, places.stop + 1)
        return [place + 1 for place in places]

    @property
    def uids(self) -> Sequence[int]:
        """UIDs, ascending."""
        return self._of(self.columns.uids)

    @property
    def modseqs(self) -> Sequence[int]:
        """Mod-sequences, in parallel."""
        return self._of(self.columns.modseqs)

    @property
    def modseq(self) -> int:
        """The highest of theirs, 0 when nothing was found."""
        return max(self.modseqs, default=0)

    def _of(self, column: Sequence[int]) -> Sequence[int]:
        places = self.places
        if isinstance(places, range):
            return column[places.start : places.stop]
        return list(map(column.__getitem__, places))


def find_messages(session: Session, key: SearchKey, charset: str) -> Generator[Step, Any, Found | bytes]:
    """Search what this session sees; the tagged answer when that cannot be."""
    view = session.selected
    if asks_modseq(key):
        yield session.enable_condstore()
    columns = _columns(view, session.saved)
    find = partial(
        search,
        key,
        columns,
        MailboxSources(session.mail, view.mailbox.id),
        now=int(session.site.now()),
        charset=charset,
    )
    try:
        found = find() if is_quick(key, columns.count) else (yield from work(find))
    except BadCharset:
        return b"NO [BADCHARSET (" + _CHARSET_LIST + b")] No such charset"
    except UndecodableText as error:
        return b"BAD " + str(error).encode("ascii", "replace")
    if not view.is_current:
        found = [place for place in found if view.place(columns.uids[place]) >= 0]
    return Found(found, columns)


def handle_search(session: Session, args: Search) -> Steps:
    """Search, and tell in the form asked for."""
    with_modseq = asks_modseq(args.key)
    found = yield from find_messages(session, args.key, args.charset)
    if isinstance(found, bytes):
        if args.returns and SearchReturn.SAVE in args.returns and found.startswith(b"NO"):
            session.saved = ()  # RFC 5182 section 2.1: after NO nothing is saved, after BAD what was
        return found
    uids = found.uids
    numbers = uids if args.uid else found.numbers
    if args.returns is None:
        yield from _lines(render_search(numbers, found.modseq if with_modseq else None))
        return b"OK SEARCH completed"
    if SearchReturn.SAVE in args.returns:
        session.saved = _saved(uids, args.returns)
    told = args.returns - {SearchReturn.SAVE}
    if told:
        yield from _lines(
            render_esearch(
                session.tag,
                uid=args.uid,
                least=numbers[0] if numbers and SearchReturn.MIN in told else None,
                greatest=numbers[-1] if numbers and SearchReturn.MAX in told else None,
                count=len(numbers) if SearchReturn.COUNT in told else None,
                found=numbers if SearchReturn.ALL in told else None,
                modseq=_told_modseq(found.modseqs, told) if with_modseq and numbers else None,
            )
        )
    return b"OK SEARCH completed"


def _columns(view: View, saved: Sequence[int]) -> Columns:
    """What the session sees, copied: the search may run in a thread while the mailbox moves on."""
    mailbox = view.mailbox
    uids = view.uids[: view.count]
    if view.is_current:
        return Columns(
            len(uids), uids, mailbox.flags[: view.count], mailbox.modseqs[: view.count], tuple(mailbox.keywords), saved
        )
    places = [view.place(uid) for uid in uids]
    flags = array("Q", [mailbox.flags[place] if place >= 0 else 0 for place in places])
    modseqs = array("Q", [mailbox.modseqs[place] if place >= 0 else 0 for place in places])
    return Columns(len(uids), uids, flags, modseqs, tuple(mailbox.keywords), saved)


def _saved(uids: Sequence[int], returns: frozenset[SearchReturn]) -> Sequence[int]:
    """What `$` becomes (RFC 5182 section 2.1): with MIN or MAX, and neither ALL nor COUNT, just these."""
    ends = [end for end, wanted in ((0, SearchReturn.MIN), (-1, SearchReturn.MAX)) if wanted in returns]
    if ends and not returns & {SearchReturn.ALL, SearchReturn.COUNT}:
        uids = sorted({uids[end] for end in ends}) if uids else []
    return array("I", uids)


def _told_modseq(modseqs: Sequence[int], told: frozenset[SearchReturn]) -> int:
    """RFC 4731 section 3.2: of the messages told when only MIN or MAX is, else the highest of all found."""
    ends = [end for end, wanted in ((0, SearchReturn.MIN), (-1, SearchReturn.MAX)) if wanted in told]
    if ends and not told & {SearchReturn.ALL, SearchReturn.COUNT}:
        modseqs = [modseqs[end] for end in ends]
    return max(modseqs)


def _lines(text: bytes) -> Iterable[bytes]:
    """A long answer in pieces that the connection can write."""
    return (text[begin : begin + 131_072] for begin in range(0, len(text), 131_072))
