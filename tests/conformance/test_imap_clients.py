"""Unchanged IMAP clients against our server, over TLS, with the memory store and with the store of files."""

import imaplib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import imapclient
import pytest

from own_imap import PASSWORD, OwnImap, own_imap
from preau.storage.api import Store
from preau.storage.memory import MemoryBus, MemoryStore
from preau.storage.store import open_store

pytestmark = pytest.mark.conformance

MESSAGE = (
    b"From: Jeanne <jeanne@ecole.example>\r\nTo: classe@ecole.example\r\nSubject: =?utf-8?q?Sortie_scolaire?=\r\n"
    b"Date: Sat, 7 Feb 2026 11:11:12 +0100\r\nMessage-ID: <1@ecole.example>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nRendez-vous \xc3\xa0 huit heures.\r\n"
    b"--b\r\nContent-Type: application/pdf; name=plan.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0=\r\n--b--\r\n"
)


@pytest.fixture(scope="module", params=["memory", "files"])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnImap]:
    folder = tmp_path_factory.mktemp("own")
    bus = MemoryBus()
    store: Store = MemoryStore(bus=bus) if request.param == "memory" else open_store(folder / "store", sealing=True, bus=bus)
    with own_imap(folder, store=store, bus=bus) as server:
        yield server


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@pytest.fixture
def certificate(own: OwnImap, tmp_path: Path) -> Path:
    """The server's certificate, for clients that want a file."""
    path = tmp_path / "ca.pem"
    path.write_text(ssl.get_server_certificate(("localhost", own.tls_port)))
    return path


def test_imaplib(own: OwnImap) -> None:
    with imaplib.IMAP4_SSL("localhost", own.tls_port, ssl_context=own.client_tls, timeout=20) as client:
        client.login("imaplib", PASSWORD)
        assert client.append("INBOX", "(\\Flagged)", imaplib.Time2Internaldate(1_700_000_000), MESSAGE)[0] == "OK"
        assert client.select("INBOX") == ("OK", [b"1"])
        _, found = client.search(None, "SUBJECT", "scolaire")
        assert found == [b"1"]
        _, found = client.uid("SEARCH", "CHARSET", "UTF-8", "TEXT", "heures")
        assert found == [b"1"]
        _, parts = client.fetch("1", "(FLAGS INTERNALDATE ENVELOPE BODY.PEEK[])")
        assert isinstance(parts[0], tuple)
        assert parts[0][1] == MESSAGE
        assert b"\\Flagged" in parts[0][0]
        assert b'"14-Nov-2023 22:13:20 +0000"' in parts[0][0]
        assert client.create('"\xc9t&AOk-"'.encode("ascii", "ignore").decode())[0] == "OK"
        assert client.copy("1", "Archive")[0] == "OK"
        assert client.store("1", "+FLAGS", "\\Deleted")[0] == "OK"
        assert client.expunge() == ("OK", [b"1"])
        assert client.status("Archive", "(MESSAGES UNSEEN)") == ("OK", [b"Archive (MESSAGES 1 UNSEEN 1)"])
        assert client.close()[0] == "OK"


def test_imaplib_with_starttls(own: OwnImap) -> None:
    with imaplib.IMAP4("localhost", own.port, timeout=20) as client:
        assert client.starttls(own.client_tls)[0] == "OK"
        assert client.authenticate("PLAIN", lambda _: b"\0imaplib\0" + PASSWORD.encode())[0] == "OK"
        assert client.noop()[0] == "OK"


def test_imapclient(own: OwnImap) -> None:
    with imapclient.IMAPClient("localhost", port=own.tls_port, ssl_context=own.client_tls, timeout=20) as client:
        client.login("imapclient", PASSWORD)
        assert client.has_capability("IDLE")
        assert b"Preau" in client.id_({"name": "test"})[0]
        assert client.namespace().personal == (("", "/"),)
        client.create_folder("École/Été & Noël")
        client.subscribe_folder("École/Été & Noël")
        names = {name for _, _, name in client.list_folders()}
        assert {"INBOX", "École", "École/Été & Noël", "Sent", "Trash"} <= names
        assert client.find_special_folder(b"\\Sent") == "Sent"
        assert "École/Été & Noël" in {name for _, _, name in client.list_sub_folders()}
        client.append("INBOX", MESSAGE, flags=("$Travail",))
        assert client.select_folder("INBOX")[b"EXISTS"] == 1
        (data,) = client.fetch([1], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "RFC822.SIZE"]).values()
        assert data[b"ENVELOPE"].message_id == b"<1@ecole.example>"
        assert data[b"BODYSTRUCTURE"].is_multipart
        assert data[b"RFC822.SIZE"] == len(MESSAGE)
        assert b"$Travail" in data[b"FLAGS"]
        assert client.add_flags([1], [b"\\Seen"])[1]
        assert b"\\Seen" in client.get_flags([1])[1]
        client.idle()
        with imapclient.IMAPClient("localhost", port=own.tls_port, ssl_context=own.client_tls, timeout=20) as other:
            other.login("imapclient", PASSWORD)
            other.append("INBOX", MESSAGE)
        assert (2, b"EXISTS") in client.idle_check(timeout=20)
        client.idle_done()
        client.move([1], "École/Été & Noël")
        assert client.search(["UID", "1:*"]) == [2]
        client.rename_folder("École", "Collège")
        assert client.folder_status("Collège/Été & Noël", ["MESSAGES"])[b"MESSAGES"] == 1
        client.delete_folder("Collège/Été & Noël")
        # One message: between two this client sends two spaces, which no grammar allows.
        assert client.multiappend("Drafts", [{"msg": MESSAGE, "flags": ["\\Draft"]}])
        assert client.get_quota_root("INBOX")


