"""What the demonstrations of images and of audio share: their folder, timing, and streaming a store."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from latentstore.codecs.errors import StoreError
from latentstore.loaders.opening import open_latents

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset

__all__ = ["own_folder", "seconds_of", "stream"]

OWN_NAMES = {"images", "images.zarr", "sheet.png", "clips", "clips.zarr", "sheet-audio.png"}


def own_folder(base: Path, remade: str) -> Path:
    """Makes the folder `base`, or removes its subfolder `remade`; returns `base`.

    StoreError if the folder holds files that no demonstration has written.
    """
    if base.exists():
        if not base.is_dir():
            raise StoreError(f"{base} is a file: give a folder for the demonstration")
        others = sorted({path.name for path in base.iterdir()} - OWN_NAMES)
        if others:
            raise StoreError(f"{base} holds other files ({others[0]}): give a new folder for the demonstration")
        shutil.rmtree(base / remade, ignore_errors=True)
    base.mkdir(parents=True, exist_ok=True)
    return base


def seconds_of(action: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def stream(url: str, out: TextIO) -> None:
    """Streams an epoch of a store with one group of channels and with all of them, and prints how fast."""
    codec = open_latents(url).codec
    for channels in (codec.group_channels, codec.channels):
        dataset = open_latents(url, channels=channels)
        kind, batches = _batches(dataset)
        next(iter(_batches(dataset)[1]))  # the first batch pays for imports
        start = time.perf_counter()
        count = sum(batches)
        seconds = time.perf_counter() - start
        print(
            f"one shuffled epoch, {channels} channels: {count} samples in {kind}, {count / seconds:,.0f} samples/s",
            file=out,
            flush=True,
        )
    print(file=out)


def _batches(dataset: LatentDataset) -> tuple[str, Iterator[int]]:
    """What is streamed, in words, and the sizes of the batches of an epoch."""
    if importlib.util.find_spec("torch") is None:
        order = np.random.default_rng(0).permutation(len(dataset))
        parts = np.array_split(order, max(1, len(order) // 32))
        return "NumPy batches (torch is not installed)", (len(dataset.read_latents(part)) for part in parts)
    from latentstore.loaders import LatentLoader

    loader = LatentLoader(dataset, batch_size=32, shuffle=True, seed=0, num_workers=0)
    return "torch batches", (len(batch["latent"]) for batch in loader)
