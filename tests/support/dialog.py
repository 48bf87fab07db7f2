r"""Dialogs: what client and server say to one another, as files that run against any server (docs: tests/imap/dialogs).

A file has lines; connection 1 is meant unless a digit says another (`C2:`, `S2:`). Each connection begins with its
greeting as an `S:` line.

    # text           why, with its RFC section
    @needs NAME      only where the server's CAPABILITY (after login) has NAME; `@needs A B` needs both
    @login           greeting and LOGIN; `@login 2` on connection 2
    @not SERVER why  not against that server; the reason is what the report says
    C: line          is sent with CRLF; `{}` and `{+}` at its end become the size of the L: lines that follow
    L: line          a line of that literal, CRLF included
    S: line          is what comes next
    S?: line         may come, or not
    S~: line         one of a group in any order: consecutive S~: lines
    S: ...           untagged lines that nobody asked about, until the next S: line matches; `S~: ...` within a group
    S: {closed}      the server closes
    T:               TLS begins now
    Z:               both sides deflate from now on
    X:               the client closes

In lines, `{any}` stands for anything, `{number}` for digits, `{words A B}` for text that has these words,
`{name:any}` and `{name:number}` keep what they stand for: `{name}` in later lines, C: ones too. `{user}` and `{password}`
are given by who runs it, and `{plain}` is both as SASL PLAIN has them; `{crlf}` is a line end within a C: line.

What a server may freely choose is made one before it is compared: literals become quoted strings (CRLF shown as `\r\n`),
flags in parentheses are sorted and `\Recent` is dropped, and so are
RECENT lines (unless a group asks for one): IMAP4rev2 has neither. Atoms and quoted strings stay as they are.
"""

import re
import socket
import ssl
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Connect = Callable[[], socket.socket]

_LINE = re.compile(r"([CSLTXZ])([2-9]?)([?~]?):(?: (.*))?")
_WILD = re.compile(r"\{(?:([a-z]+):)?(any|number)\}|\{words ([^{}]+)\}|\{([a-z]+)\}")
_LITERAL = re.compile(rb"~?\{([0-9]+)\}\r\n\Z")
_FLAGS = re.compile(r"\((\\?[A-Za-z$*][^\s()\"]*(?: \\?[A-Za-z$*][^\s()\"]*)*)\)")
_LOGIN = (
    ("S", "", "* OK {any}"),
    ("C", "", "login LOGIN {user} {password}"),
    ("S", "?", "* CAPABILITY {any}"),
    ("S", "", "login OK {any}"),
)
_RECENT = re.compile(r"\* [0-9]+ RECENT")
_SECONDS = 20.0


class DialogFault(Exception):
    """The file is no dialog."""


class Mismatch(AssertionError):
    """The server said something else."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a dialog: who (`C`, `S`, `L`, `T`, `X`, `Z`), on which connection, how (`?`, `~` or nothing), what."""

    number: int
    who: str
    connection: int
    how: str
    text: str


@dataclass(frozen=True, slots=True)
class Dialog:
    """A parsed file."""

    name: str
    lines: tuple[Line, ...]
    needs: tuple[str, ...] = ()
    excluded: Mapping[str, str] = field(default_factory=dict)


def parse_dialog(name: str, text: str) -> Dialog:
    """Read a dialog. Raise DialogFault."""
    lines: list[Line] = []
    needs: list[str] = []
    excluded: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("@needs "):
            needs += line.split()[1:]
        elif line.startswith("@login"):
            on = int(line[6:].strip() or 1)
            lines += [Line(number, who, on, how, said) for who, how, said in _LOGIN]
        elif line.startswith("@not "):
            _, server, reason = line.split(None, 2)
            excluded[server] = reason
        else:
            found = _LINE.fullmatch(line)
            if found is None:
                raise DialogFault(f"{name}:{number}: {line}")
            who, connection, how, rest = found.groups()
            if how and who != "S":
                raise DialogFault(f"{name}:{number}: only S: lines may be optional or in any order")
            lines.append(Line(number, who, int(connection or 1), how, rest or ""))
    return Dialog(name, tuple(lines), tuple(needs), excluded)


def read_dialog(path: Path) -> Dialog:
    """Read a dialog file."""
    return parse_dialog(path.name, path.read_text(encoding="utf-8"))


