"""Sign-in with an app password: said (PLAIN, LOGIN), or proven (SCRAM).

Two ways to find which one it is; what it may do is judged in one place. A reason beyond CREDENTIALS is told only to who
holds the secret. For a login that is none the same is done: the same statements, one HMAC or as many tries of the proof.

Owns that judgement. Never sees policies: a wrong app password counts for nothing, at 74 bits.
"""

import hmac

from ..storage.api import AccountId
from . import app_passwords, scram
from .accounts import Account, Accounts, Credential
from .answers import Answers, Try
from .api import Denied, Granted, Reason, ScramGranted
from .app_passwords import AppPassword
from .exchanges import Opened
from .policies.networks import is_within
from .sasl import MalformedResponse

_NOBODYS_MAC = bytes(32)


class AppSignIn:
    """For one engine, on its loop."""

    def __init__(self, accounts: Accounts, answers: Answers, pepper: bytes, *, passwords_elsewhere: bool) -> None:
        """`passwords_elsewhere`: nobody here refused a password that looks like an app password when it was set."""
        self._accounts = accounts
        self._answers = answers
        self._pepper = pepper
        self._passwords_elsewhere = passwords_elsewhere

    def by_secret(self, one: Try, password: AppPassword) -> Granted | Denied | None:
        """None: no such app password, and it may be a password of that form."""
        owner = AccountId(one.subject)  # for a login that is none: an id that no row has
        credential = self._accounts.credential(owner, password.selector)
        mac = app_passwords.mac(self._pepper, owner, password)
        right = hmac.compare_digest(mac, credential.mac if credential is not None else _NOBODYS_MAC)
        if one.account is None or credential is None or not right:
            if self._passwords_elsewhere:
                # Nobody refused a password of that form when it was set: it may be one, for every login alike.
                return None
            return self._answers.denied(one, Reason.CREDENTIALS, "app password")
        return self._judged(one, one.account, credential)

    def by_proof(self, one: Try, opened: Opened, response: bytes) -> ScramGranted | Denied:
        """By the client's final message of an exchange."""
        try:
            final = scram.read_client_final(response)
        except MalformedResponse:
            return self._answers.denied(one, Reason.CREDENTIALS, "malformed")
        if not scram.continues(opened.first, opened.challenge, final):
            return self._answers.denied(one, Reason.CREDENTIALS, "another exchange")
        owner = AccountId(one.subject)
        selectors: list[str] = []
        keys: list[bytes] = []
        for selector, stored in self._accounts.scram_keys(owner):
            for pair in scram.split_keys(stored):
                selectors.append(selector)
                keys.append(pair)
        message = scram.auth_message(opened.first, opened.challenge, final)
        found = scram.find_keys(keys, message, final.proof)
        credential = self._accounts.credential(owner, selectors[found] if found is not None else "")
        if one.account is None or credential is None or found is None:
            return self._answers.denied(one, Reason.CREDENTIALS, "app password")
        verdict = self._judged(one, one.account, credential)
        return (
            verdict if isinstance(verdict, Denied) else ScramGranted(verdict, scram.render_server_final(keys[found], message))
        )

    def _judged(self, one: Try, account: Account, credential: Credential) -> Granted | Denied:
        name = credential.id
        if credential.revoked is not None:
            return self._answers.denied(one, Reason.CREDENTIALS, "revoked", name)
        if account.suspended is not None:
            return self._answers.denied(one, Reason.SUSPENDED, "suspended", name)
        if credential.is_expired(one.now):
            return self._answers.denied(one, Reason.EXPIRED, "expired", name)
        if one.attempt.service not in credential.scopes:
            return self._answers.denied(one, Reason.SCOPE, "scope", name)
        if not is_within(one.attempt.address, credential.networks):
            return self._answers.denied(one, Reason.NETWORK, "network", name)
        return self._answers.granted(one, account, name, credential.scopes, credential)
