"""Training a decoder of audio: windows of recordings, and the network that slides along bands and instants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.artifact.container import Array
from latentstore.codecs.artifact.folded import FOLD, FoldedShape
from latentstore.codecs.audio.codec import AudioCodec
from latentstore.codecs.audio.refined import Bands
from latentstore.progress import counted
from latentstore.train.audio.network import FoldedRefinement
from latentstore.train.audio.recordings import Windows, read_recordings
from latentstore.train.export import floats_of
from latentstore.train.recipe import Recipe
from latentstore.train.task import Batch, DecoderTask, Made

__all__ = ["AudioTask"]

VERSIONS = 16
"""Of each recording: as it is, and changed at random."""
# The draws of the versions are of a seed of their own.
VERSIONS_SEED = 7


class AudioTask(DecoderTask):
    """See `DecoderTask`."""

    columns: ClassVar[int] = 4
    default_qualities: ClassVar[Mapping[int, float]] = {
        50: 0.5, 10: 0.05, 20: 0.05, 30: 0.1, 40: 0.1, 60: 0.08, 70: 0.06, 80: 0.04, 90: 0.02,
    }  # fmt: skip
    default_side: ClassVar[int] = 96
    least_error = 0.002  # in squared steps

    def __init__(self, recipe: Recipe, codec: AudioCodec, say: Callable[[str], None]) -> None:
        super().__init__(recipe, codec, say)
        self.audio = codec
        width = codec.rate / 2 / codec.reduction
        held = (round(edge / width) for edge in codec.bandwidth())
        bands = tuple(min(-(-max(count, 1) // FOLD) * FOLD, codec.reduction // FOLD * FOLD) for count in held)
        self.shape: FoldedShape = FoldedShape(codec.channels, bands, recipe.width, recipe.blocks)
        self.bands: Bands = codec.bands(bands)

    def read(self) -> tuple[str, str]:
        codec = self.audio
        recordings = read_recordings(self.recipe.recordings, codec, self.say)
        self.watched = read_recordings(self.watched_folders, codec, self.say)
        rng = np.random.default_rng([self.recipe.seed, VERSIONS_SEED])
        self.windows = Windows(codec, self.bands, recordings, self.side, VERSIONS, self.prefixes, self.qualities, rng)
        seconds = sum(map(len, recordings)) / codec.rate
        cost = self.shape.operations / codec.reduction / codec.in_channels
        return (
            f"{counted(len(recordings), 'recording')}, {seconds:,.0f} seconds",
            f"{cost:,.0f} multiplications a sample",
        )

    def gains(self, made: Made) -> dict[int, float]:
        found: dict[int, list[float]] = {kept: [] for kept in sorted(self.prefixes)}
        for recording in self.watched:
            blob = self.audio.compress(recording)
            for kept, values in found.items():
                pair = [self.audio.decompress(blob, kept, decoder=which) for which in ("linear", made.trained)]
                errors = [max(float(np.square(recording - one, dtype=np.float64).mean()), 1e-12) for one in pair]
                values.append(10 * float(np.log10(errors[0] / errors[1])))
        return {kept: float(np.mean(values)) for kept, values in found.items() if values}

    def network(self, device: torch.device) -> FoldedRefinement:
        windows, codec = self.windows, self.audio
        self._codes, self._own, self._beyond, self._inside, self._told, self._scale = (
            torch.from_numpy(each).to(device)
            for each in (windows.codes, windows.bands, windows.beyond, windows.inside, windows.told, windows.scale)
        )
        self._map, self._delta = (
            torch.from_numpy(each).to(device) for each in (self.bands.map, self.bands.delta.copy())
        )
        self._numbers = torch.arange(codec.channels, device=device)
        self._instants = torch.arange(self.side, device=device)
        self._of_channel = torch.from_numpy(codec.lapped.source.astype(np.int64)).to(device)
        counts = torch.tensor(self.shape.bands)
        self._of_band = torch.repeat_interleave(torch.arange(len(counts)), counts).to(device)
        return FoldedRefinement(self.shape, self.bands.shares).to(device)

    def measure(self, network: torch.nn.Module, picked: npt.NDArray[np.int64]) -> None:
        """Sets the deviations of what is lacking, at most three steps: what no channel holds is not to be guessed."""
        assert isinstance(network, FoldedRefinement)
        lacking = self.batch(torch.from_numpy(picked).to(network.deviation.device)).lacking
        network.deviation.copy_(lacking.square().mean((0, 2)).sqrt().clamp(1e-3, 3))

    def tensors(self, average: Mapping[str, torch.Tensor], picked: npt.NDArray[np.int64]) -> dict[str, Array]:
        return floats_of(average)

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        return self.windows.draw(rng, count)

    def batch(self, picked: torch.Tensor) -> Batch:
        """What is given and lacking are bands, float32 (n, bands, side)."""
        start, version, turned, kept = picked.unbind(1)
        at = start[:, None] + self._instants
        signs = 1 - 2 * (turned[:, None] >> torch.arange(len(self.shape.bands), device=turned.device) & 1).float()
        codes = self._codes[at].float() * signs[:, self._of_channel][:, None]
        codes = (codes * (self._numbers < kept[:, None])[:, None]).transpose(1, 2)
        size = codes.abs()
        delta = torch.where(size == 1, self._delta[:, :1], self._delta[:, 1:])
        values = codes.sign() * (size - delta) * self._scale[version][:, :, None]
        linear = torch.matmul(self._map, values)
        own = (self._own[at].float() * signs[:, self._of_band][:, None]).transpose(1, 2)
        lacking = (own - linear) * self._inside[at][:, None]
        lost = self._beyond[at].mean(1) / lacking.shape[1]
        return Batch(linear, lacking, kept.float(), self._told[version], torch.ones_like(lost), lost)

    def errors(self, lacking: torch.Tensor, batch: Batch) -> torch.Tensor:
        """In squared steps."""
        assert batch.lost is not None
        return lacking.square().mean((1, 2)) + batch.lost
