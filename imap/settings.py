"""Settings of the IMAP role, as plain values; suite fills them from preau.toml.

Owns the defaults. Never reads a file.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImapSettings:
    """Limits and wishes of the IMAP role. Times in seconds, sizes in octets."""

    greeting: str = "Preau"  # said in the greeting and by ID
    support: str = ""  # e-mail address or URL, told by ID when set
    support_phone: str = ""  # stands in refusals when set; printable ASCII
    help_url: str = ""  # stands in the hints of refused logins when set
    plaintext_ok: bool = False  # take passwords without TLS from loopback (for benchmarks, behind a TLS proxy)
    scram: bool = True  # offer SCRAM-SHA-256, which opens with app passwords alone
    append_limit: int = 52_428_800  # one message of APPEND; told as APPENDLIMIT

    login_seconds: float = 60.0  # from connect to signed in, TLS handshake included
    idle_seconds: float = 1_800.0  # without a command; RFC 9051 section 5.4: at least 30 minutes
    stalled_seconds: float = 300.0  # a client that takes none of what it asked for
    handshake_seconds: float = 30.0  # TLS
    grace_seconds: float = 1.0  # who has not signed in by then gives way to newer connections of a full address
    poll_seconds: float = 30.0  # look at mailboxes that someone idles on, should a change message be lost

    connections: int = 10_000  # of this worker
    connections_per_address: int = 100  # not signed in yet (decisions.md 28)
    connections_per_account: int = 50
    failed_logins: int = 5  # then BYE
    bad_commands: int = 20  # without a good one between, then BYE
    threads: int = 4  # for store calls that wait for the disk
    uid_batch: int = 256  # messages marked \\Seen, and then sent, at a time
    list_patterns: int = 50  # of one LIST
    write_high: int = 1_048_576  # octets waiting for a slow client before its command stops
