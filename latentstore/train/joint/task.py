"""Joint training: from a codec of images to a new one and its decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.artifact.container import Array
from latentstore.codecs.image.codec import ImageCodec
from latentstore.codecs.neural.decoder import LINEAR, Decoder
from latentstore.fit.api import require_fitting
from latentstore.train.batches import Batches
from latentstore.train.crops import Crops, read_images
from latentstore.train.export import integers_of
from latentstore.train.images import LEAST_RANGE, PARTS, ROOM, ImageTask
from latentstore.train.joint.coder import Coder
from latentstore.train.joint.network import JointNetwork
from latentstore.train.joint.refit import moved, refitted
from latentstore.train.recipe import Recipe
from latentstore.train.task import Batch, Made

__all__ = ["JointTask"]

Integers = npt.NDArray[np.int64]


class _Coded(NamedTuple):
    """Crops as a projection codes them. price: float32 (n,), squared error of a pixel value that the bits are worth."""

    batch: Batch
    price: torch.Tensor


class JointTask(ImageTask):
    """See `ImageTask`. A crop costs its squared error, and lambda times the bits that the coder spends on it.

    The codes are those that minimise this cost for the linear synthesis, as the encoder chooses them. So a small turn
    of the rows changes the cost as if the codes stayed what they are: no gradient goes through the rounding, and none
    needs to go through the bits.
    """

    gain_is: ClassVar[str] = "dB of error and bits over the linear decoder of the codec that it began with"

    def __init__(self, recipe: Recipe, codec: ImageCodec, say: Callable[[str], None]) -> None:
        require_fitting()
        super().__init__(recipe, codec, say)
        self._lambda = float(codec.artifact.facts["lambda"])

    @property
    def network_facts(self) -> Mapping[str, Any]:
        return {"stage": self.recipe.stage, **super().network_facts}

    def read(self) -> tuple[str, str]:
        recipe, codec = self.recipe, self.images
        self._pixels = read_images(recipe.images, codec.mode, self.side * codec.reduction, self.say)
        self.watched = read_images(self.watched_folders, codec.mode, 1, self.say)
        self.crops = Crops(codec, self._pixels, self.prefixes, self.qualities, recipe.threads, encoded=False)
        return self.said(len(self._pixels))

    def network(self, device: torch.device) -> JointNetwork:
        codec, qualities = self.images, self.crops.qualities.tolist()
        self.batches = Batches(self.crops, self.side, device)
        self._coder = Coder(codec, device)
        self._bands = torch.tensor([codec.band(quality) for quality in qualities], device=device)
        largest = self.batches.scales.amax(1, keepdim=True)
        self._unit_errors = (self.batches.scales / largest).square()
        self._lambdas = self._lambda * (self.batches.steps / largest[:, 0]).square()
        self._numbers = torch.arange(codec.channels, device=device)
        network = JointNetwork(codec, self.shape).to(device)
        with torch.no_grad():
            self._before = network.rows.matrix()
        self.started(network.refinement)
        return network

    def measure(self, network: torch.nn.Module, picked: Integers) -> None:
        """Sets the deviations of the codes, at least a half, and of what is lacking."""
        assert isinstance(network, JointNetwork)
        if self.start is not None:
            return
        parts = [self._coded(self._before, part).batch for part in self._parts(picked)]
        square = torch.stack([batch.lacking.square().mean((0, 2, 3)) for batch in parts]).mean(0)
        network.refinement.deviation.copy_(square.sqrt().clamp_min(1e-6))
        square = torch.stack([batch.given.square().mean((0, 2, 3)) for batch in parts]).mean(0)
        network.refinement.sigma.copy_(square.sqrt().clamp_min(0.5))

    def costs(self, network: torch.nn.Module, picked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """By the network and by the linear synthesis alone; before, by that of the codec that it began with."""
        assert isinstance(network, JointNetwork)
        batch, price = self._coded(network.rows.matrix(), picked)
        answer = self.answer(network.refinement, batch)
        errors = torch.stack([self.errors(lacking, batch) for lacking in (batch.lacking - answer, batch.lacking)])
        with torch.no_grad():
            first = self._coded(self._before, picked)
            before = self.errors(first.batch.lacking, first.batch) + first.price
        return errors + price + self.least_error, before + self.least_error

    def _coded(self, matrix: torch.Tensor, picked: torch.Tensor) -> _Coded:
        """matrix: of `Rows`."""
        batches, quality, kept = self.batches, picked[:, 3], picked[:, 4]
        scale, step, norms = batches.scales[quality], batches.steps[quality], batches.weights.sqrt()
        originals = batches.originals(picked)
        with torch.no_grad():
            coefficients = batches.image((originals * norms) @ matrix.T / scale[:, None])
            # bad rows are to make a loss that is told, and no code that has no price
            coefficients = coefficients.nan_to_num()
            band = self._bands[quality]
            codes = self._coder.choose(coefficients, band, self._lambdas[quality], self._unit_errors[quality])
            used = (self._numbers < kept[:, None])[:, :, None, None]
            bits = (self._coder.bits(codes, band) * used).sum((1, 2, 3))
            codes = codes * used
            values = (self._coder.rebuilt(codes) * scale[:, :, None, None]).flatten(2).mT
        lacking = batches.image((originals - values @ matrix / norms) / step[:, None, None])
        price = self._lambda * step.square() * bits / (self.side**2 * self.shape.planes)
        return _Coded(Batch(codes, lacking, kept.float(), batches.told[quality], step), price)

    def _parts(self, picked: Integers) -> list[torch.Tensor]:
        return [torch.from_numpy(part).to(self._bands.device) for part in np.split(picked, PARTS)]

    def tensors(self, average: Mapping[str, torch.Tensor], picked: Integers) -> dict[str, Array]:
        """As `ImageTask.tensors`, on codes that the average rows make."""
        network = self._network(average)
        matrix, refinement = network.rows.matrix().detach(), network.refinement
        found = torch.stack([
            refinement.ranges(batch.given, batch.kept, batch.told)
            for batch, _ in (self._coded(matrix, part) for part in self._parts(picked))
        ])  # fmt: skip
        return integers_of(refinement.state_dict(), found.amax(0).clamp_min(LEAST_RANGE) * ROOM)

    def made(self, average: Mapping[str, torch.Tensor], picked: Integers, said: dict[str, Any], final: bool) -> Made:
        """The decoder and its codec: with tables fitted to it if final, else with those of the codec it began with."""
        rows, start = self._network(average).rows, self.images
        name = self.recipe.codec.stem if self.recipe.codec else ""
        if final:
            codec = refitted(start, rows.vectors(), self._pixels, name, said, self.say)
        else:
            codec = moved(start, rows.vectors())
        decoder = self.decoder_of(codec, self.tensors(average, picked), said)
        assert self.recipe.codec is not None
        line = f"{codec.name}, SHA-256 {codec.sha256[:12]}...; {decoder.said}"
        return Made(decoder.trained, codec, line, {self.recipe.codec: codec.artifact_bytes, **decoder.files})

    def gains(self, made: Made) -> dict[int, float]:
        """Of whole blobs at the default quality: what error and bits together are less, in dB."""
        if not self.watched:
            return {}
        found: dict[int, list[float]] = {kept: [] for kept in sorted(self.prefixes)}
        for image in self.watched:
            before = self._blob_costs(self.images, LINEAR, image)
            for kept, cost in self._blob_costs(made.codec, made.trained, image).items():
                found[kept].append(10 * float(np.log10(before[kept] / cost)))
        return {kept: float(np.mean(values)) for kept, values in found.items()}

    def _blob_costs(self, codec: ImageCodec, decoder: str | Decoder, image: npt.NDArray[np.uint8]) -> dict[int, float]:
        latent, costs = codec.encode(image[None])[0], {}
        sizes = np.cumsum([len(blob) for blob in codec.encode_latent_groups(latent, codec.default_quality)])
        for kept in sorted(self.prefixes):
            decoded = codec.decode(latent[None], kept, size=image.shape[:2], decoder=decoder)[0].astype(np.float32)
            bits = 8 * float(sizes[-(-kept // codec.group_channels) - 1])
            error = float(np.square(decoded - image).mean())
            costs[kept] = error + self._lambda * codec.step() ** 2 * bits / image.size + 1e-3
        return costs

    def _network(self, average: Mapping[str, torch.Tensor]) -> JointNetwork:
        network = JointNetwork(self.images, self.shape).to(self._bands.device)
        network.load_state_dict(dict(average))
        network.rows.straighten()
        return network