def normalise(line: str) -> str:
    """What servers may choose, made one: flags in parentheses are sorted, and \\Recent is not told."""

    def sort(found: "re.Match[str]") -> str:
        words = found[1].split(" ")
        if not any(word.startswith("\\") for word in words):
            return found[0]
        return "(" + " ".join(sorted((word for word in words if word != "\\Recent"), key=str.lower)) + ")"

    return _FLAGS.sub(sort, line)


def matches(pattern: str, line: str, kept: dict[str, str]) -> bool:
    """Whether the line is what the pattern says; what it names is put into `kept`."""
    regex = ""
    position = 0
    words: list[str] = []
    pattern = normalise(pattern)
    for found in _WILD.finditer(pattern):
        regex += re.escape(pattern[position : found.start()])
        position = found.end()
        name, kind, listed, known = found.groups()
        if listed is not None:
            words += listed.split()
            regex += ".*"
        elif known is not None:
            if known not in kept:
                raise DialogFault(f"{{{known}}} is not known: {pattern}")
            regex += re.escape(kept[known])
        else:
            body = "[0-9]+" if kind == "number" else ".*?"
            regex += f"(?P<{name}>{body})" if name else body
    regex += re.escape(pattern[position:])
    result = re.fullmatch(regex, line, re.DOTALL)
    if result is None or not set(words) <= set(re.split(r"[\s\[\]()]+", line)):
        return False
    kept.update(result.groupdict())
    return True


