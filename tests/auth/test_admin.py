"""What operators do, what they are told when it cannot be done, and that it is traced."""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from passlib.hash import sha512_crypt

from auth_bench import PASSWORD, PEPPER, Clock, FakeKeySource, attempt
from preau.auth import totp
from preau.auth.admin import AdminSettings, LocalAdministration
from preau.auth.api import AdminError, Administration, Granted, Revocation, Service
from preau.auth.app_passwords import parse
from preau.auth.engine import Engine
from preau.auth.offline import InUse, hold_lock, open_administration, open_traces

MARIE = "marie@ecole.example"


@contextlib.contextmanager
def opened(folder: Path, clock: Clock | None = None) -> Iterator[LocalAdministration]:
    with open_administration(
        folder / "auth.db", folder / "traces", FakeKeySource(), AdminSettings(app_passwords=3), clock=clock or Clock()
    ) as administration:
        yield administration


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[LocalAdministration]:
    with opened(tmp_path) as administration:
        yield administration


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted((folder / "traces").glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_it_answers_the_protocol(admin: LocalAdministration) -> None:
    checked: Administration = admin
    names = {name for name in vars(Administration) if not name.startswith("_")}
    assert names <= {name for name in dir(checked) if not name.startswith("_")}


def test_a_user_from_beginning_to_end(admin: LocalAdministration, tmp_path: Path) -> None:
    added = admin.user_add("Marie@Ecole.Example", name="Marie Durand", password=PASSWORD)
    assert (added["address"], added["new_domain"]) == (MARIE, "ecole.example")
    assert "new_domain" not in admin.user_add("paul@ecole.example")
    assert admin.account_id(MARIE) == added["account"]
    shown = admin.user_show(MARIE)
    assert (shown["status"], shown["password"], shown["second_factor"]) == ("active", True, False)
    admin.user_lock(MARIE, reason="depart")
    assert [(one["address"], one["status"]) for one in admin.user_list()] == [
        (MARIE, "locked"),
        ("paul@ecole.example", "active"),
    ]
    admin.user_unlock(MARIE)
    assert admin.user_show(MARIE)["status"] == "active"
    assert admin.user_delete(MARIE) == {"account": added["account"]}
    with pytest.raises(AdminError, match="no account"):
        admin.user_show(MARIE)
    admin.user_add(MARIE)
    assert admin.account_id(MARIE) != added["account"]
    acts = [event["ev"] for event in events(tmp_path)]
    assert acts == [f"admin.{act}" for act in ("user_add", "user_add", "user_lock", "user_unlock", "user_delete", "user_add")]


def test_nothing_secret_is_shown_or_traced(admin: LocalAdministration, tmp_path: Path) -> None:
    admin.user_add(MARIE, password=PASSWORD)
    second = admin.totp_add(MARIE)
    phone = admin.app_password_add(MARIE, label="Telephone")["password"]
    text = json.dumps([admin.user_show(MARIE), admin.user_list(), admin.app_password_list(MARIE), events(tmp_path)])
    for secret in (PASSWORD, phone, phone[:5], "argon2", *second["recovery_codes"]):
        assert secret not in text


def test_a_second_factor_is_provisioned_as_applications_read_it(admin: LocalAdministration) -> None:
    admin.user_add(MARIE)
    second = admin.totp_add(MARIE)
    assert second["uri"].startswith("otpauth://totp/Preau:marie%40ecole.example?secret=")
    assert len({totp.parse_recovery_code(code) for code in second["recovery_codes"]}) == 10
    shown = admin.user_show(MARIE)
    assert (shown["second_factor"], shown["totp"], shown["recovery_codes_left"]) == (True, True, 10)
    admin.totp_remove(MARIE)
    assert not admin.user_show(MARIE)["second_factor"]


def test_user_add_with_totp_gives_the_secret_at_once(admin: LocalAdministration) -> None:
    assert admin.user_add(MARIE, second_factor="totp")["uri"].startswith("otpauth://")


def test_app_passwords(admin: LocalAdministration) -> None:
    admin.user_add(MARIE)
    made = admin.app_password_add(MARIE, label="Poste 3", scopes=["IMAP", "smtp"], expires_days=7, networks=["10.1.2.3/8"])
    assert parse(made["password"]) is not None
    (listed,) = admin.app_password_list(MARIE)
    assert (listed["id"], listed["scopes"], listed["networks"]) == (made["id"], ["imap", "smtp"], ["10.0.0.0/8"])
    assert listed["expires"] - listed["created"] == 7 * 86_400
    admin.app_password_revoke(MARIE, made["id"])
    assert admin.app_password_list(MARIE) == []


def test_groups(admin: LocalAdministration) -> None:
    admin.user_add(MARIE)
    admin.user_add("paul@ecole.example")
    assert admin.group_add("Team@ecole.example", members=[MARIE, "guest@x.example"]) == {
        "address": "team@ecole.example",
        "members": ["guest@x.example", MARIE],
    }
    assert admin.group_member("team@ecole.example", "paul@ecole.example", present=True)["members"][-1] == "paul@ecole.example"
    admin.group_member("team@ecole.example", "guest@x.example", present=False)
    assert admin.group_list() == [{"address": "team@ecole.example", "members": [MARIE, "paul@ecole.example"]}]
    assert admin.user_show(MARIE)["groups"] == ["team@ecole.example"]


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        pytest.param(lambda admin: admin.user_add("marie"), "is not an address", id="no address"),
        pytest.param(lambda admin: admin.user_add("MARIE@ecole.example"), "is there already", id="twice"),
        pytest.param(lambda admin: admin.user_add("team@ecole.example"), "is there already", id="a group's address"),
        pytest.param(lambda admin: admin.user_add("x@y.example", password="short"), "password refused: au moins 12", id="weak"),
        pytest.param(lambda admin: admin.user_add("x@y.example", name="a\nb"), "name", id="two lines"),
        pytest.param(lambda admin: admin.user_add("x@y.example", second_factor="sms"), "none, totp", id="factor"),
        pytest.param(lambda admin: admin.user_lock(MARIE, reason=" "), "reason is missing", id="no reason"),
        pytest.param(lambda admin: admin.totp_remove(MARIE), "has no second factor", id="no factor"),
        pytest.param(lambda admin: admin.app_password_add(MARIE, label="x", scopes=["pop"]), "scopes are of: imap", id="scope"),
        pytest.param(lambda admin: admin.app_password_add(MARIE, label="x", scopes=[]), "without a scope", id="no scope"),
        pytest.param(lambda admin: admin.app_password_add(MARIE, label="x", networks=["home"]), "not a network", id="net"),
        pytest.param(lambda admin: admin.app_password_add(MARIE, label="x", expires_days=0), "number of days", id="expiry"),
        pytest.param(lambda admin: admin.app_password_revoke(MARIE, "app:99"), "app-password list", id="no credential"),
        pytest.param(
            lambda admin: admin.group_add("g@ecole.example", members=["no@ecole.example"]), "user add no@", id="member"
        ),
        pytest.param(lambda admin: admin.group_show(MARIE), "no group", id="not a group"),
        pytest.param(
            lambda admin: admin.group_member("team@ecole.example", "x@y.example", present=False), "not a member", id="remove"
        ),
        pytest.param(lambda admin: admin.traces_show("nobody@ecole.example"), "no account", id="traces of nobody"),
    ],
)
def test_refusals_say_what_to_do(
    admin: LocalAdministration, act: Callable[[LocalAdministration], object], sentence: str
) -> None:
    admin.user_add(MARIE)
    admin.group_add("team@ecole.example", members=[])
    before = admin.user_list(), admin.group_list()
    with pytest.raises(AdminError, match=sentence):
        act(admin)
    assert (admin.user_list(), admin.group_list()) == before


