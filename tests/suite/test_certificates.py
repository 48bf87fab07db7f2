"""The private CA and its leaf: names, dates, and what `openssl verify` and a real handshake say."""

import asyncio
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from preau.suite.certificates import LEAF_DAYS, Pair, expires, is_due, make_ca, make_leaf

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def pairs() -> tuple[Pair, Pair]:
    now = datetime.now(UTC).replace(microsecond=0)
    ca = make_ca("ecole.example", ["192.0.2.10", "::"], now)
    return ca, make_leaf(ca, "ecole.example", ["192.0.2.10", "::"], now)


def test_the_leaf_names_what_clients_type(pairs: tuple[Pair, Pair]) -> None:
    leaf = x509.load_pem_x509_certificate(pairs[1].certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["ecole.example", "*.ecole.example", "localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "192.0.2.10"]


def test_apple_takes_its_life(pairs: tuple[Pair, Pair]) -> None:
    leaf = x509.load_pem_x509_certificate(pairs[1].certificate)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(days=LEAF_DAYS)
    assert LEAF_DAYS <= 398


@pytest.mark.parametrize(
    ("days", "due"),
    [pytest.param(0, False, id="new"), pytest.param(360, False, id="eleven months"), pytest.param(370, True, id="soon")],
)
def test_a_leaf_is_due_a_month_before_its_end(days: int, due: bool, tmp_path: Path) -> None:
    ca = make_ca("a.example", [], NOW)
    file = tmp_path / "leaf.pem"
    file.write_bytes(make_leaf(ca, "a.example", [], NOW).certificate)
    assert is_due(file, NOW + timedelta(days=days)) is due
    assert expires(file.read_bytes()) > NOW


@pytest.mark.parametrize("data", [b"", b"no certificate"])
def test_what_is_no_certificate_is_due(data: bytes, tmp_path: Path) -> None:
    assert is_due(tmp_path / "missing", NOW)
    (tmp_path / "leaf.pem").write_bytes(data)
    assert is_due(tmp_path / "leaf.pem", NOW)


def test_secrets_are_not_in_the_repr(pairs: tuple[Pair, Pair]) -> None:
    assert "PRIVATE" not in repr(pairs)


def write(pairs: tuple[Pair, Pair], folder: Path) -> tuple[Path, Path, Path]:
    """ca.pem, server.pem, server.key."""
    files = (folder / "ca.pem", folder / "server.pem", folder / "server.key")
    for file, data in zip(files, (pairs[0].certificate, pairs[1].certificate, pairs[1].key), strict=True):
        file.write_bytes(data)
    return files


def test_openssl_takes_it_strictly(pairs: tuple[Pair, Pair], tmp_path: Path) -> None:
    ca, leaf, _ = write(pairs, tmp_path)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "imap.ecole.example"]
    done = subprocess.run([*command, "-CAfile", ca, leaf], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_ca_vouches_for_nothing_else(pairs: tuple[Pair, Pair], tmp_path: Path) -> None:
    """Whoever trusts the CA of a demo must not thereby trust it for a bank."""
    ca, leaf, _ = write(pairs, tmp_path)
    leaf.write_bytes(make_leaf(pairs[0], "bank.example", [], datetime.now(UTC)).certificate)
    done = subprocess.run(["openssl", "verify", "-CAfile", ca, leaf], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "permitted subtree violation" in done.stderr


@pytest.mark.parametrize("name", ["localhost", "ecole.example", "imap.ecole.example", "127.0.0.1"])
def test_a_handshake_under_each_name(name: str, pairs: tuple[Pair, Pair], tmp_path: Path) -> None:
    ca, leaf, key = write(pairs, tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(leaf, key)
    trusting = ssl.create_default_context(cafile=ca)

    async def shake() -> str | None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=serving)
        async with server:
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port, ssl=trusting, server_hostname=name)
            assert await reader.read() == b"hello"
            version: str | None = writer.get_extra_info("ssl_object").version()
            writer.close()
            await writer.wait_closed()
            return version

    assert asyncio.run(shake()) == "TLSv1.3"
