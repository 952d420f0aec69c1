"""`ForeignCodec`: what the codecs of other packages' checkpoints share."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from latentstore.codecs.arguments import whole_number
from latentstore.codecs.artifact.checks import short, whole
from latentstore.codecs.errors import ArgumentError, ArtifactError
from latentstore.codecs.modality import IMAGE
from latentstore.foreign.checkpoint import fill
from latentstore.foreign.packets import FILTERS, PACKETS, TAPS, Packets, taps

__all__ = ["ForeignCodec", "Shape", "limited", "weigh", "without_filters"]

Uint8s = npt.NDArray[np.uint8]
Int8s = npt.NDArray[np.int8]

MOST = {"input_channels": 64, "levels": 6, "channels": 1024, "width": 4096, "depth": 64}
"""The largest of what a configuration may say: more is no codec of images, but a file that asks for memory."""
# Filters in bfloat16 are this near; those of another wavelet are not.
NEAR = 5e-3
# Pixels of the images that pass through the networks at once.
AT_ONCE = 1 << 20


class Shape:
    """The geometry of a codec: colours of an image, levels of the packet transform, channels of a latent."""

    def __init__(self, colours: int, levels: int, channels: int) -> None:
        self.colours, self.levels, self.channels = colours, levels, channels

    @property
    def bands(self) -> int:
        return self.colours * 4**self.levels


class ForeignCodec(ABC):
    """A codec of images from another package's checkpoint: `latentstore.load_codec("walloc:...")` makes one.

    It has no entropy coder and no qualities, so it encodes and decodes latents, and makes no blobs. Several threads
    may use it at once. Its networks run on the processor in float32.

    name: such as "walloc:RGB_16x". path: the checkpoint. sha256: of its bytes, in hexadecimal. in_channels: colours of
    an image. channels: of a latent. reduction: pixels of an image's side per latent position.
    """

    package: ClassVar[str]
    weights: ClassVar[str]
    """The name under which a checkpoint has its weights."""
    decoder: ClassVar[tuple[str, ...]]
    """How the names of the decoder's weights begin."""
    modality = IMAGE

    def __init__(self, path: Path, shape: Shape, networks: torch.nn.Module) -> None:
        self.path, self.name = path, f"{self.package}:{path.stem}"
        self._shape, self.networks = shape, networks
        self.packets: Packets = PACKETS
        self.in_channels, self.channels, self.reduction = shape.colours, shape.channels, 2**shape.levels
        with path.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.sha256[:12]}>"

    def is_at(self, path: Path, content: bytes) -> None:
        """Says that the codec is now that of another file, with these bytes."""
        self.path, self.name = path, f"{self.package}:{path.stem}"
        self.sha256 = hashlib.sha256(content).hexdigest()

    @abstractmethod
    def to_latents(self, images: torch.Tensor) -> torch.Tensor:
        """Latents (N, channels, h, w) of images (N, colours, H, W) from 0 to 255, before they are rounded."""

    @abstractmethod
    def to_images(self, latents: torch.Tensor) -> torch.Tensor:
        """Images (N, colours, H, W) from 0 to 255, neither limited nor rounded, of latents (N, channels, h, w)."""

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(channels, h, w): the shape of the latent of an image of this size in pixels."""
        return self.channels, -(-height // self.reduction), -(-width // self.reduction)

    def encode(self, images: npt.ArrayLike) -> Int8s:
        """Encodes images uint8 (N, H, W, colours) to latents int8 (N, channels, ceil(H / r), ceil(W / r)).

        r is the codec's `reduction`. The last row and column are repeated where a side is no multiple of it.
        ArgumentError for another dtype or shape; ArtifactError if the networks give what is no number.
        """
        array = np.asarray(images)
        if array.ndim != 4 or array.dtype != np.uint8 or array.shape[3] != self.in_channels:
            raise ArgumentError(
                f"The images are {array.dtype} {array.shape}; {self.name} takes uint8 "
                f"(N, height, width, {self.in_channels})."
            )
        height, width = array.shape[1:3]
        IMAGE.check(width, height)
        shape = self.latent_shape(height, width)
        out = np.empty((len(array), *shape), np.int8)
        missing = 0, shape[2] * self.reduction - width, 0, shape[1] * self.reduction - height
        for part in self._parts(len(array), shape):
            planes = torch.from_numpy(array[part].transpose(0, 3, 1, 2).astype(np.float32, order="C"))
            with torch.inference_mode():
                found = self.to_latents(functional.pad(planes, missing, mode="replicate"))
            out[part] = self._finite(found).round().clamp(-127, 127).numpy()
        return out

    def decode(self, latents: npt.ArrayLike, size: tuple[int, int] | None = None) -> Uint8s:
        """Decodes latents int8 (N, channels, h, w) to images uint8 (N, H, W, colours).

        size: (H, W) of the images; needed where their sides are no multiples of the reduction.
        """
        codes = np.asarray(latents)
        if codes.ndim != 4 or codes.dtype != np.int8 or codes.shape[1] != self.channels or 0 in codes.shape[2:]:
            raise ArgumentError(
                f"latents are {codes.dtype} {codes.shape}; int8 (N, {self.channels}, h, w) is expected."
            )
        shape = codes.shape[1:]
        height, width = self._size(size, shape[1:])
        IMAGE.check(width, height)
        out = np.empty((len(codes), height, width, self.in_channels), np.uint8)
        for part in self._parts(len(codes), shape):
            with torch.inference_mode():
                found = self.to_images(torch.from_numpy(codes[part].astype(np.float32, order="C")))
            pixels = self._finite(found)[..., :height, :width].round().clamp(0, 255)
            out[part] = pixels.permute(0, 2, 3, 1).numpy()
        return out

    def _parts(self, count: int, shape: tuple[int, ...]) -> list[slice]:
        """Slices of so many images whose latents have this shape, which are coded at once."""
        step = max(1, AT_ONCE // (shape[1] * shape[2] * self.reduction**2))
        return [slice(start, start + step) for start in range(0, count, step)]

    def _size(self, size: tuple[int, int] | None, planes: tuple[int, ...]) -> tuple[int, int]:
        r = self.reduction
        if size is None:
            return planes[0] * r, planes[1] * r
        sides = [whole_number(side) or 0 for side in size] if isinstance(size, tuple | list) else []
        if [-(-side // r) for side in sides] != list(planes):
            raise ArgumentError(
                f"size is {size!r}; a latent of {planes[0]} x {planes[1]} is of an image of at most "
                f"{planes[0] * r} x {planes[1] * r} pixels, and less than {r} smaller on each side."
            )
        return sides[0], sides[1]

    def _finite(self, values: torch.Tensor) -> torch.Tensor:
        if not bool(torch.isfinite(values).all()):
            raise ArtifactError(f"The networks of {self.path} give numbers that are not finite: its weights are bad.")
        return values


# reading a checkpoint


def limited(facts: Mapping[str, Any], key: str, most: str, where: Path, least: int = 1) -> int:
    """A whole number of a configuration, from `least` to `MOST[most]`; ArtifactError naming the file if it is none."""
    value = facts.get(key)
    if not whole(value, least, MOST[most]):
        raise ArtifactError(f"{where}: {key} is {short(value)}, not a whole number from {least} to {MOST[most]}.")
    return int(facts[key])


def without_filters(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The weights without the filters of the transform; ArtifactError if those are of another wavelet."""
    kept = {}
    for name, tensor in state.items():
        module, _, last = name.rpartition(".")
        filter = FILTERS.get(last.partition("_")[0])
        if filter is None or module.rpartition(".")[2] not in ("wt", "iwt"):
            kept[name] = tensor
        elif tensor.numel() != TAPS or not torch.allclose(tensor.flatten().float(), taps()[filter], atol=NEAR):
            raise ArtifactError(f"{path}: its wavelet is another one than bior4.4, which alone is known here.")
    return kept


def weigh(make: Any, state: Mapping[str, torch.Tensor], path: Path) -> Any:
    """The network that `make` gives, with these weights. It takes no memory before names and shapes are known to fit.

    ArtifactError if no such network can be made, or the weights are another one's.
    """
    try:
        with torch.device("meta"):
            network = make()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"The configuration of {path} contradicts itself: {short(error)}.") from error
    return fill(network, state, path)
