"""A folder of 43 entries that a real folder may hold: images of every odd kind, broken ones, and what is no image.

All that can be are made from one image, `origin()`. GOOD and BAD say what reading each must give.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from drawn_images import drawn, photo
from PIL import Image

HEIGHT, WIDTH = 120, 160

# How far the pixels of a file may lie from those of `origin()` in the mean; "gray": within 1 of its luma everywhere;
# None: the file holds something else, or loses too much to be compared.
GOOD: dict[str, float | str | None] = {
    "UPPER.JPG": 3, "alpha.png": None, "alpha.webp": None, "animated.gif": None, "animated.webp": 6,
    "bilevel.png": None, "black.png": None, "checker_extreme.png": None, "cmyk.jpg": 3,
    "exif_rotated.jpg": None, "exif_transposed.jpg": None, "float32.tif": "gray", "gray.jpg": None,
    "gray16.png": "gray", "gray16.tif": "gray", "gray_alpha.png": None, "gray_profile.png": 0,
    "naïve 图片 (1).jpg": 3, "no_extension": 0, "noise.png": None, "one_column.png": None, "one_pixel.png": None,
    "one_row.png": None, "pages.tif": 0, "palette.gif": None, "palette_transparent.png": None, "png_inside.jpg": 0,
    "jpeg_inside.png": None, "prime.png": None, "progressive.jpg": 6, "seven_by_five.png": None, "white.png": None,
    "sub/deeper/nested.bmp": 0, ".hidden.jpg": 6,
}  # fmt: skip
# What the error of each file that cannot be read says.
BAD: dict[str, str] = {
    "Thumbs.db": "not an image", "bomb.png": "60000 x 60000", "empty.jpg": "empty", "flipped_bit.png": "checksum",
    "header_only.jpg": "cut short", "notes.txt": "not an image", "text.jpg": "not an image",
    "truncated.jpg": "cut short", "zero_size.png": "0 x 10",
}  # fmt: skip


def origin() -> np.ndarray:
    """uint8 (HEIGHT, WIDTH, 3): like a photograph, and smooth enough that JPEG keeps it."""
    small = Image.fromarray(photo(HEIGHT // 4, WIDTH // 4, 3, 11))
    return np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def write_odd_images(folder: Path) -> Path:
    """Fills the folder with every file of GOOD and BAD, and an empty subfolder; returns it."""
    files = {**_colour_files(), **_gray_files(), **_small_files(), **_broken_files()}
    assert files.keys() == GOOD.keys() | BAD.keys()
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "empty_class").mkdir()
    return folder


def saved(image: Image.Image | np.ndarray, format: str, **options: Any) -> bytes:
    """The bytes of an image file that Pillow writes."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def png_of(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG of 8-bit RGB whose header says this size, whatever its compressed pixels are; none at all where b""."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = _chunk(b"IDAT", zlib.compress(pixels)) if pixels else b""
    return b"\x89PNG\r\n\x1a\n" + header + data + _chunk(b"IEND", b"")


