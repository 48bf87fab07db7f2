"""APPEND (RFC 9051 section 6.3.12, RFC 3502 for several messages, RFC 3516 for literal8, RFC 4315 for APPENDUID).

Runs from the moment that the first message is announced: its octets go straight into the store's writers and are never
gathered here. Nothing is in the mailbox before all messages of the command are complete, and then all are, or none.
"""

from ...storage.api import Draft, MessageWriter, NotFound, StoreError
from ..answers import TRY_CREATE, answer_for
from ..encode import render_set
from ..session import Session
from ..steps import Ask, Steps, next_event, work
from ..values import AppendBegan, AppendLiteralEnd, Event, LiteralData

_BINARY = b"NO [UNKNOWN-CTE] No message with NUL is kept here: encode that part in base64"
"""RFC 3516 section 4.4: kept as it is, it could not be told to clients that know no BINARY."""


def handle_append(session: Session, began: AppendBegan) -> Steps:
    """Take the messages, then put them into the mailbox.

    A client that waits to be let send learns at once that it need not; one that does not wait is heard to the end.
    """
    mail = session.mail
    drafts: list[Draft] = []
    refusal = b""
    try:
        mailbox = mail.find(began.mailbox).id
    except NotFound:
        refusal = TRY_CREATE
    except StoreError as error:
        refusal = answer_for(error)
    writers: list[MessageWriter] = []
    try:
        event: Event = began
        while isinstance(event, AppendBegan):
            if event.synchronising:
                if refusal:
                    yield Ask.REFUSE_LITERAL
                    return refusal
                yield b"+ Ready for the message\r\n"
            message = event.message
            if not refusal:
                writers.append(mail.new_message())
                drafts.append(Draft(writers[-1], message.flags, message.internal_date))
            while not isinstance(event := (yield from next_event()), AppendLiteralEnd):
                assert isinstance(event, LiteralData)
                if message.binary and b"\0" in event.data:
                    refusal = refusal or _BINARY
                if not refusal:
                    try:
                        writers[-1].write(event.data)
                    except StoreError as error:
                        refusal = answer_for(error)
            if not message.size:
                # An empty message cannot be stored; Dovecot and others say so too.
                refusal = refusal or b"NO [CANNOT] Empty message"
            event = yield from next_event()
        if refusal:
            return refusal
        try:
            appended = yield from work(mail.append, mailbox, drafts)
        except NotFound:
            return TRY_CREATE  # deleted while the message came
    finally:
        for writer in writers:
            writer.abort()  # does nothing to what was appended
    return b"OK [APPENDUID %d %b] APPEND completed" % (appended.uidvalidity, render_set(appended.uids))
