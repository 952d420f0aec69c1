"""Blobs that are cut, damaged, forged or of something else: one error each, no crash, no large memory.

Statuses are the kernel's; the reference gives the same wherever a blob is refused before it is decoded.
"""

from __future__ import annotations

import subprocess
import sys
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from forged import reseal
from random_models import SHA256, latent, random_tables

from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.bitstream.sample import split_sample
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import (
    ArtifactError,
    CorruptError,
    LatentstoreError,
    TruncatedError,
    UnsupportedVersionError,
)
from latentstore.codecs.native import kernel
from latentstore.codecs.reference import stand_in as reference

TRUNCATED, CORRUPT, BAD_VERSION, WRONG_SHAPE, BAD_CRC = -2, -3, -5, -7, -8
BACKENDS = [b for b in (reference, kernel) if b is not None]
SHAPE = (3, 9, 144)
VALUES = latent(8, "sparse", *SHAPE)
VALUES[:, 4, ::9] = 99


@pytest.fixture(params=BACKENDS, ids=lambda b: b.__name__.split(".")[-1])
def backend(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


def make(backend: ModuleType) -> tuple[Any, bytes]:
    """A coder, and a blob with words and escapes in four lanes."""
    coder = backend.coder_new(SHA256, 11, *random_tables(2))
    return coder, backend.coder_encode(coder, 1, 63, VALUES)


def status(backend: ModuleType, coder: Any, blob: bytes, shape: tuple[int, ...] = SHAPE) -> tuple[int, np.ndarray]:
    out = np.zeros((1, *shape), np.int8)
    zero = np.zeros(1, np.int64)
    result, index = backend.coder_decode(coder, [blob], zero.astype(np.int32), zero, zero + len(blob), out)
    assert index == (0 if result else -1)
    return result, out[0]


def test_cut_at_every_length(backend: ModuleType) -> None:
    coder, blob = make(backend)
    header = group_info(blob).header_bytes
    for end in range(len(blob)):
        assert status(backend, coder, blob[:end])[0] == (TRUNCATED if end < header else BAD_CRC)


def test_more_bytes_than_there_are(backend: ModuleType) -> None:
    coder, blob = make(backend)
    assert status(backend, coder, blob + b"\0")[0] == BAD_CRC


def test_every_byte_changed(backend: ModuleType) -> None:
    coder, blob = make(backend)
    rng = np.random.default_rng(0)
    seen = set()
    for at in range(len(blob)):
        for value in {blob[at] ^ 1, blob[at] ^ 0x80, blob[at] ^ int(rng.integers(1, 256))}:
            result, _ = status(backend, coder, blob[:at] + bytes([value]) + blob[at + 1 :])
            seen.add(result)
            assert result < 0
    assert {BAD_VERSION, BAD_CRC} <= seen


def test_random_bytes(backend: ModuleType) -> None:
    coder, _ = make(backend)
    rng = np.random.default_rng(1)
    for size in [*range(40), 1000]:
        assert status(backend, coder, b"\x12" + rng.bytes(size))[0] < 0
        assert status(backend, coder, b"\x11\x00\x00" + rng.bytes(size))[0] < 0


def test_another_artifact(backend: ModuleType) -> None:
    _, blob = make(backend)
    for sha256 in (bytes(32), SHA256[:31] + b"\0"):
        other = backend.coder_new(sha256, 11, *random_tables(2))
        assert status(backend, other, blob)[0] == BAD_CRC


def test_another_shape(backend: ModuleType) -> None:
    coder, blob = make(backend)
    for height, width in [(144, 9), (9, 143), (1, 1), (18, 288)]:
        assert status(backend, coder, blob, (3, height, width))[0] == WRONG_SHAPE


@pytest.mark.parametrize(
    "changes",
    [
        {"flags": 0}, {"flags": 3}, {"flags": 4}, {"flags": 9}, {"flags": 1, "escapes": 0}, {"model": 2},
        {"model": 255}, {"quality": 101}, {"height": 0}, {"height": 1 << 17, "width": 1},
        {"height": 1 << 20, "width": 1 << 20}, {"escapes": 0}, {"escapes": (1 << 28) - 1}, {"payload": b""},
        {"payload": bytes(15)}, {"payload": bytes(999)},
    ],
    ids=lambda c: ",".join(f"{k}={v if isinstance(v, int) else len(v)}" for k, v in c.items()),
)  # fmt: skip
def test_forged_fields(backend: ModuleType, changes: dict[str, Any]) -> None:
    coder, blob = make(backend)
    assert reseal(blob) == blob
    result, _ = status(backend, coder, reseal(blob, **changes))
    assert result < 0
    assert result not in (BAD_CRC, BAD_VERSION)


def test_forged_payloads(backend: ModuleType) -> None:
    """Payloads that pass the checks of the header are decoded to their end, or refused: backends agree."""
    coder, blob = make(backend)
    info = group_info(blob)
    payload = blob[info.header_bytes :]
    rng = np.random.default_rng(2)
    refused = 0
    for _ in range(60):
        changed = bytearray(payload)
        for at in rng.integers(0, len(payload), rng.integers(1, 4)):
            changed[at] = rng.integers(0, 256)
        cut = int(rng.choice([0, 2, 40, len(payload) // 4 * 2]))
        del changed[len(changed) - cut :]
        escapes = int(max(0, info.escapes - rng.choice([0, 0, 2, 200]) - cut)) // 2 * 2 + info.escapes % 2
        forged = reseal(blob, payload=bytes(changed), escapes=min(escapes, info.escapes))
        result, values = status(backend, coder, forged)
        other = [b for b in BACKENDS if b is not backend]
        if other:
            theirs, expected = status(other[0], make(other[0])[0], forged)
            assert (theirs < 0) == (result < 0)
            if not result:
                np.testing.assert_array_equal(values, expected)
        refused += result < 0
    assert refused > 40


def test_the_last_word_and_the_last_escape_are_missed(backend: ModuleType) -> None:
    coder, blob = make(backend)
    info = group_info(blob)
    payload = blob[info.header_bytes :]
    end, states = len(payload) - info.escapes, 4 * info.lanes
    assert info.escapes > 0
    for forged in [
        reseal(blob, payload=payload[: end - 2] + payload[end:]),
        reseal(blob, payload=payload[:end] + b"\0\0" + payload[end:]),
        reseal(blob, payload=payload[:-1], escapes=info.escapes - 1),
        reseal(blob, payload=payload + b"\0", escapes=info.escapes + 1),
        reseal(blob, payload=bytes(states) + payload[states:]),
        reseal(blob, payload=b"\xff\xff\0\0" + payload[4:]),
    ]:
        assert status(backend, coder, forged)[0] in (TRUNCATED, CORRUPT)


SPARSE = np.where(np.random.default_rng(4).random((9, 40)) < 0.25, latent(8, "strong", 3, 9, 40), np.int8(0))


def make_sparse(backend: ModuleType) -> tuple[Any, bytes]:
    """A coder, and a blob of the sparse form with escapes."""
    coder = backend.coder_new(SHA256, 11, *random_tables(2, predicted=0.0))
    return coder, backend.coder_encode(coder, 1, 63, SPARSE)


def test_forged_sparse_payloads(backend: ModuleType) -> None:
    """No change of the payload harms, and none that leaves or lacks anything is taken: backends agree."""
    coder, blob = make_sparse(backend)
    info = group_info(blob)
    payload = blob[info.header_bytes :]
    end = len(payload) - info.escapes
    assert blob[0] & 2 and info.escapes > 1
    assert status(backend, coder, blob, SPARSE.shape)[0] == 0
    for forged in [
        reseal(blob, payload=payload[: end - 2] + payload[end:]),
        reseal(blob, payload=payload[:end] + b"\0\0" + payload[end:]),
        reseal(blob, payload=payload[:-1], escapes=info.escapes - 1),
        reseal(blob, payload=payload + b"\0", escapes=info.escapes + 1),
        reseal(blob, payload=b"", escapes=0),
        reseal(blob, flags=blob[0] & 13),
        reseal(blob, flags=blob[0] & 15 | 4),
    ]:
        assert status(backend, coder, forged, SPARSE.shape)[0] in (TRUNCATED, CORRUPT)
    rng = np.random.default_rng(2)
    for _ in range(60):
        changed = bytearray(payload)
        for at in rng.integers(0, len(payload), rng.integers(1, 4)):
            changed[at] = rng.integers(0, 256)
        forged = reseal(blob, payload=bytes(changed))
        result, values = status(backend, coder, forged, SPARSE.shape)
        for other in BACKENDS:
            theirs, expected = status(other, make_sparse(other)[0], forged, SPARSE.shape)
            assert (theirs < 0) == (result < 0)
            if not result:
                np.testing.assert_array_equal(values, expected)


def test_a_sparse_group_of_predicted_channels_is_refused(backend: ModuleType) -> None:
    coder = backend.coder_new(SHA256, 11, *random_tables(2, predicted=1.0))
    _, blob = make_sparse(backend)
    assert status(backend, coder, blob, SPARSE.shape)[0] == CORRUPT


@pytest.mark.parametrize("shape", [(3, 5, 5), (3, 324, 4), (3, 36, 36), (3, 64, 64)])
def test_the_bad_blob_among_many_is_named(backend: ModuleType, shape: tuple[int, ...]) -> None:
    coder = backend.coder_new(SHA256, 11, *random_tables(2))
    blobs = [backend.coder_encode(coder, 1, 0, latent(i, "plain", *shape)) for i in range(6)]
    info = group_info(blobs[4])
    payload = blobs[4][info.header_bytes :]
    broken = [
        blobs[4][:-1],
        reseal(blobs[4], payload=payload[: 4 * info.lanes], escapes=0),
        reseal(blobs[4], payload=payload[:-1], escapes=info.escapes - 1) if info.escapes else b"",
    ]
    for bad in broken:
        mixed = [*blobs[:4], bad, *blobs[5:]]
        starts = np.zeros(6, np.int64)
        out = np.zeros((6, *shape), np.int8)
        lengths = np.array([len(b) for b in mixed], np.int64)
        result, index = backend.coder_decode(coder, mixed, np.arange(6, dtype=np.int32), starts, lengths, out)
        assert (result < 0, index) == (True, 4)


# through the codec


@pytest.fixture(scope="module")
def sample(codec: Any) -> bytes:
    rng = np.random.default_rng(3)
    image = np.clip(rng.normal(128, 40, (9, 13, 3)).repeat(8, 0).repeat(8, 1), 0, 255)
    return codec.compress(image.astype(np.uint8)[:70, :99])


def test_a_sample_cut_at_every_length(codec: Any, sample: bytes) -> None:
    ends = split_sample(sample).ends
    for end in range(len(sample)):
        with pytest.raises(TruncatedError):
            codec.decompress(sample[:end])
        if end < ends[0]:
            with pytest.raises(TruncatedError):
                codec.read_latent(sample[:end], channels=codec.group_channels)
    prefix = codec.read_latent(sample[: ends[0]], channels=codec.group_channels)
    np.testing.assert_array_equal(prefix, codec.read_latent(sample)[: codec.group_channels])


def test_a_sample_with_a_flipped_bit_anywhere(codec: Any, sample: bytes) -> None:
    for at in range(len(sample)):
        changed = bytearray(sample)
        changed[at] ^= 1 << at % 8
        with pytest.raises((CorruptError, UnsupportedVersionError, ArtifactError)):
            codec.read_latent(changed)


def test_the_sample_with_a_flipped_bit_is_named(codec: Any, sample: bytes) -> None:
    changed = sample[:-1] + bytes([sample[-1] ^ 1])
    with pytest.raises(CorruptError) as caught:
        codec.read_latent([sample, sample, changed, sample])
    assert caught.value.index in (2, 4 * 2 + 3)


def test_a_group_in_the_place_of_a_smaller_one(codec: Any, sample: bytes) -> None:
    info = split_sample(sample)
    group = sample[info.starts[0] : info.ends[0]]
    out = np.empty((1, codec.group_channels, 2, 2), np.int8)
    with pytest.raises(CorruptError, match=r"9 x 13 where 2 x 2 are expected"):
        codec.read_groups(Blobs.whole([group]), out)


FORGED = """
import resource, time
import numpy as np
from latentstore.codecs import errors, load_codec
from latentstore.codecs.bitstream.sample import join_sample
from latentstore.codecs.bitstream.varint import varint
from latentstore.codecs.bitstream.checksum import crc32c
codec = load_codec("rgb-f8c48")
sha = bytes.fromhex(codec.sha256)
codec.decompress(codec.compress(np.zeros((64, 64, 3), np.uint8)))

def peak():
    # Not ru_maxrss, which counts what the process that began this one had.
    try:
        lines = open("/proc/self/status").read().splitlines()
    except FileNotFoundError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

before, start = peak(), time.process_time()
for width, height in [(10**6, 10**6), (1 << 27, 2), (1 << 14, 1 << 14), (1 << 9, 1 << 19), (8, 1 << 19)]:
    group = bytes([0x10, 0, 50]) + varint(-(-height // 8)) + varint(-(-width // 8))
    payload = b"\\0\\0\\1\\0" * 16 + bytes(4)
    group += crc32c(payload, crc32c(group, crc32c(sha))).to_bytes(4, "little") + payload
    head = b"LS" + bytes([0x11]) + sha[:2] + varint(width) + varint(height)
    head += bytes([4]) + varint(len(group)) * 4
    blob = head + crc32c(head).to_bytes(4, "little") + group * 4
    for data in (blob, blob[:40], [blob, blob]):
        try:
            codec.read_latent(data)
        except errors.CorruptError as error:
            assert len(str(error)) < 300
        else:
            raise SystemExit("decoded")
print(peak() - before, time.process_time() - start)
"""


def test_forged_sizes_take_neither_memory_nor_time() -> None:
    done = subprocess.run([sys.executable, "-c", FORGED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    kilobytes, seconds = done.stdout.split()
    assert int(kilobytes) < 100_000
    assert float(seconds) < 20


def test_errors_come_at_once(codec: Any, sample: bytes) -> None:
    start = time.process_time()
    for _ in range(100):
        with pytest.raises(LatentstoreError):
            codec.decompress(sample[: len(sample) // 2])
    assert time.process_time() - start < 5
