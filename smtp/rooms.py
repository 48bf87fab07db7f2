"""Whether a mailbox has room, asked of `delivery` before a message is taken (RFC 5321 section 6.1 on refusing early).

The role `smtp` does not see the store. Who delivers does, and answers RCPT with a full mailbox's own code: the question is
a transaction over LMTP that ends at RSET. Only mailboxes with a quota are asked about. When nobody answers, mail is taken:
the queue tries again for days.

Owns the lines to `delivery` and what an answer means. Never sends a message.
"""

import asyncio
import contextlib
from pathlib import Path

from ..daemon.log import logger

log = logger("smtp")

_MAX_LINE = 1_024  # octets
_MAX_LINES = 50  # of one reply
_FULL = ("5.2.2", "4.2.2")  # RFC 3463 section 3.3: mailbox full


class DeliveryRooms:
    """Lines to RUN/delivery.sock, kept between questions. One event loop's."""

    def __init__(self, path: Path, hostname: str, *, seconds: float = 2.0, lines: int = 4) -> None:
        """`seconds`: for one question.  `lines`: kept open at most."""
        self._path = path
        self._hostname = hostname
        self._seconds = seconds
        self._lines = lines
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def refuses(self, address: str, size: int) -> bool:
        """Whether the mailbox is too full for `size` octets. False when there is no answer."""
        try:
            async with asyncio.timeout(self._seconds):
                while self._idle:
                    # One that was idle may be closed by now; that says nothing.
                    with contextlib.suppress(OSError, EOFError, ValueError):
                        return await self._ask(*self._idle.pop(), address, size)
                return await self._ask(*await self._connect(), address, size)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            log.warning("delivery does not say whether there is room", reason=str(error) or type(error).__name__)
            return False

    async def close(self) -> None:
        """Hang up."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=_MAX_LINE)
        try:
            if not (await _reply(reader)).startswith("220"):
                raise ValueError("not welcome")
            writer.write(f"LHLO {self._hostname}\r\n".encode())
            if not (await _reply(reader)).startswith("250"):
                raise ValueError("LHLO refused")
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str, size: int) -> bool:
        try:
            utf8 = "" if address.isascii() else " SMTPUTF8"
            writer.write(f"MAIL FROM:<> SIZE={size}{utf8}\r\nRCPT TO:<{address}>\r\nRSET\r\n".encode())
            mail, rcpt, reset = [await _reply(reader) for _ in range(3)]
            if not mail.startswith("250") or not reset.startswith("250"):
                raise ValueError(f"unexpected {mail[:3]} {reset[:3]}")
        except BaseException:
            writer.close()
            raise
        if len(self._idle) < self._lines:
            self._idle.append((reader, writer))
        else:
            writer.close()
        return rcpt[4:9] in _FULL


async def _reply(reader: asyncio.StreamReader) -> str:
    """The last line of the next reply. Raise EOFError, ValueError, OSError."""
    for _ in range(_MAX_LINES):
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise ValueError("endless line") from None
        if line[3:4] != b"-":
            return line.decode("ascii", "replace")
    raise ValueError("endless reply")
