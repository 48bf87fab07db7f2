"""Backends: the file, plug-ins, and that nothing they do is ever a yes by mistake."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from passlib.hash import sha512_crypt

from auth_bench import PASSWORD, PEPPER, attempt, auth_bench
from preau.auth.api import AuthUnavailable, Denied, Granted, Reason
from preau.auth.backends.api import Entry, Verdict
from preau.auth.backends.file import FileBackend
from preau.auth.backends.load import BackendSettings, NoBackend, open_backend
from preau.auth.engine import EngineSettings

SHA512 = sha512_crypt.using(rounds=1000).hash(PASSWORD)


def write_file(path: Path, *lines: str) -> None:
    path.write_text("".join(line + "\n" for line in lines))
    stamp = path.stat()
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1_000_000_000))  # seen as changed in any clock


class PlugIn:
    """A backend whose behaviour a test chooses."""

    name = "plug-in"
    capabilities = frozenset({"lookup"})
    behaviour: Any = Verdict.WRONG
    asked: list[tuple[str | None, str]] = []  # noqa: RUF012 shared with the test on purpose

    def __init__(self, **options: object) -> None:
        self.options = options

    def lookup(self, address: str) -> Entry | None:
        return Entry(address, address, "Somebody") if address.startswith("known") else None

    def verify(self, entry: Entry | None, secret: str) -> Verdict:
        PlugIn.asked.append((entry.login if entry else None, secret))
        if isinstance(PlugIn.behaviour, Exception):
            raise PlugIn.behaviour
        if isinstance(PlugIn.behaviour, threading.Event):
            PlugIn.behaviour.wait(5)
            return Verdict.RIGHT
        answer: Verdict = PlugIn.behaviour
        return answer

    def change(self, entry: Entry, secret: str) -> None:
        raise NotImplementedError


PLUG_IN = BackendSettings("backend_of_a_test:PlugIn")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("backend_of_a_test")
    module.PlugIn = PlugIn  # type: ignore[attr-defined]  # what a plug-in's module would have
    monkeypatch.setitem(sys.modules, "backend_of_a_test", module)
    PlugIn.behaviour = Verdict.WRONG
    PlugIn.asked.clear()


def settings(*backends: BackendSettings, seconds: float = 2.0) -> EngineSettings:
    return EngineSettings(
        domains=("ecole.example",), default_domain="ecole.example", backends=backends, backend_seconds=seconds
    )


def random(size: int) -> bytes:
    return b"r" * size


def test_the_file_is_read_again_when_it_changes_and_odd_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "passwd"
    write_file(
        path,
        f"Marie@ecole.example:{{SHA512-CRYPT}}{SHA512}:1000:1000:Marie Durand,,,:/home:/bin/sh",
        "# a comment",
        "",
        "paul@ecole.example:{PLAIN}secret",
        "broken",
        f"luc:{SHA512}",
    )
    backend = FileBackend(path, PEPPER, random, domain="ecole.example")
    marie = backend.lookup("marie@ecole.example")
    assert marie == Entry("marie@ecole.example", "marie@ecole.example", "Marie Durand")
    assert backend.verify(marie, PASSWORD) is Verdict.RIGHT
    assert backend.verify(marie, "wrong") is Verdict.WRONG
    assert backend.verify(None, PASSWORD) is Verdict.UNKNOWN
    assert backend.lookup("paul@ecole.example") is None
    assert backend.lookup("luc@ecole.example") is not None
    write_file(path, f"anne@ecole.example:{SHA512}")
    assert backend.lookup("marie@ecole.example") is None
    assert backend.lookup("anne@ecole.example") is not None
    assert backend.verify(marie, PASSWORD) is Verdict.UNKNOWN


def test_who_is_in_the_file_signs_in_and_receives_mail_before(tmp_path: Path) -> None:
    path = tmp_path / "passwd"
    write_file(path, f"marie@ecole.example:{SHA512}", f"paul@ecole.example:{SHA512}")

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings(BackendSettings("file", {"path": str(path)}))) as bench:
            answer = await bench.engine.authenticate(attempt("marie", PASSWORD))
            assert isinstance(answer, Granted)
            assert answer.identity.address == "marie@ecole.example"
            (found,) = (await bench.engine.lookup("paul+list@ecole.example")).local
            assert found.address == "paul@ecole.example"
            assert (await bench.engine.lookup("nobody@ecole.example")).local == ()
            assert {one["address"]: one["backend"] for one in bench.admin.user_list()} == {
                "marie@ecole.example": "file",
                "paul@ecole.example": "file",
            }
            # our own factors are enforced whoever knows the password
            bench.admin.totp_add("marie@ecole.example")
            refused = await bench.engine.authenticate(attempt("marie", PASSWORD))
            assert isinstance(refused, Denied)
            assert refused.reason is Reason.CREDENTIALS
            phone = bench.admin.app_password_add("marie@ecole.example", label="x")["password"]
            assert isinstance(await bench.engine.authenticate(attempt("marie", phone)), Granted)

    asyncio.run(scenario())


def test_domains_choose_the_backend(tmp_path: Path) -> None:
    backends = (BackendSettings("sqlite"), BackendSettings(PLUG_IN.use, domains=("other.example",)))

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings(*backends)) as bench:
            bench.admin.user_add("marie@ecole.example", password=PASSWORD)
            assert isinstance(await bench.engine.authenticate(attempt("marie", PASSWORD)), Granted)
            await bench.engine.authenticate(attempt("known@other.example", "x"))
            await bench.engine.authenticate(attempt("unknown@other.example", "x"))
            await bench.engine.authenticate(attempt("known@ecole.example", "x"))
            assert PlugIn.asked == [("known@other.example", "x"), (None, "x")]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(RuntimeError("driver bug with a secret in it"), id="raises"),
        pytest.param(SystemError(), id="raises something odd"),
        pytest.param(ConnectionRefusedError(), id="directory down"),
        pytest.param(TimeoutError(), id="raises a time-out"),
        pytest.param(Verdict.UNAVAILABLE, id="cannot say"),
    ],
)
def test_a_failing_plug_in_is_unavailable_never_a_yes(tmp_path: Path, behaviour: object) -> None:
    PlugIn.behaviour = behaviour

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings(PLUG_IN)) as bench:
            with pytest.raises(AuthUnavailable) as raised:
                await bench.engine.authenticate(attempt("known@ecole.example", "x"))
            assert "secret" not in str(raised.value)
            assert bench.admin.user_list() == []

    asyncio.run(scenario())


@pytest.mark.parametrize("behaviour", [True, 1, "right", None], ids=repr)
def test_only_the_verdict_itself_is_a_yes(tmp_path: Path, behaviour: object) -> None:
    PlugIn.behaviour = behaviour

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings(PLUG_IN)) as bench:
            assert isinstance(await bench.engine.authenticate(attempt("known@ecole.example", "x")), Denied)

    asyncio.run(scenario())


def test_a_hanging_plug_in_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    PlugIn.behaviour = threading.Event()
    backends = (BackendSettings("sqlite"), BackendSettings(PLUG_IN.use, domains=("other.example",)))

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings(*backends, seconds=0.05)) as bench:
            bench.admin.user_add("marie@ecole.example", password=PASSWORD)
            with pytest.raises(AuthUnavailable):
                await bench.engine.authenticate(attempt("known@other.example", "x"))
            assert isinstance(await bench.engine.authenticate(attempt("marie", PASSWORD)), Granted)
            PlugIn.behaviour.set()

    asyncio.run(scenario())


def test_an_empty_password_never_reaches_a_plug_in(tmp_path: Path) -> None:
    PlugIn.behaviour = Verdict.RIGHT

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings(PLUG_IN)) as bench:
            assert isinstance(await bench.engine.authenticate(attempt("known@ecole.example", "")), Denied)
            assert PlugIn.asked == []

    asyncio.run(scenario())


def test_a_plug_in_cannot_bring_addresses_of_other_domains(tmp_path: Path) -> None:
    PlugIn.behaviour = Verdict.RIGHT

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings(PLUG_IN)) as bench:
            assert isinstance(await bench.engine.authenticate(attempt("known@elsewhere.example", "x")), Denied)
            assert bench.admin.user_list() == []

    asyncio.run(scenario())


def test_a_password_in_the_form_of_an_app_password_reaches_a_plug_in(tmp_path: Path) -> None:
    """Who keeps passwords elsewhere did not refuse that form: for every login it is tried as a password, too."""
    PlugIn.behaviour = Verdict.RIGHT
    form = "aaaaaaaaaaaaaaaaaaaa"

    async def scenario() -> None:
        async with auth_bench(tmp_path, settings(PLUG_IN)) as bench:
            assert isinstance(await bench.engine.authenticate(attempt("known@ecole.example", form)), Granted)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("use", "options", "sentence"),
    [
        pytest.param("ldap", {}, "no backend 'ldap'", id="unknown"),
        pytest.param("no.such.module:Class", {}, "No module named", id="no module"),
        pytest.param("backend_of_a_test:Missing", {}, "Missing", id="no class"),
        pytest.param("preau.auth.api:Service", {}, "backend preau.auth.api:Service", id="not a backend"),
        pytest.param("file", {"path": "/nonexistent/passwd"}, "No such file", id="file not there"),
        pytest.param("file", {}, "path", id="file without a path"),
        pytest.param("sqlite", {"odd": 1}, "odd", id="unknown option"),
    ],
)
def test_a_backend_that_cannot_be_had_says_why(tmp_path: Path, use: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(NoBackend, match=sentence):
        open_backend(BackendSettings(use, options), tmp_path / "auth.db", PEPPER, random)


def test_an_imported_hash_becomes_ours_at_the_first_sign_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with auth_bench(tmp_path) as bench:
            row = {"address": "marie@ecole.example", "hash": "{SHA512-CRYPT}" + SHA512}
            bench.admin.user_import([row])
            account = bench.accounts.by_address("marie@ecole.example")
            assert account is not None
            assert isinstance(await bench.engine.authenticate(attempt("marie", "wrong")), Denied)
            assert bench.accounts.password_of(account.id) == SHA512
            assert isinstance(await bench.engine.authenticate(attempt("marie", PASSWORD)), Granted)
            stored = bench.accounts.password_of(account.id)
            assert stored is not None
            assert stored.startswith("{PREAU}$argon2id$")
            bench.engine._verified.forget(None)
            assert isinstance(await bench.engine.authenticate(attempt("marie", PASSWORD)), Granted)

    asyncio.run(scenario())
