"""The listening sockets of an instance: which there are, whose they are, and where they come from.

Owns the table of listeners. Sockets handed over (systemd, our supervisor) win over binding anew; a name that was handed
over is not bound as well.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..config.load import parse_listen
from ..config.schema import Settings
from ..daemon.listener import Listener, bind_tcp, bind_unix
from .layout import layout_of
from .outcome import Refused

DELIVERY_SOCKET = "delivery"


@dataclass(frozen=True, slots=True)
class Kind:
    """Whose a listener is, and whether the TLS handshake comes first."""

    role: str
    tls: bool = False


KINDS: Mapping[str, Kind] = {
    DELIVERY_SOCKET: Kind("delivery"),  # RUN/delivery.sock; the others are keys of [listen]
    "lmtp": Kind("delivery"),
    "smtp": Kind("smtp"),
    "submission": Kind("smtp"),
    "submissions": Kind("smtp", tls=True),
    "imap": Kind("imap"),
    "imaps": Kind("imap", tls=True),
    "https": Kind("dav", tls=True),
    "http": Kind("dav"),
}

_INTERNAL = {"keys": ("keys-",), "auth": ("auth-", "admin"), "queue": ("queue",)}
"""How the names of sockets between our processes begin; systemd may hand them over, else the role makes them itself."""

Sockets = list[tuple[str, socket.socket]]


def open_sockets(settings: Settings, roles: Sequence[str], given: Mapping[str, Sequence[socket.socket]]) -> Sockets:
    """The sockets of these roles: those given, the rest bound. Raise Refused with every address that cannot be had."""
    sockets: Sockets = []
    problems = []
    for name, some in given.items():
        if any(name.startswith(beginning) for role in roles for beginning in _INTERNAL.get(role, ())):
            sockets += [(name, one) for one in some]
        elif name not in KINDS or KINDS[name].role not in roles:
            raise Refused(f"a socket {name!r} was handed over, which {', '.join(roles)} does not know: see FileDescriptorName=")
    for name, kind in KINDS.items():
        if kind.role not in roles:
            continue
        if name in given:
            sockets += [(name, one) for one in given[name]]
            continue
        try:
            if name == DELIVERY_SOCKET:
                sockets.append((name, bind_unix(layout_of(settings).delivery_socket)))
                continue
            for address in getattr(settings.listen, name):
                try:
                    sockets.append((name, bind_tcp(*parse_listen(address))))
                except OSError as error:
                    problems.append(f"{name} {address}: {error.strerror or error}")
        except OSError as error:
            problems.append(f"{error.filename or layout_of(settings).delivery_socket}: {error.strerror or error}")
    if problems:
        for _, one in sockets:
            one.close()
        raise Refused(f"cannot listen on {'; '.join(problems)}")
    return sockets


def of_role(sockets: Sockets, role: str) -> Sockets:
    """Those of one role."""
    beginnings = _INTERNAL.get(role, ())
    return [
        (name, one)
        for name, one in sockets
        if (KINDS[name].role == role if name in KINDS else any(name.startswith(each) for each in beginnings))
    ]


def as_listeners(sockets: Sockets) -> list[Listener]:
    """As a role takes them."""
    return [Listener(name, one, name in KINDS and KINDS[name].tls) for name, one in sockets]
