import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lmtp import BOB, CARL, World
from lmtp import run as run_delivery
from preau.auth.api import AuthUnavailable
from preau.smtp.client_connection import ConnectionBroke, Deadlines, HandshakeFailed, Target
from preau.smtp.client_session import ClientSession, Receiver, Sending, SessionRefused, Transaction, open_session
from preau.smtp.outcome import Verdict
from smtp_peer import DROP, EXTENSIONS, HANG, Octets, Peer, server_tls

MESSAGE = b"Subject: x\r\n\r\n.dot\r\nhello\r\n"
QUICK = Deadlines(connect=5, greeting=5, command=5, data=5, block=5, final=5, quit=1, handshake=5)
HASTY = Deadlines(connect=5, greeting=0.2, command=0.2, data=0.2, block=0.2, final=0.2, quit=0.1, handshake=0.2)
WITHOUT_PIPELINING = EXTENSIONS[1:]
BOTH = pytest.mark.parametrize("extensions", [EXTENSIONS, WITHOUT_PIPELINING], ids=["pipelined", "step by step"])


def run(peer: Peer, test: Callable[[Target], Awaitable[None]]) -> None:
    async def running() -> None:
        await peer.start()
        try:
            await asyncio.wait_for(test(Target(peer.host, peer.port, "mx.example")), 20)
        finally:
            await peer.stop()

    asyncio.run(running())


def receivers(*addresses: str) -> list[Receiver]:
    return [Receiver(key, address) for key, address in enumerate(addresses)]


async def send(
    target: Target, *addresses: str, message: bytes = MESSAGE, deadlines: Deadlines = QUICK, **more: Any
) -> Transaction:
    session = await open_session(target, "me.example", deadlines)
    try:
        return await session.send(Sending("anne@example.com", Octets(message), **more), receivers(*addresses))
    finally:
        await session.connection.close(deadlines.quit)


def said(transaction: Transaction) -> list[str]:
    return [f"{outcome.verdict.value} {outcome.status}" for _, outcome in sorted(transaction.outcomes.items())]


@BOTH
def test_a_message_arrives_as_it_is(extensions: Sequence[str]) -> None:
    peer = Peer(extensions=extensions)

    async def test(target: Target) -> None:
        done = await send(
            target,
            "bob@example.org",
            "carl@example.org",
            message=b"A: b\n\r\n.\rx\n..\n",
            declared_8bit=True,
            ret="HDRS",
            envid="a b",
        )
        assert said(done) == ["passed 2.0.0"] * 2
        assert done.outcomes[0].host == "mx.example"
        assert done.outcomes[0].text == "250 2.0.0 taken"
        taken = peer.taken[0]
        assert taken.data == b"A: b\r\n\r\n..\r\nx\r\n...\r\n"
        assert taken.mail == "MAIL FROM:<anne@example.com> SIZE=14 BODY=8BITMIME RET=HDRS ENVID=a+20b"
        assert taken.rcpts == ["RCPT TO:<bob@example.org>", "RCPT TO:<carl@example.org>"]

    run(peer, test)


def test_what_the_peer_does_not_know_is_not_said() -> None:
    peer = Peer(extensions=("PIPELINING",))

    async def test(target: Target) -> None:
        session = await open_session(target, "me.example", QUICK)
        who = Receiver(1, "bob@bücher.example", frozenset({"SUCCESS"}), "rfc822;bob@x")
        done = await session.send(Sending("", Octets(MESSAGE), declared_8bit=True, ret="FULL", envid="x"), [who])
        assert done.outcomes[1].verdict is Verdict.RELAYED
        assert peer.taken[0].mail == "MAIL FROM:<>"
        assert peer.taken[0].rcpts == ["RCPT TO:<bob@xn--bcher-kva.example>"]
        session.connection.abort()

    run(peer, test)


