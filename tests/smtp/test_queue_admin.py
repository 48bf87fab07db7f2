import asyncio
from pathlib import Path
from typing import Any

import pytest

from lmtp import ANNE, BOB, until
from preau.daemon.rpc import RpcClient, RpcRefused
from smtp_peer import Peer
from smtp_world import QueueWorld, run_queue

LATER = {"MAIL": ["450 4.7.1 not now"]}


def test_list_and_show(tmp_path: Path) -> None:
    async def test(world: QueueWorld) -> None:
        admin = RpcClient(tmp_path / "queue-admin.sock")
        empty = {"messages": [], "total": 0, "held": 0, "waiting": 0, "next": None}
        assert await admin.call("list") == empty
        ids = sorted([await world.send(f"{name}@peer.example", "bob@example.com", account="a" * 26) for name in "xyz"])
        answer = await admin.call("list", limit=2)
        assert [each["id"] for each in answer["messages"]] == ids[:2]
        assert (answer["total"], answer["held"], answer["waiting"], answer["next"]) == (3, 0, 3, ids[1])
        assert [each["id"] for each in (await admin.call("list", limit=2, after=ids[1]))["messages"]] == ids[2:]
        assert len((await admin.call("list", address="Y@peer.example"))["messages"]) == 1
        assert len((await admin.call("list", address="ANNE@example.com"))["messages"]) == 3
        message = (await admin.call("show", id=ids[0]))["message"]
        now = world.queue.now()
        assert message["recipients"][0] == {
            "address": message["recipients"][0]["address"],
            "state": "waiting",
            "attempts": 1,
            "next_try": now + 300,
            "tried_at": now,
            "status": "4.7.1",
            "reply": "450 4.7.1 not now",
            "host": "peer.example",
        }
        assert message["recipients"][1]["state"] == "done"
        assert {key: message[key] for key in ("reverse_path", "size", "held", "tried_now", "expires", "account")} == {
            "reverse_path": "anne@example.com",
            "size": 54,
            "held": False,
            "tried_now": False,
            "expires": now + 432_000,
            "account": "a" * 26,
        }
        await admin.close()

    run_queue(tmp_path, test, Peer(LATER))


def test_retry_hold_and_release(tmp_path: Path) -> None:
    peer = Peer(LATER)

    async def test(world: QueueWorld) -> None:
        admin = RpcClient(tmp_path / "queue-admin.sock")
        first, second = await world.send("a@peer.example"), await world.send("b@peer.example")
        assert await admin.call("retry", id=first) == {"count": 1}
        await world.queue.settled()
        assert world.queue.store.recipients(first)[0].attempts == 2
        assert world.queue.store.recipients(second)[0].attempts == 1
        assert await admin.call("hold", id=first) == {"count": 1}
        assert await admin.call("hold", id=first) == {"count": 0}
        peer.script = {}
        assert await admin.call("retry", all=True) == {"count": 2}
        await world.queue.settled()
        assert [each.rcpts for each in peer.taken] == [["RCPT TO:<b@peer.example>"]]
        assert (await admin.call("list"))["held"] == 1
        await world.settle(86_400)
        assert len(peer.taken) == 1
        assert await admin.call("release", id=first) == {"count": 1}
        await world.queue.settled()
        assert len(peer.taken) == 2
        assert world.is_empty()
        await admin.close()

    run_queue(tmp_path, test, peer)


@pytest.mark.parametrize("bounce", [False, True])
def test_delete(tmp_path: Path, bounce: bool) -> None:
    async def test(world: QueueWorld) -> None:
        admin = RpcClient(tmp_path / "queue-admin.sock")
        identifier = await world.send("a@peer.example", "bob@example.com")
        assert await admin.call("delete", id=identifier, bounce=bounce) == {"count": 1}
        await world.settle()
        assert world.is_empty()
        assert len(world.inbox(ANNE)) == bounce
        assert len(world.inbox(BOB)) == 1
        with pytest.raises(RpcRefused, match="no such message"):
            await admin.call("show", id=identifier)
        await admin.close()

    run_queue(tmp_path, test, Peer(LATER))


def test_a_message_deleted_while_it_is_tried_does_not_come_back(tmp_path: Path) -> None:
    release = asyncio.Event()
    peer = Peer({"FINAL": ["451 4.3.0 later"]}, hold={"FINAL": release})

    async def test(world: QueueWorld) -> None:
        admin = RpcClient(tmp_path / "queue-admin.sock")
        identifier = world.put("a@peer.example")
        world.queue.wake()
        await until(lambda: "DATA" in peer.verbs)
        assert (await admin.call("show", id=identifier))["message"]["tried_now"]
        assert await admin.call("delete", id=identifier) == {"count": 1}
        release.set()
        await world.settle(10_000)
        assert world.is_empty()
        assert world.inbox(ANNE) == []
        await admin.close()

    run_queue(tmp_path, test, peer)


@pytest.mark.parametrize(
    ("op", "fields", "why"),
    [
        ("drop", {}, "no such call"),
        ("show", {}, "id is missing"),
        ("show", {"id": 7}, "id is missing"),
        ("show", {"id": "../../x"}, "no such message"),
        ("retry", {"all": "yes"}, "id is missing"),
        ("hold", {"id": "0" * 18}, "no such message"),
        ("list", {"limit": 0}, "limit"),
        ("list", {"limit": 10_000}, "limit"),
        ("list", {"after": 5}, "after"),
    ],
)
def test_calls_that_are_refused(tmp_path: Path, op: str, fields: dict[str, Any], why: str) -> None:
    async def test(world: QueueWorld) -> None:
        admin = RpcClient(tmp_path / "queue-admin.sock")
        with pytest.raises(RpcRefused, match=why):
            await admin.call(op, **fields)
        await admin.close()

    run_queue(tmp_path, test)
