import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from preau.auth.api import AuthUnavailable, CredentialId, Service, SessionId
from preau.auth.client import SocketKeyHolder, decode, encode, fetch_queue_key
from preau.auth.key_local import LocalKeyHolder, LocalKeySource
from preau.auth.key_source import BlockingKeySource
from preau.auth.keys import OPS, KeyServer, KeySettings, create_kek, open_keys
from preau.auth.tickets import Ticket, public_key_of, sign_ticket
from preau.daemon.listener import Listener, bind_unix
from preau.daemon.rpc import RpcClient, RpcRefused
from preau.storage.api import AccountId, AccountKeys
from preau.storage.paths import render_account_id

ACCOUNT, OTHER = (render_account_id(bytes([n]) * 16) for n in (1, 2))
Served = Callable[[Path, KeyServer], Awaitable[None]]


def serve(tmp_path: Path, test: Served, **settings: float) -> None:
    async def running() -> None:
        create_kek(tmp_path / "kek")
        run = tmp_path / "run"
        run.mkdir()
        store = open_keys(tmp_path / "keys.db", tmp_path / "kek")
        server = KeyServer(store, KeySettings(run, **settings), clock=lambda: 1_000.0)  # type: ignore[arg-type]  # floats by name
        await server.start([])
        try:
            await asyncio.wait_for(test(run, server), 30)
        finally:
            await server.drain(1.0)
        open_keys(tmp_path / "keys.db", tmp_path / "kek").close()  # the lock is given back
        assert not list(run.iterdir())

    asyncio.run(running())


async def ticket(run: Path, *scopes: Service, account: AccountId = ACCOUNT, expires: int = 2_000) -> bytes:
    private = await asyncio.to_thread(BlockingKeySource(run / "keys-auth.sock").ticket_key)
    return sign_ticket(Ticket(account, CredentialId("password"), SessionId("s"), frozenset(scopes), 0, expires), private)


def test_a_ticket_opens_its_account_and_delivery_gets_the_rest(tmp_path: Path) -> None:
    async def test(run: Path, server: KeyServer) -> None:
        imap, delivery = SocketKeyHolder(run / "keys-imap.sock"), SocketKeyHolder(run / "keys-delivery.sock")
        keys = await imap.unwrap(await ticket(run, Service.IMAP))
        assert keys.secret is not None
        assert await delivery.delivery_keys(ACCOUNT) == AccountKeys(keys.public, keys.index, keys.cache)
        assert (await imap.unwrap(await ticket(run, Service.IMAP, Service.SMTP))) == keys
        assert (await imap.unwrap(await ticket(run, Service.IMAP, account=OTHER))) != keys
        await imap.close()
        await delivery.close()

    serve(tmp_path, test)


@pytest.mark.parametrize(
    ("socket", "services", "expires", "taken"),
    [
        ("imap", {Service.IMAP}, 1_001, True),
        ("imap", {Service.IMAP}, 1_000, False),
        ("imap", {Service.CALDAV, Service.SMTP}, 2_000, False),
        ("dav", {Service.CARDDAV}, 2_000, True),
        ("dav", {Service.IMAP}, 2_000, False),
        ("managesieve", {Service.SIEVE}, 2_000, True),
        ("managesieve", set(), 2_000, False),
    ],
)
def test_tickets_are_good_for_their_service_and_time(
    tmp_path: Path, socket: str, services: set[Service], expires: int, taken: bool
) -> None:
    async def test(run: Path, server: KeyServer) -> None:
        holder = SocketKeyHolder(run / f"keys-{socket}.sock")
        call = holder.unwrap(await ticket(run, *services, expires=expires))
        if taken:
            assert (await call).secret
        else:
            with pytest.raises(AuthUnavailable, match="ticket"):
                await call
        await holder.close()

    serve(tmp_path, test)


