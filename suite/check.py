"""`preau check`: whether an instance is as it should be, everything that is not at once.

Owns the questions: settings, folders and their modes, keys, certificate, store, ports and sockets, users. Changes nothing.
"""

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..config.load import InvalidSettings, load_settings, parse_listen
from ..config.schema import Settings
from ..daemon.rpc import RpcRefused, RpcUnavailable, call_blocking
from ..daemon.tls import InvalidCertificate, ServerTls
from .administration import answers
from .invocation import Invocation, Verbs
from .layout import Layout, is_run_path_short, layout_of
from .listeners import KINDS
from .outcome import Refused
from .unbuilt import refuse

_SOON_DAYS = 21
_FULL = 0.05  # of the file system


class Level(StrEnum):
    """How bad it is. A PROBLEM makes the command end with 1."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer."""

    level: Level
    subject: str
    text: str


def add_verbs(verbs: Verbs) -> None:
    """Add `check`."""
    parser = verbs.add("check", run_check, "say everything that is wrong with an instance", examples="  preau check --json\n")
    parser.add_argument("--probe", action="store_true", help="also sign in as a client would (not built yet)")


def run_check(invocation: Invocation) -> None:
    """Look and tell. Refused when there is a problem."""
    if invocation.arguments.probe:
        raise refuse("preau check --probe")
    findings = list(look(invocation.config_file))
    rows = [{"level": finding.level.value, "subject": finding.subject, "text": finding.text} for finding in findings]
    invocation.output.table(rows, {"level": "", "subject": "WHAT", "text": ""}, empty="nothing to check")
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    if problems:
        raise Refused(f"{problems} problem{'s' if problems > 1 else ''}")


def look(file: Path) -> Iterator[Finding]:
    """All findings about the instance of a settings file."""
    yield from _packages()
    try:
        settings = load_settings(file)
    except InvalidSettings as error:
        yield from (Finding(Level.PROBLEM, "settings", str(problem)) for problem in error.problems)
        return
    yield Finding(Level.OK, "settings", str(settings.file))
    layout = layout_of(settings)
    for question in (_folders, _kek, _disk):
        yield from question(layout)
    yield from _certificate(settings)
    running = _is_running(layout)
    yield from _sockets(layout, running=running)
    yield from _queue(layout, running=running)
    yield from _listeners(settings, running=running)
    yield from _users(layout)


def _packages() -> Iterator[Finding]:
    try:
        found = version("passlib")
    except PackageNotFoundError:
        return
    yield Finding(
        Level.PROBLEM,
        "packages",
        f"passlib {found} is installed beside libpass and breaks it: pip uninstall passlib, reinstall libpass",
    )


def _folders(layout: Layout) -> Iterator[Finding]:
    wrong = False
    for path, mode in layout.folders():
        found = _stat(path)
        if found is None:
            yield Finding(
                Level.PROBLEM, "folders", f"{path} is not there or not readable for this user: run `preau init` again"
            )
        elif not stat.S_ISDIR(found.st_mode):
            yield Finding(Level.PROBLEM, "folders", f"{path} is not a folder")
        elif stat.S_IMODE(found.st_mode) & ~mode & 0o777:
            yield Finding(
                Level.PROBLEM, "folders", f"{path} is too open ({stat.S_IMODE(found.st_mode):o}): chmod {mode:o} {path}"
            )
        elif stat.S_IMODE(found.st_mode) != mode:
            yield Finding(Level.WARNING, "folders", f"{path} has mode {stat.S_IMODE(found.st_mode):o} instead of {mode:o}")
        else:
            continue
        wrong = True
    if not wrong:
        yield Finding(Level.OK, "folders", f"{layout.data} and what is in it")


def _kek(layout: Layout) -> Iterator[Finding]:
    found = _stat(layout.kek)
    if found is None:
        yield Finding(
            Level.PROBLEM, "keys", f"{layout.kek} is not there or not readable: without it nothing that is sealed opens"
        )
        return
    if found.st_size != 32:
        yield Finding(Level.PROBLEM, "keys", f"{layout.kek} does not hold a key of 32 octets")
    if found.st_mode & 0o077:
        yield Finding(Level.PROBLEM, "keys", f"{layout.kek} can be read by others: chmod 600 {layout.kek}")
    data = _stat(layout.data)
    if data is not None and data.st_dev == found.st_dev:
        yield Finding(
            Level.NOTE,
            "keys",
            "the KEK lies on the same disk as the data: who takes the disk takes both; keep a copy elsewhere",
        )
    else:
        yield Finding(Level.OK, "keys", str(layout.kek))


def _disk(layout: Layout) -> Iterator[Finding]:
    try:
        usage = shutil.disk_usage(layout.data)
    except OSError:
        return
    free = f"{usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.1f}"
    yield Finding(Level.WARNING if usage.free < usage.total * _FULL else Level.OK, "disk", free)


