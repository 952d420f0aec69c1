"""What a training is of, images or audio: `Training` and the run know no more of it than this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.artifact.container import Array
from latentstore.codecs.artifact.decoder import NetworkShape
from latentstore.codecs.artifact.folded import FoldedShape
from latentstore.codecs.codec import Codec
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.decoder import Decoder
from latentstore.train.recipe import Folder, Recipe

__all__ = ["Batch", "Task"]

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """n crops.

    given: float32 (n, ...), what the network is given: codes of images, zero past the kept channels, or the bands of
    audio that the linear synthesis makes. lacking: float32 (n, planes, ...), what must be added to these, in units of
    the step. kept: float32 (n,), channels. told: float32 (n,), the logarithm to base 2 of the step over that of the
    default quality. step: float32 (n,). lost: float32 (n,), a part of the error of each crop that no answer changes,
    in the units of `Task.errors`.
    """

    given: torch.Tensor
    lacking: torch.Tensor
    kept: torch.Tensor
    told: torch.Tensor
    step: torch.Tensor
    lost: torch.Tensor | None = None


class Task(ABC):
    """A codec, what is read to train its decoder, and how crops become batches.

    shape: of the network. prefixes, qualities: how often each is drawn. least_error: of a crop, in the units of
    `errors`, so that empty ones do not rule the logarithm. side: of a crop, in positions.
    """

    columns: ClassVar[int]
    """Numbers of a crop that is drawn."""
    default_qualities: ClassVar[Mapping[int, float]]
    default_side: ClassVar[int]
    least_error: float
    shape: NetworkShape | FoldedShape

    def __init__(self, recipe: Recipe, codec: Codec, say: Callable[[str], None]) -> None:
        self.recipe, self.codec, self.say = recipe, codec, say
        self.side = recipe.side or self.default_side
        whole = range(codec.group_channels, codec.channels + 1, codec.group_channels)
        self.prefixes = dict(recipe.prefixes) or dict.fromkeys(whole, 1.0)
        self.qualities = dict(recipe.qualities) or dict(self.default_qualities)
        if max(self.prefixes) > codec.channels:
            raise ArgumentError(f"prefixes has {max(self.prefixes)} channels; {codec.name} has {codec.channels}.")

    @property
    def watched_folders(self) -> list[Folder]:
        return [Folder(self.recipe.watch, 1.0)] if self.recipe.watch else []

    @abstractmethod
    def read(self) -> tuple[str, str]:
        """Reads the folders of the recipe; returns how much there is to train on, and what the network costs."""

    @abstractmethod
    def gains(self, decoder: Decoder) -> dict[int, float]:
        """By number of channels: the mean gain over the linear decoder in dB on what is watched; {} if nothing is."""

    @abstractmethod
    def network(self, device: torch.device) -> torch.nn.Module:
        """A new network on the device, where batches are made from now on. Called as `Batch` says: (given, kept, told)
        to what is lacking."""

    @abstractmethod
    def measure(self, network: torch.nn.Module, picked: Integers) -> None:
        """Sets what a network keeps of the data beside its weights, from crops."""

    @abstractmethod
    def tensors(self, average: Mapping[str, torch.Tensor], picked: Integers) -> dict[str, Array]:
        """What a decoder file keeps of a network with these weights, by name. picked: crops to measure it on."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Integers:
        """`count` crops, int64 (count, columns)."""

    @abstractmethod
    def batch(self, picked: torch.Tensor) -> Batch:
        """picked: int64 (n, columns), of `draw`, on the device."""

    @abstractmethod
    def errors(self, lacking: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The mean squared error of each crop of a batch, (n,), where so much is lacking."""
