"""What a file is that is not read as an image, told by its content, and what to do about it."""

from __future__ import annotations

import re
import struct

from PIL import features

__all__ = ["CAMERA_RAW", "misread", "unreadable"]

IMAGE = ", which is not read: convert it to PNG or JPEG first"
RAW = ", which is not read: develop it to TIFF, PNG or JPEG first"
CAMERA_RAW = f"a camera raw file ({{}}){RAW}"
DRAWING = ", which is not read: render it to PNG first"
VIDEO = ", which is not read: write its frames to PNG or JPEG files first"
ARCHIVE = ", which is not read: unpack it first"
AUDIO = " and no image: use a codec of audio for it"
ARRAY = " and no image: store its values as PNG files, or as a Zarr array"

# (bytes at the beginning, what it is, what to do)
BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\x0a", "a JPEG XL image", IMAGE),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image", IMAGE),
    (b"II\xbc\x01", "a JPEG XR image", IMAGE),
    (b"\x76\x2f\x31\x01", "an OpenEXR image", IMAGE),
    (b"#?RADIANCE", "a Radiance HDR image", IMAGE),
    (b"#?RGBE", "a Radiance HDR image", IMAGE),
    (b"gimp xcf", "a GIMP image (XCF)", IMAGE),
    (b"\x8aMNG\r\n\x1a\n", "an MNG animation", IMAGE),
    (b"\x8bJNG\r\n\x1a\n", "a JNG image", IMAGE),
    (b"BPG\xfb", "a BPG image", IMAGE),
    (b"FLIF", "a FLIF image", IMAGE),
    (b"AT&TFORM", "a DjVu document", IMAGE),
    (b"P7\n", "a PAM image", IMAGE),
    (b"PF\n", "a portable float map (PFM) of RGB", IMAGE),
    (b"PF ", "a portable float map (PFM) of RGB", IMAGE),
    (b"SIMPLE  =", "a FITS file", ARRAY),
    (b"%PDF-", "a PDF document", DRAWING),
    (b"%!PS", "a PostScript drawing (EPS)", DRAWING),
    (b"\xc5\xd0\xd3\xc6", "a PostScript drawing (EPS)", DRAWING),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)", DRAWING),
    (b"\x01\0\x09\0", "a Windows metafile (WMF)", DRAWING),
    (b"FUJIFILMCCD-RAW", "a camera raw file (RAF)", RAW),
    (b"IIU\0", "a camera raw file (RW2)", RAW),
    (b"IIRO", "a camera raw file (ORF)", RAW),
    (b"IIRS", "a camera raw file (ORF)", RAW),
    (b"MMOR", "a camera raw file (ORF)", RAW),
    (b"\0MRM", "a camera raw file (MRW)", RAW),
    (b"FOVb", "a camera raw file (X3F)", RAW),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM)", VIDEO),
    (b"\0\0\x01\xba", "a video (MPEG)", VIDEO),
    (b"\0\0\x01\xb3", "a video (MPEG)", VIDEO),
    (b"FLV\x01", "a video (Flash)", VIDEO),
    (b"0&\xb2u\x8ef\xcf\x11", "a video (Windows Media)", VIDEO),
    (b"PK\x03\x04", "an archive (ZIP)", ARCHIVE),
    (b"PK\x05\x06", "an archive (ZIP)", ARCHIVE),
    (b"\x1f\x8b", "a compressed file (gzip)", ARCHIVE),
    (b"BZh", "a compressed file (bzip2)", ARCHIVE),
    (b"\xfd7zXZ\0", "a compressed file (xz)", ARCHIVE),
    (b"\x28\xb5\x2f\xfd", "a compressed file (Zstandard)", ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z)", ARCHIVE),
    (b"Rar!\x1a\x07", "an archive (RAR)", ARCHIVE),
    (b"\x93NUMPY", "a NumPy array", ARRAY),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", ARRAY),
    (b"CDF", "a NetCDF file", ARRAY),
    (b"GRIB", "a GRIB file", ARRAY),
    (b"BUFR", "a BUFR file", ARRAY),
    (b"fLaC", "audio (FLAC)", AUDIO),
    (b"OggS", "audio or a video (Ogg)", AUDIO),
    (b"ID3", "audio (MP3)", AUDIO),
    (b"version https://git-lfs", "a pointer of Git LFS and not the file itself", ": run `git lfs pull` first"),
    (b"\0\x05\x16\x07", "a note that macOS keeps beside a file (AppleDouble)", ": delete it"),
)
# By the brand of a file of boxes (ISO base media).
BRANDS = {
    b"heic": ("an HEIC image", IMAGE), b"heix": ("an HEIC image", IMAGE), b"heim": ("an HEIC image", IMAGE),
    b"heis": ("an HEIC image", IMAGE), b"hevc": ("an HEIC image", IMAGE), b"hevx": ("an HEIC image", IMAGE),
    b"mif1": ("an HEIF image", IMAGE), b"msf1": ("an HEIF image", IMAGE), b"mif2": ("an HEIF image", IMAGE),
    b"crx ": ("a camera raw file (CR3)", RAW),
    b"M4A ": ("audio (MPEG-4)", AUDIO),
}  # fmt: skip
# Some builds of Pillow decode it.
AVIF = (b"avif", b"avis")
# By the kind of a RIFF file, whose name stands at byte 8.
RIFFS = {b"AVI ": ("a video (AVI)", VIDEO), b"WAVE": ("audio (WAV)", AUDIO)}
LATER = ((128, b"DICM", "a DICOM file"), (257, b"ustar", "an archive (tar)"))
DICOM = ", which is not read: convert its pixels to PNG first, with the window that you want"
PSD_MODES = ("bitmap", "gray", "palette", "RGB", "CMYK", "", "", "multichannel", "duotone", "Lab")
# Channels that Pillow needs, by the bits of a sample and the mode.
PSD_READ = {(1, 0): 1, (8, 1): 1, (8, 2): 1, (8, 3): 3, (8, 4): 4, (8, 8): 1, (8, 9): 3}
PSD_MULTICHANNEL = 7
SUN_MAGIC = b"\x59\xa6\x6a\x95"
SVG = re.compile(rb"<svg[\s>]")
HTML = re.compile(rb"<(!doctype html|html)[\s>]", re.IGNORECASE)


