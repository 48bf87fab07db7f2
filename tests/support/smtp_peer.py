"""An SMTP host that follows a script: greylisting, slow, dying in the middle of a verb, refusing at any."""

import asyncio
import datetime
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HANG, DROP = "HANG", "DROP"
"""Instead of a reply: none ever, or the connection cut."""

EXTENSIONS = ("PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")


@dataclass(slots=True)
class Taken:
    """A message that was taken. `data`: octets between 354 and the final dot, dots still doubled."""

    mail: str
    rcpts: list[str]
    data: bytes
    tls: bool


@dataclass(slots=True)
class Peer:
    """`script`: verb (GREETING, EHLO, HELO, STARTTLS, MAIL, RCPT, `RCPT a@b`, DATA, FINAL, RSET, QUIT) -> replies in turn.

    The last one repeats; a verb without any is answered well. `hold`: events to wait for before a verb is answered.
    """

    script: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extensions: Sequence[str] = EXTENSIONS
    tls: ssl.SSLContext | None = None
    hold: Mapping[str, asyncio.Event] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    faults: list[AssertionError] = field(default_factory=list)
    verbs: list[str] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    host: str = ""
    port: int = 0
    _said: dict[str, int] = field(default_factory=dict)
    _server: asyncio.Server | None = None
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> "Peer":
        """Listen."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=2**20)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]
        return self

    async def stop(self) -> None:
        """Listen no more, cut what is open. Raise what a client did that no client may."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.faults:
            raise self.faults[0]

    def reply_for(self, verb: str, line: str = "") -> str | None:
        """What the script has for it."""
        path = re.search(r"<(.*?)>", line)
        for key in (f"{verb} {path[1]}" if path else "", verb):
            if replies := self.script.get(key):
                count = self._said[key] = self._said.get(key, 0) + 1
                return replies[min(count, len(replies)) - 1]
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await self._dialog(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        except UnicodeDecodeError:
            pass  # a handshake that the script had not meant
        except AssertionError as fault:
            self.faults.append(fault)
        finally:
            self.open_now -= 1
            self._tasks.discard(task)
            writer.transport.abort()

    async def _say(self, writer: asyncio.StreamWriter, verb: str, line: str, good: str) -> str:
        if verb in self.hold:
            await self.hold[verb].wait()
        reply = self.reply_for(verb, line) or good
        if reply == HANG:
            await asyncio.Event().wait()
        if reply == DROP:
            raise ConnectionResetError
        writer.write(reply.encode() + b"\r\n")
        if reply.startswith("421"):
            await writer.drain()
            raise ConnectionResetError
        return reply

    async def _dialog(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mail, tls = "", False
        rcpts: list[str] = []
        if not (await self._say(writer, "GREETING", "", "220 peer.example ESMTP")).startswith("220"):
            return
        while line := (await reader.readline()).decode():
            assert line.endswith("\r\n"), line
            line = line[:-2]
            verb = line.partition(" ")[0].upper()
            self.verbs.append(verb)
            match verb:
                case "EHLO" | "HELO":
                    offered = [*self.extensions, *(["STARTTLS"] if self.tls and not tls else [])] if verb == "EHLO" else []
                    lines = ["peer.example", *offered]
                    good = "\r\n".join(f"250-{each}" for each in lines[:-1]) + ("\r\n" if offered else "") + f"250 {lines[-1]}"
                    await self._say(writer, verb, line, good)
                case "STARTTLS":
                    reply = await self._say(writer, verb, line, "220 go")
                    if reply == "220 go" and self.tls:
                        await writer.start_tls(self.tls)
                        tls = True
                case "MAIL":
                    if (await self._say(writer, verb, line, "250 2.1.0 ok")).startswith("250"):
                        mail, rcpts = line, []
                case "RCPT":
                    if not mail:
                        writer.write(b"503 5.5.1 no\r\n")
                    elif (await self._say(writer, verb, line, "250 2.1.5 ok")).startswith("250"):
                        rcpts.append(line)
                case "DATA":
                    if not rcpts:
                        if (await self._say(writer, "DATA-EMPTY", line, "503 5.5.1 no")).startswith("354"):
                            await self._data(reader)
                            writer.write(b"554 5.5.1 no recipients\r\n")
                        continue
                    if not (await self._say(writer, verb, line, "354 go on")).startswith("354"):
                        continue
                    data = await self._data(reader)
                    if (await self._say(writer, "FINAL", line, "250 2.0.0 taken")).startswith("250"):
                        self.taken.append(Taken(mail, rcpts, data, tls))
                    mail, rcpts = "", []
                case "RSET":
                    mail, rcpts = "", []
                    await self._say(writer, verb, line, "250 2.0.0 ok")
                case "QUIT":
                    await self._say(writer, verb, line, "221 2.0.0 bye")
                    return
                case _:
                    raise AssertionError(line)

    async def _data(self, reader: asyncio.StreamReader) -> bytes:
        data = bytearray()
        if self.script.get("MIDDLE"):
            await reader.readline()
            if self.script["MIDDLE"][0] == DROP:
                raise ConnectionResetError
        while not (data.endswith(b"\r\n.\r\n") or data == b".\r\n"):
            data += await reader.readuntil(b"\r\n")
        return bytes(data[:-3])


@lru_cache(maxsize=1)
def _certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), private


def server_tls(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate nobody trusts."""
    certificate, private = _certificate()
    (folder / "peer.pem").write_bytes(certificate + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "peer.pem")
    return context


def free_port() -> int:
    """A port that is free on every loopback address right now."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return int(probe.getsockname()[1])


class Octets:
    """A message in memory (spool.MessageSource)."""

    def __init__(self, data: bytes) -> None:
        """Hold them."""
        self.data = data
        self.size = len(data)

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Octets from `offset`."""
        return self.data[offset : None if length is None else offset + length]
