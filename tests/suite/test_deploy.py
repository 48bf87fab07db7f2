"""The systemd units: roles that exist, sockets under the names the daemons know, and a sandbox that scores."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from preau.suite.compose import ROLES
from preau.suite.layout import Layout
from preau.suite.listeners import KINDS
from preau.suite.serve import STAGES

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
SOCKETS = sorted(FOLDER.glob("*.socket"))


def read(path: Path) -> dict[str, dict[str, list[str]]]:
    """Section -> key -> values."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(name, []).append(value)
    return found


def test_there_is_a_unit_for_every_role() -> None:
    assert {path.stem for path in SERVICES} == {f"preau-{role}" for role in STAGES}


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_runs_its_role_as_its_user(path: Path) -> None:
    unit = read(path)["Service"]
    role = path.stem.removeprefix("preau-")
    assert unit["ExecStart"][0].split()[1:3] == ["serve", role]
    assert unit["User"] == [f"preau-{role}"]
    assert unit["Type"] == ["notify"]
    assert unit["UMask"] == ["0007" if role in ("imap", "dav", "delivery", "smtp") else "0077"]
    assert {
        f"{name}.socket" for name in (each.stem for each in SOCKETS if read(each)["Socket"]["Service"] == [path.name])
    } == set(unit["Sockets"][0].split())


@pytest.mark.parametrize("path", SOCKETS, ids=lambda path: path.name)
def test_a_socket_has_a_name_that_its_role_knows(path: Path) -> None:
    unit = read(path)["Socket"]
    name, service = unit["FileDescriptorName"][0], unit["Service"][0].removesuffix(".service").removeprefix("preau-")
    internal = {
        "keys": r"keys-(imap|dav|delivery|smtp|queue|auth|admin)",
        "auth": r"auth-(imap|dav|delivery|smtp|queue)|admin",
        "queue": r"queue-admin",
    }
    if name == "queue":  # datagrams: smtp tells that something came in
        assert unit["ListenDatagram"] == ["/run/preau/queue.sock"]
        assert (unit["SocketGroup"], unit["SocketMode"], service) == (["preau-spool"], ["0660"], "queue")
    elif service in internal:
        assert re.fullmatch(internal[service], name)
        assert unit["ListenStream"] == [f"/run/preau/{name}.sock"]
        assert unit["SocketMode"] == ["0600"]
        caller = name.rpartition("-")[2]
        assert unit["SocketUser"] == ["root" if caller == "admin" else f"preau-{caller}"]
    else:
        assert KINDS[name].role == service


def test_users_and_folders_are_declared() -> None:
    users = (FOLDER / "sysusers.conf").read_text(encoding="utf-8")
    folders = (FOLDER / "tmpfiles.conf").read_text(encoding="utf-8")
    for role in STAGES:
        assert f"u preau-{role} " in users
    for path in SERVICES:
        for folder in read(path)["Service"].get("ReadWritePaths", [""])[0].split():
            assert f"d {folder} " in folders


def test_every_asker_has_its_sockets() -> None:
    names = {read(path)["Socket"]["FileDescriptorName"][0] for path in SOCKETS}
    assert {f"auth-{role}" for role in ROLES} | {f"keys-{role}" for role in ROLES} <= names


def test_folders_have_the_modes_that_init_gives_them() -> None:
    folders = (FOLDER / "tmpfiles.conf").read_text(encoding="utf-8")
    layout = Layout(Path("/var/lib/preau"), Path("/k"), Path("/r"), Path("/k/kek"))
    for path, mode in layout.folders():
        if path not in (layout.data, layout.keys):
            assert f"d {path} {mode:04o} " in folders


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_the_sandbox_scores(path: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
