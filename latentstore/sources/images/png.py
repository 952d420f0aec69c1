"""PNG: chunks are checked here, and Pillow decodes what decides pixels.

- Only chunks that decide pixels may make an image unreadable. Text, dates and the like are not looked at, however
  broken or large they are. A colour profile or EXIF data that is broken is left out.
- Pillow does not check pixel data: neither their checksums, nor that all rows are there.
- Pillow reduces 16-bit colour by the high byte. So its pixel data are decoded twice, for the high and the low bytes.
- Pillow compares a transparent gray of 1, 2 or 4 bits with 8-bit pixels. Transparent colours are looked for here.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from latentstore.codecs.errors import ImageError
from latentstore.sources.images.color import DISPLAY_P3, made_profile
from latentstore.sources.images.frame import Frame
from latentstore.sources.images.limits import check_size
from latentstore.sources.images.orientation import orientation
from latentstore.sources.images.pixels import sixteen_to_eight, told_of_dark
from latentstore.sources.remarks import Remark

__all__ = ["PNG_MAGIC", "read_png"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
PIXELS = CRITICAL | {b"tRNS"}
# Chunks that Pillow gets, and their least lengths. Those of an animation are not among them: the image that is no
# animation is the first frame.
FOR_PILLOW = {
    b"IHDR": 13, b"PLTE": 3, b"IDAT": 0, b"tRNS": 0, b"eXIf": 0, b"IEND": 0, b"pHYs": 9, b"gAMA": 4, b"sRGB": 1,
    b"cHRM": 32, b"tIME": 0, b"bKGD": 0, b"sBIT": 0,
}  # fmt: skip
CHECKED = FOR_PILLOW.keys() | {b"iCCP", b"cICP"}
WORDS = {b"iCCP": "colour profile", b"eXIf": "EXIF data", b"gAMA": "gamma", b"cHRM": "primaries"}
# Samples of a pixel by the colour type of the header; and the bits that a sample may have.
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
# Where the passes of an interlaced image begin, and their steps: x, y, dx, dy.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
MAX_PROFILE_BYTES = 4 << 20
# The largest number of a row's filter.
MOST_FILTER = 4
PIECE, SMALL_PIECE = 1 << 16, 1 << 7
# The header of zlib, before the compressed data.
ZLIB_HEAD_BYTES = 2


@dataclass
class Png:
    """The chunks of a PNG that matter.

    depth: bits of a sample. kind: colour type. kept: chunks for Pillow, whole; all: whether these are the whole file.
    pixels: the content of its IDAT chunks. found: contents of other chunks. damage: why pixels are missing, or "".
    """

    width: int = 0
    height: int = 0
    depth: int = 8
    kind: int = RGB
    interlaced: bool = False
    kept: list[memoryview] = field(default_factory=list)
    all: bool = True
    pixels: list[memoryview] = field(default_factory=list)
    found: dict[bytes, memoryview] = field(default_factory=dict)
    damage: str = ""
    remarks: list[Remark] = field(default_factory=list)

    def passes(self) -> list[tuple[int, int]]:
        """(rows, bytes of a row with its filter) of each pass; of an image that is not interlaced, there is one."""
        bits, found = self.depth * SAMPLES[self.kind], []
        for x, y, dx, dy in PASSES if self.interlaced else ((0, 0, 1, 1),):
            width, height = -(-(self.width - x) // dx), -(-(self.height - y) // dy)
            if width > 0 and height > 0:
                found.append((height, 1 + -(-width * bits // 8)))
        return found

    def expected_bytes(self) -> int:
        """Bytes of its pixel data before compression."""
        return sum(height * length for height, length in self.passes())


def read_png(data: bytes, keep: bool) -> Frame:
    """The image of a PNG. keep: accept damaged pixel data and say so. ImageError if it cannot be read."""
    png = _parsed(data)
    if png.damage and not keep:
        raise ImageError(png.damage)
    file = _mended(png) if png.damage else data if png.all else b"".join([PNG_MAGIC, *png.kept])
    opened = _opened(file)
    turn = orientation(opened) if b"eXIf" in png.found else 1
    try:
        image, values = _decoded(png, file, opened)
    except (OSError, SyntaxError, ValueError) as error:
        png.damage = _missing(png) or f"damaged: {error}"
        if not keep:
            raise ImageError(png.damage) from error
        file = _mended(png)
        image, values = _decoded(png, file, _opened(file))
    if not png.damage and _last_rows_are_black(png, image):
        png.damage = _missing(png)
        if png.damage and not keep:
            raise ImageError(png.damage)
    if png.damage:
        png.remarks.append(Remark("damaged", png.damage))
    return Frame(_cleared(png, image, values), turn, _profile(png), png.remarks)


def _parsed(data: bytes) -> Png:
    """ImageError unless the header makes sense; all other damage of pixels is in `damage`."""
    png, at, view = Png(), len(PNG_MAGIC), memoryview(data)
    while True:
        if at + 12 > len(data):
            png.damage = png.damage or f"cut short: the PNG ends after {len(data)} bytes, without its last chunk"
            break
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        content = view[at + 8 : end - 4]
        if at == len(PNG_MAGIC):
            if name == b"CgBI":
                raise ImageError("a PNG in Apple's own form for iPhones (CgBI), which is not read: convert it to PNG")
            if name != b"IHDR" or length < 13:
                raise ImageError("damaged: the PNG does not begin with its header")
        if end > len(data):
            got = max(0, len(data) - at - 12)
            said = f"cut short: PNG chunk {_name(name)} at byte {at} has {got} of {length} bytes"
            png.damage = png.damage or said
            if name == b"IDAT":
                png.pixels.append(content)
            break
        right = name in CHECKED and zlib.crc32(view[at + 4 : end - 4]) == int.from_bytes(view[end - 4 : end], "big")
        if not right and name in PIXELS:
            png.damage = png.damage or f"damaged: the checksum of PNG chunk {_name(name)} at byte {at} does not match"
            if name == b"IHDR":
                raise ImageError(png.damage)
        if name not in CRITICAL and not name[0] & 32:
            raise ImageError(f"a PNG with a chunk {_name(name)} that changes its pixels, which is not read")
        if name in WORDS and not right:
            png.remarks.append(Remark("metadata", f"{WORDS[name]} of a wrong checksum"))
        if right and length >= FOR_PILLOW.get(name, length + 1):
            png.kept.append(view[at:end])
        else:
            png.all = False
        if name == b"IHDR":
            _header(png, content)
        elif name == b"IDAT":
            png.pixels.append(content)
        elif right:
            png.found.setdefault(name, content)
        if name == b"IEND":
            break
        at = end
    if not png.kept:
        raise ImageError(png.damage)
    if not png.pixels:
        raise ImageError(png.damage or "damaged: the PNG has no pixel data")
    if png.kind == PALETTE and b"PLTE" not in png.found:
        raise ImageError(png.damage or "damaged: the PNG has no palette")
    return png


def _header(png: Png, content: memoryview) -> None:
    png.width, png.height, png.depth, png.kind, method, filtering, interlacing = struct.unpack_from(">IIBBBBB", content)
    if png.depth not in DEPTHS.get(png.kind, ()) or method or filtering or interlacing > 1:
        raise ImageError(f"damaged: a PNG of colour type {png.kind} has no samples of {png.depth} bits")
    check_size(png.width, png.height)
    png.interlaced = interlacing == 1


def _name(chunk: bytes) -> str:
    return chunk.decode("ascii", "backslashreplace")


def _opened(file: bytes) -> PngImageFile:
    return PngImageFile(BytesIO(file))


# ---- 16 bits


def _decoded(png: Png, file: bytes, opened: PngImageFile) -> tuple[Image.Image, np.ndarray | None]:
    """The image in 8 bits; and its samples, where they have 16."""
    if png.depth < 16:
        opened.load()
        return opened, None
    values = _deep(png, file, opened)
    colours = values[..., :-1] if png.kind in (GRAY_ALPHA, RGBA) else values
    png.remarks += told_of_dark(int(colours.max()))
    return Image.fromarray(sixteen_to_eight(values)), values


def _deep(png: Png, file: bytes, opened: PngImageFile) -> np.ndarray:
    """uint16 (H, W) of gray, and (H, W, samples) of others."""
    if png.kind == GRAY:
        return np.asarray(opened)
    if png.kind == GRAY_ALPHA:
        # Gray and alpha of 16 bits lie in the file as RGBA of 8 bits does.
        header = struct.pack(">IIBBBBB", png.width, png.height, 8, RGBA, 0, 0, png.interlaced)
        at = len(PNG_MAGIC)
        image = _opened(file[:at] + _chunk(b"IHDR", header) + file[at + 25 :])
        return np.asarray(image).view(">u2").astype(np.uint16)
    low = _opened(file)
    (tile,) = low.tile
    assert isinstance(tile.args, str)
    # Read as if the low byte came last, the high byte of each sample is its low one.
    low.tile = [tile._replace(args=tile.args.replace(";16B", ";16L"))]
    return np.asarray(opened).astype(np.uint16) << 8 | np.asarray(low)


# ---- transparency


def _cleared(png: Png, image: Image.Image, values: np.ndarray | None) -> Image.Image:
    """White in place of the transparent gray or colour. values: 16-bit samples."""
    clear = png.found.get(b"tRNS")
    if clear is None or png.kind not in (GRAY, RGB):
        return image
    image.info.pop("transparency", None)
    count = SAMPLES[png.kind]
    if len(clear) < 2 * count:
        png.remarks.append(Remark("metadata", "transparent colour"))
        return image
    most = (1 << png.depth) - 1
    key = np.array(struct.unpack_from(f">{count}H", clear)) & most
    if values is None:
        values = np.asarray(image.convert("L") if image.mode == "1" else image)
        key = key * 255 // most
    same = values == key if count == 1 else (values == key).all(-1)
    if not same.any():
        return image
    if same.all():
        png.remarks.append(Remark("transparent"))
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image).copy()
    pixels[same] = 255
    return Image.fromarray(pixels)


# ---- colours


def _profile(png: Png) -> bytes | None:
    """The profile of its colours: what cICP, iCCP, sRGB, gAMA and cHRM say, the first of them that is there."""
    found = png.found
    if (code := found.get(b"cICP")) is not None and len(code) >= 4:
        primaries, transfer = code[0], code[1]
        if (primaries, transfer) == (1, 13):
            return None
        if (primaries, transfer) == (12, 13):
            return made_profile(None, DISPLAY_P3)
        png.remarks.append(Remark("color-profile", f"cICP {primaries}/{transfer}"))
    if (coded := found.get(b"iCCP")) is not None:
        try:
            name_ends = bytes(coded[:80]).index(0)
            profile = zlib.decompressobj().decompress(coded[name_ends + 2 :], MAX_PROFILE_BYTES)
        except (ValueError, zlib.error):
            profile = b""
        if len(profile) >= 128:
            return profile
        png.remarks.append(Remark("metadata", "colour profile"))
    if b"sRGB" in found or (b"gAMA" not in found and b"cHRM" not in found):
        return None
    gamma, points = found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    if (gamma and len(gamma) < 4) or (points and len(points) < 32):
        png.remarks.append(Remark("metadata", "gamma or primaries"))
        return None
    return made_profile(
        struct.unpack_from(">I", gamma)[0] / 100000 if gamma else None,
        [value / 100000 for value in struct.unpack_from(">8I", points)] if points else None,
    )


# ---- damage


def _last_rows_are_black(png: Png, image: Image.Image) -> bool:
    """Whether rows may be missing: Pillow leaves such rows 0, and no error."""
    if png.interlaced:
        return True
    last_pixel = image.getpixel((png.width - 1, png.height - 1))
    if any(last_pixel) if isinstance(last_pixel, tuple) else last_pixel:
        return False
    last = image.crop((0, png.height - 1, png.width, png.height))
    return not np.asarray(last).any()


def _missing(png: Png) -> str:
    """What is missing of the pixel data, "" for nothing."""
    expected = png.expected_bytes()
    if sum(map(len, _inflated(png, PIECE)[0])) == expected:
        return ""
    pieces, broken = _inflated(png, SMALL_PIECE)
    got = sum(map(len, pieces))
    if broken:
        return f"damaged: its pixel data cannot be decompressed after {got} of {expected} bytes"
    return f"cut short: its pixel data ends after {got} of {expected} bytes"


def _inflated(png: Png, step: int) -> tuple[list[bytes], bool]:
    """Pixel data as far as it can be decompressed, at most as long as it should be; and whether damage ended it.

    step: bytes that an error loses. The checksum at its end is not looked at: it tells no sample.
    """
    out: list[bytes] = []
    inflater, rest, head = zlib.decompressobj(-zlib.MAX_WBITS), png.expected_bytes(), ZLIB_HEAD_BYTES
    for whole in png.pixels:
        chunk, head = whole[head:], max(head - len(whole), 0)
        for start in range(0, len(chunk), step):
            piece: bytes | memoryview = chunk[start : start + step]
            while piece and rest > 0 and not inflater.eof:
                try:
                    done = inflater.decompress(piece, min(rest, PIECE))
                except zlib.error:
                    return out, True
                out.append(done)
                rest -= len(done)
                piece = inflater.unconsumed_tail
    return out, False


def _mended(png: Png) -> bytes:
    """A PNG of the rows that are there; all others are 0."""
    rows = bytearray(b"".join(_inflated(png, SMALL_PIECE)[0]).ljust(png.expected_bytes(), b"\0"))
    at = 0
    for height, length in png.passes():
        lines = np.frombuffer(rows, np.uint8, height * length, at).reshape(height, length)
        lines[lines[:, 0] > MOST_FILTER] = 0
        at += height * length
    kept = [chunk for chunk in png.kept if bytes(chunk[4:8]) not in (b"IDAT", b"IEND")]
    return b"".join([PNG_MAGIC, *kept, _chunk(b"IDAT", zlib.compress(rows, 1)), _chunk(b"IEND", b"")])


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
