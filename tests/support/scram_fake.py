"""SCRAM for authenticators of tests: the server's side over one password, and a client nobody here wrote (scramp)."""

import base64

from scramp import ScramClient

from preau.auth import scram
from preau.auth.api import Attempt, AuthUnavailable, Denied, Granted, Reason, ScramAttempt, ScramExchange, ScramGranted


class NoScram:
    """Part of an Authenticator that nobody signs in with."""

    async def begin_scram(self, attempt: ScramAttempt) -> ScramExchange | Denied:
        """See Authenticator."""
        raise AuthUnavailable("nobody signs in here")

    async def finish_scram(self, exchange: ScramExchange, response: bytes) -> ScramGranted | Denied:
        """See Authenticator."""
        raise AuthUnavailable("nobody signs in here")


class OneScram:
    """Part of an Authenticator with one password for all: who proves it is granted what `authenticate` grants for it."""

    scram_password = "secret"

    def __init__(self) -> None:
        """None is open."""
        self.scram_open: dict[str, tuple[ScramAttempt, scram.ClientFirst, bytes]] = {}

    async def authenticate(self, attempt: Attempt) -> Granted | Denied:
        """See Authenticator."""
        raise NotImplementedError

    async def begin_scram(self, attempt: ScramAttempt) -> ScramExchange | Denied:
        """See Authenticator."""
        first = scram.read_client_first(attempt.message)
        name = f"x{len(self.scram_open)}"
        challenge = scram.render_server_first(first, b"salt" * 4, name.encode().ljust(scram.NONCE_OCTETS))
        self.scram_open[name] = attempt, first, challenge
        return ScramExchange(name, challenge)

    async def finish_scram(self, exchange: ScramExchange, response: bytes) -> ScramGranted | Denied:
        """See Authenticator."""
        attempt, first, challenge = self.scram_open[exchange.id]
        final = scram.read_client_final(response)
        keys = scram.make_keys(self.scram_password, b"salt" * 4)
        message = scram.auth_message(first, challenge, final)
        right = scram.continues(first, challenge, final) and scram.find_keys([keys], message, final.proof) == 0
        verdict = await self.authenticate(
            Attempt(
                attempt.service,
                first.login,
                self.scram_password if right else "wrong",
                attempt.address,
                attempt.tls,
                scram.NAME,
                attempt.client,
                first.authzid,
            )
        )
        if isinstance(verdict, Denied) or not right:
            return verdict if isinstance(verdict, Denied) else Denied(Reason.CREDENTIALS, "REF123")
        return ScramGranted(verdict, scram.render_server_final(keys, message))


class Prover:
    """A client of scramp with its three messages in base64, as they stand in lines."""

    def __init__(self, login: str, password: str) -> None:
        """Draws a nonce."""
        self._client = ScramClient([scram.NAME], login, password)

    def first(self) -> str:
        """The initial response."""
        return base64.b64encode(self._client.get_client_first().encode()).decode()

    def final(self, challenge: str) -> str:
        """The answer to the server's first message."""
        self._client.set_server_first(base64.b64decode(challenge).decode())
        return base64.b64encode(self._client.get_client_final().encode()).decode()

    def check(self, challenge: str) -> None:
        """Raise when the server does not know the password."""
        self._client.set_server_final(base64.b64decode(challenge).decode())
