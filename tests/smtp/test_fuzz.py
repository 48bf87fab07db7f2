import random
import re
from pathlib import Path

import pytest

import own_smtp
from lmtp import World, run
from own_smtp import run as run_service
from preau.smtp.delivery import DeliverySettings
from preau.smtp.modes import SessionLimits
from preau.smtp.server import SmtpSettings

TOKENS = [
    *(b"LHLO a\r\n", b"EHLO a\r\n", b"MAIL FROM:<>\r\n", b"MAIL FROM:<x@y> SIZE=5\r\n", b"RCPT TO:<anne@example.com>\r\n"),
    *(
        b"RCPT TO:<nobody@example.com>\r\n",
        b"RCPT TO:<bob@example.com>\r\n",
        b"DATA\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"VRFY x\r\n",
    ),
    *(b".\r\n", b"\r\n.\r\n", b"..\r\n", b"\n.\n", b"\r", b"\n", b"\x00", b"\xff\xfe", b"Subject: x\r\n", b"\r\n", b"x" * 5000),
    *(
        b"BDAT 0\r\n",
        b"BDAT 5\r\n12345",
        b"BDAT 5 LAST\r\n1\r\n23",
        b"BDAT 3\r\n\r\n.",
        b"BDAT 0 LAST\r\n",
        b"BDAT 9999999999 LAST\r\n",
    ),
    *(b"STARTTLS\r\n", b"AUTH PLAIN AAAA\r\n", b"HELP\r\n", b"MAIL FROM:<\xc3\xa9@y> SMTPUTF8\r\n", b"Received: x\r\n" * 30),
]
LINE = re.compile(rb"[2-5][0-9][0-9](?:-[!-~ ]*|(?: [!-~ ]+))\r\n")


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_is_answered_in_the_protocols_words(tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)

    async def test(world: World) -> None:
        for _ in range(60):
            client = await world.connect(hello=False)
            data = b"LHLO a\r\n" + b"".join(chance.choices(TOKENS, k=chance.randrange(1, 40)))
            while data:
                cut = chance.choice([1, 7, 100, len(data)])
                await client.say(data[:cut])
                data = data[cut:]
            client.writer.write_eof()
            try:
                answers = await client.reader.read()
            except ConnectionError:
                continue  # closed with input unread
            assert LINE.sub(b"", answers) == b""
            assert b"reference" not in answers
        world.auth.addresses["anne@example.com"] = world.auth.addresses["bob@example.com"]
        client = await world.connect()
        assert (await client.ask("NOOP")).startswith("250")

    run(tmp_path, test, DeliverySettings(received=20, limits=SessionLimits(message_size=2_000)))
    assert "incident" not in caplog.text


@pytest.mark.parametrize("name", ["smtp", "submission"])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_from_outside(tmp_path: Path, seed: int, name: str, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    sign_in = f"AUTH PLAIN {own_smtp.plain('anne@ecole.example', own_smtp.PASSWORD)}\r\n".encode()
    tokens = [token.replace(b"example.com", b"ecole.example").replace(b"LHLO", b"HELO") for token in TOKENS]
    tokens += [
        sign_in,
        b"AUTH LOGIN\r\n",
        b"*\r\n",
        b"MAIL FROM:<anne@ecole.example>\r\n",
        b"From: anne@ecole.example\r\n",
        b"POST / x\r\n",
    ]

    async def test(world: own_smtp.World) -> None:
        for _ in range(40):
            client = await world.connect(name)
            await client.reply()
            await client.ask("EHLO x")
            if name == "submission" and chance.random() < 0.8:
                await client.sign_in()
            data = b"".join(chance.choices(tokens, k=chance.randrange(1, 40)))
            try:
                while data:
                    cut = chance.choice([1, 7, 100, len(data)])
                    await client.say(data[:cut])
                    data = data[cut:]
                client.writer.write_eof()
                answers = await client.reader.read()
            except (ConnectionError, OSError):
                continue  # closed with input unread
            assert LINE.sub(b"", answers) == b""
            assert b"reference" not in answers
        for envelope, message in world.queued():
            assert message.startswith(b"Received: ")
            assert re.search(rb"\r(?!\n)|(?<!\r)\n", message) is None
            assert envelope.recipients
        client = await world.connect(name)
        await client.ehlo()

    limits = SessionLimits(message_size=2_000)
    run_service(tmp_path, test, SmtpSettings(domain="ecole.example", plaintext_ok=True, received=20, limits=limits))
    assert "incident" not in caplog.text
