"""From a name to a backend: ours, an entry point of the group `preau.auth.backends`, or a dotted path `package.module:Class`.

A plug-in's factory is called with its options as keyword arguments. It gets no pepper and no database.
"""

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...storage.api import Unavailable
from .api import Backend
from .file import FileBackend
from .sqlite import SqliteBackend

GROUP = "preau.auth.backends"


class NoBackend(Exception):
    """A backend that cannot be had; the text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """use: `sqlite`, `file`, an entry point's name or a dotted path.  options: for the backend.  domains: for which it
    answers; empty: for all that no other names."""

    use: str
    options: Mapping[str, Any] = field(default_factory=dict)
    domains: tuple[str, ...] = ()


def open_backend(settings: BackendSettings, database: Path, pepper: bytes, random: Callable[[int], bytes]) -> Backend:
    """Make a backend. Raise NoBackend."""
    try:
        match settings.use:
            case "sqlite":
                return SqliteBackend(database, pepper, random, **settings.options)
            case "file":
                options = dict(settings.options)
                return FileBackend(Path(options.pop("path")), pepper, random, **options)
            case _:
                backend = _factory(settings.use)(**settings.options)
    except (TypeError, KeyError, OSError, Unavailable) as error:
        raise NoBackend(f"backend {settings.use}: {error}") from error
    missing = [part for part in ("name", "capabilities", "lookup", "verify", "change") if not hasattr(backend, part)]
    if missing:
        raise NoBackend(f"backend {settings.use} lacks {', '.join(missing)}")
    found: Backend = backend
    return found


def _factory(use: str) -> Callable[..., Any]:
    try:
        for point in importlib.metadata.entry_points(group=GROUP, name=use):
            factory: Callable[..., Any] = point.load()
            return factory
        module, colon, attribute = use.partition(":")
        if not colon:
            raise NoBackend(f"no backend {use!r}: sqlite, file, an entry point of {GROUP}, or package.module:Class")
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise NoBackend(f"backend {use}: {error}") from error
    return factory


class Backends:
    """The backends of an instance, and which answers for whom."""

    def __init__(self, backends: Sequence[tuple[Backend, tuple[str, ...]]]) -> None:
        """Each with its domains; none: for all that no other names."""
        self._backends = backends
        self.passwords_elsewhere = any(not isinstance(backend, SqliteBackend) for backend, _ in backends)

    def named(self, name: str) -> Backend | None:
        """The backend an account was made with."""
        return next((backend for backend, _ in self._backends if backend.name == name), None)

    def of_domain(self, domain: str) -> Backend:
        """The backend that answers for a domain."""
        for backend, domains in self._backends:
            if domain in domains:
                return backend
        return next((backend for backend, domains in self._backends if not domains), self._backends[0][0])

    def close(self) -> None:
        """Close those that can be closed."""
        for backend, _ in self._backends:
            if isinstance(backend, SqliteBackend):
                backend.close()