def _certificate(settings: Settings) -> Iterator[Finding]:
    from .certificates import expires, now_utc

    listen = settings.listen
    if not any((listen.imap, listen.imaps, listen.smtp, listen.submission, listen.submissions, listen.https)):
        return
    try:
        ServerTls(settings.tls.certificate, settings.tls.private_key)
        left = (expires(settings.tls.certificate.read_bytes()) - now_utc()).days
    except (InvalidCertificate, ValueError, OSError) as error:
        yield Finding(Level.PROBLEM, "certificate", str(error))
        return
    key = _stat(settings.tls.private_key)
    if key is not None and key.st_mode & 0o007:
        yield Finding(Level.PROBLEM, "certificate", f"{settings.tls.private_key} can be read by everybody: chmod 600 it")
    level = Level.PROBLEM if left < 0 else Level.WARNING if left < _SOON_DAYS else Level.OK
    renew = "; renew it (`preau init` does so for its own), then SIGHUP" if level is not Level.OK else ""
    yield Finding(level, "certificate", f"{settings.tls.certificate}, {left} days left{renew}")


def _is_running(layout: Layout) -> bool:
    try:
        return answers(layout.admin_socket)
    except Refused:
        return True


def _sockets(layout: Layout, *, running: bool) -> Iterator[Finding]:
    if not is_run_path_short(layout.run):
        yield Finding(Level.PROBLEM, "sockets", f"[instance] run = {layout.run} is too long for sockets")
    if not running:
        yield Finding(Level.NOTE, "processes", "auth is not running: `preau serve` starts all roles")
        return
    names = {"auth": layout.admin_socket, "keys": layout.keys_socket("admin"), "delivery": layout.delivery_socket}
    names["queue"] = layout.queue_admin_socket
    for role, path in names.items():
        try:
            found = answers(path)
        except Refused as error:
            yield Finding(Level.PROBLEM, "sockets", str(error))
            continue
        mode = _stat(path)
        if not found:
            yield Finding(Level.PROBLEM, "processes", f"{role} does not answer on {path}")
        elif mode is not None and mode.st_mode & 0o007:
            yield Finding(Level.PROBLEM, "sockets", f"{path} is open to everybody")
        else:
            yield Finding(Level.OK, "processes", f"{role} answers")


def _queue(layout: Layout, *, running: bool) -> Iterator[Finding]:
    """Mail that waits, and mail that waits for nobody to come."""
    try:
        if running and answers(layout.queue_admin_socket):
            found = call_blocking(layout.queue_admin_socket, "list", limit=1)
            waiting, held = found["waiting"], found["held"]
            text = f"{found['total']} messages, {waiting} recipients wait" + (
                f"; {held} are held: preau queue list" if held else ""
            )
            yield Finding(Level.NOTE if held else Level.OK, "queue", text)
            return
        left = len(list((layout.queue / "incoming").glob("*.msg")))
    except (Refused, RpcRefused, RpcUnavailable, OSError) as error:
        yield Finding(Level.PROBLEM, "queue", str(error))
        return
    if left:
        yield Finding(Level.NOTE, "queue", f"{left} messages wait for the queue to run")


def _listeners(settings: Settings, *, running: bool) -> Iterator[Finding]:
    for name in KINDS:
        for address in getattr(settings.listen, name, ()):
            host, port = parse_listen(address)
            accepts = _accepts(host, port)
            if running:
                level = Level.OK if accepts else Level.PROBLEM
                yield Finding(level, "ports", f"{name} {address} {'accepts' if accepts else 'does not accept connections'}")
            elif accepts:
                yield Finding(Level.PROBLEM, "ports", f"{name} {address} is taken by another program")
    if settings.listen.plaintext:
        yield Finding(Level.NOTE, "ports", "plaintext: passwords are taken without TLS on loopback addresses")


def _accepts(host: str, port: int) -> bool:
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # what to connect to instead of "any"
    try:
        with socket.create_connection((target, port), timeout=2.0):
            return True
    except OSError:
        return False


def _users(layout: Layout) -> Iterator[Finding]:
    found = [_stat(layout.accounts), _stat(layout.auth_folder)]
    owners = {each.st_uid for each in found if each is not None}
    if os.geteuid() == 0 and owners == {0}:
        yield Finding(Level.WARNING, "users", "everything belongs to root: give the roles users of their own (deploy/systemd)")
    elif len(owners) == 1:
        text = "all roles run as one user: separate processes, but nothing protects one from another (deploy/systemd does)"
        yield Finding(Level.NOTE, "users", text)
    else:
        yield Finding(Level.OK, "users", "the roles have users of their own")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None
