"""Log lines of a constant message and named fields, on the standard library's logging.

Owns how a line looks and what may never stand in one. One logger a folder: `log = logger("imap")`, then
`log.info("login", account=..., result=...)`. The connection a line belongs to comes from a context variable, so that
no call has to carry it. `configure` chooses between lines for people (with syslog levels when the journal reads) and JSON.

Never writes message contents. A field whose name says that it is a credential is replaced whatever its caller thought;
a dialog goes through `redact` first. What a peer sent cannot forge a line: control characters are escaped, long values cut.
"""

import json
import logging
import os
import re
import secrets
import sys
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TextIO

connection_id: ContextVar[str] = ContextVar("connection_id", default="")
"""Short random name of the connection being served; set once by the shell that accepted it."""

REDACTED = "<redacted>"
_ROOT = "preau"
_MAX_VALUE = 300  # characters of one field
_SECRET_NAMES = re.compile(
    r"(?:^|_)(?:secret|password|passwd|ticket|token|pepper|blob|kek|dek|authorization|cookie|initial|(?:secret|private|index|cache)_key)(?:$|_)",
    re.IGNORECASE,
)
_SYSLOG = {logging.DEBUG: "<7>", logging.INFO: "<6>", logging.WARNING: "<4>", logging.ERROR: "<3>", logging.CRITICAL: "<2>"}
_BARE = re.compile(r"[A-Za-z0-9@._:/+*<>\[\],-]+\Z", re.ASCII)
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


class Logger:
    """A logger of one folder. Fields are keyword arguments; their order is kept."""

    __slots__ = ("_logger",)

    def __init__(self, folder: str) -> None:
        """Log as `preau.<folder>`."""
        self._logger = logging.getLogger(f"{_ROOT}.{folder}")

    def is_debug(self) -> bool:
        """Whether debug lines go anywhere: ask before working one out."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, message: str, /, **fields: object) -> None:
        """What happens inside; the dialog, redacted."""
        self._log(logging.DEBUG, message, fields)

    def info(self, message: str, /, **fields: object) -> None:
        """One line a session, a delivery, a login."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, /, **fields: object) -> None:
        """Something an operator should look at when it repeats."""
        self._log(logging.WARNING, message, fields)

    def error(self, message: str, /, **fields: object) -> None:
        """Something that did not work and should have."""
        self._log(logging.ERROR, message, fields)

    def incident(self, message: str, error: BaseException, /, **fields: object) -> str:
        """Log an unforeseen exception with its traceback; the id returned is what the client may be told."""
        incident = secrets.token_hex(4)
        self._log(logging.ERROR, message, {"incident": incident, **fields}, error)
        return incident

    def _log(self, level: int, message: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            # Made here: Logger.log walks the stack to find its caller, whom no line of ours names.
            failure = None if error is None else (type(error), error, error.__traceback__)
            record = logging.LogRecord(self._logger.name, level, "", 0, "%s", (message,), failure)
            record.fields = fields
            self._logger.handle(record)


def logger(folder: str) -> Logger:
    """The logger of a folder: `logger("smtp")` writes as `preau.smtp`."""
    return Logger(folder)


def configure(level: str = "INFO", *, json_lines: bool = False, stream: TextIO | None = None) -> None:
    """Send every log line to `stream` (standard error). Raise ValueError for a level that does not exist.

    Lines get syslog prefixes when standard error is the journal (JOURNAL_STREAM is set).
    """
    numeric = logging.getLevelNamesMapping().get(level.upper())
    if numeric is None:
        raise ValueError(f"no such log level: {level}")
    handler = logging.StreamHandler(stream or sys.stderr)
    journal = stream is None and "JOURNAL_STREAM" in os.environ
    handler.setFormatter(JsonFormatter() if json_lines else TextFormatter(journal=journal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # other people's libraries
    logging.getLogger(_ROOT).setLevel(numeric)
    # No line names a thread or process, and finding them out takes longer than writing the line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.raiseExceptions = False  # a closed standard error is no reason to lose a message


class TextFormatter(logging.Formatter):
    """`2026-11-25T10:00:00Z info imap [k3x9] login account=... result=ok`; the journal adds time and level itself."""

    def __init__(self, *, journal: bool) -> None:
        """`journal`: prefix lines with `<6>` instead of time and level."""
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines of its own."""
        prefix = _SYSLOG.get(record.levelno, "<6>") if self._journal else f"{_utc(record)} {record.levelname.lower()} "
        parts = [record.name.removeprefix(f"{_ROOT}."), printable(record.getMessage())]
        if connection := connection_id.get():
            parts.insert(1, f"[{connection}]")
        parts += [f"{name}={_quoted(value)}" for name, value in _fields(record).items()]
        line = prefix + " ".join(parts)
        if record.exc_info and record.exc_info[0]:
            # The journal would give each further line its own default level.
            trace = self.formatException(record.exc_info)
            line += "\n" + (trace if not self._journal else "\n".join("<3>" + each for each in trace.splitlines()))
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, connection, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The object, on one line."""
        line: dict[str, Any] = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name.removeprefix(f"{_ROOT}."),
            "message": record.getMessage(),
        }
        if connection := connection_id.get():
            line["connection"] = connection
        for name, value in _fields(record).items():
            line[name if name not in line else f"{name}_"] = value
        if record.exc_info and record.exc_info[0]:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def new_connection_id() -> str:
    """A name for a connection: eight characters, unique enough to follow it through the log."""
    return secrets.token_hex(4)


def printable(text: str) -> str:
    """The text with everything escaped that could end a line or move a terminal's cursor, cut at 300 characters."""
    if len(text) > _MAX_VALUE:
        text = text[:_MAX_VALUE] + "..."
    text = text.translate(_ESCAPED)
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


# AUTH, AUTHENTICATE and LOGIN may carry credentials behind them; an IMAP command has its tag in front.
_CREDENTIALS = re.compile(
    rb"^\s*((?:[^\s]{1,64}\s+)?(?:AUTH(?:ENTICATE)?\s+[^\s]+|LOGIN(?:\s+[^\s]+)?))(?:\s+.*)?$", re.IGNORECASE | re.DOTALL
)


def redact(line: bytes) -> str:
    """A line of a dialog as the debug log may show it: no credentials (they are replaced, not shortened)."""
    if found := _CREDENTIALS.match(line.rstrip(b"\r\n")):
        return printable(found[1].decode("utf-8", "replace")) + " " + REDACTED
    return printable(line.rstrip(b"\r\n").decode("utf-8", "replace"))


def _utc(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=4)
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return {name: REDACTED if _is_secret(name) else _plain(value) for name, value in fields.items()}


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} octets>"  # whatever it is, it is content or a key
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= _MAX_VALUE else text[:_MAX_VALUE] + "..."


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if _BARE.match(text) else f'"{printable(text)}"'
