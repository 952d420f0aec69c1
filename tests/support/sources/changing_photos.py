"""A folder of photographs that changes, and what `latentstore sync` makes of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import latentstore
from latentstore.conversion.report import Report
from latentstore.loaders.tensors.read import read_manifest
from latentstore.stores.verify import verify
from latentstore.syncing.latents import sync_latents
from latentstore.syncing.plan import SyncPlan

SIZE = 32


class Photos:
    """A folder of images. read: paths of the entries that were decoded since it was last cleared."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock, self.read = root, 1_700_000_000, list[str]()

    def put(self, name: str, seed: int) -> None:
        rough = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rough).resize((48, 40), Image.Resampling.BICUBIC).save(path)
        self.touch(name)

    def touch(self, name: str) -> None:
        self.clock += 1
        os.utime(self.root / name, (self.clock, self.clock))

    def sync(self, store: Path, **options: Any) -> tuple[SyncPlan, Report | None]:
        self.read.clear()
        options = {"size": SIZE, "workers": 1, "progress": False, **options}
        return sync_latents(self.root, store, **options)


def latents_of(store: Path | str) -> dict[str, bytes]:
    ds = latentstore.open(store)
    return dict(zip(ds.keys(), (latent.tobytes() for latent in ds.read_latents(None)), strict=True))


def assert_as_converted(photos: Photos, store: Path, **options: Any) -> None:
    """The store holds what a conversion of its source holds, and everything in it agrees."""
    fresh = photos.root.parent / f"fresh-{photos.clock}.zarr"
    latentstore.convert(photos.root, fresh, size=SIZE, progress=False, overwrite=True, **options)
    assert latents_of(store) == latents_of(fresh)
    ours, theirs = latentstore.open(store), latentstore.open(fresh)
    for a, b in zip(ours.stats, theirs.stats, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
    for name in ("extent", "blob_bytes", "quality", "count"):
        assert ours.info[name] == theirs.info[name]
    assert classes_of(ours) == classes_of(theirs)
    report = verify(str(store))
    assert not report.problems and report.samples == len(theirs)


def classes_of(ds: Any) -> dict[str, str]:
    return {key: ds.classes[label] for key, label in zip(ds.keys(), ds.fields()["label"].tolist(), strict=True)}


def shards_of(store: Path) -> set[str]:
    return {shard.name for shard in read_manifest(latentstore.open(store).reader.location).shards}
