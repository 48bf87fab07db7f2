"""A private Dovecot as the peer of the IMAP and LMTP figures: one temporary folder, loopback ports, gone at the end.

Maildir, `mail_fsync = optimized` (its default), the login process in high-performance mode: what an operator who cares
for speed would run. Plain passwords are taken without TLS, as `--plaintext` does for ours.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

_CONFIG = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
ssl = {ssl}
{certificate}
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:{root}/mail/%u
mail_fsync = optimized
mail_max_userip_connections = 2000
first_valid_uid = 1
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Drafts {{
    special_use = \\Drafts
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
  mailbox Archive {{
    special_use = \\Archive
    auto = subscribe
  }}
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={mail} gid={mail_group} home={root}/mail/%u allow_all_users=yes
}}
default_client_limit = 4000
default_vsz_limit = 4 G
default_process_limit = 2000
service imap-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 2000
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service imap {{
  process_limit = 2000
}}
service lmtp {{
  process_min_avail = 2
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
protocol lmtp {{
  auth_username_format = %Ln
}}
service auth {{
  client_limit = 5000
}}
service anvil {{
  client_limit = 5000
}}
service stats {{
  client_limit = 4000
}}
"""


def free_port() -> int:
    """A loopback TCP port that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def installed() -> bool:
    """Whether Dovecot with IMAP is on this machine."""
    return shutil.which("dovecot", path="/usr/sbin:/usr/bin:/sbin:/bin") is not None


class Dovecot:
    """A running Dovecot; `with Dovecot(folder) as peer:`. Every user name is known, `password` opens each."""

    name = "dovecot"
    password = "secret"

    def __init__(self, root: Path, *, certificate: Path | None = None, key: Path | None = None) -> None:
        """Write the configuration below `root`. TLS is offered when a certificate is given. Needs root's rights."""
        self.root = root
        self.imap, self.imaps, self.lmtp = free_port(), free_port(), free_port()
        owner = pwd.getpwnam("nobody")
        for folder in ("run", "state", "mail"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        os.chown(root / "mail", owner.pw_uid, owner.pw_gid)
        # The mail processes run as another user and must reach their folder through a private temporary one.
        for parent in (root, root.parent):
            parent.chmod(parent.stat().st_mode | 0o711)
        config = _CONFIG.format(
            root=root,
            internal="dovecot",
            internal_group="dovecot",
            login="dovenull",
            ssl="yes" if certificate else "no",
            certificate=f"ssl_cert = <{certificate}\nssl_key = <{key}" if certificate else "",
            password=self.password,
            mail=owner.pw_uid,
            mail_group=owner.pw_gid,
            imap=self.imap,
            imaps=self.imaps if certificate else 0,
            lmtp=self.lmtp,
        )
        self.config = root / "dovecot.conf"
        self.config.write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Dovecot:
        self._process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(self.config)], stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                with socket.create_connection(("127.0.0.1", self.imap), 1) as probe:
                    if probe.recv(64).startswith(b"* OK"):
                        return self
            except OSError:
                pass
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError("Dovecot did not start: " + (self.root / "dovecot.log").read_text()[-2000:])

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    def forget_indexes(self) -> None:
        """Take away the index files, but not the list of UIDs."""
        for path in (self.root / "mail").glob("*/dovecot.index*"):
            path.unlink()

    @property
    def pid(self) -> int:
        """The master process: its descendants are the server."""
        if self._process is None:
            raise RuntimeError("not running")
        return self._process.pid

    def login(self, user: str) -> tuple[str, str]:
        """What to send in LOGIN for a user."""
        return user, self.password
