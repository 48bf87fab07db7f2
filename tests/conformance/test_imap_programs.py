"""Unchanged mail programs against an instance, each with an app password, over TLS, with the private CA alone as trust."""

import os
import pty
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from people import Person, a_letter

pytestmark = pytest.mark.conformance


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def run(folder: Path, *command: str, given: bytes = b"", codes: tuple[int, ...] = (0,)) -> str:
    """Run a program at home in this folder; its output, both streams in one."""
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm"}
    done = subprocess.run(
        command, input=given, env=environment, timeout=60, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode in codes, f"{done.returncode}: {said}"
    return said


def private(path: Path, text: str) -> Path:
    """A file with a password in it, as these programs want it."""
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def subjects(folder: Path) -> dict[str, Path]:
    """Messages of a maildir by subject."""
    found = {}
    for path in [*(folder / "cur").iterdir(), *(folder / "new").iterdir()]:
        line = next(line for line in path.read_text().splitlines() if line.startswith("Subject: "))
        found[line.removeprefix("Subject: ")] = path
    return found


def flag(path: Path, letters: str) -> None:
    """Give a file of a maildir its flags."""
    path.rename(path.parent.parent / "cur" / f"{path.name.partition(':')[0]}:2,{letters}")


# -- OfflineIMAP


@pytest.fixture
def offlineimap(person: Person, tmp_path: Path) -> Callable[[], None]:
    """Synchronise everything, both ways."""
    program = needs("offlineimap")
    configuration = private(
        tmp_path / "offlineimaprc",
        f"""[general]
metadata = {tmp_path}/state
accounts = ecole
ui = basic
[Account ecole]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {tmp_path}/mail
sep = .
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {person.instance.imaps}
remoteuser = {person.address}
remotepass = {person.password}
ssl = yes
sslcacertfile = {person.ca}
""",
    )
    return lambda: print(run(tmp_path, program, "-o", "-c", str(configuration)))


def test_offlineimap_both_ways(person: Person, tmp_path: Path, offlineimap: Callable[[], None]) -> None:
    person.put("un", "deux", "trois")
    mail = tmp_path / "mail"
    offlineimap()
    assert set(subjects(mail / "INBOX")) == {"un", "deux", "trois"}
    assert {"INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive"} <= {path.name for path in mail.iterdir()}
    flag(subjects(mail / "INBOX")["un"], "FS")
    subjects(mail / "INBOX")["deux"].unlink()
    # Moved from one folder to another: this client uploads it there and deletes it here.
    moved = subjects(mail / "INBOX")["trois"]
    moved.rename(mail / "Archive/cur" / "1.1.local:2,S")
    (mail / "Drafts/new/2.1.local").write_bytes(bytes(a_letter("x@ecole.example", "y@ecole.example", subject="brouillon")))
    for folder in ("Classe", "Classe.Sorties"):  # it creates the parent there, and then fails if it is not here too
        for part in ("cur", "new", "tmp"):
            (mail / folder / part).mkdir(parents=True)
    offlineimap()
    assert person.there() == {"un": {"\\Seen", "\\Flagged"}}
    assert person.there("Archive") == {"trois": {"\\Seen"}}
    assert set(person.there("Drafts")) == {"brouillon"}
    assert person.there("Classe/Sorties") == {}
    with person.reading() as client:
        client.store("1", "FLAGS", "(\\Answered)")
    person.put("quatre", mailbox="Classe/Sorties")
    offlineimap()
    assert subjects(mail / "INBOX")["un"].name.endswith(":2,R")
    assert set(subjects(mail / "Classe.Sorties")) == {"quatre"}


# -- NeoMutt


def neomutt_settings(person: Person, folder: Path) -> Path:
    """Its settings: no question asked."""
    return private(
        folder / "neomuttrc",
        f"""set ssl_force_tls=yes ssl_verify_host=yes ssl_ca_certificates_file={person.ca}
set imap_user={person.address} imap_pass="{person.password}" smtp_pass="{person.password}"
set folder=imaps://localhost:{person.instance.imaps}/ spoolfile=+INBOX record="" postponed=""
set smtp_url="smtps://{person.address}@localhost:{person.instance.submissions}/"
set from={person.address} realname="" hostname=client.example use_envelope_from=yes
set header_cache="" quit=yes delete=yes confirmappend=no confirmcreate=no wait_key=no mark_old=no sort=mailbox-order
""",
    )


def test_neomutt_sends(person: Person, another: Person, tmp_path: Path) -> None:
    neomutt = needs("neomutt")
    plan = tmp_path / "plan.pdf"
    plan.write_bytes(bytes(range(256)) * 40)
    run(
        tmp_path,
        *(neomutt, "-n", "-F", str(neomutt_settings(person, tmp_path)), "-s", "Sortie à huit heures"),
        *("-a", str(plan), "--", another.address),
        given="Rendez-vous à huit heures.\n".encode(),
    )
    letter = another.awaited("Sortie")
    assert letter["Subject"] == "Sortie à huit heures"
    (attachment,) = letter.iter_attachments()
    assert attachment.get_content() == plan.read_bytes()
    assert "localhost" not in str(letter["Message-ID"])
    said = run(
        tmp_path,
        *(neomutt, "-n", "-F", str(tmp_path / "neomuttrc"), "-s", "refus", "--", "nobody@ecole.example"),
        given=b"x",
        codes=(1,),
    )
    assert "550" in said


def test_neomutt_reads_flags_moves_and_deletes(person: Person, tmp_path: Path) -> None:
    neomutt = needs("neomutt")
    person.put("un", "deux", "trois", "quatre")
    keys = (
        "<first-entry><flag-message><first-entry><set-flag>r"
        "<search>deux<enter><save-message>+Archive<enter>"
        "<search>trois<enter><delete-message>"
        "<search>quatre<enter><copy-message>+Sorties<enter><display-message><exit><sync-mailbox><quit>"
    )
    command = [neomutt, "-n", "-F", str(neomutt_settings(person, tmp_path)), "-e", f"push '{keys}'"]
    near, far = pty.openpty()
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm", "LINES": "40"}
    process = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, env=environment, start_new_session=True)
    os.close(far)
    screen: list[bytes] = []

    def look() -> None:
        while True:
            try:
                screen.append(os.read(near, 65_536))
            except OSError:  # it has ended
                return

    looking = threading.Thread(target=look)
    looking.start()
    try:
        process.wait(40)
    finally:
        process.kill()
        process.wait()
        looking.join()
        os.close(near)
    assert process.returncode == 0, b"".join(screen).decode("utf-8", "replace")
    assert person.there() == {"un": {"\\Flagged", "\\Answered", "\\Seen"}, "quatre": {"\\Seen"}}
    assert set(person.there("Archive")) == {"deux"}
    assert set(person.there("Sorties")) == {"quatre"}


