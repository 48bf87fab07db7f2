import asyncio
import threading
from pathlib import Path

import pytest

from own_smtp import LIMITS, NOW, World, run
from preau.auth.api import AuthUnavailable
from preau.smtp.modes import SessionLimits
from preau.smtp.server import SmtpSettings
from preau.smtp.spool import Envelope, Spool, SpoolRecipient, SpoolWriter
from preau.storage.api import Unavailable

MESSAGE = b"From: x@outside.example\r\nSubject: x\r\n\r\nhello\r\n"


def test_a_message_from_outside_lies_in_the_spool_when_250_was_said(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        assert await client.ehlo() == (
            "250-mx.ecole.example|250-PIPELINING|250-8BITMIME|250-SMTPUTF8|250-ENHANCEDSTATUSCODES|250-CHUNKING|250-DSN"
            "|250 SIZE 100000"
        )
        answer = await client.send(MESSAGE, "anne@ecole.example", "bob+list@ecole.example", sender="x@outside.example")
        ((envelope, message),) = world.queued()
        (identifier,) = world.spool.incoming()
        assert answer == f"250 2.0.0 ok, queued as {identifier}"
        assert envelope == Envelope(
            "x@outside.example",
            (SpoolRecipient("anne@ecole.example"), SpoolRecipient("bob+list@ecole.example")),
            NOW,
            len(message),
            peer="127.0.0.1",
        )
        assert message == (
            f"Received: from client.example ([127.0.0.1])\r\n\tby mx.ecole.example with ESMTP id {identifier}; "
            "Wed, 25 Nov 2026 02:05:07 +0000\r\n".encode()
            + MESSAGE
        )

    run(tmp_path, test)


def test_what_the_sender_asked_for_is_kept(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        mail = "MAIL FROM:<x@outside.example> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb SIZE=20"
        assert (await client.ask(mail)).startswith("250")
        rcpt = "RCPT TO:<élise@ecole.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;e+2Bf@old.example"
        assert (await client.ask(rcpt)).startswith("250")
        assert (await client.ask(rcpt)).startswith("250")  # said twice is written to once
        await client.ask("DATA")
        await client.say(b"Subject: \xc3\xa9\r\n\r\n.\r\n")
        assert (await client.reply()).startswith("250")
        ((envelope, message),) = world.queued()
        assert (envelope.body, envelope.smtputf8, envelope.ret, envelope.envid) == ("8BITMIME", True, "HDRS", "a+b")
        assert envelope.recipients == (
            SpoolRecipient("élise@ecole.example", frozenset({"SUCCESS", "FAILURE"}), "rfc822;e+f@old.example"),
        )
        assert b"with UTF8SMTP id" in message

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("recipient", "answer"),
    [
        ("nobody@ecole.example", "550 5.1.1"),
        ("moved@ecole.example", "450 4.2.1"),
        ("broken@ecole.example", "451 4.3.0"),
        ("someone@elsewhere.example", "550 5.7.1"),
        ("élise@ecole.example", "553 5.6.7"),
        ("full@ecole.example", "452 4.2.2"),
        ("tous@ecole.example", "250 2.1.5"),
        ("ailleurs@ecole.example", "250 2.1.5"),
        ("ANNE@Ecole.Example", "250 2.1.5"),
        ("postmaster", "550 5.1.1"),
    ],
)
@pytest.mark.parametrize("told", [True, False], ids=["auth tells domains", "settings tell domains"])
def test_recipients(tmp_path: Path, recipient: str, answer: str, told: bool) -> None:
    class Full:
        async def refuses(self, address: str, size: int) -> bool:
            assert (address, size) == ("full@ecole.example", 500)
            return True

    async def test(world: World) -> None:
        world.auth.addresses["broken@ecole.example"] = AuthUnavailable("later")
        world.auth.tells_domains = told
        client = await world.connect()
        await client.ehlo()
        await client.ask("MAIL FROM:<> SIZE=500")
        assert (await client.ask(f"RCPT TO:<{recipient}>")).startswith(answer)

    run(tmp_path, test, rooms=Full())


def test_postmaster_without_a_domain_is_ours(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.auth.addresses["postmaster@ecole.example"] = world.auth.addresses["anne@ecole.example"]
        client = await world.connect()
        await client.ehlo()
        await client.send(MESSAGE, "postmaster", sender="")
        ((envelope, message),) = world.queued()
        assert envelope.recipients[0].address == "postmaster@ecole.example"
        assert b"\tfor <postmaster@ecole.example>; " in message

    run(tmp_path, test)


def test_too_large_is_told_at_mail_and_while_it_comes(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        assert (await client.ask("MAIL FROM:<> SIZE=100001")).startswith("552 5.3.4")
        answer = await client.send(MESSAGE + b"x" * 99_000 + b"\r\n" + b"y" * 999 + b"\r\n", "anne@ecole.example", sender="")
        assert answer.startswith("552 5.3.4")
        assert (await client.send(MESSAGE, "anne@ecole.example", sender="")).startswith("250")
        assert len(world.queued()) == 1

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (
            b"Return-Path: <x@y>\r\nSubject: x\r\nRETURN-PATH : <z@y>\r\n (c)\r\n\r\nReturn-Path: body\r\n",
            b"Subject: x\r\n\r\nReturn-Path: body\r\n",
        ),
        (b"\r\nno header\r\n", b"\r\nno header\r\n"),
        (b"no header at all\r\n", b"\r\nno header at all\r\n"),
        (b"Subject: x\r\nno field\r\nBcc: a@b\r\n\r\n", b"Subject: x\r\n\r\nno field\r\nBcc: a@b\r\n\r\n"),
        (b"", b"\r\n"),
        (b"Bcc: a@b\r\n", b"Bcc: a@b\r\n\r\n"),
        (b"Subject: \x00\xff\r\n\r\n\x00\xff\r\n", b"Subject: \x00\xff\r\n\r\n\x00\xff\r\n"),
    ],
    ids=["return-path", "empty header", "no header", "broken header", "nothing", "no body", "octets"],
)
def test_a_header_is_left_alone_but_for_return_path(tmp_path: Path, message: bytes, kept: bytes) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        assert (await client.send(message, "anne@ecole.example", sender="")).startswith("250")
        ((_, stored),) = world.queued()
        received, _, rest = stored.partition(b" +0000\r\n")
        assert received.startswith(b"Received: ")
        assert rest == kept

    run(tmp_path, test)


def test_a_disk_that_is_nearly_full_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        monkeypatch.setattr(Spool, "free", lambda self: 300_000_000)
        large = b"Subject: x\r\n\r\n" + b"y" * 50_000 + b"\r\n"
        assert (await client.send(large, "anne@ecole.example")).startswith("250")
        monkeypatch.setattr(Spool, "free", lambda self: 268_435_456 - 1)
        await client.ask("MAIL FROM:<x@outside.example>")
        await client.ask("RCPT TO:<anne@ecole.example>")
        assert await client.ask("DATA") == "452 4.3.1 insufficient system storage, try again later"
        assert (await client.ask("NOOP")).startswith("250")
        assert len(world.queued()) == 1

    run(tmp_path, test)


def test_a_loop_ends(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        answer = await client.send(b"Received: by x\r\n" * 101 + MESSAGE, "anne@ecole.example", sender="")
        assert answer.startswith("554 5.4.6")
        assert world.queued() == []

    run(tmp_path, test)


def test_an_endless_header_is_refused(tmp_path: Path) -> None:
    settings = SmtpSettings(domain="ecole.example", header_size=1_000, limits=LIMITS)

    async def test(world: World) -> None:
        for endless in (b"X: y\r\n" + b" z\r\n" * 300, b"X: y\r\n" * 200, b"X: " + b"x" * 2_000):
            client = await world.connect()
            await client.ehlo()
            assert (await client.send(endless + b"\r\n\r\nbody\r\n" * 30, "anne@ecole.example", sender="")).startswith(
                "552 5.3.4"
            )
        client = await world.connect()
        await client.ehlo()
        # No header, but a long body: that is no fault.
        assert (await client.send(b"line\r\n" * 1_000, "anne@ecole.example", sender="")).startswith("250")
        assert len(world.queued()) == 1

    run(tmp_path, test, settings)


def test_limits_of_a_message_and_of_a_connection(tmp_path: Path) -> None:
    settings = SmtpSettings(domain="ecole.example", recipients=2, limits=SessionLimits(messages=1, errors=4))

    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        await client.ask("MAIL FROM:<>")
        answers = [await client.ask(f"RCPT TO:<{name}@ecole.example>") for name in ("anne", "bob", "anne", "tous")]
        assert [each[:9] for each in answers] == ["250 2.1.5", "250 2.1.5", "250 2.1.5", "452 4.5.3"]
        await client.ask("DATA")
        await client.say(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert (await client.ask("MAIL FROM:<>")).startswith("421 4.7.0")
        assert await client.reply() == ""

    run(tmp_path, test, settings)


def test_who_guesses_addresses_is_cut_off(tmp_path: Path) -> None:
    settings = SmtpSettings(domain="ecole.example", limits=SessionLimits(errors=4))

    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        await client.ask("MAIL FROM:<>")
        for name in "abcd":
            assert (await client.ask(f"RCPT TO:<{name}@ecole.example>")).startswith("550 5.1.1")
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.reply() == ""

    run(tmp_path, test, settings)


@pytest.mark.parametrize("where", ["new", "write", "commit"])
def test_a_full_disk_is_temporary_and_loses_nothing(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Unavailable("disk full")

    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        await client.ask("MAIL FROM:<>")
        await client.ask("RCPT TO:<anne@ecole.example>")
        with monkeypatch.context() as patched:
            patched.setattr(Spool if where == "new" else SpoolWriter, where, full)
            answer = await client.ask("DATA")
            if where != "new":
                await client.say(MESSAGE + b".\r\n")
                answer = await client.reply()
            assert answer.startswith("451 4.3.0")
        if where == "commit":
            for path in (tmp_path / "queue" / "tmp").iterdir():
                path.unlink()  # the real one aborts itself
        assert world.queued() == []
        assert (await client.send(MESSAGE, "anne@ecole.example", sender="")).startswith("250")

    run(tmp_path, test)


def test_what_began_to_be_made_durable_is_not_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    commit = SpoolWriter.commit

    def slow(writer: SpoolWriter, envelope: Envelope) -> str:
        began.set()
        assert go_on.wait(10)
        return commit(writer, envelope)

    monkeypatch.setattr(SpoolWriter, "commit", slow)

    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        for line in ("MAIL FROM:<>", "RCPT TO:<anne@ecole.example>", "DATA"):
            await client.ask(line)
        await client.say(MESSAGE + b".\r\n")
        await asyncio.to_thread(began.wait, 10)
        client.writer.transport.abort()
        await asyncio.sleep(0)
        go_on.set()

    world = run(tmp_path, test)
    assert len(world.queued()) == 1


def test_nothing_is_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    write = SpoolWriter.write

    def measured(writer: SpoolWriter, data: bytes) -> None:
        pieces.append(len(data))
        write(writer, data)

    monkeypatch.setattr(SpoolWriter, "write", measured)
    settings = SmtpSettings(domain="ecole.example")
    body = (b"x" * 998 + b"\r\n") * 8_000

    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        assert (await client.send(MESSAGE + body, "anne@ecole.example", sender="")).startswith("250")
        ((envelope, message),) = world.queued()
        assert message.endswith(body)
        assert envelope.size == len(message) == sum(pieces)
        assert max(pieces) <= 600_000

    run(tmp_path, test, settings)


def test_a_name_that_only_smtputf8_can_carry_is_left_out_without_it(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.reply()
        assert (await client.ask("EHLO hôte.example")).startswith("250")
        assert (await client.send(MESSAGE, "anne@ecole.example", sender="")).startswith("250")
        ((_, message),) = world.queued()
        assert message.startswith(b"Received: from unknown ([127.0.0.1])\r\n")

    run(tmp_path, test)
