"""`AudioCodec`: waveforms to latents to blobs, and back (docs/format-audio.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentstore.codecs.arguments import (
    Buffer,
    Effort,
    require_blob,
    require_effort,
    require_prefix,
    require_quality,
)
from latentstore.codecs.artifact.file import Artifact
from latentstore.codecs.audio.arguments import power_of, require_audio
from latentstore.codecs.audio.bandwidth import bandwidth
from latentstore.codecs.audio.lapped import LappedTransform
from latentstore.codecs.audio.passes import Blocks, Passes
from latentstore.codecs.audio.refined import Bands, Refiner
from latentstore.codecs.audio.steps import Spread, StepCodes, step_of
from latentstore.codecs.bitstream.sample import SampleInfo, join_sample
from latentstore.codecs.bitstream.segments import SEGMENT, step_code_of
from latentstore.codecs.codec import Codec, Compressed
from latentstore.codecs.entropy.adaptive import AdaptiveCoder
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError
from latentstore.codecs.modality import MAX_AREA
from latentstore.codecs.neural.decoder import Decoder

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]

# Segments encoded together: as many as fill the coder's lanes.
RUN = 16 * SEGMENT


class Tally:
    """Counts during a pass over a signal: the values that were limited to +-127, and the sums of the squares of each
    channel's values."""

    def __init__(self, channels: int) -> None:
        self.outside = 0
        self.squares = np.zeros(channels, np.int64)

    def limited(self, latents: Iterable[tuple[Int8s, int]]) -> Iterator[Int8s]:
        for latent, outside in latents:
            self.outside += outside
            yield latent

    def measured(self, runs: Iterable[Int8s]) -> Iterator[Int8s]:
        for run in runs:
            self.squares += np.square(run, dtype=np.int32).sum((1, 2))
            yield run


