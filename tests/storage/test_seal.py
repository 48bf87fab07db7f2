"""PREAUC1: what is sealed comes back, and nothing that was touched, moved, cut or opened by another does."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from preau.storage import seal
from preau.storage.api import AccountId, Unavailable
from preau.storage.atomic import NewFile, open_for_reading
from preau.storage.seal import (
    CHUNK,
    TAG,
    DekWrapping,
    InvalidSeal,
    SealKind,
    SealReader,
    SealWriter,
    looks_sealed,
    open_blob,
    open_bytes,
    open_sealed,
    plain_size,
    seal_blob,
    seal_bytes,
    sealed_size,
    unwrap_dek,
    wrap_dek,
)
from store_contract import ANNE, BRUNO

SECRET = bytes(range(32))
PUBLIC = X25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
OTHER = bytes(range(1, 33))
HEADER = 128
MESSAGE = SealKind.MESSAGE
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5]


def content(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def sealed(size: int, account: AccountId = ANNE, kind: SealKind = MESSAGE) -> bytes:
    return seal_bytes(content(size), PUBLIC, account, kind)[0]


def opened(data: bytes, account: AccountId | None = ANNE, kind: SealKind = MESSAGE, secret: bytes = SECRET) -> bytes:
    return open_bytes(data, account=account, kind=kind, secret_key=secret)[0]


def reader_of(path: Path, data: bytes, dek: bytes | None = None) -> SealReader:
    path.write_bytes(data)
    return open_sealed(open_for_reading(path), account=ANNE, kind=MESSAGE, secret_key=SECRET, dek=dek)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1 << 30, CHUNK, 40_000])
def test_what_is_written_is_read(tmp_path: Path, size: int, piece: int) -> None:
    file = NewFile(tmp_path / "draft")
    writer = SealWriter(file, PUBLIC, ANNE, MESSAGE)
    for begin in range(0, size, piece):
        writer.write(content(size)[begin : begin + piece])
    writer.finish()
    file.publish(tmp_path / "file")
    assert writer.size == size
    assert (tmp_path / "file").stat().st_size == file.size == sealed_size(size)
    assert plain_size(file.size) == size
    for dek in (None, writer.dek):
        with open_sealed(
            open_for_reading(tmp_path / "file"), account=ANNE, kind=MESSAGE, secret_key=None if dek else SECRET, dek=dek
        ) as reader:
            assert reader.size == size
            assert reader.dek == writer.dek
            assert reader.read() == content(size)
            assert reader.read() == content(size)
    assert opened((tmp_path / "file").read_bytes()) == content(size)


@given(size=st.integers(0, 3 * CHUNK), offset=st.integers(-5, 3 * CHUNK + 5), length=st.none() | st.integers(-5, 2 * CHUNK))
@settings(max_examples=60)
def test_any_part_can_be_read(tmp_path_factory: pytest.TempPathFactory, size: int, offset: int, length: int | None) -> None:
    path = tmp_path_factory.mktemp("seal") / "file"
    with reader_of(path, sealed(size)) as reader:
        begin = max(0, offset)
        end = size if length is None else max(0, begin + max(0, length)) if offset >= 0 else max(0, offset + max(0, length))
        assert reader.read(offset, length) == content(size)[begin:end]


def test_a_part_reads_only_its_chunks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with reader_of(tmp_path / "file", sealed(20 * CHUNK)) as reader:
        reads: list[tuple[int, int]] = []
        real = os.pread

        def pread(descriptor: int, length: int, offset: int) -> bytes:
            reads.append((length, offset))
            return real(descriptor, length, offset)

        monkeypatch.setattr(os, "pread", pread)
        assert reader.read(15 * CHUNK + 100, 50) == content(20 * CHUNK)[15 * CHUNK + 100 : 15 * CHUNK + 150]
        assert reader.read(15 * CHUNK + 150, 50) == content(20 * CHUNK)[15 * CHUNK + 150 : 15 * CHUNK + 200]
        assert reads == [(CHUNK + TAG, HEADER + 15 * (CHUNK + TAG))]


def test_memory_is_bounded_while_writing() -> None:
    pieces: list[int] = []

    class _Sink:
        def write(self, data: bytes) -> None:
            pieces.append(len(data))

    writer = SealWriter(_Sink(), PUBLIC, ANNE, MESSAGE)
    for _ in range(1_000):
        writer.write(b"x" * 1_000)
        assert writer.size - (sum(pieces) - HEADER) <= 2 * CHUNK
    writer.finish()
    assert max(pieces) == CHUNK + TAG


# ---------------------------------------------------------------------------------------------------------------------
# Refused

_PLACES = {
    "magic": 0,
    "suite": 8,
    "chunk size": 9,
    "flags, high": 10,
    "flags, low": 11,
    "file id, first": 12,
    "file id, last": 27,
    "key id, first": 28,
    "key id, last": 35,
    "encapsulation, first": 36,
    "encapsulation, last": 67,
    "sealed DEK, first": 68,
    "sealed DEK, last": 99,
    "tag of the DEK": 115,
    "padding, first": 116,
    "padding, last": 127,
    "first chunk, first octet": HEADER,
    "first chunk, last octet": HEADER + CHUNK - 1,
    "first chunk, tag": HEADER + CHUNK + TAG - 1,
    "middle chunk": HEADER + CHUNK + TAG + 5,
    "last chunk": HEADER + 2 * (CHUNK + TAG) + 3,
    "last chunk, tag": HEADER + 2 * (CHUNK + TAG) + 100 + TAG - 1,
}


@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("place", _PLACES.values(), ids=_PLACES.keys())
def test_no_bit_may_differ(tmp_path: Path, place: int, bit: int) -> None:
    data = bytearray(sealed(2 * CHUNK + 100))
    data[place] ^= 1 << bit
    # The top bit of an X25519 point is masked (RFC 7748 section 5), but HPKE binds the encapsulation as it was sent.
    with pytest.raises(InvalidSeal):
        opened(bytes(data))
    with pytest.raises(InvalidSeal), reader_of(tmp_path / "file", bytes(data)) as reader:
        reader.read()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("octets", [1, TAG - 1, TAG, CHUNK, CHUNK + TAG, 2 * (CHUNK + TAG)])
def test_no_end_may_be_cut(tmp_path: Path, size: int, octets: int) -> None:
    data = sealed(size)
    cut = data[: max(0, len(data) - octets)]
    with pytest.raises(InvalidSeal):
        opened(cut)
    with pytest.raises(InvalidSeal), reader_of(tmp_path / "file", cut) as reader:
        reader.read()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("octets", [1, TAG, CHUNK, CHUNK + TAG])
def test_nothing_may_be_added(size: int, octets: int) -> None:
    with pytest.raises(InvalidSeal):
        opened(sealed(size) + bytes(octets))


def test_an_empty_file_proves_that_it_is_whole(tmp_path: Path) -> None:
    data = bytearray(sealed(0))
    data[-1] ^= 1
    with pytest.raises(InvalidSeal), reader_of(tmp_path / "file", bytes(data)) as reader:
        reader.read()


def test_chunks_cannot_change_places() -> None:
    data = sealed(3 * CHUNK)
    chunks = [data[HEADER + i * (CHUNK + TAG) : HEADER + (i + 1) * (CHUNK + TAG)] for i in range(3)]
    assert opened(data[:HEADER] + b"".join(chunks)) == content(3 * CHUNK)
    for order in ((1, 0, 2), (0, 0, 2), (0, 2, 1), (0, 2), (0, 1, 1, 2)):
        with pytest.raises(InvalidSeal):
            opened(data[:HEADER] + b"".join(chunks[i] for i in order))


def test_headers_cannot_change_places() -> None:
    """Between two files of an account, two accounts, two kinds: with the right key for both."""
    one = sealed(100)
    for other in (sealed(100), sealed(100, BRUNO), sealed(100, ANNE, SealKind.ITEM)):
        with pytest.raises(InvalidSeal):
            opened(one[:HEADER] + other[HEADER:])
        with pytest.raises(InvalidSeal):
            opened(other[:HEADER] + one[HEADER:])
    # Nor the wrapped DEK alone.
    other = sealed(100)
    with pytest.raises(InvalidSeal):
        opened(one[:28] + other[28:HEADER] + one[HEADER:])


@pytest.mark.parametrize(
    ("account", "kind", "secret"),
    [
        pytest.param(BRUNO, MESSAGE, SECRET, id="another account"),
        pytest.param(None, MESSAGE, SECRET, id="no account"),
        pytest.param(ANNE, SealKind.ITEM, SECRET, id="another kind"),
        pytest.param(ANNE, MESSAGE, OTHER, id="another key"),
        pytest.param(ANNE, MESSAGE, bytes(32), id="zero key"),
    ],
)
def test_place_and_key_are_bound(account: AccountId | None, kind: SealKind, secret: bytes) -> None:
    data, dek = seal_bytes(b"text", PUBLIC, ANNE, MESSAGE)
    with pytest.raises(InvalidSeal):
        opened(data, account, kind, secret)
    if secret == SECRET:
        with pytest.raises(InvalidSeal):
            open_bytes(data, account=account, kind=kind, dek=dek)
    with pytest.raises(InvalidSeal):
        open_bytes(data, account=ANNE, kind=MESSAGE, dek=bytes(32))
    with pytest.raises(InvalidSeal):
        open_bytes(data, account=ANNE, kind=MESSAGE)


def test_the_spool_has_no_account() -> None:
    data = seal_bytes(b"text", PUBLIC, None, SealKind.SPOOL)[0]
    assert opened(data, None, SealKind.SPOOL) == b"text"


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_anything_else_is_refused(data: bytes) -> None:
    for attempt in (data, seal.MAGIC + data, seal.MAGIC + b"\x01\x10\x00\x00" + data):
        with pytest.raises(InvalidSeal):
            opened(attempt)


def test_errors_are_temporary_and_close_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not sealed")
    descriptor = open_for_reading(tmp_path / "file")
    with pytest.raises(Unavailable) as caught:
        open_sealed(descriptor, account=ANNE, kind=MESSAGE, secret_key=SECRET)
    assert caught.value.temporary
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_each_file_has_keys_of_its_own() -> None:
    files = [seal_bytes(b"same", PUBLIC, ANNE, MESSAGE) for _ in range(200)]
    assert len({dek for _, dek in files}) == len(files)
    assert len({data[12:28] for data, _ in files}) == len(files)
    assert len({data[HEADER:] for data, _ in files}) == len(files)
    assert all(b"same" not in data for data, _ in files)


def test_looks_sealed() -> None:
    assert looks_sealed(sealed(5)[:8])
    assert not looks_sealed(b"Return-Path: <>")
    assert not looks_sealed(b"PREAUC1")
    assert not looks_sealed(b"")


# ---------------------------------------------------------------------------------------------------------------------
# Wrapped DEKs and blobs


def test_a_wrapped_dek_opens_for_its_key_only() -> None:
    wrapping, dek = DekWrapping(SECRET), bytes(range(100, 132))
    wrapped = wrapping.wrap(dek)
    assert len(wrapped) == seal.WRAPPED_DEK_BYTES
    assert wrapping.unwrap(wrapped) == unwrap_dek(SECRET, wrapped) == dek
    assert wrap_dek(SECRET, dek) == wrapped
    for other in (bytes([wrapped[0] ^ 1]) + wrapped[1:], wrapped[:-1], wrapped + b"x", b"", bytes(40)):
        with pytest.raises(InvalidSeal):
            wrapping.unwrap(other)
    with pytest.raises(InvalidSeal):
        unwrap_dek(OTHER, wrapped)


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_a_blob_opens_for_its_key_and_purpose_only(data: bytes) -> None:
    blob = seal_blob(SECRET, b"snapshot 1", data)
    assert open_blob(SECRET, b"snapshot 1", blob) == data
    assert seal_blob(SECRET, b"snapshot 1", data) != blob
    wrong = [
        (OTHER, b"snapshot 1", blob),
        (SECRET, b"snapshot 2", blob),
        (SECRET, b"snapshot 1", blob[:-1]),
        (SECRET, b"snapshot 1", blob + b"x"),
        (SECRET, b"snapshot 1", blob[:10] + bytes([blob[10] ^ 1]) + blob[11:]),
        (SECRET, b"snapshot 1", b""),
        (SECRET, b"snapshot 1", seal.BLOB_MAGIC),
    ]
    for key, purpose, attempt in wrong:
        with pytest.raises(InvalidSeal):
            open_blob(key, purpose, attempt)


def test_nothing_secret_is_shown() -> None:
    writer = SealWriter(_Discard(), PUBLIC, ANNE, MESSAGE)
    for shown in (repr(writer), repr(DekWrapping(SECRET))):
        assert writer.dek.hex() not in shown
        assert SECRET.hex() not in shown


class _Discard:
    def write(self, data: bytes) -> None:
        pass
