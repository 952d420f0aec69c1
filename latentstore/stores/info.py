"""What `latentstore info` and `latentstore codecs` print: tables of two columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from latentstore.codecs.audio.steps import LOWEST_LEVEL
from latentstore.codecs.load import load_codec, shipped
from latentstore.loaders.opening import open
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.progress import counted, megabytes, printable
from latentstore.stores.tables import kernel, table
from latentstore.stores.tensors.info import tensors_table

if TYPE_CHECKING:
    from latentstore.codecs.audio.codec import AudioCodec
    from latentstore.codecs.codec import Codec
    from latentstore.loaders.dataset import LatentDataset

__all__ = ["codecs_table", "store_table"]

SHOWN_CLASSES = 12
SHOWN_RATES = 4


def store_table(url: str, storage_options: Mapping[str, Any] | None = None) -> str:
    """What the store at `url` holds, as text. StoreError if there is no finished store."""
    dataset = open(url, storage_options=dict(storage_options or {}) or None)
    if isinstance(dataset, TensorDataset):
        return tensors_table(dataset, [row for name, one in dataset.latents.items() for row in _field(name, one)])
    codec, about, rows = dataset.codec, dataset.info, _ROWS[dataset.modality.name]
    blob_bytes, all_bytes = int(about["blob_bytes"]), sum(dataset.reader.location.list().values())
    bits_name, bits = rows.bits(dataset, 8 * blob_bytes / int(about["extent"]))
    return table(
        [
            ("store", printable(url)),
            ("samples", f"{len(dataset):,} in {counted(len(dataset.shard_starts) - 1, 'shard')}"),
            *([("version", f"{about['version']}")] if "version" in about else []),
            (dataset.modality.nouns.many, rows.signals(dataset)),
            ("latents", f"{_latents(rows, dataset)}, {codec.groups} groups of {codec.group_channels} channels"),
            ("bytes", f"{megabytes(blob_bytes)} of latents; {megabytes(all_bytes)} in all"),
            (bits_name, f"{bits}, {blob_bytes / len(dataset):,.0f} bytes a sample"),
            ("codec", codec.name),
            ("artifact sha256", codec.sha256),
            ("quality", f"{dataset.quality} of 100"),
            ("classes", _classes(dataset.classes)),
            ("fields", ", ".join(["key", *map(printable, about["fields"])])),
            ("source", printable(str(about["source"]))),
            ("kernel", kernel()),
        ]
    )


def codecs_table() -> str:
    """The shipped codecs, with what their cards say, as text."""
    blocks = []
    for name in shipped():
        codec = load_codec(name)
        rows = _ROWS[codec.modality.name]
        pairs = [
            ("codec", codec.name),
            ("takes", rows.takes(codec)),
            *rows.reach(codec),
            ("latents", f"int8 {rows.any_shape(codec)}"),
            ("groups", f"{codec.groups} of {codec.group_channels} channels"),
            ("default quality", str(codec.default_quality)),
            ("artifact sha256", codec.sha256),
            ("artifact size", f"{len(codec.artifact_bytes) / 1000:.0f} kB"),
        ]
        pairs += [(printable(str(key)), printable(str(value))) for key, value in sorted(codec.card.items())]
        blocks.append(table(pairs))
    return "\n\n".join([*blocks, f"kernel: {kernel()}"])


class _Rows(ABC):
    """The cells that differ from modality to modality."""

    @abstractmethod
    def signals(self, dataset: LatentDataset) -> str:
        """What the store's signals are."""

    @abstractmethod
    def bits(self, dataset: LatentDataset, bits: float) -> tuple[str, str]:
        """How small the store is: what the figure is called, and the figure. bits: per pixel, or per sample frame."""

    @abstractmethod
    def takes(self, codec: Codec) -> str:
        """What a codec takes."""

    def reach(self, codec: Codec) -> list[tuple[str, str]]:
        """Rows that say which signals come back at all."""
        return []

    @abstractmethod
    def any_shape(self, codec: Codec) -> str:
        """The shape of a latent whose signal may have any size."""


