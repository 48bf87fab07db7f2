import asyncio
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from lmtp import ANNE, BOB, CARL, local, until
from preau.auth.api import AuthUnavailable, Recipients
from preau.daemon.listener import Listener, bind_unix
from preau.smtp.commands import Mail
from preau.smtp.modes import LMTP, MX, SUBMISSION, SessionLimits
from preau.smtp.queue_store import State
from preau.smtp.reply import Refused
from preau.smtp.schedule import DAY, HOUR, Schedule
from preau.smtp.session import SmtpSession
from preau.smtp.spool import SpoolRecipient
from preau.storage.api import StoreLimits, Unavailable
from preau.storage.changes import SilentBus
from preau.storage.store import FileStore
from smtp_peer import DROP, HANG, Peer
from smtp_world import MESSAGE, FakeDns, NoSuchDomain, QueueWorld, make_queue, run_queue

AT_PEER = "bob@peer.example"


class AnyHandler:
    """Takes everything (modes.Handler)."""

    def admit(self, session: SmtpSession) -> None:
        return None

    def begin(self, session: SmtpSession, mail: Mail) -> Any:
        return object()

    def ended(self, session: SmtpSession) -> None:
        return None


def bodies(messages: list[bytes]) -> list[bytes]:
    return [message.partition(b"\r\n\r\n")[2] for message in messages]


def fields(report: bytes, name: str) -> list[str]:
    return re.findall(rf"^{name}: (.*)\r$", report.decode(), re.MULTILINE)


