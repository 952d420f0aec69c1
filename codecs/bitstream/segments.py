"""Groups of long audio, cut into segments that decode alone (docs/format-audio.md section S2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.group import VERSION, group_info
from latentstore.codecs.bitstream.varint import read_varint, varint
from latentstore.codecs.errors import CorruptError, TruncatedError
from latentstore.codecs.modality import AUDIO, MAX_AREA

__all__ = ["SEGMENT", "is_segmented", "join_segments", "split_segments", "step_code_of"]

SEGMENT = 1024
"""Instants that a group blob of audio holds at most; longer latents are cut into blobs of so many."""
_SEGMENTED = VERSION << 4 | 2


def is_segmented(blob: bytes | memoryview) -> bool:
    """Whether a group of audio is a row of segments, to be taken apart by `split_segments`."""
    return len(blob) > 0 and blob[0] == _SEGMENTED


def join_segments(blobs: Sequence[bytes], instants: int, sha256: bytes) -> bytes:
    """A group of audio of more than SEGMENT instants from the group blobs of its segments, in order.

    sha256: of the artifact, 32 bytes.
    """
    head = bytes([_SEGMENTED]) + varint(instants) + b"".join(varint(len(b)) for b in blobs)
    return b"".join([head, struct.pack("<I", crc32c(head, crc32c(sha256))), *blobs])


def split_segments(blob: bytes | memoryview, sha256: bytes) -> tuple[int, npt.NDArray[np.int64]]:
    """Instants of a segmented group, and where its segments' blobs begin and the last ends: int64 (segments + 1,).

    The segments themselves may be missing: whoever takes one checks that. TruncatedError, CorruptError.
    """
    blob = memoryview(blob)
    instants, at = read_varint(blob, 1)
    if not SEGMENT < instants <= MAX_AREA:
        raise CorruptError(f"The group blob claims segments of {instants} instants.")
    sizes = np.empty(-(-instants // SEGMENT), np.int64)
    for i in range(len(sizes)):
        sizes[i], at = read_varint(blob, at)
    if len(blob) < at + 4:
        raise TruncatedError("The group blob ends inside its header.")
    if crc32c(blob[:at], crc32c(sha256)) != int.from_bytes(blob[at : at + 4], "little"):
        raise CorruptError("The CRC-32C of the group blob's header does not match: it is damaged.")
    return instants, np.concatenate([[0], np.cumsum(sizes)]) + at + 4


def step_code_of(group: bytes | memoryview) -> int:
    """The step code that a group blob of audio says, in segments or not; 0 where the writer was not told it."""
    blob = memoryview(group)
    if is_segmented(blob):
        instants, at = read_varint(blob, 1)
        for _ in range(-(-instants // SEGMENT)):
            _, at = read_varint(blob, at)
        blob = blob[at + 4 :]
    return group_info(blob, modality=AUDIO).quality
