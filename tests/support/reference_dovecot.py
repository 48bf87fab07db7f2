"""A Dovecot of our own, in a temporary folder on a loopback port: the reference that dialogs are checked against."""

import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BINARY = shutil.which("dovecot", path="/usr/sbin:/usr/bin:/usr/local/sbin")

_CONFIG = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
protocols = imap
# Its looks at a mailbox, where the system has no inotify instance left for one more process.
mailbox_idle_check_interval = 1 secs
mail_plugins = zlib
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
first_valid_uid = 1
mail_location = maildir:{root}/mail/%u
mail_max_userip_connections = 100
imap_idle_notify_interval = 2 mins
auth_failure_delay = 0
protocol imap {{
  mail_plugins = zlib imap_zlib
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Archive {{
    special_use = \\Archive
    auto = subscribe
  }}
  mailbox Drafts {{
    special_use = \\Drafts
    auto = subscribe
  }}
  mailbox Junk {{
    special_use = \\Junk
    auto = subscribe
  }}
  mailbox Sent {{
    special_use = \\Sent
    auto = subscribe
  }}
  mailbox Trash {{
    special_use = \\Trash
    auto = subscribe
  }}
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}/mail/%u allow_all_users=yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""

PASSWORD = "secret"


def why_not() -> str:
    """Why no reference can run here; "" when one can."""
    if _BINARY is None:
        return "dovecot is not installed"
    if os.getuid() == 0 and not _known("dovenull"):
        return "dovecot's users are not there"
    return ""


def _known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


@contextmanager
def reference() -> Iterator[int]:
    """A running Dovecot: the port of its IMAP without TLS. Every user is known, PASSWORD opens each."""
    root = Path(tempfile.mkdtemp(prefix="preau-dovecot-"))
    try:
        root.chmod(0o755)
        me = pwd.getpwuid(os.getuid())
        as_root = me.pw_uid == 0
        owner = pwd.getpwnam("nobody") if as_root else me
        for folder in ("run", "state", "mail"):
            (root / folder).mkdir()
        os.chown(root / "mail", owner.pw_uid, owner.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = root / "dovecot.conf"
        config.write_text(
            _CONFIG.format(
                root=root,
                internal="dovecot" if as_root else me.pw_name,
                internal_group="dovecot" if as_root else _group(me.pw_gid),
                login="dovenull" if as_root else me.pw_name,
                password=PASSWORD,
                uid=owner.pw_uid,
                gid=owner.pw_gid,
                port=port,
            )
        )
        process = subprocess.Popen([str(_BINARY), "-F", "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, process, root / "log")
            yield port
        finally:
            process.terminate()
            process.wait(30)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _group(gid: int) -> str:
    return grp.getgrgid(gid).gr_name


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(400):
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as probe:
                if probe.recv(64).startswith(b"* OK"):
                    return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("dovecot did not start: " + (log.read_text()[-2000:] if log.exists() else ""))