def test_mail_for_those_who_are_here(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        await world.send("bob@example.com", "carl@example.com", "Bob+tag@example.com", "bob@example.com")
        assert bodies(world.inbox(BOB)) == [b"hello\r\n"]
        assert bodies(world.inbox(CARL)) == [b"hello\r\n"]
        assert world.inbox(BOB)[0].startswith(b"Return-Path: <anne@example.com>\r\nDelivered-To: bob@example.com\r\n")
        assert world.is_empty()

    run_queue(tmp_path, test)


def test_one_connection_to_delivery_is_used_again(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        for _ in range(5):
            await world.send("bob@example.com")
        assert len(world.inbox(BOB)) == 5
        assert len(world.local.server._sessions) == 1

    run_queue(tmp_path, test)


def test_a_hint_is_enough(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        await world.settle()
        world.put("bob@example.com")
        await until(lambda: world.inbox(BOB))
        assert world.queue.settings.poll_seconds == 3_600

    run_queue(tmp_path, test, poll_seconds=3_600.0)


def test_mail_for_others_goes_by_domain_in_one_transaction(tmp_path: Path) -> None:
    peer, other = Peer(), Peer()

    async def test(world: QueueWorld) -> None:
        world.dns.hosts["other.example"] = ["127.0.0.12"]
        await world.send("a@peer.example", "b@Peer.Example", "c@other.example", "bob@example.com")
        assert [len(each.taken) for each in (peer, other)] == [1, 1]
        assert peer.taken[0].rcpts == ["RCPT TO:<a@peer.example>", "RCPT TO:<b@Peer.Example>"]
        assert peer.taken[0].data == MESSAGE
        assert len(world.inbox(BOB)) == 1
        assert world.is_empty()

    run_queue(tmp_path, test, peer, other)


def test_a_wrong_address_comes_back_with_what_to_do(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        identifier = await world.send("nobody@example.com", "bob@example.com")
        (report,) = world.inbox(ANNE)
        assert report.startswith(b"Return-Path: <>\r\nDelivered-To: anne@example.com\r\n")
        assert b"Auto-Submitted: auto-replied\r\n" in report
        assert b"Content-Type: multipart/report; report-type=delivery-status;" in report
        assert b"In-Reply-To: <1@example.com>" in report
        assert fields(report, "Final-Recipient") == ["rfc822; nobody@example.com"]
        assert fields(report, "Action") == ["failed"]
        assert fields(report, "Status") == ["5.1.1"]
        assert report.index(b"Cette adresse n'existe pas") < report.index(b"This address does not exist")
        assert b"Content-Type: message/rfc822\r\n\r\n" + MESSAGE in report
        assert len(world.inbox(BOB)) == 1
        assert world.is_empty()
        assert identifier.encode() not in report  # the report has an id of its own

    run_queue(tmp_path, test)


def test_a_report_that_cannot_be_delivered_ends_there(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        await world.send("nobody@example.com", sender="gone@example.com")
        await world.send("nobody@example.com", sender="")
        assert world.inbox(ANNE) == []
        assert world.is_empty()

    run_queue(tmp_path, test)


@pytest.mark.parametrize(
    ("notify", "ret", "kind"),
    [
        pytest.param({"NEVER"}, "", None, id="never"),
        pytest.param({"SUCCESS"}, "", None, id="success only"),
        pytest.param({"FAILURE"}, "HDRS", b"text/rfc822-headers", id="headers"),
        pytest.param({"FAILURE", "DELAY"}, "FULL", b"message/rfc822", id="full"),
        pytest.param(set(), "", b"message/rfc822", id="nothing said"),
    ],
)
def test_notify_and_ret(tmp_path: Path, notify: set[str], ret: str, kind: bytes | None) -> None:
    async def test(world: QueueWorld) -> None:
        who = SpoolRecipient("nobody@example.com", frozenset(notify), "rfc822;No+Body@example.com")
        await world.send(who, ret=ret, envid="my id")
        reports = world.inbox(ANNE)
        assert len(reports) == (kind is not None)
        if kind is not None:
            assert b"\r\nContent-Type: " + kind + b"\r\n" in reports[0]
            assert fields(reports[0], "Original-Recipient") == ["rfc822; No+Body@example.com"]
            assert fields(reports[0], "Original-Envelope-Id") == ["my id"]

    run_queue(tmp_path, test)


def test_success_is_told_to_who_asked(tmp_path: Path) -> None:
    silent = Peer(extensions=("PIPELINING",))

    async def test(world: QueueWorld) -> None:
        world.dns.hosts["silent.example"] = ["127.0.0.12"]
        success = frozenset({"SUCCESS", "FAILURE"})
        await world.send(*(SpoolRecipient(each, success) for each in ("bob@example.com", "x@silent.example", AT_PEER)))
        reports = b"".join(world.inbox(ANNE))
        assert sorted(zip(fields(reports, "Final-Recipient"), fields(reports, "Action"), strict=True)) == [
            ("rfc822; bob@example.com", "delivered"),
            ("rfc822; x@silent.example", "relayed"),
        ]
        assert "NOTIFY=FAILURE,SUCCESS" in world.peers[0].taken[0].rcpts[0]
        assert b"text/rfc822-headers" in reports
        assert b"message/rfc822" not in reports

    run_queue(tmp_path, test, Peer(), silent)


def test_greylisting_is_passed_at_the_second_try(tmp_path: Path) -> None:
    peer = Peer({"RCPT": ["451 4.7.1 greylisted, come back", "250 2.1.5 ok"]})

    async def test(world: QueueWorld) -> None:
        await world.send(AT_PEER)
        assert peer.taken == []
        (one,) = world.queue.store.recipients(world.queue.store.due(world.queue.now() + HOUR, 9)[0])
        assert (one.attempts, one.status, one.next_try) == (1, "4.7.1", world.queue.now() + 300)
        await world.settle(299)
        assert peer.taken == []
        await world.settle(1)
        assert len(peer.taken) == 1
        assert world.is_empty()
        assert world.inbox(ANNE) == []

    run_queue(tmp_path, test, peer)


@pytest.mark.parametrize("jump", [365 * DAY, -365 * DAY])
def test_a_clock_that_jumps_and_is_set_right_costs_no_message_and_no_year(tmp_path: Path, jump: int) -> None:
    peer = Peer({"RCPT": ["451 4.7.1 later", "451 4.7.1 later", "250 2.1.5 ok"]})

    async def test(world: QueueWorld) -> None:
        await world.send(AT_PEER)
        await world.settle(jump)
        await world.settle(-jump)
        assert all(fields(report, "Action") == ["delayed"] for report in world.inbox(ANNE))  # a warning at most
        await world.settle(HOUR)
        await world.settle(HOUR)
        assert len(peer.taken) == 1
        assert world.is_empty()

    run_queue(tmp_path, test, peer)


def test_delay_warning_then_expiry(tmp_path: Path) -> None:
    peer = Peer({"MAIL": ["450 4.7.1 not today"]})

    async def test(world: QueueWorld) -> None:
        await world.send(AT_PEER, SpoolRecipient("quiet@peer.example", frozenset({"FAILURE"})))
        begin = int(world.clock.now)
        times = [0]
        while not world.is_empty():
            at = world.queue.store.next_try(world.queue.now())
            assert at is not None
            times.append(at - begin)
            await world.settle(at - world.queue.now())
            if times[-1] < 4 * HOUR:
                assert world.inbox(ANNE) == []
        warning, bounce = world.inbox(ANNE)
        assert fields(warning, "Action") == ["delayed"]
        assert fields(warning, "Status") == ["4.7.1"]
        assert fields(warning, "Final-Recipient") == ["rfc822; bob@peer.example"]
        assert fields(warning, "Will-Retry-Until") == ["Mon, 30 Nov 2026 02:05:07 +0000"]
        assert fields(bounce, "Action") == ["failed", "failed"]
        assert fields(bounce, "Status") == ["5.4.7", "5.4.7"]
        assert fields(bounce, "Diagnostic-Code") == ["smtp; 450 4.7.1 not today"] * 2
        assert fields(bounce, "Remote-MTA") == ["dns; peer.example"] * 2
        assert times[:6] == [0, 300, 1_200, 3_000, 6_600, 13_800]
        assert 4 * HOUR in times
        assert times[-1] == 5 * DAY

    run_queue(tmp_path, test, peer)


def test_permanent_refusals_come_back_at_once(tmp_path: Path) -> None:
    peer = Peer({"RCPT no@peer.example": ["550 5.1.1 no\x1b[31m such\x00 user"]})

    async def test(world: QueueWorld) -> None:
        world.dns.mx["gone.example"] = NoSuchDomain()
        await world.send("no@peer.example", "yes@peer.example", "x@gone.example")
        reports = b"".join(world.inbox(ANNE))
        assert sorted(fields(reports, "Diagnostic-Code")) == ["smtp; 550 5.1.1 no [31m such  user", "x-preau; no such domain"]
        assert len(peer.taken) == 1
        assert world.is_empty()

    run_queue(tmp_path, test, peer)


# -- groups


def test_a_group_with_members_elsewhere(tmp_path: Path) -> None:
    peer = Peer()

    async def test(world: QueueWorld) -> None:
        world.auth.addresses["staff@example.com"] = Recipients(
            (local(BOB, "bob@example.com"), local(CARL, "carl@example.com")), ("zoe@peer.example",)
        )
        await world.send(SpoolRecipient("staff@example.com", frozenset({"SUCCESS", "FAILURE"})), "bob@example.com")
        assert [len(world.inbox(each)) for each in (BOB, CARL)] == [1, 1]
        assert peer.taken[0].rcpts == ["RCPT TO:<zoe@peer.example> NOTIFY=FAILURE ORCPT=rfc822;staff@example.com"]
        (report,) = world.inbox(ANNE)
        assert fields(report, "Action") == ["expanded"]
        assert world.is_empty()

    run_queue(tmp_path, test, peer)


def test_a_single_forward_keeps_what_the_sender_asked(tmp_path: Path) -> None:
    peer = Peer()

    async def test(world: QueueWorld) -> None:
        world.auth.addresses["zoe@example.com"] = Recipients((), ("zoe@peer.example",))
        await world.send(SpoolRecipient("zoe@example.com", frozenset({"SUCCESS"})))
        assert peer.taken[0].rcpts == ["RCPT TO:<zoe@peer.example> NOTIFY=SUCCESS ORCPT=rfc822;zoe@example.com"]
        assert world.inbox(ANNE) == []
        assert world.is_empty()

    run_queue(tmp_path, test, peer)


# -- what is missing for a while


def test_auth_or_delivery_away_is_no_try_of_the_message(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        known = world.auth.addresses["bob@example.com"]
        world.auth.addresses["bob@example.com"] = AuthUnavailable("away")
        identifier = await world.send("bob@example.com")
        (one,) = world.queue.store.recipients(identifier)
        assert (one.state, one.attempts, one.next_try) == (State.WAITING, 0, world.queue.now() + 15)
        world.auth.addresses["bob@example.com"] = known
        await world.settle(15)
        assert len(world.inbox(BOB)) == 1
        assert world.is_empty()

    run_queue(tmp_path, test)


def test_delivery_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        await world.send("bob@example.com")
        away = world.local.path.rename(tmp_path / "away.sock")
        for session in list(world.local.server._sessions):
            await session.end()
        identifier = await world.send("bob@example.com")
        (one,) = world.queue.store.recipients(identifier)
        assert (one.attempts, one.status) == (0, "4.3.2")
        away.rename(world.local.path)
        await world.settle(15)
        assert len(world.inbox(BOB)) == 2
        assert world.is_empty()

    run_queue(tmp_path, test)


# -- crashes


def crash_points() -> list[Any]:
    return [pytest.param(name, id=name) for name in ("write", "remove", "deliver")]


@pytest.mark.parametrize("files", [False, True], ids=["in memory", "in files"])
@pytest.mark.parametrize("point", crash_points())
def test_stopped_anywhere_a_message_is_delivered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, files: bool
) -> None:
    """The process ends right behind a step; another one goes on from the files."""
    (tmp_path / "accounts").mkdir()
    store = FileStore(tmp_path / "accounts", sealing=False, limits=StoreLimits(), bus=SilentBus()) if files else None

    async def test(world: QueueWorld) -> None:
        queue, spool = world.queue, world.spool
        await queue.drain(1.0)
        stopped = asyncio.Event()

        def stopping(call: Any) -> Any:
            def then_stop(*arguments: Any) -> Any:
                call(*arguments)
                loop.call_soon_threadsafe(stopped.set)
                raise Unavailable("power cut")

            return then_stop

        loop = asyncio.get_running_loop()
        first, _, its_spool = make_queue(tmp_path, world.local, world.dns, world.clock, 1, poll_seconds=0.05)
        if point == "remove":
            monkeypatch.setattr(its_spool, point, stopping(getattr(its_spool, point)))
        world.put("bob@example.com")
        await first.start([])
        if point in ("write", "deliver"):
            write = first.store.write
            count = 0

            async def write_and_stop(call: Any, then: Any = None, *, flush: bool = True) -> Any:
                nonlocal count
                count += 1
                if point == "deliver" and count == 2:
                    stopped.set()  # delivered, and that is not noted
                    raise Unavailable("power cut")
                result = await write(call, then, flush=flush)
                if point == "write" and count == 1:
                    stopped.set()
                    raise Unavailable("power cut")
                return result

            monkeypatch.setattr(first.store, "write", write_and_stop)
            first.wake()
        await asyncio.wait_for(stopped.wait(), 10)
        await first.drain(0.0)
        second, _, _ = make_queue(tmp_path, world.local, world.dns, world.clock, 1)
        await second.start([])
        await second.settled()
        assert bodies(world.inbox(BOB)) == [b"hello\r\n"]
        assert second.store.counts()[0] == 0
        assert spool.active() == spool.incoming() == []
        await second.drain(1.0)
        await queue.start([])

    run_queue(tmp_path, test, store=store)
    if store is not None:
        store.close()


def test_killed_at_every_step_a_message_is_delivered_once_and_a_wrong_address_told_once(tmp_path: Path) -> None:
    """SIGKILL before and behind each change of a file or of queue.db, in one life after the other."""

    async def test(world: QueueWorld) -> None:
        await world.queue.drain(1.0)
        support = Path(__file__).parents[1] / "support"
        killed = 0
        for fatal in range(1, 100):
            world.put("bob@example.com", "nobody@example.com")
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                str(support / "killed_queue.py"),
                str(tmp_path),
                str(fatal),
                env={"PYTHONPATH": str(support)},
            )
            code = await child.wait()
            if code == 0:
                break
            assert code == -signal.SIGKILL
            killed += 1
        assert killed >= 10
        assert len(world.inbox(BOB)) == killed + 1
        assert len(world.inbox(ANNE)) == killed + 1
        await world.queue.start([])
        assert world.is_empty()

    run_queue(tmp_path, test, seconds=120)


def test_files_that_come_back_from_the_dead_are_known(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        identifier = world.put("bob@example.com")
        files = {path: path.read_bytes() for path in (tmp_path / "queue" / "incoming").iterdir()}
        await world.settle()
        for path, data in files.items():
            path.write_bytes(data)
        assert world.spool.incoming() == [identifier]
        await world.settle()
        assert len(world.inbox(BOB)) == 1
        assert world.is_empty()

    run_queue(tmp_path, test)


def test_a_report_is_written_once_however_often_the_power_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: QueueWorld) -> None:
        failures = 0
        write = world.queue.store.write

        async def failing(call: Any, then: Any = None, *, flush: bool = True) -> Any:
            nonlocal failures
            if "note" in call.__qualname__ and "_tell" in call.__qualname__ and failures < 3:
                failures += 1
                raise Unavailable("power cut")
            return await write(call, then, flush=flush)

        monkeypatch.setattr(world.queue.store, "write", failing)
        await world.send("nobody@example.com")
        while not world.is_empty():
            await world.settle()
        assert failures == 3
        assert len(world.inbox(ANNE)) == 1

    run_queue(tmp_path, test, poll_seconds=0.05)


@pytest.mark.parametrize("how", ["lost", "damaged", "another key"])
def test_a_lost_database_is_made_again_from_the_spool(tmp_path: Path, how: str) -> None:
    peer = Peer({"RCPT": ["451 4.7.1 later", "250 2.1.5 ok"]})

    async def test(world: QueueWorld) -> None:
        await world.send("bob@example.com", AT_PEER)
        assert len(world.inbox(BOB)) == 1
        await world.queue.drain(1.0)
        database = tmp_path / "queue" / "queue.db"
        for path in database.parent.glob("queue.db*"):
            if how == "lost":
                path.unlink()
            elif how == "damaged":
                path.write_bytes(b"\xff" * 20_000)
        if how == "another key":
            world.queue._database_key = bytes(32)
        await world.queue.start([])
        await world.queue.settled()
        assert len(peer.taken) == 1
        assert len(world.inbox(BOB)) == 1  # found its twin
        assert world.is_empty()
        assert database.with_name("queue.db.damaged").exists() == (how != "lost")

    run_queue(tmp_path, test, peer)


def test_a_message_that_vanished_from_the_spool_is_told(tmp_path: Path) -> None:
    peer = Peer({"MAIL": ["450 4.0.0 later"]})

    async def test(world: QueueWorld) -> None:
        identifier = await world.send(AT_PEER)
        world.spool.path("active", identifier).unlink()
        await world.settle(300)
        (report,) = world.inbox(ANNE)
        assert fields(report, "Status") == ["5.3.0"]
        assert b"rfc822-headers" not in report
        assert world.is_empty()

    run_queue(tmp_path, test, peer)


def test_an_envelope_that_cannot_be_read_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test(world: QueueWorld) -> None:
        identifier = world.put("bob@example.com")
        world.spool.path("incoming", identifier).write_bytes(b"damaged")
        await world.settle()
        await world.settle()
        await world.send("bob@example.com")
        assert world.spool.incoming() == [identifier]
        assert len(world.inbox(BOB)) == 1

    run_queue(tmp_path, test)
    assert sum("envelope cannot be read" in each.message for each in caplog.records) == 1


def test_drain_lets_go_of_a_peer_that_hangs(tmp_path: Path) -> None:
    peer = Peer({"FINAL": [HANG]})

    async def test(world: QueueWorld) -> None:
        world.put(AT_PEER)
        world.queue.wake()
        await until(lambda: "DATA" in peer.verbs)
        await world.queue.drain(0.05)
        await world.queue.start([])
        await until(world.spool.active)
        (identifier,) = world.spool.active()  # the first try never ended: it waits with the others
        assert world.queue.store.recipients(identifier)[0].state is State.WAITING
        await world.queue.drain(0.0)
        peer.script = {"FINAL": [DROP, "250 2.0.0 ok"]}
        await world.queue.start([])
        await world.settle(0)
        await world.settle(300)
        assert len(peer.taken) == 1

    run_queue(tmp_path, test, peer)


def test_listeners_of_others_are_refused(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        stray = Listener("imap", bind_unix(tmp_path / "imap.sock"))
        with pytest.raises(ValueError, match="not a listener of queue: imap"):
            await world.queue.start([stray])
        stray.socket.close()
        await world.queue.reload()

    run_queue(tmp_path, test)


def test_many_messages(tmp_path: Path) -> None:
    peer = Peer()

    async def test(world: QueueWorld) -> None:
        for number in range(60):
            world.put("bob@example.com", f"x{number}@peer.example")
        await world.settle()
        assert len(world.inbox(BOB)) == 60
        assert len(peer.taken) == 60
        assert peer.most_open <= 5
        assert peer.connections < 20
        assert world.is_empty()

    run_queue(tmp_path, test, peer, messages=20, schedule=Schedule((60,)))


def test_utf8_to_a_host_that_takes_it_and_to_one_that_does_not(tmp_path: Path) -> None:
    old = Peer(extensions=("PIPELINING", "8BITMIME"))

    async def test(world: QueueWorld) -> None:
        world.dns.hosts["old.example"] = ["127.0.0.12"]
        message = "Subject: été\r\n\r\nété\r\n".encode()
        await world.send(
            "zoé@peer.example", "bob@old.example", "bob@example.com", message=message, smtputf8=True, body="8BITMIME"
        )
        assert " SMTPUTF8" in world.peers[0].taken[0].mail
        assert world.inbox(BOB)[0].endswith(message)
        (report,) = world.inbox(ANNE)
        assert fields(report, "Status") == ["5.6.7"]
        assert b"message/global-delivery-status" in report
        assert b"message/global\r\n" in report

    run_queue(tmp_path, test, Peer(), old)


def test_a_loop_ends(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        await world.send(AT_PEER, message=b"Received: x\r\n" * 101 + MESSAGE)
        (report,) = world.inbox(ANNE)
        assert fields(report, "Status") == ["5.4.6"]
        assert world.peers[0].taken == []

    run_queue(tmp_path, test, Peer())


def test_hosts_of_a_fake_dns(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        await world.send(AT_PEER)
        assert world.dns.asked == ["MX peer.example", "A peer.example"]

    run_queue(tmp_path, test, Peer(), dns=FakeDns())


def test_no_stranger_may_name_a_delivery() -> None:
    async def running() -> None:
        loop = asyncio.get_running_loop()
        for mode in (MX, SUBMISSION):
            session = SmtpSession(mode, AnyHandler(), SessionLimits(), hostname="x", loop=loop)
            with pytest.raises(Refused) as caught:
                session._handle_mail(Mail(None, delivery_id="x"))
            assert caught.value.reply.code == 555
        SmtpSession(LMTP, AnyHandler(), SessionLimits(), hostname="x", loop=loop)._handle_mail(Mail(None, delivery_id="x"))

    asyncio.run(running())
