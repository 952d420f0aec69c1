"""Epochs from S3 under "block": requests, bytes, seconds, lost samples, memory, and what the cache saves.

The server is 20 ms away and fails 5 % of the requests (`benchmarks.support.servers`). The store holds photographs of
256 pixels, each many times, so that its shards have the usual size; the keys tell the samples apart.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import argparse
import gc
import logging
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

import latentstore
from benchmarks.support.servers import BUCKET, FarS3, far_s3
from latentstore.codecs.load import load_codec
from latentstore.loaders import LatentLoader
from latentstore.loaders.remote.ranges import PART_BYTES
from latentstore.writing import Sample, StoreSpec, open_writer

URL = f"s3://{BUCKET}/photos.zarr"
SHARDS, SHARD_SAMPLES, PHOTOS = 12, 6554, 60
BATCH = 256
CHANNELS = 12
EPOCHS = 20


def write_store(s3: FarS3, folder: Path, shards: int, samples: int) -> None:
    """Writes it to a disk and copies the files: moto is slow with many small writes."""
    codec = load_codec(common.CODEC)
    spec = StoreSpec.of(codec, size=(256, 256), shard_samples=samples, source="photographs, repeated")
    made = []
    for path in common.labelled()[:PHOTOS]:
        image = common.at_256(Image.open(path))
        made.append(codec.compress_groups(image, effort="fast"))
    with open_writer(str(folder / "photos.zarr"), spec) as writer:
        for shard in range(shards):
            numbers = range(shard * samples, (shard + 1) * samples)
            writer.write_shard(
                shard, [Sample(f"{i:07d}", made[i % PHOTOS], 256, 256, {"label": i % 7}) for i in numbers]
            )
        writer.finish(shards)
    import s3fs

    s3fs.S3FileSystem(**s3.near).put(str(folder / "photos.zarr"), URL, recursive=True)
    shutil.rmtree(folder / "photos.zarr")


def resident() -> float:
    """MB of memory that this process has, of its own: without mapped files."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1000
    return 0.0


class Run:
    """Epochs of one data set, and the rows of the table about them."""

    def __init__(self, s3: FarS3, bars: common.Bars) -> None:
        self.s3, self.bars, self.rows = s3, bars, list[list[object]]()

    def open(self, cache: Path | None) -> LatentLoader:
        """The loader of the store, as a new process has it."""
        self.s3.reset()
        ds = latentstore.open(URL, CHANNELS, storage_options=self.s3.far, cache=cache or False)
        return LatentLoader(ds, BATCH, "block", seed=1, num_workers=2)

    def epoch(self, name: str, loader: LatentLoader) -> int:
        """One pass, beginning with what has been asked for since the loader was opened; returns its requests."""
        begin, seen = time.perf_counter(), Counter[str]()
        for batch in loader:
            seen.update(batch["key"])
        seconds, counts = time.perf_counter() - begin, self.s3.reset()
        lost, repeated = len(loader.ds) - len(seen), seen.total() - len(seen)
        shards = len(loader.ds.shard_starts) - 1
        size = sum(loader.ds.shard_bytes(list(range(shards))))
        allowed = 1.2 * size / PART_BYTES + shards
        row = [name, counts.requests, allowed, counts.failed, counts.bytes / 1e6, seconds, lost, repeated]
        self.rows.append(row)
        self.bars.at_most(f"{name}: requests", counts.requests, allowed)
        self.bars.at_most(f"{name}: samples lost or repeated", lost + repeated, 0)
        return counts.requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=SHARDS)
    parser.add_argument("--samples", type=int, default=SHARD_SAMPLES, help="of a shard")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    logging.getLogger("latentstore").setLevel(logging.ERROR)
    common.header("Epochs from an object store: 20 ms away, 5 % of the requests fail", "s3fs", "torch", "moto")
    bars = common.Bars(later=True)
    with far_s3() as s3, tempfile.TemporaryDirectory() as scratch:
        write_store(s3, Path(scratch), options.shards, options.samples)
        run, cache = Run(s3, bars), Path(scratch, "cache")
        loader = run.open(None)
        held = [resident()]
        for number in range(options.epochs):
            run.epoch(f"epoch {number + 1}, with opening" if not number else f"epoch {number + 1}", loader)
            held.append(resident())
        del run.rows[2:]
        loader = run.open(cache)
        run.epoch("cache: epoch 1, with opening", loader)
        again = run.epoch("cache: epoch 2", loader)
        run.epoch("cache: a new process, with opening", run.open(cache))
        bars.at_most("cache: epoch 2: requests", again, 0)
    common.table(["", "requests", "allowed", "failed", "MB", "s", "lost", "repeated"], run.rows)
    print(f"\nMB of memory of its own before and after each epoch: {', '.join(f'{mb:.0f}' for mb in held)}")
    if len(held) > 3:
        slope = np.polyfit(np.arange(len(held) - 1), held[1:], 1)[0]
        print(f"A line through those after the first rises by {slope:.2f} MB an epoch")
        most = max(held[2:]) / held[1]
        bars.at_most(f"most memory after epochs 2 to {options.epochs} over that after the first", most, 1.05)
    bars.end()


if __name__ == "__main__":
    main()
