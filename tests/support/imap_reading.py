"""Reads one IMAP command through the decoder: its arguments, or what is told instead."""

from preau.imap.decode import AFTER_LOGIN, Decoder
from preau.imap.values import Arguments, CommandReceived, Malformed, Refused


def read_command(line: bytes, *, utf8: bool = False) -> Arguments | str:
    """The arguments of the command in `line` (without tag and line end), or the text of BAD or NO."""
    decoder = Decoder(AFTER_LOGIN)
    decoder.utf8 = utf8
    events = decoder.receive(b"a " + line + b"\r\n")
    assert len(events) == 1, events
    match events[0]:
        case CommandReceived(command=command):
            return command.args
        case Malformed(text=text) | Refused(text=text):
            return text
        case event:
            raise AssertionError(event)
