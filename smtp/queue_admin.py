"""What an operator asks of the queue, over RUN/queue-admin.sock (daemon/rpc.py).

    op       fields                                     answer
    list     {after?: id, limit?: n, address?: text}    {messages: [message without recipients' replies], total, held, waiting,
                                                         next: id or null}
    show     {id}                                       {message: message}
    retry    {id} or {all: true}                        {count: n}      due now; hosts that were down are asked again
    hold     {id}                                       {count: n}      no further try; one that runs goes on to its end
    release  {id}                                       {count: n}      due now
    delete   {id, bounce?: bool}                        {count: n}      recipients given up, silently unless `bounce`

    message   {id, reverse_path, received, size, held, tried_now, expires, account, recipients: [recipient]}
    recipient {address, state, attempts, next_try, tried_at, status, reply, host}
    state     waiting, done, failed, cancelled; times are seconds since 1970 UTC, 0: never

Owns names and fields of these calls. Never shows a message's contents: it could, and that is why it does not.
"""

from typing import TYPE_CHECKING, Any

import apsw

from ..daemon.log import logger
from ..daemon.rpc import RpcConnection, RpcRefused
from ..storage.api import StoreError
from .queue_store import Queued, State

if TYPE_CHECKING:
    from .queue import QueueServer

log = logger("smtp")

_MOST = 500


class QueueAdmin:
    """Answers the calls for one queue."""

    def __init__(self, queue: "QueueServer") -> None:
        """`queue`: started."""
        self._queue = queue

    async def handle(self, op: str, fields: dict[str, Any], connection: RpcConnection) -> dict[str, Any]:
        """One call (daemon.rpc.Handler). Raise RpcRefused."""
        ops = {
            "list": self._list,
            "show": self._show,
            "retry": self._retry,
            "hold": self._hold,
            "release": self._release,
            "delete": self._delete,
        }
        if op not in ops:
            raise RpcRefused("no such call")
        if op not in ("list", "show"):
            log.warning("queue changed by an operator", op=op, id=fields.get("id", "all"), uid=connection.peer_uid)
        try:
            return await ops[op](fields)
        except StoreError as error:
            raise RpcRefused(f"the queue cannot do this now: {error}") from None

    async def _list(self, fields: dict[str, Any]) -> dict[str, Any]:
        after, address = _text(fields, "after", ""), _text(fields, "address", "")
        limit = fields.get("limit", 100)
        if not isinstance(limit, int) or not 0 < limit <= _MOST:
            raise RpcRefused(f"limit is 1 to {_MOST}")
        store = self._queue.store
        found = store.messages(after, limit, address)
        total, held, waiting = store.counts()
        messages = [self._message(identifier, is_held, replies=False) for identifier, is_held in found]
        return {
            "messages": [each for each in messages if each is not None],
            "total": total,
            "held": held,
            "waiting": waiting,
            "next": found[-1][0] if len(found) == limit else None,
        }

    async def _show(self, fields: dict[str, Any]) -> dict[str, Any]:
        identifier = self._id(fields)
        return {"message": self._message(identifier, self._queue.store.is_held(identifier), replies=True)}

    async def _retry(self, fields: dict[str, Any]) -> dict[str, Any]:
        identifier = "" if fields.get("all") is True else self._id(fields)
        now = self._queue.now()

        def note(connection: apsw.Connection) -> int:
            query = "UPDATE recipient SET next_try = ?1 WHERE state = 0 AND next_try > ?1 AND (?2 = '' OR message = ?2)"
            connection.execute(query, (now, identifier))
            return connection.changes()

        count = await self._queue.store.write(note)
        self._queue.wake(forgive=True)
        return {"count": count}

    async def _hold(self, fields: dict[str, Any]) -> dict[str, Any]:
        return await self._set_held(self._id(fields), held=True)

    async def _release(self, fields: dict[str, Any]) -> dict[str, Any]:
        identifier = self._id(fields)
        answer = await self._set_held(identifier, held=False)
        await self._retry({"id": identifier})
        return answer

    async def _set_held(self, identifier: str, *, held: bool) -> dict[str, Any]:
        def note(connection: apsw.Connection) -> int:
            connection.execute("UPDATE message SET held = ?1 WHERE id = ?2 AND held <> ?1", (int(held), identifier))
            return connection.changes()

        return {"count": await self._queue.store.write(note)}

    async def _delete(self, fields: dict[str, Any]) -> dict[str, Any]:
        identifier = self._id(fields)
        return {"count": await self._queue.give_up(identifier, tell=fields.get("bounce") is True)}

    def _id(self, fields: dict[str, Any]) -> str:
        identifier = _text(fields, "id", None)
        if not self._queue.store.is_known(identifier):
            raise RpcRefused(f"no such message in the queue: {identifier[:40]!r}")
        return identifier

    def _message(self, identifier: str, held: bool, *, replies: bool) -> dict[str, Any] | None:
        store = self._queue.store
        envelope = store.envelope(identifier)
        if envelope is None:
            return None
        return {
            "id": identifier,
            "reverse_path": envelope.reverse_path,
            "received": envelope.received,
            "size": envelope.size,
            "held": held,
            "tried_now": self._queue.is_tried_now(identifier),
            "expires": envelope.received + self._queue.settings.schedule.give_up_after,
            "account": envelope.account,
            "recipients": [_recipient(each, replies=replies) for each in store.recipients(identifier)],
        }


def _recipient(one: Queued, *, replies: bool) -> dict[str, Any]:
    shown = {
        "address": one.address,
        "state": one.state.name.lower(),
        "attempts": one.attempts,
        "next_try": one.next_try if one.state is State.WAITING else 0,
        "tried_at": one.tried_at,
        "status": one.status,
    }
    return shown | ({"reply": one.reply, "host": one.host} if replies else {})


def _text(fields: dict[str, Any], name: str, default: str | None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise RpcRefused(f"{name} is missing")
    return value