def gray_profile() -> bytes:
    """An ICC profile of a gray device with gamma 2.2, which does not fit an image of three colours."""

    def described(text: str) -> bytes:
        words = text.encode("ascii") + b"\0"
        return b"desc\0\0\0\0" + struct.pack(">I", len(words)) + words + bytes(78)

    contents = {
        b"desc": described("gray"),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)),
    }
    table, data = struct.pack(">I", len(contents)), b""
    start = 128 + 4 + 12 * len(contents)
    for name, content in contents.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    white = struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    head = struct.pack(">I4sI", start + len(data), b"\0\0\0\0", 0x02100000) + b"mntrGRAYXYZ "
    head += bytes(12) + b"acsp" + bytes(28) + white
    return head.ljust(128, b"\0") + table + data


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _turned(value: int) -> Image.Exif:
    """EXIF data with this orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def _colour_files() -> dict[str, bytes]:
    """The origin in colour: its formats, modes, frames, names and places."""
    pixels = origin()
    image = Image.fromarray(pixels)
    png, jpeg = saved(image, "PNG"), saved(image, "JPEG", quality=92)
    ramp = np.broadcast_to(np.linspace(0, 255, WIDTH).astype(np.uint8)[None, :, None], (HEIGHT, WIDTH, 1))
    rgba = np.concatenate([pixels, ramp], -1)
    frames = [image, Image.fromarray(pixels[::-1].copy()), Image.fromarray(255 - pixels)]
    more: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    palette = image.quantize(64)
    return {
        "no_extension": png,
        "png_inside.jpg": png,
        "gray_profile.png": saved(image, "PNG", icc_profile=gray_profile()),
        "sub/deeper/nested.bmp": saved(image, "BMP"),
        "UPPER.JPG": jpeg,
        "naïve 图片 (1).jpg": jpeg,
        ".hidden.jpg": saved(image, "JPEG", quality=75),
        "progressive.jpg": saved(image, "JPEG", quality=80, progressive=True),
        "exif_rotated.jpg": saved(image, "JPEG", quality=92, exif=_turned(6)),
        "exif_transposed.jpg": saved(image, "JPEG", quality=92, exif=_turned(5)),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG", quality=95),
        "alpha.png": saved(rgba, "PNG"),
        "alpha.webp": saved(rgba, "WEBP", lossless=True),
        "palette.gif": saved(palette, "GIF"),
        "palette_transparent.png": saved(palette, "PNG", transparency=3),
        "animated.gif": saved(image.quantize(64), "GIF", duration=80, **more),
        "animated.webp": saved(image, "WEBP", quality=80, **more),
        "pages.tif": saved(image, "TIFF", compression="tiff_lzw", **more),
    }


def _gray_files() -> dict[str, bytes]:
    """The luma of the origin, in 1, 8, 16 and 32 bits."""
    pixels = origin()
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    deep = np.rint(luma * 257).astype(np.uint16)
    gray = Image.fromarray(np.rint(luma).astype(np.uint8))
    return {
        "gray.jpg": saved(gray, "JPEG", quality=90),
        "jpeg_inside.png": saved(gray, "JPEG", quality=90),
        "bilevel.png": saved(gray.convert("1"), "PNG"),
        "gray_alpha.png": saved(np.stack([np.asarray(gray), pixels[..., 1]], -1), "PNG"),
        "gray16.png": saved(deep, "PNG"),
        "gray16.tif": saved(deep, "TIFF"),
        "float32.tif": saved((luma / 255).astype(np.float32), "TIFF"),
    }


def _small_files() -> dict[str, bytes]:
    """Sizes and contents at the edge of what is allowed."""
    y, x = np.mgrid[:64, :64]
    checker = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, -1)
    arrays = {
        "black.png": drawn("black", 64, 64, 3),
        "white.png": drawn("white", 64, 64, 3),
        "checker_extreme.png": checker,
        "noise.png": drawn("noise", 96, 96, 3, 1),
        "one_pixel.png": drawn("noise", 1, 1, 3, 2),
        "one_row.png": drawn("noise", 1, 3000, 3, 3),
        "one_column.png": drawn("noise", 2500, 1, 3, 4),
        "prime.png": drawn("noise", 127, 129, 3, 5),
        "seven_by_five.png": drawn("noise", 5, 7, 3, 6),
    }
    return {name: saved(array, "PNG") for name, array in arrays.items()}


def _broken_files() -> dict[str, bytes]:
    """Damaged images, forged ones, and what is no image."""
    pixels = origin()
    jpeg = saved(pixels, "JPEG", quality=92)
    flipped = bytearray(saved(pixels, "PNG"))
    flipped[len(flipped) // 2] ^= 16
    return {
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "header_only.jpg": jpeg[:40],
        "flipped_bit.png": bytes(flipped),
        "empty.jpg": b"",
        "text.jpg": b"this is not an image\n" * 20,
        "notes.txt": b"a file that is no image, beside images\n",
        "Thumbs.db": bytes.fromhex("d0cf11e0").ljust(64, b"\0"),
        "bomb.png": png_of(60_000, 60_000, bytes(1000)),
        "zero_size.png": png_of(0, 10),
    }
