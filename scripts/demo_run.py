"""The demo: makes or continues an instance, fills it, serves it, and says what to type into a mail client.

Uses only the `preau` command and the standard library, as an operator would. `--check` proves it (demo_check.py).
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import demo_check
import demo_mail

ROOT = Path(__file__).resolve().parent.parent
PREAU = Path(sys.executable).with_name("preau")
DOMAIN = "demo.example"
PORTS = (24, 25, 80, 143, 190, 443, 465, 587, 993)
PEOPLE = [
    (
        "marie.durand",
        "Marie Durand",
        ["--second-factor", "totp"],
        "enseignante, double authentification / teacher, second factor",
    ),
    ("paul.bernard", "Paul Bernard", [], "chef d'établissement / head of school"),
    ("lea.petit", "Léa Petit", ["--admin"], "référente numérique / IT referent, administrator"),
]


@dataclass(frozen=True)
class Demo:
    """Where the demo lives and how it is reached."""

    folder: Path
    ports: dict[str, int]
    secrets: dict[str, dict[str, str]]

    @property
    def ca(self) -> Path:
        """What clients must trust."""
        return self.folder / "ca.pem"

    def preau(self, *words: str, stdin: str = "") -> str:
        """Run a command on this instance; its answer. Ends the demo with the command's own words when it is refused."""
        command = [str(PREAU), *words, "--config", str(self.folder / "preau.toml")]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"demo: preau {' '.join(words[:2])}: {done.stderr.strip()}")
        return done.stdout


def main() -> int:
    """Run until Ctrl-C, or check once."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="prove it in a temporary folder, then clean up")
    arguments = parser.parse_args()
    # SIGINT too: a shell starts what runs in its background with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        if arguments.check:
            with tempfile.TemporaryDirectory(prefix="preau-demo-") as folder:
                return run(Path(folder) / "demo", check=True)
        return run(Path(os.environ.get("PREAU_DEMO") or ROOT / "demo").absolute(), check=False)
    except KeyboardInterrupt:
        return 0


def run(folder: Path, *, check: bool) -> int:
    """Make, serve, fill, tell."""
    demo = make(folder)
    ready = folder / "run-ready"
    command = [str(PREAU), "serve", "--ready-file", str(ready), "--config", str(folder / "preau.toml")]
    with (folder / "serve.log").open("ab") as log:
        # A session of its own: Ctrl-C reaches us alone, and we stop it in order.
        server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until_ready(server, ready, folder / "serve.log")
        fill(demo)
        if check:
            return demo_check.check(demo.folder, DOMAIN, demo.ports, demo.secrets, demo.ca)
        tell(demo)
        server.wait()
        print(f"preau serve ended by itself: see {folder / 'serve.log'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nArrêt… / Stopping…")
        return 0
    finally:
        stop(server)


def make(folder: Path) -> Demo:
    """The instance with its people; what is there already stays."""
    config = folder / "preau.toml"
    words = ["init", str(folder), "--domain", DOMAIN, "--json"]
    if not config.exists():
        words += ["--ports-from", str(free_base())]
    done = subprocess.run([str(PREAU), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"demo: {done.stderr.strip()}")
    demo = Demo(folder, json.loads(done.stdout)["ports"], read_secrets(folder))
    keep_mail_here(config, demo.ports["smtp"])
    there = {row["address"] for row in json.loads(demo.preau("user", "list", "--json"))}
    for local, name, options, _ in PEOPLE:
        address = f"{local}@{DOMAIN}"
        mine = demo.secrets.setdefault(address, {})
        if address not in there:
            mine["password"] = "-".join(secrets.token_hex(3) for _ in range(4))
            write_secrets(folder, demo.secrets)
            words = ["user", "add", address, "--name", name, "--password-stdin", *options, "--json"]
            made = json.loads(demo.preau(*words, stdin=mine["password"] + "\n"))
            if "uri" in made:
                mine["totp"] = made["uri"]
                write_secrets(folder, demo.secrets)
        if "app_password" not in mine:
            made = json.loads(demo.preau("app-password", "add", address, "--label", "Demo", "--json"))
            mine["app_password"] = made["password"]
            write_secrets(folder, demo.secrets)
    groups = {row["address"] for row in json.loads(demo.preau("group", "list", "--json"))}
    if f"equipe@{DOMAIN}" not in groups:
        members = [word for local, *_ in PEOPLE for word in ("--member", f"{local}@{DOMAIN}")]
        demo.preau("group", "add", f"equipe@{DOMAIN}", *members)
    return demo


def keep_mail_here(config: Path, port: int) -> None:
    """No mail of a demo leaves this machine: what is for elsewhere goes to our own port 25, which refuses it."""
    text = config.read_text(encoding="utf-8")
    if "[relay]" not in text:
        config.write_text(f'{text}\n[relay]\n# No mail leaves the demo.\nsmart_host = "127.0.0.1:{port}"\n', encoding="utf-8")


def fill(demo: Demo) -> None:
    """Deliver the corpus, once."""
    marker = demo.folder / "mail-delivered"
    if not marker.exists():
        copies = demo_mail.deliver("127.0.0.1", demo.ports["lmtp"], DOMAIN, list(demo_mail.letters()))
        marker.write_text(f"{copies}\n")


def tell(demo: Demo) -> None:
    """What to type where, French first."""
    ports, rows = demo.ports, []
    for local, _, _, who in PEOPLE:
        rows.append(f"    {f'{local}@{DOMAIN}':28} {demo.secrets[f'{local}@{DOMAIN}']['app_password']}    {who}")
    people = "\n".join(rows)
    marie = f"marie.durand@{DOMAIN}"
    config = demo.folder / "preau.toml"
    deliver = f"{sys.executable} {ROOT / 'scripts' / 'demo_mail.py'} 127.0.0.1 {ports['lmtp']} {DOMAIN}"
    print(f"""
