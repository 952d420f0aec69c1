"""Any recording that libsndfile reads becomes float32 samples for a codec, by one rule.

- WAV (RF64 too), AIFF, FLAC, Ogg (Vorbis, Opus) and MP3, recognised by their content, not by their name.
- Integers of 8 to 32 bits become -1 to 1; floats stay as they are, also beyond 1.
- One channel is copied to all inputs of the codec; two become one by their mean. Any other number of channels than
  the codec's inputs is refused.
- Where a rate is asked for, soxr resamples to it: n samples become round(n * rate / own rate), at least one.

What is wrong is refused with a `AudioError`: a file without samples, one cut short, values that are not finite, a
header that claims more than the file can hold or does not say how long the audio is. MP3 without a Xing header does
not tell its length: one that is cut short cannot be told from a shorter one.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from latentstore.codecs.errors import ArgumentError, AudioError, LatentstoreError

if TYPE_CHECKING:
    import soundfile

__all__ = [
    "MAX_VALUES",
    "AudioLength",
    "AudioReader",
    "audio_length",
    "library_versions",
    "read_audio",
    "resampled_length",
]

# 2 GiB as float32: an hour and a half of stereo at 44.1 kHz.
MAX_VALUES = 1 << 29
# Coded without a memory of what went before, so that seeking changes no sample.
EXACT = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
FORMATS = {"WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3"}
BLOCK = 1 << 16
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


def read_audio(data: bytes | np.ndarray, inputs: int, rate: int | None = None) -> tuple[np.ndarray, int]:
    """(float32 (n, inputs), its rate in hertz) of one recording.

    data: the bytes of an audio file. inputs: channels that the codec takes. rate: in hertz, None for the recording's
    own. Raises AudioError with the reason where it is no recording or a damaged one.
    """
    with AudioReader(data, inputs, rate) as reader:
        if reader.samples * inputs > MAX_VALUES:
            raise AudioError(
                f"{reader.samples:,} samples in {inputs} channels are too many to be read at once; {MAX_VALUES:,} "
                "values are the most"
            )
        return reader.read(0, reader.samples), reader.rate


def audio_length(file: BinaryIO) -> AudioLength:
    """What the header of a file says that can be sought in; little else is read. Errors as in `read_audio`."""
    with _opened(file) as audio:
        return _length(audio, _size(file))


def resampled_length(samples: int, own: int, rate: int) -> int:
    """How many samples become of `samples` at the rate `own`, both in hertz."""
    return max(1, (2 * samples * rate + own) // (2 * own))


def library_versions(resampling: bool) -> dict[str, str]:
    """The versions of what decodes, and of what resamples. LatentstoreError if it is not installed."""
    soundfile = _library("soundfile")
    found = {"soundfile": soundfile.__version__, "libsndfile": soundfile.__libsndfile_version__}
    return {**found, "soxr": _library("soxr").__version__} if resampling else found


class AudioReader:
    """A recording, read forwards, so that a long one need not be in memory. Use as a context manager.

    data: the bytes of an audio file, or the file, which it closes; or an array (n,) or (n, channels) of floats, int16
    or int32 at the rate `own`. samples, rate: of what `read` gives. Errors as in `read_audio`.
    """

    def __init__(
        self, data: bytes | BinaryIO | np.ndarray, inputs: int, rate: int | None = None, own: int | None = None
    ) -> None:
        self.inputs, self._rate, self._own = inputs, rate, own
        self._source = io.BytesIO(data) if isinstance(data, bytes) else data
        self._audio: soundfile.SoundFile | None = None
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Opens the recording, or begins anew."""
        inputs = self.inputs
        self.at, self._rest = 0, np.zeros((0, inputs), np.float32)
        self._failure: AudioError | None = None
        if self._audio is not None:
            self._audio.close()
        if isinstance(self._source, np.ndarray):
            if self._own is None:
                raise ArgumentError("an array does not say its rate: give it as `own`")
            array = self._source[:, None] if self._source.ndim == 1 else self._source
            length, blocks = AudioLength(len(array), self._own, array.shape[1]), _array_blocks(array)
        else:
            self._audio = _opened(self._source)
            length, blocks = _length(self._audio, _size(self._source)), _file_blocks(self._audio)
        _check_channels(length.channels, inputs)
        self.rate = length.rate if self._rate is None else self._rate
        self.samples = resampled_length(length.samples, length.rate, self.rate)
        mixed = (_mixed(block, inputs) for block in _whole(blocks, length.samples))
        self._blocks = mixed if self.rate == length.rate else _resampled(mixed, length.rate, self.rate)
        self._exact = self._audio is not None and self.rate == length.rate and self._audio.subtype in EXACT

    def _skip(self, start: int) -> None:
        """Goes on from `start`; where samples stand for themselves, without decoding those between."""
        if not self._exact or self._audio is None or start - self.at <= BLOCK:
            self._take(start - self.at, None)
            return
        try:
            self._audio.seek(start)
        except _library("soundfile").LibsndfileError as error:
            self._failure = _damage(error)
            raise self._failure from error
        inputs, blocks = self.inputs, _whole(_file_blocks(self._audio), self.samples, start)
        self._blocks = (_mixed(block, inputs) for block in blocks)
        self.at, self._rest = start, np.zeros((0, self.inputs), np.float32)

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the file."""
        if self._audio is not None:
            self._audio.close()
        if not isinstance(self._source, np.ndarray):
            self._source.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """All of it in blocks (n, inputs), from the beginning each time."""
        self._begin()
        for start in range(0, self.samples, BLOCK):
            yield self.read(start, min(start + BLOCK, self.samples))

    def read(self, start: int, stop: int) -> np.ndarray:
        """float32 (stop - start, inputs): the samples from `start`, at or after where the last call stopped."""
        if start < self.at or not start <= stop <= self.samples:
            raise ArgumentError(f"samples {start} to {stop} of {self.samples}, of which {self.at} are read already")
        self._skip(start)
        out = np.empty((stop - start, self.inputs), np.float32)
        self._take(stop - start, out)
        finite = np.isfinite(out).all(axis=1)
        if not finite.all():
            raise AudioError(f"sample {start + int(finite.argmin()):,} is not a finite number")
        return out

    def _take(self, count: int, out: np.ndarray | None) -> None:
        """Reads on by `count` samples, into `out` or to nowhere."""
        done = 0
        while done < count:
            if not len(self._rest):
                block = self._next()
                # a resampler rounds the length as it likes: the last sample or two may be missing
                self._rest = np.zeros((count - done, self.inputs), np.float32) if block is None else block
            some = min(count - done, len(self._rest))
            if out is not None:
                out[done : done + some] = self._rest[:some]
            self._rest, done = self._rest[some:], done + some
        self.at += count

    def _next(self) -> np.ndarray | None:
        # a generator that has raised would look like one at its end: what follows damage is damaged, too
        if self._failure is not None:
            raise AudioError(str(self._failure))
        try:
            return next(self._blocks, None)
        except AudioError as error:
            self._failure = error
            raise


# ---- samples


def _array_blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    for at in range(0, len(array), BLOCK):
        part = array[at : at + BLOCK]
        full = -float(np.iinfo(part.dtype).min) if part.dtype.kind == "i" else 1.0
        yield part.astype(np.float32) / np.float32(full)


def _file_blocks(audio: soundfile.SoundFile) -> Iterator[np.ndarray]:
    import soundfile

    while True:
        try:
            block = audio.read(BLOCK, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _damage(error) from error
        if not len(block):
            return
        yield block


def _whole(blocks: Iterator[np.ndarray], samples: int, seen: int = 0) -> Iterator[np.ndarray]:
    """The blocks, if they hold as many samples as they should; seen: of those before them."""
    for block in blocks:
        block = block[: samples - seen]
        seen += len(block)
        if len(block):
            yield block
    if seen < samples:
        raise AudioError(f"cut short: its header says {samples:,} samples, and it holds {seen:,}")


def _check_channels(channels: int, inputs: int) -> None:
    if channels not in (1, inputs) and (channels, inputs) != (2, 1):
        raise AudioError(f"it has {channels} channels; the codec takes {inputs}: mix it down, or use another codec")


def _mixed(block: np.ndarray, inputs: int) -> np.ndarray:
    if block.shape[1] == inputs:
        return block
    if block.shape[1] == 1:
        return np.repeat(block, inputs, axis=1)
    return block.mean(axis=1, keepdims=True, dtype=np.float32)


def _resampled(blocks: Iterator[np.ndarray], own: int, rate: int) -> Iterator[np.ndarray]:
    soxr = _library("soxr")
    stream = None
    for block in blocks:
        if stream is None:
            stream = soxr.ResampleStream(own, rate, block.shape[1], dtype="float32")
        yield stream.resample_chunk(np.ascontiguousarray(block))
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, block.shape[1]), np.float32), last=True)


# ---- files


class _Guarded:
    """A file for libsndfile, whose callbacks cannot raise: it asks damaged files for places before their beginning,
    and those that are far away may fail."""

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


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: soundfile without libsndfile
        raise LatentstoreError(f"reading audio needs {name} ({error}): pip install 'latentstore[audio]'") from error


def _opened(file: BinaryIO) -> soundfile.SoundFile:
    library, size = _library("soundfile"), _size(file)
    if not size:
        raise AudioError("the file is empty")
    _check_container(file, size)
    file.seek(0)
    guarded = _Guarded(file)
    try:
        audio: soundfile.SoundFile = library.SoundFile(guarded)
    except library.LibsndfileError as error:
        if guarded.failure is not None:
            raise guarded.failure from error
        file.seek(0)
        begins = f"it begins with {file.read(12)!r}"
        raise AudioError(f"not audio of a known format, or damaged: {_said(error)}; {begins}") from error
    except TypeError as error:  # headerless formats, which soundfile takes by their name alone
        raise AudioError("not audio of a known format") from error
    if audio.format not in FORMATS:
        audio.close()
        raise AudioError(f"its format {audio.format} is not read; WAV, AIFF, FLAC, Ogg and MP3 are")
    return audio


def _length(audio: soundfile.SoundFile, file_bytes: int) -> AudioLength:
    if audio.frames >= 1 << 62:
        raise AudioError("its header does not say how long it is: write it anew, from a file and not from a pipe")
    if audio.frames < 1:
        raise AudioError("it holds no samples")
    if audio.frames > MOST_SAMPLES_A_BYTE * file_bytes:
        raise AudioError(f"its header claims {audio.frames:,} samples, more than its {file_bytes:,} bytes can hold")
    if audio.samplerate < 1 or audio.channels < 1:
        raise AudioError(f"it announces {audio.channels} channels at {audio.samplerate} hertz")
    return AudioLength(audio.frames, audio.samplerate, audio.channels)


def _damage(error: Any) -> AudioError:
    return AudioError(f"damaged or cut short: {_said(error)}")


def _said(error: Any) -> str:
    """libsndfile's own words, without those of soundfile, which name an object in memory."""
    return str(error.error_string).strip().removeprefix("Error : ").rstrip(".")


def _size(file: BinaryIO) -> int:
    at = file.tell()  # libsndfile remembers where it left the file
    size = file.seek(0, io.SEEK_END)
    file.seek(at)
    return size


def _check_container(file: BinaryIO, size: int) -> None:
    """What libsndfile passes over: a file shorter than its header says, an Ogg stream without an end."""
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        _check_chunks(file, size, b"data", "<I")
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        _check_chunks(file, size, b"SSND", ">I")
    elif head[:4] == b"OggS":
        _check_ogg(file, size)


def _check_chunks(file: BinaryIO, size: int, wanted: bytes, order: str) -> None:
    """That the chunk of samples lies whole in the file; pipes write a length of 2^32 - 1, or leave it to RF64's."""
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
    """That the last page is whole, and marked as the last."""
    file.seek(max(0, size - OGG_PAGE_BYTES))
    tail = file.read(OGG_PAGE_BYTES)
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    if len(page) < 27 or 27 + page[26] + sum(page[27 : 27 + page[26]]) > len(page):
        raise AudioError("cut short: its last Ogg page is not whole")
    if not page[5] & OGG_END:
        raise AudioError("cut short: its last Ogg page is not marked as the end")
