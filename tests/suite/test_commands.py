"""The commands on accounts, as an operator types them: while nothing runs, each opens the files itself."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from instance import DOMAIN, Instance, make_instance, rights

MARIE, PAUL, TEAM = f"marie.durand@{DOMAIN}", f"paul.bernard@{DOMAIN}", f"equipe@{DOMAIN}"


@pytest.fixture
def instance(tmp_path: Path, free_base: Callable[[], int]) -> Instance:
    return make_instance(tmp_path / "i", free_base())


@pytest.fixture
def marie(instance: Instance) -> Instance:
    done = instance.preau(
        "user", "add", MARIE, "--name", "Marie Durand", "--password-stdin", stdin="une longue phrase de passe\n"
    )
    assert done.code == 0, done.error
    return instance


def answer(instance: Instance, *words: str, stdin: str = "") -> object:
    """The JSON answer of a command that must be done."""
    done = instance.preau(*words, "--json", stdin=stdin)
    assert (done.code, done.error) == (0, "")
    return json.loads(done.output)


def test_a_user_is_added_shown_and_listed(marie: Instance) -> None:
    shown = answer(marie, "user", "show", MARIE)
    assert isinstance(shown, dict)
    assert (shown["address"], shown["name"]) == (MARIE, "Marie Durand")
    rows = answer(marie, "user", "list")
    assert isinstance(rows, list)
    assert [row["address"] for row in rows] == [MARIE]
    assert MARIE in marie.preau("user", "list").output


def test_what_is_shown_holds_no_secret(marie: Instance) -> None:
    assert marie.preau("app-password", "add", MARIE, "--label", "x").code == 0
    told = marie.preau("user", "show", MARIE).output + marie.preau("user", "show", MARIE, "--json").output
    assert "phrase" not in told
    assert "argon2" not in told


def test_twice_is_refused(marie: Instance) -> None:
    done = marie.preau("user", "add", MARIE, "--name", "Another")
    assert (done.code, done.output) == (1, "")
    assert done.error.startswith("preau: ")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["user", "show"], id="show"),
        pytest.param(["user", "lock", "--reason", "x"], id="lock"),
        pytest.param(["user", "unlock"], id="unlock"),
        pytest.param(["user", "delete"], id="delete"),
        pytest.param(["totp", "add"], id="totp"),
        pytest.param(["app-password", "add", "--label", "x"], id="app-password"),
        pytest.param(["app-password", "list"], id="app-password list"),
        pytest.param(["mailbox", "list"], id="mailbox"),
        pytest.param(["store", "verify"], id="verify"),
        pytest.param(["store", "rebuild"], id="rebuild"),
        pytest.param(["traces", "show"], id="traces"),
    ],
)
def test_nobody_is_refused(instance: Instance, words: list[str]) -> None:
    done = instance.preau(*words[:2], f"nobody@{DOMAIN}", *words[2:])
    assert (done.code, done.output) == (1, "")
    assert done.error


@pytest.mark.parametrize(
    ("stdin", "code"),
    [
        pytest.param("", 2, id="nothing"),
        pytest.param("two\nlines\n", 2, id="two lines"),
        pytest.param("x" * 2000, 2, id="too long"),
        pytest.param("short\n", 1, id="too weak"),
    ],
)
def test_a_password_that_is_none(instance: Instance, stdin: str, code: int) -> None:
    assert instance.preau("user", "add", MARIE, "--password-stdin", stdin=stdin).code == code
    assert answer(instance, "user", "list") == []


@pytest.mark.parametrize(
    ("size", "octets"), [("5 GiB", 5 * 2**30), ("1000000", 1_000_000), ("none", None), ("0", 0)], ids=lambda value: str(value)
)
def test_a_quota(marie: Instance, size: str, octets: int | None) -> None:
    assert marie.preau("user", "quota", MARIE, size).code == 0
    assert json.loads(marie.preau("user", "show", MARIE, "--json").output)["quota"] == octets
    assert marie.preau("user", "quota", MARIE, "none").code == 0


@pytest.mark.parametrize(("size", "code"), [("much", 2), ("5 lines", 2), ("9" * 30, 2), ("999999999999999999", 0), ("-1", 2)])
def test_a_quota_that_is_none(marie: Instance, size: str, code: int) -> None:
    assert marie.preau("user", "quota", MARIE, size).code == code


def test_a_password_is_set(marie: Instance) -> None:
    assert marie.preau("user", "password", MARIE, "--password-stdin", stdin="une phrase assez longue\n").code == 0
    assert json.loads(marie.preau("user", "show", MARIE, "--json").output)["password"] is True
    weak = marie.preau("user", "password", MARIE, "--password-stdin", stdin="court\n")
    assert (weak.code, "password refused" in weak.error) == (1, True)


def test_lock_and_unlock(marie: Instance) -> None:
    assert marie.preau("user", "lock", MARIE, "--reason", "phone stolen").code == 0
    assert "phone stolen" in marie.preau("user", "show", MARIE).output
    assert marie.preau("user", "unlock", MARIE).code == 0
    assert "phone stolen" not in marie.preau("user", "show", MARIE).output


def test_delete_takes_keys_and_files(marie: Instance) -> None:
    assert marie.preau("mailbox", "create", MARIE, "Classes/5e B").code == 0
    account = answer(marie, "user", "delete", MARIE)
    assert isinstance(account, dict)
    accounts = marie.folder / "data" / "accounts"
    assert not [path for path in accounts.rglob("*") if path.name == account["account"]]
    assert answer(marie, "user", "list") == []


def test_groups(marie: Instance) -> None:
    assert marie.preau("user", "add", PAUL).code == 0
    assert marie.preau("group", "add", TEAM, "--member", MARIE).code == 0
    assert marie.preau("group", "member", "add", TEAM, PAUL).code == 0
    shown = answer(marie, "group", "show", TEAM)
    assert isinstance(shown, dict)
    assert sorted(shown["members"]) == [MARIE, PAUL]
    assert marie.preau("group", "member", "remove", TEAM, MARIE).code == 0
    assert MARIE not in marie.preau("group", "show", TEAM).output
    assert TEAM in marie.preau("group", "list").output


def test_totp_is_shown_once(marie: Instance) -> None:
    told = marie.preau("totp", "add", MARIE)
    assert told.code == 0
    assert re.search(r"^otpauth://totp/\S+$", told.output, re.MULTILINE)
    assert len(re.findall(r"^  \S+$", told.output, re.MULTILINE)) == 10
    assert "█" in told.output
    assert "otpauth" not in marie.preau("user", "show", MARIE).output
    assert marie.preau("totp", "remove", MARIE).code == 0


def test_app_passwords(marie: Instance) -> None:
    made = answer(marie, "app-password", "add", MARIE, "--label", "Téléphone", "--scope", "imap", "--net", "192.0.2.0/24")
    assert isinstance(made, dict)
    assert re.fullmatch(r"([2-9a-z]{5}-){3}[2-9a-z]{5}", made["password"])
    listed = marie.preau("app-password", "list", MARIE)
    assert "Téléphone" in listed.output
    assert "192.0.2.0/24" in listed.output
    assert made["password"] not in listed.output
    assert marie.preau("app-password", "revoke", MARIE, made["id"]).code == 0
    assert marie.preau("app-password", "revoke", MARIE, "999").code == 1


def test_mailboxes(marie: Instance) -> None:
    assert marie.preau("mailbox", "create", MARIE, "Classes/5e B").code == 0
    assert marie.preau("mailbox", "create", MARIE, "Classes/5e B").code == 1
    assert marie.preau("mailbox", "create", MARIE, "a/../b").code == 1
    rows = answer(marie, "mailbox", "list", MARIE)
    assert isinstance(rows, list)
    names = [row["name"] for row in rows]
    assert {"INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive", "Classes", "Classes/5e B"} <= set(names)
    assert next(row["special_use"] for row in rows if row["name"] == "Sent") == ["\\Sent"]
    assert marie.preau("mailbox", "delete", MARIE, "Classes/5e B").code == 0
    assert marie.preau("mailbox", "delete", MARIE, "Classes/5e B").code == 1
    assert marie.preau("mailbox", "delete", MARIE, "INBOX").code == 1


def test_store_verify_and_rebuild(marie: Instance) -> None:
    assert marie.preau("mailbox", "create", MARIE, "Archive/2026").code == 0
    assert answer(marie, "store", "verify") == []
    assert marie.preau("store", "rebuild", MARIE).code == 0
    assert answer(marie, "store", "verify", MARIE) == []
    assert "Archive/2026" in marie.preau("mailbox", "list", MARIE).output


def test_store_verify_tells_what_is_lost(marie: Instance) -> None:
    assert marie.preau("mailbox", "create", MARIE, "Sorties").code == 0
    (lost,) = (marie.folder / "data" / "accounts").rglob(".Sorties")
    for path in sorted(lost.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    lost.rmdir()
    done = marie.preau("store", "verify", "--json")
    assert done.code == 1
    assert [row["mailbox"] for row in json.loads(done.output)][:1] == ["Sorties"]
    assert marie.preau("store", "verify", "--repair").code == 0
    assert marie.preau("store", "verify").code == 0


def test_store_verify_counts_what_interrupted_steps_left(marie: Instance) -> None:
    """It is no fault: it goes by itself."""
    assert marie.preau("mailbox", "create", MARIE, "Sorties").code == 0
    (description, *_) = (marie.folder / "data" / "accounts").rglob("dav/calendars/*/collection.json")
    description.unlink()
    done = marie.preau("store", "verify")
    assert (done.code, done.output) == (0, "")
    assert "1 things that interrupted steps left" in done.error
    assert "description differs" in marie.preau("store", "verify", "--verbose").output
    found = json.loads(marie.preau("store", "verify", "--json").output)
    assert [(each["fault"], each["mendable"]) for each in found] == [(False, True)]
    assert marie.preau("store", "verify", "--repair").code == 0
    assert answer(marie, "store", "verify") == []


def test_traces_tell_what_the_operator_did(marie: Instance) -> None:
    assert marie.preau("user", "lock", MARIE, "--reason", "phone stolen").code == 0
    assert "lock" in marie.preau("traces", "show", MARIE, "--since", "1d").output
    assert marie.preau("traces", "verify").code == 0
    assert marie.preau("why", "ZZZZ").code == 1


def test_traces_verify_finds_an_edit(marie: Instance) -> None:
    assert marie.preau("user", "lock", MARIE, "--reason", "phone stolen").code == 0
    traces = next(path for path in (marie.folder / "data" / "traces").iterdir() if b"phone stolen" in path.read_bytes())
    traces.write_bytes(traces.read_bytes().replace(b"phone stolen", b"nothing at all"[:12]))
    done = marie.preau("traces", "verify")
    assert done.code == 1
    assert "breaks" in done.error


def test_import(instance: Instance, tmp_path: Path) -> None:
    people = tmp_path / "staff.csv"
    rows = "".join(f"p{number}@{DOMAIN},Person {number}\n" for number in range(450))
    people.write_text(f"address,name\n{rows}nonsense,No One\n", encoding="utf-8")
    out = tmp_path / "out.json"
    done = instance.preau("user", "import", people, "--app-passwords", out, "--json")
    assert done.code == 1
    told = json.loads(done.output)
    assert (told["added"], told["rows"]) == (450, 451)
    assert told["errors"][0].startswith("line 452: ")
    assert rights(out) == 0o600
    passwords = json.loads(out.read_text())
    assert len(passwords) == 450
    assert all(len(each.replace("-", "")) == 20 for each in passwords.values())
    assert instance.preau("user", "import", people, "--app-passwords", out).code == 1  # never over a file that is there


def test_check_says_what_is_wrong(marie: Instance) -> None:
    assert marie.preau("check").code == 0
    (marie.folder / "keys" / "kek").chmod(0o644)
    (marie.folder / "data" / "auth").chmod(0o755)
    (marie.folder / "tls" / "server.key").unlink()
    done = marie.preau("check", "--json")
    assert done.code == 1
    problems = {row["subject"] for row in json.loads(done.output) if row["level"] == "problem"}
    assert problems == {"keys", "folders", "certificate"}


def test_an_instance_that_is_not_there(tmp_path: Path, instance: Instance) -> None:
    (instance.folder / "data" / "auth").rmdir()
    done = instance.preau("user", "list")
    assert done.code == 1
    assert "preau init" in done.error
