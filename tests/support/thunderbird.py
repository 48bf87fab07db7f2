"""Thunderbird without a display: a profile of its own, and its own JavaScript run in it over Marionette."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instance import wait_for

QUIET = {
    # Nothing of it leaves the machine: a proxy that is not there for whatever is not loopback.
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.no_proxies_on": "localhost,127.0.0.1",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "app.update.enabled": False,
    "extensions.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "services.settings.server": "data:,none",
    # No pages, questions or tips in the way.
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mail.winsearch.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "mail.rights.version": 1,
    "mail.inappnotifications.enabled": False,
    "mail.smtp.useSenderForSmtpMailFrom": True,
    "mail.server.default.check_all_folders_for_new": False,
    "mail.biff.show_alert": False,
    "mail.biff.play_sound": False,
    "mailnews.confirm.moveFoldersToTrash": False,
    "calendar.timezone.local": "Europe/Paris",
    "calendar.timezone.useSystemTimezone": False,
    "intl.locale.requested": "en-US",
    "marionette.port": 0,
}

PRELUDE = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


class ScriptFailed(AssertionError):
    """A script threw: its message."""


@dataclass
class Thunderbird:
    """One that runs."""

    folder: Path
    process: subprocess.Popen[bytes]
    peer: socket.socket
    number: int = 0

    def run(self, script: str, *arguments: object) -> Any:
        """What a script returns that may await; `args` are its arguments. Raises ScriptFailed."""
        body = f"const args = Array.from(arguments);\n{PRELUDE}\nreturn (async () => {{\n{script}\n}})();"
        answer = self.ask("WebDriver:ExecuteScript", script=body, args=list(arguments), newSandbox=True, sandbox="system")
        return answer["value"]

    def dialog(self, seconds: float = 30.0) -> str:
        """The text of the dialog that is open or comes within `seconds`; it is dismissed. Raises AssertionError."""
        seen: list[str] = []

        def comes() -> bool:
            with contextlib.suppress(ScriptFailed):
                seen.append(self.ask("WebDriver:GetAlertText")["value"])
            return bool(seen)

        wait_for(comes, seconds)
        self.ask("WebDriver:DismissAlert")
        return seen[0]

    def ask(self, command: str, **fields: object) -> Any:
        """A command of Marionette."""
        self.number += 1
        data = json.dumps([0, self.number, command, fields]).encode()
        self.peer.sendall(b"%d:%b" % (len(data), data))
        kind, number, error, result = self.next()
        assert (kind, number) == (1, self.number)
        if error:
            raise ScriptFailed(error["message"])
        return result

    def next(self) -> Any:
        """The next frame: its length in decimal, a colon, JSON."""
        digits = b""
        while (octet := self.peer.recv(1)) != b":":
            assert octet.isdigit(), "Thunderbird ended"
            digits += octet
        data = b""
        while len(data) < int(digits):
            part = self.peer.recv(int(digits) - len(data))
            assert part, "Thunderbird ended"
            data += part
        return json.loads(data)


@contextlib.contextmanager
def thunderbird(program: str, folder: Path, ca: Path, **preferences: object) -> Iterator[Thunderbird]:
    """Start it with a new profile that trusts a CA; end it and what it started."""
    home, profile, port = folder / "home", folder / "profile", folder / "profile" / "MarionetteActivePort"
    for path in (home, profile):
        path.mkdir(parents=True)
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in (QUIET | preferences).items()]
    (profile / "user.js").write_text("\n".join(lines) + "\n")
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    with (folder / "thunderbird.log").open("ab") as log:
        process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", str(profile)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=kept | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "MOZ_HEADLESS": "1", "MOZ_CRASHREPORTER_DISABLE": "1"},
            start_new_session=True,
        )
    try:
        wait_for(lambda: process.poll() is not None or (port.exists() and port.read_text().strip()), 60)
        assert process.poll() is None, (folder / "thunderbird.log").read_text()
        with socket.create_connection(("127.0.0.1", int(port.read_text())), 60) as peer:
            one = Thunderbird(folder, process, peer)
            assert one.next()["applicationType"] == "gecko"
            one.ask("WebDriver:NewSession", capabilities={"alwaysMatch": {"unhandledPromptBehavior": "ignore"}})
            one.ask("Marionette:SetContext", value="chrome")
            one.ask("WebDriver:SetTimeouts", script=45_000)
            pem = "".join(line for line in ca.read_text().splitlines() if "-----" not in line)
            one.run(
                """
                await until(() => win && win.document.readyState == "complete", "the window");
                Services.prefs.setBoolPref("signon.rememberSignons", true);  // Marionette turns it off
                Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(args[0], "C,,");
                """,
                pem,
            )
            yield one
            with contextlib.suppress(ScriptFailed, AssertionError, OSError):
                one.ask("Marionette:Quit", flags=["eForceQuit"])
    finally:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: nothing else is in there
            process.wait()
