import asyncio
import asyncio.sslproto
import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from preau.daemon.tls import BUFFER_SIZE, InvalidCertificate, ServerTls, describe


def make_certificate(folder: Path, name: str, *, password: bytes | None = None) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    folder.mkdir(exist_ok=True)
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return folder / "cert.pem", folder / "key.pem"


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    done = 0
    for _ in range(10):
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
        if done >= 4:
            break
    return ours, theirs


def client_context(maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if maximum < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = maximum
    context.maximum_version = maximum
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_modern_versions_with_forward_secrecy(tmp_path: Path, version: ssl.TLSVersion) -> None:
    tls = ServerTls(*make_certificate(tmp_path, "a.example"), alpn=["imap"])
    ours, _ = handshake(tls.context, client_context(version))
    assert describe(ours).startswith(("TLSv1.2/ECDHE-", "TLSv1.3/TLS_"))
    assert ours.compression() is None


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_versions_are_refused(tmp_path: Path) -> None:
    tls = ServerTls(*make_certificate(tmp_path, "a.example"))
    with pytest.raises(ssl.SSLError):
        handshake(tls.context, client_context(ssl.TLSVersion.TLSv1_1))


def served(tls: ServerTls) -> bytes | None:
    _, theirs = handshake(tls.context, client_context())
    return theirs.getpeercert(True)


def test_a_renewed_certificate_is_taken_in_place_and_a_broken_one_is_not(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "a.example")
    tls = ServerTls(certificate, key)
    context, first = tls.context, served(tls)
    make_certificate(tmp_path, "b.example")
    tls.reload()
    second = served(tls)
    assert first != second
    other, _ = make_certificate(tmp_path / "other", "c.example")
    certificate.write_bytes(other.read_bytes())
    with pytest.raises(InvalidCertificate, match="mismatch"):
        tls.reload()
    assert served(tls) == second
    assert tls.context is context


@pytest.mark.parametrize("case", ["missing", "junk", "encrypted"])
def test_what_is_wrong_is_said(tmp_path: Path, case: str) -> None:
    certificate, key = make_certificate(tmp_path, "a.example", password=b"x" if case == "encrypted" else None)
    match case:
        case "missing":
            key.unlink()
        case "junk":
            certificate.write_text("junk")
    with pytest.raises(InvalidCertificate, match=r"cert\.pem with .*key\.pem: .*(No such file|pem|passphrase)"):
        ServerTls(certificate, key)


def test_describe_without_tls() -> None:
    assert describe(None) == ""


def test_asyncio_still_takes_its_buffer_from_max_size(tmp_path: Path) -> None:
    async def test() -> None:
        tls = ServerTls(*make_certificate(tmp_path, "a.example"))
        accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        server = await asyncio.start_server(lambda *both: accepted.put_nowait(both), "127.0.0.1", 0, ssl=tls.context)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=client_context())
        stream, ours = await accepted.get()
        protocol = ours.transport._ssl_protocol  # type: ignore[attr-defined]  # what the guard is for
        assert len(protocol.get_buffer(1 << 20)) == BUFFER_SIZE
        data = b"x" * 100_000  # several times the buffer
        writer.write(data)
        ours.write(await stream.readexactly(len(data)))
        ours.close()
        assert await reader.read() == data
        writer.close()
        server.close()

    assert isinstance(asyncio.sslproto.SSLProtocol.max_size, int)
    asyncio.run(test())
