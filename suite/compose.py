"""The composition root: settings to stores, key holders and roles; the only place that knows everybody.

Owns which parts a role is made of, and that they are closed in the right order. Each `make_` is a context manager that
gives the thing and ends what it opened. Imports stand inside: a process loads the parts of its own role.
"""

import contextlib
import os
import pwd
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..auth.api import Administration, AuthUnavailable
from ..auth.key_source import KeySource
from ..config.schema import Settings
from ..daemon.log import logger
from ..daemon.role import Role
from ..storage.api import ChangeBus, Store, StoreError
from .layout import layout_of, make_run_folder
from .outcome import Refused

if TYPE_CHECKING:
    from ..daemon.tls import ServerTls

log = logger("suite")

ROLES = ("imap", "dav", "delivery", "smtp", "queue")
"""Roles that ask auth and keys."""

_REST = 5.0  # seconds: a mail client opens several connections one after the other, and a telephone comes back at once


@contextlib.contextmanager
def make_role(settings: Settings, name: str) -> Iterator[Role]:
    """A role of this name. Raise Refused when something it needs is not there."""
    from ..auth.backends.load import NoBackend
    from ..auth.offline import InUse

    makers = {
        "keys": make_keys,
        "auth": make_auth,
        "delivery": make_delivery,
        "queue": make_queue,
        "smtp": make_smtp,
        "imap": make_imap,
        "dav": make_dav,
    }
    try:
        with makers[name](settings) as role:
            yield role
    except (StoreError, AuthUnavailable, InUse, NoBackend, ValueError) as error:
        raise Refused(f"{name}: {error}") from None
    except OSError as error:
        raise Refused(f"{name}: {error.filename or ''} {error.strerror or error}") from None


@contextlib.contextmanager
def make_bus(settings: Settings, name: str) -> Iterator[ChangeBus]:
    """This process's place among those that tell each other what they changed."""
    from ..storage.changes import open_bus

    make_run_folder(layout_of(settings).run)
    with contextlib.closing(open_bus(layout_of(settings).run, f"{name}-{os.getpid()}")) as bus:
        yield bus


@contextlib.contextmanager
def make_store(settings: Settings, bus: ChangeBus, *, rest: float = 0.0) -> Iterator[Store]:
    """The store; what it changes is told by `bus`. `rest`: seconds that accounts outlast who holds them."""
    from ..storage.store import open_store
    from .values import store_limits

    accounts = layout_of(settings).accounts
    store = open_store(accounts, sealing=settings.seal.enabled, limits=store_limits(settings), bus=bus, rest=rest)
    with contextlib.closing(store):
        yield store


@contextlib.contextmanager
def make_keys(settings: Settings) -> Iterator[Role]:
    """The role keys."""
    from ..auth.keys import KeyServer, open_keys
    from .values import key_settings

    layout = layout_of(settings)
    roles = ("auth", *ROLES, "admin")
    yield KeyServer(open_keys(layout.keys_db, layout.kek), key_settings(settings, roles, peer_uids(roles)))


@contextlib.contextmanager
def make_auth(settings: Settings) -> Iterator[Role]:
    """The role auth."""
    from ..auth.key_source import BlockingKeySource
    from ..auth.server import AuthServer
    from .values import auth_settings

    uids = peer_uids((*ROLES, "admin"))
    yield AuthServer(auth_settings(settings, ROLES, uids), BlockingKeySource(layout_of(settings).keys_socket("auth")))


@contextlib.contextmanager
def make_administration(settings: Settings) -> Iterator[Administration]:
    """The administration in this process, under the lock of auth. Raise Refused while auth runs."""
    from ..auth.key_local import LocalKeySource
    from ..auth.key_source import BlockingKeySource
    from ..auth.key_store import KeysInUse, open_keys
    from ..auth.offline import InUse, hold_lock, open_administration
    from .values import admin_settings

    layout = layout_of(settings)
    with contextlib.ExitStack() as stack:
        try:
            stack.callback(os.close, hold_lock(layout.auth_lock))
        except InUse as error:
            raise Refused(f"{error}; try again, or see the log of auth") from None
        try:
            source: KeySource = LocalKeySource(stack.enter_context(contextlib.closing(open_keys(layout.keys_db, layout.kek))))
        except KeysInUse:  # keys runs, auth does not
            source = BlockingKeySource(layout.keys_socket("auth"))
        days = settings.traces.retention_days
        opened = open_administration(layout.auth_db, layout.traces, source, admin_settings(settings), retention_days=days)
        yield stack.enter_context(opened)


@contextlib.contextmanager
def make_delivery(settings: Settings) -> Iterator[Role]:
    """The role delivery."""
    from ..auth.client import SocketAuthenticator, SocketKeyHolder
    from ..smtp.delivery import DeliveryServer
    from .values import delivery_settings
    from .with_clients import WithClients

    layout = layout_of(settings)
    with make_bus(settings, "delivery") as bus, make_store(settings, bus) as store:
        # Nobody waits for it, and it may be cut off anywhere: what it removes belongs to nobody.
        threading.Thread(target=_sweep, args=(store,), name="sweep", daemon=True).start()
        authenticator = SocketAuthenticator(layout.auth_socket("delivery"))
        keys = SocketKeyHolder(layout.keys_socket("delivery"))
        yield WithClients(DeliveryServer(store, authenticator, keys, delivery_settings(settings)), authenticator, keys)


