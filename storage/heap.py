"""Memory that accounts leave behind when they are closed, given back to the system.

The C library keeps what lies behind anything still in use, for good: after a wave of sign-ins, most of what it took. SQLite's
connections are some hundred KiB each, freed piece by piece among objects that stay.

Owns the one call. Never decides what is freed.
"""

import ctypes
from collections.abc import Callable

from .background import Background

DELAY = 5.0
"""Seconds until it is done: what ends in bursts is given back once."""


def give_back_later(background: Background) -> None:
    """Have it done in the background, soon, after something large was let go of."""
    if _trim is not None:
        background.submit(("heap",), _give_back, delay=DELAY, idle=True)


def _find_trim() -> Callable[[int], object] | None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # malloc_trim(3): glibc only
    if trim is not None:
        trim.argtypes = [ctypes.c_size_t]
    return trim


_trim = _find_trim()


def _give_back() -> None:
    if _trim is not None:
        _trim(0)  # 50 microseconds a MiB
