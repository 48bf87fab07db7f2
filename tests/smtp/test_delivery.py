import asyncio
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from lmtp import ANNE, BOB, CARL, UNKNOWN, Lmtp, World, local, run, until
from preau.auth.api import AuthUnavailable, CredentialId, Recipients, Revocation
from preau.daemon.listener import Listener, bind_tcp, bind_unix
from preau.smtp.delivery import DeliveryServer, DeliverySettings
from preau.storage.api import Account, Appended, Draft, MailboxId, OverQuota, Unavailable
from preau.storage.memory import MemoryStore
from preau.storage.memory_mail import MemoryMail

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


async def deliver(client: Lmtp, *recipients: str, message: bytes = MESSAGE) -> list[str]:
    """One transaction; the code and enhanced code for each recipient that was taken, or of its refusal."""
    assert (await client.ask("MAIL FROM:<x@example.org>")).startswith("250")
    said = [(await client.ask(f"RCPT TO:<{recipient}>"))[:9] for recipient in recipients]
    if any(each.startswith("250") for each in said):
        opened = await client.ask("DATA")
        if not opened.startswith("354"):
            return [opened[:9]]
        await client.say(message + b".\r\n")
        said = [(await client.reply())[:9] if each.startswith("250") else each for each in said]
    else:
        await client.ask("RSET")
    return said


