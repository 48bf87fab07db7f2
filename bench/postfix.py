"""A private Postfix as the peer of SMTP reception: one temporary folder, a loopback port, gone at the end.

It takes mail for the same domain, queues it durably and delivers it to Maildir files, as ours does. Needs root's rights.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

from .dovecot import free_port
from .ours import DOMAIN

_MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
mail_owner = postfix
setgid_group = postdrop
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.bench.example
mydestination =
local_transport = error:none here
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
default_process_limit = 100
maillog_file = {root}/postfix.log
maillog_file_prefixes = {root}
"""

_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def installed() -> bool:
    """Whether Postfix is on this machine, and may be run."""
    return shutil.which("postfix", path="/usr/sbin") is not None and os.getuid() == 0


class Postfix:
    """A running Postfix; `with Postfix(folder) as peer:`."""

    name = "postfix"

    def __init__(self, root: Path) -> None:
        """Write the configuration below `root`."""
        self.root = root
        self.smtp = free_port()
        owner = pwd.getpwnam("nobody")
        for name in ("conf", "queue", "data", "mail"):
            (root / name).mkdir(parents=True)
        os.chown(root / "data", pwd.getpwnam("postfix").pw_uid, -1)
        os.chown(root / "mail", owner.pw_uid, owner.pw_gid)
        for parent in (root, root.parent):
            parent.chmod(parent.stat().st_mode | 0o711)
        self._configuration = root / "conf"
        main = _MAIN.format(root=root, domain=DOMAIN, uid=owner.pw_uid, gid=owner.pw_gid)
        (self._configuration / "main.cf").write_text(main)
        (self._configuration / "master.cf").write_text(_MASTER.format(port=self.smtp))

    def __enter__(self) -> Postfix:
        self._run("start")
        for _ in range(200):
            try:
                with socket.create_connection(("127.0.0.1", self.smtp), 1) as probe:
                    if probe.recv(64).startswith(b"220"):
                        return self
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("Postfix did not start: " + (self.root / "postfix.log").read_text()[-2000:])

    def __exit__(self, *error: object) -> None:
        self._run("stop")

    def _run(self, verb: str) -> None:
        subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self._configuration), verb],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def pid(self) -> int:
        """The master process."""
        return int((self.root / "queue" / "pid" / "master.pid").read_text())

    def queued(self) -> int:
        """Messages that wait."""
        return sum(len(list((self.root / "queue" / name).rglob("*"))) for name in ("incoming", "active", "deferred"))
