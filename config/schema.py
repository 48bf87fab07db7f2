"""Every setting of an instance: one frozen dataclass a section of preau.toml, one line of meaning a key.

Owns names, defaults, units and bounds. A section exists once its role does: what is not built cannot be set.
Never reaches a daemon: `suite.compose` turns sections into the plain values that daemons take.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .key import Form, Unit, key, required


@dataclass(frozen=True, slots=True)
class InstanceSection:
    """What this instance is and where its files lie."""

    domain: str = required("main mail domain", form=Form.DOMAIN)
    domains: tuple[str, ...] = key((), "further mail domains, beside those that accounts were made in", form=Form.DOMAIN)
    hostname: str = key("", "name in greetings and trace headers; empty: the domain", form=Form.TEXT)
    data: Path = key(Path("data"), "folder of accounts, auth.db and traces", form=Form.PATH)
    keys: Path = key(Path("keys"), "folder of the key-encryption key; best on another medium than data", form=Form.PATH)
    run: Path = key(Path("run"), "folder of the sockets between processes; short, local", form=Form.PATH)
    drain: float = key(10.0, "time for what is begun to finish at SIGTERM", unit=Unit.SECONDS, maximum=600)
    watchdog: float = key(30.0, "silence after which a process is killed and restarted", unit=Unit.SECONDS, minimum=1)


@dataclass(frozen=True, slots=True)
class ListenSection:
    """Where the daemons accept connections. An empty list switches a listener off."""

    smtp: tuple[str, ...] = key(("0.0.0.0:25",), "SMTP: mail from other hosts for those who are here", form=Form.LISTEN)
    submission: tuple[str, ...] = key(("0.0.0.0:587",), "submission with STARTTLS", form=Form.LISTEN)
    submissions: tuple[str, ...] = key(("0.0.0.0:465",), "submission over TLS", form=Form.LISTEN)
    lmtp: tuple[str, ...] = key((), "LMTP over TCP, beside the socket RUN/delivery.sock", form=Form.LISTEN)
    imap: tuple[str, ...] = key(("0.0.0.0:143",), "IMAP with STARTTLS", form=Form.LISTEN)
    imaps: tuple[str, ...] = key(("0.0.0.0:993",), "IMAP over TLS", form=Form.LISTEN)
    https: tuple[str, ...] = key(("0.0.0.0:443",), "calendars and contacts over TLS (CalDAV, CardDAV)", form=Form.LISTEN)
    http: tuple[str, ...] = key(("0.0.0.0:80",), "leads to https; serves nothing itself", form=Form.LISTEN)
    plaintext: bool = key(False, "take passwords without TLS on loopback addresses: for benchmarks and TLS proxies")


@dataclass(frozen=True, slots=True)
class TlsSection:
    """The certificate shown to clients. SIGHUP reads it again."""

    certificate: Path = key(Path("tls/server.pem"), "PEM: the certificate, then its chain", form=Form.PATH)
    private_key: Path = key(Path("tls/server.key"), "PEM: its private key, readable by the daemons alone", form=Form.PATH)


@dataclass(frozen=True, slots=True)
class StoreSection:
    """Bounds of what an account may hold."""

    item_size: int = key(10_485_760, "one calendar object or card", unit=Unit.OCTETS, minimum=1024)
    mailboxes: int = key(2_000, "mailboxes of an account", minimum=10)
    mailbox_depth: int = key(20, "levels of a mailbox name", minimum=1, maximum=100)
    mailbox_name: int = key(1_000, "length of a mailbox name in UTF-8", unit=Unit.OCTETS, minimum=64, maximum=4_000)
    collections: int = key(200, "calendars and address books of an account", minimum=3)
    items: int = key(50_000, "items of a calendar or address book", minimum=100)
    indexed_text: int = key(262_144, "characters of a text kept for search; beyond, the file is read", minimum=1024)


@dataclass(frozen=True, slots=True)
class SealSection:
    """Encryption at rest."""

    enabled: bool = key(True, "seal files and encrypt databases; never changed once there is mail")
    kek: str = key("", 'the key-encryption key: a file, or "credential:NAME" (systemd LoadCredential); empty: KEYS/kek')
    create_rate: float = key(100.0, "accounts a second that keys are made for, on each socket", minimum=0.1)
    create_burst: float = key(10_000.0, "accounts at once that keys are made for", minimum=1)
    max_connections: int = key(64, "connections on each socket of the keys process", minimum=4)
    max_in_flight: int = key(64, "requests of one connection that wait for their answers", minimum=1)


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """Bounds that several daemons keep."""

    message_size: int = key(
        52_428_800, "one message, by SMTP, LMTP and IMAP", unit=Unit.OCTETS, minimum=65_536, maximum=2**31 - 1
    )
    expand: int = key(1_000, "recipients that one address may lead to", minimum=1)


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """Who knows passwords: `{use = "file", path = "...", domains = ["..."]}`; what else stands there is for the backend."""

    use: str = required("sqlite, file, the name of an entry point, or package.module:Class")
    domains: tuple[str, ...] = key((), "domains it answers for; none: all that no other names", form=Form.DOMAIN)
    options: Mapping[str, Any] = field(default_factory=dict, metadata={"meaning": "options of the backend", "rest": True})


@dataclass(frozen=True, slots=True)
class AuthSection:
    """Signing in."""

    backends: tuple[BackendEntry, ...] = key((BackendEntry("sqlite"),), "who knows passwords, in the order they are asked")
    default_domain: bool = key(True, "complete a login without a domain with the main one")
    delimiter: str = key("+", "user+tag@ is user@; empty: no tags")
    help_url: str = key("", "stands in the hints of refusals; empty: none", form=Form.URL)
    support_phone: str = key("", "stands in refusals of suspended accounts; empty: none", form=Form.ASCII)
    ticket_seconds: int = key(600, "time a ticket opens an account's keys", unit=Unit.SECONDS, minimum=60)
    cache_seconds: int = key(300, "time a verified password is known without argon2", unit=Unit.SECONDS)
    hash_threads: int = key(2, "passwords checked at once", minimum=1, maximum=64)
    hash_queue: int = key(64, "passwords that wait to be checked; beyond: try later", minimum=1)
    hash_seconds: float = key(15.0, "limit of one check", unit=Unit.SECONDS, minimum=1)
    backend_seconds: float = key(2.0, "limit of one check by a plug-in", unit=Unit.SECONDS, minimum=0.1)
    sleepers: int = key(200, "attempts made to wait at once", minimum=1)
    sleepers_per_net: int = key(3, "attempts of a network made to wait at once", minimum=1)
    max_connections: int = key(64, "connections on each socket of auth", minimum=4)
    max_in_flight: int = key(256, "requests of one connection that wait for their answers", minimum=1)
    patience: float = key(30.0, "wait for the key holder at the start", unit=Unit.SECONDS, minimum=1)
    issuer: str = key("Preau", "what authenticator apps show beside the address")
    idle_days: int = key(90, "an app password not used for so long expires; 0: never", unit=Unit.DAYS)
    app_passwords: int = key(40, "app passwords of an account", minimum=1, maximum=200)
    scram: bool = key(True, "offer SCRAM-SHA-256, which opens with app passwords alone")


@dataclass(frozen=True, slots=True)
class PolicySection:
    """Who may try to sign in, and how often. Valid app passwords and known networks are never slowed or refused."""

    account_rate_distinct: int = key(
        5, "distinct wrong passwords of an account from one network before the first wait", minimum=1
    )
    account_rate_base: int = key(60, "first wait; it doubles", unit=Unit.SECONDS, minimum=1)
    account_rate_longest: int = key(3_600, "longest wait", unit=Unit.SECONDS, minimum=1)
    account_rate_forget: int = key(86_400, "quiet time after which all is forgotten", unit=Unit.SECONDS, minimum=60)
    net_rate_slow: int = key(30, "failures of a network in the window before attempts wait", minimum=1)
    net_rate_refuse: int = key(60, "failures of a network in the window before attempts are refused", minimum=1)
    net_rate_window: int = key(600, "window of both", unit=Unit.SECONDS, minimum=1)
    net_rate_refuse_for: int = key(600, "time a network is refused", unit=Unit.SECONDS, minimum=1)
    net_rate_delay_first: float = key(2.0, "first delay", unit=Unit.SECONDS)
    net_rate_delay_longest: float = key(15.0, "longest delay", unit=Unit.SECONDS)
    net_rate_unknown: int = key(10, "distinct unknown logins from a network before it is refused", minimum=1)
    net_rate_unknown_window: int = key(3_600, "window of unknown logins", unit=Unit.SECONDS, minimum=1)
    net_rate_unknown_refuse_for: int = key(3_600, "time a network is refused for unknown logins", unit=Unit.SECONDS, minimum=1)


@dataclass(frozen=True, slots=True)
class ImapSection:
    """The role imap."""

    workers: int = key(0, "processes; 0: one a core", maximum=256)
    greeting: str = key("Preau", "name in the greeting and in ID")
    support: str = key("", "address or URL that ID tells; empty: none")
    login_seconds: float = key(60.0, "from connect to signed in, handshake included", unit=Unit.SECONDS, minimum=1)
    idle_seconds: float = key(1_800.0, "without a command (RFC 9051 asks for 30 minutes)", unit=Unit.SECONDS, minimum=60)
    stalled_seconds: float = key(300.0, "a client that takes none of what it asked for", unit=Unit.SECONDS, minimum=1)
    handshake_seconds: float = key(30.0, "TLS handshake", unit=Unit.SECONDS, minimum=1)
    grace_seconds: float = key(
        1.0, "who has not signed in by then gives way where an address has all its connections", unit=Unit.SECONDS, minimum=0.1
    )
    poll_seconds: float = key(30.0, "look at idle mailboxes, should a change notice be lost", unit=Unit.SECONDS, minimum=1)
    connections: int = key(10_000, "connections of a worker", minimum=1)
    connections_per_address: int = key(100, "connections of an address that have not signed in", minimum=1)
    connections_per_account: int = key(50, "connections of an account", minimum=1)
    failed_logins: int = key(5, "failed logins of a connection, then BYE", minimum=1)
    bad_commands: int = key(20, "bad commands without a good one between, then BYE", minimum=1)
    threads: int = key(4, "threads of a worker that wait for the disk", minimum=1, maximum=64)
    uid_batch: int = key(256, "messages marked seen, and then sent, at a time", minimum=1)
    list_patterns: int = key(50, "patterns of one LIST", minimum=1)
    search_pieces: int = key(2_000, "messages of one step of a text search", minimum=1)
    write_high: int = key(1_048_576, "waiting for a slow client before its command stops", unit=Unit.OCTETS, minimum=65_536)


@dataclass(frozen=True, slots=True)
class DavSection:
    """The role dav: calendars and contacts."""

    workers: int = key(0, "processes; 0: one a core", maximum=256)
    xml_size: int = key(1_048_576, "body of a request that asks for or sets properties", unit=Unit.OCTETS, minimum=65_536)
    report_size: int = key(4_194_304, "body of a report: a multiget names many items", unit=Unit.OCTETS, minimum=65_536)
    hrefs: int = key(20_000, "items that one multiget may name", minimum=100)
    request_line: int = key(8_192, "request line", unit=Unit.OCTETS, minimum=1_024)
    header_size: int = key(32_768, "all headers of a request", unit=Unit.OCTETS, minimum=4_096)
    headers: int = key(100, "headers of a request", minimum=20)
    first_byte_seconds: float = key(30.0, "from connect to the first octet", unit=Unit.SECONDS, minimum=1)
    headers_seconds: float = key(20.0, "receiving the headers", unit=Unit.SECONDS, minimum=1)
    body_seconds: float = key(300.0, "receiving a body", unit=Unit.SECONDS, minimum=1)
    body_idle_seconds: float = key(30.0, "between two pieces of a body", unit=Unit.SECONDS, minimum=1)
    keep_alive_seconds: float = key(120.0, "a connection is kept for the next request", unit=Unit.SECONDS, minimum=1)
    stalled_seconds: float = key(120.0, "a client that takes none of what it asked for", unit=Unit.SECONDS, minimum=1)
    handshake_seconds: float = key(30.0, "TLS handshake", unit=Unit.SECONDS, minimum=1)
    connections: int = key(5_000, "connections of a worker", minimum=1)
    connections_per_address: int = key(100, "connections of an address that have not signed in", minimum=1)
    requests: int = key(64, "requests of an account at once", minimum=1)
    session_seconds: float = key(300.0, "a sign-in is remembered after its last request", unit=Unit.SECONDS, minimum=1)
    sessions: int = key(10_000, "sign-ins remembered at once", minimum=1)
    sync_limit: int = key(5_000, "changes told in one answer of sync-collection", minimum=100)
    threads: int = key(4, "threads of a worker that wait for the disk", minimum=1, maximum=64)
    failed_logins: int = key(5, "failed logins of a connection, then it is closed", minimum=1)


@dataclass(frozen=True, slots=True)
class DeliverySection:
    """The role delivery: LMTP."""

    workers: int = key(
        1, "processes; 0: one a core. Beyond 1, a foreign mail system's second try at a group may double", maximum=256
    )
    trusted_nets: tuple[str, ...] = key(
        ("127.0.0.0/8", "::1/128"), "networks that may hand over mail by TCP", form=Form.NETWORK
    )
    connections: int = key(500, "connections", minimum=1)
    recipients: int = key(1_000, "recipients of a message", minimum=100)
    received: int = key(100, "Received lines of a message: more is a loop", minimum=10)
    over_quota_passes: bool = key(False, "answer 452 (later) instead of 552 (never) for a full mailbox")
    messages: int = key(100_000, "messages of a connection", minimum=1)
    errors: int = key(20, "bad commands of a connection", minimum=1)
    idle_commands: int = key(200, "commands of a connection between two messages that do nothing", minimum=1)
    command_seconds: float = key(300.0, "waiting for a command (RFC 5321 asks for 5 minutes)", unit=Unit.SECONDS, minimum=1)
    block_seconds: float = key(180.0, "waiting for a block of a message (3 minutes)", unit=Unit.SECONDS, minimum=1)
    message_seconds: float = key(1_800.0, "receiving one message", unit=Unit.SECONDS, minimum=1)
    hold_accounts: int = key(250, "accounts kept open", minimum=1)
    hold_seconds: float = key(30.0, "time an account is kept open after a delivery", unit=Unit.SECONDS)
    lookup_seconds: float = key(2.0, "time that a looked-up address is good for, in smtp and queue too", unit=Unit.SECONDS)
    threads: int = key(8, "threads that wait for the disk", minimum=1, maximum=64)


@dataclass(frozen=True, slots=True)
class SmtpSection:
    """The role smtp: mail from outside (25), submission (465, 587)."""

    workers: int = key(1, "processes; 0: one a core. Bounds on connections are those of each", maximum=256)
    connections: int = key(1_000, "connections", minimum=1)
    connections_per_address: int = key(50, "connections of an address or network that have not signed in", minimum=1)
    uncapped_nets: tuple[str, ...] = key(
        ("127.0.0.0/8", "::1/128"), "networks that only `connections` bounds", form=Form.NETWORK
    )
    recipients: int = key(1_000, "recipients of a message", minimum=100)
    received: int = key(100, "Received lines of a message: more is a loop", minimum=10)
    header_size: int = key(262_144, "header of a message", unit=Unit.OCTETS, minimum=16_384)
    free_space: int = key(268_435_456, "left on the spool's disk, or no mail is taken (452 4.3.1)", unit=Unit.OCTETS)
    reveal_client: bool = key(False, "tell a client's address in the Received line of what it submits")
    proxy_nets: tuple[str, ...] = key((), "peers whose connections begin with a PROXY header", form=Form.NETWORK)
    proxy_seconds: float = key(5.0, "waiting for a PROXY header", unit=Unit.SECONDS, minimum=0.1)
    handshake_seconds: float = key(30.0, "TLS handshake", unit=Unit.SECONDS, minimum=1)
    login_seconds: float = key(120.0, "from the greeting to signed in", unit=Unit.SECONDS, minimum=1)
    failed_logins: int = key(5, "failed logins of a connection, then 421", minimum=1)
    banner_seconds: float = key(0.0, "silence on port 25 before the greeting; who speaks first is refused", unit=Unit.SECONDS)
    threads: int = key(8, "threads that wait for the disk", minimum=1, maximum=64)
    messages: int = key(1_000, "messages of a connection", minimum=1)
    errors: int = key(20, "bad commands of a connection", minimum=1)
    idle_commands: int = key(100, "commands of a connection between two messages that do nothing", minimum=1)
    command_seconds: float = key(300.0, "waiting for a command (RFC 5321 asks for 5 minutes)", unit=Unit.SECONDS, minimum=1)
    block_seconds: float = key(180.0, "waiting for a block of a message (3 minutes)", unit=Unit.SECONDS, minimum=1)
    message_seconds: float = key(1_800.0, "receiving one message", unit=Unit.SECONDS, minimum=1)


@dataclass(frozen=True, slots=True)
class QueueSection:
    """The role queue: when mail is tried again and given back, and its way to mailboxes here (delivery_...)."""

    steps: tuple[int, ...] = key(
        (300, 900, 1_800, 3_600, 7_200, 14_400),
        "waits between tries; the last one again and again",
        unit=Unit.SECONDS,
        minimum=1,
        filled=True,
    )
    warn_after: int = key(14_400, "age at which the sender is told of the delay; 0: never", unit=Unit.SECONDS)
    give_up_after: int = key(432_000, "age at which a message goes back (RFC 5321: 4 to 5 days)", unit=Unit.SECONDS, minimum=1)
    messages: int = key(1_000, "messages tried at once", minimum=1)
    bounce_size: int = key(262_144, "octets up to which a message is returned whole", unit=Unit.OCTETS)
    received: int = key(100, "Received lines of a message: more is a loop", minimum=10)
    poll_seconds: float = key(5.0, "look for messages nobody told of", unit=Unit.SECONDS, minimum=0.1)
    sweep_seconds: float = key(3_600.0, "between two removals of what crashes left", unit=Unit.SECONDS, minimum=1)
    delivery_connections: int = key(8, "transactions with delivery at once", minimum=1)
    delivery_recipients: int = key(100, "recipients of one transaction with delivery", minimum=1)
    delivery_idle_seconds: float = key(60.0, "a connection to delivery is kept", unit=Unit.SECONDS)
    delivery_retry_seconds: int = key(15, "until a delivery or auth that is away is asked again", unit=Unit.SECONDS, minimum=1)
    delivery_connect_seconds: float = key(10.0, "connecting to delivery", unit=Unit.SECONDS, minimum=0.1)
    delivery_greeting_seconds: float = key(60.0, "delivery's greeting", unit=Unit.SECONDS, minimum=0.1)
    delivery_command_seconds: float = key(60.0, "delivery's answer to a command", unit=Unit.SECONDS, minimum=0.1)
    delivery_data_seconds: float = key(120.0, "delivery's 354", unit=Unit.SECONDS, minimum=0.1)
    delivery_block_seconds: float = key(60.0, "until delivery has room for more of a message", unit=Unit.SECONDS, minimum=0.1)
    delivery_final_seconds: float = key(600.0, "delivery's answer to a message", unit=Unit.SECONDS, minimum=0.1)
    delivery_transaction_seconds: float = key(7_200.0, "one transaction with delivery", unit=Unit.SECONDS, minimum=1)
    delivery_quit_seconds: float = key(5.0, "taking leave of delivery", unit=Unit.SECONDS)


@dataclass(frozen=True, slots=True)
class RelaySection:
    """How mail leaves for other hosts. Waits are those of RFC 5321 section 4.5.3.2 or longer."""

    routes: Mapping[str, str] = key(
        {}, 'domain = "host:port" that takes its mail instead of its MX; ".domain" for all below it', form=Form.HOST_PORT
    )
    smart_host: str = key("", '"host:port" for all domains without a route; empty: their MX', form=Form.HOST_PORT)
    port: int = key(25, "port of mail hosts; another one for trials", minimum=1, maximum=65_535)
    own_names: tuple[str, ...] = key((), "names that MX records may call us by, beside the host name", form=Form.DOMAIN)
    starttls: bool = key(True, "use TLS where it is offered")
    connections: int = key(500, "connections in all", minimum=1)
    connections_per_domain: int = key(5, "connections for a domain", minimum=1)
    waiting_per_domain: int = key(200, "messages of a domain that wait for one of these", minimum=0)
    busy_seconds: int = key(30, "until the rest is looked at again", unit=Unit.SECONDS, minimum=1)
    recipients: int = key(100, "recipients of one transaction", minimum=1)
    hosts: int = key(8, "addresses tried for a message", minimum=1)
    idle_seconds: float = key(10.0, "a connection is kept for the next message", unit=Unit.SECONDS)
    transactions: int = key(100, "messages of a connection", minimum=1)
    down_first: float = key(60.0, "a host that failed is left alone; the time doubles", unit=Unit.SECONDS)
    down_longest: float = key(240.0, "at most so long", unit=Unit.SECONDS)
    clear_seconds: float = key(3_600.0, "a host whose TLS fails is spoken to in the clear", unit=Unit.SECONDS)
    connect_seconds: float = key(30.0, "connecting", unit=Unit.SECONDS, minimum=0.1)
    handshake_seconds: float = key(60.0, "TLS handshake", unit=Unit.SECONDS, minimum=0.1)
    greeting_seconds: float = key(300.0, "the greeting", unit=Unit.SECONDS, minimum=0.1)
    command_seconds: float = key(300.0, "the answer to a command", unit=Unit.SECONDS, minimum=0.1)
    data_seconds: float = key(120.0, "the 354", unit=Unit.SECONDS, minimum=0.1)
    block_seconds: float = key(180.0, "until there is room for more of a message", unit=Unit.SECONDS, minimum=0.1)
    final_seconds: float = key(600.0, "the answer to a message", unit=Unit.SECONDS, minimum=0.1)
    transaction_seconds: float = key(7_200.0, "one transaction", unit=Unit.SECONDS, minimum=1)
    quit_seconds: float = key(5.0, "taking leave", unit=Unit.SECONDS)


@dataclass(frozen=True, slots=True)
class DnsSection:
    """How the relay asks for mail hosts."""

    servers: tuple[str, ...] = key((), "addresses of resolvers; none: those of the system", form=Form.ADDRESS)
    port: int = key(53, "port of `servers`", minimum=1, maximum=65_535)
    families: tuple[str, ...] = key(
        ("ipv4", "ipv6"), "kinds of addresses, in the order to try", choices=("ipv4", "ipv6"), filled=True
    )
    timeout: float = key(15.0, "one question with its repetitions", unit=Unit.SECONDS, minimum=0.1)
    least: float = key(5.0, "an answer is kept for its TTL, at least so long", unit=Unit.SECONDS)
    longest: float = key(3_600.0, "and at most so long", unit=Unit.SECONDS)
    negative: float = key(60.0, "an answer that there is nothing is kept", unit=Unit.SECONDS)


@dataclass(frozen=True, slots=True)
class TracesSection:
    """Connection traces: who signed in, from where, when."""

    retention_days: int = key(183, "days that traces are kept", unit=Unit.DAYS, minimum=1)


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
    store: StoreSection
    seal: SealSection
    auth: AuthSection
    limits: LimitsSection
    policy: PolicySection
    imap: ImapSection
    dav: DavSection
    delivery: DeliverySection
    smtp: SmtpSection
    queue: QueueSection
    relay: RelaySection
    dns: DnsSection
    traces: TracesSection
    log: LogSection
