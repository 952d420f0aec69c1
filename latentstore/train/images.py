"""Training a decoder of images: crops of photographs, and the network that works at the positions of the latent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.artifact.container import Array
from latentstore.codecs.artifact.decoder import NetworkShape
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.neural.decoder import Decoder
from latentstore.progress import counted
from latentstore.train.batches import Batches
from latentstore.train.crops import Crops, read_images
from latentstore.train.export import gains, integers_of
from latentstore.train.network import Refinement
from latentstore.train.recipe import Recipe
from latentstore.train.task import Batch, Task

__all__ = ["ImageTask"]

# Crops are measured in so many parts.
PARTS = 8
# What goes from layer to layer may be so much larger than was seen, before it is limited.
ROOM = 1.5
LEAST_RANGE = 1e-3


class ImageTask(Task):
    """See `Task`."""

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

    def read(self) -> tuple[str, str]:
        recipe, codec = self.recipe, self.images
        images = read_images(recipe.images, codec.mode, self.side * codec.reduction, self.say)
        self.watched = read_images(self.watched_folders, codec.mode, 1, self.say)
        self.crops = Crops(codec, images, self.prefixes, self.qualities, recipe.threads)
        said = f"{counted(len(images), 'image')}, {self.crops.pixels / 1e6:.1f} megapixels"
        return said, f"{self.shape.operations / codec.reduction**2:,.0f} multiplications a pixel"

    def gains(self, decoder: Decoder) -> dict[int, float]:
        return gains(self.images, decoder, self.watched, sorted(self.prefixes)) if self.watched else {}

    def network(self, device: torch.device) -> Refinement:
        self.batches = Batches(self.crops, self.side, device)
        return Refinement(self.shape).to(device)

    def measure(self, network: torch.nn.Module, picked: npt.NDArray[np.int64]) -> None:
        """Sets the deviations of the codes, at least a half, and of what is lacking."""
        assert isinstance(network, Refinement)
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
