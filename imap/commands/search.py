"""SEARCH and UID SEARCH (RFC 9051 section 6.4.4; RFC 4731 for RETURN, RFC 5182 for SAVE and `$`, RFC 7162 section 3.1.5).

Owns which messages are searched and the form of the answer. What keys mean is imap/search.py's, text is the store's.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from ...storage.api import Facts, Mail, MailboxId, TextKey, Uid
from ..encode import render_esearch, render_search
from ..search import CHARSETS, BadCharset, Columns, UndecodableText, asks_modseq, needs_thread, search
from ..session import Session
from ..steps import Steps, work
from ..values import Search, SearchReturn
from ..view import View

_INLINE = 2_000  # messages searched by flags on the loop itself; more go to a thread

_CHARSET_LIST = " ".join(CHARSETS).encode("ascii")


class _Sources:
    """The store as imap/search.py wants it: one mailbox."""

    __slots__ = ("_mail", "_mailbox")

    def __init__(self, mail: Mail, mailbox: MailboxId) -> None:
        self._mail = mail
        self._mailbox = mailbox

    def facts(self, uids: Sequence[Uid]) -> Iterable[Facts]:
        return self._mail.facts(self._mailbox, uids)

    def search_text(self, key: TextKey, uids: Sequence[Uid]) -> set[Uid]:
        return self._mail.search_text(self._mailbox, key, uids)

    def sent_dates(self, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        return self._mail.sent_dates(self._mailbox, uids)


def handle_search(session: Session, args: Search) -> Steps:
    """Search what this session sees."""
    view = session.selected
    with_modseq = asks_modseq(args.key)
    if with_modseq:
        yield session.enable_condstore()
    columns = _columns(view, session.saved)
    find = partial(
        search,
        args.key,
        columns,
        _Sources(session.mail, view.mailbox.id),
        now=int(session.site.now()),
        charset=args.charset,
    )
    try:
        if needs_thread(args.key) or columns.count > _INLINE:
            found = yield from work(find)
        else:
            found = find()
    except BadCharset:
        return b"NO [BADCHARSET (" + _CHARSET_LIST + b")] No such charset"
    except UndecodableText as error:
        return b"BAD " + str(error).encode("ascii", "replace")
    if not view.is_current:
        found = [place for place in found if view.place(columns.uids[place]) >= 0]
    numbers = [columns.uids[place] for place in found] if args.uid else [place + 1 for place in found]
    modseq = max((columns.modseqs[place] for place in found), default=None) if with_modseq else None
    if args.returns is None:
        yield from _lines(render_search(numbers, modseq))
        return b"OK SEARCH completed"
    if SearchReturn.SAVE in args.returns:
        session.saved = _saved([columns.uids[place] for place in found], args.returns)
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
                modseq=_told_modseq(columns, found, told) if with_modseq and found else None,
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


def _saved(uids: list[int], returns: frozenset[SearchReturn]) -> Sequence[int]:
    """What `$` becomes (RFC 5182 section 2.1): with MIN or MAX, and neither ALL nor COUNT, just these."""
    ends = [end for end, wanted in ((0, SearchReturn.MIN), (-1, SearchReturn.MAX)) if wanted in returns]
    if ends and not returns & {SearchReturn.ALL, SearchReturn.COUNT}:
        uids = sorted({uids[end] for end in ends}) if uids else []
    return array("I", uids)


def _told_modseq(columns: Columns, found: list[int], told: frozenset[SearchReturn]) -> int:
    """RFC 4731 section 3.2: of the messages told when only MIN or MAX is, else the highest of all found."""
    ends = [end for end, wanted in ((0, SearchReturn.MIN), (-1, SearchReturn.MAX)) if wanted in told]
    if ends and not told & {SearchReturn.ALL, SearchReturn.COUNT}:
        found = [found[end] for end in ends]
    return max(columns.modseqs[place] for place in found)


def _lines(text: bytes) -> Iterable[bytes]:
    """A long answer in pieces that the connection can write."""
    return (text[begin : begin + 131_072] for begin in range(0, len(text), 131_072))