def test_each_recipient_has_its_reply(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        world.auth.addresses["deleted@example.com"] = Recipients((local(CARL, "deleted@example.com", accepts=False),), ())
        world.auth.addresses["away@example.com"] = Recipients((), ("away@elsewhere.example",))
        world.auth.addresses["later@example.com"] = AuthUnavailable()
        assert await deliver(
            client,
            "anne@example.com",
            "nobody@example.com",
            "BOB@Example.com",
            "deleted@example.com",
            "away@example.com",
            "later@example.com",
        ) == ["250 2.0.0", "550 5.1.1", "250 2.0.0", "450 4.2.1", "451 4.3.5", "451 4.3.0"]
        assert [len(world.messages(each)) for each in (ANNE, BOB, CARL)] == [1, 1, 0]

    run(tmp_path, test)


def test_what_is_stored(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await deliver(client, "anne+lists@example.com", "bob@example.com")
        await client.ask("MAIL FROM:<> SMTPUTF8")
        await client.ask("RCPT TO:<anne@example.com>")
        await client.ask("DATA")
        await client.say(MESSAGE + b".\r\n")
        identifier = (await client.reply()).removeprefix("250 2.0.0 delivered, id ")
        first, second = world.messages(ANNE)
        assert first.startswith(
            b"Return-Path: <x@example.org>\r\nDelivered-To: anne+lists@example.com\r\n"
            b"Received: from client.example (local)\r\n\tby localhost with LMTP id "
        )
        assert first.endswith(b"; Wed, 25 Nov 2026 02:05:07 +0000\r\n" + MESSAGE)
        assert b"for <" not in first
        assert world.messages(BOB)[0].split(b"\r\n", 2)[2] == first.split(b"\r\n", 2)[2]
        assert second == (
            b"Return-Path: <>\r\nDelivered-To: anne@example.com\r\n"
            b"Received: from client.example (local)\r\n\tby localhost with UTF8LMTP id " + identifier.encode() + b"\r\n"
            b"\tfor <anne@example.com>; Wed, 25 Nov 2026 02:05:07 +0000\r\n" + MESSAGE
        )

    run(tmp_path, test)


def test_one_copy_an_account_however_many_addresses_lead_to_it(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        staff = (local(ANNE, "anne@example.com"), local(BOB, "bob@example.com"))
        world.auth.addresses["staff@example.com"] = Recipients(staff, ())
        said = await deliver(client, "staff@example.com", "anne@example.com", "anne+x@example.com")
        assert said == ["250 2.0.0"] * 3
        assert [len(world.messages(each)) for each in (ANNE, BOB)] == [1, 1]

    run(tmp_path, test)


@pytest.mark.parametrize(("domain", "code"), [("", "550 5.1.1"), ("example.com", "250 2.0.0")])
def test_postmaster(tmp_path: Path, domain: str, code: str) -> None:
    async def test(world: World) -> None:
        world.auth.addresses["postmaster@example.com"] = Recipients((local(ANNE, "anne@example.com"),), ())
        assert await deliver(await world.connect(), "Postmaster") == [code]

    run(tmp_path, test, DeliverySettings(domain=domain))


def test_tags_are_tried_after_the_whole_address(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        world.auth.addresses["anne+own@example.com"] = Recipients((local(BOB, "bob@example.com"),), ())
        assert await deliver(client, "anne+own@example.com", "anne+other@example.com", "zoe+x@example.com") == [
            "250 2.0.0",
            "250 2.0.0",
            "550 5.1.1",
        ]
        assert world.auth.asked == [
            "anne+own@example.com",
            "anne+other@example.com",
            "anne@example.com",
            "zoe+x@example.com",
            "zoe@example.com",
        ]
        assert [len(world.messages(each)) for each in (ANNE, BOB)] == [1, 1]

    run(tmp_path, test)


def test_too_many_recipients(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        said = await deliver(client, "anne@example.com", "bob@example.com", "carl@example.com")
        assert said == ["250 2.0.0", "250 2.0.0", "452 4.5.3"]

    run(tmp_path, test, DeliverySettings(recipients=2))


@pytest.mark.parametrize(("passes", "code"), [(False, "552 5.2.2"), (True, "452 4.2.2")])
def test_a_full_mailbox(tmp_path: Path, passes: bool, code: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        world.auth.addresses["full@example.com"] = Recipients((local(CARL, "full@example.com", 400),), ())
        assert await deliver(client, "full@example.com", "anne@example.com") == ["250 2.0.0"] * 2
        # Told at RCPT when the size is declared, at the end when it is not.
        await client.ask("MAIL FROM:<x@y> SIZE=1000")
        assert (await client.ask("RCPT TO:<full@example.com>")).startswith(code)
        await client.ask("RSET")
        assert await deliver(client, "full@example.com", "anne@example.com", message=b"x" * 500 + b"\r\n") == [
            code,
            "250 2.0.0",
        ]
        assert [len(world.messages(each)) for each in (CARL, ANNE)] == [1, 2]

    run(tmp_path, test, DeliverySettings(over_quota_passes=passes))


@pytest.mark.parametrize(
    ("header", "codes"),
    [
        pytest.param(b"Delivered-To: anne@example.com\r\n", ["554 5.4.6", "250 2.0.0"], id="was here before"),
        pytest.param(b"delivered-to:\t<ANNE@example.com>\r\n", ["554 5.4.6", "250 2.0.0"], id="spelled otherwise"),
        pytest.param(b"Received: x\r\n" * 5, ["250 2.0.0", "250 2.0.0"], id="as often as allowed"),
        pytest.param(b"Received: x\r\n" * 6, ["554 5.4.6", "554 5.4.6"], id="too often"),
        pytest.param(b"\r\nDelivered-To: anne@example.com\r\n", ["250 2.0.0", "250 2.0.0"], id="in the body"),
    ],
)
def test_mail_loops(tmp_path: Path, header: bytes, codes: list[str]) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        assert await deliver(client, "anne@example.com", "bob@example.com", message=header + MESSAGE) == codes
        stored = [len(world.messages(each)) for each in (ANNE, BOB)]
        assert stored == [int(code.startswith("250")) for code in codes]

    run(tmp_path, test, DeliverySettings(received=5))


# ---------------------------------------------------------------------------------------------------------------------
# The promise


class Gate:
    """Holds Mail.append of the memory store until it is opened; counts what enters together."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.failing: dict[str, Exception] = {}
        append = MemoryMail.append

        def gated(mail: MemoryMail, mailbox: MailboxId, drafts: Sequence[Draft]) -> Appended:
            self.batches.append(len(drafts))
            self.begun.set()
            assert self.open.wait(20)
            for account, error in self.failing.items():
                if mail._account.id == account:
                    raise error
            return append(mail, mailbox, drafts)

        monkeypatch.setattr(MemoryMail, "append", gated)


def test_250_is_said_after_append_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        gate = Gate(monkeypatch)
        client = await world.connect()
        delivering = asyncio.ensure_future(deliver(client, "anne@example.com"))
        await asyncio.to_thread(gate.begun.wait, 20)
        other = await world.connect()  # others are served meanwhile
        assert (await other.ask("NOOP")).startswith("250")
        assert not delivering.done()
        assert world.messages(ANNE) == []
        gate.open.set()
        assert await delivering == ["250 2.0.0"]
        assert len(world.messages(ANNE)) == 1

    run(tmp_path, test)


@pytest.mark.parametrize("error", [Unavailable("disk full"), OverQuota(), ZeroDivisionError()])
def test_no_250_when_append_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def test(world: World) -> None:
        gate = Gate(monkeypatch)
        gate.open.set()
        gate.failing[ANNE] = error
        client = await world.connect()
        expected = "552 5.2.2" if isinstance(error, OverQuota) else "451 4.3.0"
        assert await deliver(client, "anne@example.com", "bob@example.com") == [expected, "250 2.0.0"]
        gate.failing.clear()
        assert await deliver(client, "anne@example.com") == ["250 2.0.0"]

    run(tmp_path, test)


def test_what_was_begun_is_put_in_though_the_peer_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        gate = Gate(monkeypatch)
        client = await world.connect()
        for line in ("MAIL FROM:<x@y>", "RCPT TO:<anne@example.com>", "DATA"):
            await client.ask(line)
        await client.say(MESSAGE + b".\r\n")
        await asyncio.to_thread(gate.begun.wait, 20)
        client.writer.transport.abort()
        draining = asyncio.ensure_future(world.server.drain(0.0))
        await until(lambda: not world.server._sessions)
        assert not draining.done()
        gate.open.set()
        await draining
        assert len(world.messages(ANNE)) == 1
        assert len(world.server.accounts) == 0

    run(tmp_path, test)


def test_a_group_that_fails_in_part_is_retried_without_doubling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        everyone = tuple(local(each, f"{each}@example.com") for each in (ANNE, BOB, CARL))
        world.auth.addresses["all@example.com"] = Recipients(everyone, ())
        gate = Gate(monkeypatch)
        gate.open.set()
        gate.failing[BOB] = Unavailable("busy")
        client = await world.connect()
        assert await deliver(client, "all@example.com") == ["451 4.3.0"]
        assert await deliver(client, "all@example.com") == ["451 4.3.0"]
        assert [len(world.messages(each)) for each in (ANNE, BOB, CARL)] == [1, 0, 1]
        gate.failing.clear()
        assert await deliver(client, "all@example.com") == ["250 2.0.0"]
        assert [len(world.messages(each)) for each in (ANNE, BOB, CARL)] == [1, 1, 1]
        # The same message sent anew is a new message.
        assert await deliver(client, "all@example.com") == ["250 2.0.0"]
        assert [len(world.messages(each)) for each in (ANNE, BOB, CARL)] == [2, 2, 2]
        world.keys.broken.add(BOB)
        world.server.accounts.drop()
        assert await deliver(client, "all@example.com") == ["451 4.3.0"]
        world.keys.broken.update({ANNE, CARL})
        world.server.accounts.drop()
        assert await deliver(client, "all@example.com") == ["451 4.3.0"]  # nobody left: refused at RCPT

    run(tmp_path, test)


def test_deliveries_that_meet_in_one_account_enter_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        gate = Gate(monkeypatch)
        clients = [await world.connect() for _ in range(20)]
        delivering = [asyncio.ensure_future(deliver(client, "anne@example.com")) for client in clients]
        await asyncio.to_thread(gate.begun.wait, 20)
        (held,) = world.server.accounts._held.values()
        await until(lambda: len(held._waiting) >= 19)
        gate.open.set()
        assert await asyncio.gather(*delivering) == [["250 2.0.0"]] * 20
        assert gate.batches == [1, 19]
        assert len(world.messages(ANNE)) == 20

    run(tmp_path, test)


def test_one_without_room_does_not_keep_the_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        gate = Gate(monkeypatch)
        world.auth.addresses["full@example.com"] = Recipients((local(CARL, "full@example.com", 3_000),), ())
        clients = [await world.connect() for _ in range(4)]
        sizes = [10, 10, 5_000, 10]
        delivering = [
            asyncio.ensure_future(deliver(client, "full@example.com", message=b"x" * size + b"\r\n"))
            for client, size in zip(clients, sizes, strict=True)
        ]
        await asyncio.to_thread(gate.begun.wait, 20)
        gate.open.set()
        assert await asyncio.gather(*delivering) == [["250 2.0.0"], ["250 2.0.0"], ["552 5.2.2"], ["250 2.0.0"]]
        assert len(world.messages(CARL)) == 3

    run(tmp_path, test)


# ---------------------------------------------------------------------------------------------------------------------
# Accounts that are held


def test_accounts_are_held_until_they_are_revoked(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        for _ in range(3):
            await deliver(client, "anne@example.com", "bob@example.com")
        assert sorted(world.keys.asked) == sorted([ANNE, BOB])
        (tell,) = world.auth.listeners
        tell(Revocation(ANNE, CredentialId("app:1")))  # a credential is nothing to delivery
        await deliver(client, "anne@example.com")
        assert len(world.keys.asked) == 2
        tell(Revocation(ANNE))
        await deliver(client, "anne@example.com", "bob@example.com")
        assert world.keys.asked[2:] == [ANNE]
        tell(Revocation(lost=True))
        assert len(world.server.accounts) == 0
        world.keys.broken.add(ANNE)
        assert await deliver(client, "anne@example.com", "bob@example.com") == ["451 4.3.0", "250 2.0.0"]

    run(tmp_path, test)


def test_an_account_revoked_in_mid_message_is_let_go_behind_it(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ask("MAIL FROM:<x@y>")
        await client.ask("RCPT TO:<anne@example.com>")
        await client.ask("DATA")
        world.auth.listeners[0](Revocation(ANNE))
        await client.say(MESSAGE + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert len(world.server.accounts) == 0
        assert len(world.messages(ANNE)) == 1

    run(tmp_path, test)


def test_held_accounts_are_bounded_in_number_and_time(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        for name in ("anne", "bob", "carl"):
            await deliver(client, f"{name}@example.com")
        assert list(world.server.accounts._held) == [BOB, CARL]
        await until(lambda: not len(world.server.accounts))
        assert await deliver(client, "anne@example.com") == ["250 2.0.0"]

    run(tmp_path, test, DeliverySettings(hold_accounts=2, hold_seconds=0.1))


def test_a_new_quota_is_taken(tmp_path: Path) -> None:
    opened: list[int | None] = []

    class Store(MemoryStore):
        def open_account(self, *arguments: object, quota: int | None = None) -> Account:
            opened.append(quota)
            return super().open_account(*arguments, quota=quota)  # type: ignore[arg-type]  # handed on as they came

    async def test(world: World) -> None:
        client = await world.connect()
        for quota in (1_000_000, 1_000_000, 2_000_000):
            world.auth.addresses["anne@example.com"] = Recipients((local(ANNE, "anne@example.com", quota),), ())
            await deliver(client, "anne@example.com")
        assert opened == [1_000_000, 2_000_000]

    run(tmp_path, test, DeliverySettings(lookup_seconds=0), Store())


def test_lookups_are_remembered_when_they_found_someone(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await deliver(client, "anne@example.com", "nobody@example.com")
        await deliver(client, "anne@example.com", "nobody@example.com")
        assert world.auth.asked == ["anne@example.com", "nobody@example.com", "nobody@example.com"]
        world.auth.listeners[0](Revocation(ANNE))
        world.auth.addresses["anne@example.com"] = UNKNOWN
        assert await deliver(client, "anne@example.com") == ["550 5.1.1"]

    run(tmp_path, test, DeliverySettings(lookup_seconds=1000))


# ---------------------------------------------------------------------------------------------------------------------
# Who may connect


def test_trusted_networks_and_caps(tmp_path: Path) -> None:
    async def greeting(networks: tuple[str, ...], connections: int = 10) -> str:
        world = World(tmp_path, DeliverySettings(trusted_networks=networks, connections=connections), None)
        listening = bind_tcp("127.0.0.1", 0)
        await world.server.start([Listener("lmtp", listening)])
        client = Lmtp(*await asyncio.open_connection(*listening.getsockname()))
        answer = await client.reply()
        await client.close()
        await world.server.drain(1.0)
        return answer

    async def test() -> None:
        assert (await greeting(("127.0.0.0/8",))).startswith("220 ")
        assert (await greeting(("192.0.2.0/24", "::1/128"))).startswith("554 5.7.1")
        assert (await greeting(("127.0.0.0/8",), 0)).startswith("421 4.3.2")

    asyncio.run(test())


def test_connections_give_their_place_back(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        first = await world.connect()
        second = await world.connect(hello=False)
        assert (await second.reply()).startswith("421")
        assert await second.reply() == ""
        await first.ask("QUIT")
        await first.reply()
        await world.connect()

    run(tmp_path, test, DeliverySettings(connections=1))


def test_what_is_no_listener_of_ours_is_told(tmp_path: Path) -> None:
    world = World(tmp_path, None, None)
    with bind_unix(tmp_path / "x") as listening, pytest.raises(ValueError, match="no TLS here: lmtps"):
        asyncio.run(world.server.start([Listener("lmtps", listening, tls=True)]))
    with pytest.raises(ValueError, match="nonsense"):
        DeliveryServer(world.store, world.auth, world.keys, DeliverySettings(trusted_networks=("nonsense",)))
    asyncio.run(world.server.reload())


# ---------------------------------------------------------------------------------------------------------------------
# With software no one here wrote


@pytest.mark.conformance
@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
@pytest.mark.parametrize("pipeline", [[], ["--pipeline"]])
def test_swaks(tmp_path: Path, pipeline: list[str]) -> None:
    async def swaks(server: str, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            "swaks",
            *("--protocol", "LMTP", "--from", "x@example.org", "--body", "hello\n.\n..dots", *arguments, *pipeline),
            *("--server", server) if not server.startswith("/") else ("--socket", server),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def test(world: World) -> None:
        status, output = await swaks(str(world.path), "--to", "anne@example.com,bob@example.com")
        assert status == 0, output
        assert output.count("250 2.0.0 delivered") == 2
        status, output = await swaks(str(world.path), "--to", "nobody@example.com")
        assert status != 0
        assert "550 5.1.1" in output
        (message,) = world.messages(ANNE)
        assert b"\r\nhello\r\n.\r\n..dots\r\n" in message
        assert len(world.messages(BOB)) == 1

    run(tmp_path, test)


def test_a_delivery_id_makes_a_second_try_find_the_first(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        for identifier, recipients in (("q+1", "anne"), ("q+1", "anne bob"), ("q+2", "bob")):
            client = await world.connect()
            said = await client.ask(f"MAIL FROM:<x@example.org> XDELIVERYID={identifier.replace('+', '+2B')}")
            assert said.startswith("250")
            for name in recipients.split():
                assert (await client.ask(f"RCPT TO:<{name}@example.com>")).startswith("250")
            await client.ask("DATA")
            await client.say(MESSAGE + b".\r\n")
            for _ in recipients.split():
                assert (await client.reply()).startswith("250 2.0.0")
        assert [len(world.messages(each)) for each in (ANNE, BOB)] == [1, 2]
        assert (await (await world.connect()).ask("MAIL FROM:<> XDELIVERYID=")).startswith("501")

    run(tmp_path, test)
