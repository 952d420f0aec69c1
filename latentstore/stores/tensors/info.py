"""What `latentstore info` prints of a store of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latentstore.codecs.tensors.declaration import Tensor
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.loaders.tensors.encoder import Encoder
from latentstore.progress import counted, megabytes, printable
from latentstore.stores.tables import kernel, table

__all__ = ["tensors_table"]


def tensors_table(dataset: TensorDataset, latents: Sequence[tuple[str, str]]) -> str:
    """What a store of tensors holds, as text. The index of every shard is read for it. latents: the rows of its fields
    of latents."""
    meta = dataset.reader.meta
    names, blobs = list(meta.tensors), sum(sum(shard.fields) for shard in meta.shards)
    places = {name: meta.parts_of(name).start for name in names}
    sizes = {name: sum(shard.fields[at] for shard in meta.shards) for name, at in places.items()}
    own, every = sum(shard.bytes for shard in meta.shards), sum(dataset.reader.location.list().values())
    held = " and ".join(["latents"] * bool(latents) + ["tensors"] * bool(names))
    total = f"{megabytes(blobs)} of {held}; {megabytes(own)} of shards; {megabytes(every)} in all"
    others = [f"{name} ({kind})" for name, kind in meta.kinds.items()]
    return table(
        [
            ("store", printable(dataset.url)),
            ("samples", f"{len(dataset):,} in {counted(len(meta.shards), 'shard')}"),
            ("version", f"{meta.version}"),
            *latents,
            *((f"tensor {name}", _tensor(dataset, name, tensor, sizes[name])) for name, tensor in meta.tensors.items()),
            ("fields", ", ".join(["key", *map(printable, others)])),
            ("bytes", total),
            *(_encoders(meta.encoders, names) if names else []),
            ("source", printable(meta.source) or "not stated"),
            ("kernel", kernel()),
        ]
    )  # fmt: skip


def _tensor(dataset: TensorDataset, name: str, tensor: Tensor, size: int) -> str:
    shapes = dataset.shapes(name)
    if shapes is None:
        return f"{tensor.dtype} of several ranks, {_coding(tensor)}, {megabytes(size)}"
    values = int(shapes.prod(axis=1).sum()) * (len(dataset) if len(shapes) == 1 else 1)
    bits = f", {8 * size / values:.3f} bits a value" if values else ""
    return f"{tensor.dtype} {_shape(shapes)}, {_coding(tensor)}, {megabytes(size)}{bits}"


def _shape(shapes: np.ndarray) -> str:
    """One shape, or the least and the most along each axis."""
    low, high = shapes.min(axis=0).tolist(), shapes.max(axis=0).tolist()
    sides = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(low, high, strict=True)]
    return f"({', '.join(sides)}{',' if len(sides) == 1 else ''})"


def _coding(tensor: Tensor) -> str:
    if tensor.coding == "step":
        return f"step {tensor.snr:g} dB" if tensor.steps is None else "step, given steps"
    if tensor.coding == "codes":
        sizes = tensor.vocabulary
        many = isinstance(sizes, tuple)
        return f"codes, {counted(len(sizes), 'vocabulary', 'vocabularies') if many else f'below {sizes:,}'}"  # type: ignore[arg-type]
    return tensor.coding


def _encoders(encoders: dict[str, Encoder], names: list[str]) -> list[tuple[str, str]]:
    """One row where all tensors are of one encoder, else one for each."""
    said = {name: _encoder(encoders[name]) if name in encoders else "not stated" for name in names}
    if len(set(said.values())) == 1:
        return [("encoder", next(iter(said.values())))]
    return [(f"encoder of {name}", one) for name, one in said.items()]


def _encoder(encoder: Encoder) -> str:
    weights = f", weights {encoder.sha256}" if encoder.sha256 else ", weights not stated"
    done = "".join(f", {name} {value}" for name, value in encoder.preprocessing.items())
    changed = "" if (encoder.scale, encoder.shift) == (1.0, 0.0) else ", with a scale or a shift"
    return printable(f"{encoder.name}{weights}{done}{changed}")
