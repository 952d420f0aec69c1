"""The samples of a TIFF page, of any number of bits and in any order.

Bytes are decompressed by libtiff, through Pillow: a directory is put behind the file that describes the same strips or
tiles as gray bytes. What follows is done here: predictors, byte order, bits, planes, tiles.
"""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from latentstore.codecs.errors import ImageError
from latentstore.sources.images.limits import MAX_SAMPLE_BYTES
from latentstore.sources.images.tiff import tags
from latentstore.sources.images.tiff.colours import named
from latentstore.sources.images.tiff.tags import Page
from latentstore.sources.remarks import Remark

__all__ = ["COMPRESSIONS", "read_samples"]

# Those that keep bytes as they are: none, LZW, deflate by two numbers, PackBits, LZMA, Zstandard.
COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 34925: "LZMA", 50000: "Zstd"}
NONE, DIFFERENCES, FLOAT_BYTES = 1, 2, 3
UNSIGNED, SIGNED, FLOATS, UNSAID = 1, 2, 3, 4
KINDS = {UNSIGNED: "u", SIGNED: "i", FLOATS: "f", UNSAID: "u"}
BYTES = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}
REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


def read_samples(data: bytes, page: Page, keep: bool, remarks: list[Remark]) -> np.ndarray:
    """(H, W, samples) in the page's own type; samples of an odd number of bits as uint8 or uint16.

    keep: fill what is missing with zeros, and say so. ImageError if they cannot be read.
    """
    kind, bits = _type(page)
    planes = page.samples if page.one(tags.PLANAR, 1) == 2 else 1
    width, height = page.size
    pieces = _Pieces(page, page.samples // planes, bits)
    if pieces.total_bytes * planes > MAX_SAMPLE_BYTES:
        raise ImageError(
            f"its samples take {pieces.total_bytes * planes:,} bytes; at most {MAX_SAMPLE_BYTES:,} are read"
        )
    parts = []
    for plane in range(planes):
        rows = pieces.decoded(data, plane, keep, remarks)
        values = _values(rows, page, kind, bits, pieces)
        parts.append(pieces.joined(values)[:height, :width])
    return parts[0] if planes == 1 else np.concatenate(parts, -1)


def _type(page: Page) -> tuple[str, int]:
    """(letter of NumPy's type, bits of a sample)."""
    bits, formats = set(page.bits), page.formats
    kind = KINDS.get(min(formats)) if len(formats) == 1 else None
    if len(page.bits) != page.samples or len(bits) != 1 or kind is None:
        raise ImageError(f"{named(page)}, which is not read: convert it to PNG first")
    (count,) = bits
    if count not in BYTES[kind] and not (kind == "u" and 1 <= count <= 16):
        raise ImageError(f"{named(page)}, which is not read: convert it to PNG first")
    return kind, count


class _Pieces:
    """The strips or tiles of a page. samples: of a pixel in one plane."""

    def __init__(self, page: Page, samples: int, bits: int) -> None:
        self.page, self.samples = page, samples
        width, height = page.size
        self.tiled = tags.TILES in page.tags
        self.width = page.one(tags.TILE_WIDTH, 0) if self.tiled else width
        self.rows = page.one(tags.TILE_LENGTH, 0) if self.tiled else min(page.one(tags.ROWS, height), height)
        if self.width < 1 or self.rows < 1:
            raise ImageError(f"damaged: a TIFF of tiles or strips of {self.width} x {self.rows} pixels")
        self.across, self.down = -(-width // self.width), -(-height // self.rows)
        self.row_bytes = -(-self.width * samples * bits // 8)
        self.piece_bytes = self.row_bytes * self.rows
        # The last strip ends with the image; tiles are always whole.
        self.height = self.down * self.rows if self.tiled else height
        self.total_bytes = self.row_bytes * self.across * self.height

    def decoded(self, data: bytes, plane: int, keep: bool, remarks: list[Remark]) -> np.ndarray:
        """The bytes of a plane, uint8 (tiles across, rows, bytes of a row in a tile)."""
        page, count = self.page, self.across * self.down
        offsets = page.tags.get(tags.TILES if self.tiled else tags.STRIPS, ())[plane * count :][:count]
        lengths = page.tags.get(tags.TILE_BYTES if self.tiled else tags.STRIP_BYTES, ())[plane * count :][:count]
        if len(offsets) < count:
            raise ImageError(f"damaged: a TIFF that has {len(offsets)} of {count} strips or tiles")
        if len(lengths) < count:
            lengths = tuple(len(data) - min(offset, len(data)) for offset in offsets)
        if page.one(tags.COMPRESSION, 1) == 1:
            return self._plain(data, offsets, keep, remarks)
        return self._unpacked(data, offsets, lengths)

    def _plain(self, data: bytes, offsets: tuple[int, ...], keep: bool, remarks: list[Remark]) -> np.ndarray:
        view, out = memoryview(data), np.zeros((self.across, self.height, self.row_bytes), np.uint8)
        missing = 0
        for i, offset in enumerate(offsets):
            top = i // self.across * self.rows
            part = out[i % self.across, top : top + self.rows]
            got = np.frombuffer(view[offset : offset + part.size], np.uint8)
            missing += part.size - len(got)
            part.reshape(-1)[: len(got)] = got
        if missing:
            said = f"cut short: {missing} of {out.size} bytes of its pixels are missing"
            if not keep:
                raise ImageError(said)
            remarks.append(Remark("damaged", said))
        return REVERSED[out] if self.page.one(tags.FILL_ORDER, 1) == 2 else out

    def _unpacked(self, data: bytes, offsets: tuple[int, ...], lengths: tuple[int, ...]) -> np.ndarray:
        page = self.page
        entries: list[tuple[int, tuple[int, ...]]] = [
            (tags.WIDTH, (self.row_bytes * self.across,)),
            (tags.LENGTH, (self.height,)),
            (tags.BITS, (8,)),
            (tags.COMPRESSION, (page.one(tags.COMPRESSION, 1),)),
            (tags.PHOTOMETRIC, (1,)),
            (tags.FILL_ORDER, (page.one(tags.FILL_ORDER, 1),)),
            (tags.SAMPLES, (1,)),
        ]
        if self.tiled:
            entries += [(tags.TILE_WIDTH, (self.row_bytes,)), (tags.TILE_LENGTH, (self.rows,))]
            entries += [(tags.TILES, offsets), (tags.TILE_BYTES, lengths)]
        else:
            entries += [(tags.STRIPS, offsets), (tags.ROWS, (self.rows,)), (tags.STRIP_BYTES, lengths)]
        image = TiffImageFile(BytesIO(_described(data, entries)))
        image.load()
        rows = np.asarray(image)
        return rows.reshape(self.height, self.across, self.row_bytes).swapaxes(0, 1)

    def joined(self, values: np.ndarray) -> np.ndarray:
        """(rows, columns, samples) of values (tiles across, rows, columns of a tile, samples)."""
        if self.across == 1:
            return values[0]
        return values.swapaxes(0, 1).reshape(self.height, -1, self.samples)


def _described(data: bytes, entries: list[tuple[int, tuple[int, ...]]]) -> bytes:
    """The bytes of a file with a directory of these entries in place of its own. Offsets stay what they are."""
    start = len(data)
    after = start + 2 + 12 * len(entries) + 4
    table, values = struct.pack("<H", len(entries)), b""
    for tag, numbers in sorted(entries):
        packed = struct.pack(f"<{len(numbers)}I", *(min(number, 0xFFFFFFFF) for number in numbers))
        if len(packed) > 4:
            table += struct.pack("<HHII", tag, 4, len(numbers), after + len(values))
            values += packed
        else:
            table += struct.pack("<HHI", tag, 4, len(numbers)) + packed
    return b"".join([b"II*\0", struct.pack("<I", start), data[8:], table, bytes(4), values])


def _values(rows: np.ndarray, page: Page, kind: str, bits: int, pieces: _Pieces) -> np.ndarray:
    """(tiles across, rows, columns, samples) of bytes (tiles across, rows, bytes of a row)."""
    shape = (*rows.shape[:2], pieces.width, pieces.samples)
    predictor = page.one(tags.PREDICTOR, NONE) if page.one(tags.COMPRESSION, 1) != 1 else NONE
    if bits not in BYTES[kind]:
        if predictor != NONE:
            raise ImageError(f"damaged: a TIFF with predictor {predictor} and samples of {bits} bits")
        return _unpacked_bits(rows, bits, shape)
    size = bits // 8
    if predictor == FLOAT_BYTES:
        return _float_bytes(rows, shape, size)
    values = np.ascontiguousarray(rows).view(f"{page.order}{kind}{size}").reshape(shape)
    if predictor == DIFFERENCES:
        numbers = values.astype(f"={kind}{size}").view(f"u{size}")
        return np.cumsum(numbers, axis=2, dtype=f"u{size}").view(f"{kind}{size}")
    return values


def _float_bytes(rows: np.ndarray, shape: tuple[int, ...], size: int) -> np.ndarray:
    """Undoes the predictor of floats: their bytes lie in planes, the highest first, as differences along the row."""
    samples = shape[3]
    steps = np.ascontiguousarray(rows).reshape(*rows.shape[:2], -1, samples)
    summed = np.cumsum(steps, axis=2, dtype=np.uint8).reshape(*rows.shape[:2], size, -1)
    return np.ascontiguousarray(summed.swapaxes(-1, -2)).view(f">f{size}").reshape(shape)


def _unpacked_bits(rows: np.ndarray, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    """Samples of an odd number of bits, the highest bit first; each row begins at a byte."""
    count = shape[2] * shape[3]
    ones = np.unpackbits(rows, axis=-1)[..., : count * bits].reshape(*rows.shape[:2], count, bits)
    values = np.zeros((*rows.shape[:2], count), np.uint16)
    for bit in range(bits):
        values = values << 1 | ones[..., bit]
    return values.reshape(shape)
