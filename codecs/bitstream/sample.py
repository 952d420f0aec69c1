"""The bytes around entropy-coded groups: headers of group blobs and sample blobs (docs/format.md sections 3, 4, and
docs/format-audio.md sections S2, S3).

This module and the kernel's coder_blob.c are the only ones that know these headers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import ArgumentError, CorruptError, TruncatedError, UnsupportedVersionError
from latentstore.codecs.reference.header import HAS_ESCAPES, RESERVED, coder_lanes, varint

__all__ = [
    "AUDIO",
    "MAX_PIXELS",
    "SEGMENT",
    "GroupInfo",
    "SampleInfo",
    "at_once",
    "group_info",
    "is_segmented",
    "join_sample",
    "join_segments",
    "split_sample",
    "split_segments",
    "step_code_of",
]

MAGIC = b"LS"
VERSION = 1
AUDIO = "audio"
MODES = {"L": 0, "RGB": 1, AUDIO: 8}
SEGMENT = 1024
"""Instants of audio that a group blob holds at most; longer latents are cut into blobs of so many."""
_SEGMENTED = 2
FINGERPRINT_BYTES = 2
REDUCTION = 8
MAX_PIXELS = 1 << 28
"""No image, its sides rounded up to multiples of 8, has more pixels: a bound on the memory that a forged header can
ask for. Neither side of its latent is beyond MAX_SIDE: narrow planes cost more memory than their area."""
MAX_AREA = MAX_PIXELS // REDUCTION**2
MAX_SIDE = 1 << 16
MAX_GROUPS = 64
MAX_QUALITY = 100


@dataclass(frozen=True)
class GroupInfo:
    """The header of a group blob. `quality` is 0 where the writer was not told it; `header_bytes` precede the
    payload, which begins with the states of `lanes` (4 bytes each) unless it is empty: all zeros."""

    version: int
    lanes: int
    model: int
    quality: int
    height: int
    width: int
    escapes: int
    header_bytes: int


@dataclass(frozen=True)
class SampleInfo:
    """The header of a sample blob: the image's size in pixels, or 1 and the samples of audio and their rate in
    hertz (0 of images), its mode, and where its groups lie in the blob."""

    width: int
    height: int
    mode: str
    fingerprint: bytes
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    rate: int = 0


def read_varint(data: bytes | memoryview, at: int, longest: int = 4) -> tuple[int, int]:
    """The number at `at` and the place after it; TruncatedError, or CorruptError for a spelling that is not the
    shortest or takes more bytes than the longest may."""
    value = 0
    for shift in range(0, 7 * longest, 7):
        if at >= len(data):
            raise TruncatedError("The header of the blob is cut short.")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if not byte & 128:
            if shift and not byte:
                break
            return value, at
    raise CorruptError("The header of the blob holds a number that is not spelled as the format asks.")


def at_once(height: int, width: int) -> int:
    """How many group blobs of such planes the kernel decodes in one call in little more time than one of them.

    It fills sixteen lanes with streams of as many blobs as that takes, and goes through two such bundles in turn."""
    return max(2, 16 // coder_lanes(height, width))


def group_info(blob: bytes | memoryview, sha256: bytes | None = None, audio: bool = False) -> GroupInfo:
    """Reads the header of a group blob; checks its CRC-32C if the artifact's SHA-256 (32 bytes) is given.

    audio: it is one of a codec of audio, and not of segments; `quality` then is the step code.
    UnsupportedVersionError, TruncatedError, CorruptError.
    """
    blob = memoryview(blob)
    if not len(blob):
        raise TruncatedError("The group blob is empty.")
    if blob[0] >> 4 != VERSION:
        raise UnsupportedVersionError(
            f"The group blob is of format version {blob[0] >> 4}; this release reads version {VERSION}."
        )
    if len(blob) < 9:
        raise TruncatedError(f"The group blob has {len(blob)} bytes; its header alone takes 9.")
    height, at = read_varint(blob, 3)
    width, at = read_varint(blob, at)
    escapes = 0
    if blob[0] & HAS_ESCAPES:
        escapes, at = read_varint(blob, at)
    if len(blob) < at + 4:
        raise TruncatedError("The group blob ends inside its header.")
    if sha256 is not None:
        expected = int.from_bytes(blob[at : at + 4], "little")
        if crc32c(blob[at + 4 :], crc32c(blob[:at], crc32c(sha256))) != expected:
            raise CorruptError("The group blob's CRC-32C does not match: it is damaged, or of another artifact.")
    unused = blob[0] & HAS_ESCAPES and not escapes
    bad = height != 1 if audio else blob[2] > MAX_QUALITY
    if blob[0] & RESERVED or unused or bad or not _plane_fits(height, width):
        said = f"planes of {height} x {width} at quality {blob[2]}, flags {blob[0] & 15}"
        raise CorruptError(f"The group blob claims {said}.")
    lanes = 1 if audio else coder_lanes(height, width)
    return GroupInfo(VERSION, lanes, blob[1], blob[2], height, width, escapes, at + 4)


def join_sample(groups: Sequence[bytes], width: int, height: int, mode: str, sha256: bytes, rate: int = 0) -> bytes:
    """A sample blob of a signal's groups, in order; sha256: of the artifact, 32 bytes.

    Of audio, width is how many samples it has, height is 1, and rate is theirs in hertz.
    """
    if mode not in MODES:
        raise ArgumentError(f"mode is {mode!r}; it is one of {sorted(MODES)}.")
    if not 1 <= len(groups) <= MAX_GROUPS:
        raise ArgumentError(f"A sample has 1 to {MAX_GROUPS} groups, not {len(groups)}.")
    if mode == AUDIO:
        check_audio(width, rate)
    else:
        check_size(width, height)
    if max(map(len, groups)) >= 1 << 28:
        raise ArgumentError("A group blob of 2^28 bytes or more cannot be joined: cut the signal into parts.")
    head = MAGIC + bytes([VERSION << 4 | MODES[mode]]) + sha256[:FINGERPRINT_BYTES]
    head += varint(width) + varint(rate if mode == AUDIO else height)
    head += bytes([len(groups)]) + b"".join(varint(len(g)) for g in groups)
    return b"".join([head, struct.pack("<I", crc32c(head)), *groups])


def check_size(width: int, height: int) -> None:
    """ArgumentError unless an image of this size can be coded."""
    if not _plane_fits(-(-height // REDUCTION), -(-width // REDUCTION)):
        raise ArgumentError(
            f"An image of {width} x {height} pixels cannot be coded: it has 1 to {MAX_PIXELS} pixels, and at most "
            f"{MAX_SIDE * REDUCTION} on a side; cut it into tiles."
        )


def check_audio(samples: int, rate: int) -> None:
    """ArgumentError unless audio of so many samples at this rate in hertz can be coded."""
    if not 1 <= samples < 1 << 35:
        raise ArgumentError(f"Audio of {samples} samples cannot be coded: it has at least 1.")
    if not 1 <= rate < 1 << 28:
        raise ArgumentError(f"The rate is {rate}; it is a whole number of hertz, at least 1.")


def is_segmented(blob: bytes | memoryview) -> bool:
    """Whether a group of audio is a row of segments, to be taken apart by `split_segments`."""
    return len(blob) > 0 and blob[0] == VERSION << 4 | _SEGMENTED


def join_segments(blobs: Sequence[bytes], instants: int, sha256: bytes) -> bytes:
    """A group of audio of more than SEGMENT instants from the group blobs of its segments, in order."""
    head = bytes([VERSION << 4 | _SEGMENTED]) + varint(instants) + b"".join(varint(len(b)) for b in blobs)
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
    return group_info(blob, audio=True).quality


def _plane_fits(height: int, width: int) -> bool:
    return 1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and height * width <= MAX_AREA


def split_sample(blob: bytes | memoryview) -> SampleInfo:
    """Reads and checks the header of a sample blob; of the groups only their places are checked.

    A blob cut after some of its groups is read as far as it goes by `Codec.read_latent(blob, channels)`; here the
    ends may lie beyond the blob, and whoever takes a group checks that.
    UnsupportedVersionError, TruncatedError, CorruptError.
    """
    blob = memoryview(blob)
    if len(blob) < 3:
        raise TruncatedError(f"The sample blob has {len(blob)} bytes; its header takes more.")
    if bytes(blob[:2]) != MAGIC:
        raise CorruptError("These bytes do not begin as a sample blob does ('LS').")
    if blob[2] >> 4 != VERSION:
        raise UnsupportedVersionError(
            f"The sample blob is of format version {blob[2] >> 4}; this release reads version {VERSION}."
        )
    audio = blob[2] & 15 == MODES[AUDIO]
    width, at = read_varint(blob, 3 + FINGERPRINT_BYTES, 5 if audio else 4)
    height, at = read_varint(blob, at)
    height, rate = (1, height) if audio else (height, 0)
    if at >= len(blob):
        raise TruncatedError("The sample blob ends inside its header.")
    count, at = blob[at], at + 1
    if not 1 <= count <= MAX_GROUPS:
        raise CorruptError(f"The sample blob claims {count} groups.")
    sizes = []
    for _ in range(count):
        size, at = read_varint(blob, at)
        sizes.append(size)
    if len(blob) < at + 4:
        raise TruncatedError("The sample blob ends inside its header.")
    if crc32c(blob[:at]) != int.from_bytes(blob[at : at + 4], "little"):
        raise CorruptError("The CRC-32C of the sample blob's header does not match: it is damaged.")
    mode = {number: name for name, number in MODES.items()}.get(blob[2] & 15)
    if audio and (not width or not rate):
        raise CorruptError(f"The sample blob claims {width} samples of audio at {rate} hertz.")
    if mode is None or not (audio or _plane_fits(-(-height // REDUCTION), -(-width // REDUCTION))):
        raise CorruptError(f"The sample blob claims an image of {width} x {height} pixels in mode {blob[2] & 15}.")
    starts, ends, at = [], [], at + 4
    for size in sizes:
        starts.append(at)
        at += size
        ends.append(at)
    fingerprint = bytes(blob[3 : 3 + FINGERPRINT_BYTES])
    return SampleInfo(width, height, mode, fingerprint, tuple(starts), tuple(ends), rate)
