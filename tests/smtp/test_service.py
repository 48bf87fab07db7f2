import asyncio
import base64
import ssl
from pathlib import Path

import pytest

from lmtp import until
from own_smtp import ANNE, BOB, LIMITS, PASSWORD, Client, World, b64, make_certificate, plain, run, scram_proof
from preau.auth.api import Attempt, AuthUnavailable, CredentialId, Denied, Reason, Revocation, Service, SessionId
from preau.auth.sasl import MAX_LINE
from preau.daemon.listener import Listener, bind_tcp
from preau.smtp.server import SmtpSettings

MESSAGE = b"From: anne@ecole.example\r\nSubject: x\r\n\r\nhello\r\n"
OFFER = "250-STARTTLS"
AUTH = "AUTH PLAIN LOGIN"


def settings(**values: object) -> SmtpSettings:
    given: dict[str, object] = {"domain": "ecole.example", "limits": LIMITS, **values}
    return SmtpSettings(**given)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize("name", ["smtp", "submission", "submissions"])
@pytest.mark.parametrize("plaintext", [True, False], ids=["plaintext", "tls only"])
def test_what_is_announced_works(tmp_path: Path, name: str, plaintext: bool) -> None:
    async def test(world: World) -> None:
        client = await world.connect(name, tls=name == "submissions")
        offer = await client.ehlo()
        encrypted = name == "submissions"
        assert ("STARTTLS" in offer) is not encrypted
        assert (AUTH in offer) is (encrypted or (name == "submission" and plaintext))
        if not encrypted:
            offer = await client.start_tls(world.client_tls)
            assert "STARTTLS" not in offer
            assert (AUTH in offer) is (name == "submission")
        if name != "smtp":
            assert (await client.ask("MAIL FROM:<anne@ecole.example>")).startswith("530 5.7.0")
            assert (await client.sign_in()).startswith("235 2.7.0")
            assert AUTH not in await client.ask("EHLO again.example")
            assert (await client.sign_in()).startswith("503 ")
        assert (await client.send(MESSAGE, "bob@ecole.example")).startswith("250")
        ((envelope, message),) = world.queued()
        assert envelope.account == ("" if name == "smtp" else ANNE)
        assert (b" with ESMTPS (TLSv1.3/" if name == "smtp" else b" with ESMTPSA id ") in message
        if name != "smtp":
            (attempt,) = world.auth.attempts
            assert (attempt.service, attempt.tls, attempt.address) == (Service.SMTP, True, "127.0.0.1")

    run(tmp_path, test, settings(plaintext_ok=plaintext), with_tls=True)


