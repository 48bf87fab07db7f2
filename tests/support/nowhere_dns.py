"""A DNS server in a thread for which no name exists (RFC 8020), so that no test depends on the network it runs in."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode


@contextlib.contextmanager
def nowhere_dns() -> Iterator[int]:
    """Serve on 127.0.0.1; its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_answer, args=(server,), name="nowhere-dns")
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"", server.getsockname())
            thread.join()


def _answer(server: socket.socket) -> None:
    while True:
        data, peer = server.recvfrom(4096)
        if not data:
            return
        answer = dns.message.make_response(dns.message.from_wire(data))
        answer.set_rcode(dns.rcode.NXDOMAIN)
        answer.flags |= dns.flags.RA
        server.sendto(answer.to_wire(), peer)
