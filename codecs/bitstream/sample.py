"""The sample blob: the groups of one signal behind a small header (docs/format.md section 3, docs/format-audio.md
section S2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.group import VERSION
from latentstore.codecs.bitstream.varint import read_varint, varint
from latentstore.codecs.errors import ArgumentError, CorruptError, TruncatedError, UnsupportedVersionError
from latentstore.codecs.modality import MODALITIES, Modality, modality_of

__all__ = ["SampleInfo", "join_sample", "split_sample"]

MAGIC = b"LS"
FINGERPRINT_BYTES = 2
MAX_GROUPS = 64
MODES = {mode: number for modality in MODALITIES for mode, number in modality.modes.items()}
"""Modes of codecs and their numbers in the header."""


@dataclass(frozen=True)
class SampleInfo:
    """The header of a sample blob.

    width, height: of the image in pixels; of audio, its samples and 1. mode: of the codec. fingerprint: the first bytes
    of its artifact's SHA-256. starts, ends: where the groups lie in the blob. rate: of audio, in hertz; else 0.
    """

    width: int
    height: int
    mode: str
    fingerprint: bytes
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    rate: int = 0

    @property
    def modality(self) -> Modality:
        return modality_of(self.mode)


def join_sample(groups: Sequence[bytes], width: int, height: int, mode: str, sha256: bytes, rate: int = 0) -> bytes:
    """A sample blob of a signal's groups, in order.

    width, height: of the image in pixels; of audio, its samples and 1. sha256: of the artifact, 32 bytes. rate: of
    audio, in hertz.
    """
    if mode not in MODES:
        raise ArgumentError(f"mode is {mode!r}; it is one of {sorted(MODES)}.")
    if not 1 <= len(groups) <= MAX_GROUPS:
        raise ArgumentError(f"A sample has 1 to {MAX_GROUPS} groups, not {len(groups)}.")
    modality = modality_of(mode)
    modality.check(width, height, rate)
    if max(map(len, groups)) >= 1 << 28:
        raise ArgumentError("A group blob of 2^28 bytes or more cannot be joined: cut the signal into parts.")
    head = MAGIC + bytes([VERSION << 4 | MODES[mode]]) + sha256[:FINGERPRINT_BYTES]
    head += b"".join(map(varint, modality.header_numbers(width, height, rate)))
    head += bytes([len(groups)]) + b"".join(varint(len(g)) for g in groups)
    return b"".join([head, struct.pack("<I", crc32c(head)), *groups])


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
    mode = {number: name for name, number in MODES.items()}.get(blob[2] & 15)
    if mode is None:
        raise CorruptError(f"The sample blob claims mode {blob[2] & 15}, which is none.")
    modality = modality_of(mode)
    first, at = read_varint(blob, 3 + FINGERPRINT_BYTES, modality.longest_number)
    second, at = read_varint(blob, at)
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
    width, height, rate = modality.from_header(first, second)
    starts, ends, at = [], [], at + 4
    for size in sizes:
        starts.append(at)
        at += size
        ends.append(at)
    fingerprint = bytes(blob[3 : 3 + FINGERPRINT_BYTES])
    return SampleInfo(width, height, mode, fingerprint, tuple(starts), tuple(ends), rate)