def test_dsn_parameters_are_passed_on() -> None:
    peer = Peer()

    async def test(target: Target) -> None:
        session = await open_session(target, "me.example", QUICK)
        who = Receiver(1, "bob@example.org", frozenset({"SUCCESS", "DELAY"}), "rfc822;Bob+x@example.org")
        await session.send(Sending("", Octets(MESSAGE)), [who])
        assert peer.taken[0].rcpts == ["RCPT TO:<bob@example.org> NOTIFY=DELAY,SUCCESS ORCPT=rfc822;Bob+2Bx@example.org"]
        session.connection.abort()

    run(peer, test)


REFUSALS: list[Any] = [
    pytest.param({"MAIL": ["450 4.7.1 later"]}, ["deferred 4.7.1"] * 2, id="4xx MAIL"),
    pytest.param({"MAIL": ["553 5.7.1 never"]}, ["failed 5.7.1"] * 2, id="5xx MAIL"),
    pytest.param({"RCPT a@x": ["451 4.7.1 greylisted"]}, ["deferred 4.7.1", "passed 2.0.0"], id="4xx RCPT"),
    pytest.param({"RCPT a@x": ["550 no such"]}, ["failed 5.0.0", "passed 2.0.0"], id="5xx RCPT"),
    pytest.param({"RCPT": ["451 4.7.1 l", "550 5.1.1 n"]}, ["deferred 4.7.1", "failed 5.1.1"], id="all RCPT"),
    pytest.param({"RCPT": ["550 5.1.1 n"], "DATA-EMPTY": ["354 go"]}, ["failed 5.1.1"] * 2, id="DATA taken without RCPT"),
    pytest.param({"RCPT b@x": ["452 4.5.3 enough"]}, ["passed 2.0.0", "deferred 4.5.3"], id="too many"),
    pytest.param({"RCPT b@x": ["452 4.2.2 full"]}, ["passed 2.0.0", "deferred 4.2.2"], id="full is not too many"),
    pytest.param({"DATA": ["451 4.3.0 later"]}, ["deferred 4.3.0"] * 2, id="4xx DATA"),
    pytest.param({"DATA": ["554 5.7.0 never"]}, ["failed 5.7.0"] * 2, id="5xx DATA"),
    pytest.param({"DATA": ["250 what"]}, ["deferred 4.5.0"] * 2, id="2xx DATA"),
    pytest.param({"FINAL": ["452 4.3.1 disk full"]}, ["deferred 4.3.1"] * 2, id="4xx message"),
    pytest.param({"FINAL": ["554 5.6.0 spam"]}, ["failed 5.6.0"] * 2, id="5xx message"),
    pytest.param({"MAIL": ["421 4.3.2 bye"]}, ["deferred 4.4.2"] * 2, id="421 MAIL"),
    pytest.param({"RCPT b@x": ["421 4.3.2 bye"]}, ["deferred 4.4.2"] * 2, id="421 RCPT"),
    pytest.param({"FINAL": ["421 4.3.2 bye"]}, ["deferred 4.3.2"] * 2, id="421 message"),
    pytest.param({"MAIL": [DROP]}, ["deferred 4.4.2"] * 2, id="dies at MAIL"),
    pytest.param({"RCPT a@x": ["550 5.1.1 no"], "RCPT b@x": [DROP]}, ["failed 5.1.1", "deferred 4.4.2"], id="dies at RCPT"),
    pytest.param({"DATA": [DROP]}, ["deferred 4.4.2"] * 2, id="dies at DATA"),
    pytest.param({"MIDDLE": [DROP]}, ["deferred 4.4.2"] * 2, id="dies in the message"),
    pytest.param({"FINAL": [DROP]}, ["deferred 4.4.2"] * 2, id="dies at the end"),
    pytest.param({"MAIL": ["junk"]}, ["deferred 4.4.2"] * 2, id="no reply"),
]


