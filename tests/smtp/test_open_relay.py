"""Every classic way of asking a stranger's server to pass mail on, on port 25 and, unsigned, on submission."""

from dataclasses import replace
from pathlib import Path

import pytest

from own_smtp import LIMITS, World, run
from preau.smtp.server import SmtpSettings

OUTSIDE, US = "victim@elsewhere.example", "ecole.example"

RECIPIENTS = {
    "plain": f"<{OUTSIDE}>",
    "upper case": f"<{OUTSIDE.upper()}>",
    "percent": f"<victim%elsewhere.example@{US}>",
    "percent twice": f"<victim%elsewhere.example%{US}@{US}>",
    "percent to our address": "<victim%elsewhere.example@[127.0.0.1]>",
    "bang": f"<elsewhere.example!victim@{US}>",
    "bang path through us": f"<{US}!elsewhere.example!victim@{US}>",
    "bang and percent": f"<elsewhere.example!victim%{US}@{US}>",
    "quoted address": f'<"{OUTSIDE}"@{US}>',
    "quoted address with a quoted pair": f'<"victim\\@elsewhere.example"@{US}>',
    "quoted percent": f'<"victim%elsewhere.example"@{US}>',
    "quoted and nothing else": f'<"{OUTSIDE}">',
    "two at signs": f"<{OUTSIDE}@{US}>",
    "two at signs the other way": f"<victim@{US}@elsewhere.example>",
    "source route": f"<@{US}:{OUTSIDE}>",
    "source route of two": f"<@{US},@relay.example:{OUTSIDE}>",
    "source route to an address literal": f"<@[127.0.0.1]:{OUTSIDE}>",
    "source route back to us": f"<@elsewhere.example:victim%elsewhere.example@{US}>",
    "address literal": "<victim@[192.0.2.1]>",
    "our own address literal": "<victim@[127.0.0.1]>",
    "IPv6 literal": "<victim@[IPv6:2001:db8::1]>",
    "no domain": "<victim>",
    "no brackets": OUTSIDE,
    "two recipients in one": f"<anne@{US}>,<{OUTSIDE}>",
    "a recipient in the parameters": f"<anne@{US}> <{OUTSIDE}>",
    "outside by the original recipient": f"<nobody@{US}> ORCPT=rfc822;{OUTSIDE}",
    "subdomain of ours": f"<victim@mail.{US}>",
    "domain that ends like ours": f"<victim@x{US}>",
    "domain that begins like ours": f"<victim@{US}.elsewhere.example>",
    "colon route": f"<{US}:{OUTSIDE}>",
    "trailing dot": "<victim@elsewhere.example.>",
    "null": "<>",
    "tag": f"<anne+{OUTSIDE.replace('@', '=')}@elsewhere.example>",
}

SENDERS = {
    "outside": "<spam@outside.example>",
    "null": "<>",
    "ours": f"<anne@{US}>",
    "our domain": f"<nobody@{US}>",
    "our address": "<anne@[127.0.0.1]>",
    "our host": "<root@localhost>",
    "bare domain": f"<@{US}:spam@outside.example>",
}


@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
def test_nothing_is_relayed_for_strangers(tmp_path: Path, sender: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        answers = {}
        for name, recipient in RECIPIENTS.items():
            await client.ask("RSET")
            assert (await client.ask(f"MAIL FROM:{sender}")).startswith("250")
            answers[name] = await client.ask(f"RCPT TO:{recipient}")
            assert (await client.ask("DATA"))[:3] == "503", name
        taken = {name: answer for name, answer in answers.items() if not answer.startswith(("550 5.", "501 5.", "555 5."))}
        assert taken == {}
        assert world.queued() == []

    run(tmp_path, test, SmtpSettings(domain=US, domains=[US], limits=replace(LIMITS, errors=1_000)))


@pytest.mark.parametrize("name", ["submission", "submissions"])
def test_submission_is_for_those_who_signed_in(tmp_path: Path, name: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect(name, tls=name == "submissions")
        await client.ehlo()
        for sender in SENDERS.values():
            assert (await client.ask(f"MAIL FROM:{sender}")).startswith("530 5.7.0")
        # A name given in MAIL's AUTH parameter is no sign-in (RFC 4954 section 5).
        assert (await client.ask(f"MAIL FROM:<anne@{US}> AUTH=anne@{US}")).startswith("530 5.7.0")
        assert (await client.ask(f"RCPT TO:<{OUTSIDE}>")).startswith("503")
        assert (await client.ask("DATA")).startswith("503")
        assert (await client.ask("BDAT 0 LAST")).startswith("503")
        assert world.queued() == []

    run(tmp_path, test, with_tls=True)


def test_a_recipient_of_ours_does_not_open_the_door_to_others(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        for line, answer in (
            (f"MAIL FROM:<anne@{US}>", "250"),
            (f"RCPT TO:<anne@{US}>", "250"),
            (f"RCPT TO:<{OUTSIDE}>", "550 5.7.1"),
            (f"RCPT TO:<victim%elsewhere.example@{US}>", "550 5.1.1"),
            ("DATA", "354"),
            (f"To: {OUTSIDE}\r\nBcc: {OUTSIDE}\r\n\r\nx\r\n.", "250"),
        ):
            assert (await client.ask(line)).startswith(answer)
        ((envelope, _),) = world.queued()
        assert [each.address for each in envelope.recipients] == [f"anne@{US}"]

    run(tmp_path, test)


@pytest.mark.parametrize("verb", ["VRFY", "EXPN"])
def test_addresses_cannot_be_asked_for(tmp_path: Path, verb: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        answers = {await client.ask(f"{verb} {name}") for name in ("anne", f"anne@{US}", "nobody", "tous", "", f"<tous@{US}>")}
        assert len(answers) == 1
        assert answers.pop()[:9] == {"VRFY": "252 2.5.1", "EXPN": "502 5.5.1"}[verb]

    run(tmp_path, test)


def test_who_is_there_cannot_be_told_from_the_sign_in(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        known = await client.sign_in(f"anne@{US}", "wrong")
        assert known == await client.sign_in(f"nobody@{US}", "wrong")
        assert known.startswith("535 5.7.8")

    run(tmp_path, test)
