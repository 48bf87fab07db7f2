"""Sessions: who is signed in, as far as revoking and asking after a restart need it.

A session id says for whom, with what and when it began, under a MAC: after a restart of `auth` nothing is remembered, and
yet a daemon can ask whether a session may go on. It is no secret of a client's; clients never see it.

Owns ids and the table of live sessions (bounded, oldest out first: losing one loses only the line that says it ended).
"""

import hmac
from collections import OrderedDict
from dataclasses import dataclass

from ..storage.api import AccountId
from .api import CredentialId, Revocation, Service, SessionId

MAX_SESSIONS = 200_000
_MAC = 8  # octets; the id comes from our own daemons


@dataclass(frozen=True, slots=True)
class Session:
    """One signed-in session. `began` in seconds since 1970 UTC."""

    account: AccountId
    credential: CredentialId
    began: int
    service: Service | None = None  # None: from an id alone
    network: str = ""


def make_session_id(account: AccountId, credential: CredentialId, began: int, random: bytes, key: bytes) -> SessionId:
    """An id from 8 random octets."""
    body = f"{account}.{credential}.{began:x}.{random.hex()}"
    return SessionId(f"{body}.{_mac(body, key)}")


def parse_session_id(text: str, key: bytes) -> Session | None:
    """What an id says; None when it is not one of ours."""
    body, _, mac = text.rpartition(".")
    if len(text) > 200 or not text.isascii() or not hmac.compare_digest(mac, _mac(body, key)):
        return None
    account, credential, began, _ = body.split(".")
    return Session(AccountId(account), CredentialId(credential), int(began, 16))


def short_id(session: SessionId) -> str:
    """The part that tells sessions apart in the traces."""
    return session.split(".")[-2]


def _mac(body: str, key: bytes) -> str:
    return hmac.digest(key, b"session\0" + body.encode(), "sha256")[:_MAC].hex()


class Sessions:
    """The live sessions of one `auth`."""

    def __init__(self, limit: int = MAX_SESSIONS) -> None:
        """At most `limit`."""
        self._limit = limit
        self._sessions: OrderedDict[SessionId, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, session_id: SessionId, session: Session) -> None:
        """Remember one."""
        self._sessions[session_id] = session
        if len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)

    def get(self, session_id: SessionId) -> Session | None:
        """One that is remembered."""
        return self._sessions.get(session_id)

    def close(self, session_id: SessionId) -> Session | None:
        """Forget one; answers what it was."""
        return self._sessions.pop(session_id, None)

    def end(self, revocation: Revocation) -> int:
        """Forget all that a revocation names; answers how many."""
        ended = [
            session_id
            for session_id, session in self._sessions.items()
            if (revocation.session is None or session_id == revocation.session)
            and (revocation.account is None or session.account == revocation.account)
            and (revocation.credential is None or session.credential == revocation.credential)
        ]
        for session_id in ended:
            del self._sessions[session_id]
        return len(ended)
