"""What somebody puts into the clear part of a connection is not acted upon under TLS (RFC 3207 section 4.2)."""

import ssl
from pathlib import Path

import pytest

from own_smtp import LIMITS, World, plain, run
from preau.smtp.server import SmtpSettings

SETTINGS = SmtpSettings(domain="ecole.example", plaintext_ok=True, handshake_seconds=0.3, limits=LIMITS)
MESSAGE = b"From: anne@ecole.example\r\nSubject: x\r\n\r\nhello\r\n"

INJECTED = {
    "noop": b"NOOP\r\n",
    "a transaction": b"EHLO evil\r\nMAIL FROM:<evil@outside.example>\r\nRCPT TO:<bob@ecole.example>\r\n",
    "a sign-in": b"EHLO evil\r\nAUTH PLAIN " + plain("bob@ecole.example", "x").encode() + b"\r\n",
    "half a command": b"RCPT TO:<bob@ec",
    "octets": b"\x00\xff",
}


@pytest.mark.parametrize("injected", INJECTED.values(), ids=INJECTED)
@pytest.mark.parametrize("name", ["smtp", "submission"])
def test_behind_starttls_in_one_segment(tmp_path: Path, injected: bytes, name: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect(name)
        await client.ehlo()
        await client.say(b"STARTTLS\r\n" + injected)
        assert (await client.reply()).startswith("554 5.5.0")
        assert await client.reply() == ""
        assert world.auth.attempts == []

    run(tmp_path, test, SETTINGS, with_tls=True)


@pytest.mark.parametrize("injected", INJECTED.values(), ids=INJECTED)
def test_behind_starttls_in_the_next_segment(tmp_path: Path, injected: bytes) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        assert (await client.ask("STARTTLS")).startswith("220 2.0.0")
        await client.say(injected)
        client.writer.write_eof()
        # An alert of TLS at most: never a line of SMTP.
        answer = await client.reader.read(1_000)
        assert not answer[:1].isdigit()
        assert world.auth.attempts == []

    run(tmp_path, test, SETTINGS, with_tls=True)


def test_what_was_said_in_the_clear_is_forgotten(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("smtp")
        await client.ehlo()
        await client.ask("MAIL FROM:<evil@outside.example>")
        await client.ask("RCPT TO:<bob@ecole.example>")
        assert (await client.ask("STARTTLS")).startswith("220")
        await client.writer.start_tls(world.client_tls, server_hostname="localhost")
        for line in ("DATA", "RCPT TO:<anne@ecole.example>", "MAIL FROM:<>", "BDAT 0 LAST"):
            assert (await client.ask(line)).startswith("503 5.5.1"), line  # not even EHLO was said
        await client.ask("EHLO client.example")
        assert (await client.ask("STARTTLS")).startswith("503 5.5.1")
        assert (await client.send(MESSAGE, "anne@ecole.example", sender="")).startswith("250")
        ((envelope, message),) = world.queued()
        assert [each.address for each in envelope.recipients] == ["anne@ecole.example"]
        assert b"evil" not in message

    run(tmp_path, test, SETTINGS, with_tls=True)


def test_chunks_begun_in_the_clear_are_forgotten(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("smtp")
        await client.ehlo()
        await client.say(b"MAIL FROM:<>\r\nRCPT TO:<bob@ecole.example>\r\nBDAT 15\r\nX-Evil: in front")
        await client.replies(2)
        assert (await client.reply()).startswith("250")
        # The octet beyond the count is the beginning of a command.
        assert (await client.ask("")).startswith("500")
        await client.start_tls(world.client_tls)
        assert (await client.ask("BDAT 0 LAST")).startswith("503")
        assert world.queued() == []

    run(tmp_path, test, SETTINGS, with_tls=True)


def test_a_sign_in_in_the_clear_and_tls_do_not_mix(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        await client.sign_in()
        assert (await client.ask("STARTTLS")).startswith("503 5.5.1")

    run(tmp_path, test, SETTINGS, with_tls=True)


def test_no_reply_in_the_clear_behind_220(tmp_path: Path) -> None:
    # Response injection: everything we say after 220 is inside TLS, so a client may throw away what it has buffered.
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        assert (await client.ask("STARTTLS")).startswith("220")
        assert not client.reader._buffer  # type: ignore[attr-defined]  # what came with it
        await client.writer.start_tls(world.client_tls, server_hostname="localhost")
        assert (await client.ask("NOOP")).startswith("250")

    run(tmp_path, test, SETTINGS, with_tls=True)


def test_a_command_sent_with_the_end_of_the_handshake_is_heard(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        assert (await client.ask("STARTTLS")).startswith("220")
        await client.writer.start_tls(world.client_tls, server_hostname="localhost")
        await client.say("NOOP\r\n")  # leaves with the client's Finished
        assert (await client.reply()).startswith("250")

    run(tmp_path, test, SETTINGS, with_tls=True)


@pytest.mark.parametrize("name", ["submission", "submissions"])
def test_a_handshake_that_does_not_end_does(tmp_path: Path, name: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect(name)
        if name == "submission":
            await client.ehlo()
            await client.ask("STARTTLS")
        await client.say(b"\x16\x03\x01")
        assert await client.reader.read() == b""

    run(tmp_path, test, SETTINGS, with_tls=True)


def test_old_tls_is_not_spoken(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("AES128-SHA:@SECLEVEL=0")  # no forward secrecy
        client = await world.connect("submission")
        await client.ehlo()
        await client.ask("STARTTLS")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await client.writer.start_tls(old, server_hostname="localhost")

    run(tmp_path, test, SETTINGS, with_tls=True)


def test_who_speaks_plainly_to_implicit_tls_hears_nothing(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submissions")
        await client.say(b"EHLO plain.example\r\n")
        assert not (await client.reader.read())[:1].isdigit()

    run(tmp_path, test, SETTINGS, with_tls=True)