def test_curl(own: OwnImap, certificate: Path, tmp_path: Path) -> None:
    curl = [needs("curl"), "--silent", "--show-error", "--cacert", str(certificate), "--user", f"curl:{PASSWORD}"]
    url = f"imaps://localhost:{own.tls_port}"
    message = tmp_path / "message.eml"
    message.write_bytes(MESSAGE)
    subprocess.run([*curl, "--upload-file", str(message), f"{url}/INBOX"], check=True, timeout=30)
    read = subprocess.run([*curl, f"{url}/INBOX;MAILINDEX=1"], check=True, timeout=30, stdout=subprocess.PIPE).stdout
    assert read == MESSAGE
    listed = subprocess.run([*curl, f"{url}/"], check=True, timeout=30, stdout=subprocess.PIPE).stdout
    assert b'* LIST (\\HasNoChildren) "/" INBOX' in listed
    found = subprocess.run([*curl, f"{url}/INBOX?TEXT%20heures"], check=True, timeout=30, stdout=subprocess.PIPE).stdout
    assert found.strip() == b"* SEARCH 1"


def test_mbsync_both_ways(own: OwnImap, certificate: Path, tmp_path: Path) -> None:
    mbsync = needs("mbsync")
    mail = tmp_path / "mail"
    mail.mkdir()
    configuration = tmp_path / "mbsyncrc"
    configuration.write_text(
        f"""
IMAPAccount own
Host localhost
Port {own.tls_port}
User mbsync
Pass {PASSWORD}
SSLType IMAPS
CertificateFile {certificate}

IMAPStore far
Account own

MaildirStore near
SubFolders Verbatim
Path {mail}/
Inbox {mail}/INBOX

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""
    )
    with imaplib.IMAP4_SSL("localhost", own.tls_port, ssl_context=own.client_tls, timeout=20) as client:
        client.login("mbsync", PASSWORD)
        for number in range(30):
            client.append("INBOX", "(\\Seen)" if number % 2 else "", None, MESSAGE.replace(b"<1@", b"<%d@" % number))

    def sync() -> None:
        done = subprocess.run([mbsync, "-c", str(configuration), "-a"], timeout=60, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def files() -> list[Path]:
        return sorted([*(mail / "INBOX/cur").iterdir(), *(mail / "INBOX/new").iterdir()])

    sync()
    there = files()
    assert len(there) == 30
    assert sum(path.name.endswith("S") for path in there) == 15
    assert there[0].read_bytes().replace(b"\n", b"\r\n").count(b"Rendez-vous") == 1
    assert {path.name for path in mail.iterdir()} >= {"INBOX", "Sent", "Drafts", "Trash"}
    # Flags go up, an expunge goes up, a new message goes up.
    seen = next(path for path in there if path.name.endswith(":2,S"))
    seen.rename(seen.with_name(seen.name + "T"))
    flagged = next(path for path in there if not path.name.endswith("S"))
    flagged.rename(mail / "INBOX/cur" / (flagged.name.partition(":")[0] + ":2,FS"))
    (mail / "Drafts/new/1.1.local").write_bytes(MESSAGE.replace(b"\r\n", b"\n"))
    sync()
    assert len(files()) == 29
    with imaplib.IMAP4_SSL("localhost", own.tls_port, ssl_context=own.client_tls, timeout=20) as client:
        client.login("mbsync", PASSWORD)
        assert client.select("INBOX") == ("OK", [b"29"])
        assert len(client.search(None, "FLAGGED")[1][0].split()) == 1
        assert client.select("Drafts") == ("OK", [b"1"])
        # And down again.
        assert client.select("INBOX")[0] == "OK"
        client.store("1:5", "+FLAGS", "\\Deleted")
        client.expunge()
    sync()
    assert len(files()) == 24


@pytest.mark.parametrize("lines", [[b"a CAPABILITY", b"b LOGOUT"]])
def test_a_terminal_that_sends_bare_line_feeds(own: OwnImap, lines: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", own.port), timeout=20) as raw, raw.makefile("rb") as said:
        raw.sendall(b"".join(line + b"\n" for line in lines))
        assert said.read().endswith(b"b OK LOGOUT completed\r\n")


def test_mbsync_proves_its_password(own: OwnImap, certificate: Path, tmp_path: Path) -> None:
    mbsync = needs("mbsync")
    if not any(Path("/usr/lib").glob("**/sasl2/libscram.so")):
        pytest.skip("Cyrus SASL has no SCRAM here")
    mail = tmp_path / "mail"
    mail.mkdir()
    configuration = tmp_path / "mbsyncrc"

    def sync(password: str) -> subprocess.CompletedProcess[str]:
        configuration.write_text(
            f"""
IMAPAccount own
Host localhost
Port {own.tls_port}
User prover
Pass {password}
SSLType IMAPS
AuthMechs SCRAM-SHA-256
CertificateFile {certificate}

IMAPStore far
Account own

MaildirStore near
Path {mail}/
Inbox {mail}/INBOX

Channel inbox
Far :far:
Near :near:
Create Near
SyncState *
"""
        )
        return subprocess.run([mbsync, "-c", str(configuration), "-a"], timeout=60, capture_output=True, text=True)

    with imaplib.IMAP4_SSL("localhost", own.tls_port, ssl_context=own.client_tls, timeout=20) as client:
        client.login("prover", PASSWORD)
        client.append("INBOX", "", None, MESSAGE)
    before = len(own.authenticator.scram_open)
    done = sync(PASSWORD)
    assert done.returncode == 0, done.stderr
    assert len(list((mail / "INBOX/new").iterdir())) == 1
    assert len(own.authenticator.scram_open) == before + 1
    assert sync("another").returncode != 0
