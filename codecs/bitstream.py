"""The bytes around entropy-coded groups: headers of group blobs and sample blobs (docs/format.md sections 3, 4).

This module and the kernel's coder_blob.c are the only ones that know these headers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .checksum import crc32c
from .errors import ArgumentError, CorruptError, TruncatedError, UnsupportedVersionError
from .reference_header import HAS_ESCAPES, RESERVED, coder_lanes, varint

__all__ = ["MAX_PIXELS", "GroupInfo", "SampleInfo", "group_info", "join_sample", "split_sample"]

MAGIC = b"LS"
VERSION = 1
MODES = ("L", "RGB")
FINGERPRINT_BYTES = 2
REDUCTION = 8
MAX_PIXELS = 1 << 28
"""No picture, its sides rounded up to multiples of 8, has more pixels: a bound on the memory that a forged header can
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
    """The header of a sample blob: the picture's size in pixels, its mode, and where its groups lie in the blob."""

    width: int
    height: int
    mode: str
    fingerprint: bytes
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width of the latent's planes."""
        return -(-self.height // REDUCTION), -(-self.width // REDUCTION)


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number at `at` and the place after it; TruncatedError, or CorruptError for a spelling that is not the
    shortest or is longer than four bytes."""
    value = 0
    for shift in range(0, 28, 7):
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


def group_info(blob: bytes | memoryview, sha256: bytes | None = None) -> GroupInfo:
    """Reads the header of a group blob; checks its CRC-32C if the artifact's SHA-256 (32 bytes) is given.

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
    if blob[0] & RESERVED or unused or blob[2] > MAX_QUALITY or not _plane_fits(height, width):
        said = f"planes of {height} x {width} at quality {blob[2]}, flags {blob[0] & 15}"
        raise CorruptError(f"The group blob claims {said}.")
    return GroupInfo(VERSION, coder_lanes(height, width), blob[1], blob[2], height, width, escapes, at + 4)


def join_sample(groups: Sequence[bytes], width: int, height: int, mode: str, sha256: bytes) -> bytes:
    """A sample blob of a picture's groups, in order; sha256: of the artifact, 32 bytes."""
    if mode not in MODES:
        raise ArgumentError(f"mode is {mode!r}; it is one of {MODES}.")
    if not 1 <= len(groups) <= MAX_GROUPS:
        raise ArgumentError(f"A sample has 1 to {MAX_GROUPS} groups, not {len(groups)}.")
    check_size(width, height)
    if max(map(len, groups)) >= 1 << 28:
        raise ArgumentError("A group blob of 2^28 bytes or more cannot be joined: cut the picture into tiles.")
    head = MAGIC + bytes([VERSION << 4 | MODES.index(mode)]) + sha256[:FINGERPRINT_BYTES]
    head += varint(width) + varint(height) + bytes([len(groups)]) + b"".join(varint(len(g)) for g in groups)
    return b"".join([head, struct.pack("<I", crc32c(head)), *groups])


def check_size(width: int, height: int) -> None:
    """ArgumentError unless a picture of this size can be coded."""
    if not _plane_fits(-(-height // REDUCTION), -(-width // REDUCTION)):
        raise ArgumentError(
            f"A picture of {width} x {height} pixels cannot be coded: it has 1 to {MAX_PIXELS} pixels, and at most "
            f"{MAX_SIDE * REDUCTION} on a side; cut it into tiles."
        )


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
    width, at = read_varint(blob, 3 + FINGERPRINT_BYTES)
    height, at = read_varint(blob, at)
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
    mode = blob[2] & 15
    if mode >= len(MODES) or not _plane_fits(-(-height // REDUCTION), -(-width // REDUCTION)):
        raise CorruptError(f"The sample blob claims a picture of {width} x {height} pixels in mode {mode}.")
    starts, ends, at = [], [], at + 4
    for size in sizes:
        starts.append(at)
        at += size
        ends.append(at)
    return SampleInfo(width, height, MODES[mode], bytes(blob[3 : 3 + FINGERPRINT_BYTES]), tuple(starts), tuple(ends))
