"""Images and latents for the tests of array codecs, and what the signal codec should make of an array."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest


def images(count: int, height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 (count, height, width, channels): smooth, each another; never 0."""
    y, x = np.mgrid[:height, :width]
    values = [
        np.stack([60 + 9 * i + seed + x * (k + 1) / 2 + y * (3 - k) / 2 for k in range(channels)], -1)
        for i in range(count)
    ]
    return (np.stack(values) % 200 + 20).astype(np.uint8)


def latents(count: int, height: int, width: int, channels: int = 48, seed: int = 0) -> np.ndarray:
    """int8 (count, channels, height, width)"""
    values = np.random.default_rng(seed).laplace(size=(count, channels, height, width)) * 4
    return np.clip(np.rint(values), -127, 127).astype(np.int8)


def coded(
    codec: Any, values: np.ndarray, axes: str, chunks: Sequence[int], fill: int = 0, **options: Any
) -> np.ndarray:
    """What `values` should be read as: every image of every chunk by itself through `codec`, without the
    rows and columns at its end that hold the fill value alone. Written in the plainest way, from
    docs/zarr.md."""
    order = [i for i, a in enumerate(axes) if a == "n"] + [axes.index(a) for a in "hwc" if a in axes]
    cells = [1 if a == "n" else c for a, c in zip(axes, chunks, strict=True)]
    out = np.full_like(values, fill)
    for start in itertools.product(*(range(0, n, c) for n, c in zip(values.shape, cells, strict=True))):
        where = tuple(slice(s, s + c) for s, c in zip(start, cells, strict=True))
        image = values[where].transpose(order)
        image = image.reshape(image.shape[len([a for a in axes if a == "n"]) :])
        image = image if image.ndim == 3 else image[..., None]
        height, width = image.shape[:2]
        while height and (image[height - 1] == fill).all():
            height -= 1
        while height and width and (image[:height, width - 1] == fill).all():
            width -= 1
        if height and width:
            blob = codec.compress(np.ascontiguousarray(image[:height, :width]), **options)
            result = np.full_like(image, fill)
            result[:height, :width] = codec.decompress(blob, decoder="linear")
            place = out[where].transpose(order)
            place[...] = result.reshape(place.shape)
    return out


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> Iterator[list[Any]]:
    """The calls of a method while the block runs: their first argument."""
    calls: list[Any] = []
    original = getattr(owner, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(args[0] if args else None)
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, call)
        yield calls