def test_a_ticket_signed_by_someone_else_opens_nothing(tmp_path: Path) -> None:
    async def test(run: Path, server: KeyServer) -> None:
        forged = sign_ticket(
            Ticket(ACCOUNT, CredentialId("password"), SessionId("s"), frozenset({Service.IMAP}), 0, 9_999), bytes(range(32))
        )
        holder = SocketKeyHolder(run / "keys-imap.sock")
        for wrong in (forged, b"", b"\xff" * 500):
            with pytest.raises(AuthUnavailable, match="ticket"):
                await holder.unwrap(wrong)
        await holder.close()

    serve(tmp_path, test)


def test_each_socket_answers_its_own_ops_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    every = {op for ops in OPS.values() for op in ops}

    async def test(run: Path, server: KeyServer) -> None:
        for role, allowed in OPS.items():
            client = RpcClient(run / f"keys-{role}.sock")
            for op in every - allowed | {"close", "__init__", ""}:
                with pytest.raises(RpcRefused, match="not from this socket"):
                    await client.call(op, account=ACCOUNT, why="x", ticket="")
            await client.close()

    serve(tmp_path, test)
    assert "call refused" in caplog.text


@pytest.mark.parametrize("fields", [{}, {"account": 7}, {"account": None}, {"account": "../x"}, {"account": "a" * 5000}])
def test_fields_that_are_none_are_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    async def test(run: Path, server: KeyServer) -> None:
        for role, op in (("delivery", "delivery_keys"), ("admin", "forget"), ("admin", "create"), ("auth", "totp_seal")):
            client = RpcClient(run / f"keys-{role}.sock")
            with pytest.raises(RpcRefused):
                await client.call(op, **fields)
            await client.close()

    serve(tmp_path, test)


def test_auth_gets_the_instances_secrets(tmp_path: Path) -> None:
    async def test(run: Path, server: KeyServer) -> None:
        source = BlockingKeySource(run / "keys-auth.sock")
        pepper, key = await asyncio.to_thread(source.pepper), await asyncio.to_thread(source.ticket_key)
        assert len(pepper) == len(key) == 32
        assert pepper != key
        assert await asyncio.to_thread(source.pepper) == pepper
        blob = await asyncio.to_thread(source.totp_seal, ACCOUNT, b"otp")
        assert await asyncio.to_thread(source.totp_open, ACCOUNT, blob) == b"otp"
        with pytest.raises(AuthUnavailable):
            await asyncio.to_thread(source.totp_open, OTHER, blob)
        smtp, queue = RpcClient(run / "keys-smtp.sock"), RpcClient(run / "keys-queue.sock")
        both = await queue.call("queue_key")
        assert await smtp.call("queue_key") == {"public": both["public"]}
        assert await asyncio.to_thread(fetch_queue_key, run / "keys-queue.sock") == (
            decode(both["public"]),
            decode(both["secret"]),
        )
        assert await asyncio.to_thread(fetch_queue_key, run / "keys-smtp.sock") == (decode(both["public"]), None)
        with pytest.raises(AuthUnavailable):
            await asyncio.to_thread(fetch_queue_key, run / "keys-none.sock", wait=0.0)
        assert len(public_key_of(key)) == 32
        await smtp.close()
        await queue.close()

    serve(tmp_path, test)


def test_administration_and_what_the_log_keeps_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "preau")

    async def test(run: Path, server: KeyServer) -> None:
        admin = RpcClient(run / "keys-admin.sock")
        public = (await admin.call("create", account=ACCOUNT))["public"]
        keys = await admin.call("admin_unwrap", account=ACCOUNT, why="store verify, ticket 12")
        assert keys["public"] == public
        with pytest.raises(RpcRefused, match="say why"):
            await admin.call("admin_unwrap", account=ACCOUNT, why=" ")
        assert (await admin.call("rewrap"))["rewrapped"] == 5
        assert await admin.call("admin_unwrap", account=ACCOUNT, why="again") == keys
        await admin.call("forget", account=ACCOUNT)
        delivery = SocketKeyHolder(run / "keys-delivery.sock")
        with pytest.raises(AuthUnavailable, match="destroyed"):
            await delivery.delivery_keys(ACCOUNT)
        await delivery.close()
        await admin.close()
        logged = " ".join(f"{record.getMessage()} {getattr(record, 'fields', '')}" for record in caplog.records)
        assert "store verify, ticket 12" in logged
        assert not any(keys[name] in logged for name in ("secret", "index", "cache"))

    serve(tmp_path, test)


