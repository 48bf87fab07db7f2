"""A running instance with calendars and contacts, for clients that are not ours."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from instance import DOMAIN, Instance, make_instance, serving
from ports import free_base
from programs import needs

ANA = f"ana@{DOMAIN}"
ROLES = ("keys", "auth", "dav")


@dataclass(frozen=True)
class Site:
    """A running instance and one account of it."""

    instance: Instance
    password: str

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"https://localhost:{self.instance.base + 443}"

    @property
    def ca(self) -> Path:
        """Its CA."""
        return self.instance.folder / "ca.pem"

    def curl(self, method: str, path: str, body: str = "", *options: str) -> tuple[int, str]:
        """A request by curl: status and body."""
        command = [needs("curl"), "-sS", "--cacert", str(self.ca), "-u", f"{ANA}:{self.password}", "-X", method, *options]
        if body:
            command += ["--data-binary", "@-"]
        done = run([*command, "-w", "\n%{http_code}", self.url + path], stdin=body)
        text, _, status = done.rpartition("\n")
        return int(status), text


@contextmanager
def dav_site(folder: Path) -> Iterator[Site]:
    """Served: calendars and contacts of Ana."""
    instance = make_instance(folder, free_base(), settings="[imap]\nworkers = 1\n[dav]\nworkers = 2\n")
    with serving(instance, *ROLES):
        assert instance.preau("user", "add", ANA, "--name", "Ana Lopes").code == 0
        yield Site(instance, app_password(instance, ANA))


def app_password(instance: Instance, address: str) -> str:
    """A new one, good for all."""
    made = instance.preau("app-password", "add", address, "--label", "test", "--json")
    assert made.code == 0, made.error
    return str(json.loads(made.output)["password"])


def run(command: list[str], *, stdin: str = "", env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Its standard output; it must succeed."""
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, f"{command[0]}: {done.stderr[-2000:]} {done.stdout[-2000:]}"
    return done.stdout
