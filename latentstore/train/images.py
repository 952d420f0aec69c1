"""Training a decoder of images: crops of photographs, and the network that works at the positions of the latent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.artifact.container import Array
from latentstore.codecs.artifact.decoder import NetworkShape
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.neural.decoder import SUFFIX, Decoder, load_decoder
from latentstore.progress import counted
from latentstore.train.batches import Batches
from latentstore.train.crops import Crops, read_images
from latentstore.train.export import gains, integers_of, weights_of
from latentstore.train.network import Refinement
from latentstore.train.recipe import Recipe
from latentstore.train.task import Batch, DecoderTask, Made

__all__ = ["ImageTask"]

# Crops are measured in so many parts.
PARTS = 8
# What goes from layer to layer may be so much larger than was seen, before it is limited.
ROOM = 1.5
LEAST_RANGE = 1e-3


class ImageTask(DecoderTask):
    """See `DecoderTask`."""

    columns: ClassVar[int] = 5
    default_qualities: ClassVar[Mapping[int, float]] = {
        49: 0.7, 10: 0.03, 20: 0.06, 30: 0.07, 40: 0.06, 60: 0.05, 75: 0.03,
    }  # fmt: skip
    default_side: ClassVar[int] = 20
    least_error = 0.5  # in squared pixel values

    def __init__(self, recipe: Recipe, codec: ImageCodec, say: Callable[[str], None]) -> None:
        super().__init__(recipe, codec, say)
        self.images = codec
        planes = 4**codec.levels * codec.in_channels
        self.shape: NetworkShape = NetworkShape(codec.channels, planes, recipe.width, recipe.blocks, recipe.head)
        self.start = self._start()

    def read(self) -> tuple[str, str]:
        recipe, codec = self.recipe, self.images
        images = read_images(recipe.images, codec.mode, self.side * codec.reduction, self.say)
        self.watched = read_images(self.watched_folders, codec.mode, 1, self.say)
        self.crops = Crops(codec, images, self.prefixes, self.qualities, recipe.threads)
        return self.said(len(images))

    def said(self, images: int) -> tuple[str, str]:
        """As `read`, of so many images that were read."""
        said = f"{counted(images, 'image')}, {self.crops.pixels / 1e6:.1f} megapixels"
        return said, f"{self.shape.operations / self.images.reduction**2:,.0f} multiplications a pixel"

    def gains(self, made: Made) -> dict[int, float]:
        return gains(self.images, made.trained, self.watched, sorted(self.prefixes)) if self.watched else {}

    def network(self, device: torch.device) -> torch.nn.Module:
        self.batches = Batches(self.crops, self.side, device)
        return self.started(Refinement(self.shape).to(device))

    def started(self, network: Refinement) -> Refinement:
        """The network with the weights of the decoder that the recipe starts with, where it names one."""
        if self.start is not None:
            network.load_state_dict(weights_of(self.start.file))
        return network

    def _start(self) -> Decoder | None:
        wanted = self.recipe.start
        if wanted is None:
            return None
        found = self.images.decoder(load_decoder(wanted) if wanted.endswith(SUFFIX) else wanted)
        if found is None:
            raise ArgumentError("start is 'linear', which has no weights to start with: leave it out.")
        if found.file.shape != self.shape:
            raise ArgumentError(
                f"The decoder {wanted} to start with has {_said(found.file.shape)}; the recipe asks for "
                f"{_said(self.shape)}: give the recipe the same."
            )
        return found

    def measure(self, network: torch.nn.Module, picked: npt.NDArray[np.int64]) -> None:
        """Sets the deviations of the codes, at least a half, and of what is lacking."""
        assert isinstance(network, Refinement)
        if self.start is not None:
            return  # the decoder brings them
        square = torch.zeros_like(network.deviation)
        for some in np.split(picked, PARTS):
            lacking = self.batches.batch(torch.from_numpy(some).to(square.device)).lacking
            square += lacking.square().mean((0, 2, 3)) / PARTS
        network.deviation.copy_(square.sqrt().clamp_min(1e-6))
        codes = torch.from_numpy(np.ascontiguousarray(self.crops.codes[0, ::7])).float()
        network.sigma.copy_(codes.std(0, correction=0).clamp_min(0.5))

    def tensors(self, average: Mapping[str, torch.Tensor], picked: npt.NDArray[np.int64]) -> dict[str, Array]:
        """Integers, and how far what goes from layer to layer reaches, with room to spare."""
        device = average["sigma"].device
        network = Refinement(self.shape).to(device)
        network.load_state_dict(average)
        found = torch.zeros(len(self.shape.layers()) - 1, device=device)
        for some in np.split(picked, PARTS):
            batch = self.batches.batch(torch.from_numpy(some).to(device))
            found = torch.maximum(found, network.ranges(batch.given, batch.kept, batch.told))
        return integers_of(average, found.clamp_min(LEAST_RANGE) * ROOM)

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        return self.crops.draw(rng, count, self.side)

    def batch(self, picked: torch.Tensor) -> Batch:
        return self.batches.batch(picked)

    def errors(self, lacking: torch.Tensor, batch: Batch) -> torch.Tensor:
        """In squared pixel values."""
        weights = self.batches.weights[:, None, None]
        return (lacking.square() * weights).mean((1, 2, 3)) * batch.step.square()


def _said(shape: NetworkShape) -> str:
    return f"width {shape.width}, blocks {shape.blocks} and head {shape.head}"
