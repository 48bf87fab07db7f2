"""Sign-in with SCRAM through the engine: the same judgement, words and traces as for a password that is said."""

import asyncio
import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Coroutine
from pathlib import Path

import pytest
from scramp import ScramClient

from auth_bench import PASSWORD, AuthBench, attempt, auth_bench
from preau.auth import scram
from preau.auth.api import AuthUnavailable, Denied, Granted, Reason, ScramAttempt, ScramExchange, ScramGranted, Service
from preau.auth.engine import EngineSettings
from preau.auth.exchanges import MAX_OF_NETWORK, SECONDS
from preau.auth.tickets import public_key_of, verify_ticket
from preau.storage.api import Unavailable

MARIE = "marie@ecole.example"
DAY = 86_400


def run(scenario: Coroutine[None, None, None]) -> None:
    asyncio.run(scenario)


def add_marie(bench: AuthBench) -> str:
    bench.admin.user_add(MARIE, name="Marie Durand", password=PASSWORD)
    return str(bench.admin.app_password_add(MARIE, label="Telephone")["password"])


def opening(message: bytes, *, address: str = "192.0.2.7", service: Service = Service.IMAP, tls: bool = True) -> ScramAttempt:
    return ScramAttempt(service, message, address, tls, "client")


async def prove(
    bench: AuthBench,
    login: str,
    secret: str,
    *,
    address: str = "192.0.2.7",
    service: Service = Service.IMAP,
    tls: bool = True,
    authzid: str = "",
) -> Granted | Denied:
    """A whole exchange of scramp's client, who checks our signature when we grant."""
    client = ScramClient([scram.NAME], login, secret)
    message = client.get_client_first()
    if authzid:
        message = message.replace("n,,", f"n,a={authzid},", 1)
    begun = await bench.engine.begin_scram(opening(message.encode(), address=address, service=service, tls=tls))
    if isinstance(begun, Denied):
        return begun
    client.set_server_first(begun.challenge.decode())
    final = client.get_client_final()
    if authzid:  # scramp knows no authzid: the proof is worked out here
        final = _final_by_hand(message, begun.challenge.decode(), secret)
    ended = await bench.engine.finish_scram(begun, final.encode())
    if isinstance(ended, Denied):
        return ended
    if not authzid:
        client.set_server_final(ended.final.decode())
    return ended.granted


def _final_by_hand(message: str, challenge: str, secret: str) -> str:
    flag, authzid, bare = message.split(",", 2)
    nonce, salt, count = (part[2:] for part in challenge.split(",", 2))
    without_proof = f"c={base64.b64encode(f'{flag},{authzid},'.encode()).decode()},r={nonce}"
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), base64.b64decode(salt), int(count))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), f"{bare},{challenge},{without_proof}".encode(), "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    return f"{without_proof},p={base64.b64encode(proof).decode()}"


async def proven(bench: AuthBench, login: str, secret: str, **how: object) -> Granted:
    answer = await prove(bench, login, secret, **how)  # type: ignore[arg-type]  # passed on
    assert isinstance(answer, Granted), answer
    return answer


async def disproven(bench: AuthBench, login: str, secret: str, **how: object) -> Denied:
    answer = await prove(bench, login, secret, **how)  # type: ignore[arg-type]  # passed on
    assert isinstance(answer, Denied), answer
    return answer