def test_app_passwords_are_bounded(admin: LocalAdministration) -> None:
    admin.user_add(MARIE)
    for _ in range(3):
        admin.app_password_add(MARIE, label="x")
    with pytest.raises(AdminError, match="revoke one first"):
        admin.app_password_add(MARIE, label="x")


def test_a_key_holder_that_is_down_is_told_and_nothing_changes(admin: LocalAdministration) -> None:
    admin.user_add(MARIE)
    admin._key_source.down = True  # type: ignore[attr-defined]  # the fake one
    with pytest.raises(AdminError, match="try again"):
        admin.totp_add(MARIE)
    assert not admin.user_show(MARIE)["second_factor"]


def test_what_ends_sessions_is_told_after_the_commit(tmp_path: Path) -> None:
    with opened(tmp_path) as admin:
        heard: list[tuple[Revocation, str]] = []
        admin._on_revoke = lambda revocation: heard.append((revocation, admin.user_list()[0]["status"]))
        account = admin.user_add(MARIE)["account"]
        admin.user_lock(MARIE, reason="test")
        assert heard == [(Revocation(account=account, why="account locked"), "locked")]


def test_an_import_takes_what_is_good_and_tells_the_rest(admin: LocalAdministration) -> None:
    admin.user_add(MARIE)
    sha512 = sha512_crypt.using(rounds=1000).hash("x")
    rows = [
        {"address": "paul@ecole.example", "name": "Paul", "password": "court"},
        {"address": "Marie@ecole.example"},
        {"address": "anne@ecole.example", "hash": sha512, "groups": "team, profs@ecole.example"},
        {"address": "ANNE@ecole.example"},
        {"address": "luc@ecole.example", "hash": "{WHAT}x"},
        {"address": "x@ecole.example", "password": "a", "hash": sha512},
        {"address": "no address"},
        {"address": "y@ecole.example", "colour": "blue"},
        {"address": "rose@ecole.example", "second_factor": "totp", "groups": "team"},
        {"address": "z@ecole.example", "second_factor": "sms"},
        {"address": "zoe@ecole.example", "groups": MARIE},
    ]
    answer = admin.user_import(rows)
    assert answer["added"] == 4
    assert answer["weak"] == 1
    assert answer["passwords"] == {}
    told = dict(answer["errors"])
    assert sorted(told) == [1, 3, 4, 5, 6, 7, 9, 10]
    assert "there already" in told[1]
    assert "unknown column 'colour'" in told[7]
    assert "not a group" in told[10]
    assert {group["address"]: group["members"] for group in admin.group_list()} == {
        "team@ecole.example": ["anne@ecole.example", "rose@ecole.example"],
        "profs@ecole.example": ["anne@ecole.example"],
    }
    assert admin.user_show("rose@ecole.example")["second_factor"]


