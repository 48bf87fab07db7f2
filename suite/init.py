"""`preau init`: a new instance in a folder of its own.

Owns the ports of an instance and what stands in its first preau.toml. Everything that can be refused is refused before
the first file is written; preau.toml is written last, so its presence means that all the rest is there. Run again on its
own folder it finishes what was cut off and renews a certificate that is about to end; it never replaces a key.
"""

import ipaddress
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..config.example import render_value
from ..config.load import InvalidSettings, load_settings, parse_listen, parse_settings
from ..config.schema import Settings
from ..daemon.listener import bind_tcp
from ..storage.api import StoreError
from .invocation import Invocation, Verbs
from .layout import SECRET_FILE, Layout, is_run_path_short, layout_of, make_folder, make_run_folder
from .outcome import Misused, Refused

MAX_BASE = 31_000  # above 32,767 Linux hands ports out to clients: an instance must end below
OFFSETS: Mapping[str, int] = {
    "smtp": 25,
    "submission": 587,
    "submissions": 465,
    "lmtp": 24,
    "imap": 143,
    "imaps": 993,
    "sieve": 190,
    "https": 443,
    "http": 80,
}
_STANDARD: Mapping[str, int] = {**OFFSETS, "sieve": 4190}
BUILT = (
    "smtp",
    "submission",
    "submissions",
    "lmtp",
    "imap",
    "imaps",
    "https",
    "http",
)  # keys of [listen]; the other ports are reserved
_MARKER = ".preau-init"  # in a folder that an init began and did not finish

_EXAMPLES = """\
  preau init /srv/preau --domain ecole.example --host 192.0.2.10     standard ports, as root
  preau init ./demo --domain demo.example --ports-from 10000         10143, 10993, ... for anybody
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make."""

    directory: Path
    domain: str
    host: str
    base: int
    plaintext: bool

    @property
    def ports(self) -> dict[str, int]:
        """Listener -> port, reserved ones too."""
        return {name: self.base + offset for name, offset in (OFFSETS if self.base else _STANDARD).items()}

    def address_of(self, listener: str) -> str:
        """Where a listener is bound. LMTP trusts its peers, so it never leaves the machine by itself."""
        return "127.0.0.1" if listener == "lmtp" and not ipaddress.ip_address(self.host).is_loopback else self.host


def add_verbs(verbs: Verbs) -> None:
    """Add `init`."""
    parser = verbs.add("init", run_init, "make a new instance in a folder", examples=_EXAMPLES)
    parser.add_argument("directory", metavar="DIR", type=Path, help="folder to make (empty, or made by an earlier init)")
    parser.add_argument("--domain", required=True, help="main mail domain")
    parser.add_argument("--ports-from", type=int, metavar="N", help="listen on N+25, N+143, ... instead of the standard ports")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDR", help="IP address to listen on (default 127.0.0.1)")
    parser.add_argument("--plaintext", action="store_true", help="take passwords without TLS; loopback addresses only")


def run_init(invocation: Invocation) -> None:
    """Make the instance, or finish and refresh one that is there."""
    arguments = invocation.arguments
    plan = make_plan(arguments.directory, arguments.domain, arguments.host, arguments.ports_from, arguments.plaintext)
    config = plan.directory / "preau.toml"
    if config.exists():
        settings = _existing(config, plan, given_base=arguments.ports_from is not None)
    else:
        _check_directory(plan.directory)
        check_ports(plan)
        settings = None
    did = build(plan, settings)
    answer = {
        "directory": str(plan.directory),
        "config": str(config),
        "ca": str(plan.directory / "ca.pem"),
        "domain": plan.domain,
        "host": plan.host,
        "ports": plan.ports if settings is None else ports_of(settings),
        "did": did,
    }
    invocation.output.answer(
        answer,
        f"{plan.directory} is ready: {', '.join(did) or 'nothing was missing'}.",
        f"Next: preau user add NAME@{plan.domain} --password-stdin --config {config}",
        f"Then: preau serve --config {config}",
    )


def make_plan(directory: Path, domain: str, host: str, base: int | None, plaintext: bool) -> Plan:
    """Check the arguments. Raise Misused."""
    if base is not None and not 0 < base <= MAX_BASE:
        raise Misused(
            f"--ports-from {base}: take 1 to {MAX_BASE}, 1000 apart from other instances (above, the system gives ports away)"
        )
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise Misused(f"--host {host}: give an IP address") from None
    if plaintext and not address.is_loopback:
        raise Misused(f"--plaintext is for loopback addresses: {host} can be reached by others")
    probe = Plan(directory.absolute(), domain.lower(), str(address), base or 0, plaintext)
    try:
        parse_settings(render_settings(probe).encode(), probe.directory / "preau.toml")
    except InvalidSettings as error:
        raise Misused("; ".join(problem.text for problem in error.problems)) from None
    return probe


def check_ports(plan: Plan) -> None:
    """Try every port, also those of roles to come. Raise Refused."""
    taken = []
    for name, port in plan.ports.items():
        try:
            bind_tcp(plan.address_of(name), port).close()
        except OSError as error:
            taken.append(f"{name} {plan.address_of(name)}:{port}: {error.strerror}")
    if taken:
        hint = "ports below 1024 are root's; give --ports-from 10000" if not plan.base else "give another --ports-from"
        raise Refused(f"cannot listen on {'; '.join(taken)} ({hint})")


