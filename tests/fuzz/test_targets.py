"""Only documented exceptions come out: of the seeds, of the saved corpora, and of what becomes of them when they are mangled.

`scripts/fuzz` looks for more, led by coverage, for as long as it is told; what it finds worth keeping lies in corpus/.
"""

import base64
import random
from pathlib import Path

import pytest

from fuzz_targets import SEEDS, TARGETS

CORPUS = Path(__file__).parent / "corpus"
_MANGLED = 300


def corpus(name: str) -> list[bytes]:
    """Seeds and what was saved."""
    saved = CORPUS / f"{name}.b64"
    lines = saved.read_text().split() if saved.exists() else []
    return [*SEEDS[name], *map(base64.b64decode, lines)]


def mangled(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """The data with a few changes."""
    octets = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(octets) + 1)
        match dice.randrange(7):
            case 0:
                octets[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del octets[at : at + dice.randint(1, 20)]
            case 2:
                octets[at:at] = octets[at : at + dice.randint(1, 40)] * dice.randint(1, 5)
            case 3:
                begin = dice.randrange(len(other) + 1)
                octets[at:at] = other[begin : begin + dice.randint(1, 60)]
            case 4:
                octets[at:at] = dice.choice(
                    (b"\r\n", b"\n", b"\0", b"\xff", b'"', b"\\", b":", b";", b"=", b"(", b"<", b"99999999999")
                )
            case 5:
                digits = [place for place, octet in enumerate(octets) if 48 <= octet <= 57]
                if digits:
                    octets[dice.choice(digits)] = 48 + dice.randrange(10)
            case _:
                octets = octets[:at]
    return bytes(octets)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_only_documented_exceptions_come_out(name: str) -> None:
    target, known, dice = TARGETS[name], corpus(name), random.Random(name)
    for data in known:
        target(data)
    for _ in range(_MANGLED):
        data = mangled(dice.choice(known), dice.choice(known), dice)
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error


def test_every_target_has_seeds() -> None:
    assert set(SEEDS) == set(TARGETS)
