"""`auth` and `keys` that die at work: `python crash_auth.py ROOT`, telling in ROOT.told what was answered.

Accounts and app passwords are made and revoked, sign-ins traced, keys handed out, destroyed, and wrapped under another key.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from auth_bench import Clock, FakeKeySource
from crash_victim import Teller
from preau.auth.admin import LocalAdministration
from preau.auth.key_store import KeyStore, create_kek, open_keys
from preau.auth.offline import open_administration
from preau.storage.api import AccountId, Forbidden
from preau.storage.paths import render_account_id
from store_contract import ANNE, BRUNO

MARIE = "marie@ecole.example"
CARL: AccountId = render_account_id(bytes(range(32, 48)))


@dataclass
class Open:
    """What is open."""

    admin: LocalAdministration
    keys: KeyStore


@contextmanager
def opened(root: Path) -> Iterator[Open]:
    """auth.db, the traces and keys.db."""
    keys = open_keys(root / "keys" / "keys.db", root / "keys" / "kek")
    try:
        with open_administration(root / "auth.db", root / "traces", FakeKeySource(), clock=Clock()) as admin:
            yield Open(admin, keys)
    finally:
        keys.close()


def prepare(root: Path) -> None:
    """One account, one key, at rest."""
    root.mkdir()
    create_kek(root / "keys" / "kek")
    with opened(root) as there:
        there.admin.user_add(MARIE)
        there.keys.account_keys(ANNE, 1)


def look_at(there: Open) -> dict[str, Any]:
    """Everything that was answered once."""
    keys: dict[str, str] = {}
    for account in (ANNE, BRUNO, CARL):
        try:
            found = there.keys.find(account)
        except Forbidden:
            keys[account] = "forgotten"
        else:
            if found is not None:
                keys[account] = sha256(found.index + found.cache + (found.secret or b"")).hexdigest()
    return {
        "users": {user["address"]: user["status"] for user in there.admin.user_list()},
        "passwords": {one["id"]: one["label"] for one in there.admin.app_password_list(MARIE)},
        "keys": keys,
    }


def steps(there: Open) -> Iterator[tuple[str, str]]:
    """(what was done, the trace that says so or nothing)."""
    admin, keys = there.admin, there.keys
    admin.user_add("paul@ecole.example")
    yield "user add", "admin.user_add"
    first = admin.app_password_add(MARIE, label="phone")["id"]
    yield "app-password add", "admin.app_password_add"
    admin.app_password_add(MARIE, label="laptop")
    yield "app-password add another", "admin.app_password_add"
    admin.app_password_revoke(MARIE, first)
    yield "app-password revoke", "admin.app_password_revoke"
    admin.user_lock("paul@ecole.example", reason="left")
    yield "user lock", "admin.user_lock"
    for number in range(3):
        admin._traces.event("auth.ok", acct=ANNE, n=number)
        admin._traces.sync()
        yield f"trace {number}", "auth.ok"
    keys.account_keys(BRUNO, 2)
    yield "keys", ""
    keys.rewrap()
    yield "rewrap", ""
    keys.account_keys(CARL, 3)
    yield "keys under the new one", ""
    keys.forget(BRUNO, 4)
    yield "forget", ""


def main(root: Path) -> None:
    """Do it, telling."""
    teller = Teller(root)
    with opened(root) as there:
        teller.tell("open", view=look_at(there), trace="")
        for step, trace in steps(there):
            teller.tell(step, view=look_at(there), trace=trace)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
