"""The file store keeps every promise of the contract, sealed and plain."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from change_contract import ChangeContract, ModelContract, SearchContract
from message_contract import MessageContract, ViewContract
from preau.storage.api import Store, StoreLimits
from preau.storage.store import open_store as open_file_store
from store_contract import AccountContract, MailboxContract, StoreContract


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def sealing(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class _Files(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path, sealing: bool) -> Iterator[Callable[..., Store]]:
        opened: list[Store] = []

        def open_again(limits: StoreLimits | None = None) -> Store:
            opened.append(open_file_store(tmp_path, sealing=sealing, limits=limits))
            return opened[-1]

        yield open_again
        for store in opened:
            store.close()


class TestAccount(_Files, AccountContract):
    pass


class TestMailboxes(_Files, MailboxContract):
    pass


class TestMessages(_Files, MessageContract):
    pass


class TestViews(_Files, ViewContract):
    pass


class TestChanges(_Files, ChangeContract):
    pass


class TestSearch(_Files, SearchContract):
    pass


class TestModel(_Files, ModelContract):
    pass