@BOTH
@pytest.mark.parametrize(("script", "expected"), REFUSALS)
def test_refusals_and_deaths_at_each_verb(
    script: Mapping[str, Sequence[str]], expected: list[str], extensions: Sequence[str]
) -> None:
    peer = Peer(script, extensions)

    async def test(target: Target) -> None:
        done = await send(target, "a@x", "b@x")
        assert said(done) == expected
        # A short message is gone with its end before the peer dies in the middle of it.
        assert done.sent == (script.get("FINAL") == [DROP] or "MIDDLE" in script)
        assert bool(done.crowded) == ("452 4.5.3 enough" in str(script))
        assert len(peer.taken) == (1 if "passed 2.0.0" in expected else 0)

    run(peer, test)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "FINAL"])
def test_a_peer_that_never_answers_is_left(verb: str) -> None:
    peer = Peer({verb: [HANG]})

    async def test(target: Target) -> None:
        done = await send(target, "a@x", deadlines=HASTY)
        assert said(done) == ["deferred 4.4.2"]
        assert done.outcomes[0].text == "no answer in time"

    run(peer, test)


def test_a_transaction_has_an_end_however_slow_the_peer_is() -> None:
    peer = Peer({"RCPT b@x": [HANG]}, extensions=WITHOUT_PIPELINING)

    async def test(target: Target) -> None:
        done = await send(target, "a@x", "b@x", deadlines=Deadlines(transaction=0.2, quit=0.1))
        assert said(done) == ["deferred 4.4.2"] * 2
        assert done.outcomes[0].text == "the transaction took too long"

    run(peer, test)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param({"GREETING": ["554 5.7.1 no"]}, SessionRefused, id="greeting"),
        pytest.param({"GREETING": ["421 4.3.2 busy"]}, SessionRefused, id="busy"),
        pytest.param({"GREETING": [DROP]}, ConnectionBroke, id="dies"),
        pytest.param({"GREETING": ["SSH-2.0-x"]}, ConnectionBroke, id="not smtp"),
        pytest.param({"EHLO": ["450 4.7.1 later"]}, SessionRefused, id="ehlo later"),
        pytest.param({"EHLO": ["502 no"], "HELO": ["550 no"]}, SessionRefused, id="neither"),
    ],
)
def test_hosts_that_do_not_serve_us(script: Mapping[str, Sequence[str]], error: type[Exception]) -> None:
    async def test(target: Target) -> None:
        with pytest.raises(error):
            await open_session(target, "me.example", QUICK)

    run(Peer(script), test)


def test_hosts_that_are_not_there() -> None:
    async def test(target: Target) -> None:
        with pytest.raises(ConnectionBroke, match="refused"):
            await open_session(Target("127.0.0.1", 1, "x"), "me.example", QUICK)
        with pytest.raises(ConnectionBroke):
            await open_session(Target("", name="x", path="/nonexistent/x.sock"), "me.example", QUICK)

    run(Peer(), test)


def test_hello_for_those_who_know_no_better() -> None:
    peer = Peer({"EHLO": ["500 what"]})

    async def test(target: Target) -> None:
        assert said(await send(target, "a@x")) == ["relayed 2.0.0"]
        assert peer.verbs[:2] == ["EHLO", "HELO"]

    run(peer, test)


@pytest.mark.parametrize(
    ("extensions", "message", "more", "expected"),
    [
        pytest.param(("SIZE 20",), MESSAGE, {}, "failed 5.3.4", id="too large"),
        pytest.param((), b"A: b\r\n\r\n\xe9\r\n", {"declared_8bit": True}, "failed 5.6.3", id="8bit"),
        pytest.param((), MESSAGE, {"declared_8bit": True}, "relayed 2.0.0", id="declared 8bit, but is not"),
        pytest.param(("8BITMIME",), MESSAGE, {"needs_utf8": True}, "failed 5.6.7", id="smtputf8"),
    ],
)
def test_what_the_peer_cannot_take(extensions: Sequence[str], message: bytes, more: Any, expected: str) -> None:
    peer = Peer(extensions=extensions)

    async def test(target: Target) -> None:
        assert said(await send(target, "a@x", message=message, **more)) == [expected]
        assert ("MAIL" in peer.verbs) == expected.startswith("relayed")

    run(peer, test)


