import io
import json
import logging
from collections.abc import Iterator

import pytest

from preau.daemon import log as daemon_log
from preau.daemon.log import configure, connection_id, logger, redact


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("preau")
    before = (root.handlers[:], root.level, ours.level, logging.raiseExceptions)
    yield
    root.handlers[:], root.level, logging.raiseExceptions = before[0], before[1], before[3]
    ours.setLevel(before[2])


def lines(json_lines: bool = False) -> io.StringIO:
    stream = io.StringIO()
    configure("debug", json_lines=json_lines, stream=stream)
    return stream


def test_a_line_has_its_connection_and_its_fields_in_order() -> None:
    stream = lines()
    token = connection_id.set("k3x9")
    logger("imap").info("login", account="abc", result="ok", address="2001:db8::1", tries=3, tls=True)
    connection_id.reset(token)
    assert stream.getvalue().split(" ", 1)[1] == (
        "info imap [k3x9] login account=abc result=ok address=2001:db8::1 tries=3 tls=yes\n"
    )


@pytest.mark.parametrize(
    "name",
    ["secret", "password", "new_password", "ticket", "token", "access_token", "pepper", "kek", "secret_key", "Authorization"],
)
@pytest.mark.parametrize("json_lines", [False, True])
def test_credentials_never_stand_in_a_line(name: str, json_lines: bool) -> None:
    stream = lines(json_lines)
    logger("auth").error("login", **{name: "hunter2"})
    logger("auth").error("bytes", key=b"hunter2")
    assert "hunter2" not in stream.getvalue()
    assert "<redacted>" in stream.getvalue()


def test_a_peer_cannot_forge_a_line_or_move_a_cursor() -> None:
    stream = lines()
    logger("smtp").info("helo", name='a\r\n2026 info auth login account="root"\x1b[2J\u202e', long="x" * 5000)
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()
    assert len(stream.getvalue()) < 500


def test_json_lines_are_objects() -> None:
    stream = lines(json_lines=True)
    logger("smtp").info("delivered", size=3, message="not the message")
    line = json.loads(stream.getvalue())
    assert (line["logger"], line["message"], line["level"], line["size"]) == ("smtp", "delivered", "info", 3)
    assert line["message_"] == "not the message"


@pytest.mark.parametrize("json_lines", [False, True])
def test_an_incident_has_an_id_and_a_traceback(json_lines: bool) -> None:
    stream = lines(json_lines)
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError as error:
        incident = logger("daemon").incident("unhandled", error, op="x")
    assert incident in stream.getvalue()
    assert "ZeroDivisionError: why" in stream.getvalue()


def test_the_journal_gets_levels_on_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    formatter = daemon_log.TextFormatter(journal=True)
    try:
        raise ValueError("x")
    except ValueError as error:
        record = logging.LogRecord("preau.imap", logging.ERROR, "", 0, "failed", None, (ValueError, error, error.__traceback__))
    assert all(line.startswith("<3>") for line in formatter.format(record).splitlines())


def test_levels() -> None:
    with pytest.raises(ValueError, match="no such log level: loud"):
        configure("loud")
    stream = io.StringIO()
    configure("INFO", stream=stream)
    logger("imap").debug("hidden")
    assert not logger("imap").is_debug()
    logging.getLogger("somebody").info("hidden")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        pytest.param(b"AUTH PLAIN AGEAYg==\r\n", "AUTH PLAIN <redacted>", id="smtp"),
        pytest.param(b"a1 AUTHENTICATE PLAIN AGEAYg==", "a1 AUTHENTICATE PLAIN <redacted>", id="imap with initial response"),
        pytest.param(b"a1 login user@example.com hunter2", "a1 login user@example.com <redacted>", id="imap login"),
        pytest.param(b'a1 LOGIN "a b" "hunter2"', 'a1 LOGIN \\"a <redacted>', id="imap login quoted"),
        pytest.param(b"LHLO client.example", "LHLO client.example", id="nothing to hide"),
        pytest.param(b"\x00\xff\r\n", "\\x00\ufffd", id="junk"),
    ],
)
def test_redact(line: bytes, shown: str) -> None:
    assert redact(line) == shown
    assert "hunter2" not in redact(line)
