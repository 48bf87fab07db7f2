"""Sealed files: format PREAUC1, an HPKE-wrapped key and authenticated chunks (RFC 9180; STREAM of Hoang, Reyhanitabar,
Rogaway and Vizar 2015).

    0   8  magic "PREAUC1\\n"
    8   1  suite: 1 = DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; decides the length of the header
    9   1  log2 of the chunk size: 16
    10  2  flags, big-endian: none yet, must be 0
    12 16  file id, random
    28  8  key id: SHA-256(public key)[:8]
    36 80  HPKE enc (32), sealed DEK (32 + 16)
    116 12 zero                                                           header of suite 1: 128 octets
    128    chunks: AES-256-GCM(DEK, nonce = 7 zero octets, u32 index, u8 last?, 65,536 octets) and a tag of 16

Each file has a random data key (DEK), so the nonces may start at 0; a chunk is never sealed twice under one DEK. Every
chunk's associated data are magic, suite, chunk size, flags, file id, account and kind: no chunk moves to another file,
account or kind. The wrapped DEK is not among them (HPKE's info binds it to the same), so it can be wrapped again for
another key without resealing. Only the last chunk has the last octet of its nonce set, and it is empty only in an empty
file: the size of the plaintext follows from the file's, and a file cut at a chunk's end does not open there.

Reading needs the secret key, or the DEK that `wrap_dek` keeps beside the file's row: opening it so costs microseconds
where HPKE costs 0.1 ms. Unverified octets are never handed out.

Also seals whole blobs under a symmetric key (snapshots, sidecars): `seal_blob`, `open_blob`.
Never opens or names a file: it gets an `atomic.NewFile` or a descriptor.
"""

import hashlib
import os
import struct
from enum import IntEnum
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from .api import AccountId, Unavailable
from .paths import parse_account_id

MAGIC = b"PREAUC1\n"
BLOB_MAGIC = b"PREAUB1\n"
CHUNK = 65_536
TAG = 16
DEK_BYTES = 32
WRAPPED_DEK_BYTES = 40
X25519 = 1

_CHUNK_LOG2 = 16
_FIXED = 36  # octets before the encapsulation
_HEADER_SIZE = {X25519: 128}
_WRAPPED_SIZE = {X25519: 80}
_NOTHING = memoryview(b"")
_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealKind(IntEnum):
    """What a sealed file is: one cannot be passed off as another."""

    MESSAGE = 1
    ITEM = 2
    DOCUMENT = 3
    SPOOL = 4


class InvalidSeal(Unavailable):
    """Not sealed, damaged, cut, another account's or kind's, or another key's: which of them cannot be told."""


class Sink(Protocol):
    """Where a writer puts sealed octets: atomic.NewFile, or anything with its write."""

    def write(self, data: bytes) -> None:
        """Take octets, in order."""


def looks_sealed(head: bytes) -> bool:
    """Whether a file that begins so may be sealed (asked on adoption and rebuild only; the row knows otherwise)."""
    return head.startswith(MAGIC)


