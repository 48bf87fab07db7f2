"""The octets of a message on the wire: DATA with its dots, BDAT with its counts (RFC 5321 section 4.5.2, RFC 3030).

Owns where a message ends and what its line ends become. Pure and incremental: how the octets were cut into pieces changes
nothing. Works on whole blocks, not line by line: a megabyte costs about a millisecond.

Only CR LF . CR LF ends DATA. A bare LF or CR ends nothing: taking one for a line end where the next host does not, or the
other way round, is how mail is smuggled. What becomes of them is the mode's choice:

- REFUSE (mx): the message is read to its end and then refused with 5xx.
- NORMALISE (lmtp): a bare LF becomes CR LF. Over LMTP the message comes from our own mail system, which took it
  already: refusing it now would lose it, and the store and IMAP need lines that end in CR LF. A dot behind a bare LF is
  content and keeps its place, because who sent it did not see a line begin there. A bare CR stays as it is.
- REPAIR (submission): a bare LF becomes CR LF and a bare CR goes, so that nothing leaves us that another host could take
  for a line end or for the end of a message. A CR CR LF, which clients make by converting twice, comes out right.
"""

import re
from enum import Enum


class BareNewlines(Enum):
    """What a bare CR or LF in a message leads to."""

    REFUSE = "refuse"
    NORMALISE = "normalise"
    REPAIR = "repair"


# Patterns that begin with one octet, what stands beside it looked at afterwards: such are searched for four to seven times as
# fast as bytes.find, count and replace look for two or three octets, and thirty times as fast as with the look behind first.
BARE_LF = re.compile(rb"\n(?<!\r\n)")
BARE_CR = re.compile(rb"\r(?!\n)")
DOTTED = re.compile(rb"\r(?=\n\.)")
"""A line end before a line that begins with a dot."""

_END = b"\r\n.\r\n"


def _far(limit: int) -> int:
    return 2 * limit + 1_048_576


class _Content:
    """What both streams share: counting, bounds, line ends."""

    __slots__ = ("_bare", "_policy", "done", "limit", "refused_bare", "size")

    def __init__(self, limit: int, policy: BareNewlines) -> None:
        """`limit`: octets of content; beyond it content is counted and thrown away."""
        self.limit = limit
        self.size = 0
        self.done = False
        self.refused_bare = False
        self._policy = policy
        self._bare = False

    @property
    def too_large(self) -> bool:
        """More content than `limit`. The pieces given out so far are to be thrown away."""
        return self.size > self.limit

    @property
    def far_too_large(self) -> bool:
        """Twice the limit and more: nobody sends that by mistake, the connection may be closed."""
        return self.size > _far(self.limit)

    def _lines(self, data: bytes) -> bytes:
        """`data` with its bare line ends dealt with; it never ends between CR and LF unless the message does."""
        if self._policy is BareNewlines.REFUSE:
            self.refused_bare = self.refused_bare or BARE_LF.search(data) is not None or BARE_CR.search(data) is not None
        else:
            data = BARE_LF.sub(b"\r\n", data)
            if self._policy is BareNewlines.REPAIR:
                data = BARE_CR.sub(b"", data)
        self.size += len(data)
        return b"" if self.too_large else data


class DataStream(_Content):
    """What follows DATA. Feed it; `done` with what lay behind the end in `rest`."""

    __slots__ = ("_held", "_skip", "rest")

    def __init__(self, limit: int, policy: BareNewlines) -> None:
        """See _Content."""
        super().__init__(limit, policy)
        # The line end of the DATA command is the first half of the mark: a lone dot is an empty message.
        self._held = b"\r\n"
        self._skip = 2
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take octets, give the content they completed (b"" is common). After `done` everything goes to `rest`."""
        if self.done:
            self.rest += data
            return b""
        data = self._held + data if self._held else data
        dotted = DOTTED.search(data)
        first = dotted.start() if dotted else len(data)
        end = data.find(_END, first)
        if end >= 0:
            self.rest = data[end + len(_END) :]
            self.done = True
            self._held = b""
            data = data[: end + 2]
        else:
            cut = _may_begin_end(data)
            self._held = data[len(data) - cut :] if cut else b""
            if cut:
                data = data[:-cut]
        if not data:
            return b""
        # RFC 5321 section 4.5.2: a dot at the start of a line goes, whatever follows it.
        if len(data) > first + 2:
            data = data.replace(b"\r\n.", b"\r\n")
        if self._skip:
            data = data[self._skip :]
            self._skip = 0
        return self._lines(data)


def _may_begin_end(data: bytes) -> int:
    """How many last octets could be the beginning of CR LF . CR LF."""
    for length in (4, 3, 2, 1):
        if data.endswith(_END[:length]):
            return length
    return 0


class ChunkStream(_Content):
    """What follows BDAT commands: no dots, only counts. One stream for all chunks of a message."""

    __slots__ = ("_held", "_last", "_left")

    def __init__(self, limit: int, policy: BareNewlines) -> None:
        """See _Content."""
        super().__init__(limit, policy)
        self._held = b""
        self._left = 0
        self._last = False

    def begin(self, size: int, *, last: bool) -> bytes:
        """A BDAT command came; the one before must be complete. Gives content when an empty last chunk ends it all."""
        assert self._left == 0
        self._left = size
        self._last = last
        return self._finish() if size == 0 else b""

    @property
    def wanted(self) -> int:
        """Octets of the present chunk that are still to come: feed no more."""
        return self._left

    @property
    def far_too_large(self) -> bool:
        """As above, with what is announced: octets that nobody would read need not come first."""
        return self.size + self._left > _far(self.limit)

    def feed(self, data: bytes) -> bytes:
        """Take octets of the chunk, give content."""
        assert len(data) <= self._left
        self._left -= len(data)
        data = self._held + data
        # A CR may have its LF in the next piece, or chunk.
        self._held = b"\r" if data.endswith(b"\r") else b""
        content = self._lines(data[: len(data) - len(self._held)])
        return content + self._finish() if self._left == 0 else content

    def _finish(self) -> bytes:
        if not self._last:
            return b""
        self.done = True
        held, self._held = self._held, b""
        return self._lines(held)
