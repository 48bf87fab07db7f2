"""The cache of verified passwords: a hit is never another's."""

import pytest

from preau.auth.api import Service
from preau.auth.verified import Verified
from preau.storage.api import AccountId

MARIE, PAUL = AccountId("marie"), AccountId("paul")


def remembered() -> Verified:
    verified = Verified(b"k" * 32, 300)
    verified.add(MARIE, Service.IMAP, "192.0.2.0/24", "secret", 1000)
    return verified


@pytest.mark.parametrize(
    ("account", "service", "network", "secret", "now", "hit"),
    [
        pytest.param(MARIE, Service.IMAP, "192.0.2.0/24", "secret", 1299, True, id="the same"),
        pytest.param(MARIE, Service.IMAP, "192.0.2.0/24", "secret", 1300, False, id="five minutes later"),
        pytest.param(MARIE, Service.IMAP, "192.0.2.0/24", "secret", 1000 - 86_400, False, id="the clock was set back"),
        pytest.param(PAUL, Service.IMAP, "192.0.2.0/24", "secret", 1000, False, id="another account"),
        pytest.param(MARIE, Service.SMTP, "192.0.2.0/24", "secret", 1000, False, id="another service"),
        pytest.param(MARIE, Service.IMAP, "10.0.0.0/24", "secret", 1000, False, id="another network"),
        pytest.param(MARIE, Service.IMAP, "192.0.2.0/24", "Secret", 1000, False, id="another secret"),
        pytest.param(MARIE, Service.IMAP, "192.0.2.0/24\0secret", "", 1000, False, id="parts shifted"),
    ],
)
def test_hits(account: AccountId, service: Service, network: str, secret: str, now: int, hit: bool) -> None:
    assert remembered().has(account, service, network, secret, now) == hit


def test_a_hit_does_not_prolong() -> None:
    verified = remembered()
    verified.add(MARIE, Service.IMAP, "192.0.2.0/24", "secret", 1200)
    assert not verified.has(MARIE, Service.IMAP, "192.0.2.0/24", "secret", 1301)


def test_forgetting() -> None:
    verified = remembered()
    verified.forget(PAUL)
    assert verified.has(MARIE, Service.IMAP, "192.0.2.0/24", "secret", 1000)
    verified.forget(MARIE)
    assert not verified.has(MARIE, Service.IMAP, "192.0.2.0/24", "secret", 1000)


def test_it_is_bounded() -> None:
    verified = Verified(b"k" * 32, 300)
    for number in range(10_500):
        verified.add(MARIE, Service.IMAP, "n", f"{number}", 0)
    assert len(verified._entries) == 10_000
