"""From credentials to an open account, and what is undone when a step fails."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from imap_steps import GRANTED, KEYS, make_site, run_steps
from own_imap import AnyKeys, OnePassword
from preau.auth.api import Attempt, AuthUnavailable, Denied, Granted, Reason
from preau.auth.refusals import Refusals
from preau.auth.sasl import Credentials
from preau.imap.commands.login import handle_authenticate, handle_login
from preau.imap.session import NotSignedIn, Session, SignedIn, State
from preau.imap.settings import ImapSettings
from preau.imap.sign_in import SignIn
from preau.imap.values import Authenticate, AuthenticateResponse, Login
from preau.storage.api import Account, AccountId, AccountKeys, Unavailable
from preau.storage.memory import MemoryStore

CLAIM = Credentials("ana@ecole.example", "right", "PLAIN")


class Answering(OnePassword):
    """An authenticator that gives one answer."""

    def __init__(self, answer: Granted | Denied | Exception) -> None:
        super().__init__()
        self.answer = answer
        self.seen: list[Attempt] = []

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        self.seen.append(attempt)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class NoKeys(AnyKeys):
    async def unwrap(self, ticket: bytes) -> AccountKeys:
        raise AuthUnavailable("keys are not there")


class ClosedStore(MemoryStore):
    def open_account(self, account: AccountId, keys: AccountKeys, *, quota: int | None = None) -> Account:
        raise Unavailable("disk full")


async def at_once(call: Callable[[], Any]) -> Any:
    return call()


def sign_in(
    authenticator: OnePassword,
    *,
    keys: AnyKeys | None = None,
    store: MemoryStore | None = None,
    room: bool = True,
    in_thread: Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]] = at_once,
) -> SignedIn | NotSignedIn:
    machine = SignIn(
        authenticator,
        keys or AnyKeys(),
        store or MemoryStore(),
        Refusals(help_url="https://aide.example"),
        in_thread=in_thread,
        may_join=lambda granted: room,
    )
    session = Session(make_site(), address="192.0.2.7", tls=True)
    session.client = "Thunderbird 153"
    return asyncio.run(machine(session, CLAIM))


def test_a_granted_login_has_its_account_open() -> None:
    authenticator = Answering(GRANTED)
    outcome = sign_in(authenticator)
    assert isinstance(outcome, SignedIn)
    assert outcome.account.mail.find("INBOX").name == "INBOX"
    (attempt,) = authenticator.seen
    assert (attempt.login, attempt.secret, attempt.address, attempt.tls) == ("ana@ecole.example", "right", "192.0.2.7", True)
    assert attempt.client == "Thunderbird 153"


@pytest.mark.parametrize(
    ("reason", "code", "counts"),
    [
        (Reason.CREDENTIALS, b"AUTHENTICATIONFAILED", True),
        (Reason.NETWORK, b"AUTHENTICATIONFAILED", True),
        (Reason.EXPIRED, b"EXPIRED", True),
        (Reason.SCOPE, b"AUTHORIZATIONFAILED", True),
        (Reason.SUSPENDED, b"CONTACTADMIN", True),
        (Reason.LOCKED, b"UNAVAILABLE", False),
        (Reason.MECHANISM, b"CANNOT", True),
        (Reason.CHANGE, b"EXPIRED", True),
        (Reason.CLEARTEXT, b"PRIVACYREQUIRED", True),
    ],
)
def test_refusals_have_their_code_and_reference(reason: Reason, code: bytes, counts: bool) -> None:
    outcome = sign_in(Answering(Denied(reason, "7K2F", 90)))
    assert isinstance(outcome, NotSignedIn)
    assert outcome.answer.startswith(b"NO [" + code + b"] ")
    assert outcome.answer.endswith(b"(ref 7K2F)")
    assert outcome.counts is counts
    assert outcome.farewell.startswith(b"BYE [UNAVAILABLE] ")


@pytest.mark.parametrize(
    ("authenticator", "keys", "store"),
    [
        pytest.param(Answering(AuthUnavailable("down")), None, None, id="auth"),
        pytest.param(Answering(GRANTED), NoKeys(), None, id="keys"),
        pytest.param(Answering(GRANTED), None, ClosedStore(), id="store"),
    ],
)
def test_a_neighbour_that_is_not_there_is_no_wrong_password(
    authenticator: Answering, keys: AnyKeys | None, store: MemoryStore | None
) -> None:
    outcome = sign_in(authenticator, keys=keys, store=store)
    assert isinstance(outcome, NotSignedIn)
    assert outcome.answer.startswith(b"NO [UNAVAILABLE] ")
    assert not outcome.counts
    assert authenticator.closed == ([] if isinstance(authenticator.answer, Exception) else [GRANTED.session])


def test_without_the_stream_of_revocations_nobody_is_asked() -> None:
    authenticator = Answering(GRANTED)
    authenticator.connected = False
    outcome = sign_in(authenticator)
    assert isinstance(outcome, NotSignedIn)
    assert outcome.answer.startswith(b"NO [UNAVAILABLE] ")
    assert authenticator.seen == []


def test_one_session_too_many_is_closed_again() -> None:
    authenticator = Answering(GRANTED)
    store = MemoryStore()
    outcome = sign_in(authenticator, room=False, store=store)
    assert isinstance(outcome, NotSignedIn)
    assert outcome.answer.startswith(b"NO [LIMIT] ")
    assert authenticator.closed == [GRANTED.session]


async def never(call: Callable[[], Any]) -> Any:
    raise AssertionError("a thread is not needed")


@pytest.mark.parametrize(
    ("authenticator", "keys"),
    [
        pytest.param(Answering(Denied(Reason.CREDENTIALS, "7K2F")), None, id="denied"),
        pytest.param(Answering(GRANTED), NoKeys(), id="without keys"),
        pytest.param(Answering(GRANTED), None, id="granted"),
    ],
)
def test_that_the_account_is_open_lets_nobody_in(authenticator: Answering, keys: AnyKeys | None) -> None:
    store = MemoryStore()
    store.open_account(GRANTED.identity.account, KEYS)
    outcome = sign_in(authenticator, keys=keys, store=store, in_thread=never)
    let_in = authenticator.answer is GRANTED and keys is None
    assert isinstance(outcome, SignedIn) is let_in
    assert store.memory_account(GRANTED.identity.account).holders == 1 + let_in


# -- the exchange


def exchange(*lines: bytes, mechanism: str = "PLAIN", initial: bytes | None = None) -> tuple[bytes, bytes, list[Credentials]]:
    claims: list[Credentials] = []

    async def note(session: Session, credentials: Credentials) -> SignedIn | NotSignedIn:
        claims.append(credentials)
        return SignedIn(GRANTED, MemoryStore().open_account(GRANTED.identity.account, KEYS))

    session = Session(make_site(sign_in=note), tls=True)
    steps = handle_authenticate(session, Authenticate(mechanism, initial))
    sent, answer = run_steps(steps, [AuthenticateResponse(line) for line in lines])
    assert (session.state is State.AUTHENTICATED) is answer.startswith(b"OK")
    return sent, answer, claims


def test_plain_with_an_initial_response() -> None:
    sent, answer, claims = exchange(initial=b"AGFuYQByaWdodA==")
    assert sent == b""
    assert answer.startswith(b"OK [CAPABILITY IMAP4rev1 ")
    assert [(claim.login, claim.secret) for claim in claims] == [("ana", "right")]


def test_plain_without_one() -> None:
    sent, answer, claims = exchange(b"AGFuYQByaWdodA==")
    assert sent == b"+ \r\n"
    assert answer.startswith(b"OK")
    assert claims[0].login == "ana"


def test_login_asks_twice() -> None:
    sent, answer, claims = exchange(b"YW5h", b"cmlnaHQ=", mechanism="LOGIN")
    assert sent == b"+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n"
    assert answer.startswith(b"OK")
    assert (claims[0].login, claims[0].secret) == ("ana", "right")


@pytest.mark.parametrize(
    ("line", "answer"),
    [(b"*", b"BAD Cancelled"), (b"!!", b"BAD Not what"), (b"YW5h", b"BAD Not what")],
    ids=["cancelled", "not base64", "not PLAIN"],
)
def test_broken_exchanges_are_not_verified(line: bytes, answer: bytes) -> None:
    _, said, claims = exchange(line)
    assert said.startswith(answer)
    assert claims == []


def test_unknown_mechanism() -> None:
    _, answer, claims = exchange(mechanism="CRAM-MD5")
    assert answer.startswith(b"NO [CANNOT]")
    assert claims == []


@pytest.mark.parametrize("args", [Login(b"ana", b"x"), Authenticate("PLAIN", b"AGFuYQByaWdodA==")], ids=["login", "plain"])
def test_no_password_is_taken_in_the_clear(args: Login | Authenticate) -> None:
    session = Session(make_site(), local=False)
    steps = handle_login(session, args) if isinstance(args, Login) else handle_authenticate(session, args)
    _, answer = run_steps(steps)
    assert answer.startswith(b"NO [PRIVACYREQUIRED]")


def test_the_last_failure_allowed_ends_the_session() -> None:
    session = Session(make_site(ImapSettings(failed_logins=2)), tls=True)
    for _ in range(2):
        assert session.state is State.NOT_AUTHENTICATED
        run_steps(handle_login(session, Login(b"ana", b"wrong")))
    assert session.state is State.LOGOUT
    assert session.farewell.startswith(b"BYE [UNAVAILABLE]")
