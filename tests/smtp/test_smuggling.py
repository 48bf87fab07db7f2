"""SMTP smuggling: an end of data that one host sees and another does not, in what comes in and in what we keep to send."""

import re
from pathlib import Path

import pytest

from own_smtp import LIMITS, Client, World, run
from preau.smtp.server import SmtpSettings

HEAD = b"From: anne@ecole.example\r\nSubject: x\r\n\r\nfirst\r\n"
FORGED = b"MAIL FROM:<bob@ecole.example>\r\nRCPT TO:<bob@ecole.example>\r\nDATA\r\nSubject: forged\r\n\r\nforged\r\n"

BARE = rb"\r(?!\n)|(?<!\r)\n"
ENDS = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\x00\r\n", b"\x0b", b"\x0c", b"\xc2\x85", b"\xe2\x80\xa8"]
# Around a dot, every pair of line ends but the right one. Where the right end stands behind something, it ends the message.
PAIRS = {
    repr(before): [before + b"." + after for after in ENDS if (before[-2:], after) != (b"\r\n", b"\r\n")] for before in ENDS
}
PAIRS["others"] = [b"\r\n.", b"\r\n. \r\n", b"\r\n..\r\n", b"\r\n.\x00\r\n", b"\r\n.\r\r\n", b"\r\n\r.\r\n", b"\n\n.\n\n"]


async def transaction(client: Client, body: bytes) -> str:
    for line in ("MAIL FROM:<anne@ecole.example>", "RCPT TO:<bob@ecole.example>"):
        assert (await client.ask(line)).startswith("250")
    assert (await client.ask("DATA")).startswith("354")
    await client.say(body)
    return await client.reply()


@pytest.mark.parametrize("ends", PAIRS.values(), ids=PAIRS)
def test_reception_takes_one_message_or_none(tmp_path: Path, ends: list[bytes]) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        count = 0
        for end in ends:
            body = HEAD[:-2] + end + FORGED
            bare = re.search(BARE, body)
            answer = await transaction(client, body + b".\r\n")
            assert answer[:9] == ("550 5.5.2" if bare else "250 2.0.0"), end
            count += bare is None
            assert (await client.ask("NOOP")).startswith("250")  # nothing more was answered
            assert len(world.queued()) == count

    run(tmp_path, test)


@pytest.mark.parametrize("ends", PAIRS.values(), ids=PAIRS)
def test_submission_takes_one_message_without_anything_to_smuggle(tmp_path: Path, ends: list[bytes]) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        for end in ends:
            assert (await transaction(client, HEAD[:-2] + end + FORGED + b".\r\n")).startswith("250 2.0.0")
            assert (await client.ask("NOOP")).startswith("250")
        queued = world.queued()
        assert len(queued) == len(ends)
        for envelope, message in queued:
            assert envelope.reverse_path == "anne@ecole.example"
            assert b"forged" in message
            assert re.search(BARE, message) is None

    run(tmp_path, test)


