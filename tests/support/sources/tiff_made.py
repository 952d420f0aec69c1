"""TIFF files written by hand, of every kind that an array can be stored as."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

__all__ = ["CMYK", "GRAY", "RGB", "WHITE_IS_ZERO", "tiff_of", "with_thumbnail"]

WHITE_IS_ZERO, GRAY, RGB, CMYK = 0, 1, 2, 5
FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff_of(
    values: np.ndarray,
    photometric: int,
    *,
    order: str = "<",
    planar: bool = False,
    tile: int = 0,
    rows: int = 7,
    deflate: bool = False,
    predictor: int = 1,
    extra: Sequence[int] = (),
    bits: int = 0,
    more: dict[int, tuple[str, Sequence[int]]] | None = None,
) -> bytes:
    """One page. values: (H, W, samples). tile: side of its tiles, 0 for strips of `rows` rows. bits: of each sample,
    where they are not those of the type. more: other tags, as (letter of the type, values).
    """
    height, width, samples = values.shape
    pieces = []
    for plane in np.moveaxis(values, -1, 0)[..., None] if planar else [values]:
        for part in _tiles(plane, tile) if tile else [plane[top : top + rows] for top in range(0, height, rows)]:
            packed = _packed(part, order, predictor, bits)
            pieces.append(zlib.compress(packed) if deflate else packed)
    tags: dict[int, tuple[str, Sequence[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits or values.dtype.itemsize * 8] * samples),
        259: ("H", [8 if deflate else 1]),
        262: ("H", [photometric]),
        277: ("H", [samples]),
        284: ("H", [2 if planar else 1]),
        317: ("H", [predictor]),
        339: ("H", [FORMATS[values.dtype.kind]] * samples),
    }
    if extra:
        tags[338] = ("H", extra)
    starts = [8 + sum(map(len, pieces[:i])) for i in range(len(pieces))]
    sizes = ("I", list(map(len, pieces)))
    tags |= {322: ("I", [tile]), 323: ("I", [tile]), 324: ("I", starts), 325: sizes} if tile else {}
    tags |= {} if tile else {273: ("I", starts), 278: ("I", [rows]), 279: sizes}
    body = b"".join(pieces)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    at = 8 + len(body)
    return magic + struct.pack(order + "I", at) + body + _directory(tags | (more or {}), at, order)


def with_thumbnail(whole: bytes, thumbnail: bytes, child: bool) -> bytes:
    """A little-endian TIFF whose first page is the thumbnail of the other, its child or its next page."""
    first = bytearray(thumbnail)
    shift = len(first)
    moved = bytearray(whole[8:])
    (at,) = struct.unpack_from("<I", whole, 4)
    _move(moved, at - 8, shift - 8)
    (directory,) = struct.unpack_from("<I", first, 4)
    (count,) = struct.unpack_from("<H", first, directory)
    if child:
        entry = next(i for i in range(count) if struct.unpack_from("<H", first, directory + 2 + 12 * i)[0] == 330)
        struct.pack_into("<I", first, directory + 2 + 12 * entry + 8, at - 8 + shift)
    else:
        struct.pack_into("<I", first, directory + 2 + 12 * count, at - 8 + shift)
    return bytes(first + moved)


def _move(body: bytearray, directory: int, by: int) -> None:
    """Adds to every offset of a directory: those of values that are not in the entry, and those of strips."""
    (count,) = struct.unpack_from("<H", body, directory)
    for i in range(count):
        at = directory + 2 + 12 * i
        tag, kind, values, where = struct.unpack_from("<HHII", body, at)
        size = {1: 1, 3: 2, 4: 4, 7: 1}[kind] * values
        if tag in (273, 324):
            place = at + 8 if size <= 4 else where - 8
            for j in range(values):
                (offset,) = struct.unpack_from("<I", body, place + 4 * j)
                struct.pack_into("<I", body, place + 4 * j, offset + by)
        if size > 4:
            struct.pack_into("<I", body, at + 8, where + by)


def _directory(tags: dict[int, tuple[str, Sequence[int]]], at: int, order: str) -> bytes:
    table, values = struct.pack(order + "H", len(tags)), b""
    after = at + 2 + 12 * len(tags) + 4
    for tag, (letter, numbers) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        table += struct.pack(order + "HHI", tag, {"B": 7, "H": 3, "I": 4}[letter], len(numbers))
        if len(packed) <= 4:
            table += packed.ljust(4, b"\0")
        else:
            table += struct.pack(order + "I", after + len(values))
            values += packed
    return table + bytes(4) + values


def _tiles(plane: np.ndarray, side: int) -> list[np.ndarray]:
    height, width, samples = plane.shape
    whole = np.zeros((-(-height // side) * side, -(-width // side) * side, samples), plane.dtype)
    whole[:height, :width] = plane
    steps = range(0, whole.shape[0], side), range(0, whole.shape[1], side)
    return [whole[y : y + side, x : x + side] for y in steps[0] for x in steps[1]]


def _packed(part: np.ndarray, order: str, predictor: int, bits: int) -> bytes:
    size = part.dtype.itemsize
    if bits:
        flat = part.reshape(len(part), -1)
        ones = (flat[..., None] >> np.arange(bits - 1, -1, -1, dtype=flat.dtype)) & 1
        return np.packbits(ones.reshape(len(part), -1).astype(np.uint8), axis=1).tobytes()
    if predictor == 2:
        steps = part.view(f"u{size}").copy()
        steps[:, 1:] -= steps[:, :-1].copy()
        return steps.astype(f"{order}u{size}").tobytes()
    if predictor == 3:
        rows, samples = len(part), part.shape[2]
        planes = part.astype(f">f{size}").view(np.uint8).reshape(rows, -1, size).swapaxes(1, 2)
        line = np.ascontiguousarray(planes).reshape(rows, -1)
        steps = line.copy()
        steps[:, samples:] -= line[:, :-samples]
        return steps.tobytes()
    return part.astype(part.dtype.newbyteorder(order)).tobytes()
