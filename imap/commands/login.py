"""LOGIN and AUTHENTICATE (RFC 9051 sections 6.2.2 and 6.2.3, RFC 4959 for SASL-IR).

Owns the exchange. Which mechanisms there are stands in auth/sasl.py, who gets in is decided behind Site.sign_in, and
what the refused are told in auth/refusals.py.
"""

from collections.abc import Generator
from typing import Any

from ...auth import scram
from ...auth.sasl import (
    Cancelled,
    Challenge,
    Credentials,
    MalformedResponse,
    Plain,
    decode_response,
    encode_challenge,
    open_mechanism,
)
from ..capabilities import MECHANISMS, capability_text
from ..session import NotSignedIn, Session, Trigger
from ..steps import Step, Steps, next_response, wait
from ..values import Authenticate, AuthenticateResponse, Login

_CLEARTEXT = b"NO [PRIVACYREQUIRED] Connexion non chiffree : activez TLS. / Not encrypted: switch TLS on."
_CANCELLED = b"BAD Cancelled"
_MALFORMED = b"BAD Not what the mechanism expects"


def handle_login(session: Session, args: Login) -> Steps:
    """LOGIN user password: PLAIN in other words."""
    if not session.takes_passwords:
        return _CLEARTEXT
    try:
        claimed = Plain().receive(b"\0" + args.user + b"\0" + args.password)
    except MalformedResponse:
        return _MALFORMED
    assert isinstance(claimed, Credentials)
    return (yield from _sign_in(session, claimed))


def handle_authenticate(session: Session, args: Authenticate) -> Steps:
    """AUTHENTICATE: challenges and responses until the mechanism has its credentials."""
    if not session.takes_passwords:
        return _CLEARTEXT
    proves = args.mechanism == scram.NAME and session.site.settings.scram
    mechanism = open_mechanism(args.mechanism) if args.mechanism in MECHANISMS else None
    if mechanism is None and not proves:
        return b"NO [CANNOT] No such mechanism"
    try:
        response = None if args.initial is None else decode_response(args.initial)
        if mechanism is None:
            return (yield from _prove(session, response))
        while isinstance(outcome := mechanism.receive(response), Challenge):
            response = yield from _answer_to(outcome.data)
    except Cancelled:
        return _CANCELLED
    except MalformedResponse:
        return _MALFORMED
    return (yield from _sign_in(session, outcome))


def _prove(session: Session, response: bytes | None) -> Steps:
    """SCRAM (RFC 5802): the signature that ends it is a challenge too, answered by nothing (RFC 9051 section 6.2.2)."""
    if response is None:
        response = yield from _answer_to(b"")
    scram.read_client_first(response)  # what is malformed is told before anybody is asked
    exchange = yield from wait(session.site.sign_in.begin_scram(session, response))
    if isinstance(exchange, NotSignedIn):
        return (yield from _turned_away(session, exchange))
    response = yield from _answer_to(exchange.challenge)
    scram.read_client_final(response)
    outcome = yield from wait(session.site.sign_in.finish_scram(session, exchange, response))
    if isinstance(outcome, NotSignedIn):
        return (yield from _turned_away(session, outcome))
    session.granted, session.account = outcome.granted, outcome.account
    confirmed = False
    try:
        confirmed = not (yield from _answer_to(outcome.final))
    finally:
        if not confirmed:
            # It does not believe that we know its password, or left. What was opened is closed with the connection.
            session.farewell = b"BYE Sign-in was given up"
    if not confirmed:
        return _MALFORMED
    return _signed_in(session)


def _answer_to(challenge: bytes) -> Generator[Step, Any, bytes]:
    """The client's response, decoded. Raise MalformedResponse."""
    yield b"+ " + encode_challenge(challenge) + b"\r\n"
    event = yield from next_response()
    assert isinstance(event, AuthenticateResponse)
    return decode_response(event.line)


def _sign_in(session: Session, credentials: Credentials) -> Steps:
    outcome = yield from wait(session.site.sign_in(session, credentials))
    if isinstance(outcome, NotSignedIn):
        return (yield from _turned_away(session, outcome))
    session.granted, session.account = outcome.granted, outcome.account
    return _signed_in(session)


def _turned_away(session: Session, outcome: NotSignedIn) -> Steps:
    session.failures += outcome.counts
    if outcome.alert:
        yield outcome.alert
    if session.failures >= session.site.settings.failed_logins:
        session.farewell = outcome.farewell
        session.move(Trigger.ENDED)
    return outcome.answer


def _signed_in(session: Session) -> bytes:
    session.move(Trigger.SIGNED_IN)
    return b"OK [" + capability_text(session) + b"] Logged in"
