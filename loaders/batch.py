"""A batch of samples: decoded in one call, made into tensors once, normalised in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from latentstore.codecs.errors import ArgumentError

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset

OUTPUTS = ("codes", "latents", "pixels")
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class Collate:
    """Sample numbers to a batch; `LatentLoader` says what a batch holds. Thread-safe."""

    def __init__(self, ds: LatentDataset, output: str, dtype: torch.dtype | None) -> None:
        if output not in OUTPUTS:
            raise ArgumentError(f"output {output!r} is not one of {', '.join(OUTPUTS)}")
        if dtype is not None and (output != "latents" or dtype not in FLOATS):
            raise ArgumentError(
                f"dtype {dtype} with output {output!r}: only 'latents' take one: float32, bfloat16 or float16"
            )
        self.ds = ds
        self.output = output
        self.normalise = Normalise(ds, dtype or torch.float32) if output == "latents" else None

    def __call__(self, indices: np.ndarray) -> dict[str, Any]:
        """The batch of samples `indices`, int64 (n,)."""
        shape = self.ds.latent_shape
        name, values = self._many_sizes(indices) if shape is None else self._one_size(indices, shape)
        batch: dict[str, Any] = {name: values}
        for field, column in self.ds.fields(indices).items():
            batch[field] = torch.from_numpy(column) if isinstance(column, np.ndarray) else column
        batch["key"] = self.ds.keys(indices)
        return batch

    def _one_size(self, indices: np.ndarray, shape: tuple[int, int, int]) -> tuple[str, torch.Tensor]:
        codes = torch.empty((len(indices), *shape), dtype=torch.int8)
        self.ds.read_latents(indices, out=codes.numpy())
        if self.normalise is not None:
            return "latent", self.normalise(codes)
        if self.output == "pixels":
            return "pixels", self._pixels(codes.numpy(), self.ds.size)
        return "latent", codes

    def _many_sizes(self, indices: np.ndarray) -> tuple[str, list[torch.Tensor]]:
        latents = self.ds.read_latents(indices)
        if self.output == "pixels":
            sizes = self.ds.sizes(indices).tolist()
            pairs = zip(latents, sizes, strict=True)
            return "pixels", [self._pixels(latent[None], tuple(size))[0] for latent, size in pairs]
        tensors = [torch.from_numpy(latent) for latent in latents]
        if self.normalise is not None:
            tensors = [self.normalise(codes[None])[0] for codes in tensors]
        return "latent", tensors

    def _pixels(self, codes: np.ndarray, size: tuple[int, int] | None) -> torch.Tensor:
        pictures = self.ds.codec.decode(codes, quality=self.ds.quality, size=size)
        return torch.from_numpy(pictures).permute(0, 3, 1, 2)


class Normalise:
    """int8 codes (n, c, h, w) to floats of zero mean and unit variance over the store, channel by channel."""

    def __init__(self, ds: LatentDataset, dtype: torch.dtype) -> None:
        mean, std = (np.asarray(a, np.float32)[: ds.channels] for a in ds.stats)
        step = np.asarray(ds.codec.scale(ds.quality), np.float32)[: ds.channels]
        # A channel that never changes has nothing to normalise: it becomes zeros.
        spread = np.where(std > 0, std, 1)
        self.dtype = dtype
        self.scale = torch.from_numpy(step / spread).reshape(1, -1, 1, 1)
        self.shift = torch.from_numpy(-mean / spread).reshape(1, -1, 1, 1)

    def __call__(self, codes: torch.Tensor) -> torch.Tensor:
        # Computed in float32 and rounded once; in place, since fresh memory costs more than the arithmetic.
        return codes.to(torch.float32).mul_(self.scale).add_(self.shift).to(self.dtype)
