"""Free blocks of ports for instances that tests start, apart from those of other workers."""

import itertools
import os
import socket
from collections.abc import Iterator

from preau.suite.init import OFFSETS


def free_base() -> int:
    """An N for --ports-from whose ports are all free, another one at each call."""
    return next(_BASES)


def _bases() -> Iterator[int]:
    # Workers of xdist start apart; blocks are 1,000 apart as decided, with odd offsets from one another.
    worker = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", "0"))) or 0)
    for turn in itertools.count():
        base = 11_000 + (worker * 7_000 + turn * 1_000) % 20_000 + (os.getpid() + turn) % 400
        if all(_is_free(base + offset) for offset in OFFSETS.values()):
            yield base


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_BASES = _bases()
