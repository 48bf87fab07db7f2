"""What `scripts/demo --check` proves, with unchanged mail clients: each is skipped, and said so, where it is not installed.

swaks hands mail over by LMTP; swaks and msmtp submit over TLS with an app password and an attachment; it arrives, is answered,
and is pushed to a client that idles; a wrong address is refused or comes back in both languages; nobody sends as another.
curl and mbsync read mail over TLS with the demo's CA; mbsync carries flags both ways; a main password opens nothing where
there is a second factor; a revoked session ends. curl, vdirsyncer and khal find calendars and contacts and keep them the same.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import demo_dav
import demo_send
from demo_client import Check, Failed, Imap, Skipped, expect, run


def read_by_curl(check: Check) -> None:
    """curl reads the INBOX over TLS, with the CA alone as trust and the password in a file."""
    config = check.folder / "curl.conf"
    config.touch(mode=0o600)
    config.write_text(f'user = "{check.address("marie.durand")}:{check.app_password("marie.durand")}"\ncacert = "{check.ca}"\n')
    url = f"imaps://localhost:{check.ports['imaps']}/INBOX"
    found = run("curl", "-sS", "--config", str(config), url, "-X", 'SEARCH SUBJECT "Sortie au"')
    expect(len(found.split()) == 2 + 5, f"curl found {found!r} instead of five messages")
    message = run("curl", "-sS", "--config", str(config), f"{url};MAILINDEX=1")
    expect("Message-ID:" in message and "Subject:" in message, f"curl got no message: {message[:300]!r}")
    starttls = f"imap://localhost:{check.ports['imap']}/INBOX"
    examined = run("curl", "-sS", "--ssl-reqd", "--config", str(config), starttls, "-X", "NOOP", "-v", "--stderr", "-")
    expect("SSL connection using TLSv1" in examined, f"curl got no STARTTLS: {examined[-500:]}")


def sync_by_mbsync(check: Check) -> None:
    """mbsync pulls all mail; flags set on either side arrive on the other; a message put into the copy is uploaded."""
    copy = check.folder / "mbsync"
    (copy / "mail").mkdir(parents=True)
    secret = copy / "secret"
    secret.touch(mode=0o600)
    secret.write_text(check.app_password("marie.durand"))
    config = copy / "mbsyncrc"
    config.write_text(
        f"""IMAPAccount demo
Host localhost
Port {check.ports["imaps"]}
User {check.address("marie.durand")}
PassCmd "cat {secret}"
SSLType IMAPS
CertificateFile {check.ca}

IMAPStore far
Account demo

MaildirStore near
Path {copy}/mail/
Inbox {copy}/mail/INBOX
SubFolders Verbatim

Channel demo
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""
    )

    def sync() -> None:
        run("mbsync", "-q", "-c", str(config), "-a", environment={"HOME": str(copy)})

    def files() -> list[Path]:
        return sorted(path for folder in ("cur", "new") for path in (copy / "mail" / "INBOX" / folder).iterdir())

    sync()
    with check.imap() as client:
        total = client.select_folder("INBOX")[b"EXISTS"]
    expect(len(files()) == total > 20, f"mbsync has {len(files())} messages, the server {total}")

    flagged = files()[0]
    text = flagged.read_bytes()
    flagged.rename(flagged.parent.parent / "cur" / (flagged.name.partition(":2,")[0] + ":2,FS"))
    added = copy / "mail" / "INBOX" / "new" / f"{int(time.time())}.1.check"
    added.write_bytes(b"From: check@client.example\nSubject: par mbsync\nMessage-ID: <mbsync@check.example>\n\nLocal.\n")
    sync()
    identifier = next(line for line in text.decode("latin-1").splitlines() if line.lower().startswith("message-id:")).split()[1]
    with check.imap() as client:
        client.select_folder("INBOX")
        there = client.search(["FLAGGED", "SEEN", "HEADER", "Message-ID", identifier])
        expect(len(there) == 1, "the flags set in mbsync's copy did not arrive")
        expect(len(client.search(["SUBJECT", "par mbsync"])) == 1, "the message put into mbsync's copy did not arrive")
        other = client.search(["UNFLAGGED", "SUBJECT", "cantine"])[0]
        number = client.fetch(other, ["BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"])[other]
        wanted = number[b"BODY[HEADER.FIELDS (MESSAGE-ID)]"].split(b":", 1)[1].strip()
        client.add_flags(other, [b"\\Answered"])
        client.remove_flags(there, [b"\\Flagged"])
    sync()
    answered = [path for path in files() if wanted in path.read_bytes()]
    expect(
        [path.name.partition(":2,")[2] for path in answered] == ["R"],
        "a flag set on the server did not arrive in mbsync's copy",
    )
    cleared = [path for path in files() if identifier.encode() in path.read_bytes()]
    expect(
        [path.name.partition(":2,")[2] for path in cleared] == ["S"],
        "a flag cleared on the server did not arrive in mbsync's copy",
    )


