"""The recordings that are trained on: each in several versions, encoded, on one line of time. No torch here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from latentstore.codecs.audio.codec import AudioCodec
from latentstore.codecs.audio.lapped import LappedTransform
from latentstore.codecs.audio.refined import Bands
from latentstore.codecs.audio.steps import step_of
from latentstore.codecs.codec import OutlierWarning
from latentstore.codecs.errors import ArgumentError, AudioError
from latentstore.loaders.remote.location import Location
from latentstore.progress import printable
from latentstore.sources.audio.reader import read_audio
from latentstore.sources.folder import list_folder
from latentstore.train.recipe import Folder

__all__ = ["Windows", "read_recordings"]

# A version is faster or slower by up to so many octaves, and higher or lower with it. Some are as recorded.
OCTAVES, AS_RECORDED = 0.12, 0.3
# Of versions with two inputs or more, how many have a second recording in them, quieter by up to so many octaves.
MIXED, QUIETER = 0.35, 3
REVERSED = 0.15
# Samples that are mirrored about the ends of a recording while its speed is changed, so that they do not ring.
MIRRORED = 256
# Where bands of float16 are limited.
MOST = 60000.0

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


def read_recordings(folders: Sequence[Folder], codec: AudioCodec, say: Callable[[str], None]) -> list[Floats]:
    """All recordings of the folders at the codec's rate, each float32 (n, inputs).

    Files that cannot be read are said. ArgumentError if a folder is not there, or nothing is left of it.
    """
    recordings: list[Floats] = []
    for one in folders:
        if not one.folder.is_dir():
            raise ArgumentError(f"{one.folder} is not a folder: the recipe must name folders of recordings.")
        before = len(recordings)
        items, _, passed = list_folder(Location(one.folder))
        for kind, count in sorted(passed.items()):
            say(f"passed over: {count:,} {kind}")
        for item in items:
            try:
                recordings.append(read_audio(item.read(), codec.in_channels, codec.rate)[0])
            except AudioError as error:
                say(f"left out: {printable(item.path)}: {error}")
        if len(recordings) == before:
            raise ArgumentError(f"{one.folder} holds no recording to train on.")
    return recordings


class Windows:
    """Versions of recordings, encoded, from which windows of `side` instants are drawn.

    versions: of each recording. prefixes, qualities: how often each number of channels and each quality is drawn.
    codes: int8 (instants, channels). bands: float16 (instants, bands), of the version itself, in units of its step.
    beyond: float32 (instants,), the sum of the squares of all other bands. inside: bool (instants,), False between
    recordings. told: float32 (versions,), as `Bands.told`. scale: float32 (versions, channels), of codes, in steps.
    """

    def __init__(
        self,
        codec: AudioCodec,
        bands: Bands,
        recordings: Sequence[Floats],
        side: int,
        versions: int,
        prefixes: Mapping[int, float],
        qualities: Mapping[int, float],
        rng: np.random.Generator,
    ) -> None:
        self._codec, self._bands, self._side = codec, bands, side
        hop = codec.reduction
        self._transforms = [
            LappedTransform(hop, codec.lapped.mix, np.full(hop, signal, np.int8), bands.basis)
            for signal in range(codec.in_channels)
        ]
        self._prefixes, self._shares = np.array(list(prefixes)), np.array(list(prefixes.values()))
        drawn = np.array(list(qualities)), np.array(list(qualities.values()))
        made = []
        for number in range(versions):
            for recording in recordings:
                quality = int(rng.choice(drawn[0], p=drawn[1] / drawn[1].sum()))
                made.append(self._encoded(self._version(recording, recordings, number, rng), quality))
        lengths = np.array([max(len(codes), side) for codes, *_ in made])
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        total = int(self._starts[-1])
        self.codes = np.zeros((total, codec.channels), np.int8)
        self.bands = np.zeros((total, sum(bands.bands)), np.float16)
        self.beyond, self.inside = np.zeros(total, np.float32), np.zeros(total, bool)
        for start, (codes, own, beyond, _, _) in zip(self._starts, made, strict=False):
            here = slice(start, start + len(codes))
            self.codes[here], self.bands[here], self.beyond[here], self.inside[here] = codes, own, beyond, True
        self.told = np.array([told for *_, told, _ in made], np.float32)
        self.scale = np.stack([scale for *_, scale in made])
        # a window begins anywhere, and a version is drawn as often as its instants ask for
        self._places = lengths - side + 1
        self._often = self._places / self._places.sum()

    def _version(self, recording: Floats, others: Sequence[Floats], number: int, rng: np.random.Generator) -> Floats:
        """The recording as it is, and then changed at random; float32 (n, inputs)."""
        if number == 0:
            return recording
        if recording.shape[1] > 1 and rng.random() < MIXED:
            other = others[int(rng.integers(len(others)))]
            n = min(len(recording), len(other))
            level = np.sqrt((np.square(recording[:n]).mean() + 1e-12) / (np.square(other[:n]).mean() + 1e-12))
            recording = recording[:n] + np.float32(2 ** -rng.uniform(0, QUIETER) * level) * other[:n]
        if rng.random() >= AS_RECORDED:
            recording = _at_speed(recording, 2 ** rng.uniform(-OCTAVES, OCTAVES))
        shift = int(rng.integers(self._codec.reduction))
        recording = recording[shift:] if len(recording) > 2 * shift else recording
        return np.ascontiguousarray(recording[::-1] if rng.random() < REVERSED else recording)

    def _encoded(
        self, recording: Floats, quality: int
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16], Floats, float, Floats]:
        codec = self._codec
        code = codec.step_code(float(np.sqrt(np.square(recording, dtype=np.float64).mean())), quality)
        with warnings.catch_warnings():
            # a few limited values teach no less
            warnings.simplefilter("ignore", OutlierWarning)
            codes = codec.encode(recording[None], quality)[0, :, 0]
        step = np.float32(step_of(code))
        inverse = np.full(codec.reduction, 1 / step, np.float32)
        all_bands = [one.signal_to_coefficients(recording, inverse) for one in self._transforms]
        counts = self._bands.bands
        own = np.concatenate([each[:count] for each, count in zip(all_bands, counts, strict=True)])
        beyond = sum(np.square(each[count:]).sum(0) for each, count in zip(all_bands, counts, strict=True))
        return (
            codes.T,
            own.T.clip(-MOST, MOST).astype(np.float16),
            np.asarray(beyond, np.float32),
            self._bands.told(code),
            codec.scale_of(code) / step,
        )

    def draw(self, rng: np.random.Generator, count: int) -> Integers:
        """`count` windows, int64 (count, 4): where each starts among the instants, its version, the mixed signals
        whose signs are turned, as bits, and how many channels are kept."""
        version = rng.choice(len(self._places), count, p=self._often)
        place = (rng.random(count) * self._places[version]).astype(np.int64)
        turned = rng.integers(1 << self._codec.in_channels, size=count)
        kept = rng.choice(self._prefixes, count, p=self._shares / self._shares.sum())
        return np.stack([self._starts[version] + place, version, turned, kept], 1)


def _at_speed(recording: Floats, times: float) -> Floats:
    """A recording (n, inputs) that takes so many times as long, by its spectrum."""
    n = len(recording)
    mirrored = np.pad(recording, ((min(MIRRORED, n), min(MIRRORED, n)), (0, 0)), "symmetric")
    length = max(2, round(len(mirrored) * times))
    spectrum = np.fft.rfft(mirrored, axis=0)
    kept = np.zeros((length // 2 + 1, recording.shape[1]), complex)
    kept[: len(spectrum)] = spectrum[: len(kept)]
    slower = np.fft.irfft(kept, length, axis=0) * (length / len(mirrored))
    before = round(min(MIRRORED, n) * times)
    return slower[before : before + max(1, round(n * times))].astype(np.float32)
