import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from preau.auth import key_store
from preau.auth.key_store import (
    INSTANCE_SECRETS,
    PEPPER,
    InvalidKek,
    KeysInUse,
    KeyStore,
    create_kek,
    open_keys,
    open_totp,
    read_kek,
    seal_totp,
)
from preau.storage import atomic
from preau.storage.api import AccountId, Forbidden, InvalidName, NotFound
from preau.storage.paths import render_account_id

ONE, TWO = (render_account_id(bytes([n]) * 16) for n in (1, 2))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    create_kek(tmp_path / "kek")
    opened = open_keys(tmp_path / "keys.db", tmp_path / "kek")
    yield opened
    opened.close()


def reopen(store: KeyStore, folder: Path) -> KeyStore:
    store.close()
    return open_keys(folder / "keys.db", folder / "kek")


def test_keys_are_made_once_and_stay(store: KeyStore, tmp_path: Path) -> None:
    assert store.find(ONE) is None
    keys = store.account_keys(ONE, 5)
    assert len({keys.public, keys.secret, keys.index, keys.cache}) == 4
    assert {len(each or b"") for each in (keys.public, keys.secret, keys.index, keys.cache)} == {32}
    assert store.account_keys(TWO, 5).secret != keys.secret
    store = reopen(store, tmp_path)
    assert store.account_keys(ONE, 6) == keys
    assert sorted(store.accounts()) == [ONE, TWO]
    store.close()