def push_while_idle(check: Check) -> None:
    """A message delivered while a client idles is told at once, and can be read."""
    with check.imap("lea.petit") as client:
        before = client.select_folder("INBOX")[b"EXISTS"]
        client.idle()
        check.deliver("pendant IDLE", "lea.petit")
        delivered = time.monotonic()
        told: list[object] = []
        while not any(isinstance(each, tuple) and each[1] == b"EXISTS" for each in told) and time.monotonic() - delivered < 10:
            told += client.idle_check(timeout=10)
        waited = time.monotonic() - delivered
        client.idle_done()
        expect((before + 1, b"EXISTS") in told, f"the idling client was told {told!r}")
        expect(waited < 2, f"the idling client was told after {waited:.1f} s")
        expect(len(client.search(["SUBJECT", "pendant IDLE"])) == 1, "the message pushed cannot be found")


def second_factor(check: Check) -> None:
    """With a second factor the main password opens nothing over mail; without one it does."""
    imap = Imap(check, "marie.durand", check.secrets[check.address("marie.durand")]["password"])
    try:
        with imap:
            raise Failed("the main password of an account with a second factor opened IMAP")
    except imap.error as error:
        expect("AUTHENTICATIONFAILED" in str(error), f"refused otherwise than as a wrong password: {error}")
    with Imap(check, "paul.bernard", check.secrets[check.address("paul.bernard")]["password"]) as client:
        client.select_folder("INBOX")


def lock_ends_sessions(check: Check) -> None:
    """Locking an account ends its sessions within a second, and unlocking lets it in again."""
    imap = check.imap("paul.bernard")
    with imap as client:
        client.select_folder("INBOX")
        client.idle()
        check.preau("user", "lock", check.address("paul.bernard"), "--reason", "essai")
        locked = time.monotonic()
        try:
            while time.monotonic() - locked < 5:
                if any(each and isinstance(each, tuple) and each[0] == b"BYE" for each in client.idle_check(timeout=5)):
                    break
        except (imap.error, OSError, ValueError):
            pass  # cut off: that is what we wait for
        expect(time.monotonic() - locked < 1.5, "the session of a locked account went on")
    check.preau("user", "unlock", check.address("paul.bernard"))
    with check.imap("paul.bernard") as client_again:
        client_again.noop()


def store_and_traces(check: Check) -> None:
    """The operator's commands find everything in order while it runs."""
    check.preau("store", "verify")
    check.preau("traces", "verify")
    check.preau("check")


CHECKS: list[Callable[[Check], None]] = [
    demo_send.lmtp_by_swaks,
    demo_send.submit_by_swaks,
    demo_send.write_and_answer_by_msmtp,
    demo_send.wrong_addresses,
    demo_send.nobody_sends_as_another,
    read_by_curl,
    sync_by_mbsync,
    push_while_idle,
    demo_dav.found_by_a_phone,
    demo_dav.two_devices,
    second_factor,
    lock_ends_sessions,
    store_and_traces,
]


def check(folder: Path, domain: str, ports: Mapping[str, int], secrets: Mapping[str, Mapping[str, str]], ca: Path) -> int:
    """Run all; 0 when none failed."""
    demo = Check(folder, domain, ports, secrets, ca)
    failed = 0
    for one in CHECKS:
        name = one.__name__.replace("_", " ")
        began = time.monotonic()
        try:
            one(demo)
        except Skipped as reason:
            print(f"skipped  {name}: {reason}")
        except (Failed, subprocess.TimeoutExpired, OSError) as error:
            failed += 1
            print(f"FAILED   {name}: {error}")
        else:
            print(f"ok       {name} ({time.monotonic() - began:.1f} s)")
        sys.stdout.flush()
    if failed:
        print(f"log of the daemons:\n{(folder / 'serve.log').read_text(errors='replace')[-3000:]}", file=sys.stderr)
    return 1 if failed else 0
