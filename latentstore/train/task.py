"""What a training is of, images or audio: `Training` and the run know no more of it than this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.artifact.container import Array
from latentstore.codecs.artifact.decoder import NetworkShape, read_decoder
from latentstore.codecs.artifact.folded import FoldedShape
from latentstore.codecs.codec import Codec
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.decoder import Decoder
from latentstore.progress import megabytes
from latentstore.train.export import decoder_bytes
from latentstore.train.recipe import Folder, Recipe

__all__ = ["Batch", "DecoderTask", "Made", "Task"]

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


@dataclass(frozen=True)
class Made:
    """What a training has made. trained: a decoder, codec: that it belongs to. said: in one line. files: their bytes
    by their places."""

    trained: Any
    codec: Any
    said: str
    files: Mapping[Path, bytes] = field(repr=False)


class Task(ABC):
    """What is read to train on, and how crops become batches.

    sha256: of the codec that the network belongs to. side: of a crop, in positions.
    """

    columns: ClassVar[int]
    """Numbers of a crop that is drawn."""
    default_side: ClassVar[int]
    sha256: str
    gain_is: ClassVar[str] = "dB over linear"
    """What `gains` are, for a card."""

    def __init__(self, recipe: Recipe, say: Callable[[str], None]) -> None:
        self.recipe, self.say = recipe, say
        self.side = recipe.side or self.default_side

    @property
    @abstractmethod
    def network_facts(self) -> Mapping[str, Any]:
        """What says which network it is."""

    @property
    def watched_folders(self) -> list[Folder]:
        return [Folder(self.recipe.watch, 1.0)] if self.recipe.watch else []

    @abstractmethod
    def read(self) -> tuple[str, str]:
        """Reads the folders of the recipe; returns how much there is to train on, and what the network costs."""

    @abstractmethod
    def network(self, device: torch.device) -> torch.nn.Module:
        """A new network on the device, where batches are made from now on."""

    @abstractmethod
    def measure(self, network: torch.nn.Module, picked: Integers) -> None:
        """Sets what a network keeps of the data beside its weights, from crops."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int) -> Integers:
        """`count` crops, int64 (count, columns)."""

    @abstractmethod
    def costs(self, network: torch.nn.Module, picked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What crops cost, positive: (ways, n) for each way in which they are decoded, the network's first; and (n,)
        without the training. picked: int64 (n, columns), of `draw`, on the device."""

    @abstractmethod
    def made(self, average: Mapping[str, torch.Tensor], picked: Integers, said: dict[str, Any], final: bool) -> Made:
        """What a network of these weights makes.

        picked: crops to measure it on. said: for the card. final: whether it is written; else it is only watched.
        """

    @abstractmethod
    def gains(self, made: Made) -> dict[int, float]:
        """By number of channels: the mean gain in dB on what is watched; {} if nothing is."""


class DecoderTask(Task):
    """A codec, and the training of a decoder for it.

    shape: of the network. prefixes, qualities: how often each is drawn. least_error: of a crop, in the units of
    `errors`, so that empty ones do not rule the logarithm.
    """

    default_qualities: ClassVar[Mapping[int, float]]
    least_error: float
    shape: NetworkShape | FoldedShape

    def __init__(self, recipe: Recipe, codec: Codec, say: Callable[[str], None]) -> None:
        super().__init__(recipe, say)
        self.codec, self.sha256 = codec, codec.sha256
        whole = range(codec.group_channels, codec.channels + 1, codec.group_channels)
        self.prefixes = dict(recipe.prefixes) or dict.fromkeys(whole, 1.0)
        self.qualities = dict(recipe.qualities) or dict(self.default_qualities)
        if max(self.prefixes) > codec.channels:
            raise ArgumentError(f"prefixes has {max(self.prefixes)} channels; {codec.name} has {codec.channels}.")

    @property
    def network_facts(self) -> Mapping[str, Any]:
        return asdict(self.shape)

    @abstractmethod
    def tensors(self, average: Mapping[str, torch.Tensor], picked: Integers) -> dict[str, Array]:
        """What a decoder file keeps of a network with these weights, by name. picked: crops to measure it on."""

    @abstractmethod
    def batch(self, picked: torch.Tensor) -> Batch:
        """picked: int64 (n, columns), of `draw`, on the device."""

    @abstractmethod
    def errors(self, lacking: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The mean squared error of each crop of a batch, (n,), where so much is lacking."""

    def costs(self, network: torch.nn.Module, picked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Errors; without the training, those of the linear synthesis."""
        batch = self.batch(picked)
        answer = self.answer(network, batch)
        error = self.errors(batch.lacking - answer, batch)
        with torch.no_grad():
            linear = self.errors(batch.lacking, batch)
        return (error + self.least_error)[None], linear + self.least_error

    def answer(self, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """What the network says is lacking, float32, computed in the recipe's precision."""
        with torch.autocast(batch.given.device.type, torch.bfloat16, self.recipe.precision == "bfloat16"):
            answer = network(batch.given, batch.kept, batch.told)
        return answer.float()

    def made(self, average: Mapping[str, torch.Tensor], picked: Integers, said: dict[str, Any], final: bool) -> Made:
        """The decoder."""
        return self.decoder_of(self.codec, self.tensors(average, picked), said)

    def decoder_of(self, codec: Codec, tensors: Mapping[str, Array], said: dict[str, Any]) -> Made:
        """A decoder of these tensors for a codec."""
        content = decoder_bytes(
            codec, self.recipe.name, self.shape, tensors, list(self.prefixes), list(self.qualities), said
        )
        decoder = Decoder(read_decoder(content))
        size = megabytes(len(content))
        line = f"{decoder.name} for {decoder.codec}, SHA-256 {decoder.sha256[:12]}..., {size}"
        return Made(decoder, codec, line, {self.recipe.out: content})
