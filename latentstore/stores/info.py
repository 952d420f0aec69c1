"""`latentstore info` and `latentstore codecs`: plain tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.codecs import AudioCodec
from latentstore.codecs.modality import AUDIO
from latentstore.progress import counted, megabytes, printable
from latentstore.words import words_of

if TYPE_CHECKING:
    from latentstore.codecs import Codec
    from latentstore.loaders.dataset import LatentDataset

__all__ = ["codecs_table", "store_table"]

SHOWN_CLASSES = 12
SHOWN_RATES = 4


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in rows)


def store_table(url: str, storage_options: Mapping[str, Any] | None = None) -> str:
    """What the store at `url` holds, as text of two columns. StoreError if there is no finished store."""
    from latentstore import open as open_store

    dataset = open_store(url, storage_options=dict(storage_options or {}) or None)
    codec, about = dataset.codec, dataset.info
    blob_bytes, extent = int(about["blob_bytes"]), int(about["extent"])
    objects = dataset.reader.location.list()
    rows = [
        ("store", printable(url)),
        ("samples", f"{len(dataset):,} in {counted(len(dataset.shard_starts) - 1, 'shard')}"),
        (words_of(codec.mode).many, _signals(dataset)),
        ("latents", _latents(dataset)),
        ("bytes", f"{megabytes(blob_bytes)} of latents; {megabytes(sum(objects.values()))} in all"),
        _rate(dataset, 8 * blob_bytes / extent, f"{blob_bytes / len(dataset):,.0f} bytes a sample"),
        ("codec", codec.name),
        ("artifact sha256", codec.sha256),
        ("quality", f"{dataset.quality} of 100"),
        ("classes", _classes(dataset.classes)),
        ("fields", ", ".join(["key", *map(printable, about["fields"])])),
        ("source", printable(str(about["source"]))),
        ("kernel", _kernel()),
    ]
    return _table(rows)


def _rate(dataset: LatentDataset, bits: float, rest: str) -> tuple[str, str]:
    """Bits a pixel, or how much smaller than 16-bit PCM the audio is."""
    if dataset.modality is AUDIO:
        return "compression", f"{16 * dataset.codec.in_channels / bits:.1f} of 16-bit PCM, {rest}"
    return "bits per pixel", f"{bits:.3f}, {rest}"


def _signals(dataset: LatentDataset) -> str:
    return _lengths(dataset) if (dataset.modality is AUDIO) else f"{_sizes(dataset)}, {dataset.codec.mode}"


def _lengths(dataset: LatentDataset) -> str:
    rates = np.asarray(dataset.fields()["rate"])
    seconds = dataset.sizes()[:, 1] / np.maximum(rates, 1)
    low, high = float(seconds.min()), float(seconds.max())
    long = f"windows of {high:g} s" if dataset.size is not None else f"each its own length, {low:.3g} to {high:.3g} s"
    said = " and ".join(f"{rate:,}" for rate in sorted(set(rates.tolist()))[:SHOWN_RATES])
    more = " and more" if len(set(rates.tolist())) > SHOWN_RATES else ""
    return f"{long}, {counted(dataset.codec.in_channels, 'input')}, {said}{more} hertz"


def _sizes(dataset: LatentDataset) -> str:
    if dataset.size is not None:
        return f"{dataset.size[1]}x{dataset.size[0]} pixels"
    sizes = dataset.sizes()
    (low_h, low_w), (high_h, high_w) = np.min(sizes, axis=0), np.max(sizes, axis=0)
    return f"each its own size, {low_w} to {high_w} pixels wide, {low_h} to {high_h} high"


def _latents(dataset: LatentDataset) -> str:
    codec = dataset.codec
    shape = dataset.latent_shape
    if dataset.modality is AUDIO:
        form = f"({codec.channels}, {shape[2] if shape else f'samples/{codec.reduction}'})"
    else:
        form = str(shape) if shape else f"({codec.channels}, height/{codec.reduction}, width/{codec.reduction})"
    return f"int8 {form}, {codec.groups} groups of {codec.group_channels} channels"


def _classes(classes: list[str] | None) -> str:
    if not classes:
        return "none"
    shown = ", ".join(printable(name) for name in classes[:SHOWN_CLASSES])
    return f"{len(classes)}: {shown}" + (", ..." if len(classes) > SHOWN_CLASSES else "")


def _kernel() -> str:
    """Which code decodes here, and loudly so if it is the slow one."""
    from latentstore.codecs.native import kernel_path

    name = kernel_path()
    if name == "reference":
        return "NONE: THE SLOW PYTHON REFERENCE RUNS; install again where there is a C compiler"
    return f"native ({name})"


def _takes(codec: Codec) -> list[tuple[str, str]]:
    """What a codec takes and what it makes of it."""
    if isinstance(codec, AudioCodec):
        said = f"{counted(codec.in_channels, 'input')}, made for {codec.rate:,} hertz"
        return [("audio", said), ("latents", f"int8 ({codec.channels}, samples/{codec.reduction})")]
    return [
        ("images", f"{'RGB' if codec.mode == 'RGB' else 'gray'}, 8 bits"),
        ("latents", f"int8 ({codec.channels}, height/{codec.reduction}, width/{codec.reduction})"),
    ]


def codecs_table() -> str:
    """The shipped codecs, with what their cards say."""
    from latentstore.codecs import load_codec, shipped

    blocks = []
    for name in shipped():
        codec = load_codec(name)
        rows = [
            ("codec", codec.name),
            *_takes(codec),
            ("groups", f"{codec.groups} of {codec.group_channels} channels"),
            ("default quality", str(codec.default_quality)),
            ("artifact sha256", codec.sha256),
            ("artifact size", f"{len(codec.artifact_bytes) / 1000:.0f} kB"),
        ]
        rows += [(printable(str(key)), printable(str(value))) for key, value in sorted(codec.card.items())]
        blocks.append(_table(rows))
    return "\n\n".join([*blocks, f"kernel: {_kernel()}"])