def build(plan: Plan, settings: Settings | None) -> list[str]:
    """Make what is missing; says what it made."""
    did = []
    fresh = settings is None
    if fresh:
        plan.directory.mkdir(parents=True, exist_ok=True)
        (plan.directory / _MARKER).touch()
        settings = parse_settings(render_settings(plan).encode(), plan.directory / "preau.toml")
    assert settings is not None
    layout = layout_of(settings)
    for folder, mode in layout.folders():
        make_folder(folder, mode)
    make_run_folder(layout.run)
    if _make_keys(layout, fresh=fresh):
        did.append("key-encryption key made")
    did += _make_certificates(plan, settings)
    if fresh:
        _write(plan.directory / "preau.toml", render_settings(plan).encode(), 0o640)
        (plan.directory / _MARKER).unlink()
        did.append("settings written")
    return did


def render_settings(plan: Plan) -> str:
    """The first preau.toml: what differs from the defaults, and where the rest is explained."""
    listen = {name: [_listen(plan.address_of(name), plan.ports[name])] for name in BUILT}
    reserved = ", ".join(f"{name} {port}" for name, port in plan.ports.items() if name not in BUILT)
    lines = [
        f"# {plan.domain}. All settings with their defaults: preau.example.toml. Check with `preau check`.",
        "",
        "[instance]",
        f"domain = {render_value(plan.domain)}",
        f"run = {render_value(str(_run_folder(plan.directory)))}",
        "",
        "[listen]",
        *(f"{name} = {render_value(addresses)}" for name, addresses in listen.items()),
        f"# reserved for roles to come: {reserved}",
    ]
    if plan.plaintext:
        lines.append("plaintext = true")
    return "\n".join(lines) + "\n"


def ports_of(settings: Settings) -> dict[str, int]:
    """Listener -> first port, as the settings have them."""
    return {name: int(addresses[0].rpartition(":")[2]) for name in BUILT if (addresses := getattr(settings.listen, name))}


def _addresses(settings: Settings) -> list[str]:
    listen = settings.listen
    listeners = (listen.imap, listen.imaps, listen.smtp, listen.submission, listen.submissions, listen.https)
    return list(dict.fromkeys(parse_listen(each)[0] for addresses in listeners for each in addresses))


def _listen(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _run_folder(directory: Path) -> Path:
    if is_run_path_short(directory / "run"):
        return Path("run")
    # Socket paths end at 107 octets. A shared folder is fine: serve refuses one in it that is not ours and closed to others.
    return Path(tempfile.gettempdir(), f"preau-{os.geteuid()}-{sha256(os.fsencode(directory)).hexdigest()[:12]}")


def _check_directory(directory: Path) -> None:
    try:
        names = {path.name for path in directory.iterdir()} if directory.exists() else set()
    except OSError as error:
        raise Refused(f"{directory}: {error.strerror}") from None
    if names and _MARKER not in names:
        raise Refused(f"{directory} is not empty and holds no instance; give another folder")


def _existing(config: Path, plan: Plan, *, given_base: bool) -> Settings:
    try:
        settings = load_settings(config)
    except InvalidSettings as error:
        raise Refused(str(error)) from None
    if settings.instance.domain.lower() != plan.domain:
        raise Refused(f"{plan.directory} holds the instance of {settings.instance.domain}, not of {plan.domain}")
    if given_base and any(port != plan.ports[name] for name, port in ports_of(settings).items()):
        raise Refused(f"{plan.directory} has an instance on other ports already; change them in {config}")
    return settings


def _make_keys(layout: Layout, *, fresh: bool) -> bool:
    from ..auth.key_store import create_kek

    if layout.kek.exists():
        return False
    if not fresh:
        raise Refused(f"{layout.kek} is missing: put it back; a new one would open nothing that is stored")
    try:
        create_kek(layout.kek)
    except (StoreError, OSError) as error:
        raise Refused(f"cannot write {layout.kek}: {error}") from None
    return True


def _make_certificates(plan: Plan, settings: Settings) -> list[str]:
    """The CA once, the leaf when it is due; nothing when the settings name somebody else's certificate."""
    from .certificates import Pair, is_due, make_ca, make_leaf, now_utc

    folder = plan.directory / "tls"
    if settings.tls.certificate != folder / "server.pem":
        return []
    make_folder(folder, 0o700)
    now, addresses = now_utc(), _addresses(settings)
    ca_file, ca_key = plan.directory / "ca.pem", folder / "ca.key"
    did = []
    if not ca_key.exists() or not ca_file.exists():
        ca = make_ca(plan.domain, addresses, now)
        _write(ca_key, ca.key, SECRET_FILE)
        _write(ca_file, ca.certificate, 0o644)
        did.append("certificate authority made")
    if did or is_due(settings.tls.certificate, now) or not settings.tls.private_key.exists():
        leaf = make_leaf(Pair(ca_file.read_bytes(), ca_key.read_bytes()), plan.domain, addresses, now)
        _write(settings.tls.private_key, leaf.key, SECRET_FILE)
        _write(settings.tls.certificate, leaf.certificate, 0o644)
        did.append("certificate made")
    return did


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put a file in place in one step, never wider than `mode`."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Refused(f"cannot write {path}: {error.strerror}") from None