def test_an_import_of_two_thousand_with_app_passwords(admin: LocalAdministration, tmp_path: Path) -> None:
    rows = [{"address": f"user{number}@ecole.example", "name": f"User {number}"} for number in range(2000)]
    passwords: dict[str, str] = {}
    for start in range(0, len(rows), 500):
        answer = admin.user_import(rows[start : start + 500], app_passwords=True)
        assert answer["errors"] == []
        passwords |= answer["passwords"]
    assert len(passwords) == 2000
    (listed,) = admin.app_password_list("user1999@ecole.example")
    assert set(listed["scopes"]) == set(Service)
    assert sum(event["ev"] == "admin.user_add" for event in events(tmp_path)) == 2000
    assert admin.traces_verify()["ok"]


def test_traces_of_an_account_survive_its_deletion(admin: LocalAdministration) -> None:
    admin.user_add(MARIE)
    admin.user_delete(MARIE)
    assert [event["ev"] for event in admin.traces_show(MARIE)] == [
        "admin.user_add",
        "admin.user_delete",
        "admin.traces_show",
    ]


def test_only_one_process_has_the_database_for_writing(tmp_path: Path) -> None:
    held = hold_lock(tmp_path / "lock")
    with pytest.raises(InUse):
        hold_lock(tmp_path / "lock")
    os.close(held)
    os.close(hold_lock(tmp_path / "lock"))


def test_signing_in_sees_what_was_administered_without_a_daemon(tmp_path: Path) -> None:
    with opened(tmp_path) as admin:
        admin.user_add(MARIE, password=PASSWORD)
        phone = admin.app_password_add(MARIE, label="x")["password"]

    async def scenario() -> None:
        traces = open_traces(tmp_path / "traces", PEPPER, clock=Clock())
        engine = Engine(tmp_path / "auth.db", FakeKeySource(), traces, clock=Clock())
        await engine.start()
        for secret in (PASSWORD, phone):
            assert isinstance(await engine.authenticate(attempt(MARIE, secret)), Granted)
        await engine.close()
        assert traces.verify().ok
        traces.close()

    asyncio.run(scenario())