def test_without_a_certificate_there_is_no_tls(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        assert "STARTTLS" not in await client.ehlo()
        assert (await client.ask("STARTTLS")).startswith("500 5.5.1")

    run(tmp_path, test)


def test_helo_is_a_line_and_knows_no_auth(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.reply()
        assert await client.ask("HELO client.example") == "250 mx.ecole.example"
        assert (await client.sign_in()).startswith("503 ")

    run(tmp_path, test)


def test_no_password_in_the_clear(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        assert "AUTH" not in await client.ehlo()
        assert (await client.ask("AUTH PLAIN")).startswith("538 5.7.11")
        assert (await client.sign_in()).startswith("538 5.7.11")
        assert (await client.ask("MAIL FROM:<anne@ecole.example>")).startswith("530 5.7.0")
        assert world.auth.attempts == []

    run(tmp_path, test, settings(), with_tls=True)


def test_no_sign_in_at_all_on_port_25(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("smtp")
        await client.ehlo()
        assert "AUTH" not in await client.start_tls(world.client_tls)
        assert (await client.sign_in()).startswith("502 5.5.1")
        assert world.auth.attempts == []

    run(tmp_path, test, settings(plaintext_ok=True), with_tls=True)


USER, SECRET = b64("anne@ecole.example"), b64(PASSWORD)
BOTH = plain("anne@ecole.example", PASSWORD)


@pytest.mark.parametrize(
    ("lines", "answers"),
    [
        pytest.param([f"AUTH PLAIN {BOTH}"], ["235"], id="plain"),
        pytest.param([f"auth pLaIn {BOTH}"], ["235"], id="any case"),
        pytest.param(["AUTH PLAIN", BOTH], ["334 ", "235"], id="plain without initial response"),
        pytest.param(["AUTH LOGIN", USER, SECRET], ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235"], id="login"),
        pytest.param([f"AUTH LOGIN {USER}", SECRET], ["334 UGFzc3dvcmQ6", "235"], id="login with initial response"),
        pytest.param(["AUTH PLAIN", "*", "NOOP"], ["334 ", "501 5.7.0", "250"], id="cancelled"),
        pytest.param(["AUTH LOGIN", USER, "*", "NOOP"], ["334", "334", "501 5.7.0", "250"], id="cancelled later"),
        pytest.param(["AUTH PLAIN ="], ["501 5.5.2"], id="empty"),
        pytest.param(["AUTH PLAIN", ""], ["334", "501 5.5.2"], id="empty line"),
        pytest.param(["AUTH PLAIN not*base64"], ["501 5.5.4"], id="not base64"),
        pytest.param(["AUTH PLAIN", "not base64"], ["334", "501 5.5.2"], id="not base64 later"),
        pytest.param(["AUTH PLAIN", "A" * (MAX_LINE + 4)], ["334", "500 5.5.6"], id="too long"),
        pytest.param(["AUTH PLAIN " + "A" * 4100], ["500 5.5.2"], id="far too long"),
        pytest.param(["AUTH CRAM-MD5"], ["504 5.5.4"], id="another mechanism"),
        pytest.param(["AUTH"], ["501 5.5.4"], id="none"),
        pytest.param([f"AUTH PLAIN {BOTH} x"], ["501 5.5.4"], id="too many words"),
        pytest.param([f"AUTH PLAIN {plain('anne@ecole.example', 'x')}"], ["535 5.7.8"], id="wrong"),
        pytest.param([f"AUTH PLAIN {plain('nobody@ecole.example', PASSWORD)}"], ["535 5.7.8"], id="unknown"),
        pytest.param([f"AUTH PLAIN {plain('anne@ecole.example', '')}"], ["501 5.5.2"], id="empty password"),
    ],
)
def test_auth(tmp_path: Path, lines: list[str], answers: list[str]) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        for line, answer in zip(lines, answers, strict=True):
            assert (await client.ask(line)).startswith(answer)
        signed_in = answers[-1] == "235"
        assert (await client.ask("MAIL FROM:<>")).startswith("250" if signed_in else "530")

    run(tmp_path, test)


BARE = b"n=anne@ecole.example,r=theirs"


async def scram(client: Client, password: str, *, initial: bool = True, ending: str = "") -> list[str]:
    """What is answered to a SCRAM-SHA-256 of somebody; stops where it is refused."""
    first = base64.b64encode(b"n,," + BARE).decode()
    answers = []
    if initial:
        answers.append(await client.ask(f"AUTH scram-sha-256 {first}"))
    else:
        answers += [await client.ask("AUTH SCRAM-SHA-256"), await client.ask(first)]
    challenge = base64.b64decode(answers[-1][4:])
    final, signature = scram_proof(password, BARE, challenge)
    answers.append(await client.ask(base64.b64encode(final)))
    if answers[-1].startswith("334 "):
        assert base64.b64decode(answers[-1][4:]) == signature
        answers.append(await client.ask(ending))
    return [each[:3] for each in answers]


@pytest.mark.parametrize("initial", [True, False], ids=["initial response", "asked for"])
def test_scram_proves_both_sides(tmp_path: Path, initial: bool) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        assert "AUTH SCRAM-SHA-256 PLAIN LOGIN" in await client.ehlo()
        asked = [] if initial else ["334"]
        assert await scram(client, "wrong", initial=initial) == [*asked, "334", "535"]
        assert await scram(client, PASSWORD, initial=initial) == [*asked, "334", "334", "235"]
        assert (await client.send(MESSAGE, "bob@ecole.example")).startswith("250")
        assert world.auth.attempts == []
        assert {(each.address, each.tls, each.client) for each in world.auth.scram_attempts} == {
            ("127.0.0.1", False, "client.example")
        }

    run(tmp_path, test, settings(plaintext_ok=True, scram=True))


@pytest.mark.parametrize("ending", ["*", "eA==", "not base64"])
def test_who_does_not_like_our_proof_is_not_signed_in(tmp_path: Path, ending: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        assert await scram(client, PASSWORD, ending=ending) == ["334", "334", "501"]
        assert (await client.ask("MAIL FROM:<>")).startswith("530")
        await until(lambda: world.auth.closed == ["s1"])
        assert await scram(client, PASSWORD) == ["334", "334", "235"]

    run(tmp_path, test, settings(plaintext_ok=True, scram=True))


def test_scram_is_not_there_unless_it_is_offered(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        assert "SCRAM" not in await client.ehlo()
        assert (await client.ask("AUTH SCRAM-SHA-256")).startswith("504 5.5.4")

    run(tmp_path, test)


@pytest.mark.parametrize("where", ["no stream", "begin", "finish"])
def test_scram_without_auth_is_temporary(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object) -> None:
        raise AuthUnavailable("gone")

    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        if where == "no stream":
            world.auth.connected = False
        else:
            monkeypatch.setattr(world.auth, f"{where}_scram", gone)
        answer = await client.ask(f"AUTH SCRAM-SHA-256 {base64.b64encode(b'n,,' + BARE).decode()}")
        if where != "begin":
            answer = await client.ask(base64.b64encode(scram_proof(PASSWORD, BARE, base64.b64decode(answer[4:]))[0]))
        assert answer.startswith("454 4.7.0")

    run(tmp_path, test, settings(plaintext_ok=True, scram=True))


def test_no_auth_within_a_transaction(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.reply()
        assert (await client.sign_in()).startswith("503 ")
        await client.ask("EHLO x")
        await client.sign_in()
        await client.ask("MAIL FROM:<>")
        assert (await client.sign_in()).startswith("503 ")

    run(tmp_path, test)


def test_failed_logins_are_counted(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        wrong = [await client.sign_in(password=f"wrong {n}") for n in range(3)]
        assert [each[:3] for each in wrong] == ["535"] * 3
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.reply() == ""
        assert len(world.auth.attempts) == 3

    run(tmp_path, test, settings(plaintext_ok=True, failed_logins=3))


def test_who_must_wait_keeps_the_connection(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        def locked(attempt: Attempt) -> Denied:
            return Denied(Reason.LOCKED, "REF", 60)

        world.auth.verdict = locked
        client = await world.connect("submission")
        await client.ehlo()
        for _ in range(4):
            assert (await client.sign_in()).startswith("454 4.7.0")

    run(tmp_path, test, settings(plaintext_ok=True, failed_logins=3))


def test_without_the_stream_of_revocations_nobody_signs_in(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.auth.connected = False
        client = await world.connect("submission")
        await client.ehlo()
        assert (await client.sign_in()).startswith("454 4.7.0")
        assert world.auth.attempts == []

    run(tmp_path, test)


REVOCATIONS = [
    pytest.param(Revocation(account=ANNE), True, id="account"),
    pytest.param(Revocation(credential=CredentialId("app:1")), True, id="credential"),
    pytest.param(Revocation(session=SessionId("s1")), True, id="session"),
    pytest.param(Revocation(account=BOB), False, id="another account"),
    pytest.param(Revocation(account=ANNE, credential=CredentialId("app:2")), False, id="another credential"),
    pytest.param(Revocation(), False, id="nobody"),
]


@pytest.mark.parametrize(("revocation", "ends"), REVOCATIONS)
@pytest.mark.parametrize("where", ["idle", "data", "chunk", "signing in"])
def test_a_revocation_ends_the_session(tmp_path: Path, revocation: Revocation, ends: bool, where: str) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submission")
        await client.ehlo()
        if where == "signing in":
            verdict = world.auth.authenticate

            async def while_it_is_checked(attempt: Attempt) -> object:
                answer = await verdict(attempt)
                world.auth.revoke(revocation)
                return answer

            world.auth.authenticate = while_it_is_checked  # type: ignore[assignment,method-assign]  # for this test
            assert (await client.sign_in()).startswith("235 ")
        else:
            await client.sign_in()
            if where != "idle":
                await client.say("MAIL FROM:<anne@ecole.example>\r\nRCPT TO:<bob@ecole.example>\r\n")
                await client.replies(2)
            if where == "data":
                await client.ask("DATA")
                await client.say(MESSAGE)
            elif where == "chunk":
                # Enough for a file to be begun, and not too large however it arrives.
                await client.say(b"BDAT 95000 LAST\r\n" + MESSAGE + b"x\r\n" * 30_000)
            await until(lambda: where in ("idle", "data") or world.leftovers())
            world.auth.revoke(revocation)
        if ends:
            assert (await client.reply()).startswith("421 4.7.0")
            assert await client.reply() == ""
            assert world.auth.closed == ["s1"]
            assert world.queued() == []
        elif where == "data":
            await client.say(b".\r\n")
            assert (await client.reply()).startswith("250")
        elif where != "chunk":
            assert (await client.ask("NOOP")).startswith("250")

    run(tmp_path, test)


@pytest.mark.parametrize("live", [True, False])
def test_sessions_are_asked_about_when_the_stream_was_lost(tmp_path: Path, live: bool) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        if not live:
            world.auth.live.clear()
        world.auth.revoke(Revocation(lost=True))
        if live:
            assert (await client.ask("NOOP")).startswith("250")
        else:
            assert (await client.reply()).startswith("421 4.7.0")

    run(tmp_path, test)


def test_the_end_of_a_session_is_told(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.signed_in()
        await client.ask("QUIT")
        await until(lambda: world.auth.closed == ["s1"])

    run(tmp_path, test)


def test_connections_that_have_not_signed_in_are_capped(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        first, second = await world.connect("submission"), await world.connect("smtp")
        await first.ehlo()
        await second.ehlo()
        refused = await world.connect("smtp")
        assert (await refused.reply()).startswith("421 4.3.2")
        assert await refused.reply() == ""
        assert (await first.sign_in()).startswith("235")
        third = await world.connect("smtp")
        await third.ehlo()

    run(tmp_path, test, settings(plaintext_ok=True, connections_per_address=2, uncapped_nets=()))


@pytest.mark.parametrize("name", ["smtp", "submission", "submissions"])
@pytest.mark.parametrize("bound", ["connections", "connections_per_address"])
def test_who_only_stands_there_gives_way_to_newer_ones(
    tmp_path: Path, name: str, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preau.smtp.service._GRACE_SECONDS", 0.0)
    monkeypatch.setattr("preau.smtp.service._SILENT_SECONDS", 0.0)

    async def test(world: World) -> None:
        anne = await world.signed_in()
        standing = await world.connect(name)
        if name == "submissions":
            await standing.say(b"\x16\x03\x01")  # half a handshake
            await until(lambda: len(world.server._sessions) == 2)
        else:
            await standing.ehlo()
        other = await world.connect("submissions", tls=True)
        await other.ehlo()
        assert (await standing.reply())[:9] == ("" if name == "submissions" else "421 4.3.2")
        assert await standing.reply() == ""
        assert (await anne.ask("NOOP")).startswith("250")  # who has signed in does not
        assert (await other.ask("NOOP")).startswith("250")

    places = {bound: 2 if bound == "connections" else 1}
    run(tmp_path, test, settings(plaintext_ok=True, uncapped_nets=(), **places), with_tls=True)


def test_who_has_just_come_does_not_give_way(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        first = await world.connect("submission")
        await first.ehlo()
        assert (await (await world.connect("submission")).reply()).startswith("421 4.3.2")
        assert (await first.ask("NOOP")).startswith("250")

    run(tmp_path, test, settings(uncapped_nets=(), connections=1))


V2 = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.mark.parametrize(
    ("header", "peer"),
    [
        (b"PROXY TCP4 192.0.2.9 198.51.100.1 4000 25\r\n", "192.0.2.9"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 4000 25\r\n", "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (V2 + b"\x21\x11\x00\x0c\xc0\x00\x02\x09\xc6\x33\x64\x01\x0f\xa0\x00\x19", "192.0.2.9"),
        (V2 + b"\x20\x00\x00\x00", "127.0.0.1"),
    ],
    ids=["v1", "v1 ipv6", "v1 unknown", "v2", "v2 local"],
)
@pytest.mark.parametrize("name", ["smtp", "submissions"])
@pytest.mark.parametrize("step", [1, 1_000])
def test_the_proxy_says_who_it_is(tmp_path: Path, header: bytes, peer: str, name: str, step: int) -> None:
    async def test(world: World) -> None:
        client = await world.connect(name)
        if name == "submissions":
            client.writer.write(header)
            await client.writer.start_tls(world.client_tls, server_hostname="localhost")
            await client.ehlo()
            await client.sign_in()
            assert world.auth.attempts[0].address == peer
        else:
            for begin in range(0, len(header), step):
                await client.say(header[begin : begin + step])
            await client.ehlo()
        await client.send(MESSAGE, "bob@ecole.example")
        ((envelope, _),) = world.queued()
        assert envelope.peer == peer

    run(tmp_path, test, settings(proxy_nets=("127.0.0.0/8",)), with_tls=True)


@pytest.mark.parametrize(
    "first", [b"EHLO x\r\n", b"PROXY TCP4 a b c d\r\n", b"PROXY " + b"x" * 200, V2 + b"\x31\x11\x00\x0c", b""]
)
def test_who_should_be_a_proxy_and_is_none_is_not_served(tmp_path: Path, first: bytes) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.say(first)
        assert await client.reply() == ""

    run(tmp_path, test, settings(proxy_nets=("127.0.0.0/8",), proxy_seconds=0.2))


def test_nobody_else_may_say_who_they_are(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        assert (await client.ask("PROXY TCP4 192.0.2.9 198.51.100.1 4000 25")).startswith("500 5.5.1")
        await client.send(MESSAGE, "bob@ecole.example")
        assert world.queued()[0][0].peer == "127.0.0.1"

    run(tmp_path, test, settings(proxy_nets=("192.0.2.0/24",)))


def test_drain_lets_a_message_in_hand_through(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        idle, busy = await world.connect(), await world.connect()
        await idle.ehlo()
        await busy.ehlo()
        for line in ("MAIL FROM:<>", "RCPT TO:<anne@ecole.example>", "DATA"):
            await busy.ask(line)
        draining = asyncio.ensure_future(world.server.drain(10.0))
        assert (await idle.reply()).startswith("421 4.3.2")
        await busy.say(MESSAGE + b".\r\n")
        assert (await busy.reply()).startswith("250 2.0.0 ok, queued as ")
        assert (await busy.reply()).startswith("421 4.3.2")
        await draining
        assert len(world.queued()) == 1

    run(tmp_path, test)


def test_a_new_certificate_is_shown_after_reload(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.client_tls.check_hostname = False
        world.client_tls.verify_mode = ssl.CERT_NONE
        before = await fingerprint(world)
        make_certificate(tmp_path)
        assert await fingerprint(world) == before
        await world.server.reload()
        assert await fingerprint(world) != before

    async def fingerprint(world: World) -> bytes:
        client: Client = await world.connect("submissions", tls=True)
        await client.ehlo()
        shown = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(shown, bytes)
        return shown

    run(tmp_path, test, settings(), with_tls=True)


@pytest.mark.parametrize("name", ["proxy_nets", "uncapped_nets"])
def test_a_network_that_is_none_is_told_at_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="192"):
        World(tmp_path, settings(**{name: ("192.0.2.0/33",)}))


def test_unknown_listeners_and_tls_without_a_certificate_are_told(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        for name, tls in (("imap", False), ("submissions", False), ("smtp", True)):
            listening = bind_tcp("127.0.0.1", 0)
            with pytest.raises(ValueError, match=name):
                await world.server.start([Listener(name, listening, tls=tls)])
            listening.close()

    run(tmp_path, test)


def test_who_is_silent_before_the_greeting_is_greeted(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect()
        await client.ehlo()
        submitting = await world.connect("submission")
        await submitting.ehlo()

    run(tmp_path, test, settings(banner_seconds=0.05))


def test_connections_without_number_are_cut(tmp_path: Path) -> None:
    # All come through the proxy, and none says for whom.
    async def test(world: World) -> None:
        waiting = [await world.connect() for _ in range(6)]
        await until(lambda: len(world.server._sessions) == 6)
        assert await (await world.connect()).reply() == ""
        assert len(waiting) == 6

    run(tmp_path, test, settings(proxy_nets=("127.0.0.0/8",), connections=3))


def test_drain_ends_who_is_in_the_middle_of_a_handshake(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = await world.connect("submissions")
        await client.say(b"\x16\x03\x01")
        signing = await world.connect("submission")
        await signing.ehlo()
        await signing.ask("AUTH LOGIN")
        await world.server.drain(0.1)
        assert not (await client.reader.read())[:1].isdigit()
        assert await signing.reply() in ("", "421 4.3.2 shutting down, try again soon")

    run(tmp_path, test, settings(plaintext_ok=True), with_tls=True)