def test_threads_that_race_get_the_same_keys(store: KeyStore) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(store.account_keys(ONE, 0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({keys.secret for keys in found}) == 1


def test_nothing_on_disk_shows_a_key(store: KeyStore, tmp_path: Path) -> None:
    keys = store.account_keys(ONE, 0)
    pepper = store.secret(PEPPER, 0)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.name != "kek")
    for key in (keys.secret, keys.index, keys.cache, pepper, read_kek(tmp_path / "kek")):
        assert key is not None
        assert key not in on_disk
    assert keys.public in on_disk
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


@pytest.mark.parametrize("account", ["", "../../etc", "A" * 26, "a" * 25, "a" * 25 + "b"])
def test_what_is_no_account_is_refused(store: KeyStore, account: str) -> None:
    with pytest.raises(InvalidName):
        store.account_keys(AccountId(account), 0)


def test_instance_secrets(store: KeyStore, tmp_path: Path) -> None:
    values = {name: store.secret(name, 0) for name in INSTANCE_SECRETS}
    assert len(set(values.values())) == len(values)
    with pytest.raises(NotFound):
        store.secret("other", 0)
    store = reopen(store, tmp_path)
    assert {name: store.secret(name, 9) for name in INSTANCE_SECRETS} == values
    store.close()


def test_forgotten_keys_are_gone_from_every_file_and_stay_gone(store: KeyStore, tmp_path: Path) -> None:
    public = store.account_keys(ONE, 0).public
    kept = store.account_keys(TWO, 0)
    query = "SELECT secret, index_key, cache_key FROM account_key WHERE account = ?"
    wrapped: list[bytes] = list(store._reader.execute(query, (ONE,)).fetchone() or ())
    assert len(wrapped) == 3
    store.forget(ONE, 7)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(blob in on_disk for blob in (*wrapped, public))
    for _ in range(2):
        with pytest.raises(Forbidden):
            store.account_keys(ONE, 8)
    store.forget(ONE, 9)
    assert store.find(TWO) == kept


def test_one_process_at_a_time(store: KeyStore, tmp_path: Path) -> None:
    with pytest.raises(KeysInUse):
        open_keys(tmp_path / "keys.db", tmp_path / "kek")
    store.close()
    open_keys(tmp_path / "keys.db", tmp_path / "kek").close()


def test_the_kek_can_be_changed(store: KeyStore, tmp_path: Path) -> None:
    before = (store.account_keys(ONE, 0), store.account_keys(TWO, 0), store.secret(PEPPER, 0))
    blob = seal_totp(store, ONE, b"totp secret", 0)
    old = read_kek(tmp_path / "kek")
    assert store.rewrap() == 2 + 2
    assert read_kek(tmp_path / "kek") != old
    assert not (tmp_path / "kek.next").exists()
    assert (store.find(ONE), store.find(TWO), store.secret(PEPPER, 0)) == before
    store.account_keys(render_account_id(b"3" * 16), 0)
    store = reopen(store, tmp_path)
    assert (store.find(ONE), store.find(TWO), store.secret(PEPPER, 0)) == before
    assert open_totp(store, ONE, blob, 0) == b"totp secret"
    store.close()
    (tmp_path / "kek").write_bytes(old)
    with pytest.raises(InvalidKek, match="was wrapped by"):
        open_keys(tmp_path / "keys.db", tmp_path / "kek")


@pytest.mark.parametrize("moment", ["_rewrap_rows", "_scrub", "_take_next"])
def test_a_change_of_kek_survives_a_crash(
    store: KeyStore, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = store.account_keys(ONE, 0)

    def crash(*_: object) -> None:
        raise InterruptedError(moment)

    monkeypatch.setattr(store, moment, crash)
    with pytest.raises(InterruptedError):
        store.rewrap()
    monkeypatch.undo()
    store = reopen(store, tmp_path)
    assert store.find(ONE) == keys
    assert store.rewrap() == 1
    assert store.find(ONE) == keys
    store.close()


def test_a_totp_secret_opens_for_its_account_alone(store: KeyStore) -> None:
    blob = seal_totp(store, ONE, b"secret", 0)
    assert b"secret" not in blob
    assert open_totp(store, ONE, blob, 0) == b"secret"
    for account, changed in ((TWO, blob), (ONE, blob[:-1]), (ONE, b""), (ONE, bytes(60))):
        with pytest.raises(Forbidden):
            open_totp(store, account, changed, 0)


def test_rows_cannot_stand_in_for_another(store: KeyStore, tmp_path: Path) -> None:
    store.account_keys(ONE, 0)
    store.account_keys(TWO, 0)
    store._writer.execute(
        "UPDATE account_key SET secret = (SELECT secret FROM account_key WHERE account = ?) WHERE account = ?", (ONE, TWO)
    )
    store = reopen(store, tmp_path)  # nothing is remembered there
    with pytest.raises(InvalidKek):
        store.find(TWO)
    store.close()


def test_a_kek_is_never_replaced(tmp_path: Path) -> None:
    create_kek(tmp_path / "keys" / "kek")
    key = read_kek(tmp_path / "keys" / "kek")
    with pytest.raises(FileExistsError):
        create_kek(tmp_path / "keys" / "kek")
    assert read_kek(tmp_path / "keys" / "kek") == key
    assert (tmp_path / "keys" / "kek").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("case", ["missing", "short", "readable", "another", "directory"])
def test_what_is_wrong_with_a_kek_is_said(store: KeyStore, tmp_path: Path, case: str) -> None:
    store.account_keys(ONE, 0)
    store.close()
    kek = tmp_path / "kek"
    match case:
        case "missing":
            kek.unlink()
        case "short":
            kek.write_bytes(b"x" * 31)
        case "readable":
            kek.chmod(0o644)
        case "another":
            kek.write_bytes(os.urandom(32))
        case "directory":
            kek.unlink()
            kek.mkdir()
    with pytest.raises(InvalidKek, match="kek"):
        open_keys(tmp_path / "keys.db", kek)
    # The lock is given back.
    with pytest.raises(InvalidKek):
        open_keys(tmp_path / "keys.db", kek)


def test_a_new_account_is_on_disk_before_its_keys_are_handed_out(store: KeyStore) -> None:
    assert store._writer.pragma("synchronous") == 2
    assert store._writer.pragma("secure_delete") == 1
    assert atomic.FILE_MODE != 0o600  # why the file is made by us first


def test_what_was_just_given_out_is_forgotten_all_the_same(store: KeyStore) -> None:
    store.account_keys(ONE, 5)
    assert store.find(ONE) is not None
    store.forget(ONE, 7)
    with pytest.raises(Forbidden):
        store.find(ONE)
    with pytest.raises(Forbidden):
        store.account_keys(ONE, 8)


def test_no_more_keys_are_remembered_than_a_bound(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_store, "_REMEMBERED", 3)
    accounts = [render_account_id(bytes([n]) * 16) for n in range(6)]
    made = [store.account_keys(account, 0) for account in accounts]
    assert len(store._remembered) == 3
    assert [store.find(account) for account in accounts] == made
