"""LOGIN and AUTHENTICATE (RFC 9051 sections 6.2.2 and 6.2.3, RFC 4959 for SASL-IR).

Owns the exchange. Which mechanisms there are stands in auth/sasl.py, who gets in is decided behind Site.sign_in, and
what the refused are told in auth/refusals.py.
"""

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
from ..steps import Steps, next_response, wait
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
    mechanism = open_mechanism(args.mechanism) if args.mechanism in MECHANISMS else None
    if mechanism is None:
        return b"NO [CANNOT] No such mechanism"
    try:
        response = None if args.initial is None else decode_response(args.initial)
        while isinstance(outcome := mechanism.receive(response), Challenge):
            yield b"+ " + encode_challenge(outcome.data) + b"\r\n"
            event = yield from next_response()
            assert isinstance(event, AuthenticateResponse)
            response = decode_response(event.line)
    except Cancelled:
        return _CANCELLED
    except MalformedResponse:
        return _MALFORMED
    return (yield from _sign_in(session, outcome))


def _sign_in(session: Session, credentials: Credentials) -> Steps:
    outcome = yield from wait(session.site.sign_in(session, credentials))
    if isinstance(outcome, NotSignedIn):
        session.failures += outcome.counts
        if outcome.alert:
            yield outcome.alert
        if session.failures >= session.site.settings.failed_logins:
            session.farewell = outcome.farewell
            session.move(Trigger.ENDED)
        return outcome.answer
    session.granted = outcome.granted
    session.account = outcome.account
    session.move(Trigger.SIGNED_IN)
    return b"OK [" + capability_text(session) + b"] Logged in"
