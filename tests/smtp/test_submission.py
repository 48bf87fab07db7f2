from pathlib import Path

import pytest

from own_smtp import ANNE, LIMITS, NOW, World, run
from preau.smtp.server import SmtpSettings

BODY = b"\r\nbonjour\r\n"
OWN = b"From: Anne <anne@ecole.example>\r\nDate: Wed, 25 Nov 2026 01:00:00 +0100\r\nMessage-ID: <1@x>\r\nSubject: x\r\n"
ADDED = b"Date: Wed, 25 Nov 2026 "


def after_received(message: bytes) -> bytes:
    """A message without our Received field."""
    assert message.startswith(b"Received: from submission (client withheld)\r\n\tby mx.ecole.example with ESMTPA id ")
    return message.partition(b" +0000\r\n")[2]


async def only(world: World) -> bytes:
    ((_, message),) = world.queued()
    return message


def test_who_signed_in_sends_anywhere(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        answer = await client.send(OWN + BODY, "bob@ecole.example", "someone@elsewhere.example", "tous@ecole.example")
        assert answer.startswith("250 2.0.0 ok, queued as ")
        ((envelope, message),) = world.queued()
        assert (envelope.account, envelope.reverse_path, envelope.received) == (ANNE, "anne@ecole.example", NOW)
        assert [each.address for each in envelope.recipients] == [
            "bob@ecole.example",
            "someone@elsewhere.example",
            "tous@ecole.example",
        ]
        assert after_received(message) == OWN + BODY

    run(tmp_path, test)


def test_nothing_in_the_message_tells_where_its_sender_is(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.reply()
        await client.ask("EHLO phone-of-anne.home.example")
        await client.sign_in()
        await client.send(OWN + BODY, "bob@ecole.example")
        message = await only(world)
        assert b"127.0.0.1" not in message
        assert b"phone-of-anne" not in message

    run(tmp_path, test)


def test_a_house_may_choose_to_tell_it(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        await client.send(OWN + BODY, "bob@ecole.example")
        assert (await only(world)).startswith(b"Received: from client.example ([127.0.0.1])\r\n")

    run(tmp_path, test, SmtpSettings(plaintext_ok=True, reveal_client=True, limits=LIMITS))


@pytest.mark.parametrize(
    ("sender", "answer"),
    [
        ("anne@ecole.example", "250 2.1.0"),
        ("Anne+shop@ecole.example", "250 2.1.0"),
        ("bob@ecole.example", "550 5.7.1"),
        ("anne@elsewhere.example", "550 5.7.1"),
        ("anne@ecole.example.elsewhere.example", "550 5.7.1"),
        ("", "250 2.1.0"),
    ],
    ids=["own", "tag", "another's", "another domain", "longer domain", "null"],
)
def test_mail_from_belongs_to_the_login(tmp_path: Path, sender: str, answer: str) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        assert (await client.ask(f"MAIL FROM:<{sender}>")).startswith(answer)

    run(tmp_path, test)


REFUSED = "550 5.7.1 From ou Sender n'est pas votre adresse / From or Sender is not your address"


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        pytest.param(b"From: anne+x@ecole.example\r\n", "250", id="tag"),
        pytest.param(b"From: =?utf-8?q?=C3=A9?= <ANNE@ecole.example>, anne@ecole.example\r\n", "250", id="two of hers"),
        pytest.param(b"From : anne@ecole.example\r\n", "250", id="blank before the colon"),
        pytest.param(b"From:\r\n anne@ecole.example\r\n", "250", id="folded"),
        pytest.param(b"From: anne@ecole.example\r\nSender: anne@ecole.example\r\n", "250", id="sender"),
        pytest.param(b'From: "bob@ecole.example" <anne@ecole.example>\r\n', "250", id="a name is a name"),
        pytest.param(b"From: bob@ecole.example\r\n", REFUSED, id="another's"),
        pytest.param(b"From: anne@ecole.example, bob@ecole.example\r\n", REFUSED, id="one of two another's"),
        pytest.param(b"From: g: anne@ecole.example, bob@ecole.example;\r\n", REFUSED, id="in a group"),
        pytest.param(b"From: <@bob@ecole.example:bob@ecole.example>\r\n", REFUSED, id="source route"),
        pytest.param(b"From: anne@ecole.example,,\r\n bob@ecole.example (anne@ecole.example)\r\n", REFUSED, id="comment"),
        pytest.param(b"From:\r\n", REFUSED, id="empty"),
        pytest.param(b"From: g:;\r\n", REFUSED, id="empty group"),
        pytest.param(b"From: anne\r\n", REFUSED, id="no domain"),
        pytest.param(b"From: anne@ecole.example\r\nSender: bob@ecole.example\r\n", REFUSED, id="another's sender"),
        pytest.param(b"From: anne@ecole.example\r\nSender: x\r\n", REFUSED, id="a sender that is none"),
        pytest.param(b"From: anne@ecole.example" + b", anne@ecole.example" * 100 + b"\r\n", REFUSED, id="too many"),
        pytest.param(b"From: anne@ecole.example\r\nfrom: bob@ecole.example\r\n", "550 5.6.0", id="two fields"),
        pytest.param(b"Sender: anne@ecole.example\r\nSENDER: anne@ecole.example\r\n", "550 5.6.0", id="two senders"),
        pytest.param(b"\x00From: bob@ecole.example\r\n", "250", id="no field: it is body, and From is added"),
    ],
)
@pytest.mark.parametrize("sender", ["anne@ecole.example", ""], ids=["own path", "null path"])
def test_from_and_sender_belong_to_the_login(tmp_path: Path, header: bytes, answer: str, sender: str) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        assert (await client.send(header + BODY, "bob@ecole.example", sender=sender)).startswith(answer)
        assert len(world.queued()) == answer.startswith("250")

    run(tmp_path, test)


def test_an_auth_that_does_not_answer_is_temporary(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        world.auth.may_send_fails = True
        assert (await client.ask("MAIL FROM:<anne@ecole.example>")).startswith("451 4.3.0")
        assert (await client.send(OWN + BODY, "bob@ecole.example", sender="")).startswith("451 4.3.0")
        assert world.queued() == []

    run(tmp_path, test)


def test_what_a_message_lacks_is_added(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        await client.send(b"Subject: x\r\n" + BODY, "bob@ecole.example")
        (identifier,) = world.spool.incoming()
        header, _, body = after_received(await only(world)).partition(b"\r\n\r\n")
        lines = header.split(b"\r\n")
        assert lines[:2] == [b"Subject: x", b"From: <anne@ecole.example>"]
        assert lines[2].startswith(ADDED)
        assert lines[3] == f"Message-ID: <{identifier}@mx.ecole.example>".encode()
        assert len(lines) == 4
        assert body == b"bonjour\r\n"

    run(tmp_path, test)


@pytest.mark.parametrize(
    "bcc",
    [
        b"Bcc: bob@ecole.example\r\n",
        b"BCC : x@y,\r\n\tz@y\r\nBcc:\r\nResent-Bcc: q@y\r\n",
    ],
    ids=["one", "all of them"],
)
def test_bcc_goes(tmp_path: Path, bcc: bytes) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        await client.send(bcc + OWN + bcc + BODY + bcc, "bob@ecole.example")
        assert after_received(await only(world)) == OWN + BODY + bcc

    run(tmp_path, test)


def test_line_ends_are_mended(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        await client.send(OWN.replace(b"\r\n", b"\r\r\n") + b"X: a\n\r\na\rb\nc\n.\nd\r\n", "bob@ecole.example")
        assert after_received(await only(world)) == OWN + b"X: a\r\n\r\nab\r\nc\r\n.\r\nd\r\n"

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("recipient", "answer"),
    [
        ("nobody@ecole.example", "550 5.1.1"),
        ("moved@ecole.example", "450 4.2.1"),
        ("bob+x@ecole.example", "250 2.1.5"),
        ("x@[192.0.2.1]", "250 2.1.5"),
        ("x@", "501 5.1.3"),
        ("@x", "501 5.1.3"),
        ("x y@z", "501 5.1.3"),
        ("é@elsewhere.example", "553 5.6.7"),
    ],
)
@pytest.mark.parametrize("told", [True, False], ids=["auth tells domains", "settings tell domains"])
def test_recipients(tmp_path: Path, recipient: str, answer: str, told: bool) -> None:
    async def test(world: World) -> None:
        world.auth.tells_domains = told
        client = await world.signed_in()
        await client.ask("MAIL FROM:<anne@ecole.example>")
        assert (await client.ask(f"RCPT TO:<{recipient}>")).startswith(answer)

    run(tmp_path, test)


def test_a_message_by_bdat_is_edited_too(tmp_path: Path) -> None:
    message = b"Bcc: x@y\r\n" + OWN + BODY

    async def test(world: World) -> None:
        client = await world.signed_in()
        await client.say("MAIL FROM:<anne@ecole.example>\r\nRCPT TO:<bob@ecole.example>\r\n")
        for begin in range(0, len(message), 7):
            piece = message[begin : begin + 7]
            await client.say(f"BDAT {len(piece)}\r\n".encode() + piece)
        await client.say(b"BDAT 0 LAST\r\nQUIT\r\n")
        answers = []
        while not (answer := await client.reply()).startswith("221"):
            answers.append(answer)
        assert answers[-1].startswith("250 2.0.0 ok, queued as ")
        assert after_received(await only(world)) == OWN + BODY

    run(tmp_path, test)


def test_an_old_list_of_ours_is_not_cut_off(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        await client.ask("MAIL FROM:<anne@ecole.example>")
        for n in range(30):
            assert (await client.ask(f"RCPT TO:<gone{n}@ecole.example>")).startswith("550 5.1.1")
        assert (await client.ask("RCPT TO:<bob@ecole.example>")).startswith("250")

    run(tmp_path, test)
