"""Bounds of what a client may send, before and after it signed in.

Owns the numbers; decode.py and grammar.py keep to them.
"""

from dataclasses import dataclass, field

from .grammar import Bounds


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send; octets unless said otherwise."""

    line: int  # one line, its end included
    literal: int  # one literal of an ordinary argument
    literals: int  # how many of them in one command
    command: int  # a whole command: lines and literals, APPEND's messages aside
    message: int  # one message of APPEND; 0: no APPEND
    messages: int  # how many of them in one APPEND
    skipped: int  # what is refused but comes anyway is skipped up to this, then the connection ends
    tag: int = 100
    bounds: Bounds = field(default_factory=Bounds)


BEFORE_LOGIN = Limits(
    line=8_192,
    literal=4_096,
    literals=4,
    command=16_384,
    message=0,
    messages=0,
    skipped=0,
    bounds=Bounds(nesting=10, keys=20, items=50, ranges=20, fields=10),
)
AFTER_LOGIN = Limits(
    line=65_536,
    literal=65_536,
    literals=200,
    command=262_144,
    message=52_428_800,
    messages=100,
    skipped=104_857_600,
)