def _sweep(store: Store) -> None:
    """Remove what processes that died left half written, once a start of delivery."""
    from ..storage.store import FileStore

    if isinstance(store, FileStore):
        try:
            removed = store.sweep()
        except (StoreError, OSError) as error:
            log.warning("sweep cut short", error=str(error))
        else:
            log.debug("swept", removed=removed)


@contextlib.contextmanager
def make_smtp(settings: Settings) -> Iterator[Role]:
    """The role smtp: one worker. It writes the spool and can read nothing of it."""
    from ..auth.client import SocketAuthenticator, fetch_queue_key
    from ..smtp.server import SmtpServer
    from ..smtp.spool import Spool
    from .values import smtp_settings
    from .with_clients import WithClients

    layout = layout_of(settings)
    tls = make_tls(settings, "smtp")
    public, _ = fetch_queue_key(layout.keys_socket("smtp"), wait=settings.auth.patience)
    with contextlib.closing(Spool(layout.queue, public, hint_path=layout.queue_hints)) as spool:
        authenticator = SocketAuthenticator(layout.auth_socket("smtp"))
        yield WithClients(SmtpServer(spool, authenticator, smtp_settings(settings), tls), authenticator)


@contextlib.contextmanager
def make_queue(settings: Settings) -> Iterator[Role]:
    """The role queue: the one that can open the spool."""
    from ..auth.client import SocketAuthenticator, fetch_queue_key
    from ..auth.offline import hold_lock
    from ..smtp.queue import QueueServer
    from ..smtp.queue_delivery import Deliverer
    from ..smtp.queue_store import database_key
    from ..smtp.relay import Relay
    from ..smtp.resolver import DnsResolver
    from ..smtp.spool import Spool
    from .values import local_settings, queue_settings, relay_settings, resolver_settings
    from .with_clients import WithClients

    layout = layout_of(settings)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, hold_lock(layout.queue_lock, "queue"))
        public, secret = fetch_queue_key(layout.keys_socket("queue"), wait=settings.auth.patience)
        if secret is None:
            raise Refused("queue: the key holder does not give the key that opens the spool")
        spool = stack.enter_context(contextlib.closing(Spool(layout.queue, public, secret, hint_path=layout.queue_hints)))
        authenticator = SocketAuthenticator(layout.auth_socket("queue"))
        relay = Relay(relay_settings(settings), DnsResolver(resolver_settings(settings)))
        deliverer = Deliverer(local_settings(settings), spool, authenticator, relay)
        uids = peer_uids(("admin",))["admin"]
        yield WithClients(QueueServer(queue_settings(settings, uids), spool, deliverer, database_key(secret)), authenticator)


def make_tls(settings: Settings, role: str) -> "ServerTls":
    """The certificate that clients of a role see. Raise Refused."""
    from ..daemon.tls import InvalidCertificate, ServerTls

    try:
        return ServerTls(settings.tls.certificate, settings.tls.private_key)
    except InvalidCertificate as error:
        raise Refused(f"{role}: {error}") from None


@contextlib.contextmanager
def make_imap(settings: Settings) -> Iterator[Role]:
    """The role imap: one worker."""
    from .. import __version__
    from ..auth.client import SocketAuthenticator, SocketKeyHolder
    from ..imap.server import ImapServer
    from .values import imap_settings
    from .with_clients import WithClients

    layout = layout_of(settings)
    tls = make_tls(settings, "imap")
    with make_bus(settings, "imap") as bus, make_store(settings, bus, rest=_REST) as store:
        authenticator = SocketAuthenticator(layout.auth_socket("imap"))
        keys = SocketKeyHolder(layout.keys_socket("imap"))
        server = ImapServer(imap_settings(settings), store, authenticator, keys, tls=tls, bus=bus, version=__version__)
        yield WithClients(server, authenticator, keys)


@contextlib.contextmanager
def make_dav(settings: Settings) -> Iterator[Role]:
    """The role dav: one worker, with calendars and address books."""
    from ..auth.client import SocketAuthenticator, SocketKeyHolder
    from ..caldav.plugin import Calendars
    from ..carddav.plugin import AddressBooks
    from ..dav.server import DavServer
    from .values import dav_settings
    from .with_clients import WithClients

    layout = layout_of(settings)
    tls = make_tls(settings, "dav")
    with make_bus(settings, "dav") as bus, make_store(settings, bus) as store:
        authenticator = SocketAuthenticator(layout.auth_socket("dav"))
        keys = SocketKeyHolder(layout.keys_socket("dav"))
        plugins = (Calendars(), AddressBooks())
        server = DavServer(dav_settings(settings), plugins, store, authenticator, keys, tls=tls, bus=bus)
        yield WithClients(server, authenticator, keys)


def peer_uids(roles: tuple[str, ...]) -> dict[str, frozenset[int]]:
    """Who may connect to the socket of a role: its user when it has one of its own (deploy/systemd), we ourselves, root."""
    found = {}
    for role in roles:
        uids = {os.geteuid(), 0}
        with contextlib.suppress(KeyError):
            uids.add(pwd.getpwnam(f"preau-{role}").pw_uid)
        found[role] = frozenset(uids)
    return found
