"""A private CA and a server certificate for instances that have none from elsewhere (RFC 5280).

Owns what stands in them. The CA can only vouch for the names and addresses of the instance (critical name constraints),
so whoever trusts it for a demo trusts it for nothing else. The leaf lives 397 days: Apple refuses more than 398.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LEAF_DAYS = 397
CA_DAYS = 3650
RENEW_BEFORE = timedelta(days=30)
_BACKDATED = timedelta(hours=1)  # clocks of clients differ


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def make_ca(domain: str, addresses: Sequence[str], now: datetime) -> Pair:
    """A CA for `domain`, what is below it, localhost and `addresses`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Preau CA {domain}")
    permitted: list[x509.GeneralName] = [x509.DNSName(each) for each in dict.fromkeys(("localhost", domain))]
    permitted += [x509.IPAddress(ipaddress.ip_network(address)) for address in _all_addresses(addresses)]
    builder = (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _pem_key(key))


def make_leaf(ca: Pair, domain: str, addresses: Sequence[str], now: datetime) -> Pair:
    """A server certificate for localhost, `domain`, `*.domain`, 127.0.0.1 and `addresses`, with the CA behind it."""
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    issuer_key = serialization.load_pem_private_key(ca.key, None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key of this CA was not made here")  # noqa: TRY004  # a wrong file, not a wrong type
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(each) for each in dict.fromkeys((domain, f"*.{domain}", "localhost"))]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _all_addresses(addresses)]
    builder = (
        _builder(_name(domain), issuer.subject, key.public_key(), now, LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return Pair(_pem(builder.sign(issuer_key, hashes.SHA256())) + ca.certificate, _pem_key(key))


def expires(certificate: bytes) -> datetime:
    """When the first certificate of a PEM file ends. Raise ValueError when there is none."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def is_due(certificate: Path, now: datetime) -> bool:
    """Whether a leaf made here should be made again."""
    try:
        return expires(certificate.read_bytes()) - now < RENEW_BEFORE
    except (FileNotFoundError, ValueError):
        return True


def now_utc() -> datetime:
    """The time, in whole seconds as certificates count it."""
    return datetime.now(UTC).replace(microsecond=0)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now - _BACKDATED + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _all_addresses(addresses: Sequence[str]) -> list[str]:
    # 0.0.0.0 and :: are where to listen, not where a client connects to.
    return [each for each in dict.fromkeys(("127.0.0.1", *addresses)) if not ipaddress.ip_address(each).is_unspecified]


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])  # ub-common-name of RFC 5280


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
