"""Audio files for libsndfile: what opens, what is refused, and how long a recording is.

libsndfile recognises formats by their content. It does not notice every damage, and it believes the length that a
header says; so `containers` checks a file first, and may give libsndfile a corrected view of it.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

from latentstore.codecs.errors import AudioError, LatentstoreError
from latentstore.codecs.modality import MAX_RATE_HZ
from latentstore.sources.audio.containers import READ, audio_of
from latentstore.sources.audio.view import Checked, Seekable, View

if TYPE_CHECKING:
    import soundfile

__all__ = ["AudioLength", "audio_length", "damage", "examined", "library", "open_audio"]

FORMATS = {"WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3", "AU", "CAF", "NIST"}
# The densest that these formats can be: FLAC codes 65535 equal samples in some ten bytes.
MOST_SAMPLES_A_BYTE = 8192


@dataclass(frozen=True)
class AudioLength:
    """What a recording has: samples, their rate in hertz, and channels."""

    samples: int
    rate: int
    channels: int


def audio_length(file: BinaryIO, near: bool = True) -> AudioLength:
    """The length of the recording in a seekable file. As little is read as the format allows.

    near: all of the file may be read at little cost. AudioError as in `examined` and `open_audio`.
    """
    audio, length = open_audio(file, examined(file, near))
    audio.close()
    return length


class _Guarded:
    """A file as libsndfile may use it: its callbacks cannot raise.

    libsndfile asks damaged files for positions before their beginning, and reading a remote file may fail.
    """

    def __init__(self, file: Seekable) -> None:
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

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


def library(name: str) -> Any:
    """The module soundfile or soxr; LatentstoreError where it is not installed."""
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: soundfile without libsndfile
        raise LatentstoreError(f"reading audio needs {name} ({error}): pip install 'latentstore[audio]'") from error


def examined(file: BinaryIO, near: bool = True) -> Checked:
    """What libsndfile is to be given of a seekable file. near: as in `audio_length`.

    AudioError where it is no audio of a known format, or its header does not agree with the file.
    """
    view = View(file, near=near)
    if not view.size:
        raise AudioError("the file is empty")
    return audio_of(view)


def open_audio(file: BinaryIO, checked: Checked) -> tuple[soundfile.SoundFile, AudioLength]:
    """Opens a seekable file: (the file for libsndfile, at its first sample; what it holds).

    checked: from `examined`. AudioError where it is no audio of a known format, or holds no samples. What `file` itself
    reads afterwards is not defined, since libsndfile may move its position.
    """
    soundfile = library("soundfile")
    given: Seekable = file if checked.view.plain else checked.view
    given.seek(0)
    guarded, descriptor = _Guarded(given), _descriptor(given)
    try:
        audio = soundfile.SoundFile(guarded if descriptor is None else descriptor, closefd=False)
    except soundfile.LibsndfileError as error:
        if guarded.failure is not None:
            raise guarded.failure from error
        begins = f"it begins with {checked.view.at(0, 12)!r}"
        raise AudioError(f"not audio of a known format, or damaged: {_said(error)}; {begins}") from error
    except TypeError as error:  # soundfile knows headerless formats by the name of the file alone
        raise AudioError("not audio of a known format") from error
    try:
        if audio.format not in FORMATS:
            raise AudioError(f"its format {audio.format} is not read; {READ} are")
        length = _length(audio, checked.samples, checked.view.size)
        if audio.subtype == "OPUS":
            # libsndfile leaves out the encoder's delay only after a seek, where positions do not begin at 0
            audio.seek(0)
    except BaseException:
        audio.close()
        raise
    return audio, length


def _descriptor(given: Seekable) -> int | None:
    """The descriptor of a local file, at its beginning, so that libsndfile reads it without callbacks; else None."""
    if not isinstance(given, io.BufferedReader) or not isinstance(given.raw, io.FileIO):
        return None
    descriptor = given.fileno()
    os.lseek(descriptor, 0, os.SEEK_SET)  # Python has read ahead
    return descriptor


def _length(audio: soundfile.SoundFile, samples: int | None, file_bytes: int) -> AudioLength:
    """samples: as the file was found to hold, or None for what libsndfile says."""
    said = audio.frames
    samples = said if samples is None else samples
    if said >= 1 << 62:
        raise AudioError("its header does not say how long it is: write it anew, from a file and not from a pipe")
    if samples < 1 or said < 1:
        raise AudioError("it holds no samples")
    if samples > MOST_SAMPLES_A_BYTE * file_bytes:
        raise AudioError(f"its header claims {samples:,} samples, more than its {file_bytes:,} bytes can hold")
    if samples > said:
        raise AudioError(f"damaged: its header says {samples:,} samples, and libsndfile finds {said:,}")
    if not 1 <= audio.samplerate <= MAX_RATE_HZ or audio.channels < 1:
        said = f"{audio.channels} channels at {audio.samplerate:,} hertz"
        raise AudioError(f"it announces {said}; 1 to {MAX_RATE_HZ:,} hertz are stored")
    return AudioLength(samples, audio.samplerate, audio.channels)


def damage(error: Any) -> AudioError:
    """libsndfile's error as one of ours."""
    return AudioError(f"damaged or cut short: {_said(error)}")


def _said(error: Any) -> str:
    """libsndfile's own words; soundfile adds the name of an object in memory."""
    return str(error.error_string).strip().removeprefix("Error : ").rstrip(".")