@pytest.mark.parametrize("end", [b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n"], ids=repr)
@pytest.mark.parametrize("cut", ["before", "within", "behind"])
@pytest.mark.parametrize("name", ["smtp", "submission"])
def test_no_end_of_data_in_chunks(tmp_path: Path, end: bytes, cut: str, name: str) -> None:
    # RFC 3030: a dot means nothing in BDAT; only the count ends a chunk, only LAST ends the message.
    body = HEAD[:-2] + end + FORGED
    at = {"before": len(HEAD) - 2, "within": len(HEAD) - 2 + len(end) // 2, "behind": len(HEAD) - 2 + len(end)}[cut]

    async def test(world: World) -> None:
        client = await world.signed_in() if name == "submission" else await world.connect()
        if name == "smtp":
            await client.ehlo()
        await client.say("MAIL FROM:<anne@ecole.example>\r\nRCPT TO:<bob@ecole.example>\r\n")
        await client.say(f"BDAT {at}\r\n".encode() + body[:at] + f"BDAT {len(body) - at} LAST\r\n".encode() + body[at:])
        answers = [await client.reply() for _ in range(4)]
        assert (await client.ask("NOOP")).startswith("250")
        taken = name == "submission" or end == b"\r\n.\r\n"
        assert [each[:3] for each in answers] == ["250", "250", "250", "250" if taken else "550"]
        assert len(world.queued()) == taken
        for _, message in world.queued():
            assert message.count(b"\r\nSubject: forged\r\n") == 1

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        pytest.param(b"DATA", "503", id="data after bdat"),
        pytest.param(b"MAIL FROM:<bob@ecole.example>", "503", id="mail after bdat"),
        pytest.param(b"RCPT TO:<bob@ecole.example>", "503", id="rcpt after bdat"),
        pytest.param(b".", "500", id="a dot after bdat"),
    ],
)
def test_data_and_bdat_do_not_mix(tmp_path: Path, line: bytes, answer: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        await client.say(b"MAIL FROM:<anne@ecole.example>\r\nRCPT TO:<bob@ecole.example>\r\n")
        await client.say(f"BDAT {len(HEAD)}\r\n".encode() + HEAD)
        assert [(await client.reply())[:3] for _ in range(3)] == ["250"] * 3
        assert (await client.ask(line)).startswith(answer)
        assert (await client.ask(b"BDAT 0 LAST")).startswith("250 2.0.0 ok, queued")
        assert len(world.queued()) == 1

    run(tmp_path, test)


@pytest.mark.parametrize("size", [b"-1", b"0x10", b"1e3", b"", b"99999999999999999999999", b"+5", "٣".encode()])
def test_a_chunk_without_a_size_ends_the_connection(tmp_path: Path, size: bytes) -> None:
    # Where the chunk ends is not known, so nothing behind it may be taken for a command.
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        await client.say(b"MAIL FROM:<>\r\nRCPT TO:<bob@ecole.example>\r\nBDAT " + size + b" LAST\r\n" + FORGED)
        assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "501"]
        assert await client.reply() == ""
        assert world.queued() == []

    run(tmp_path, test)


def test_commands_end_with_cr_lf_alone(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        await client.say(b"MAIL FROM:<a@b>\nRCPT TO:<bob@ecole.example>\r\nMAIL FROM:<a@b>\rRCPT TO:<bob@ecole.example>\r\n")
        assert [(await client.reply())[:9] for _ in range(3)] == ["500 5.5.2", "503 5.5.1", "501 5.5.4"]

    run(tmp_path, test)


ATTACKS = {
    "before the greeting": b"EHLO x\r\nMAIL FROM:<>\r\n",
    "behind EHLO": b"MAIL FROM:<>\r\nRCPT TO:<bob@ecole.example>\r\nDATA\r\n" + FORGED,
    "behind HELO": b"MAIL FROM:<>\r\n",
    "behind DATA": HEAD + b".\r\n" + FORGED + b".\r\n",
}


@pytest.mark.parametrize("where", ATTACKS)
def test_who_does_not_wait_for_answers_is_cut_off(tmp_path: Path, where: str) -> None:
    # A web page that posts to port 25 sends everything at once (RFC 2920 section 3.1 says where that may not be).
    async def test(world: World) -> None:
        client = await world.connect()
        if where == "before the greeting":
            await client.say(ATTACKS[where])
        else:
            assert (await client.reply()).startswith("220")
            if where == "behind DATA":
                await client.ask("EHLO x")
                await client.say("MAIL FROM:<>\r\nRCPT TO:<bob@ecole.example>\r\n")
                await client.replies(2)
            verb = where.removeprefix("behind ")
            await client.say((verb if verb == "DATA" else f"{verb} x").encode() + b"\r\n" + ATTACKS[where])
        assert (await client.reply()).startswith("554 5.5.0")
        assert await client.reply() == ""
        assert world.queued() == []

    run(tmp_path, test, SmtpSettings(domain="ecole.example", banner_seconds=5.0 if where[:6] == "before" else 0, limits=LIMITS))


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"Host: mx", b"CONNECT x:25 HTTP/1.0"])
def test_another_protocol_is_not_spoken_with(tmp_path: Path, line: bytes) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.reply()
        assert (await client.ask(line)).startswith("421 4.7.0")
        assert await client.reply() == ""

    run(tmp_path, test)
