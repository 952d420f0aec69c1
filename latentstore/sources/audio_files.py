"""Audio files for libsndfile: what opens, what is refused, and how long a recording says it is.

libsndfile reads WAV (RF64 too), AIFF, FLAC, Ogg (Vorbis, Opus) and MP3, and recognises them by their content. It does
not notice every damage, so headers are checked here: files shorter than their header says, Ogg streams without an
end, and headers that claim more than the file can hold.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

from latentstore.codecs.errors import AudioError, LatentstoreError

if TYPE_CHECKING:
    import soundfile

__all__ = ["AudioLength", "audio_length", "damage", "length_of", "library", "open_audio", "size_of"]

FORMATS = {"WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3"}
# The densest that these formats can be: FLAC codes 65535 equal samples in some ten bytes.
MOST_SAMPLES_A_BYTE = 8192
UNKNOWN = 0xFFFFFFFF
OGG_PAGE_BYTES = 65307
OGG_END = 4


@dataclass(frozen=True)
class AudioLength:
    """What the header of a recording says: samples, their rate in hertz, and channels."""

    samples: int
    rate: int
    channels: int


def audio_length(file: BinaryIO) -> AudioLength:
    """What the header of a seekable file says; little else is read. AudioError as in `open_audio` and `length_of`."""
    with open_audio(file) as audio:
        return length_of(audio, size_of(file))


class _Guarded:
    """A file as libsndfile may use it: its callbacks cannot raise.

    libsndfile asks damaged files for positions before their beginning, and reading a remote file may fail.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.failure: OSError | None = None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self.file.seek(offset, whence)
        except (ValueError, OSError):
            return self.file.tell()

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int = -1) -> bytes:
        try:
            return self.file.read(size)
        except OSError as error:
            self.failure = error
            return b""


def library(name: str) -> Any:
    """The module soundfile or soxr; LatentstoreError where it is not installed."""
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: soundfile without libsndfile
        raise LatentstoreError(f"reading audio needs {name} ({error}): pip install 'latentstore[audio]'") from error


def open_audio(file: BinaryIO) -> soundfile.SoundFile:
    """Opens a seekable file; AudioError where it is no audio of a known format, or its end is missing."""
    soundfile, size = library("soundfile"), size_of(file)
    if not size:
        raise AudioError("the file is empty")
    _check_container(file, size)
    file.seek(0)
    guarded = _Guarded(file)
    try:
        audio = soundfile.SoundFile(guarded)
    except soundfile.LibsndfileError as error:
        if guarded.failure is not None:
            raise guarded.failure from error
        file.seek(0)
        begins = f"it begins with {file.read(12)!r}"
        raise AudioError(f"not audio of a known format, or damaged: {_said(error)}; {begins}") from error
    except TypeError as error:  # soundfile knows headerless formats by the name of the file alone
        raise AudioError("not audio of a known format") from error
    if audio.format not in FORMATS:
        audio.close()
        raise AudioError(f"its format {audio.format} is not read; WAV, AIFF, FLAC, Ogg and MP3 are")
    return audio


def length_of(audio: soundfile.SoundFile, file_bytes: int) -> AudioLength:
    """What the header says; AudioError where it does not say the length, or says one that cannot be true."""
    if audio.frames >= 1 << 62:
        raise AudioError("its header does not say how long it is: write it anew, from a file and not from a pipe")
    if audio.frames < 1:
        raise AudioError("it holds no samples")
    if audio.frames > MOST_SAMPLES_A_BYTE * file_bytes:
        raise AudioError(f"its header claims {audio.frames:,} samples, more than its {file_bytes:,} bytes can hold")
    if audio.samplerate < 1 or audio.channels < 1:
        raise AudioError(f"it announces {audio.channels} channels at {audio.samplerate} hertz")
    return AudioLength(audio.frames, audio.samplerate, audio.channels)


def damage(error: Any) -> AudioError:
    """libsndfile's error as one of ours."""
    return AudioError(f"damaged or cut short: {_said(error)}")


def _said(error: Any) -> str:
    """libsndfile's own words; soundfile adds the name of an object in memory."""
    return str(error.error_string).strip().removeprefix("Error : ").rstrip(".")


def size_of(file: BinaryIO) -> int:
    """Bytes of a seekable file, whose position stays."""
    at = file.tell()  # libsndfile remembers where it left the file
    size = file.seek(0, io.SEEK_END)
    file.seek(at)
    return size


def _check_container(file: BinaryIO, size: int) -> None:
    """AudioError for what libsndfile does not notice: a file shorter than its header says, an Ogg stream without an
    end."""
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        _check_chunks(file, size, b"data", "<I")
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        _check_chunks(file, size, b"SSND", ">I")
    elif head[:4] == b"OggS":
        _check_ogg(file, size)


def _check_chunks(file: BinaryIO, size: int, wanted: bytes, order: str) -> None:
    """AudioError unless the chunk of samples lies whole in the file.

    A program that writes to a pipe says a length of 2^32 - 1; so does RF64, whose length is in the chunk ds64.
    """
    at, long = 12, UNKNOWN
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack(order.replace("I", "4sI"), file.read(8))
        if name == b"ds64" and length >= 16 and at + 24 <= size:
            long = struct.unpack("<8xQ", file.read(16))[0]
        if name == wanted:
            length = long if length == UNKNOWN else length
            if length != UNKNOWN and at + 8 + length > size:
                raise AudioError(f"cut short: it has {size - at - 8:,} of {length:,} bytes of samples")
            return
        at += 8 + length + (length & 1)


def _check_ogg(file: BinaryIO, size: int) -> None:
    """AudioError unless the last page is whole, and marked as the last."""
    file.seek(max(0, size - OGG_PAGE_BYTES))
    tail = file.read(OGG_PAGE_BYTES)
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    if len(page) < 27 or 27 + page[26] + sum(page[27 : 27 + page[26]]) > len(page):
        raise AudioError("cut short: its last Ogg page is not whole")
    if not page[5] & OGG_END:
        raise AudioError("cut short: its last Ogg page is not marked as the end")