def test_a_flood_on_one_socket_leaves_the_others_alone(tmp_path: Path) -> None:
    async def test(run: Path, server: KeyServer) -> None:
        flood = RpcClient(run / "keys-delivery.sock", timeout=60)
        calls = [
            asyncio.ensure_future(flood.call("delivery_keys", account=render_account_id(n.to_bytes(16, "big"))))
            for n in range(1, 400)
        ]
        imap = SocketKeyHolder(run / "keys-imap.sock")
        good = await ticket(run, Service.IMAP)
        await imap.unwrap(good)
        await imap.unwrap(good)
        assert not all(call.done() for call in calls)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        made = [answer for answer in answers if isinstance(answer, dict)]
        refused = [answer for answer in answers if isinstance(answer, RpcRefused)]
        assert len(made) >= 200
        assert len(made) + len(refused) == 399
        assert all("too many new accounts" in str(answer) for answer in refused)
        await flood.close()
        await imap.close()

    serve(tmp_path, test, create_burst=200.0, create_rate=0.001)


def test_sockets_may_be_handed_over(tmp_path: Path) -> None:
    async def test() -> None:
        create_kek(tmp_path / "kek")
        settings = KeySettings(tmp_path, roles=())
        server = KeyServer(open_keys(tmp_path / "keys.db", tmp_path / "kek"), settings, clock=time.time)
        await server.start([Listener("keys-queue", bind_unix(tmp_path / "other.sock"))])
        client = RpcClient(tmp_path / "other.sock")
        assert await client.call("queue_key")
        with pytest.raises(RpcRefused):
            await client.call("pepper")
        await client.close()
        await server.drain(1.0)
        other = KeyServer(open_keys(tmp_path / "keys.db", tmp_path / "kek"), settings)
        stray = Listener("imap", bind_unix(tmp_path / "x.sock"))
        with pytest.raises(ValueError, match="not a listener of keys: imap"):
            await other.start([stray])
        stray.socket.close()
        await other.reload()
        await other.drain(0.0)

    asyncio.run(test())


def test_without_a_daemon_the_same_is_asked_in_process(tmp_path: Path) -> None:
    create_kek(tmp_path / "kek")
    store = open_keys(tmp_path / "keys.db", tmp_path / "kek")
    source, holder = LocalKeySource(store), LocalKeyHolder(store)
    assert source.pepper() == source.pepper() != source.ticket_key()
    assert source.totp_open(ACCOUNT, source.totp_seal(ACCOUNT, b"otp")) == b"otp"
    with pytest.raises(AuthUnavailable):
        source.totp_open(OTHER, source.totp_seal(ACCOUNT, b"otp"))

    def signed(expires: int) -> bytes:
        scopes = frozenset({Service.IMAP})
        return sign_ticket(Ticket(ACCOUNT, CredentialId("password"), SessionId("s"), scopes, 0, expires), source.ticket_key())

    async def test() -> None:
        keys = await holder.unwrap(signed(int(time.time()) + 60))
        assert keys.secret
        assert await holder.delivery_keys(ACCOUNT) == AccountKeys(keys.public, keys.index, keys.cache)
        for call in (holder.unwrap(signed(1)), holder.unwrap(b""), holder.delivery_keys(AccountId("x"))):
            with pytest.raises(AuthUnavailable):
                await call

    asyncio.run(test())
    store.close()


def test_encoding_is_base64() -> None:
    assert encode(b"\xff\x00") == "/wA="
