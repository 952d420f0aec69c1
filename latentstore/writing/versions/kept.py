"""What stays of the version before: sums over all its samples, and over those that go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from latentstore.loaders.columns import unpack
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.remote.location import Location
from latentstore.loaders.stats import Moments
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.latent_reader import LatentReader
from latentstore.loaders.tensors.latents import FIELD
from latentstore.loaders.tensors.manifest import TensorMeta
from latentstore.loaders.tensors.read import VersionReader

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

AT_ONCE = 256
"""Samples that are decoded together."""


class Kept:
    """The samples of a published version. Only those that go are decoded, so the cost is that of what changes."""

    def __init__(self, dataset: LatentDataset | None, moments: Moments) -> None:
        self._dataset, self._moments = dataset, moments
        self._at = {} if dataset is None else {key: at for at, key in enumerate(dataset.keys())}

    @classmethod
    def of(cls, location: Location, version: TensorMeta | None, codec: Codec) -> Kept:
        """version: None for none."""
        if version is None:
            return cls(None, Moments.none(codec.channels))
        name = layout.moments_name(version.version)
        where = location.at(name)
        moments = Moments.of_arrays(unpack(location.read(name), where)[1], codec.channels, where)
        return cls(LatentDataset(LatentReader(VersionReader(location, version, [FIELD]))), moments)

    def among(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that the version has."""
        return [key for key in dict.fromkeys(keys) if key in self._at]

    def moments_without(self, keys: list[str]) -> Moments:
        """The moments of all samples but these. CorruptError if one of these cannot be decoded."""
        if self._dataset is None:
            return self._moments
        indices = np.array(sorted(self._at[key] for key in keys), np.int64)
        gone = [self._moments_of(indices[first : first + AT_ONCE]) for first in range(0, len(indices), AT_ONCE)]
        return self._moments.without(Moments.total(gone, self._dataset.channels))

    def _moments_of(self, indices: np.ndarray) -> Moments:
        dataset = self._dataset
        assert dataset is not None
        steps = dataset.step_codes(dataset.reader.fields(indices))
        codes = np.zeros(len(indices), np.int64) if steps is None else steps
        latents = dataset.read_latents(indices)
        if isinstance(latents, np.ndarray):
            return Moments.of(latents, codes)
        return Moments.total(
            (Moments.of(latent[None], code[None]) for latent, code in zip(latents, codes, strict=True)),
            dataset.channels,
        )

    def extent_without(self, keys: list[str]) -> int:
        """Pixels of the images, or samples of the audio, of all samples but these."""
        if self._dataset is None:
            return 0
        indices = np.array([self._at[key] for key in keys], np.int64)
        return self._dataset.reader.meta.extent - int(self._dataset.sizes(indices).prod(axis=1).sum())
