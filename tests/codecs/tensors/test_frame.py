"""Frames: the kernel reads what the reference reads, and refuses what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.codecs import native
from latentstore.codecs.bitstream.varint import varint
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import CorruptError, LatentstoreError, TruncatedError, UnsupportedVersionError
from latentstore.codecs.reference.tensors import frame as reference
from latentstore.codecs.tensors.frame import join_frame, split_frames

SHA256 = bytes(range(32))
BLOB = join_frame("lossless", (3, 200), b"payload", SHA256)


def test_join_and_split(path: str) -> None:
    blobs = [join_frame("codes", shape, b"abc" * 9, SHA256) for shape in [(), (7,), (2, 300, 1), (1,) * 8]]
    joined = b"".join(blobs)
    ends = np.cumsum([len(blob) for blob in blobs])
    starts = ends - [len(blob) for blob in blobs]
    frames = split_frames(Blobs([joined], np.zeros(4, np.int32), starts, ends - starts), "codes", SHA256)
    assert frames.shapes == [(), (7,), (2, 300, 1), (1,) * 8]
    assert [bytes(frames.payloads[i]) for i in range(4)] == [b"abc" * 9] * 4


@pytest.mark.parametrize(
    ("blob", "kind", "said"),
    [
        (BLOB[:5], TruncatedError, "cut short"),
        (BLOB[:8], TruncatedError, "cut short"),
        (b"\x20" + BLOB[1:], UnsupportedVersionError, "version is 2"),
        (b"\x12" + BLOB[1:], CorruptError, "coding is codes"),
        (b"\x1f" + BLOB[1:], CorruptError, "unknown"),
        (BLOB[:1] + b"\x09" + BLOB[2:], CorruptError, "header"),
        (b"\x10\x01\x80\x00" + bytes(9), CorruptError, "header"),
        (b"\x10\x01\xff\xff\xff\xff\x01" + bytes(9), CorruptError, "header"),
        (BLOB[:-1], CorruptError, "checksum"),
        (BLOB + b"\0", CorruptError, "checksum"),
        (b"\x10\x01" + varint(32769) + bytes(5), CorruptError, "shape"),
        (b"\x10\x08" + varint((1 << 28) - 1) * 8 + bytes(5), CorruptError, "shape"),
        (b"\x10\x03" + varint(1 << 14) * 2 + varint(1) + bytes(1 << 14), CorruptError, "shape"),
    ],
)
def test_what_is_refused(path: str, blob: bytes, kind: type[LatentstoreError], said: str) -> None:
    with pytest.raises(kind, match="Tensor blob 1") as caught:
        split_frames(Blobs.whole([BLOB, blob, BLOB]), "lossless", SHA256)
    assert caught.value.index == 1 and said in str(caught.value)


def test_blobs_are_bound_to_their_coder(path: str) -> None:
    with pytest.raises(CorruptError, match="another coder"):
        split_frames(Blobs.whole([BLOB]), "lossless", SHA256[::-1])
    assert split_frames(Blobs.whole([BLOB]), "lossless", SHA256[::-1], checked=False).shapes == [(3, 200)]


@pytest.mark.skipif(native.kernel is None, reason="the kernel is not built")
@given(st.binary(max_size=24) | st.binary(max_size=20).map(lambda rest: b"\x10\x02" + rest), st.booleans())
def test_kernel_and_reference_read_alike(blob: bytes, checked: bool) -> None:
    found = []
    for module in (native.kernel, reference):
        ranks, sides, offsets = np.zeros(1, np.uint8), np.zeros((1, 8), np.int64), np.zeros(1, np.int64)
        status = module.tensor_frames(0x10, SHA256, checked, *Blobs.whole([blob]).arrays(), ranks, sides, offsets)
        found.append((status, *([ranks[0], sides.tolist(), offsets[0]] if status[0] == 0 else [])))
    assert found[0] == found[1]
