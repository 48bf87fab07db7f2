"""Settings to the plain values that daemons take: a field gets the key of the same name.

Owns the renames. Pure; a test compares both sides, so that no bound of a part is without a key.
"""

import dataclasses
from typing import Any, TypeVar

from ..auth.admin import AdminSettings
from ..auth.backends.load import BackendSettings
from ..auth.engine import EngineSettings
from ..auth.keys import KeySettings
from ..auth.policies.account_rate import AccountRateSettings
from ..auth.policies.chain import PolicySettings
from ..auth.policies.net_rate import NetRateSettings
from ..auth.policies.tls import TlsSettings
from ..auth.server import AuthSettings
from ..config.schema import Settings
from ..dav.values import DavSettings
from ..imap.settings import ImapSettings
from ..smtp.client_connection import Deadlines
from ..smtp.delivery import DeliverySettings
from ..smtp.modes import SessionLimits
from ..smtp.mx import Routes
from ..smtp.queue import QueueSettings
from ..smtp.queue_delivery import LocalSettings
from ..smtp.relay import RelaySettings
from ..smtp.resolver import ResolverSettings
from ..smtp.schedule import Schedule
from ..smtp.server import SmtpSettings
from ..storage.api import StoreLimits
from .layout import layout_of

T = TypeVar("T")


def fill(cls: type[T], section: object, *, prefix: str = "", suffix: str = "", **given: Any) -> T:
    """A `cls` whose fields are `given`, or else keys of `section` (between `prefix` and `suffix`); the rest is its own."""
    names = [field.name for field in dataclasses.fields(cls) if field.name not in given]  # type: ignore[arg-type]  # T is one
    keys = {name: f"{prefix}{name}{suffix}" for name in names}
    found = {name: getattr(section, key) for name, key in keys.items() if hasattr(section, key)}
    return cls(**found, **given)


def hostname(settings: Settings) -> str:
    """The name in greetings and trace fields."""
    return settings.instance.hostname or settings.instance.domain


def store_limits(settings: Settings) -> StoreLimits:
    """Bounds of the store."""
    return fill(StoreLimits, settings.store, message_size=settings.limits.message_size)


def policy_settings(settings: Settings) -> PolicySettings:
    """Who may try to sign in."""
    return PolicySettings(
        tls=TlsSettings(plaintext_loopback=settings.listen.plaintext),
        net_rate=fill(NetRateSettings, settings.policy, prefix="net_rate_"),
        account_rate=fill(AccountRateSettings, settings.policy, prefix="account_rate_"),
    )


def engine_settings(settings: Settings) -> EngineSettings:
    """The verifier of auth."""
    return fill(
        EngineSettings,
        settings.auth,
        domains=(settings.instance.domain, *settings.instance.domains),
        default_domain=settings.instance.domain if settings.auth.default_domain else "",
        expand=settings.limits.expand,
        policies=policy_settings(settings),
        backends=tuple(BackendSettings(each.use, each.options, each.domains) for each in settings.auth.backends),
    )


def admin_settings(settings: Settings) -> AdminSettings:
    """What operators may do in auth."""
    return fill(AdminSettings, settings.auth)


def auth_settings(settings: Settings, roles: tuple[str, ...], uids: dict[str, frozenset[int]]) -> AuthSettings:
    """The role auth."""
    layout = layout_of(settings)
    return fill(
        AuthSettings,
        settings.auth,
        run=layout.run,
        database=layout.auth_db,
        lock=layout.auth_lock,
        traces=layout.traces,
        roles=roles,
        uids=uids,
        retention_days=settings.traces.retention_days,
        engine=engine_settings(settings),
        admin=admin_settings(settings),
    )


def imap_settings(settings: Settings) -> ImapSettings:
    """The role imap."""
    return fill(
        ImapSettings,
        settings.imap,
        help_url=settings.auth.help_url,
        support_phone=settings.auth.support_phone,
        plaintext_ok=settings.listen.plaintext,
        scram=settings.auth.scram,
        append_limit=settings.limits.message_size,
    )


def dav_settings(settings: Settings) -> DavSettings:
    """The role dav."""
    https = settings.listen.https
    return fill(
        DavSettings,
        settings.dav,
        help_url=settings.auth.help_url,
        support_phone=settings.auth.support_phone,
        plaintext_ok=settings.listen.plaintext,
        https_port=int(https[0].rpartition(":")[2]) if https else 443,
        item_size=settings.store.item_size,
    )


def delivery_settings(settings: Settings) -> DeliverySettings:
    """The role delivery."""
    return fill(
        DeliverySettings,
        settings.delivery,
        hostname=hostname(settings),
        domain=settings.instance.domain,
        trusted_networks=settings.delivery.trusted_nets,
        tag_separator=settings.auth.delimiter,
        limits=fill(SessionLimits, settings.delivery, message_size=settings.limits.message_size),
    )


def smtp_settings(settings: Settings) -> SmtpSettings:
    """The role smtp."""
    return fill(
        SmtpSettings,
        settings.smtp,
        hostname=hostname(settings),
        domain=settings.instance.domain,
        domains=settings.instance.domains,
        plaintext_ok=settings.listen.plaintext,
        help_url=settings.auth.help_url,
        support_phone=settings.auth.support_phone,
        scram=settings.auth.scram,
        delivery_socket=layout_of(settings).delivery_socket,
        lookup_seconds=settings.delivery.lookup_seconds,
        limits=fill(SessionLimits, settings.smtp, message_size=settings.limits.message_size),
    )


def queue_settings(settings: Settings, admin_uids: frozenset[int] | None) -> QueueSettings:
    """The role queue."""
    layout = layout_of(settings)
    return fill(
        QueueSettings,
        settings.queue,
        run=layout.run,
        database=layout.queue_db,
        hostname=hostname(settings),
        schedule=fill(Schedule, settings.queue),
        admin_uids=admin_uids,
    )


def local_settings(settings: Settings) -> LocalSettings:
    """The queue's way to delivery."""
    domains = (settings.instance.domain, *settings.instance.domains)
    return fill(
        LocalSettings,
        settings.queue,
        prefix="delivery_",
        delivery=layout_of(settings).delivery_socket,
        hostname=hostname(settings),
        domain=settings.instance.domain,
        domains=frozenset(domain.lower() for domain in domains),
        tag_separator=settings.auth.delimiter,
        received=settings.queue.received,
        lookup_seconds=settings.delivery.lookup_seconds,
        deadlines=fill(Deadlines, settings.queue, prefix="delivery_", suffix="_seconds"),
    )


def relay_settings(settings: Settings) -> RelaySettings:
    """The queue's way to other hosts."""
    return fill(
        RelaySettings,
        settings.relay,
        hostname=hostname(settings),
        own_names=frozenset(name.lower() for name in settings.relay.own_names),
        routes=fill(Routes, settings.relay),
        deadlines=fill(Deadlines, settings.relay, suffix="_seconds"),
    )


def resolver_settings(settings: Settings) -> ResolverSettings:
    """The relay's questions to the DNS."""
    return fill(ResolverSettings, settings.dns)


def key_settings(settings: Settings, roles: tuple[str, ...], uids: dict[str, frozenset[int]]) -> KeySettings:
    """The role keys."""
    return fill(KeySettings, settings.seal, run=settings.instance.run, roles=roles, uids=uids)