def unreadable(data: bytes) -> str | None:
    """What a file is and what to do, where its kind is known and not read; else None. It is not a whole sentence."""
    for beginning, what, remedy in BEGINNINGS:
        if data.startswith(beginning):
            return what + remedy
    if data[4:8] == b"ftyp":
        brands = [data[8:12], *(data[at : at + 4] for at in range(16, min(_box(data), 128), 4))]
        for brand in brands:
            if brand in BRANDS:
                return "".join(BRANDS[brand])
            if brand in AVIF:
                return None if features.check("avif") else "an AVIF image" + IMAGE
        return "a video (MPEG-4 or QuickTime)" + VIDEO
    if data[4:8] in (b"moov", b"mdat", b"wide"):
        return "a video (QuickTime)" + VIDEO
    if data[:4] == b"RIFF" and data[8:12] in RIFFS:
        return "".join(RIFFS[data[8:12]])
    for at, mark, what in LATER:
        if data[at : at + len(mark)] == mark:
            return what + (DICOM if mark == b"DICM" else ARCHIVE)
    if data[:4] == b"8BPS" and len(data) >= 26:
        version, channels, depth, mode = _photoshop(data)
        # what is of a kind that is read is damaged
        return None if version == 1 and channels >= PSD_READ.get((depth, mode), 1 << 16) else _said_of(data)
    head = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"<"):
        if SVG.search(head):
            return "a vector drawing (SVG)" + DRAWING
        if HTML.match(head):
            return "a page of HTML and no image: the site may have sent it in place of the image; download it again"
    return None


def _box(data: bytes) -> int:
    return int.from_bytes(data[:4], "big")


def misread(data: bytes) -> str | None:
    """What a file is and what to do, where Pillow opens its kind and gives other pixels than it has; else None."""
    if data[:4] == b"8BPS" and len(data) >= 26 and _photoshop(data)[3] == PSD_MULTICHANNEL:
        return _said_of(data)
    if data[:4] == SUN_MAGIC and data[12:16] == b"\0\0\0\x20":
        return "a Sun raster image of 32 bits" + IMAGE
    return None


def _photoshop(data: bytes) -> tuple[int, int, int, int]:
    """version, channels, bits of a sample, mode."""
    version, _, channels, _, _, depth, mode = struct.unpack_from(">H6sHIIHH", data, 4)
    return version, channels, depth, mode


def _said_of(data: bytes) -> str:
    version, channels, depth, mode = _photoshop(data)
    kind = "PSD" if version == 1 else "PSB"
    name = PSD_MODES[mode] if mode < len(PSD_MODES) and PSD_MODES[mode] else f"mode {mode}"
    what = f"a Photoshop image ({kind}) of {depth}-bit {name} in {channels} channels"
    return f"{what}, which is not read: save it as PNG or as 8-bit PSD first"
