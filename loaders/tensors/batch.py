"""A batch of samples of a store of fields: decoded in one call a field, and made into tensors once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import torch

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.batch import Collate
from latentstore.loaders.epoch.order import draws
from latentstore.loaders.faults.changed import still_there
from latentstore.loaders.tensors.dataset import TensorDataset

FLOATS = (torch.float32, torch.bfloat16, torch.float16)
OUTPUTS = ("codes", "latents")
# A stream of draws that must not meet those of the order and of `loaders.training.augment`.
_VARIANT = 201
# What `Augment` draws alike for all latents of a sample.
_ALIKE = frozenset({"symmetry", "channels"})


class TensorCollate:
    """Makes batches from sample indices. Thread-safe.

    Each tensor field is one tensor (b, *shape) where the samples of the batch have one shape, else a list.

    output: "codes": tensors as stored. "latents": floats, (tensor - shift) * scale with those of the field's encoder,
    in `dtype`, by default the type that is stored. variants: a name in the batch, and the fields of which each sample
    has one under that name, at random: a function of seed, epoch and sample. latents: what makes the entries of each
    field of latents, which the batch has under the field's name. Where these are decoded, tensors are as stored.

    ArgumentError: an output or a variant cannot be made of this store.
    """

    def __init__(
        self,
        ds: TensorDataset,
        output: str,
        dtype: torch.dtype | None,
        variants: Mapping[str, Sequence[str]] | None,
        seed: int,
        latents: Mapping[str, Collate],
    ) -> None:
        if output not in OUTPUTS and not latents:
            raise ArgumentError(f"output is {output!r}; of {ds.url}, which holds tensors, it is {' or '.join(OUTPUTS)}")
        if dtype is not None and (output != "latents" or dtype not in FLOATS):
            raise ArgumentError(
                f"dtype {dtype} with output {output!r}: only 'latents' take one: float32, bfloat16 or float16"
            )
        self.ds, self.seed, self.latents = ds, seed, dict(latents)
        self._require_apart()
        if not isinstance(variants, Mapping | None) or any(isinstance(one, str) for one in (variants or {}).values()):
            raise ArgumentError(
                f"variants is {short(variants)}; it is a dict such as {{'latent': ['latent', 'flipped']}}"
            )
        self.variants = {name: list(fields) for name, fields in (variants or {}).items()}
        self._require_variants()
        chosen = {field for fields in self.variants.values() for field in fields}
        self.plain = [name for name in ds.tensors if name not in chosen]
        self.changes = {name: _Change(ds, name, dtype) for name in ds.tensors} if output == "latents" else {}

    def _require_apart(self) -> None:
        """ArgumentError unless each entry of a batch has one meaning."""
        taken = {*self.ds.reader.names, *self.ds.others, "key"}
        for name, collate in self.latents.items():
            odd = sorted(taken & collate.beside)
            if odd:
                raise ArgumentError(
                    f"{self.ds.url}: batches say more of the latents {name!r} under {odd[0]!r}, and something else has "
                    "that name: open the store without one of them, by fields="
                )
            taken |= collate.beside - _ALIKE

    def _require_variants(self) -> None:
        ds = self.ds
        for name, fields in self.variants.items():
            for field in fields:
                if field not in ds.tensors:
                    raise ArgumentError(f"variants of {name!r}: {ds.url} is opened without a tensor field {field!r}")
            if len(fields) < 2 or len(set(fields)) < len(fields):
                raise ArgumentError(f"variants of {name!r} are {fields}; two or more different fields are expected")
            if len({ds.tensors[field].dtype for field in fields}) > 1:
                raise ArgumentError(f"variants of {name!r}: the fields {', '.join(fields)} have different types")
            others = {*ds.tensors, *ds.latents, *ds.others, "key"} - set(fields)
            if name in others or any(set(fields) & set(more) for key, more in self.variants.items() if key != name):
                raise ArgumentError(f"variants: {name!r} or one of its fields stands for something else in the batch")

    def __call__(self, indices: np.ndarray, epoch: int = 0) -> dict[str, Any]:
        """The batch of samples `indices`, int64 (n,). epoch: of random choices."""
        with still_there(self.ds.reader):
            batch: dict[str, Any] = {}
            read = self.ds.read_alike(indices, self.plain)
            for name in self.plain:
                batch[name] = self._made(name, read[name])
            for at, (name, fields) in enumerate(self.variants.items()):
                batch[name] = self._one_of(fields, indices, draws(indices, self.seed, epoch, _VARIANT, at))
            for name, collate in self.latents.items():
                made = collate.latents(indices, epoch, collate.ds.reader.fields(indices))
                batch[name] = made.pop(collate.entry)
                batch |= made
            for name, column in self.ds.values(indices).items():
                batch[name] = torch.from_numpy(column) if isinstance(column, np.ndarray) else column
            batch["key"] = self.ds.reader.keys(indices)
            return batch

    def _made(self, name: str, read: np.ndarray | list[np.ndarray]) -> Any:
        made = [_tensor(one) for one in read] if isinstance(read, list) else _tensor(read)
        change = self.changes.get(name)
        if change is None:
            return made
        return [change(one, 0) for one in made] if isinstance(made, list) else change(made, 1)

    def _one_of(self, fields: Sequence[str], indices: np.ndarray, drawn: np.ndarray) -> Any:
        """Of each sample one of its variants; only that one is read."""
        which = (drawn % np.uint64(len(fields))).astype(np.int64)
        rows: list[Any] = [None] * len(indices)
        for number, field in enumerate(fields):
            here = np.flatnonzero(which == number)
            if len(here):
                made = self._made(field, self.ds.read_alike(indices[here], [field])[field])
                for at, row in zip(here.tolist(), made, strict=True):
                    rows[at] = row
        return torch.stack(rows) if len({row.shape for row in rows}) == 1 else rows


class _Change:
    """(tensor - shift) * scale, as the encoder of a field says, computed in float32 and rounded once."""

    def __init__(self, ds: TensorDataset, name: str, dtype: torch.dtype | None) -> None:
        declared, encoder = ds.tensors[name], ds.encoders.get(name)
        self.where = f"{ds.url}, field {name!r}"
        self.dtype = dtype or getattr(torch, declared.dtype)
        self.axis = declared.channel_axis
        self.floats = self.dtype.is_floating_point and getattr(torch, declared.dtype).is_floating_point
        self.scale, self.shift = (1.0, 0.0) if encoder is None else (encoder.scale, encoder.shift)
        self.same = (self.scale, self.shift) == (1.0, 0.0)

    def __call__(self, values: torch.Tensor, batch_axes: int) -> torch.Tensor:
        if not self.floats:  # tokens stay what they are
            return values
        if self.same:
            return values.to(self.dtype)
        changed = values.to(torch.float32, copy=True)
        changed.sub_(self._along(self.shift, values, batch_axes)).mul_(self._along(self.scale, values, batch_axes))
        return changed.to(self.dtype)

    def _along(self, numbers: float | tuple[float, ...], values: torch.Tensor, batch_axes: int) -> Any:
        """A number, or one for each channel, in the shape that meets `values`."""
        if isinstance(numbers, float):
            return numbers
        axis = self.axis + batch_axes if self.axis >= 0 else values.dim() + self.axis
        channels = values.shape[axis] if batch_axes <= axis < values.dim() else None
        if channels != len(numbers):
            has = "have no such axis" if channels is None else f"have {channels} there"
            raise ArgumentError(
                f"{self.where}: its encoder gives {len(numbers)} numbers for the channels along axis {self.axis}, and "
                f"tensors of the shape {tuple(values.shape[batch_axes:])} {has}"
            )
        shape = [1] * values.dim()
        shape[axis] = len(numbers)
        return torch.tensor(numbers, dtype=torch.float32).reshape(shape)


def _tensor(array: np.ndarray) -> torch.Tensor:
    """The tensor of an array, in the same memory; torch takes no bfloat16 from NumPy."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
