"""A batch of samples: decoded in one call, made into tensors once, normalised in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.loaders.columns import PADDED
from latentstore.loaders.epoch.groups import SIMILAR
from latentstore.loaders.faults.changed import still_there
from latentstore.loaders.stats import Stats
from latentstore.loaders.training.augment import dropped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latentstore.codecs.neural.decoder import Decoder
    from latentstore.loaders.dataset import LatentDataset
    from latentstore.loaders.training.augment import Augmentation
    from latentstore.loaders.training.crops import Windows

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class Collate:
    """Makes batches from sample indices; `LatentLoader` says what a batch holds. Thread-safe.

    The indices come from the loader's order. `read_latents` checks them, and the rest goes to the reader directly.

    grouped: what samples of a batch have in common where they differ in the store, see `loaders.epoch.groups`. stats:
    to normalise by; by default those of the store. entry: where a batch has latents, or what they were decoded to.
    beside: further entries that say something of them.
    """

    def __init__(
        self,
        ds: LatentDataset,
        output: str,
        dtype: torch.dtype | None,
        decoder: str | Decoder = LINEAR,
        augment: Augmentation | None = None,
        grouped: str | None = None,
        stats: Stats | None = None,
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
        if chosen is not None and output != outputs[-1]:
            raise ArgumentError(
                f"decoder {chosen.name!r} with output {output!r}: only {outputs[-1]!r} are decoded by one"
            )
        self.entry = ds.modality.signal if output == outputs[-1] else "latent"
        pads = ds.size is None and (ds.modality.pads or grouped == SIMILAR)
        self.beside: frozenset[str] = PADDED if pads else frozenset()
        if augment is not None:
            self.beside |= augment.entries
        clashes = sorted({self.entry, "key", *self.beside} & set(ds.reader.meta.kinds))
        if clashes:
            raise ArgumentError(
                f"{ds.url} has a field {clashes[0]!r}, and batches with output {output!r} have an entry of that name; "
                "convert again with another name for the field, or ask for batches without that entry"
            )
        self.ds = ds
        self.output = output
        self.chosen, self.decoder = chosen, chosen or LINEAR
        self.pads, self.one_shape = pads, grouped is not None and not pads
        self.normalise = Normalise(ds, stats or ds.stats, dtype or torch.float32) if output == "latents" else None
        self.augment = augment

    def __call__(self, indices: np.ndarray, epoch: int = 0) -> dict[str, Any]:
        """The batch of samples `indices`, int64 (n,). epoch: of random changes."""
        with still_there(self.ds.reader):
            fields = self.ds.reader.fields(indices)
            batch = self.latents(indices, epoch, fields)
            for field, column in fields.items():
                batch[field] = torch.from_numpy(column) if isinstance(column, np.ndarray) else column
            batch["key"] = self.ds.reader.keys(indices)
            return batch

    def latents(self, indices: np.ndarray, epoch: int, fields: dict[str, Any]) -> dict[str, Any]:
        """Of a batch the entries `entry` and `beside`. fields: of the samples."""
        steps = self.ds.step_codes(fields)
        batch: dict[str, Any] = {}
        kept = None if self.augment is None else self.augment.kept(indices, epoch)
        if kept is not None:
            batch["channels"] = torch.from_numpy(kept)
        if self.augment is not None and self.augment.window is not None:
            batch |= self._windows(self.augment, self.augment.window, indices, epoch, fields, kept)
        elif self.ds.modality.pads:
            make = self._many_lengths if self.ds.size is None else self._one_length
            assert steps is not None
            batch |= make(indices, steps, kept)
        else:
            batch |= self._images(indices, epoch, kept)
        return batch

    def _images(self, indices: np.ndarray, epoch: int, kept: np.ndarray | None) -> dict[str, Any]:
        """Images, in one tensor if all have one size or they are padded, else in a list."""
        read = self.ds.read_latents(indices)
        if self.one_shape and isinstance(read, list):
            read = np.stack(read)
        latents: Any = [torch.from_numpy(one) for one in read] if isinstance(read, list) else torch.from_numpy(read)
        told: dict[str, Any] = {}
        if self.augment is not None:
            latents, told = self.augment.moved(latents, indices, epoch)
        if self.output == "pixels":
            pixels = self._decoded(indices, latents, kept)
            if self.pads:
                padded, ends = _padded([one.numpy() for one in pixels])
                return {**told, "pixels": padded, **ends}
            return {**told, "pixels": pixels}
        if self.pads:
            return told | self._padded_latents([one.numpy() for one in latents], None, None, kept)
        if isinstance(latents, list):
            return {**told, "latent": [self._values(one[None], None, count)[0] for one, count in _each(latents, kept)]}
        return {**told, "latent": self._values(latents, None, kept)}

    def _decoded(self, indices: np.ndarray, latents: Any, kept: np.ndarray | None) -> Any:
        if kept is not None:
            latents = dropped(latents, kept)
        if not isinstance(latents, list):
            size = self.ds.size or tuple(self.ds.reader.sizes(indices[:1])[0].tolist())
            return self._pixels(latents.numpy(), self._size_of(size, latents))
        pairs = zip(latents, self.ds.reader.sizes(indices).tolist(), strict=True)
        return [self._pixels(one.numpy()[None], self._size_of(tuple(size), one))[0] for one, size in pairs]

    def _size_of(self, size: tuple[int, int], latents: torch.Tensor) -> tuple[int, int]:
        """Height and width of images when decoded. Changed ones have no other size than that of their latents."""
        if self.augment is None:
            return size
        height, width = latents.shape[-2:]
        return height * self.ds.codec.reduction, width * self.ds.codec.reduction

    def _values(self, codes: torch.Tensor, steps: np.ndarray | None, kept: np.ndarray | None) -> torch.Tensor:
        values = codes if self.normalise is None else self.normalise(codes, steps)
        return values if kept is None else dropped(values, kept)

    def _one_length(self, indices: np.ndarray, steps: np.ndarray, kept: np.ndarray | None) -> dict[str, Any]:
        codes = torch.from_numpy(self.ds.read_latents(indices))
        if self.output != "waveforms":
            return {"latent": self._values(codes[:, :, 0], steps, kept)}
        assert self.ds.size is not None
        codes = codes if kept is None else dropped(codes, kept)
        return {"waveform": torch.from_numpy(self.ds.decode(codes.numpy(), self.ds.size, steps, self.decoder))}

    def _many_lengths(self, indices: np.ndarray, steps: np.ndarray, kept: np.ndarray | None) -> dict[str, Any]:
        """Recordings padded with zeros to the longest; ``lengths`` says where each ends, ``mask`` is True before."""
        latents = list(self.ds.read_latents(indices))
        if self.output != "waveforms":
            rows = [latent[:, 0] for latent in latents]
            return self._padded_latents(rows, None, steps, kept)
        sizes = self.ds.reader.sizes(indices).tolist()
        signals = [
            self.ds.decode(latent[None, :count], (height, width), steps[i : i + 1], self.decoder)[0]
            for i, ((latent, count), (height, width)) in enumerate(zip(_each(latents, kept), sizes, strict=True))
        ]
        return _padded_waveforms(signals, max(map(len, signals)))

    def _windows(
        self, augment: Augmentation, window: Windows, indices: np.ndarray, epoch: int, fields: dict[str, Any],
        kept: np.ndarray | None,
    ) -> dict[str, Any]:  # fmt: skip
        """Windows of recordings. Where some may be shorter than a window, they are padded as whole ones are."""
        window.check(fields)
        samples, steps = self.ds.reader.sizes(indices)[:, 1], self.ds.step_codes(fields)
        assert steps is not None
        first = augment.starts(window.lengths(samples), indices, epoch)
        if self.output == "waveforms":
            signals = window.waveforms(indices, samples, first, steps, kept, self.chosen)
            batch = _padded_waveforms(signals, window.instants * window.reduction)
        else:
            batch = self._padded_latents(window.latents(indices, samples, first), (window.instants,), steps, kept)
        if self.ds.size is not None and self.output != "waveforms":
            del batch["lengths"], batch["mask"]
        return {**batch, "start": torch.from_numpy(first * window.reduction)}

    def _padded_latents(
        self, rows: list[np.ndarray], largest: tuple[int, ...] | None, steps: np.ndarray | None,
        kept: np.ndarray | None,
    ) -> dict[str, Any]:  # fmt: skip
        codes, ends = _padded(rows, largest)
        if self.normalise is not None:
            codes = self.normalise(codes, steps).masked_fill_(~ends["mask"][:, None], 0)
        return {"latent": codes if kept is None else dropped(codes, kept), **ends}

    def _pixels(self, codes: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
        return torch.from_numpy(self.ds.decode(codes, size, decoder=self.decoder)).permute(0, 3, 1, 2)


def _each(latents: list[Any], kept: np.ndarray | None) -> Iterator[tuple[Any, Any]]:
    """(latent, how many channels it keeps: int64 (1,), None for all)."""
    return zip(latents, [None] * len(latents) if kept is None else kept[:, None], strict=True)


def _padded(rows: list[np.ndarray], largest: tuple[int, ...] | None = None) -> tuple[torch.Tensor, dict[str, Any]]:
    """(rows (c, t) or (c, h, w) in one tensor, padded with zeros; "lengths" and "mask" of it).

    largest: (t,) or (h, w) to pad to; by default those of the largest.
    """
    sizes = np.array([row.shape[1:] for row in rows], np.int64)
    largest = largest or tuple(sizes.max(axis=0).tolist())
    # zeros of NumPy's: torch wakes its threads for them, which takes longer than decoding
    padded = np.zeros((len(rows), len(rows[0]), *largest), rows[0].dtype)
    for place, row in zip(padded, rows, strict=True):
        place[(slice(None), *map(slice, row.shape[1:]))] = row
    lengths = torch.from_numpy(sizes)
    if len(largest) == 1:
        lengths = lengths[:, 0]
        mask = _mask(lengths, *largest)
    else:
        mask = _mask(lengths[:, 0], largest[0])[:, :, None] & _mask(lengths[:, 1], largest[1])[:, None]
    return torch.from_numpy(padded), {"lengths": lengths, "mask": mask}


def filled(lengths: torch.Tensor) -> int:
    """The positions of a padded batch that are no padding, from its entry "lengths"."""
    return int(lengths.reshape(len(lengths), -1).prod(dim=1).sum())


def _padded_waveforms(signals: list[np.ndarray], longest: int) -> dict[str, Any]:
    lengths = torch.tensor([len(signal) for signal in signals])
    waveforms = np.zeros((len(signals), longest, signals[0].shape[1]), np.float32)
    for row, signal in zip(waveforms, signals, strict=True):
        row[: len(signal)] = signal
    return {"waveform": torch.from_numpy(waveforms), "lengths": lengths, "mask": _mask(lengths, longest)}


def _mask(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """bool (n, longest): True before the end of each."""
    return torch.arange(longest) < lengths[:, None]


class Normalise:
    """Makes floats from int8 codes (n, c, h, w), of audio (n, c, t).

    Over what `stats` are of, a whole store or a mixture, each channel of them has zero mean and unit variance.
    """

    def __init__(self, ds: LatentDataset, stats: Stats, dtype: torch.dtype) -> None:
        mean, std = (np.asarray(a, np.float32)[: ds.channels] for a in stats)
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
