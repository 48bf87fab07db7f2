"""What `auth` asks of the key holder, as plain calls: the pepper, the key that signs tickets, seals of second factors.

Plain and not async because they are asked in worker threads and, without a daemon, by the command line. Tests bring their own.
Never keeps a secret: whoever asks does, in memory alone.
"""

from pathlib import Path
from typing import Any, Protocol

from ..daemon.rpc import RpcRefused, RpcUnavailable, call_blocking
from ..storage.api import AccountId
from .api import AuthUnavailable
from .client import decode, encode


class KeySource(Protocol):
    """The key holder. Every call may raise AuthUnavailable."""

    def pepper(self) -> bytes:
        """32 octets mixed into every hash and MAC of a secret."""
        ...

    def ticket_key(self) -> bytes:
        """32 octets, the private key that signs tickets."""
        ...

    def totp_seal(self, account: AccountId, secret: bytes) -> bytes:
        """A second factor's secret as auth.db may hold it."""
        ...

    def totp_open(self, account: AccountId, blob: bytes) -> bytes:
        """The secret of a blob that was sealed for this account."""
        ...


class BlockingKeySource:
    """`keys` over RUN/keys-auth.sock, one connection a call."""

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        """`timeout`: seconds for one call."""
        self._path = path
        self._timeout = timeout

    def pepper(self) -> bytes:
        """See KeySource."""
        return self._octets("pepper", "pepper")

    def ticket_key(self) -> bytes:
        """See KeySource."""
        return self._octets("secret", "ticket_key")

    def totp_seal(self, account: AccountId, secret: bytes) -> bytes:
        """See KeySource."""
        return self._octets("blob", "totp_seal", account=account, secret=encode(secret))

    def totp_open(self, account: AccountId, blob: bytes) -> bytes:
        """See KeySource."""
        return self._octets("secret", "totp_open", account=account, blob=encode(blob))

    def _octets(self, name: str, op: str, /, **fields: Any) -> bytes:
        try:
            return decode(call_blocking(self._path, op, timeout=self._timeout, **fields).get(name))
        except (RpcRefused, RpcUnavailable, ValueError) as error:
            raise AuthUnavailable(f"keys: {error}") from None
