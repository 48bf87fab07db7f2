"""Peers that are slow, endless or do not listen: bounded in time and in memory, a clear answer, nothing lost."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from own_smtp import LIMITS, World, run
from preau.smtp.server import SmtpSettings

MESSAGE = b"From: anne@ecole.example\r\nSubject: x\r\n\r\nhello\r\n"


def settings(**limits: float) -> SmtpSettings:
    return SmtpSettings(
        domain="ecole.example",
        plaintext_ok=True,
        login_seconds=limits.pop("login_seconds", 120.0),
        handshake_seconds=limits.pop("handshake_seconds", 30.0),
        limits=replace(LIMITS, **limits),  # type: ignore[arg-type]  # numbers by name
    )


@pytest.mark.parametrize("where", ["nothing", "half a command", "endless command", "auth", "data", "header", "chunk"])
def test_who_is_too_slow_is_told_so(tmp_path: Path, where: str) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in() if where in ("data", "header", "chunk") else await world.connect("submission")
        match where:
            case "auth":
                await client.ehlo()
                await client.ask("AUTH LOGIN")
            case "data" | "header" | "chunk":
                await client.say("MAIL FROM:<anne@ecole.example>\r\nRCPT TO:<bob@ecole.example>\r\n")
                await client.replies(2)
                if where == "chunk":
                    await client.say(b"BDAT 1000 LAST\r\n" + MESSAGE)
                else:
                    await client.ask("DATA")
                    await client.say(MESSAGE if where == "data" else b"Subject: ")
            case _:
                await client.reply()
                await client.say({"nothing": b"", "half a command": b"EHL", "endless command": b"EHLO " + b"x" * 5_000}[where])
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.reply() == ""
        assert world.queued() == []

    run(tmp_path, test, settings(command_seconds=0.2, block_seconds=0.2))


@pytest.mark.parametrize("octet", [b"x", b"NOOP\r\n", b"EHLO x\r\n"], ids=["a line", "noop", "ehlo"])
def test_whatever_it_says_who_does_not_sign_in_has_to_go(tmp_path: Path, octet: bytes) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        answers = {"250"}
        while answers <= {"250"}:
            await client.say(octet)
            await asyncio.sleep(0.02)
            if octet != b"x" or client.reader._buffer or client.reader.at_eof():  # type: ignore[attr-defined]  # what came unasked
                answers.add((await client.reply())[:3])
        assert answers <= {"250", "421", ""}  # the answer may be lost on who still sends

    run(tmp_path, test, settings(login_seconds=0.4))


def test_a_message_may_not_take_for_ever(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("smtp")
        await client.ehlo()
        for line in ("MAIL FROM:<>", "RCPT TO:<bob@ecole.example>", "DATA"):
            await client.ask(line)
        while not client.reader._buffer and not client.reader.at_eof():  # type: ignore[attr-defined]  # what came unasked
            await client.say(b"x")
            await asyncio.sleep(0.01)
        assert (await client.reply())[:9] in ("421 4.4.2", "")  # the answer may be lost on who still sends
        assert world.queued() == []

    run(tmp_path, test, settings(message_seconds=0.3))


@pytest.mark.parametrize("where", ["command", "auth"])
def test_an_endless_line_is_given_up(tmp_path: Path, where: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        if where == "auth":
            await client.ask("AUTH PLAIN")
        for _ in range(100):
            await client.say(b"x" * 1_000)
        assert (await client.reply()).startswith("500 5.5.2")
        assert await client.reply() == ""

    run(tmp_path, test, settings())


def test_a_line_of_a_message_may_be_long(tmp_path: Path) -> None:
    # RFC 5321 section 4.5.3.1.6 asks for 998; breaking a line would break signatures.
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        assert (await client.send(MESSAGE + b"x" * 50_000 + b"\r\n", "bob@ecole.example", sender="")).startswith("250")

    run(tmp_path, test, settings())


def test_who_does_not_read_answers_is_cut_off(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's has it
        try:
            while True:
                await client.say(b"HELP\r\n" * 10_000)
                await client.writer.drain()
        except ConnectionError:
            pass

    run(tmp_path, test, settings(idle_commands=10_000_000))


def test_who_goes_away_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        for many in range(20):
            client = await world.connect()
            await client.ehlo()
            for line in ("MAIL FROM:<>", "RCPT TO:<bob@ecole.example>", "DATA"):
                await client.ask(line)
            await client.say(MESSAGE * (many + 1))
            client.writer.transport.abort()
        # `run` looks for drafts and for connections that are still counted.

    run(tmp_path, test, settings())


def test_slow_ones_do_not_keep_others_waiting(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        slow = [await world.connect() for _ in range(15)]
        for client in slow:
            await client.say(b"EH")
        quick = await world.connect()
        await quick.ehlo()
        assert (await quick.send(MESSAGE, "bob@ecole.example", sender="")).startswith("250")

    run(tmp_path, test, settings())
