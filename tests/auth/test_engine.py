"""The verifier: what opens, what does not, and that nobody outside can tell why."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from auth_bench import PASSWORD, AuthBench, attempt, auth_bench
from preau.auth.api import AuthUnavailable, Denied, Granted, Reason, Revocation, Service, SessionId
from preau.auth.directory import Directory
from preau.auth.engine import EngineSettings
from preau.auth.policies.chain import PolicySettings
from preau.auth.policies.tls import TlsSettings
from preau.auth.tickets import public_key_of, verify_ticket

MARIE = "marie@ecole.example"
DAY = 86_400


def run(scenario: object) -> None:
    asyncio.run(scenario)  # type: ignore[arg-type]  # a coroutine


def add_marie(bench: AuthBench) -> str:
    """Marie with a password and an app password, which is answered."""
    bench.admin.user_add(MARIE, name="Marie Durand", password=PASSWORD)
    return str(bench.admin.app_password_add(MARIE, label="Telephone")["password"])


async def granted(bench: AuthBench, *args: object, **kwargs: object) -> Granted:
    answer = await bench.engine.authenticate(attempt(*args, **kwargs))  # type: ignore[arg-type]  # passed on
    assert isinstance(answer, Granted), answer
    return answer


async def denied(bench: AuthBench, *args: object, **kwargs: object) -> Denied:
    answer = await bench.engine.authenticate(attempt(*args, **kwargs))  # type: ignore[arg-type]  # passed on
    assert isinstance(answer, Denied), answer
    return answer


def test_what_a_sign_in_gives(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            answer = await granted(bench, "Marie@Ecole.Example", phone)
            assert answer.identity.address == MARIE
            assert answer.identity.name == "Marie Durand"
            assert answer.credential == "app:1"
            assert answer.scopes == frozenset(Service)
            ticket = verify_ticket(answer.ticket, public_key_of(b"t" * 32), int(bench.clock()))
            assert (ticket.account, ticket.session) == (answer.identity.account, answer.session)
            assert answer.expires == ticket.expires == bench.clock() + 600
            by_password = await granted(bench, "marie", PASSWORD)
            assert by_password.credential == "password"
            assert by_password.identity == answer.identity

    run(scenario())


@pytest.mark.parametrize(
    ("login", "secret"),
    [
        pytest.param(MARIE, "wrong password here", id="wrong password"),
        pytest.param(MARIE, "", id="empty password"),
        pytest.param(MARIE, "x" * 2000, id="long password"),
        pytest.param(MARIE, "\ud800", id="lone surrogate"),
        pytest.param("nobody@ecole.example", PASSWORD, id="unknown"),
        pytest.param("marie@elsewhere.example", PASSWORD, id="another domain"),
        pytest.param("", PASSWORD, id="no login"),
        pytest.param("*)(uid=*", PASSWORD, id="LDAP filter"),
        pytest.param("' OR '1'='1", PASSWORD, id="SQL"),
        pytest.param("marie@ecole.example\0", PASSWORD, id="NUL"),
        pytest.param("m" * 100_000, PASSWORD, id="long login"),
        pytest.param("marie+tag@ecole.example", PASSWORD, id="sub-address"),
    ],
)
def test_what_does_not_open(tmp_path: Path, login: str, secret: str) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            assert (await denied(bench, login, secret)).reason is Reason.CREDENTIALS

    run(scenario())


def test_a_second_factor_closes_the_password_and_reads_like_a_wrong_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            bench.admin.totp_add(MARIE)
            wrong = await denied(bench, MARIE, "wrong password here")
            right = await denied(bench, MARIE, PASSWORD)
            assert dataclasses.replace(right, reference=wrong.reference) == wrong
            for service in Service:
                await granted(bench, MARIE, phone, service=service)
                assert (await denied(bench, MARIE, PASSWORD, service=service)).reason is Reason.CREDENTIALS
            bench.admin.totp_remove(MARIE)
            await granted(bench, MARIE, PASSWORD)

    run(scenario())


def test_a_right_password_without_its_factor_counts_like_a_wrong_one(tmp_path: Path) -> None:
    """Else the one guess that does not bring the wait nearer would be the password."""

    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            bench.admin.totp_add(MARIE)
            for number in range(4):
                await denied(bench, MARIE, f"guess number {number}")
            assert (await denied(bench, MARIE, PASSWORD)).reason is Reason.CREDENTIALS
            assert (await denied(bench, MARIE, "the next guess")).reason is Reason.LOCKED

    run(scenario())


def test_known_and_unknown_logins_get_the_same_answers_to_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            bench.admin.user_add("paul@ecole.example")  # without a password
            answers: dict[str, list[tuple[object, ...]]] = {}
            for number, login in enumerate((MARIE, "paul@ecole.example", "nobody@ecole.example")):
                address = f"198.51.{number}.1"
                for guess in (*(f"guess number {guess}" for guess in range(8)), phone[:-1] + "a", "guess number 1"):
                    answer = await denied(bench, login, guess, address=address)
                    assert len(answer.reference) == 4
                    answers.setdefault(login, []).append((answer.reason, answer.retry_after))
                bench.clock.advance(61)
                answer = await denied(bench, login, "one more guess", address=address)
                answers[login].append((answer.reason, answer.retry_after))
            marie, paul, nobody = answers.values()
            assert marie == paul == nobody
            assert [reason for reason, _ in marie].count(Reason.LOCKED) == 5

    run(scenario())


def test_known_and_unknown_logins_cost_one_argon2_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from preau.auth import passwords
    from preau.auth.backends import sqlite

    verified: list[str] = []
    real = passwords.verify_password

    def count(stored: str, password: str, pepper: bytes) -> object:
        verified.append(password)
        return real(stored, password, pepper)

    monkeypatch.setattr(sqlite, "verify_password", count)

    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            bench.admin.user_add("paul@ecole.example")
            for login in (MARIE, "paul@ecole.example", "nobody@ecole.example", "nobody@elsewhere.example", "no address"):
                verified.clear()
                await denied(bench, login, f"guess for {login}", address="198.51.100.1")
                assert len(verified) == 1, login
            verified.clear()
            await granted(bench, MARIE, phone)
            await denied(bench, "nobody@ecole.example", phone)
            await denied(bench, MARIE, phone.replace(phone[6], phone[7], 1))
            assert [word for word in verified if word == phone] == []

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
def test_limits_of_app_passwords(tmp_path: Path, changes: dict[str, object], tried: dict[str, object], reason: Reason) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            phone = bench.admin.app_password_add(MARIE, label="x", **changes)["password"]  # type: ignore[arg-type]  # by name
            if reason is Reason.EXPIRED:
                await granted(bench, MARIE, phone)
                bench.clock.advance(DAY)
            assert (await denied(bench, MARIE, phone, **tried)).reason is reason
            assert (await denied(bench, MARIE, phone[:-1] + "#", **tried)).reason in (Reason.CREDENTIALS, Reason.CLEARTEXT)

    run(scenario())


def test_an_app_password_in_use_does_not_expire_and_an_idle_one_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            for _ in range(4):
                bench.clock.advance(60 * DAY)
                await granted(bench, MARIE, phone)
                await bench.engine.flush()
            (listed,) = bench.admin.app_password_list(MARIE)
            assert (listed["last_used"], listed["last_service"]) == (bench.clock(), "imap")
            assert listed["last_network"] == "192.0.2.0/24"
            bench.clock.advance(90 * DAY)
            assert (await denied(bench, MARIE, phone)).reason is Reason.EXPIRED

    run(scenario())


def test_last_uses_are_written_once_in_six_hours_and_network(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)

            async def wrote() -> bool:
                await granted(bench, MARIE, phone, address=address)
                return bool(bench.engine._usage._pending.used)

            address = "192.0.2.7"
            assert await wrote()
            await bench.engine.flush()
            assert not await wrote()
            address = "198.51.100.7"
            assert await wrote()
            await bench.engine.flush()
            bench.clock.advance(6 * 3600)
            assert await wrote()

    run(scenario())


def test_the_authzid_of_oneself_is_fine(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            for authzid in (MARIE, "marie", "MARIE@ecole.example"):
                await granted(bench, "marie", phone, authzid=authzid)

    run(scenario())


def test_a_locked_account_says_so_to_the_right_secret_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            bench.admin.user_lock(MARIE, reason="vol du telephone")
            assert (await denied(bench, MARIE, phone)).reason is Reason.SUSPENDED
            assert (await denied(bench, MARIE, PASSWORD)).reason is Reason.SUSPENDED
            assert (await denied(bench, MARIE, "wrong password here")).reason is Reason.CREDENTIALS
            bench.admin.user_unlock(MARIE)
            await granted(bench, MARIE, phone)
            await granted(bench, MARIE, PASSWORD)

    run(scenario())


def test_plaintext_on_loopback_only_where_it_is_allowed(tmp_path: Path) -> None:
    settings = EngineSettings(
        domains=("ecole.example",),
        default_domain="ecole.example",
        policies=PolicySettings(tls=TlsSettings(plaintext_loopback=True)),
    )

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings) as bench:
            phone = add_marie(bench)
            await granted(bench, MARIE, phone, tls=False, address="127.0.0.1")
            assert (await denied(bench, MARIE, phone, tls=False)).reason is Reason.CLEARTEXT

    run(scenario())


# -- T2 and T5


def test_an_owner_is_not_locked_out_by_others(tmp_path: Path) -> None:
    """T5: an hour of guesses from everywhere; the owner's phone and the school's network do not feel it."""

    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            await granted(bench, MARIE, PASSWORD, address="10.20.0.5")  # the school's network is known from now on
            ends: dict[str, int] = {}
            for second in range(0, 3600, 20):
                bench.clock.advance(20)
                network = second // 20 % 6
                answer = await denied(bench, MARIE, f"guess number {second}", address=f"203.0.{network}.9")
                if answer.reason is Reason.LOCKED:
                    end = int(bench.clock()) + answer.retry_after
                    assert ends.setdefault(f"{network}", end) == end or end > ends[f"{network}"]
                    if bench.clock() < ends[f"{network}"]:
                        assert ends[f"{network}"] == end, "the end of a wait never moves"
                    ends[f"{network}"] = end
                await granted(bench, MARIE, phone, address="203.1.113.77")
                if second % 600 == 0:
                    await granted(bench, MARIE, PASSWORD, address="10.20.0.99")
            assert len(ends) == 6
            assert (await denied(bench, MARIE, "one more guess", address="203.0.0.9")).reason is Reason.LOCKED
            await granted(bench, MARIE, phone, address="203.0.0.9")  # behind the attacker's own address

    run(scenario())


def test_a_school_behind_one_address_keeps_working_while_one_machine_guesses(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            school = "10.20.0.5"
            await granted(bench, MARIE, PASSWORD, address=school)
            reasons = [
                (await denied(bench, f"pupil{number}@ecole.example", "guess number 1", address=school)).reason
                for number in range(40)
            ]
            assert reasons[-1] is Reason.LOCKED
            bench.engine._verified.forget(None)
            await granted(bench, MARIE, PASSWORD, address=school)
            await granted(bench, MARIE, phone, address=school)
            bench.admin.user_add("paul@ecole.example", password=PASSWORD)  # new there: waits like everybody
            assert (await denied(bench, "paul@ecole.example", PASSWORD, address=school)).reason is Reason.LOCKED

    run(scenario())


def test_brute_force_from_many_addresses_reaches_the_limits_and_phones_pass(tmp_path: Path) -> None:
    """T2: a thousand guesses from fifty loopback networks."""
    settings = EngineSettings(domains=("ecole.example",), policies=PolicySettings(tls=TlsSettings(plaintext_loopback=True)))

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings) as bench:
            phone = add_marie(bench)
            reasons: list[Reason] = []

            async def guess(number: int) -> None:
                try:
                    where = f"127.0.{number % 50}.{number % 250}"
                    reasons.append((await denied(bench, MARIE, f"guess number {number}", address=where, tls=False)).reason)
                except AuthUnavailable:
                    pass  # the queue of password checks is full: that is its purpose

            async def phones() -> None:
                for number in range(10):
                    await granted(bench, MARIE, phone, address=f"127.1.{number % 50}.7", tls=False)
                    await asyncio.sleep(0)

            for wave in range(20):  # each from all fifty networks
                await asyncio.gather(phones(), *(guess(wave * 50 + number) for number in range(50)))
            assert reasons.count(Reason.CREDENTIALS) == 50 * 5
            assert reasons.count(Reason.LOCKED) == 50 * 15

    run(scenario())


def test_a_hundred_guesses_at_once_are_five_guesses(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            answers = await asyncio.gather(*(denied(bench, MARIE, f"guess number {number}") for number in range(100)))
            assert [answer.reason for answer in answers].count(Reason.CREDENTIALS) == 5

    run(scenario())


def test_ten_connections_with_one_old_password_are_one_failure(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            for _ in range(20):
                answers = await asyncio.gather(*(denied(bench, MARIE, "the old password") for _ in range(10)))
                assert {answer.reason for answer in answers} == {Reason.CREDENTIALS}
            await granted(bench, MARIE, PASSWORD)

    run(scenario())


def test_waits_outlive_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            for number in range(5):
                await denied(bench, MARIE, f"guess number {number}")
                await denied(bench, "nobody@ecole.example", f"guess number {number}", address="198.51.100.1")
        async with auth_bench(tmp_path) as bench:
            assert (await denied(bench, MARIE, PASSWORD)).retry_after == 60
            unknown = await denied(bench, "nobody@ecole.example", PASSWORD, address="198.51.100.1")
            assert unknown.retry_after == 60
            bench.admin.user_unlock(MARIE)
            await granted(bench, MARIE, PASSWORD)

    run(scenario())


def test_a_network_that_fails_much_waits_and_few_wait_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        release = asyncio.Event()
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)
            await release.wait()

        async with auth_bench(tmp_path, sleep=sleep) as bench:
            for number in range(8):
                bench.admin.user_add(f"user{number}@ecole.example")
            for number in range(32):
                await denied(bench, f"user{number // 4}@ecole.example", f"guess number {number}")
                if number == 29:
                    break
            tries = [
                asyncio.create_task(denied(bench, "user7@ecole.example", f"more {number}", address="192.0.2.9"))
                for number in range(3)
            ]
            await asyncio.sleep(0)
            busy = await denied(bench, "user6@ecole.example", "a fourth at once")
            assert busy.reason is Reason.LOCKED
            release.set()
            assert {(await one).reason for one in tries} <= {Reason.CREDENTIALS, Reason.LOCKED}
            assert waited == [2.0] * 3

    run(scenario())


# -- revocation


def test_revoking_ends_sessions_and_forgets_what_was_verified(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            other = bench.admin.app_password_add(MARIE, label="Ordinateur")
            heard: list[Revocation] = []
            bench.engine.on_revoke(heard.append)
            by_phone, by_other = await granted(bench, MARIE, phone), await granted(bench, MARIE, other["password"])
            bench.admin.app_password_revoke(MARIE, "app:1")
            assert [(one.account, one.credential) for one in heard] == [(by_phone.identity.account, "app:1")]
            assert not await bench.engine.check_session(by_phone.session)
            assert await bench.engine.check_session(by_other.session)
            assert (await denied(bench, MARIE, phone)).reason is Reason.CREDENTIALS
            await granted(bench, MARIE, other["password"])

    run(scenario())


@pytest.mark.parametrize("act", ["lock", "delete", "password", "totp"])
def test_a_remembered_password_is_forgotten(tmp_path: Path, act: str) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            session = (await granted(bench, MARIE, PASSWORD)).session
            bench.clock.advance(1)
            assert await bench.engine.check_session(session)
            match act:
                case "lock":
                    bench.admin.user_lock(MARIE, reason="test")
                case "delete":
                    bench.admin.user_delete(MARIE)
                case "password":
                    bench.admin.user_password(MARIE, "tout autre chose ici")
                case "totp":
                    bench.admin.totp_add(MARIE)
            assert isinstance(await denied(bench, MARIE, PASSWORD), Denied)
            assert not await bench.engine.check_session(session)

    run(scenario())


def test_sessions_are_known_again_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            session = (await granted(bench, MARIE, phone)).session
        async with auth_bench(tmp_path) as bench:
            assert await bench.engine.check_session(session)
            assert not await bench.engine.check_session(SessionId(session[:-1] + "x"))
            assert not await bench.engine.check_session(SessionId("nonsense"))
            bench.admin.user_lock(MARIE, reason="test")
            assert not await bench.engine.check_session(session)
            bench.clock.advance(1)
            bench.admin.user_unlock(MARIE)
            assert not await bench.engine.check_session(session), "it ended when the account was locked"

    run(scenario())


def test_an_account_changed_while_its_password_is_verified_stays_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            backend = bench.engine._backends.of_domain("")
            real = backend.verify

            def slow(*args: object) -> object:
                verdict = real(*args)  # type: ignore[arg-type]  # passed on
                bench.clock.advance(5)
                with bench.accounts.transaction():
                    account = bench.accounts.by_address(MARIE)
                    assert account is not None
                    bench.accounts.set_password(account.id, "{PREAU}another", int(bench.clock()))
                return verdict

            monkeypatch.setattr(backend, "verify", slow)
            with pytest.raises(AuthUnavailable, match="changed"):
                await bench.engine.authenticate(attempt(MARIE, PASSWORD))

    run(scenario())


# -- failures


def test_nothing_works_before_the_key_holder_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            engine = type(bench.engine)(tmp_path / "auth.db", bench.keys, bench.traces)
            bench.keys.down = True
            with pytest.raises(AuthUnavailable):
                await engine.start()
            with pytest.raises(AuthUnavailable):
                await engine.authenticate(attempt(MARIE, PASSWORD))

    run(scenario())


def test_without_a_trace_nobody_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from preau.storage.api import Unavailable

    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)

            def full(*args: object, **fields: object) -> int:
                raise Unavailable("no space left")

            with monkeypatch.context() as patch:
                patch.setattr(bench.traces, "event", full)
                with pytest.raises(AuthUnavailable):
                    await bench.engine.authenticate(attempt(MARIE, phone))
            await granted(bench, MARIE, phone)

    run(scenario())


def test_a_full_queue_of_passwords_leaves_app_passwords_alone(tmp_path: Path) -> None:
    settings = EngineSettings(domains=("ecole.example",), hash_threads=1, hash_queue=2)

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings) as bench:
            phone = add_marie(bench)
            tries = [
                bench.engine.authenticate(attempt(f"nobody{number}@ecole.example", "guess", address=f"10.0.{number}.1"))
                for number in range(10)
            ]
            answers = await asyncio.gather(*tries, granted(bench, MARIE, phone), return_exceptions=True)
            assert sum(isinstance(answer, AuthUnavailable) for answer in answers) == 7
            assert isinstance(answers[-1], Granted)
            await denied(bench, MARIE, "and then there is room again", address="10.9.9.9")

    run(scenario())


# -- traces


def test_traces_tell_what_happened_and_no_secret(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            answer = await granted(bench, MARIE, phone, client="Thunderbird\r\nevil")
            await bench.engine.close_session(answer.session)
            wrong = await denied(bench, MARIE, "wrong password here")
            await denied(bench, "my-secret-typed-as-login", "wrong password here")
            events = [json.loads(line) for line in bench.events()]
            ok, close, fail, unknown = events[-4:]
            assert (ok["ev"], ok["acct"], ok["cred"]) == ("auth.ok", answer.identity.account, "app:1")
            assert (ok["net"], ok["svc"], ok["cli"]) == ("192.0.2.0/24", "imap", "Thunderbird\r\nevil")
            assert (close["ev"], close["sid"]) == ("sess.close", ok["sid"])
            assert (fail["ev"], fail["why"], fail["ref"]) == ("auth.fail", "password", wrong.reference)
            assert (unknown["ev"], unknown["len"]) == ("auth.fail", 24)
            text = "\n".join(bench.events())
            for secret in (PASSWORD, "wrong password here", "my-secret-typed-as-login", phone, phone.replace("-", "")):
                assert secret not in text
            assert answer.session not in text
            assert [event["address"] for event in bench.admin.why(wrong.reference.lower())] == [MARIE]
            assert bench.admin.traces_verify()["ok"]

    run(scenario())


def test_a_flood_of_refusals_is_not_a_flood_of_lines(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            bench.admin.app_password_revoke(MARIE, "1")
            before = len(bench.events())
            for number in range(500):
                await denied(bench, MARIE, phone)
                await denied(bench, f"nobody{number}@ecole.example", phone)
            assert len(bench.events()) == before + 2
            bench.clock.advance(61)
            await bench.engine.flush()
            assert [json.loads(line)["n"] for line in bench.events()[-2:]] == [499, 499]

    run(scenario())


# -- recipients


def test_lookup(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            bench.admin.group_add("team@ecole.example", members=[MARIE, "guest@elsewhere.example"])
            for address in ("Marie+list@ecole.example", "marie@ecole.example"):
                (found,) = (await bench.engine.lookup(address)).local
                assert found.address == MARIE
            team = await bench.engine.lookup("team@ecole.example")
            assert ([one.address for one in team.local], list(team.outside)) == ([MARIE], ["guest@elsewhere.example"])
            for nowhere in ("nobody@ecole.example", "@", "", "x" * 10_000, "a@b@c"):
                unknown = await bench.engine.lookup(nowhere)
                assert (list(unknown.local), list(unknown.outside)) == ([], [])

    run(scenario())


def test_administrators_read_what_is_for_postmaster(tmp_path: Path) -> None:
    """RFC 5321 section 4.5.1: until somebody else is given the address."""

    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            assert not (await bench.engine.lookup("postmaster@ecole.example")).local
            bench.admin.user_add("chef@ecole.example", admin=True)
            for address in ("postmaster@ecole.example", "Abuse@Ecole.example", "abuse+spam@ecole.example"):
                found = await bench.engine.lookup(address)
                expected = [] if "+" in address else ["chef@ecole.example"]
                assert [one.address for one in found.local] == expected
            assert not (await bench.engine.lookup("postmaster@elsewhere.example")).local
            bench.admin.group_add("postmaster@ecole.example", members=[MARIE])
            assert [one.address for one in (await bench.engine.lookup("postmaster@ecole.example")).local] == [MARIE]

    run(scenario())


@pytest.mark.parametrize(
    ("address", "served"),
    [
        (MARIE, True),
        ("nobody@ecole.example", True),
        ('"a b"@Ecole.example', True),
        ("marie", True),
        ("a@elsewhere.example", False),
        ("a@sub.ecole.example", False),
        ("a@[127.0.0.1]", False),
        ("@", False),
    ],
)
def test_a_lookup_tells_whether_the_domain_is_ours(tmp_path: Path, address: str, served: bool) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            add_marie(bench)
            assert (await bench.engine.lookup(address)).served is served

    run(scenario())


def test_who_may_send_as_what(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            phone = add_marie(bench)
            bench.admin.user_add("paul@ecole.example", password=PASSWORD)
            bench.admin.group_add("team@ecole.example", members=[MARIE])
            answer = await granted(bench, MARIE, phone, service=Service.SMTP)
            with bench.accounts.transaction():
                Directory(bench.accounts.connection).add_alias(answer.identity.account, "m.durand@ecole.example")
                bench.accounts.connection.execute(
                    "INSERT INTO address VALUES ('old@ecole.example', ?, NULL, 'former')", (answer.identity.account,)
                )
            for own in (MARIE, "Marie+list@ECOLE.example", "m.durand@ecole.example", "m.durand+x@ecole.example"):
                assert await bench.engine.may_send(answer.session, own), own
            for foreign in (
                "paul@ecole.example",
                "team@ecole.example",
                "old@ecole.example",
                "marie@elsewhere.example",
                "marie",
                "",
                "x" * 5000,
            ):
                assert not await bench.engine.may_send(answer.session, foreign), foreign
            assert not await bench.engine.may_send(SessionId("x.app:1.1.2.3"), MARIE)
            bench.admin.user_lock(MARIE, reason="stolen")
            assert not await bench.engine.may_send(answer.session, MARIE)

    run(scenario())


def test_a_group_beyond_the_limit_is_a_temporary_error(tmp_path: Path) -> None:
    settings = EngineSettings(domains=("ecole.example",), expand=3)

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings) as bench:
            bench.admin.group_add("all@ecole.example", members=[f"guest{number}@x.example" for number in range(4)])
            with pytest.raises(AuthUnavailable, match="more than 3"):
                await bench.engine.lookup("all@ecole.example")

    run(scenario())
