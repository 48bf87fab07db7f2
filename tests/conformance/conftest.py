"""One running instance for all clients that are tried, and a new person in it for each test."""

import itertools
from collections.abc import Iterator

import pytest

from instance import make_instance, serving
from people import MAIL_ROLES, QUICK, People, Person
from ports import free_base


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """An instance of the roles of mail, served by `preau serve`."""
    instance = make_instance(tmp_path_factory.mktemp("people") / "i", free_base(), settings=QUICK)
    with serving(instance, *MAIL_ROLES):
        yield People(instance)


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    """So that no two people have one address."""
    return itertools.count(1)


@pytest.fixture
def person(people: People, numbers: Iterator[int]) -> Person:
    """Somebody new."""
    return people.add(f"person{next(numbers)}")


@pytest.fixture
def another(people: People, numbers: Iterator[int]) -> Person:
    """Somebody else."""
    return people.add(f"person{next(numbers)}")
