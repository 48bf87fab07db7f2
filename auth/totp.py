"""Second factor: time-based codes (RFC 6238: SHA-1, 6 digits, 30 s) and recovery codes.

Answers which time step a code belongs to; that a step opens once is the caller's, by one conditional UPDATE
(accounts.consume_step), because a pure function cannot remember. RFC 6238 section 5.2 demands it.

Owns the forms and the window. Never stores, never sees a clock. Pure.
"""

import base64
import hmac

import pyotp

from .symbols import are_symbols, fold_typed, grouped, octets_for, render_symbols

STEP = 30  # seconds
DIGITS = 6
WINDOW = 1  # steps before and after: a clock half a minute wrong, or slow fingers (RFC 6238 section 5.2)
SECRET_OCTETS = 20  # RFC 4226 section 4, R6: at least 128 bits, 160 recommended

RECOVERY_CODES = 10
RECOVERY_SYMBOLS = 10
RECOVERY_RANDOM_OCTETS = RECOVERY_CODES * octets_for(RECOVERY_SYMBOLS)
"""What `make_recovery_codes` needs."""


def is_code(typed: str) -> bool:
    """Whether this is six ASCII digits. pyotp alone would take full-width and Arabic ones for the same digits."""
    return len(typed) == DIGITS and typed.isascii() and typed.isdigit()


def matching_step(secret: bytes, code: str, now: float) -> int | None:
    """The step within the window that `code` belongs to; None when to none. All steps are tried, found or not."""
    if not is_code(code):
        return None
    totp = pyotp.TOTP(_base32(secret), digits=DIGITS, interval=STEP)
    current = int(now) // STEP
    found: int | None = None
    for step in range(current - WINDOW, current + WINDOW + 1):
        if step >= 0 and hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


def code_at(secret: bytes, step: int) -> str:
    """The code of a step: what the user's application shows then."""
    return str(pyotp.TOTP(_base32(secret), digits=DIGITS, interval=STEP).generate_otp(step))


def provisioning_uri(secret: bytes, address: str, issuer: str) -> str:
    """The otpauth:// URI that applications read from a QR code."""
    totp = pyotp.TOTP(_base32(secret), digits=DIGITS, interval=STEP)
    return str(totp.provisioning_uri(name=address, issuer_name=issuer))


def make_recovery_codes(random: bytes) -> list[str]:
    """Ten codes `xxxxx-xxxxx` from RECOVERY_RANDOM_OCTETS random octets; each stands in for one TOTP code, once."""
    if len(random) < RECOVERY_RANDOM_OCTETS:
        raise ValueError(f"recovery codes need {RECOVERY_RANDOM_OCTETS} random octets")
    size = octets_for(RECOVERY_SYMBOLS)
    return [
        grouped(render_symbols(random[number * size : (number + 1) * size], RECOVERY_SYMBOLS))
        for number in range(RECOVERY_CODES)
    ]


def parse_recovery_code(typed: str) -> str | None:
    """The ten symbols of a recovery code; None when it has not that form."""
    if len(typed) > 3 * RECOVERY_SYMBOLS:
        return None
    symbols = fold_typed(typed)
    return symbols if len(symbols) == RECOVERY_SYMBOLS and are_symbols(symbols) else None


def recovery_mac(pepper: bytes, account: str, symbols: str) -> bytes:
    """What is stored of a recovery code (its ten symbols): HMAC-SHA-256 under the pepper, bound to the account."""
    return hmac.digest(pepper, f"recovery\0{account}\0{symbols}".encode(), "sha256")


def _base32(secret: bytes) -> str:
    return base64.b32encode(secret).decode("ascii").rstrip("=")