class AudioCodec(Codec):
    """A codec of audio. Its mode is "audio".

    Signals are arrays (n, in_channels), or (n,) for one channel. They are float with full scale -1 to 1, or int16
    or int32 with the full scale of their type.

    rate: in hertz; the rate of signals that do not say theirs.
    reduction: samples per instant.
    """

    folds_bands: ClassVar[bool] = True

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        facts, tensors = artifact.facts, artifact.tensors
        self.entropy: AdaptiveCoder = AdaptiveCoder(artifact)
        self.reduction = int(facts["hop"])
        self.rate = int(facts["rate"])
        # floors that are finer than any step decide nothing, so nobody needs to know the level that they belong to
        self.steps = StepCodes(self._floor, bool(self._floor.max() > self.step(100)))
        self.sources = tensors["source"]
        try:
            self.lapped = LappedTransform(self.reduction, tensors["mix"], self.sources, tensors["basis"])
        except ArgumentError as error:
            raise ArtifactError(f"Artifact {self.name} contradicts itself: {error}") from error
        # by the SHA-256 of decoders; a second thread that makes the same one makes an equal one
        self._refiners: dict[str, Refiner] = {}

    @property
    def in_channels(self) -> int:
        return int(self.artifact.facts["inputs"])

    def bandwidth(self, rate: int | None = None) -> list[float]:
        """For each mixed signal (mid and side of a stereo codec), the frequency in hertz up to which it comes back.

        rate: of the audio; None is the codec's. Frequencies go with it.
        """
        return bandwidth(self.lapped, self.rate if rate is None else rate)

    def bands(self, counts: tuple[int, ...]) -> Bands:
        """The lowest bands of each mixed signal, so many of each, as trained decoders work on them."""
        return Bands(self.lapped, counts, self.steps, self._delta, self.step())

    # steps

    def step_code(self, level: float, quality: int | None = None) -> int:
        """The step code for a signal (docs/format-audio.md section S3).

        level: the signal's root mean square, full scale 1.
        """
        return self.steps.code(self.step(quality), level)

    def scale_of(self, code: int) -> Floats:
        """float32 (channels,): a latent times this gives coefficients, for the step code of a sample."""
        return self.steps.scale(code)

    def scales(self, quality: int | None = None) -> Callable[[int], Floats]:
        """`scale_of`: each sample has a step code of its own, whatever the quality."""
        return self.scale_of

    # signals and latents

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(channels, 1, t): the shape of the latent of `width` samples; height is 1."""
        return self.channels, height, -(-width // self.reduction)

    def encode(self, signals: Any, quality: int | None = None, effort: Effort = "default") -> Int8s:
        """Encodes signals (N, n, in_channels) to latents int8 (N, channels, 1, ceil(n / reduction)).

        quality: 1 to 100; None is the codec's default.
        effort: "default" optimises rate and distortion against the tables of the entropy coder. "fast" rounds
            every coefficient by itself; then the latent of the negated signal is the negated latent, and
            exchanging left and right negates the channels of source 1. The step is that of `step_code`. Values
            that do not fit int8 are limited, with an OutlierWarning. `compress` chooses a step that suits such a
            signal better, and writes it into the blob.
        Raises ArgumentError for another dtype or shape.
        """
        batch = [require_audio(signal, self.in_channels, self.name) for signal in signals]
        if len({len(signal) for signal in batch}) != 1:
            raise ArgumentError("Signals encoded together have one length; there is none, or there are several.")
        q, effort = require_quality(quality, self.default_quality), require_effort(effort)

        tally, made = Tally(self.channels), []
        for signal in map(self._passes, batch):
            code = self.step_code(signal.level, q)
            made.append(np.concatenate(list(self._runs(signal, code, q, effort, tally)), axis=2))
        self._warn(tally.outside, q)
        return np.stack(made)

    def decode(
        self,
        latents: npt.ArrayLike,
        channels: int | None = None,
        quality: int | None = None,
        size: int | None = None,
        codes: npt.ArrayLike | None = None,
        decoder: str | Decoder | None = None,
    ) -> Floats:
        """Decodes latents int8 (N, c, 1, t), or only their first channels, to signals float32 (N, n, in_channels).

        quality: is not needed: the step codes say all.
        codes: (N,), the step codes of the signals; they must be given.
        size: n, where it is not t times the reduction.
        decoder: "best", "linear", the name of a trained decoder such as "small", or what `load_decoder` gives.
            None is "linear", which keeps digital silence silent. A trained one
            refines what the linear one makes, where it was trained for so many channels (docs/learned/decoders.md).
        """
        given, chosen = np.asarray(latents), self.decoder(decoder)
        if given.ndim != 4 or given.dtype != np.int8 or given.shape[2] != 1 or not 1 <= given.shape[1] <= self.channels:
            raise ArgumentError(
                f"latents are {given.dtype} {given.shape}; int8 (N, 1 to {self.channels}, 1, t) is expected."
            )
        kept, t = require_prefix(channels, given.shape[1]), given.shape[3]
        n = t * self.reduction if size is None else size
        if -(-n // self.reduction) != t:
            raise ArgumentError(f"size is {size}; {t} instants are of {(t - 1) * self.reduction + 1} samples or more.")
        if codes is None:
            raise ArgumentError(f"The steps of {self.name} go with each signal's level: decoding takes `codes`.")
        steps = np.asarray(codes).tolist()
        out = np.empty((len(given), n, self.in_channels), np.float32)
        for signal, latent, code in zip(out, given, steps, strict=True):
            signal[...] = self._decoded(latent[:kept, 0], 0, t, 0, n, code, chosen)
        return out

    def decode_samples(
        self,
        latents: Int8s,
        quality: int,
        size: tuple[int, int],
        steps: npt.NDArray[np.int64] | None,
        decoder: str | Decoder | None = None,
    ) -> Floats:
        """See `Codec.decode_samples`: float32 (N, samples, in_channels)."""
        return self.decode(latents, quality=quality, size=size[1], codes=steps, decoder=decoder)

    # signals and blobs

    def require_signal(self, signal: npt.NDArray[Any]) -> Floats:
        """See `Codec.require_signal`: float32 (n, in_channels)."""
        audio = require_audio(signal, self.in_channels, self.name)
        power_of(audio)
        self.modality.check(len(audio), 1, self.rate)
        return audio

    def signal_size(self, signal: npt.NDArray[Any]) -> tuple[int, int]:
        """See `Codec.signal_size`."""
        return 1, len(signal)

    def compress(
        self, signal: Any, quality: int | None = None, effort: Effort = "default", rate: int | None = None
    ) -> bytes:
        """Compresses a signal to a sample blob.

        quality, effort: as in `encode`. rate: of the signal, in hertz; None is the codec's.
        """
        return self._joined(signal, quality, effort, rate)

    def compress_blocks(
        self, blocks: Blocks, quality: int | None = None, effort: Effort = "default", rate: int | None = None
    ) -> bytes:
        """Compresses a signal that comes in blocks (m, in_channels) of any lengths, to the blob that `compress`
        makes of all of it.

        blocks: a function that begins anew each time it is called. It is called once or, where the coefficients are
            as many as the samples or too many to be kept, for each of two to four passes. Memory grows with the blob
            only, and by up to 64 MiB of coefficients.
        """
        return self._joined(blocks, quality, effort, rate)

    def _joined(self, signal: Any, quality: int | None, effort: Effort, rate: int | None) -> bytes:
        made, samples = self._compress(signal, quality, effort)
        self._warn(made.limited, quality)
        return self.join_groups(made.groups, 1, samples, rate)

    def compress_counted(self, signal: Any, quality: int | None = None, effort: Effort = "default") -> Compressed:
        """Does what `compress_groups` does, and says what the signal lost in place of a warning.

        signal: an array, or a function that gives its blocks, as for `compress_blocks`.
        """
        return self._compress(signal, quality, effort)[0]

    def _passes(self, given: Any) -> Passes:
        """Of an array, or of a function that gives its blocks; both are checked."""
        if callable(given):
            blocks = lambda: (require_audio(block, self.in_channels, self.name) for block in given())  # noqa: E731
            return Passes(self.lapped, blocks, in_memory=False)
        whole = [require_audio(given, self.in_channels, self.name)]
        return Passes(self.lapped, lambda: whole, in_memory=True)

    def _compress(self, given: Any, quality: int | None, effort: Effort) -> tuple[Compressed, int]:
        """What was made, and how many samples the signal has."""
        q, effort = require_quality(quality, self.default_quality), require_effort(effort)

        def coded(code: int) -> tuple[list[bytes], Tally]:
            tally = Tally(self.channels)
            runs = tally.measured(self._runs(signal, code, q, effort, tally))
            return self.entropy.encode_runs(runs, self.band(q), code), tally

        signal = self._passes(given)
        code = self.step_code(signal.level, q)
        # with steps much finer than the floors, other floors may pay
        settled = self.steps.is_far_below_the_floor(code)
        if settled:
            code = self._fitting_code(signal, code)
        groups, tally = coded(code)
        if tally.outside and not settled and (better := self._fitting_code(signal, code)) != code:
            code = better
            groups, tally = coded(code)
        # coefficients are orthonormal: their power is that of the samples
        held = float(np.square(self.scale_of(code), dtype=np.float64) @ tally.squares)
        return Compressed(groups, tally.outside, held / signal.power if signal.power else 1.0), signal.samples

    def encode_latent_groups(self, latent: npt.ArrayLike, quality: int | None = None, code: int = 0) -> list[bytes]:
        """Codes a latent, int8 (channels, 1, t), to its group blobs without loss.

        quality: the one at which the latent was encoded. If it is None, the models that code it in fewest bits are
            searched for.
        code: the step code of the signal. If it is 0, the blobs do not say their step, and `decompress` refuses them.
        """
        codes = self._require_latent(latent)
        if codes.shape[1] != 1 or not 1 <= codes.shape[2] <= MAX_AREA:
            raise ArgumentError(f"The latent is {codes.shape}; audio has one row and 1 to {MAX_AREA} instants.")
        band = None if quality is None else self.band(require_quality(quality, self.default_quality))
        return self.entropy.encode_runs([codes], band, code)

    def join_groups(self, groups: list[bytes], height: int, width: int, rate: int | None = None) -> bytes:
        """Joins the group blobs that `compress_groups` made of `width` samples to a sample blob; height is 1."""
        return join_sample(groups, width, height, self.mode, self.fingerprint, self.rate if rate is None else rate)

    def decompress(
        self,
        blob: Buffer,
        channels: int | None = None,
        start: int = 0,
        stop: int | None = None,
        decoder: str | Decoder | None = None,
    ) -> Floats:
        """Decompresses a sample blob, or its beginning that holds the first channels, to a signal float32 (n,
        in_channels).

        start, stop: only the samples from `start` to before `stop`, as in a slice. No more of a long signal is
            decoded than they need.
        decoder: as in `decode`.
        Raises ArgumentError if the blob does not say its step, because `encode_latent_groups` was not told the code.
        """
        data, chosen = require_blob(blob), self.decoder(decoder)
        info = self.info(data)
        begin, end, _ = slice(start, stop).indices(info.width)
        if end <= begin:
            return np.zeros((0, self.in_channels), np.float32)
        kept = require_prefix(channels, self.channels)
        t = self._size_of(info)[1]
        first, last = self.needed(begin, end, t, chosen)
        count = -(-kept // self.group_channels)
        self._check_end(data, info, count, "the blob", None)
        groups = [data[info.starts[g] : info.ends[g]] for g in range(count)]
        latent, at, codes = self.entropy.decode_instants(groups, t, first, last)
        if len(codes) > 1:
            raise CorruptError(f"The blob's groups are of the step codes {sorted(codes)}, not of one.")
        code = codes.pop()
        if not code & 255:
            raise ArgumentError("The blob does not say its step: read its latent, and decode that with its codes.")
        joined = latent.reshape(-1, latent.shape[3])
        part = np.ascontiguousarray(joined[:kept, first - at : last - at])
        return self._decoded(part, first, t, begin, end, code, chosen)

    def sample_fields(self, groups: Sequence[bytes]) -> dict[str, int]:
        """The step code."""
        return {"step": step_code_of(groups[0])}

    def read_sizes(self, blobs: Blobs, sizes: npt.NDArray[np.int64]) -> list[Int8s]:
        """See `Codec.read_sizes`: recordings of any lengths are decoded in one call."""
        groups = len(blobs) // max(1, len(sizes))
        self._check_sizes(sizes, groups)
        instants = -(-sizes[:, 1] // self.reduction)
        flat = self.entropy.decode_rows(blobs, np.repeat(instants.astype(np.int32), groups))
        channels = groups * self.group_channels
        parts = np.split(flat, np.cumsum(instants * channels)[:-1])
        return [part.reshape(channels, 1, -1) for part in parts]

    def read_windows(
        self,
        blobs: Blobs,
        sizes: npt.NDArray[np.int64],
        first: npt.NDArray[np.int64],
        last: npt.NDArray[np.int64],
    ) -> list[Int8s]:
        """Decodes the instants from first[i] to before last[i] of N recordings, in one call, and little beside them.

        blobs, sizes: as in `read_sizes`. first, last: int64 (N,). Returns N latents int8 (c, 1, last - first). An
        error's `index` is the position of the bad blob.
        """
        groups = len(blobs) // max(1, len(sizes))
        self._check_sizes(sizes, groups)
        instants = -(-sizes[:, 1] // self.reduction)
        if len(sizes) and ((first < 0) | (first >= last) | (last > instants)).any():
            raise ArgumentError("A window of instants is empty, or not within its recording.")
        whole, begin, end = (np.repeat(each, groups) for each in (instants, first, last))
        parts = self.entropy.decode_windows(blobs, whole, begin, end)
        return [np.concatenate(parts[at : at + groups])[:, None] for at in range(0, len(parts), groups)]

    def needed(self, start: int, stop: int, instants: int, decoder: Decoder | None = None) -> tuple[int, int]:
        """The instants [first, last), of so many, that `decode_window` makes samples [start, stop) from."""
        first, last = self.lapped.needed(start, stop, instants)
        reach = 0 if decoder is None or start == stop else self._refiner(decoder).reach
        return max(first - reach, 0), min(last + reach, instants)

    def decode_window(
        self,
        latent: Int8s,
        first: int,
        instants: int,
        start: int,
        stop: int,
        code: int,
        decoder: Decoder | None = None,
    ) -> npt.NDArray[np.float32]:
        """Samples `start` to before `stop` of what `decode` makes of a whole latent, float32 (stop - start, inputs).

        latent: int8 (c, 1, k), its instants from `first` on, of `instants` in all. They must hold those that `needed`
        names. code: the step code. decoder: a trained one, or None.
        """
        return self._decoded(latent[:, 0], first, instants, start, stop, code, decoder)

    def info(self, blob: Buffer) -> SampleInfo:
        """The header of a sample blob: `width` is the number of samples, `rate` their rate in hertz.

        Raises ArtifactError if another codec made it, CorruptError or TruncatedError if it cannot be read.
        """
        return self._sample(require_blob(blob))

    # inside

    def _sample(self, blob: memoryview, index: int | None = None) -> SampleInfo:
        info = super()._sample(blob, index)
        if self._size_of(info)[1] > MAX_AREA:
            raise CorruptError(f"The blob claims {info.width} samples: more than {MAX_AREA} instants.", index)
        return info

    def _runs(self, signal: Passes, code: int, quality: int, effort: Effort, tally: Tally) -> Iterator[Int8s]:
        """The latent in runs int8 (channels, 1, r), all but the last of whole segments."""
        scale = self.scale_of(code)
        inverse = np.reciprocal(scale)
        if effort == "fast":
            rounding = np.full(self.channels, self.artifact.facts["rounding"], np.float32)
            yield from _gathered(tally.limited(signal.latents(inverse, rounding)))
            return
        weight = (scale / scale.max()).astype(np.float32) ** 2
        lambda_ = float(self.artifact.facts["lambda"]) * float(np.float32(step_of(code)) / scale.max()) ** 2
        for run in _gathered(signal.coefficients(inverse)):
            tally.outside += int((np.abs(run) >= 127.5).sum())
            yield self.entropy.optimise_all(run, self.band(quality), weight, lambda_, self._delta)

    def _fitting_code(self, signal: Passes, code: int) -> int:
        """The step code, from `code` on, with which rounding and limiting to int8 together lose least."""
        spread = Spread(self.channels)
        for coefficients in signal.coefficients(np.ones(self.channels, np.float32)):
            spread.add(coefficients)
        return self.steps.best(spread, code)

    def _decoded(
        self, latent: Int8s, first: int, t: int, start: int, stop: int, code: int, decoder: Decoder | None
    ) -> Floats:
        """`decode_window` of int8 (c, k), by the linear synthesis, or by a decoder where that was trained for it."""
        part = np.ascontiguousarray(latent)
        signal = self.lapped.latent_to_samples(part, first, t, start, stop, self.scale_of(code), self._delta)
        if decoder is not None and decoder.prefixes[0] <= len(part) <= decoder.prefixes[1] and start < stop:
            signal += self._refiner(decoder).samples(part, first, t, start, stop, code)
        return signal

    def _refiner(self, decoder: Decoder) -> Refiner:
        found = self._refiners.get(decoder.sha256)
        if found is None:
            found = self._refiners[decoder.sha256] = Refiner(decoder.file, self.bands(decoder.file.folded.bands))
        return found


def _gathered(parts: Iterable[npt.NDArray[Any]]) -> Iterator[npt.NDArray[Any]]:
    """Planes (channels, r) one after another as (channels, 1, RUN) and one shorter rest."""
    held: list[npt.NDArray[Any]] = []
    length = 0
    for part in parts:
        held.append(part)
        length += part.shape[1]
        while length >= RUN:
            joined = np.concatenate(held, axis=1)
            yield joined[:, None, :RUN]
            held, length = [joined[:, RUN:]], length - RUN
    if length:
        yield np.concatenate(held, axis=1)[:, None]