def test_a_proof_gives_what_saying_it_gives(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            tablet = str(bench.admin.app_password_add(MARIE, label="Tablette", scopes=["imap"])["password"])
            for login in (MARIE, "Marie@Ecole.Example", "marie"):
                answer = await proven(bench, login, phone)
                assert (answer.identity.address, answer.credential, answer.scopes) == (MARIE, "app:1", frozenset(Service))
            ticket = verify_ticket(answer.ticket, public_key_of(b"t" * 32), int(bench.clock()))
            assert (ticket.account, ticket.session) == (answer.identity.account, answer.session)
            assert await bench.engine.check_session(answer.session)
            answer = await proven(bench, MARIE, tablet.replace("-", ""))
            assert (answer.credential, answer.scopes) == ("app:2", frozenset({Service.IMAP}))
            events = [json.loads(line) for line in bench.events()]
            assert [(event["cred"], event["mech"]) for event in events if event["ev"] == "auth.ok"] == [
                ("app:1", scram.NAME)
            ] * 3 + [("app:2", scram.NAME)]
            await bench.engine.flush()
            assert bench.admin.app_password_list(MARIE)[1]["last_used"] == bench.clock()

    run(scenario())


def test_what_does_not_prove(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            bench.admin.user_add("paul@ecole.example")
            for login, secret in (
                (MARIE, PASSWORD),  # the password has no keys: it is said, over TLS, or not used
                (MARIE, phone[:-1]),
                (MARIE, phone.upper()),
                ("paul@ecole.example", phone),
                ("nobody@ecole.example", phone),
                ("*)(uid=*", phone),
            ):
                assert (await disproven(bench, login, secret)).reason is Reason.CREDENTIALS, login
            assert (await proven(bench, MARIE, phone)).credential == "app:1"

    run(scenario())


@pytest.mark.parametrize(
    ("changes", "tried", "reason"),
    [
        pytest.param({"scopes": ["imap"]}, {"service": Service.SMTP}, Reason.SCOPE, id="scope"),
        pytest.param({"networks": ["10.0.0.0/8"]}, {}, Reason.NETWORK, id="network"),
        pytest.param({"expires_days": 1}, {}, Reason.EXPIRED, id="expired"),
        pytest.param({}, {"tls": False}, Reason.CLEARTEXT, id="clear text"),
        pytest.param({}, {"authzid": "paul@ecole.example"}, Reason.CREDENTIALS, id="to act as another"),
    ],
)
def test_limits_are_those_of_a_password_that_is_said(
    tmp_path: Path, changes: dict[str, object], tried: dict[str, object], reason: Reason
) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            phone = str(bench.admin.app_password_add(MARIE, label="x", **changes)["password"])  # type: ignore[arg-type]  # by name
            if reason is Reason.EXPIRED:
                await proven(bench, MARIE, phone)
                bench.clock.advance(DAY)
            said = await bench.engine.authenticate(attempt(MARIE, phone, **tried))  # type: ignore[arg-type]  # by name
            shown = await disproven(bench, MARIE, phone, **tried)
            assert isinstance(said, Denied)
            assert shown.reason is said.reason is reason

    run(scenario())


def test_the_authzid_of_oneself_is_fine(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            for authzid in (MARIE, "marie", "MARIE@ecole.example"):
                await proven(bench, "marie", phone, authzid=authzid)

    run(scenario())


def test_second_factor_suspension_and_revocation(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            bench.admin.totp_add(MARIE)
            await proven(bench, MARIE, phone)
            bench.admin.user_lock(MARIE, reason="vol du telephone")
            assert (await disproven(bench, MARIE, phone)).reason is Reason.SUSPENDED
            assert (await disproven(bench, MARIE, "k7mfp")).reason is Reason.CREDENTIALS
            bench.admin.user_unlock(MARIE)
            bench.admin.app_password_revoke(MARIE, "app:1")
            refused = await disproven(bench, MARIE, phone)
            assert refused.reason is Reason.CREDENTIALS
            (event,) = bench.admin.why(refused.reference)
            assert (event["why"], event["cred"], event["mech"], event["cli"]) == ("revoked", "app:1", scram.NAME, "client")

    run(scenario())


def test_what_is_revoked_during_an_exchange_stays_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            client = ScramClient([scram.NAME], MARIE, phone)
            begun = await bench.engine.begin_scram(opening(client.get_client_first().encode()))
            assert isinstance(begun, ScramExchange)
            bench.admin.app_password_revoke(MARIE, "app:1")
            client.set_server_first(begun.challenge.decode())
            ended = await bench.engine.finish_scram(begun, client.get_client_final().encode())
            assert isinstance(ended, Denied)

    run(scenario())


def test_an_app_password_of_before_is_not_known_to_scram(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            bench.accounts.connection.execute("UPDATE credential SET scram = NULL")
            await disproven(bench, MARIE, phone)
            assert isinstance(await bench.engine.authenticate(attempt(MARIE, phone)), Granted)

    run(scenario())


def test_an_import_makes_keys_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            made = bench.admin.user_import([{"address": MARIE}, {"address": "paul@ecole.example"}], app_passwords=True)
            for address, secret in made["passwords"].items():
                assert (await proven(bench, address, secret)).identity.address == address
            await disproven(bench, MARIE, made["passwords"]["paul@ecole.example"])

    run(scenario())


def test_a_login_that_is_none_is_challenged_like_any_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            bench.admin.user_add("paul@ecole.example")
            shapes, salts = set(), list[str]()
            logins = (MARIE, "paul@ecole.example", "nobody@ecole.example", "nobody@elsewhere.example", "no address")
            for login in (*logins, *logins):
                begun = await bench.engine.begin_scram(opening(f"n,,n={login},r=abc".encode()))
                assert isinstance(begun, ScramExchange)
                nonce, salt, count = begun.challenge.decode().split(",")
                assert nonce.startswith("r=abc")
                shapes.add((len(nonce), len(salt), count))
                salts.append(salt)
                end = begun.challenge.partition(b",")[0] + b",p=" + base64.b64encode(bytes(32))
                ended = await bench.engine.finish_scram(begun, b"c=biws," + end)
                assert isinstance(ended, Denied)
                assert dataclasses.replace(ended, reference="") == Denied(Reason.CREDENTIALS, "")
            assert shapes == {(2 + 3 + 24, 2 + 24, "i=4096")}
            assert salts[:5] == salts[5:]
            assert len(set(salts)) == 5
            begun = await bench.engine.begin_scram(opening(b"n,,n=NOBODY@ecole.example,r=abc"))
            assert isinstance(begun, ScramExchange)
            assert salts[2].encode() in begun.challenge

    run(scenario())


def test_the_same_work_for_every_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = scram._padded

    def count(keys: list[bytes]) -> list[bytes]:
        padded = list(real(keys))
        seen.append(len(padded))
        return padded

    monkeypatch.setattr(scram, "_padded", count)

    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            await proven(bench, MARIE, phone)
            await disproven(bench, MARIE, "wrong")
            await disproven(bench, "nobody@ecole.example", phone)
            assert seen == [scram.PADDED] * 3

    run(scenario())


@pytest.mark.parametrize(
    ("response", "why"),
    [
        pytest.param(b"", "malformed", id="nothing"),
        pytest.param(b"c=biws,r=abc,p=" + base64.b64encode(bytes(32)), "another exchange", id="a nonce not ours"),
        pytest.param(b"c=eSws,r=%n,p=" + base64.b64encode(bytes(32)), "another exchange", id="another header"),
        pytest.param(b"c=biws,r=%n,p=" + base64.b64encode(bytes(32)), "app password", id="a wrong proof"),
        pytest.param(b"c=biws,r=%n,p=AAAA", "malformed", id="a short proof"),
    ],
)
def test_final_messages_that_prove_nothing(tmp_path: Path, response: bytes, why: str) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            begun = await bench.engine.begin_scram(opening(b"n,,n=marie,r=abc"))
            assert isinstance(begun, ScramExchange)
            ours = begun.challenge.partition(b",")[0][2:]
            ended = await bench.engine.finish_scram(begun, response.replace(b"%n", ours))
            assert isinstance(ended, Denied)
            assert ended.reason is Reason.CREDENTIALS
            assert bench.admin.why(ended.reference)[0]["why"] == why

    run(scenario())


def test_first_messages_that_are_none_are_refused_here_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            for message in (b"", b"p=tls-unique,,n=marie,r=abc", b"n,,n=" + b"m" * 5000 + b",r=abc", b"\xff" * 100):
                answer = await bench.engine.begin_scram(opening(message))
                assert isinstance(answer, Denied)
                assert answer.reason is Reason.CREDENTIALS

    run(scenario())


def test_an_exchange_takes_one_answer_and_lives_a_minute(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            for seconds in (0, SECONDS - 1, SECONDS, SECONDS + 1):
                client = ScramClient([scram.NAME], MARIE, phone)
                begun = await bench.engine.begin_scram(opening(client.get_client_first().encode()))
                assert isinstance(begun, ScramExchange)
                client.set_server_first(begun.challenge.decode())
                final = client.get_client_final().encode()
                bench.clock.advance(seconds)
                if seconds < SECONDS:
                    assert isinstance(await bench.engine.finish_scram(begun, final), ScramGranted)
                with pytest.raises(AuthUnavailable, match="exchange"):
                    await bench.engine.finish_scram(begun, final)
            with pytest.raises(AuthUnavailable):
                await bench.engine.finish_scram(ScramExchange("nonsense", b""), b"")

    run(scenario())


def test_a_flood_of_beginnings_ends_nobody_elses(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path, EngineSettings(domains=("ecole.example",))) as bench:
            phone = add_marie(bench)
            client = ScramClient([scram.NAME], MARIE, phone)
            begun = await bench.engine.begin_scram(opening(client.get_client_first().encode()))
            assert isinstance(begun, ScramExchange)
            for _ in range(3 * MAX_OF_NETWORK):
                await bench.engine.begin_scram(opening(b"n,,n=marie,r=abc", address="198.51.100.1"))
            assert len(bench.engine._exchanges) == MAX_OF_NETWORK + 1
            client.set_server_first(begun.challenge.decode())
            assert isinstance(await bench.engine.finish_scram(begun, client.get_client_final().encode()), ScramGranted)

    run(scenario())


def test_proofs_count_for_no_lock(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            for number in range(40):
                assert (await disproven(bench, MARIE, f"guess {number}")).reason is Reason.CREDENTIALS
            await proven(bench, MARIE, phone)
            assert isinstance(await bench.engine.authenticate(attempt(MARIE, PASSWORD)), Granted)

    run(scenario())


def test_without_traces_nobody_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **fields: object) -> None:
        raise Unavailable("disk full")

    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            client = ScramClient([scram.NAME], MARIE, phone)
            begun = await bench.engine.begin_scram(opening(client.get_client_first().encode()))
            assert isinstance(begun, ScramExchange)
            client.set_server_first(begun.challenge.decode())
            monkeypatch.setattr(bench.traces, "event", full)
            with pytest.raises(AuthUnavailable):
                await bench.engine.finish_scram(begun, client.get_client_final().encode())
            monkeypatch.undo()

    run(scenario())


def test_an_engine_that_has_not_started_cannot_say(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            await bench.engine.close()
            with pytest.raises(AuthUnavailable):
                await bench.engine.begin_scram(opening(b"n,,n=marie,r=abc"))
            with pytest.raises(AuthUnavailable):
                await bench.engine.finish_scram(ScramExchange("x", b""), b"")

    run(scenario())
