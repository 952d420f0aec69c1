"""Checksums, numbers and the header of a group blob: docs/format.md sections 2 and 4, in plain Python."""

from __future__ import annotations

from dataclasses import dataclass

# Why a blob is refused; the kernel's numbers.
OK, TRUNCATED, CORRUPT, BAD_VERSION, WRONG_SHAPE, BAD_CRC = 0, -2, -3, -5, -7, -8

VERSION = 1
HAS_ESCAPES, SPARSE, RESERVED = 1, 2, 12
MAX_AREA = 1 << 22
MAX_SIDE = 1 << 16
MAX_LEVEL = 127
MAX_QUALITY, MAX_STEP_CODE = 100, 256 * MAX_LEVEL - 1


class RefusedError(Exception):
    """A blob that cannot be decoded; `status` says why."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


# section 2.3


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data: bytes | bytearray | memoryview, seed: int = 0) -> int:
    """The CRC-32C of `data`, going on from the CRC `seed` of what came before it."""
    crc = ~seed & 0xFFFFFFFF
    for byte in bytes(data):
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 255]
    return ~crc & 0xFFFFFFFF


# section 2.2


def varint(value: int) -> bytes:
    """A number below 2^28 in as few bytes as hold it, seven bits in each, lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def read_varint(blob: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and the place after it."""
    value = 0
    for place in range(4):
        if at + place >= len(blob):
            raise RefusedError(TRUNCATED)
        byte = blob[at + place]
        value |= (byte & 127) << 7 * place
        if byte < 128:
            if place and not byte:
                raise RefusedError(CORRUPT)
            return value, at + place + 1
    raise RefusedError(CORRUPT)


# section 5.1


def coder_lanes(height: int, width: int) -> int:
    """How many lanes code a plane of this size."""
    area = height * width
    lanes = 16 if area >= 4096 else 8 if area >= 2048 else 4 if area >= 1296 else 1
    while lanes > 1 and width < 2 * lanes:
        lanes //= 2
    return lanes


# section 4


@dataclass(frozen=True)
class Group:
    """The header of a group blob, and its payload.

    quality: or, of audio, the step code; 256 times the level code less 1 is in it.
    """

    lanes: int
    model: int
    quality: int
    height: int
    width: int
    escapes: int
    payload: bytes
    sparse: bool = False


def parse_group(blob: bytes, sha256: bytes, adaptive: bool = False) -> Group:
    """Takes a group blob apart; RefusedError if it breaks a rule that can be checked without decoding it.

    adaptive: it is one of audio, which has one row, one lane, a step code in the place of the quality, and a level code
    in the place of the number of rows.
    """
    if not blob:
        raise RefusedError(TRUNCATED)
    if blob[0] >> 4 != VERSION:
        raise RefusedError(BAD_VERSION)
    if len(blob) < 9:
        raise RefusedError(TRUNCATED)
    height, at = read_varint(blob, 3)
    width, at = read_varint(blob, at)
    escapes = 0
    if blob[0] & HAS_ESCAPES:
        escapes, at = read_varint(blob, at)
    if len(blob) < at + 4:
        raise RefusedError(TRUNCATED)
    crc, payload = int.from_bytes(blob[at : at + 4], "little"), blob[at + 4 :]
    if crc != crc32c(sha256 + blob[:at] + payload):
        raise RefusedError(BAD_CRC)
    if blob[0] & RESERVED or (blob[0] & HAS_ESCAPES and not escapes):
        raise RefusedError(CORRUPT)
    if not 0 < height <= MAX_SIDE or not 0 < width <= MAX_SIDE or height * width > MAX_AREA:
        raise RefusedError(CORRUPT)
    if height > MAX_LEVEL if adaptive else blob[2] > MAX_QUALITY:
        raise RefusedError(CORRUPT)
    quality = blob[2]
    if adaptive:
        quality, height = quality + 256 * (height - 1), 1
    sparse = bool(blob[0] & SPARSE)
    if sparse and (adaptive or not payload):
        raise RefusedError(CORRUPT)
    lanes = 1 if adaptive or sparse else coder_lanes(height, width)
    words = len(payload) - 4 * lanes - escapes
    if words < 0 or words % 2 if payload else escapes:
        raise RefusedError(CORRUPT)
    return Group(lanes, blob[1], quality, height, width, escapes, payload, sparse)


def join_group(group: Group, sha256: bytes) -> bytes:
    """The blob of a group."""
    flags = (HAS_ESCAPES if group.escapes else 0) | (SPARSE if group.sparse else 0)
    head = bytes([VERSION << 4 | flags, group.model, group.quality & 255])
    head += varint(group.height + (group.quality >> 8)) + varint(group.width)
    if group.escapes:
        head += varint(group.escapes)
    return head + crc32c(sha256 + head + group.payload).to_bytes(4, "little") + group.payload
