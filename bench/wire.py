"""The client of the benchmarks: raw IMAP and LMTP over a socket, reading in large blocks, judging nothing.

It counts octets and checks the tagged answer, so that a server that does less is seen. Both servers get the same bytes.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path

_LITERAL = re.compile(rb"\{(\d+)\}\r\n$")


class Refused(Exception):
    """The server answered other than OK or 2xx."""


class ImapClient:
    """One IMAP connection. `command` gives the untagged answer's octets as they came."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None, source: str = "") -> None:
        """Connect to a loopback port, from the loopback address `source` if it is given, and read the greeting."""
        raw = socket.create_connection(("127.0.0.1", port), 60, (source, 0) if source else None)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls.wrap_socket(raw, server_hostname="localhost") if tls else raw
        self._tag = 0
        self._rest = b""
        self.greeting = self._line()

    def _line(self) -> bytes:
        while b"\r\n" not in self._rest:
            piece = self.socket.recv(65536)
            if not piece:
                raise Refused("connection closed")
            self._rest += piece
        line, self._rest = self._rest.split(b"\r\n", 1)
        return line

    def _until(self, tag: bytes) -> bytes:
        """Everything up to and with the tagged line. A tag inside a literal would be misread: tags are made unlikely."""
        needle, first = b"\r\n" + tag + b" ", tag + b" "
        pieces, tail, size = [self._rest], self._rest, len(self._rest)
        while True:
            if size == len(tail) and tail.startswith(first):
                found = 0
            else:
                found = tail.rfind(needle)
                found = found + 2 if found >= 0 else -1
            if found >= 0 and tail.endswith(b"\r\n"):
                answer = b"".join(pieces)
                status = tail[found + len(first) :]
                self._rest = b""
                if not status.startswith(b"OK"):
                    raise Refused(status.decode("utf-8", "replace"))
                return answer
            piece = self.socket.recv(4_194_304)
            if not piece:
                raise Refused("connection closed")
            pieces.append(piece)
            size += len(piece)
            tail = (tail + piece)[-4096:] if len(piece) < 4096 else piece[-4096:]

    def tag(self) -> bytes:
        """The next tag: long enough not to stand in a message."""
        self._tag += 1
        return b"zQ%dx" % self._tag

    def command(self, line: bytes) -> bytes:
        """Send one command, return all octets up to and with its tagged OK. Raise Refused."""
        tag = self.tag()
        self.socket.sendall(tag + b" " + line + b"\r\n")
        return self._until(tag)

    def login(self, user: str, password: str) -> None:
        """LOGIN with quoted strings."""
        self.command(f'LOGIN "{user}" "{password}"'.encode())

    def append(self, mailbox: str, message: bytes) -> None:
        """APPEND with a non-synchronising literal (both servers announce LITERAL+)."""
        self.append_several(mailbox, [message])

    def append_several(self, mailbox: str, messages: Iterable[bytes]) -> None:
        """One APPEND with several messages (RFC 3502; both servers announce MULTIAPPEND)."""
        tag = self.tag()
        block = b"".join(b" {%d+}\r\n%b" % (len(message), message) for message in messages)
        self.socket.sendall(b'%b APPEND "%b"%b\r\n' % (tag, mailbox.encode(), block))
        self._until(tag)

    def pipeline(self, lines: Iterable[bytes]) -> bytes:
        """Send all commands at once and wait for the last one's answer."""
        block, tag = b"", b""
        for line in lines:
            tag = self.tag()
            block += tag + b" " + line + b"\r\n"
        self.socket.sendall(block)
        return self._until(tag)

    def idle(self) -> None:
        """Begin IDLE and read the continuation."""
        self.socket.sendall(self.tag() + b" IDLE\r\n")
        while not self._line().startswith(b"+"):
            pass

    def until(self, needle: bytes) -> bytes:
        """Read lines until one holds `needle`."""
        while needle not in (line := self._line()):
            pass
        return line

    def done(self) -> None:
        """End IDLE."""
        self.socket.sendall(b"DONE\r\n")
        self._until(b"zQ%dx" % self._tag)

    def close(self) -> None:
        """Close without LOGOUT."""
        self.socket.close()


class LmtpClient:
    """One LMTP connection over TCP (a port) or a Unix socket (a path)."""

    hello = b"LHLO bench.example\r\n"
    replies_each = True
    """Whether the end of a message is answered once a recipient."""

    def __init__(self, where: int | Path) -> None:
        """Connect, read the banner, say LHLO."""
        if isinstance(where, int):
            self.socket = socket.create_connection(("127.0.0.1", where), 60)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(str(where))
        self._file = self.socket.makefile("rb")
        self._reply()
        self.say(self.hello)

    def _reply(self) -> bytes:
        while True:
            line = self._file.readline()
            if not line.startswith((b"2", b"3")):
                raise Refused(line.decode("utf-8", "replace") or "connection closed")
            if line[3:4] != b"-":
                return bytes(line)

    def say(self, data: bytes) -> bytes:
        """Send, and read one reply. Raise Refused unless it is 2xx or 3xx."""
        self.socket.sendall(data)
        return self._reply()

    def deliver(self, sender: str, recipients: list[str], message: bytes) -> None:
        """One transaction, pipelined as relays do; returns when every recipient got a 250."""
        lines = f"MAIL FROM:<{sender}>\r\n" + "".join(f"RCPT TO:<{r}>\r\n" for r in recipients) + "DATA\r\n"
        self.socket.sendall(lines.encode())
        for _ in range(len(recipients) + 2):
            self._reply()
        self.socket.sendall(stuffed(message) + b".\r\n")
        for _ in recipients if self.replies_each else recipients[:1]:
            self._reply()

    def close(self) -> None:
        """Say QUIT and close."""
        self.say(b"QUIT\r\n")
        self._file.close()
        self.socket.close()


class SmtpClient(LmtpClient):
    """One SMTP connection to a loopback port."""

    hello = b"EHLO bench.example\r\n"
    replies_each = False


def stuffed(message: bytes) -> bytes:
    """The message with leading dots doubled (RFC 5321 section 4.5.2)."""
    message = message.replace(b"\r\n.", b"\r\n..")
    return b"." + message if message.startswith(b".") else message
