"""TLS for our listeners: one context per certificate, TLS 1.2 and up, renewed in place (RFC 8446, RFC 9325).

Owns contexts and the size of asyncio's buffers for them. Never writes a key, never logs one; where certificates come
from is not known here.
"""

import asyncio.sslproto
import ssl
from collections.abc import Sequence
from pathlib import Path

# RFC 9325 section 4.2: forward secrecy and authenticated encryption only. TLS 1.3 has its own list.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

BUFFER_SIZE = 16_384
"""Octets of asyncio's buffer a TLS connection (its own choice is 256 KiB, held while idle): one record of TLS."""


class InvalidCertificate(Exception):
    """The certificate or its key cannot be read, or they do not belong together; the text says which file."""


class ServerTls:
    """A certificate and its server context. Listeners share the context; `reload` changes what new handshakes get."""

    def __init__(self, certificate: Path, key: Path, *, alpn: Sequence[str] = ()) -> None:
        """`certificate`: PEM with its chain. `alpn`: protocols to offer (RFC 7301). Raise InvalidCertificate."""
        shrink_buffers()
        self._certificate = certificate
        self._key = key
        self._alpn = list(alpn)
        self.context = _load(certificate, key, self._alpn)

    def reload(self) -> None:
        """Read both files again. Raise InvalidCertificate and keep what there is when they are not good."""
        # Loading a wrong pair into the live context would leave it with half of each: try elsewhere first.
        _load(self._certificate, self._key, self._alpn)
        self.context.load_cert_chain(self._certificate, self._key)


def _load(certificate: Path, key: Path, alpn: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_SINGLE_ECDH_USE
    if alpn:
        context.set_alpn_protocols(alpn)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InvalidCertificate(f"{certificate} with {key}: {_reason(error)}") from None
    return context


def _no_password() -> str:
    # Without it OpenSSL asks the terminal, and a daemon hangs.
    raise ValueError("the key is encrypted: store it without a passphrase")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def shrink_buffers() -> None:
    """Let asyncio take 16 KiB a TLS connection rather than 256 (its `SSLProtocol.max_size`, guarded by a test)."""
    asyncio.sslproto.SSLProtocol.max_size = BUFFER_SIZE


def describe(connection: ssl.SSLObject | ssl.SSLSocket | None) -> str:
    """What a log line says of a connection: `TLSv1.3/TLS_AES_256_GCM_SHA384`, or `` without TLS."""
    if connection is None:
        return ""
    cipher = connection.cipher()
    return f"{connection.version() or '?'}/{cipher[0] if cipher else '?'}"
