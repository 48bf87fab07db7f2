"""Every bound of every part is a key of preau.toml, with the part's own default."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from preau.config.key import Form, KeyInfo, keys_of
from preau.config.load import parse_settings, sections
from preau.config.schema import BackendEntry, Settings
from preau.suite import values

DEFAULT = parse_settings(b"[instance]\ndomain = 'a.example'\n", Path("/tmp/x/preau.toml"))
MADE: dict[str, Callable[[Settings], Any]] = {
    "store": values.store_limits,
    "policy": values.policy_settings,
    "imap": values.imap_settings,
    "dav": values.dav_settings,
    "delivery": values.delivery_settings,
    "auth": values.engine_settings,
    "admin": values.admin_settings,
    "auth role": lambda settings: values.auth_settings(settings, ("imap",), {}),
    "smtp": values.smtp_settings,
    "queue": lambda settings: values.queue_settings(settings, None),
    "queue to delivery": values.local_settings,
    "relay": values.relay_settings,
    "dns": values.resolver_settings,
    "keys": lambda settings: values.key_settings(settings, ("imap",), {}),
}
NOT_SETTINGS = {
    *("run", "roles", "uids", "database", "lock", "traces", "delivery_socket", "delivery"),  # places and wiring
    *("admin_uids", "hint_mode"),
    "https_port",  # follows from where it listens
}
NOT_USED = {("queue to delivery", "deadlines.handshake")}  # LMTP to delivery has no TLS


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
            values_of[info.name] = another(info, getattr(section, info.name))
        new[name] = dataclasses.replace(section, **values_of)
    return dataclasses.replace(settings, **new)


def another(info: KeyInfo, value: Any) -> Any:
    """Another value that the key takes."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return "host.example:25" if info.form is Form.HOST_PORT else value + "x"
        case (BackendEntry(), *_):
            return (BackendEntry("file", options={"path": "/x"}),)
        case tuple() if info.choices:
            return value[::-1]
        case (int(), *_):
            return (*value, value[-1] + 1)
        case tuple():
            return (*value, "192.0.2.0/24")
        case Mapping():
            return {"a.example": "host.example:25"}
        case _:
            return value


@pytest.mark.parametrize("part", MADE)
def test_every_bound_has_a_key(part: str) -> None:
    """Changing every key changes every field: none is left at a default nobody can reach."""
    make = MADE[part]
    before, after = leaves(make(DEFAULT)), leaves(make(changed(DEFAULT)))
    same = [name for name in before if before[name] == after[name] and (part, name) not in NOT_USED]
    assert [name for name in same if name.rpartition(".")[2] not in NOT_SETTINGS] == []


@pytest.mark.parametrize(
    "part",
    ["store", "policy", "imap", "dav", "delivery", "auth", "admin", "smtp", "queue", "queue to delivery", "relay", "dns"],
)
def test_the_defaults_are_the_parts_own(part: str) -> None:
    """Said twice, so held equal here; what follows from the domain is the exception."""
    made = MADE[part](DEFAULT)
    places: dict[str, Any] = {"queue": {"run": Path(), "database": Path()}, "queue to delivery": {"delivery": Path()}}.get(
        part, {}
    )
    own = leaves(type(made)(**places))
    mine = leaves(made)
    derived = {"hostname", "domain", "domains", "default_domain", "delivery_socket", *places}
    if part == "smtp":
        derived.add("scram")  # one key for all roles: on
    if part == "queue to delivery":
        derived.add("deadlines.handshake")
    assert {name: value for name, value in mine.items() if name not in derived} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in own.items() if name not in derived
    }
