"""auth.db: what is written stays, what must be unique is."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from preau.auth.accounts import FAIL_SECONDS, KNOWN_NETS, Accounts, new_account_id, open_accounts
from preau.auth.api import Service
from preau.auth.directory import Directory
from preau.auth.policies.account_rate import EMPTY, AccountState
from preau.storage.api import AccountId
from preau.storage.database import NewerSchema

NOW = 1_800_000_000
MARIE = AccountId("marie-id")


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    opened = open_accounts(tmp_path / "auth.db")
    with opened.transaction():
        Directory(opened.connection).add_domain("ecole.example", NOW)
        opened.add(MARIE, "marie@ecole.example", now=NOW)
    yield opened
    opened.close()


def add_credential(accounts: Accounts, selector: str = "abcd", **changes: object) -> int:
    fields: dict[str, object] = {
        "label": "Telephone",
        "scopes": [Service.IMAP],
        "networks": (),
        "expires": None,
        "idle_days": 90,
        "created_by": "cli",
        "now": NOW,
    }
    with accounts.transaction():
        return accounts.add_credential(MARIE, selector, b"m" * 32, **{**fields, **changes})  # type: ignore[arg-type]  # by name


def test_the_file_is_ours_alone_and_its_wal_too(accounts: Accounts, tmp_path: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("auth.db", "auth.db-wal", "auth.db-shm"), 0o600)


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    open_accounts(tmp_path / "auth.db").close()
    connection = apsw.Connection(str(tmp_path / "auth.db"))
    connection.execute("UPDATE schema SET version = 99")
    connection.close()
    with pytest.raises(NewerSchema):
        open_accounts(tmp_path / "auth.db")


def test_account_ids_are_26_letters_and_digits() -> None:
    assert new_account_id(bytes(16)) == "a" * 26
    assert len(new_account_id(bytes(range(16)))) == 26


def test_an_address_is_one_accounts(accounts: Accounts) -> None:
    with pytest.raises(apsw.ConstraintError), accounts.transaction():
        accounts.add(AccountId("other"), "marie@ecole.example", now=NOW)
    assert len(accounts.all()) == 1


def test_a_selector_is_unique_in_its_account(accounts: Accounts) -> None:
    add_credential(accounts)
    with pytest.raises(apsw.ConstraintError):
        add_credential(accounts)


def test_a_revoked_credential_is_known_as_such(accounts: Accounts) -> None:
    row = add_credential(accounts)
    assert accounts.credential_is_live(MARIE, row)
    assert not accounts.credential_is_live(AccountId("other"), row)
    with accounts.transaction():
        accounts.revoke(row, "lost", NOW)
    assert not accounts.credential_is_live(MARIE, row)
    assert accounts.credentials(MARIE) == []
    (revoked,) = accounts.credentials(MARIE, revoked=True)
    assert revoked.revoked == NOW


@pytest.mark.parametrize(
    ("expires", "idle_days", "last_used", "days", "expired"),
    [
        pytest.param(None, 0, None, 10_000, False, id="for ever"),
        pytest.param(NOW + 86_400, 0, None, 0, False, id="before its end"),
        pytest.param(NOW + 86_400, 0, None, 1, True, id="at its end"),
        pytest.param(None, 90, None, 89, False, id="made 89 days ago, never used"),
        pytest.param(None, 90, None, 90, True, id="made 90 days ago, never used"),
        pytest.param(None, 90, NOW + 80 * 86_400, 169, False, id="used since"),
        pytest.param(None, 90, NOW + 80 * 86_400, 170, True, id="not used for 90 days"),
    ],
)
def test_expiry(
    accounts: Accounts, expires: int | None, idle_days: int, last_used: int | None, days: int, expired: bool
) -> None:
    row = add_credential(accounts, expires=expires, idle_days=idle_days)
    if last_used is not None:
        accounts.write_usage({row: (last_used, "imap", "192.0.2.0/24")}, {}, {})
    found = accounts.credential(MARIE, "abcd")
    assert found is not None
    assert found.is_expired(NOW + days * 86_400) == expired


def test_a_step_opens_once_under_racing_threads(accounts: Accounts, tmp_path: Path) -> None:
    with accounts.transaction():
        accounts.set_totp(MARIE, b"sealed", [b"mac"], NOW)
    won: list[str] = []
    barrier = threading.Barrier(12)

    def race() -> None:
        mine = open_accounts(tmp_path / "auth.db")
        barrier.wait()
        if mine.consume_step(MARIE, 1000):
            won.append("step")
        if mine.consume_recovery(MARIE, b"mac", NOW):
            won.append("recovery")
        mine.close()

    threads = [threading.Thread(target=race) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == ["recovery", "step"]
    assert not accounts.consume_step(MARIE, 999), "and none before it ever after"
    assert accounts.consume_step(MARIE, 1001)


def test_a_step_used_by_a_clock_that_was_ahead_does_not_refuse_all_codes_until_then(accounts: Accounts) -> None:
    with accounts.transaction():
        accounts.set_totp(MARIE, b"sealed", [], NOW)
    year = 31_536_000 // 30
    assert accounts.consume_step(MARIE, 1000 + year)
    assert accounts.consume_step(MARIE, 1000)
    assert not accounts.consume_step(MARIE, 1000)
    assert not accounts.consume_step(MARIE, 999)


def test_usage_is_written_in_one_go(accounts: Accounts) -> None:
    row = add_credential(accounts)
    state = AccountState((b"a" * 8, b"b" * 8), 2, NOW + 60, NOW)
    accounts.write_usage(
        {row: (NOW, "imap", "192.0.2.0/24")},
        {(MARIE, "192.0.2.0/24"): NOW, (AccountId("deleted meanwhile"), "192.0.2.0/24"): NOW},
        {("subject", "192.0.2.0/24"): state},
    )
    assert accounts.knows_network(MARIE, "192.0.2.0/24", NOW + 59 * 86_400)
    assert not accounts.knows_network(MARIE, "192.0.2.0/24", NOW + 60 * 86_400)
    assert not accounts.knows_network(AccountId("deleted meanwhile"), "192.0.2.0/24", NOW)
    assert accounts.fail_state("subject", "192.0.2.0/24") == state
    accounts.write_usage({}, {}, {("subject", "192.0.2.0/24"): EMPTY})
    assert accounts.fail_state("subject", "192.0.2.0/24") is None


def test_known_networks_and_failures_are_bounded(accounts: Accounts) -> None:
    networks = {(MARIE, f"10.{number // 256}.{number % 256}.0/24"): NOW + number for number in range(KNOWN_NETS + 50)}
    accounts.write_usage({}, networks, {("old", "n"): AccountState((), 1, 0, NOW)})
    assert not accounts.knows_network(MARIE, "10.0.0.0/24", NOW)
    assert accounts.connection.execute("SELECT count(*) FROM known_net").get == KNOWN_NETS
    accounts.prune(NOW + FAIL_SECONDS + 1)
    assert accounts.fail_state("old", "n") is None


def test_deleting_takes_everything_along(accounts: Accounts) -> None:
    add_credential(accounts)
    with accounts.transaction():
        accounts.set_totp(MARIE, b"sealed", [b"mac"], NOW)
    accounts.write_usage({}, {(MARIE, "n"): NOW}, {(MARIE, "n"): AccountState((), 1, 0, NOW)})
    marie = accounts.by_id(MARIE)
    assert marie is not None
    with accounts.transaction():
        accounts.delete(marie, NOW)
    for table in ("account", "address", "credential", "totp", "recovery", "known_net", "fail"):
        assert accounts.connection.execute(f"SELECT count(*) FROM {table}").get == 0, table


def test_a_failed_transaction_leaves_nothing(accounts: Accounts) -> None:
    def fail() -> None:
        with accounts.transaction():
            accounts.suspend(MARIE, "test", NOW)
            raise KeyError("on the way")

    with pytest.raises(KeyError):
        fail()
    found = accounts.by_id(MARIE)
    assert found is not None
    assert found.suspended is None


def test_a_database_of_before_comes_forward(tmp_path: Path) -> None:
    """Version 1 had no keys for SCRAM: its app passwords keep working, and have none."""
    path = tmp_path / "old.db"
    with contextlib.closing(open_accounts(path)) as made:
        with made.transaction():
            Directory(made.connection).add_domain("ecole.example", NOW)
            made.add(MARIE, "marie@ecole.example", now=NOW)
        add_credential(made)
        tables = made.connection.execute("SELECT name FROM pragma_table_info('credential') ORDER BY name").fetchall()
        made.connection.execute("ALTER TABLE credential DROP COLUMN scram")
        made.connection.execute("UPDATE schema SET version = 1")
    with contextlib.closing(open_accounts(path)) as opened:
        assert opened.connection.execute("SELECT version FROM schema WHERE part = 'auth'").get == 2
        assert tables == opened.connection.execute("SELECT name FROM pragma_table_info('credential') ORDER BY name").fetchall()
        assert len(opened.credentials(MARIE)) == 1
        assert opened.scram_keys(MARIE) == []


def test_keys_of_live_app_passwords_come_first(accounts: Accounts) -> None:
    rows = [add_credential(accounts, selector=f"sel{number}", scram=bytes([number]) * 64) for number in range(4)]
    add_credential(accounts, selector="none")
    with accounts.transaction():
        accounts.revoke(rows[3], "lost", NOW)
    assert [selector for selector, _ in accounts.scram_keys(MARIE)] == ["sel2", "sel1", "sel0", "sel3"]
    assert accounts.scram_keys(MARIE, limit=1) == [("sel2", bytes([2]) * 64)]
    assert accounts.scram_keys(AccountId("paul-id")) == []
