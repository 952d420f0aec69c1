"""What a file is by its first bytes: an image, a recording, or neither that is known here."""

from __future__ import annotations

from latentstore.codecs.errors import SignalError, StoreError
from latentstore.codecs.modality import AUDIO, IMAGE, Modality
from latentstore.sources.item import BadItem, Item
from latentstore.sources.zarr_array import ArrayItem

__all__ = ["HEAD_BYTES", "content_of", "head_of", "reason_of"]

HEAD_BYTES = 32
# (where, first bytes, modality, format); the first that fits counts.
_MAGIC: tuple[tuple[int, bytes, Modality, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", IMAGE, "PNG"),
    (0, b"\xff\xd8\xff", IMAGE, "JPEG"),
    (0, b"GIF8", IMAGE, "GIF"),
    (8, b"WEBP", IMAGE, "WebP"),
    (0, b"II*\0", IMAGE, "TIFF"),
    (0, b"MM\0*", IMAGE, "TIFF"),
    (0, b"II+\0", IMAGE, "TIFF"),
    (0, b"8BPS", IMAGE, "PSD"),
    (0, b"qoif", IMAGE, "QOI"),
    (0, b"\0\0\0\x0cjP  ", IMAGE, "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", IMAGE, "JPEG XL"),
    (4, b"ftypavif", IMAGE, "AVIF"),
    (4, b"ftyphei", IMAGE, "HEIC"),
    (4, b"ftypmif1", IMAGE, "HEIC"),
    (0, b"P6\n", IMAGE, "PPM"),
    (0, b"P5\n", IMAGE, "PGM"),
    (8, b"WAVE", AUDIO, "WAV"),
    (0, b"fLaC", AUDIO, "FLAC"),
    (0, b"OggS", AUDIO, "Ogg"),
    (0, b"ID3", AUDIO, "MP3"),
    (8, b"AIFF", AUDIO, "AIFF"),
    (8, b"AIFC", AUDIO, "AIFF"),
    (4, b"ftypM4A", AUDIO, "AAC"),
    (0, b"NIST_1A", AUDIO, "NIST SPHERE"),
    (0, b".snd", AUDIO, "AU"),
    (0, b"caff", AUDIO, "CAF"),
    (0, b"wvpk", AUDIO, "WavPack"),
)

# By the name of the modality: what a file is, and what its codecs are codecs of.
_SAID = {"image": ("an image", "images"), "audio": ("a recording", "audio")}


def content_of(head: bytes) -> tuple[Modality, str] | None:
    """(modality, format) of a file that begins with these bytes; None of what is not known."""
    for at, magic, modality, name in _MAGIC:
        if head.startswith(magic, at):
            return modality, name
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return IMAGE, "BMP"
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 6 and head[2] & 0xF0 != 0xF0:
        return AUDIO, "MP3"
    return None


def head_of(item: Item) -> bytes:
    """The first bytes of an entry; b"" of what has none."""
    if isinstance(item, BadItem | ArrayItem):
        return b""
    try:
        with item.opened() as file:
            return file.read(HEAD_BYTES)
    except (SignalError, StoreError, OSError):
        return b""


def reason_of(item: Item, error: SignalError, modality: Modality) -> str:
    """Why an entry cannot be read: that it is a signal of another modality, or the error's reason."""
    found = content_of(head_of(item))
    if found is None or found[0] is modality:
        return str(error)
    what, codecs = _SAID[found[0].name]
    return f"{what} ({found[1]}): use a codec of {codecs}"
