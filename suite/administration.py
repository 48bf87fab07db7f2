"""How commands reach the administration of accounts: over RUN/admin.sock while auth runs, else in this process.

Owns the choice (decisions.md 4) and the lock that keeps two writers out of auth.db. Every method of
`auth.api.Administration` is an op of the same name there; its keyword arguments are the fields.
"""

import contextlib
import inspect
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from ..auth.api import AdminError, Administration, AuthUnavailable
from ..config.schema import Settings
from ..daemon.rpc import RpcRefused, RpcUnavailable, call_blocking
from ..storage.api import StoreError
from .layout import Layout, layout_of
from .outcome import Refused

_SLOW = 120.0  # seconds: a batch of an import may hash passwords


class RemoteAdministration:
    """`Administration` on the other side of a socket."""

    def __init__(self, path: Path) -> None:
        """Call through `path`."""
        self._path = path

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The op of that name; positional arguments get the names that the protocol gives them."""
        method = getattr(Administration, name, None)
        if name.startswith("_") or method is None:
            raise AttributeError(name)
        signature = inspect.signature(method)

        def call(*arguments: Any, **keywords: Any) -> Any:
            fields = dict(signature.bind(self, *arguments, **keywords).arguments)
            del fields["self"]
            try:
                return call_blocking(self._path, name, timeout=_SLOW, **fields).get("result")
            except RpcRefused as error:
                raise AdminError(str(error)) from None

        return call


@contextlib.contextmanager
def open_administration(settings: Settings) -> Iterator[Administration]:
    """The administration, however it can be had. AdminError and RpcUnavailable inside become Refused."""
    layout = layout_of(settings)
    try:
        if answers(layout.admin_socket):
            yield cast(Administration, RemoteAdministration(layout.admin_socket))
        else:
            check_made(layout)
            check_owned(layout.auth_folder, "auth")
            from .compose import make_administration  # slow to import, and only needed here

            with make_administration(settings) as administration:
                yield administration
    except AdminError as error:
        raise Refused(str(error)) from None
    except (AuthUnavailable, StoreError) as error:
        raise Refused(f"{error}; try again, or see the log of auth") from None
    except RpcUnavailable as error:
        raise Refused(f"auth does not answer ({error}); see its log, or stop it and try again") from None


def answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket. Raise Refused when we may not ask."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False
        except PermissionError:
            raise Refused(f"{path}: only root and the owner of the instance may use it") from None
        except OSError as error:
            raise Refused(f"{path}: {error.strerror or error}") from None
    return True


def check_made(layout: Layout) -> None:
    """Whether `init` was here. Raise Refused."""
    for path in (layout.auth_folder, layout.keys_folder):
        try:
            there = path.exists()
        except PermissionError:
            there = False
        if not there:
            raise Refused(
                f"{path} is not there or not readable: make the instance with `preau init`, and use its owner's account"
            )


def check_owned(folder: Path, role: str) -> None:
    """Whether files made in `folder` by us will be readable by its role. Raise Refused."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise Refused(f"{folder} belongs to uid {owner}: start {role} and try again, or run this command as that user")