def test_addresses_that_cannot_be_said_do_not_keep_the_others_back() -> None:
    peer = Peer()

    async def test(target: Target) -> None:
        done = await send(target, "a@x", "b@x> SIZE=1\r\nRSET", "é@x")
        assert said(done) == ["passed 2.0.0", "failed 5.1.3", "failed 5.6.7"]
        assert peer.taken[0].rcpts == ["RCPT TO:<a@x>"]

    run(peer, test)


def test_one_session_carries_message_after_message() -> None:
    peer = Peer({"RCPT no@x": ["550 5.1.1 no"], "DATA": ["354 go", "451 4.0.0 no", "354 go"]})

    async def test(target: Target) -> None:
        session: ClientSession = await open_session(target, "me.example", QUICK)
        for address, expected in (("a@x", "passed"), ("no@x", "failed"), ("a@x", "deferred"), ("a@x", "passed")):
            done = await session.send(Sending("", Octets(MESSAGE)), receivers(address))
            assert done.outcomes[0].verdict.value == expected
            assert session.is_reusable
        assert peer.connections == 1
        await session.connection.close(1)
        assert not session.is_reusable

    run(peer, test)


def test_a_large_message_is_sent_in_pieces() -> None:
    peer = Peer(extensions=("PIPELINING", "SIZE"))

    async def test(target: Target) -> None:
        message = b"Subject: x\r\n\r\n" + b"." * 70 + b"\r\n" + b"x" * 76 * 1000 + (b"y" * 76 + b"\r\n") * 40_000
        assert said(await send(target, "a@x", message=message)) == ["relayed 2.0.0"]
        assert peer.taken[0].data == message.replace(b"\r\n.", b"\r\n..")

    run(peer, test)


# -- STARTTLS


def test_tls_is_used_where_it_is_offered(tmp_path: Path) -> None:
    peer = Peer(tls=server_tls(tmp_path))

    async def test(target: Target) -> None:
        assert said(await send(target, "a@x")) == ["passed 2.0.0"]
        assert peer.taken[0].tls
        assert peer.verbs[:3] == ["EHLO", "STARTTLS", "EHLO"]
        session = await open_session(target, "me.example", QUICK, tls=False)
        assert not session.connection.encrypted
        session.connection.abort()

    run(peer, test)


def test_starttls_refused_goes_on_in_the_clear(tmp_path: Path) -> None:
    peer = Peer({"STARTTLS": ["454 4.7.0 not now"]}, tls=server_tls(tmp_path))

    async def test(target: Target) -> None:
        assert said(await send(target, "a@x")) == ["passed 2.0.0"]
        assert not peer.taken[0].tls

    run(peer, test)


@pytest.mark.parametrize("reply", ["220 go\r\n250 injected", "220 go\r\n25", "220 go\r\n220-x"])
def test_responses_behind_starttls_are_an_attack(tmp_path: Path, reply: str) -> None:
    peer = Peer({"STARTTLS": [reply]}, tls=server_tls(tmp_path))

    async def test(target: Target) -> None:
        with pytest.raises(ConnectionBroke, match=r"in the clear behind|not a reply") as caught:
            await open_session(target, "me.example", QUICK)
        assert not isinstance(caught.value, HandshakeFailed)
        assert peer.verbs == ["EHLO", "STARTTLS"]

    run(peer, test)


