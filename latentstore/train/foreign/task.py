"""Training the decoder of a checkpoint of WaLLoC or LiVeAction on images, for the latents that its encoder makes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from latentstore.codecs.errors import ArgumentError
from latentstore.foreign.checkpoint import read_checkpoint
from latentstore.foreign.codec import ForeignCodec
from latentstore.foreign.load import load_codec
from latentstore.progress import counted, megabytes
from latentstore.train.crops import read_images
from latentstore.train.foreign.pixels import Pixels
from latentstore.train.foreign.transform import packets_on
from latentstore.train.recipe import Recipe
from latentstore.train.task import Made, Task

__all__ = ["ForeignTask"]

LEAST_ERROR = 0.5
"""In squared pixel values: flat crops do not rule the logarithm."""
MODES = {1: "L", 3: "RGB"}
CONFIGURATION = "config"


class ForeignTask(Task):
    """See `Task`. The network is all of the checkpoint's; only weights of its decoder change.

    The encoder stays, so latents that were made before are decoded by the new checkpoint too. A crop costs its squared
    error in pixels, behind the wavelet packets.
    """

    columns: ClassVar[int] = 3
    default_side: ClassVar[int] = 16
    gain_is: ClassVar[str] = "dB over the checkpoint that it began with"

    def __init__(self, recipe: Recipe, codec: ForeignCodec, say: Callable[[str], None]) -> None:
        super().__init__(recipe, say)
        if codec.in_channels not in MODES:
            raise ArgumentError(
                f"{codec.name} is of images of {codec.in_channels} colours; images are read with 1 or 3."
            )
        self.codec, self.sha256, self._mode = codec, codec.sha256, MODES[codec.in_channels]

    @property
    def network_facts(self) -> Mapping[str, Any]:
        return {"package": self.codec.package, "channels": self.codec.channels, "reduction": self.codec.reduction}

    def read(self) -> tuple[str, str]:
        least = self.side * self.codec.reduction
        images = read_images(self.recipe.images, self._mode, least, self.say)
        self.watched = read_images(self.watched_folders, self._mode, 1, self.say)
        self.pixels = Pixels(images, least)
        weights = sum(weight.numel() for _, weight in self._decoder(self.codec.networks))
        said = f"{counted(len(images), 'image')}, {self.pixels.count / 1e6:.1f} megapixels"
        return said, f"a decoder of {weights:,} weights"

    def network(self, device: torch.device) -> torch.nn.Module:
        self.pixels.to(device)
        self._trained = self._again()
        for codec in (self.codec, self._trained):
            codec.packets = packets_on(device, self.side)
            codec.networks.to(device)
        for _, weight in self._decoder(self._trained.networks):
            weight.requires_grad_(True)
        return self._trained.networks

    def measure(self, network: torch.nn.Module, picked: npt.NDArray[np.int64]) -> None:
        """Nothing: the checkpoint keeps weights alone."""

    def draw(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
        return self.pixels.draw(rng, count)

    def costs(self, network: torch.nn.Module, picked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Squared errors; without the training, those of the checkpoint as it was."""
        images = self.pixels.crops(picked)
        with torch.no_grad():
            latents = self.codec.to_latents(images).round().clamp(-127, 127)
            before = _errors(self.codec.to_images(latents), images)
        with torch.autocast(images.device.type, torch.bfloat16, self.recipe.precision == "bfloat16"):
            decoded = self._trained.to_images(latents)
        return _errors(decoded.float(), images)[None], before

    def made(
        self, average: Mapping[str, torch.Tensor], picked: npt.NDArray[np.int64], said: dict[str, Any], final: bool
    ) -> Made:
        """The codec of a checkpoint with these weights of the decoder."""
        codec = self._again()
        codec.networks.load_state_dict({name: weight.cpu() for name, weight in average.items()})
        if not final:
            return Made(codec, codec, codec.name, {})
        files = self._files(dict(self._decoder(codec.networks)), said)
        content = files[self.recipe.out]
        codec.is_at(self.recipe.out, content)
        return Made(codec, codec, f"{codec.name}, SHA-256 {codec.sha256[:12]}..., {megabytes(len(content))}", files)

    def gains(self, made: Made) -> dict[int, float]:
        found = []
        for image in self.watched:
            latents = made.codec.encode(image[None])
            errors = []
            for codec in (self._again(), made.codec):
                decoded = codec.decode(latents, image.shape[:2])[0].astype(np.float32)
                errors.append(max(float(np.square(decoded - image).mean()), 1e-3))
            found.append(10 * float(np.log10(errors[0] / errors[1])))
        return {self.codec.channels: float(np.mean(found))} if found else {}

    def _again(self) -> ForeignCodec:
        codec: Any = load_codec(f"{self.codec.package}:{self.codec.path}")
        assert isinstance(codec, ForeignCodec)
        return codec

    def _decoder(self, networks: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, one) for name, one in networks.named_parameters() if name.startswith(self.codec.decoder)]

    def _files(self, weights: Mapping[str, torch.Tensor], said: dict[str, Any]) -> dict[Path, bytes]:
        """The checkpoint as the authors' packages read it too, and the configuration beside it where there is one."""
        begun = read_checkpoint(self.codec.path, self.codec.weights)
        state = dict(begun.weights) | {name: weight.detach().clone() for name, weight in weights.items()}
        content = {self.codec.weights: state, "card": said}
        if CONFIGURATION in begun.values:
            content[CONFIGURATION] = begun.values[CONFIGURATION]
        stream = io.BytesIO()
        torch.save(content, stream)
        files = {self.recipe.out: stream.getvalue()}
        beside = self.codec.path.with_suffix(".json")
        if beside.exists():
            files[self.recipe.out.with_suffix(".json")] = beside.read_bytes()
        return files


def _errors(decoded: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return (decoded - images).square().mean((1, 2, 3)) + LEAST_ERROR