# -- getmail


def test_getmail_takes_and_leaves_then_takes_away(person: Person, tmp_path: Path) -> None:
    getmail = needs("getmail")
    for folder in ("cur", "new", "tmp"):
        (tmp_path / "mail" / folder).mkdir(parents=True)

    def fetch(options: str) -> str:
        private(
            tmp_path / "getmailrc",
            f"""[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = {person.instance.imaps}
username = {person.address}
password = {person.password}
mailboxes = ("INBOX", "Junk")
ca_certs = {person.ca}
[destination]
type = MDA_external
path = {needs("sh")}
arguments = ("-c", "exec cat > $(mktemp {tmp_path}/mail/new/XXXXXX)")
allow_root_commands = true
[options]
read_all = false
{options}
""",
        )
        return run(tmp_path, getmail, f"--getmaildir={tmp_path}", "--rcfile=getmailrc")

    person.put("un", "deux")
    person.put("publicité", mailbox="Junk")
    fetch("delete = false")
    assert len(list((tmp_path / "mail/new").iterdir())) == 3
    assert set(person.there()) == {"un", "deux"}
    person.put("trois")
    said = fetch("delete = true")
    assert "1 messages" in said, said
    assert len(list((tmp_path / "mail/new").iterdir())) == 4
    assert person.there() == person.there("Junk") == {}


# -- fetchmail


def test_fetchmail_carries_mail_from_one_account_to_another(person: Person, another: Person, tmp_path: Path) -> None:
    fetchmail = needs("fetchmail")

    def fetch(keep: str, codes: tuple[int, ...] = (0,)) -> str:
        settings = private(
            tmp_path / "fetchmailrc",
            f'poll localhost service {person.instance.imaps} protocol IMAP auth password user "{person.address}"\n'
            f'  password "{person.password}" ssl sslcertck sslcertfile {person.ca} sslproto "TLS1.2+"\n'
            f'  folder INBOX smtphost "localhost/{person.instance.smtp}" smtpname {another.address} {keep}\n',
        )
        return run(tmp_path, fetchmail, "--nosyslog", "--nodetach", "-f", str(settings), codes=codes)

    person.put("un", "deux")
    fetch("keep")
    assert person.there() == {"un": {"\\Seen"}, "deux": {"\\Seen"}}
    another.awaited("deux")
    assert another.awaited("un")["Delivered-To"] == another.address
    fetch("keep", codes=(1,))  # nothing new
    person.put("trois")
    fetch("nokeep")
    another.awaited("trois")
    assert set(person.there()) == {"un", "deux"}  # it deletes what it has just taken
    with person.reading() as client:
        client.store("1:*", "-FLAGS", "(\\Seen)")
    fetch("nokeep")
    assert person.there() == {}
