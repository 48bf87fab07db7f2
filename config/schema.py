"""Every setting of an instance: one frozen dataclass a section of preau.toml, one line of meaning a key.

Owns names, defaults, units and bounds. A section exists once its role does: what is not built cannot be set.
Never reaches a daemon: `suite.compose` turns sections into the plain values that daemons take.
"""

from dataclasses import dataclass
from pathlib import Path

from .key import Form, key, required


@dataclass(frozen=True, slots=True)
class InstanceSection:
    """What this instance is and where its files lie."""

    domain: str = required("main mail domain", form=Form.DOMAIN)
    hostname: str = key("", "name in greetings and trace headers; empty: the domain", form=Form.TEXT)
    data: Path = key(Path("data"), "folder of accounts, auth.db and traces", form=Form.PATH)
    keys: Path = key(Path("keys"), "folder of the key-encryption key; best on another medium than data", form=Form.PATH)
    run: Path = key(Path("run"), "folder of the sockets between processes; short, local", form=Form.PATH)


@dataclass(frozen=True, slots=True)
class ListenSection:
    """Where the daemons accept connections. An empty list switches a listener off."""

    lmtp: tuple[str, ...] = key((), "LMTP over TCP, beside the socket RUN/delivery.sock", form=Form.LISTEN)
    imap: tuple[str, ...] = key(("0.0.0.0:143",), "IMAP with STARTTLS", form=Form.LISTEN)
    imaps: tuple[str, ...] = key(("0.0.0.0:993",), "IMAP over TLS", form=Form.LISTEN)
    plaintext: bool = key(False, "take passwords without TLS on loopback addresses: for benchmarks and TLS proxies")


@dataclass(frozen=True, slots=True)
class TlsSection:
    """The certificate shown to clients. SIGHUP reads it again."""

    certificate: Path = key(Path("tls/server.pem"), "PEM: the certificate, then its chain", form=Form.PATH)
    private_key: Path = key(Path("tls/server.key"), "PEM: its private key, readable by the daemons alone", form=Form.PATH)


@dataclass(frozen=True, slots=True)
class SealSection:
    """Encryption at rest."""

    enabled: bool = key(True, "seal what is stored; databases are encrypted in any case")
    kek: str = key("", 'the key-encryption key: a file, "credential:NAME" (systemd) or "env:NAME"; empty: KEYS/kek')


@dataclass(frozen=True, slots=True)
class LogSection:
    """What the daemons write to standard error."""

    level: str = key("info", "least severe level written", choices=("debug", "info", "warning", "error"))
    format: str = key("text", "one line an event, for people or for machines", choices=("text", "json"))


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections. `file` is where they came from: relative paths are made absolute against its folder."""

    file: Path
    instance: InstanceSection
    listen: ListenSection
    tls: TlsSection
    seal: SealSection
    log: LogSection
