"""What is not read is named by its content, with what to do; and other formats than PNG, JPEG and TIFF."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from odd_images import saved
from PIL import Image

from latentstore import ImageError
from latentstore.sources.images import read_image
from latentstore.sources.images.formats import unreadable
from latentstore.sources.remarks import Remark


def boxes(brand: bytes, *others: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(others)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + b"\0\0\0\x08mdat" + bytes(40)


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as zipped:
            zipped.writestr("a.txt", "a")
    else:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


def array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(4))
    return file.getvalue()


NAMED = {
    "HEIC": boxes(b"heic", b"mif1", b"heic"), "HEIF": boxes(b"mif1", b"miaf"), "(CR3)": boxes(b"crx ", b"isom"),
    "video (MPEG-4": boxes(b"isom", b"mp42"), "QuickTime": boxes(b"qt  "), "JPEG XL": b"\xff\x0a" + bytes(40),
    "JPEG XL image": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "(RAF)": b"FUJIFILMCCD-RAW 0201" + bytes(99),
    "(RW2)": b"IIU\0" + bytes(99), "(ORF)": b"IIRO\x08\0\0\0" + bytes(99), "NEF": b"II*\0\x10\0\0\0CR\2\0" + bytes(99),
    "SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "PDF": b"%PDF-1.7\n",
    "(PSD) of 16-bit RGB in 3": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 16, 3) + bytes(20),
    "(PSB) of 8-bit Lab": b"8BPS\0\2" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 9) + bytes(20),
    "(PSD) of 8-bit multichannel in 2": (
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 2, 9, 9, 8, 7) + bytes(14) + bytes(2 * 81)
    ),
    "Sun raster image of 32 bits": b"\x59\xa6\x6a\x95" + struct.pack(">7I", 2, 2, 32, 16, 1, 0, 0) + bytes(16),
    "OpenEXR": b"\x76\x2f\x31\x01\2\0\0\0" + bytes(40), "Radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n",
    "DICOM": bytes(128) + b"DICM" + bytes(40), "Matroska": b"\x1aE\xdf\xa3" + bytes(40),
    "AVI": b"RIFF\x40\0\0\0AVI LIST" + bytes(40), "WAV": b"RIFF\x40\0\0\0WAVEfmt " + bytes(40),
    "video (MPEG)": b"\0\0\x01\xba" + bytes(40), "(ZIP)": archive("zip"), "(tar)": archive("tar"),
    "gzip": b"\x1f\x8b\x08" + bytes(40), "7z": b"7z\xbc\xaf\x27\x1c" + bytes(40), "RAR": b"Rar!\x1a\x07\0" + bytes(40),
    "NumPy": array(), "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(90), "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "(PFM) of RGB": b"PF\n1 1\n-1.0\n" + bytes(12),
    "HTML": b"<!DOCTYPE html>\n<html><body>404</body></html>", "(XCF)": b"gimp xcf v011\0" + bytes(40),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_what_is_not_read_is_named_with_a_remedy(name: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(NAMED[name])
    said = str(caught.value)
    assert name in said and ": " in said and "\n" not in said, said


def test_what_is_unknown_has_no_name() -> None:
    assert unreadable(b"a shopping list") is None and unreadable(b"") is None and unreadable(b"RIFF") is None


def test_the_plugins_own_reason_is_passed_on() -> None:
    bmp = bytearray(saved(Image.new("RGB", (9, 9)), "BMP"))
    bmp[28:30] = struct.pack("<H", 13)
    with pytest.raises(ImageError, match="Unsupported BMP pixel depth"):
        read_image(bytes(bmp))


# ---- transparency


def told(data: bytes) -> tuple[np.ndarray, list[Remark]]:
    remarks: list[Remark] = []
    return read_image(data, remarks=remarks), remarks


RGBA = np.random.default_rng(1).integers(0, 256, (16, 24, 4)).astype(np.uint8)


@pytest.mark.parametrize("format", ["BMP", "TGA", "ICO"])
def test_an_alpha_that_is_0_everywhere_is_no_alpha(format: str) -> None:
    pixels = RGBA[:16, :16].copy()
    pixels[..., 3] = 0
    options = {"bitmap_format": "bmp", "sizes": [(16, 16)]} if format == "ICO" else {}
    got, remarks = told(saved(Image.fromarray(pixels), format, **options))
    np.testing.assert_array_equal(got, pixels[..., :3])
    assert remarks == []


@pytest.mark.parametrize(("bits", "used"), [(0, False), (8, True)])
def test_the_header_of_a_tga_says_whether_alpha_is_used(bits: int, used: bool) -> None:
    pixels = RGBA.copy()
    data = bytearray(saved(Image.fromarray(pixels), "TGA"))
    data[17] = data[17] & 0xF0 | bits
    solid = pixels[..., 3:] / 255 if used else 1
    expected = pixels[..., :3] * solid + 255 * (1 - solid)
    assert np.abs(told(bytes(data))[0] - expected).max() <= 1


@pytest.mark.parametrize(("kind", "used"), [(0, False), (1, False), (2, False), (3, True)])
def test_the_extension_of_a_tga_says_it_too(kind: int, used: bool) -> None:
    data = saved(Image.fromarray(RGBA), "TGA")
    data = data.removesuffix(b"TRUEVISION-XFILE.\0") if data.endswith(b"TRUEVISION-XFILE.\0") else data
    extension = bytearray(495)
    extension[494] = kind
    data = data + bytes(extension) + struct.pack("<II", len(data), 0) + b"TRUEVISION-XFILE.\0"
    solid = RGBA[..., 3:] / 255 if used else 1
    assert np.abs(told(data)[0] - (RGBA[..., :3] * solid + 255 * (1 - solid))).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_a_transparent_image_is_white_and_told_of(format: str) -> None:
    pixels = RGBA.copy()
    pixels[..., 3] = 0
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    got, remarks = told(saved(Image.fromarray(pixels), format, **options))
    assert got.min() == 255 and remarks == [Remark("transparent")]


def gif(canvas: tuple[int, int], box: tuple[int, int], frame: Image.Image) -> bytes:
    """A GIF of one frame that lies at a place of a larger canvas."""
    data = bytearray(saved(frame, "GIF"))
    data[6:10] = struct.pack("<HH", *canvas)
    at = data.index(b"," + struct.pack("<HHHH", 0, 0, *frame.size))
    data[at + 1 : at + 5] = struct.pack("<HH", *box)
    return bytes(data)


def test_a_gif_frame_smaller_than_its_canvas_lies_on_white() -> None:
    frame = Image.fromarray(RGBA[..., :3]).quantize(16)
    expected = np.full((40, 50, 3), 255, np.uint8)
    expected[7:23, 9:33] = np.asarray(frame.convert("RGB"))
    np.testing.assert_array_equal(told(gif((50, 40), (9, 7), frame))[0], expected)


def test_a_webp_frame_smaller_than_its_canvas_lies_on_white() -> None:
    # Pillow writes whole frames; the first is the box of the changed pixels only if a file says so itself.
    still = saved(Image.fromarray(RGBA[..., :3]), "WEBP", lossless=True)
    bitstream = still[still.index(b"VP8L") :]

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    def three(value: int) -> bytes:
        return struct.pack("<I", value)[:3]

    header = chunk(b"VP8X", b"\x02\0\0\0" + three(49) + three(39))
    frame = chunk(b"ANMF", three(4) + three(3) + three(23) + three(15) + three(100) + b"\0" + bitstream)
    body = b"WEBP" + header + chunk(b"ANIM", bytes(6)) + frame + frame
    expected = np.full((40, 50, 3), 255, np.uint8)
    expected[6:22, 8:32] = RGBA[..., :3]
    np.testing.assert_array_equal(told(b"RIFF" + struct.pack("<I", len(body)) + body)[0], expected)


def test_a_psd_that_is_cut_short_is_not_of_another_kind() -> None:
    head = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 16, 24, 8, 3) + bytes(14)
    planes = np.ascontiguousarray(RGBA[..., :3].transpose(2, 0, 1))
    np.testing.assert_array_equal(read_image(head + planes.tobytes()), RGBA[..., :3])
    with pytest.raises(ImageError, match=r"^cut short"):
        read_image((head + planes.tobytes())[:700])


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("used", [False, True])
def test_a_set_bit_of_a_16_bit_tga_is_opaque(palette: bool, used: bool) -> None:
    colours = np.array([0, 0x8000 | 31 << 10, 0x8000 | 31, 31 << 5], "<u2")
    index = (np.arange(6 * 4) % 4).astype(np.uint8).reshape(6, 4)
    if palette:
        head = bytes([0, 1, 1, 0, 0, 4, 0, 16]) + bytes(4) + struct.pack("<HHBB", 4, 6, 8, 0x20 | used)
        data = head + colours.tobytes() + index.tobytes()
    else:
        head = bytes([0, 0, 2]) + bytes(9) + struct.pack("<HHBB", 4, 6, 16, 0x20 | used)
        data = head + colours[index].tobytes()
    shown = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255), (0, 255, 0)], np.uint8)
    if used:
        shown[[0, 3]] = 255
    np.testing.assert_array_equal(told(data)[0], shown[index])


def test_a_webp_that_is_cut_short_is_named_so() -> None:
    data = saved(Image.fromarray(RGBA[..., :3]), "WEBP", lossless=True)
    with pytest.raises(ImageError, match=f"cut short: the WebP has 300 of {len(data)} bytes"):
        read_image(data[:300])


def test_the_mark_of_a_frame_in_a_profile_is_no_frame() -> None:
    profile = b"no profile: " + b"ANMF" + bytes(40)
    data = saved(Image.fromarray(RGBA[..., :3]), "WEBP", lossless=True, icc_profile=profile)
    assert b"VP8X" in data and b"ANMF" in data
    np.testing.assert_array_equal(read_image(data), RGBA[..., :3])


@pytest.mark.parametrize("format", ["BMP", "PPM", "TGA"])
def test_a_short_file_is_refused_or_kept(format: str) -> None:
    data = saved(Image.fromarray(RGBA[..., :3]), format)[:700]
    with pytest.raises(ImageError, match="cut short"):
        read_image(data)
    remarks: list[Remark] = []
    assert read_image(data, damaged="keep", remarks=remarks).shape == (16, 24, 3)
    assert [remark.kind for remark in remarks] == ["damaged"]