@pytest.mark.parametrize("then", ["hang", "close", "plain"])
def test_a_handshake_that_fails_is_told_from_a_host_that_is_down(tmp_path: Path, then: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n")
        await reader.read(100)
        if then == "plain":
            writer.write(b"250 not a handshake\r\n" * 10)
        if then == "hang":
            await reader.read()
        writer.close()

    async def running() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        target = Target("127.0.0.1", server.sockets[0].getsockname()[1], "mx.example")
        with pytest.raises(HandshakeFailed):
            await open_session(target, "me.example", HASTY)
        server.close()

    asyncio.run(running())


# -- LMTP to our own delivery: one block


def run_lmtp(tmp_path: Path, test: Callable[[World, ClientSession], Awaitable[None]]) -> None:
    async def running(world: World) -> None:
        target = Target("", name="here", path=str(world.path))
        session = await open_session(target, "me.example", QUICK, lmtp=True, tls=False)
        try:
            await test(world, session)
        finally:
            await session.connection.close(QUICK.quit)

    run_delivery(tmp_path, running)


def counted(session: ClientSession) -> list[bytes]:
    """What is written from now on, block by block."""
    blocks: list[bytes] = []
    write = session.connection.write

    def writing(data: bytes) -> None:
        blocks.append(data)
        write(data)

    session.connection.write = writing  # type: ignore[method-assign]  # for this test
    return blocks


def test_a_small_message_goes_to_delivery_in_one_block(tmp_path: Path) -> None:
    async def test(world: World, session: ClientSession) -> None:
        blocks = counted(session)
        sending = Sending("anne@example.com", Octets(MESSAGE), delivery_id="0123")
        for _ in range(2):  # the second time it finds its twin
            done = await session.send(sending, receivers("bob@example.com", "nobody@example.com", "carl@example.com"))
            assert said(done) == ["delivered 2.0.0", "failed 5.1.1", "delivered 2.0.0"]
            assert not done.sent
            assert not done.cut
        assert [block[:4] for block in blocks] == [b"MAIL"] * 2
        (message,) = world.messages(BOB)
        assert message.endswith(MESSAGE)
        assert session.is_reusable

    run_lmtp(tmp_path, test)


def test_nobody_taken_or_the_sender_refused_leaves_the_session_in_step(tmp_path: Path) -> None:
    async def test(world: World, session: ClientSession) -> None:
        done = await session.send(Sending("", Octets(MESSAGE)), receivers("x@example.com", "y@example.com"))
        assert said(done) == ["failed 5.1.1"] * 2
        done = await session.send(Sending("é@example.com", Octets(MESSAGE), needs_utf8=False), receivers("bob@example.com"))
        assert [outcome.verdict for outcome in done.outcomes.values()] == [Verdict.FAILED]
        world.auth.addresses["bob@example.com"] = AuthUnavailable("down")
        world.server.lookups.clear()
        done = await session.send(Sending("", Octets(MESSAGE)), receivers("bob@example.com", "carl@example.com"))
        assert [outcome.verdict for outcome in done.outcomes.values()] == [Verdict.DEFERRED, Verdict.DELIVERED]
        assert len(world.messages(CARL)) == 1
        assert session.is_reusable

    run_lmtp(tmp_path, test)


@pytest.mark.parametrize("message", [b"A: b\r\n\r\nno line end", b"A: b\n\nx\r\n", b"A: b\r\n\r\n" + b"x" * 270_000 + b"\r\n"])
def test_other_messages_go_by_data(tmp_path: Path, message: bytes) -> None:
    async def test(world: World, session: ClientSession) -> None:
        blocks = counted(session)
        done = await session.send(Sending("", Octets(message)), receivers("bob@example.com"))
        assert said(done) == ["delivered 2.0.0"]
        assert len(blocks) > 1
        (arrived,) = world.messages(BOB)
        assert arrived.endswith(b"\r\n")
        assert b"BDAT" not in b"".join(blocks)

    run_lmtp(tmp_path, test)


def test_what_breaks_within_the_block_is_cut_and_may_have_been_taken(tmp_path: Path) -> None:
    async def test(world: World, session: ClientSession) -> None:
        async def never(self: object) -> list[object]:
            session.connection.abort()
            await asyncio.Event().wait()
            raise AssertionError

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("preau.smtp.delivery.Delivery.finish", never)
            done = await session.send(Sending("", Octets(MESSAGE)), receivers("bob@example.com", "nobody@example.com"))
        assert done.sent
        assert done.cut == {0, 1}  # its replies go out together
        assert said(done) == ["deferred 4.4.2"] * 2

    run_lmtp(tmp_path, test)
