"""An account's store as a command opens it: keys from the key holder, files through `storage`.

Owns how the keys are had: from RUN/keys-admin.sock while `keys` runs (which notes who asked and why), else from the files
in this process. Never prints a key.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from ..auth.client import decode
from ..config.schema import Settings
from ..daemon.rpc import RpcRefused, RpcUnavailable, call_blocking
from ..storage.api import Account, AccountId, AccountKeys, Store, StoreError
from .administration import answers, check_made, check_owned, open_administration
from .compose import make_bus, make_store
from .layout import layout_of
from .outcome import Refused

if TYPE_CHECKING:
    from ..auth.key_store import KeyStore


class Keys(Protocol):
    """What commands ask of the key holder."""

    def open(self, account: AccountId, why: str) -> AccountKeys:
        """All keys of an account; `why` is noted."""
        ...

    def forget(self, account: AccountId) -> None:
        """Destroy an account's keys: what is sealed stays sealed."""
        ...


class _RemoteKeys:
    def __init__(self, path: Any) -> None:
        self._path = path

    def open(self, account: AccountId, why: str) -> AccountKeys:
        fields = call_blocking(self._path, "admin_unwrap", account=account, why=why)
        return AccountKeys(
            public=decode(fields["public"]),
            secret=decode(fields["secret"]),
            index=decode(fields["index"]),
            cache=decode(fields["cache"]),
        )

    def forget(self, account: AccountId) -> None:
        call_blocking(self._path, "forget", account=account)


class _LocalKeys:
    def __init__(self, store: "KeyStore", now: int) -> None:
        self._store = store
        self._now = now

    def open(self, account: AccountId, why: str) -> AccountKeys:
        return self._store.account_keys(account, self._now)

    def forget(self, account: AccountId) -> None:
        self._store.forget(account, self._now)


@contextlib.contextmanager
def with_shared_umask() -> Iterator[None]:
    """What is made in the store belongs to its group, whoever runs the command."""
    before = os.umask(0o007)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def hold_keys(settings: Settings) -> Iterator[Keys]:
    """The key holder, however it can be had. Errors inside become Refused."""
    layout = layout_of(settings)
    try:
        if answers(layout.keys_socket("admin")):
            yield _RemoteKeys(layout.keys_socket("admin"))
        else:
            check_made(layout)
            check_owned(layout.keys_folder, "keys")
            from ..auth.key_store import open_keys

            store = open_keys(layout.keys_db, layout.kek)
            try:
                yield _LocalKeys(store, int(time.time()))
            finally:
                store.close()
    except RpcRefused as error:
        raise Refused(str(error)) from None
    except RpcUnavailable as error:
        raise Refused(f"keys does not answer ({error}); see its log, or stop it and try again") from None
    except StoreError as error:
        raise Refused(str(error)) from None


@contextlib.contextmanager
def open_store_of(settings: Settings, address: str, why: str) -> Iterator[tuple[Store, Account]]:
    """The store and the account behind an address. Raise Refused."""
    with open_administration(settings) as administration:
        account_id = AccountId(administration.account_id(address))
    with (
        with_shared_umask(),
        hold_keys(settings) as keys,
        make_bus(settings, "command") as bus,
        make_store(settings, bus) as store,
    ):
        account = store.open_account(account_id, keys.open(account_id, why))
        try:
            yield store, account
        finally:
            account.close()


def delete_store(settings: Settings, account: str) -> None:
    """Destroy the keys of a deleted account, then its files. Raise Refused."""
    with (
        with_shared_umask(),
        hold_keys(settings) as keys,
        make_bus(settings, "command") as bus,
        make_store(settings, bus) as store,
    ):
        keys.forget(AccountId(account))
        store.delete_account(AccountId(account))
