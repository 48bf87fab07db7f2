"""Arguments and answers of the administration: what operators type, checked, and what they are shown.

Owns the sentences of AdminError about arguments and the fields of answers, which never hold a secret. Never acts.
"""

from collections.abc import Sequence
from typing import Any

from .accounts import Account, Credential
from .addresses import InvalidAddress, normalise_address
from .api import AdminError, Service
from .directory import Group
from .policies.networks import parse_networks


def key_form(address: str) -> str:
    """The key form of an address."""
    try:
        return normalise_address(address)
    except InvalidAddress as error:
        raise AdminError(f"{address[:80]!r} is not an address: {error}") from None


def one_line(what: str, text: str, longest: int, *, empty: bool = False) -> str:
    """A text of one printable line; `empty`: it may be missing."""
    text = text.strip()
    if not text and not empty:
        raise AdminError(f"{what} is missing")
    if len(text) > longest or not text.isprintable():
        raise AdminError(f"{what}: at most {longest} printable characters")
    return text


def parse_scopes(scopes: Sequence[str] | None) -> frozenset[Service]:
    """The services of an app password; None: all."""
    if scopes is None:
        return frozenset(Service)
    try:
        chosen = frozenset(Service(scope.strip().lower()) for scope in scopes)
    except ValueError:
        raise AdminError(f"scopes are of: {', '.join(Service)}") from None
    if not chosen:
        raise AdminError("an app password without a scope opens nothing")
    return chosen


def parse_nets(networks: Sequence[str]) -> tuple[str, ...]:
    """Networks in their canonical form."""
    try:
        return parse_networks(tuple(networks))
    except ValueError as error:
        raise AdminError(str(error)) from None


def account_fields(account: Account) -> dict[str, Any]:
    """What is told of an account."""
    return {
        "account": account.id,
        "address": account.address,
        "name": account.name,
        "status": "locked" if account.suspended is not None else "active",
        "reason": account.suspended,
        "password": account.has_password,
        "backend": account.backend,
        "second_factor": account.second_factor,
        "admin": account.admin,
        "quota": account.quota,
        "created": account.created,
    }


def group_fields(group: Group) -> dict[str, Any]:
    """What is told of a group."""
    return {"address": group.address, "members": list(group.members)}


def credential_fields(credential: Credential, now: float) -> dict[str, Any]:
    """What is told of an app password."""
    return {
        "id": credential.id,
        "label": credential.label,
        "scopes": sorted(credential.scopes),
        "networks": list(credential.networks),
        "created": credential.created,
        "expires": credential.expires,
        "idle_days": credential.idle_days,
        "expired": credential.is_expired(now),
        "last_used": credential.last_used,
        "last_service": credential.last_service,
        "last_network": credential.last_network,
    }
