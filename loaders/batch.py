"""A batch of samples: decoded in one call, made into tensors once, normalised in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.loaders.changed import still_there
from latentstore.loaders.columns import PADDED

if TYPE_CHECKING:
    from latentstore.codecs.neural.decoder import Decoder
    from latentstore.loaders.dataset import LatentDataset

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class Collate:
    """Makes batches from sample indices; `LatentLoader` says what a batch holds. Thread-safe.

    The indices come from the loader's order. `read_latents` checks them, and the rest goes to the reader directly.
    """

    def __init__(
        self, ds: LatentDataset, output: str, dtype: torch.dtype | None, decoder: str | Decoder = LINEAR
    ) -> None:
        outputs = ds.modality.outputs
        if output not in outputs:
            raise ArgumentError(
                f"output is {output!r}; of {ds.url}, which holds {ds.modality.nouns.many}, it is one of "
                f"{', '.join(outputs)}"
            )
        if dtype is not None and (output != "latents" or dtype not in FLOATS):
            raise ArgumentError(
                f"dtype {dtype} with output {output!r}: only 'latents' take one: float32, bfloat16 or float16"
            )
        chosen = ds.codec.decoder(decoder)
        if chosen is not None and output != "pixels":
            raise ArgumentError(f"decoder {chosen.name!r} with output {output!r}: only 'pixels' are decoded by one")
        own = {ds.modality.signal if output == ds.modality.outputs[-1] else "latent", "key"}
        if ds.modality.pads and ds.size is None:
            own |= PADDED
        clashes = sorted(own & set(ds.reader.meta.kinds))
        if clashes:
            raise ArgumentError(
                f"{ds.url} has a field {clashes[0]!r}, and batches with output {output!r} have an entry of that name; "
                "convert again with another name for the field, or choose another output"
            )
        self.ds = ds
        self.output = output
        self.decoder = chosen or LINEAR
        self.normalise = Normalise(ds, dtype or torch.float32) if output == "latents" else None

    def __call__(self, indices: np.ndarray) -> dict[str, Any]:
        """The batch of samples `indices`, int64 (n,)."""
        with still_there(self.ds.reader):
            return self._batch(indices)

    def _batch(self, indices: np.ndarray) -> dict[str, Any]:
        fields = self.ds.reader.fields(indices)
        steps = self.ds.step_codes(fields)
        if self.ds.size is not None:
            batch = self._one_size(indices, steps)
        elif self.ds.modality.pads:
            batch = self._many_lengths(indices, steps)
        else:
            batch = self._many_sizes(indices)
        for field, column in fields.items():
            batch[field] = torch.from_numpy(column) if isinstance(column, np.ndarray) else column
        batch["key"] = self.ds.reader.keys(indices)
        return batch

    def _one_size(self, indices: np.ndarray, steps: np.ndarray | None) -> dict[str, Any]:
        codes = torch.from_numpy(self.ds.read_latents(indices))
        if self.output == "pixels":
            return {"pixels": self._pixels(codes.numpy(), self.ds.size)}
        if self.output == "waveforms":
            assert self.ds.size is not None
            return {"waveform": torch.from_numpy(self.ds.decode(codes.numpy(), self.ds.size, steps))}
        if steps is not None:
            codes = codes[:, :, 0]
        return {"latent": codes if self.normalise is None else self.normalise(codes, steps)}

    def _many_sizes(self, indices: np.ndarray) -> dict[str, Any]:
        latents = self.ds.read_latents(indices)
        if self.output == "pixels":
            sizes = self.ds.reader.sizes(indices).tolist()
            pairs = zip(latents, sizes, strict=True)
            return {"pixels": [self._pixels(latent[None], tuple(size))[0] for latent, size in pairs]}
        tensors = [torch.from_numpy(latent) for latent in latents]
        if self.normalise is not None:
            tensors = [self.normalise(codes[None], None)[0] for codes in tensors]
        return {"latent": tensors}

    def _many_lengths(self, indices: np.ndarray, steps: np.ndarray | None) -> dict[str, Any]:
        """Samples padded with zeros to the longest; ``lengths`` says where each ends, ``mask`` is True before that."""
        latents = self.ds.read_latents(indices)
        if self.output == "waveforms":
            sizes = self.ds.reader.sizes(indices).tolist()
            signals = [
                self.ds.decode(latent[None], (height, width), None if steps is None else steps[i : i + 1])[0]
                for i, (latent, (height, width)) in enumerate(zip(latents, sizes, strict=True))
            ]
            lengths = torch.tensor([len(signal) for signal in signals])
            waveforms = np.zeros((len(signals), int(lengths.max()), signals[0].shape[1]), np.float32)
            for row, signal in zip(waveforms, signals, strict=True):
                row[: len(signal)] = signal
            return {"waveform": torch.from_numpy(waveforms), "lengths": lengths, "mask": _mask(lengths)}
        lengths = torch.tensor([latent.shape[2] for latent in latents])
        # zeros of NumPy's: torch wakes its threads for them, which takes longer than decoding
        padded = np.zeros((len(latents), self.ds.channels, int(lengths.max())), np.int8)
        for row, latent in zip(padded, latents, strict=True):
            row[:, : latent.shape[2]] = latent[:, 0]
        codes, mask = torch.from_numpy(padded), _mask(lengths)
        if self.normalise is not None:
            codes = self.normalise(codes, steps).masked_fill_(~mask[:, None], 0)
        return {"latent": codes, "lengths": lengths, "mask": mask}

    def _pixels(self, codes: np.ndarray, size: tuple[int, int] | None) -> torch.Tensor:
        assert size is not None
        return torch.from_numpy(self.ds.decode(codes, size, decoder=self.decoder)).permute(0, 3, 1, 2)


def _mask(lengths: torch.Tensor) -> torch.Tensor:
    """bool (n, longest): True before the end of each."""
    return torch.arange(int(lengths.max())) < lengths[:, None]


class Normalise:
    """Makes floats from int8 codes (n, c, h, w), of audio (n, c, t).

    Over the whole store, each channel of them has zero mean and unit variance.
    """

    def __init__(self, ds: LatentDataset, dtype: torch.dtype) -> None:
        mean, std = (np.asarray(a, np.float32)[: ds.channels] for a in ds.stats)
        # A channel that never changes has nothing to normalise: it becomes zeros.
        self.spread = np.where(std > 0, std, 1)
        self.dtype, self.channels, self.axes = dtype, ds.channels, (1,) * ds.modality.axes
        self.scale_of = ds.codec.scales(ds.quality)
        self.shift = torch.from_numpy(-mean / self.spread).reshape(1, -1, *self.axes)
        self.scales: dict[int, torch.Tensor] = {}

    def __call__(self, codes: torch.Tensor, steps: np.ndarray | None) -> torch.Tensor:
        """The floats of `codes`, in the dtype given. steps: for audio, the step codes, int64 (n,)."""
        scale = self._scale(0) if steps is None else torch.stack([self._scale(code) for code in steps.tolist()])
        # Computed in float32 and rounded once; in place, since fresh memory costs more than the arithmetic.
        return codes.to(torch.float32).mul_(scale).add_(self.shift).to(self.dtype)

    def _scale(self, code: int) -> torch.Tensor:
        """(channels, 1, ...): what codes of this step code are multiplied by. A store has few of its 32,000 codes."""
        if code not in self.scales:
            scale = np.asarray(self.scale_of(code), np.float32)[: self.channels] / self.spread
            self.scales[code] = torch.from_numpy(scale).reshape(-1, *self.axes)
        return self.scales[code]