class Peer:
    """One connection to the server, read a response at a time."""

    def __init__(self, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Take over an open connection; `tls` is what T: begins with."""
        self._socket = connection
        self._socket.settimeout(_SECONDS)
        self._tls = tls
        self._buffer = b""
        self._out: zlib._Compress | None = None
        self._in: zlib._Decompress | None = None

    def send(self, data: bytes) -> None:
        """Send octets."""
        if self._out is not None:
            data = self._out.compress(data) + self._out.flush(zlib.Z_SYNC_FLUSH)
        self._socket.sendall(data)

    def deflate(self) -> None:
        """Begin to compress, both ways (RFC 4978)."""
        if self._buffer:
            raise Mismatch(f"octets before compression: {self._buffer!r}")
        self._out, self._in = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)

    def start_tls(self) -> None:
        """Begin TLS."""
        if self._tls is None:
            raise DialogFault("no TLS here")
        if self._buffer:
            raise Mismatch(f"octets before TLS: {self._buffer!r}")
        self._socket = self._tls.wrap_socket(self._socket, server_hostname="localhost")

    def close(self) -> None:
        """Close."""
        self._socket.close()

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _fill(self) -> None:
        try:
            data = self._socket.recv(65_536)
        except TimeoutError:
            raise Mismatch("nothing came") from None
        except ConnectionResetError:
            data = b""
        if not data:
            raise EOFError
        self._buffer += data if self._in is None else self._in.decompress(data)

    def response(self) -> str:
        """One response, its literals as quoted strings, without its CRLF. Raise EOFError, Mismatch."""
        text = b""
        while True:
            end = self._buffer.find(b"\n")
            while end < 0:
                self._fill()
                end = self._buffer.find(b"\n")
            line = self._take(end + 1)
            if not line.endswith(b"\r\n"):
                raise Mismatch(f"a line must end in CRLF: {line!r}")
            found = _LITERAL.search(line)
            if found is None:
                return normalise((text + line[:-2]).decode("utf-8", "backslashreplace"))
            value = self._take(int(found[1])).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\r\n", rb"\r\n")
            text += line[: found.start()] + b'"' + value + b'"'


class Run:
    """One run of a dialog against a server."""

    def __init__(self, dialog: Dialog, connect: Connect, kept: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        """Prepare. `connect` opens a connection; `kept` has `user` and `password`."""
        self._dialog = dialog
        self._connect = connect
        self._tls = tls
        plain = b64encode("\0{user}\0{password}".format_map(kept).encode()).decode("ascii")
        self._kept = {**kept, "plain": plain, "crlf": "\r\n"}
        self._peers: dict[int, Peer] = {}
        self._held: dict[int, str] = {}  # a response read that an optional line did not want
        self._log: list[str] = []

    def play(self) -> None:
        """Play it all. Raise Mismatch with what was said so far."""
        lines = self._dialog.lines
        index = 0
        try:
            while index < len(lines):
                index = self._step(lines, index)
            for number, held in self._held.items():
                raise Mismatch(f"connection {number} said more: {held}")
        except (Mismatch, EOFError, OSError) as error:
            at = lines[min(index, len(lines) - 1)]
            said = "\n".join(self._log[-40:])
            why = str(error) or "the server closed"
            raise Mismatch(f"{self._dialog.name}:{at.number}: {at.text}\n{why}\n--- so far\n{said}") from None
        finally:
            for peer in self._peers.values():
                peer.close()

    def _peer(self, number: int) -> Peer:
        if number not in self._peers:
            self._peers[number] = Peer(self._connect(), self._tls)
        return self._peers[number]

    def _step(self, lines: tuple[Line, ...], index: int) -> int:
        line = lines[index]
        match line.who:
            case "C":
                return self._client(lines, index)
            case "L":
                return self._literal(lines, index)
            case "T":
                self._peer(line.connection).start_tls()
            case "Z":
                self._peer(line.connection).deflate()
            case "X":
                self._peers.pop(line.connection).close()
            case _:
                return self._server(lines, index)
        return index + 1

    def _fill_in(self, text: str) -> str:
        return _WILD.sub(lambda found: self._kept.get(found[4] or "", found[0]), text)

    def _client(self, lines: tuple[Line, ...], index: int) -> int:
        line = lines[index]
        text = self._fill_in(line.text)
        if text.endswith(("{}", "{+}", "~{}", "~{+}")):
            begin = next((i for i in range(index + 1, len(lines)) if lines[i].who == "L"), None)
            if begin is None:
                raise DialogFault(f"{self._dialog.name}:{line.number}: no L: lines")
            text = text[: text.rindex("{") + 1] + str(len(self._octets(lines, begin)[0])) + text[text.rindex("{") + 1 :]
        self._log.append(f"C{line.connection}: {text}")
        self._peer(line.connection).send(text.encode("utf-8") + b"\r\n")
        return index + 1

    def _octets(self, lines: tuple[Line, ...], index: int) -> tuple[bytes, int]:
        octets = b""
        while index < len(lines) and lines[index].who == "L":
            octets += self._fill_in(lines[index].text).encode("utf-8") + b"\r\n"
            index += 1
        return octets, index

    def _literal(self, lines: tuple[Line, ...], index: int) -> int:
        octets, after = self._octets(lines, index)
        self._log.append(f"C{lines[index].connection}: ({len(octets)} octets)")
        self._peer(lines[index].connection).send(octets)
        return after

    # -- the server's lines

    def _next(self, number: int, *, recent: bool = False) -> str:
        held = self._held.pop(number, None)
        if held is not None:
            return held
        while True:
            text = self._peer(number).response()
            self._log.append(f"S{number}: {text}")
            if recent or not _RECENT.fullmatch(text):
                return text

    def _server(self, lines: tuple[Line, ...], index: int) -> int:
        line = lines[index]
        if line.how == "~":
            return self._group(lines, index)
        if line.text == "{closed}":
            try:
                text = self._next(line.connection)
            except EOFError:
                return index + 1
            raise Mismatch(f"the server should have closed, but said: {text}")
        if line.text == "...":
            wanted = lines[index + 1]
            while not matches(wanted.text, text := self._next(line.connection), self._kept):
                if not text.startswith("* "):
                    raise Mismatch(f"expected {wanted.text}\nbut it said {text}")
            return index + 2
        text = self._next(line.connection)
        if matches(line.text, text, self._kept):
            return index + 1
        if line.how == "?":
            self._held[line.connection] = text
            return index + 1
        raise Mismatch(f"expected {normalise(line.text)}\nbut it said {text}")

    def _group(self, lines: tuple[Line, ...], index: int) -> int:
        group = []
        connection = lines[index].connection
        while index < len(lines) and lines[index].how == "~" and lines[index].connection == connection:
            group.append(lines[index].text)
            index += 1
        others = "..." in group
        wanted = [text for text in group if text != "..."]
        while wanted:
            text = self._next(connection, recent=any("RECENT" in pattern for pattern in wanted))
            hit = next((pattern for pattern in wanted if matches(pattern, text, self._kept)), None)
            if hit is not None:
                wanted.remove(hit)
            elif not others or not text.startswith("* "):
                raise Mismatch("expected one of\n  " + "\n  ".join(wanted) + f"\nbut it said {text}")
        if others:
            # What else comes up to the tagged line is nobody's business.
            while (text := self._next(connection)).startswith("* "):
                pass
            self._held[connection] = text
        return index


def play(dialog: Dialog, connect: Connect, *, user: str, password: str, tls: ssl.SSLContext | None = None) -> None:
    """Play a dialog against a server. Raise Mismatch, DialogFault."""
    Run(dialog, connect, {"user": user, "password": password}, tls).play()
