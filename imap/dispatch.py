"""One command from its table row to its tagged answer, with the news of the selected mailbox where they may be told.

Owns the frame that every command runs in: is it legal now, which errors are answers, when the mailbox is looked at and
the view brought up to date (RFC 9051 section 7.5.1). Never waits: a generator like the handlers (imap/steps.py).
"""

from .answers import FOREIGN, answer_for
from .session import NoSuchNumber, Row, Session, State, Trigger
from .steps import Steps

_OUT_OF_RANGE = b"BAD Message number out of range"
_WRONG_STATE = {
    State.NOT_AUTHENTICATED: b"BAD Log in first",
    State.AUTHENTICATED: b"BAD Not in this state: %b",
    State.SELECTED: b"BAD Not in this state: already logged in",
    State.LOGOUT: b"BAD Logging out",
}
MAILBOX_GONE = b"BYE [UNAVAILABLE] The selected mailbox was deleted"


def run_command(session: Session, row: Row, arguments: object) -> Steps:
    """Run a command's handler inside its frame."""
    if session.state not in row.states:
        reason = b"no mailbox is selected" if State.SELECTED in row.states else b"already logged in"
        wrong = _WRONG_STATE[session.state]
        return wrong % reason if b"%b" in wrong else wrong
    if session.view is not None:
        session.view.begun = session.view.modseq
    try:
        if row.answers_uids:
            # UIDs that the client heard of elsewhere are known here from now on; for others the look comes afterwards.
            yield from tell_news(session, row)
        answer = yield from row.handler(session, arguments)
    except FOREIGN as error:
        answer = answer_for(error)
    except NoSuchNumber:
        answer = _OUT_OF_RANGE
    view = session.view
    if view is not None and not row.tells_nothing and not (row.answers_uids and view.is_up_to_date()):
        yield from tell_news(session, row, look=not row.answers_uids)
    return answer


def tell_news(session: Session, row: Row, *, look: bool = True) -> Steps:
    """Look at the selected mailbox and tell what this moment allows; says farewell when the mailbox is gone."""
    view = session.view
    if view is None:
        return b""
    if look:
        view.mailbox.refresh()
    if view.is_up_to_date():
        view.settled = view.modseq
        return b""
    yield from session.tell(may_expunge=not row.uses_sequence, uid=row.answers_uids)
    if session.condstore and (owed := view.still_owed()):
        yield owed
    if view.mailbox.deleted:
        session.farewell = MAILBOX_GONE
        session.move(Trigger.ENDED)
    return b""
