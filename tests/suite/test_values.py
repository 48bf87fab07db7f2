"""Every bound of every part is a key of preau.toml, with the part's own default."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preau.config.key import keys_of
from preau.config.load import parse_settings, sections
from preau.config.schema import BackendEntry, Settings
from preau.suite import values

DEFAULT = parse_settings(b"[instance]\ndomain = 'a.example'\n", Path("/tmp/x/preau.toml"))
MADE: dict[str, Callable[[Settings], Any]] = {
    "store": values.store_limits,
    "policy": values.policy_settings,
    "imap": values.imap_settings,
    "delivery": values.delivery_settings,
    "auth": values.engine_settings,
    "admin": values.admin_settings,
    "auth role": lambda settings: values.auth_settings(settings, ("imap",), {}),
    "keys": lambda settings: values.key_settings(settings, ("imap",), {}),
}
NOT_SETTINGS = {"run", "roles", "uids", "database", "lock", "traces"}  # places and wiring


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every plain field of nested dataclasses."""
    if not dataclasses.is_dataclass(value):
        return {path: value}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        found |= leaves(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)
    return found


def changed(settings: Settings) -> Settings:
    """Settings in which every key has another value than its default."""
    new: dict[str, Any] = {}
    for name, cls in sections().items():
        section = getattr(settings, name)
        values_of: dict[str, Any] = {}
        for info in keys_of(name, cls):
            value = getattr(section, info.name)
            match value:
                case bool():
                    values_of[info.name] = not value
                case int() | float():
                    values_of[info.name] = value + 1
                case str():
                    values_of[info.name] = value + "x"
                case (BackendEntry(), *_):
                    values_of[info.name] = (BackendEntry("file", options={"path": "/x"}),)
                case tuple():
                    values_of[info.name] = (*value, "192.0.2.0/24")
                case _:
                    values_of[info.name] = value
        new[name] = dataclasses.replace(section, **values_of)
    return dataclasses.replace(settings, **new)


@pytest.mark.parametrize("part", MADE)
def test_every_bound_has_a_key(part: str) -> None:
    """Changing every key changes every field: none is left at a default nobody can reach."""
    make = MADE[part]
    before, after = leaves(make(DEFAULT)), leaves(make(changed(DEFAULT)))
    assert [name for name in before if before[name] == after[name] and name.rpartition(".")[2] not in NOT_SETTINGS] == []


@pytest.mark.parametrize("part", ["store", "policy", "imap", "delivery", "auth", "admin"])
def test_the_defaults_are_the_parts_own(part: str) -> None:
    """Said twice, so held equal here; what follows from the domain is the exception."""
    made = MADE[part](DEFAULT)
    own = leaves(type(made)())
    mine = leaves(made)
    derived = {"hostname", "domain", "domains", "default_domain"}
    assert {name: value for name, value in mine.items() if name not in derived} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in own.items() if name not in derived
    }