def sealed_size(size: int) -> int:
    """The octets of a sealed file whose plaintext has `size`."""
    chunks = max(1, -(-size // CHUNK))
    return _HEADER_SIZE[X25519] + size + chunks * TAG


def plain_size(sealed: int, suite: int = X25519) -> int:
    """The plaintext octets of a sealed file of `sealed` octets. Raise InvalidSeal for a size no sealed file has."""
    body = sealed - _HEADER_SIZE[suite]
    chunks = -(-body // (CHUNK + TAG))
    size = body - chunks * TAG
    if size < 0 or (chunks > 1 and size <= (chunks - 1) * CHUNK) or chunks < 1:
        raise InvalidSeal("a file of this size is not a sealed one")
    return size


# ---------------------------------------------------------------------------------------------------------------------
# The parts of a file


@lru_cache(maxsize=1_024)
def _place(account: AccountId | None, kind: SealKind) -> bytes:
    owner = bytes(16) if account is None else parse_account_id(account)
    return owner + bytes((kind,))


def _info(head: bytes, key_id: bytes, place: bytes) -> bytes:
    return b"preau dek\x00" + head + key_id + place


@lru_cache(maxsize=1_024)
def _holder(public_key: bytes) -> tuple[X25519PublicKey, bytes]:
    """A public key, parsed, and its id."""
    return X25519PublicKey.from_public_bytes(public_key), hashlib.sha256(public_key).digest()[:8]


def _nonce(index: int, last: bool) -> bytes:
    return bytes(7) + struct.pack(">IB", index, last)


_ONLY_NONCE = _nonce(0, True)


def _new_head(file_id: bytes) -> bytes:
    return MAGIC + bytes((X25519, _CHUNK_LOG2, 0, 0)) + file_id


def _new_header(head: bytes, public_key: bytes, place: bytes, dek: bytes) -> bytes:
    holder, key_id = _holder(public_key)
    wrapped = _HPKE.encrypt(dek, holder, info=_info(head, key_id, place))
    return (head + key_id + wrapped).ljust(_HEADER_SIZE[X25519], b"\x00")


def _header_size(head: bytes) -> int:
    """Check the fixed part of a header; how long the whole is."""
    if len(head) < _FIXED or head[:8] != MAGIC:
        raise InvalidSeal("not a sealed file")
    size = _HEADER_SIZE.get(head[8])
    if size is None or head[9] != _CHUNK_LOG2 or head[10:12] != b"\x00\x00":
        raise InvalidSeal("sealed in a way this version does not know")
    if len(head) < size or head[_FIXED + _WRAPPED_SIZE[head[8]] : size].strip(b"\x00"):
        raise InvalidSeal("the header is damaged")
    return size


def _unwrap_header(header: bytes, place: bytes, secret_key: bytes) -> bytes:
    info = _info(header[:28], header[28:36], place)
    wrapped = header[_FIXED : _FIXED + _WRAPPED_SIZE[header[8]]]
    try:
        return _HPKE.decrypt(wrapped, X25519PrivateKey.from_private_bytes(secret_key), info=info)
    except (InvalidTag, ValueError) as error:
        raise InvalidSeal("the key does not open this file") from error


# ---------------------------------------------------------------------------------------------------------------------
# Writing


class SealWriter:
    """Seals as it is written; keeps less than two chunks in memory. The caller syncs and publishes the file.

    The header goes out with the first chunk: who begins a file on an event loop and finishes it in a thread does the
    costly wrapping of its key there.
    """

    __slots__ = ("_aad", "_cipher", "_file", "_head", "_index", "_pending", "_place", "_public_key", "dek", "file_id", "size")

    def __init__(self, file: Sink, public_key: bytes, account: AccountId | None, kind: SealKind) -> None:
        """Begin a file for the holder of `public_key`'s secret half. `account`: None in the spool alone."""
        _holder(public_key)  # a key that is none is told now
        random = os.urandom(DEK_BYTES + 16)
        self.dek, self.file_id = random[:DEK_BYTES], random[DEK_BYTES:]
        self.size = 0  # octets of plaintext
        self._public_key = public_key
        self._place = _place(account, kind)
        self._head = _new_head(self.file_id)
        self._aad = self._head + self._place
        self._cipher = AESGCM(self.dek)
        self._index = 0
        self._pending = bytearray()
        self._file = file

    def write(self, data: bytes) -> None:
        """Add plaintext. Raise what the file's write raises."""
        self.size += len(data)
        pending = self._pending
        pending += data
        # A full chunk waits until something follows: only then is it known not to be the last.
        if len(pending) > CHUNK:
            end = (len(pending) - 1) // CHUNK * CHUNK
            with memoryview(pending) as view:
                for begin in range(0, end, CHUNK):
                    self._seal(view[begin : begin + CHUNK], last=False)
            del pending[:end]

    def finish(self) -> None:
        """Seal the last chunk. Nothing may be written after it."""
        self._seal(self._pending, last=True)
        self._pending = bytearray()

    def _seal(self, chunk: bytearray | memoryview, *, last: bool) -> None:
        if self._index == 0:
            self._file.write(_new_header(self._head, self._public_key, self._place, self.dek))
        self._file.write(self._cipher.encrypt(_nonce(self._index, last), chunk, self._aad))
        self._index += 1


class _Gathered:
    __slots__ = ("pieces",)

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)


def seal_bytes(data: bytes, public_key: bytes, account: AccountId | None, kind: SealKind) -> tuple[bytes, bytes]:
    """A whole small file, sealed, and its DEK."""
    gathered = _Gathered()
    writer = SealWriter(gathered, public_key, account, kind)
    writer.write(data)
    writer.finish()
    return b"".join(gathered.pieces), writer.dek


# ---------------------------------------------------------------------------------------------------------------------
# Reading


class SealReader:
    """An open sealed file; reads the chunks it needs. Owns the descriptor. One thread at a time."""

    __slots__ = (
        "_aad",
        "_cached",
        "_cached_index",
        "_cipher",
        "_descriptor",
        "_first",
        "_header_size",
        "_last_index",
        "dek",
        "size",
    )

    def __init__(
        self, descriptor: int, place: bytes, secret_key: bytes | None, dek: bytes | None, octets: int | None = None
    ) -> None:
        """Read and check the header; see open_sealed."""
        self._descriptor = descriptor
        if octets is None:
            octets = os.fstat(descriptor).st_size
        # The first chunk comes along: most messages are one read.
        head = _pread(descriptor, min(octets, _HEADER_SIZE[X25519] + CHUNK + TAG), 0)
        self._header_size = _header_size(head)
        self.size = plain_size(octets, head[8])
        if dek is None:
            if secret_key is None:
                raise InvalidSeal("no key to open this file with")
            dek = _unwrap_header(head[: self._header_size], place, secret_key)
        self.dek = dek
        self._first = memoryview(head)[self._header_size :]
        self._aad = head[:28] + place
        self._cipher = AESGCM(dek)
        self._last_index = max(0, (self.size - 1) // CHUNK)
        self._cached_index = -1
        self._cached = b""

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Plaintext from `offset`, `length` octets of it or as many as there are. Raise InvalidSeal, Unavailable."""
        end = self.size if length is None else min(self.size, offset + max(0, length))
        offset = max(0, offset)
        if offset >= end:
            if self.size == 0:
                self._chunk(0)  # an empty file, too, must prove that it is whole
            return b""
        first, last = offset // CHUNK, (end - 1) // CHUNK
        if first == last:
            chunk = self._chunk(first)
            begin = first * CHUNK
            return chunk if end - offset == len(chunk) else chunk[offset - begin : end - begin]
        pieces = [self._chunk(index) for index in range(first, last + 1)]
        pieces[0] = pieces[0][offset - first * CHUNK :]
        pieces[-1] = pieces[-1][: end - last * CHUNK]
        return b"".join(pieces)

    def _chunk(self, index: int) -> bytes:
        if index == self._cached_index:
            return self._cached
        sealed: bytes | memoryview
        if index == 0 and self._first:
            sealed, self._first = self._first, _NOTHING
        else:
            length = min(CHUNK, self.size - index * CHUNK) + TAG
            sealed = _pread(self._descriptor, length, self._header_size + index * (CHUNK + TAG))
        try:
            chunk = self._cipher.decrypt(_nonce(index, index == self._last_index), sealed, self._aad)
        except (InvalidTag, ValueError) as error:
            raise InvalidSeal("damaged, cut, or sealed for another place") from error
        self._cached_index, self._cached = index, chunk
        return chunk

    def close(self) -> None:
        """Close the descriptor and forget what was read."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
        self._cached, self._first = b"", _NOTHING
        self._cached_index = -1

    def __enter__(self) -> "SealReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_sealed(
    descriptor: int,
    *,
    account: AccountId | None,
    kind: SealKind,
    secret_key: bytes | None = None,
    dek: bytes | None = None,
    octets: int | None = None,
) -> SealReader:
    """Open a sealed file by its DEK, or by the secret key. The reader owns the descriptor; it is closed on errors too.

    `octets`: the file's size, for who knows it. Raise InvalidSeal, Unavailable. `reader.dek` is what wrap_dek may keep for
    the next time.
    """
    try:
        return SealReader(descriptor, _place(account, kind), secret_key, dek, octets)
    except BaseException:
        os.close(descriptor)
        raise


def open_bytes(
    data: bytes, *, account: AccountId | None, kind: SealKind, secret_key: bytes | None = None, dek: bytes | None = None
) -> tuple[bytes, bytes]:
    """The plaintext of a whole sealed file in memory, and its DEK. Raise InvalidSeal."""
    place = _place(account, kind)
    header_size = _header_size(data)
    size = plain_size(len(data), data[8])
    if dek is None:
        if secret_key is None:
            raise InvalidSeal("no key to open this file with")
        dek = _unwrap_header(data[:header_size], place, secret_key)
    cipher, aad, last = AESGCM(dek), data[:28] + place, max(0, (size - 1) // CHUNK)
    if not last:  # as nearly all are
        try:
            return cipher.decrypt(_ONLY_NONCE, data[header_size:], aad), dek
        except (InvalidTag, ValueError) as error:
            raise InvalidSeal("damaged, cut, or sealed for another place") from error
    pieces = []
    with memoryview(data) as view:
        for index in range(last + 1):
            begin = header_size + index * (CHUNK + TAG)
            try:
                pieces.append(cipher.decrypt(_nonce(index, index == last), view[begin : begin + CHUNK + TAG], aad))
            except (InvalidTag, ValueError) as error:
                raise InvalidSeal("damaged, cut, or sealed for another place") from error
    return b"".join(pieces), dek


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    try:
        data = os.pread(descriptor, length, offset)
        while data and len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
            data += more
        return data
    except OSError as error:
        raise Unavailable(os.strerror(error.errno or 0)) from error


# ---------------------------------------------------------------------------------------------------------------------
# The DEK beside the row


class DekWrapping:
    """Wraps DEKs for the holder of the secret key: AES key wrap (RFC 3394) under HKDF(secret key, "dek").

    Made once an open account: the derivation, at first use, costs more than the wrapping.
    """

    __slots__ = ("_derived", "_secret_key")

    def __init__(self, secret_key: bytes) -> None:
        """Derive nothing yet."""
        self._secret_key = secret_key
        self._derived = b""

    @property
    def _key(self) -> bytes:
        if not self._derived:
            self._derived = HKDF(SHA256(), 32, salt=None, info=b"dek").derive(self._secret_key)
        return self._derived

    def wrap(self, dek: bytes) -> bytes:
        """40 octets to keep in the row."""
        return aes_key_wrap(self._key, dek)

    def unwrap(self, wrapped: bytes) -> bytes:
        """The DEK. Raise InvalidSeal: then open by the secret key and wrap anew."""
        try:
            return aes_key_unwrap(self._key, wrapped)
        except (InvalidUnwrap, ValueError) as error:
            raise InvalidSeal("the wrapped key does not open") from error


def wrap_dek(secret_key: bytes, dek: bytes) -> bytes:
    """DekWrapping for one DEK."""
    return DekWrapping(secret_key).wrap(dek)


def unwrap_dek(secret_key: bytes, wrapped: bytes) -> bytes:
    """DekWrapping for one DEK. Raise InvalidSeal."""
    return DekWrapping(secret_key).unwrap(wrapped)


# ---------------------------------------------------------------------------------------------------------------------
# Blobs under a symmetric key


def _blob_cipher(key: bytes, purpose: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt=salt, info=b"preau blob\x00" + purpose).derive(key))


def seal_blob(key: bytes, purpose: bytes, data: bytes) -> bytes:
    """`data` sealed under `key` for one purpose (b"snapshot 12", b"sidecar"): magic, salt of 16, AES-256-GCM.

    Each blob has a key of its own from the random salt, so the nonce can be zero however many there are.
    """
    salt = os.urandom(16)
    return BLOB_MAGIC + salt + _blob_cipher(key, purpose, salt).encrypt(bytes(12), data, BLOB_MAGIC)


def open_blob(key: bytes, purpose: bytes, blob: bytes) -> bytes:
    """What seal_blob sealed. Raise InvalidSeal."""
    if len(blob) < 24 + TAG or blob[:8] != BLOB_MAGIC:
        raise InvalidSeal("not a sealed blob")
    try:
        with memoryview(blob) as view:
            return _blob_cipher(key, purpose, blob[8:24]).decrypt(bytes(12), view[24:], BLOB_MAGIC)
    except InvalidTag as error:
        raise InvalidSeal("damaged, or sealed for another purpose or key") from error
