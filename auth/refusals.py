"""What a client is told when it does not get in: one table for IMAP, SMTP and HTTP.

Response codes: RFC 5530 and RFC 9051 section 7.1 (IMAP), RFC 4954 section 6 with RFC 5248 (SMTP), RFC 9110 and RFC 7617
(HTTP). Each text is one ASCII line, French then English, the same for every account: a wrong password, an unknown login,
a missing second factor and a replayed code cannot be told apart. Waiting is `UNAVAILABLE`, never `AUTHENTICATIONFAILED`:
clients throw away a stored password over the latter.

Protocols import this module for every answer to a failed sign-in, and choose no code or text themselves.
Owns codes and words. Never decides why; that is the engine's. Pure.
"""

from dataclasses import dataclass
from enum import StrEnum

from .api import Denied, Reason


class Failure(StrEnum):
    """Why there is no sign-in at all, beside the reasons of `Denied`."""

    UNAVAILABLE = "unavailable"  # the verifier, the key holder or the backend does not answer
    TOO_MANY = "too-many"  # five failures on one connection: it is closed


FAILURES_PER_CONNECTION = 5
"""Failed sign-ins on one connection before it is closed with `Refusals.too_many()`."""

REALM = "Messagerie"
_CHALLENGE = ("WWW-Authenticate", f'Basic realm="{REALM}", charset="UTF-8"')
_RETRY = 30  # seconds a client is told to wait when nobody knows better

_LONGEST_LINK = 120
_LONGEST_SUPPORT = 40


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal in every protocol's form.

    imap_code: response code without brackets (`NO [imap_code] text`; with `closes`, `BYE`).  smtp_code, enhanced_code:
    of the reply line.  http_status and http_headers: of the response, whose body is `text`.  closes: end the connection.
    """

    imap_code: str
    smtp_code: int
    enhanced_code: str
    http_status: int
    text: str
    http_headers: tuple[tuple[str, str], ...] = ()
    closes: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    imap_code: str
    smtp_code: int
    enhanced_code: str
    http_status: int
    french: str
    english: str
    link: bool = False  # the help page belongs to it
    support: bool = False  # the telephone of support belongs to it


_CREDENTIALS = _Row(
    "AUTHENTICATIONFAILED",
    535,
    "5.7.8",
    401,
    "Identifiant ou mot de passe refuse. Avec la double authentification, utilisez un mot de passe d'application.",
    "Login or password refused. With two-step sign-in, use an app password.",
    link=True,
)

_TABLE: dict[Reason | Failure, _Row] = {
    Reason.CREDENTIALS: _CREDENTIALS,
    Reason.NETWORK: _CREDENTIALS,
    Reason.EXPIRED: _Row(
        "EXPIRED",
        535,
        "5.7.8",
        401,
        "Mot de passe d'application expire, creez-en un autre.",
        "App password expired, make a new one.",
        link=True,
    ),
    Reason.SCOPE: _Row(
        "AUTHORIZATIONFAILED",
        535,
        "5.7.8",
        403,
        "Ce mot de passe d'application n'est pas autorise pour ce service.",
        "This app password is not for this service.",
        link=True,
    ),
    Reason.SUSPENDED: _Row(
        "CONTACTADMIN",
        525,
        "5.7.13",
        403,
        "Compte suspendu, contactez votre referent.",
        "Account suspended, contact support.",
        support=True,
    ),
    Reason.LOCKED: _Row(
        "UNAVAILABLE",
        454,
        "4.7.0",
        429,
        "Trop d'essais, reessayez dans {minutes} min.",
        "Too many tries, try again in {minutes} min.",
        support=True,
    ),
    Reason.CLEARTEXT: _Row(
        "PRIVACYREQUIRED",
        538,
        "5.7.11",
        403,
        "Connexion non chiffree : activez TLS.",
        "Connection not encrypted: switch TLS on.",
    ),
    Reason.MECHANISM: _Row(
        "CANNOT",
        534,
        "5.7.9",
        401,
        "Methode d'authentification non permise pour ce compte.",
        "Authentication method not permitted for this account.",
        link=True,
    ),
    Reason.CHANGE: _Row(
        "EXPIRED",
        432,
        "4.7.12",
        401,
        "Le mot de passe doit d'abord etre change.",
        "The password must be changed first.",
        link=True,
    ),
    Failure.UNAVAILABLE: _Row(
        "UNAVAILABLE",
        454,
        "4.7.0",
        503,
        "Authentification momentanement indisponible, reessayez plus tard.",
        "Sign-in is unavailable for the moment, try again later.",
    ),
    Failure.TOO_MANY: _Row(
        "UNAVAILABLE",
        421,
        "4.7.0",
        429,
        "Trop d'essais sur cette connexion.",
        "Too many tries on this connection.",
    ),
}


@dataclass(frozen=True, slots=True)
class Refusals:
    """The table with an institution's help page and telephone, both optional and ASCII."""

    help_url: str = ""
    support: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for what would not fit a reply line (RFC 5321 section 4.5.3.1.5: 512 octets)."""
        for name, text, longest in (
            ("help_url", self.help_url, _LONGEST_LINK),
            ("support", self.support, _LONGEST_SUPPORT),
        ):
            if len(text) > longest or not text.isascii() or not text.isprintable():
                raise ValueError(f"{name}: at most {longest} printable ASCII characters")

    def denied(self, denied: Denied) -> Refusal:
        """For an answer of the verifier."""
        return self._refusal(denied.reason, denied.reference, denied.retry_after)

    def unavailable(self) -> Refusal:
        """For AuthUnavailable: temporary, nothing about the password."""
        return self._refusal(Failure.UNAVAILABLE, "", _RETRY)

    def too_many(self) -> Refusal:
        """After FAILURES_PER_CONNECTION failures on one connection."""
        return self._refusal(Failure.TOO_MANY, "", _RETRY)

    def cleartext(self) -> Refusal:
        """For a sign-in tried without TLS, refused before the verifier is asked."""
        return self._refusal(Reason.CLEARTEXT, "", 0)

    def _refusal(self, why: Reason | Failure, reference: str, retry_after: int) -> Refusal:
        row = _TABLE[why]
        minutes = max(1, -(-retry_after // 60))
        words = [row.french.format(minutes=minutes), "/", row.english.format(minutes=minutes)]
        if row.link and self.help_url:
            words.append(self.help_url)
        if row.support and self.support:
            words.append(self.support)
        if reference:
            words.append(f"(ref {reference})")
        headers: tuple[tuple[str, str], ...] = ()
        if row.http_status == 401:
            headers = (_CHALLENGE,)
        elif row.http_status in (429, 503):
            headers = (("Retry-After", str(max(1, retry_after))),)
        return Refusal(
            row.imap_code,
            row.smtp_code,
            row.enhanced_code,
            row.http_status,
            " ".join(words),
            headers,
            closes=why is Failure.TOO_MANY,
        )
