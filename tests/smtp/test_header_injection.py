"""Line ends in everything that ends up in a header, an envelope or a reply: one header each, no recipient more."""

import re
import unicodedata
from email.parser import BytesParser
from pathlib import Path

import pytest

from own_smtp import PASSWORD, World, b64, run

MESSAGE = b"From: anne@ecole.example\r\nSubject: x\r\n\r\nhello\r\n"
PAYLOADS = {
    "cr lf": "\r\nX-Evil: 1",
    "lf": "\nX-Evil: 1",
    "cr": "\rX-Evil: 1",
    "nul": "\x00X-Evil: 1",
    "vertical tab": "\x0bX-Evil: 1",
    "form feed": "\x0cX-Evil: 1",
    "next line": "\x85X-Evil: 1",
    "line separator": "\u2028X-Evil: 1",
    "paragraph separator": "\u2029X-Evil: 1",
    "cr lf cr lf": "\r\n\r\nX-Evil: 1",
}


def xtext(text: str) -> str:
    return "".join(f"+{octet:02X}" if not 0x21 <= octet <= 0x7E or octet in b"+=" else chr(octet) for octet in text.encode())


FIELDS = {
    "ehlo": "EHLO client.example{}",
    "helo": "HELO client.example{}",
    "ehlo literal": "EHLO [192.0.2.1{}]",
    "mail": "MAIL FROM:<anne{}@ecole.example> SMTPUTF8",
    "mail quoted": 'MAIL FROM:<"anne{}"@ecole.example> SMTPUTF8',
    "mail domain": "MAIL FROM:<anne@ecole.example{}> SMTPUTF8",
    "envid": "MAIL FROM:<anne@ecole.example> ENVID=a{x}",
    "auth parameter": "MAIL FROM:<anne@ecole.example> AUTH=a{x}",
    "rcpt": "RCPT TO:<x{}@outside.example>",
    "rcpt quoted": 'RCPT TO:<"x{}"@outside.example>',
    "orcpt": "RCPT TO:<x@outside.example> ORCPT=rfc822;a{x}",
    "orcpt utf-8": "RCPT TO:<x@outside.example> ORCPT=utf-8;a{}",
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_nothing_with_a_line_end_is_taken(tmp_path: Path, field: str) -> None:
    async def test(world: World) -> None:
        for payload in PAYLOADS.values():
            client = await world.signed_in()
            if field.startswith("RCPT"):
                assert (await client.ask("MAIL FROM:<anne@ecole.example> SMTPUTF8")).startswith("250")
            line = field.replace("{x}", xtext(payload)).replace("{}", payload)
            await client.say(line + "\r\n")
            # What a line end cut off is a line of its own and no command; the rest may be one, without the payload.
            count = len(re.findall("\n", line)) + 1
            answers = [await client.reply() for _ in range(count)]
            cut_off = answers[0].startswith("554 5.5.0") and field[:4] in ("EHLO", "HELO")
            assert cut_off or answers[-1].startswith(("500", "501", "553")), (line, answers)
        assert world.queued() == []

    run(tmp_path, test)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_login_with_a_line_end_forges_no_log_line(tmp_path: Path, payload: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        answer = await client.ask(f"AUTH LOGIN {b64('anne@ecole.example' + payload)}")
        if "\x00" not in payload:
            answer = await client.ask(b64(PASSWORD))
        assert answer.startswith("501" if "\x00" in payload else "535")
        assert "Evil" not in answer

    run(tmp_path, test)
    assert all("Evil" not in record.getMessage() for record in caplog.records)
    assert PASSWORD not in caplog.text


def test_what_is_taken_gives_one_header(tmp_path: Path) -> None:
    # The longest and strangest that the grammar allows, in every place at once.
    odd = "".join(chr(n) for n in range(0x20, 0x7F) if chr(n) not in '"\\')
    quoted = f'"{odd}\\"\\\\"'

    async def test(world: World) -> None:
        world.auth.addresses["postmaster@ecole.example"] = world.auth.addresses["anne@ecole.example"]
        client = await world.connect()
        await client.reply()
        assert (await client.ask("EHLO " + "é" * 20 + ".example")).startswith("250")
        assert (await client.ask(f"MAIL FROM:<{quoted}@x.example> SMTPUTF8 ENVID={xtext(odd)}")).startswith("250")
        assert (await client.ask(f"RCPT TO:<postmaster@ecole.example> ORCPT=rfc822;{xtext(odd)}")).startswith("250")
        await client.ask("DATA")
        await client.say(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
        ((envelope, message),) = world.queued()
        assert envelope.reverse_path == f"{quoted}@x.example"
        assert envelope.envid == odd
        assert not any(unicodedata.category(each) == "Cc" for each in envelope.reverse_path + envelope.envid)
        parsed = BytesParser().parsebytes(message)
        assert parsed.keys() == ["Received", "From", "Subject"]

    run(tmp_path, test)