Préau tourne. / Préau is running.            Ctrl-C : arrêt, les données restent. / stops it, the data stay.

== Français ==
Thunderbird > Nouveau compte > Messagerie existante > Configuration manuelle :
    Serveur entrant   IMAP   localhost   port {ports["imaps"]}   SSL/TLS   Mot de passe normal
    (ou port {ports["imap"]} avec STARTTLS)
    Serveur sortant   SMTP   localhost   port {ports["submissions"]}   SSL/TLS   Mot de passe normal
    (ou port {ports["submission"]} avec STARTTLS)
    Agendas et contacts :   https://localhost:{ports["https"]}/
      (Thunderbird : Agenda > Nouvel agenda > Sur le réseau ; DAVx5, iPhone : « autre compte CalDAV / CardDAV »)
    Identifiant = adresse complète, pour tous. Mot de passe = mot de passe d'application :
{people}
Faire confiance au certificat (autorité privée, limitée à {DOMAIN} et à localhost) : {demo.ca}
    Thunderbird : Paramètres > Vie privée et sécurité > Gérer les certificats > Autorités > Importer, cocher
      « identifier des sites web ». La configuration automatique n'interroge que le port 443 : choisissez « manuelle ».
    iPhone : s'envoyer ca.pem, Réglages > Profil téléchargé > Installer, puis Général > Informations > Réglages des certificats.
    Android : Paramètres > Sécurité > Chiffrement et identifiants > Installer un certificat > Certificat CA.
Puis essayez :
    - Écrivez-vous les uns aux autres, ou à equipe@{DOMAIN} (un groupe) : le message arrive aussitôt.
    - Écrivez à une adresse inconnue d'ici : refusée à l'envoi. D'ailleurs (parent@ailleurs.example) : un rapport revient en
      français et en anglais. Aucun message ne quitte la démo.
    - Un message qui attend :   {PREAU} queue list --config {config}
    - Le mot de passe principal de Marie ({demo.secrets[marie]["password"]}) : refusé, elle a un second facteur.
    - Un message arrive pendant que Thunderbird est ouvert :
        {deliver} --one "Bonjour" marie.durand
    - Bloquer le compte, la session ouverte se ferme aussitôt :
        {PREAU} user lock {marie} --reason "téléphone perdu" --config {config}
    - Qui s'est connecté, et d'où :   {PREAU} traces show {marie} --config {config}

== English ==
Thunderbird > New account > Existing mail > Manual configuration:
    Incoming   IMAP   localhost   port {ports["imaps"]}   SSL/TLS   Normal password      (or port {ports["imap"]} with STARTTLS)
    Outgoing   SMTP   localhost   port {ports["submissions"]}   SSL/TLS   Normal password
    (or port {ports["submission"]} with STARTTLS)
    Calendars and contacts:   https://localhost:{ports["https"]}/
      (Thunderbird: Calendar > New Calendar > On the Network; DAVx5, iPhone: "other CalDAV / CardDAV account")
    User name = the whole address, for all. Password = app password, as in the table above.
Trust the certificate (a private authority that can vouch for {DOMAIN} and localhost alone): {demo.ca}
    Thunderbird: Settings > Privacy & Security > Manage Certificates > Authorities > Import, tick "identify websites".
      Automatic set-up asks port 443 only: choose "manual".
    iPhone: send yourself ca.pem, Settings > Profile Downloaded > Install, then General > About > Certificate Trust Settings.
    Android: Settings > Security > Encryption & credentials > Install a certificate > CA certificate.
Then try:
    - Write to one another, or to equipe@{DOMAIN} (a group): it arrives at once. To an unknown address of this domain: refused
      on sending. To one elsewhere: a report comes back, in French and English. No mail leaves the demo.
    - Marie's main password: refused, because she has a second factor (hers: {demo.secrets[marie]["totp"]}).
    - A message that arrives while the client is open, the account locked, the traces, the queue: the commands above.
    - {PREAU} check --config {config}      Log of the daemons: {demo.folder / "serve.log"}
""")
    sys.stdout.flush()


def wait_until_ready(server: subprocess.Popen[bytes], ready: Path, log: Path) -> None:
    """Until every listener accepts. Ends the demo with the log's last lines when it does not come to that."""
    deadline = time.monotonic() + 90
    while not ready.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").splitlines()[-15:]
            raise SystemExit("demo: preau serve did not start:\n" + "\n".join(lines))
        time.sleep(0.05)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the daemons and wait until they are gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave daemons behind
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_base() -> int:
    """An N for --ports-from whose ports are all free now."""
    for base in range(10_000, 31_001, 1000):
        probes = []
        try:
            for offset in PORTS:
                probe = socket.socket()
                probes.append(probe)
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise SystemExit("demo: no free block of ports between 10000 and 32000")


def read_secrets(folder: Path) -> dict[str, dict[str, str]]:
    """What an earlier run made: it is shown again, this is a demo."""
    file = folder / "demo-secrets.json"
    found: dict[str, dict[str, str]] = json.loads(file.read_text()) if file.exists() else {}
    return found


def write_secrets(folder: Path, found: dict[str, dict[str, str]]) -> None:
    """Keep them, readable by the owner alone."""
    part = folder / "demo-secrets.json.part"
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(found, file, indent=1)
    part.rename(folder / "demo-secrets.json")


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    if shutil.which(str(PREAU)) is None:
        raise SystemExit("demo: run scripts/demo, which installs first")
    sys.exit(main())
