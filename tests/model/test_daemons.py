"""Random sessions of the daemons: a dozen connections over two IMAP workers, LMTP and a calendar beside."""

from collections.abc import Iterator

import pytest

from instance import make_instance, serving
from model_daemons import SETTINGS, run_daemons
from people import People, Person
from ports import free_base


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    instance = make_instance(tmp_path_factory.mktemp("model") / "i", free_base(), settings=SETTINGS)
    with serving(instance, "keys", "auth", "delivery", "imap", "dav"):
        yield People(instance).add("ana")


def test_every_client_of_the_daemons_ends_with_the_truth(person: Person) -> None:
    assert run_daemons(person, 1) > 100
