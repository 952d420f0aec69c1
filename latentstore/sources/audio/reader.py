"""Reads recordings as the float32 samples that a codec takes.

- Content decides what a file is, not its name; `containers` lists the formats.
- Integers of 8 to 32 bits become -1 to 1. Floats stay as they are, up to 16 times full scale: beyond that they are in
  the scale of integers, and refused.
- One channel is copied to all inputs of the codec. Two channels become one by their mean. Any other number of
  channels than the codec's inputs is refused.
- soxr resamples where another rate is asked for: n samples become round(n * rate / own rate), at least one.

AudioError tells why a recording is refused: it has no samples, is cut short, holds values that are not finite or are in
another scale, or its header and its samples do not agree.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from latentstore.codecs.errors import ArgumentError, AudioError
from latentstore.sources.audio.files import AudioLength, damage, examined, library, open_audio
from latentstore.sources.audio.levels import Levels, require_scale

if TYPE_CHECKING:
    import soundfile

    from latentstore.sources.audio.view import Checked

__all__ = ["MAX_VALUES", "AudioReader", "library_versions", "read_audio", "require_near", "resampled_length"]

# 2 GiB as float32: an hour and a half of stereo at 44.1 kHz.
MAX_VALUES = 1 << 29
# Coded without a memory of what went before, so that seeking changes no sample.
EXACT = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
FLOATS = {"FLOAT", "DOUBLE"}
BLOCK = 1 << 16
# A rate is given by a header, and becomes memory: a recording grows or shrinks by this at most.
MOST_RESAMPLING = 1000


def read_audio(data: bytes | np.ndarray, inputs: int, rate: int | None = None) -> tuple[np.ndarray, int]:
    """(float32 (n, inputs), its rate in hertz) of one recording.

    data: the bytes of an audio file. inputs: channels that the codec takes. rate: in hertz; None keeps the
    recording's. AudioError says why a recording is refused; LatentstoreError, that a library is not installed.
    """
    with AudioReader(data, inputs, rate) as reader:
        if reader.samples * inputs > MAX_VALUES:
            raise AudioError(
                f"{reader.samples:,} samples in {inputs} channels are too many to be read at once; {MAX_VALUES:,} "
                "values are the most"
            )
        return reader.read(0, reader.samples), reader.rate


def resampled_length(samples: int, own: int, rate: int) -> int:
    """The number of samples at `rate` that `samples` at the rate `own` become; both rates in hertz."""
    return max(1, (2 * samples * rate + own) // (2 * own))


def require_near(own: int, rate: int) -> None:
    """AudioError where a recording at the rate `own` would grow or shrink too much at `rate`; both in hertz."""
    if max(rate, own) > MOST_RESAMPLING * min(rate, own):
        raise AudioError(f"its header says {own:,} hertz, too far from the {rate:,} hertz asked for")


def library_versions(resampling: bool) -> dict[str, str]:
    """Versions of the libraries that decode and resample; LatentstoreError where one is not installed."""
    soundfile = library("soundfile")
    found = {"soundfile": soundfile.__version__, "libsndfile": soundfile.__libsndfile_version__}
    return {**found, "soxr": library("soxr").__version__} if resampling else found


class AudioReader:
    """Reads a recording forwards, so that a long one need not be in memory. Use it as a context manager.

    data: the bytes of an audio file; or the open file, which the reader closes; or an array (n,) or (n, channels) of
    floats, int16 or int32, whose rate in hertz is `own`. samples, rate: of what `read` gives. own_rate: in hertz, of
    the recording. levels: of what was read. Errors as in `read_audio`.
    """

    def __init__(
        self, data: bytes | BinaryIO | np.ndarray, inputs: int, rate: int | None = None, own: int | None = None
    ) -> None:
        self.inputs, self._rate, self._own = inputs, rate, own
        self._source = io.BytesIO(data) if isinstance(data, bytes) else data
        self._audio: soundfile.SoundFile | None = None
        self._checked: Checked | None = None
        self.levels = Levels()
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
            self._checked = self._checked or examined(self._source)
            self._audio, length = open_audio(self._source, self._checked)
            blocks = _file_blocks(self._audio)
        _check_channels(length.channels, inputs)
        self.levels, self.own_rate = Levels(), length.rate
        self.rate = length.rate if self._rate is None else self._rate
        require_near(length.rate, self.rate)
        self.samples = resampled_length(length.samples, length.rate, self.rate)
        mixed = (self._mixed(block) for block in _whole(blocks, length.samples))
        self._blocks = mixed if self.rate == length.rate else _resampled(mixed, length.rate, self.rate)
        self._exact = self._audio is not None and self.rate == length.rate and self._audio.subtype in EXACT

    def _skip(self, start: int) -> None:
        """Moves forward to `start`; without decoding what lies between, where the format allows it."""
        if not self._exact or self._audio is None or start - self.at <= BLOCK:
            self._take(start - self.at, None)
            return
        try:
            self._audio.seek(start)
        except library("soundfile").LibsndfileError as error:
            self._failure = damage(error)
            raise self._failure from error
        blocks = _whole(_file_blocks(self._audio), self.samples, start)
        self._blocks = (self._mixed(block) for block in blocks)
        self.at, self._rest = start, np.zeros((0, self.inputs), np.float32)

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
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
        if start < stop and not self.levels.add(out):
            finite = np.isfinite(out).all(axis=1)
            raise AudioError(f"sample {start + int(finite.argmin()):,} is not a finite number")
        require_scale(self.levels.peak)
        return out

    def begin_levels(self) -> None:
        """Lets `levels` be of what is read from here on."""
        self.levels = self.levels.next() if len(self._rest) else Levels()

    def check_scale(self) -> None:
        """AudioError where samples of a recording of floats are in another scale. It reads all of one, and begins anew.

        Samples that are not finite are left to `read`.
        """
        if isinstance(self._source, np.ndarray):
            blocks, floats = iter([self._source]), self._source.dtype.kind == "f"
        else:
            assert self._audio is not None
            blocks, floats = _file_blocks(self._audio), self._audio.subtype in FLOATS
        if not floats:
            return
        for block in blocks:
            peak = max(float(block.max()), -float(block.min()))
            if np.isfinite(peak):
                require_scale(peak)
        self._begin()

    def _take(self, count: int, out: np.ndarray | None) -> None:
        """Reads the next `count` samples into `out`, or drops them."""
        done = 0
        while done < count:
            if not len(self._rest):
                block = self._next()
                # soxr rounds lengths in its own way: the last sample or two may be missing
                self._rest = np.zeros((count - done, self.inputs), np.float32) if block is None else block
            some = min(count - done, len(self._rest))
            if out is not None:
                out[done : done + some] = self._rest[:some]
            self._rest, done = self._rest[some:], done + some
        self.at += count

    def _mixed(self, block: np.ndarray) -> np.ndarray:
        if block.shape[1] == self.inputs:
            return block
        if block.shape[1] == 1:
            return np.repeat(block, self.inputs, axis=1)
        mono = block.mean(axis=1, keepdims=True, dtype=np.float32)
        self.levels.mix(block, mono)
        return mono

    def _next(self) -> np.ndarray | None:
        # a generator that has raised looks like one that has ended: what follows damage counts as damaged too
        if self._failure is not None:
            raise AudioError(str(self._failure))
        try:
            return next(self._blocks, None)
        except AudioError as error:
            self._failure = error
            raise


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
            raise damage(error) from error
        if not len(block):
            return
        yield block


def _whole(blocks: Iterator[np.ndarray], samples: int, seen: int = 0) -> Iterator[np.ndarray]:
    """The blocks; AudioError if they hold too few samples. seen: samples before them."""
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


def _resampled(blocks: Iterator[np.ndarray], own: int, rate: int) -> Iterator[np.ndarray]:
    soxr = library("soxr")
    stream = None
    for block in blocks:
        if stream is None:
            stream = soxr.ResampleStream(own, rate, block.shape[1], dtype="float32")
        yield stream.resample_chunk(np.ascontiguousarray(block))
    if stream is not None:
        yield stream.resample_chunk(np.zeros((0, block.shape[1]), np.float32), last=True)
