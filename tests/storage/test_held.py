"""What is held of messages that came in, counted for the whole process."""

import threading

from preau.storage.held import HELD, Held
from preau.storage.mail_derive import Derivation


def test_what_is_let_go_counts_no_more() -> None:
    held = Held(10)
    held.add(8)
    held.add(3)
    assert (held.octets, held.full) == (11, True)
    held.let_go(8)
    assert (held.octets, held.full) == (3, False)


def test_threads_do_not_lose_count() -> None:
    held = Held(10)

    def turns() -> None:
        for _ in range(2_000):
            held.add(3)
            held.let_go(3)
            assert held.octets >= 0

    threads = [threading.Thread(target=turns) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held.octets == 0


def test_a_message_counts_for_as_long_as_it_lives() -> None:
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 900
    before = HELD.octets
    derivation = Derivation()
    derivation.feed(0, many)
    derived = derivation.finish(len(many))
    assert HELD.octets - before > 400_000  # its structure is larger than its octets
    del derivation, derived
    assert HELD.octets == before