class _ImageRows(_Rows):
    def signals(self, dataset: LatentDataset) -> str:
        if dataset.size is not None:
            return f"{dataset.size[1]}x{dataset.size[0]} pixels, {dataset.codec.mode}"
        sizes = dataset.sizes()
        (low_h, low_w), (high_h, high_w) = np.min(sizes, axis=0), np.max(sizes, axis=0)
        return f"native sizes, {low_w} to {high_w} pixels wide, {low_h} to {high_h} high, {dataset.codec.mode}"

    def bits(self, dataset: LatentDataset, bits: float) -> tuple[str, str]:
        return "bits per pixel", f"{bits:.3f}"

    def takes(self, codec: Codec) -> str:
        return f"{'RGB' if codec.in_channels == 3 else 'gray'} images, 8 bits"

    def any_shape(self, codec: Codec) -> str:
        return f"({codec.channels}, height/{codec.reduction}, width/{codec.reduction})"


class _AudioRows(_Rows):
    def signals(self, dataset: LatentDataset) -> str:
        rates = np.asarray(dataset.fields()["rate"])
        seconds = dataset.sizes()[:, 1] / np.maximum(rates, 1)
        low, high = float(seconds.min()), float(seconds.max())
        long = f"windows of {high:g} s" if dataset.size is not None else f"native lengths, {low:.3g} to {high:.3g} s"
        found = sorted(set(rates.tolist()))
        said = " and ".join(f"{rate:,}" for rate in found[:SHOWN_RATES])
        more = " and more" if len(found) > SHOWN_RATES else ""
        return f"{long}, {counted(dataset.codec.in_channels, 'input')}, {said}{more} hertz"

    def bits(self, dataset: LatentDataset, bits: float) -> tuple[str, str]:
        return "compression", f"{16 * dataset.codec.in_channels / bits:.1f} times smaller than 16-bit PCM"

    def takes(self, codec: Codec) -> str:
        return f"audio, {counted(codec.in_channels, 'input')}, made for {cast('AudioCodec', codec).rate:,} hertz"

    def reach(self, codec: Codec) -> list[tuple[str, str]]:
        audio = cast("AudioCodec", codec)
        edges = [f"{hertz:,.0f}" for hertz in audio.bandwidth()]
        names = ("mid (left + right)", "side (left - right)") if len(edges) == 2 else ("",) * len(edges)
        held = ", ".join(f"{name} to {edge}".strip() for name, edge in zip(names, edges, strict=True))
        lowest = 20 * np.log10(LOWEST_LEVEL)
        return [
            ("bandwidth", f"{held} hertz, at {audio.rate:,} samples a second; it goes with the rate"),
            ("levels", f"steps follow the level of each recording, {lowest:.0f} to 0 dB of full scale"),
        ]

    def any_shape(self, codec: Codec) -> str:
        return f"({codec.channels}, samples/{codec.reduction})"


_ROWS: dict[str, _Rows] = {"image": _ImageRows(), "audio": _AudioRows()}


def _latents(rows: _Rows, dataset: LatentDataset) -> str:
    shape = dataset.latent_shape
    if shape is None:
        return f"int8 {rows.any_shape(dataset.codec)}"
    return f"int8 {dataset.modality.shaped(np.broadcast_to(np.int8(0), shape)).shape}"


def _field(field: str, dataset: LatentDataset) -> list[tuple[str, str]]:
    """The rows of latents beside other fields."""
    meta, rows = dataset.reader.meta, _ROWS[dataset.modality.name]
    name, figure = rows.bits(dataset, 8 * meta.blob_bytes / meta.extent)
    held = f"{_latents(rows, dataset)} of {rows.signals(dataset)}, {megabytes(meta.blob_bytes)}, {name} {figure}"
    codec = f"{printable(meta.codec)} at quality {dataset.quality}, artifact {meta.sha256}"
    return [(f"latents {field}", held), (f"codec of {field}", codec)]


def _classes(classes: list[str] | None) -> str:
    if not classes:
        return "none"
    shown = ", ".join(printable(name) for name in classes[:SHOWN_CLASSES])
    return f"{len(classes)}: {shown}" + (", ..." if len(classes) > SHOWN_CLASSES else "")
