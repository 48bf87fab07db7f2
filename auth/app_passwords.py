"""App passwords: `k7mfp-9xq2c-tn4wd-b8rju`, one a device, looked up instead of guessed at.

selector (4 symbols, unique in the account, stored in clear) + secret (15, 74 bits, stored as an HMAC under the pepper)
+ check (1). The form alone tells the verifier which way to go: what has this form costs one look-up and one HMAC,
never an argon2, so a flood of guesses cannot keep phones from syncing, and phones cost next to nothing.

The check symbol is sum((i + 1) * index(c_i)) mod 31 over the 19 before it. 31 is prime and every weight differs from
every other modulo 31, so one wrong symbol and one swap of any two are always caught.

Owns the form, its normalisation and the MAC. Never stores, never decides who may use one. Pure.
"""

import hmac
from dataclasses import dataclass, field

from .symbols import ALPHABET, INDEX, are_symbols, fold_typed, grouped, octets_for, render_symbols

SELECTOR_SYMBOLS = 4
SECRET_SYMBOLS = 15
_BODY = SELECTOR_SYMBOLS + SECRET_SYMBOLS
LENGTH = _BODY + 1

RANDOM_OCTETS = octets_for(_BODY)
"""What `make` needs."""

_LONGEST_TYPED = 64  # characters looked at: 20 symbols with anything between them that copying may add


@dataclass(frozen=True, slots=True)
class AppPassword:
    """A well-formed app password. `selector` finds the credential in its account, `secret` proves it."""

    selector: str
    secret: str = field(repr=False)


def make(random: bytes) -> AppPassword:
    """A new one from RANDOM_OCTETS random octets."""
    symbols = render_symbols(random, _BODY)
    return AppPassword(symbols[:SELECTOR_SYMBOLS], symbols[SELECTOR_SYMBOLS:])


def check_symbol(body: str) -> str:
    """The 20th symbol for the first 19."""
    return ALPHABET[sum(weight * INDEX[symbol] for weight, symbol in enumerate(body, 1)) % len(ALPHABET)]


def render(password: AppPassword) -> str:
    """As it is shown, once: four groups of five."""
    body = password.selector + password.secret
    return grouped(body + check_symbol(body))


def spellings(password: AppPassword) -> tuple[str, str]:
    """As people type it: what a client hashes itself (SCRAM) cannot be folded here, so both must be known beforehand."""
    shown = render(password)
    return shown, shown.replace("-", "")


def parse(typed: str) -> AppPassword | None:
    """The app password in what was typed; None when it has not that form, and so must be something else."""
    if len(typed) > _LONGEST_TYPED:
        return None
    symbols = fold_typed(typed)
    if len(symbols) != LENGTH or not are_symbols(symbols):
        return None
    if check_symbol(symbols[:_BODY]) != symbols[_BODY]:
        return None
    return AppPassword(symbols[:SELECTOR_SYMBOLS], symbols[SELECTOR_SYMBOLS:_BODY])


def mac(pepper: bytes, account: str, password: AppPassword) -> bytes:
    """What is stored: HMAC-SHA-256 under the pepper, bound to the account (a copied row opens nothing elsewhere)."""
    text = f"app-password\0{account}\0{password.selector}\0{password.secret}"
    return hmac.digest(pepper, text.encode(), "sha256")
