"""The header of a group blob (docs/format.md section 4, docs/format-audio.md section S3).

This module and the kernel's `coder/blob.c` are the only ones that know it.
"""

from __future__ import annotations

from dataclasses import dataclass

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.varint import read_varint
from latentstore.codecs.errors import CorruptError, TruncatedError, UnsupportedVersionError
from latentstore.codecs.modality import IMAGE, Modality

__all__ = ["VERSION", "GroupInfo", "at_once", "group_info"]

VERSION = 1
HAS_ESCAPES, SPARSE, RESERVED = 1, 2, 12
"""Flags of the first byte, below the version."""


@dataclass(frozen=True)
class GroupInfo:
    """The header of a group blob.

    quality: or, of audio, the step code of the sample; 0 where the writer was not told it. header_bytes precede the
    payload, which is empty where all values are zeros, and else begins with the states of `lanes`, 4 bytes each.
    """

    version: int
    lanes: int
    model: int
    quality: int
    height: int
    width: int
    escapes: int
    header_bytes: int


def group_info(blob: bytes | memoryview, sha256: bytes | None = None, modality: Modality = IMAGE) -> GroupInfo:
    """Reads the header of a group blob that is not cut into segments.

    sha256: of the artifact, 32 bytes: then the blob's CRC-32C is checked. modality: of the codec.
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
    unused, sparse = blob[0] & HAS_ESCAPES and not escapes, bool(blob[0] & SPARSE)
    quality, rows = modality.from_group(blob[2], height)
    bad = quality > modality.highest_quality or not modality.fits(rows, width)
    # planes of nothing but zeros never have the sparse form
    bad |= sparse and (not modality.has_sparse or len(blob) == at + 4)
    if blob[0] & RESERVED or unused or bad:
        said = f"planes of {rows} x {width} at quality {quality}, flags {blob[0] & 15}"
        raise CorruptError(f"The group blob claims {said}.")
    lanes = 1 if sparse else modality.lanes(rows, width)
    return GroupInfo(VERSION, lanes, blob[1], quality, rows, width, escapes, at + 4)


def at_once(height: int, width: int) -> int:
    """How many group blobs of such planes the kernel decodes in one call in little more time than one of them.

    It fills sixteen lanes with streams of as many blobs as that takes, and goes through two such bundles in turn.
    """
    return max(2, 16 // IMAGE.lanes(height, width))
