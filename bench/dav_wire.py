"""The client of the DAV benchmarks: HTTP/1.1 over a socket, kept alive where the server does, judging only the status."""

from __future__ import annotations

import base64
import socket
from io import BufferedIOBase
from typing import cast

from .wire import Refused


class DavClient:
    """One connection, made anew whenever the server ended it."""

    def __init__(self, port: int, login: tuple[str, str] | None) -> None:
        """To a loopback port; Basic credentials go with every request when there are any."""
        self._port = port
        self._fixed = "Host: localhost\r\nUser-Agent: bench\r\n"
        if login is not None:
            self._fixed += f"Authorization: Basic {base64.b64encode(':'.join(login).encode()).decode()}\r\n"
        self._socket: socket.socket | None = None
        self._reader: BufferedIOBase | None = None

    def close(self) -> None:
        """End the connection; the next request makes another."""
        if self._reader is not None and self._socket is not None:
            self._reader.close()
            self._socket.close()
        self._socket = self._reader = None

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """The body of the answer. Header names are given with `_` for `-`. Raise Refused unless it is 2xx."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = f"Content-Length: {len(body)}\r\n" if body or method == "PUT" else ""
        whole = f"{method} {path} HTTP/1.1\r\n{self._fixed}{lines}{length}\r\n".encode() + body
        if self._socket is not None:
            try:
                return self._exchange(whole, method)
            except ConnectionError:
                self.close()  # an idle one that the server had ended
        self._socket = socket.create_connection(("127.0.0.1", self._port), 600)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = cast(BufferedIOBase, self._socket.makefile("rb", 1_048_576))
        return self._exchange(whole, method)

    def _exchange(self, whole: bytes, method: str) -> bytes:
        if self._socket is None or self._reader is None:
            raise ConnectionError
        self._socket.sendall(whole)
        status = self._reader.readline()
        if not status:
            raise ConnectionResetError
        version, code = status.split(None, 2)[:2]
        headers: dict[bytes, bytes] = {}
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        body, whole_body = self._body(headers, code, self._reader)
        if not whole_body or version == b"HTTP/1.0" or headers.get(b"connection", b"").lower() == b"close":
            self.close()
        if not code.startswith(b"2"):
            raise Refused(f"{method}: {status.decode('latin-1').strip()} {body[:300].decode('utf-8', 'replace')}")
        return body

    @staticmethod
    def _body(headers: dict[bytes, bytes], code: bytes, reader: BufferedIOBase) -> tuple[bytes, bool]:
        """(octets, whether their end was told)."""
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            pieces = []
            while size := int(reader.readline().split(b";")[0], 16):
                pieces.append(reader.read(size))
                reader.readline()
            reader.readline()
            return b"".join(pieces), True
        if b"content-length" in headers:
            return reader.read(int(headers[b"content-length"])), True
        if code in (b"204", b"304"):
            return b"", True
        return reader.read(), False
