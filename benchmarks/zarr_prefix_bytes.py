"""Bytes fetched for the first 12 channels of a Zarr store of 2,000 samples: by plain Zarr and by our loader.

The samples are the labelled photographs at 256 px and flips and crops of them. Plain Zarr reads ``z[:,
:12]`` through a store that counts; our loader reads an epoch of a store behind fsspec that counts, as an
object store would be read.
"""

from __future__ import annotations

import common  # isort: skip  (before numpy)

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from PIL import Image, ImageOps

SAMPLES, SHARD_SAMPLES = 2000, 500
BAR = 0.57


def pictures() -> list[np.ndarray]:
    """2,000 pictures, uint8 (256, 256, 3)."""
    found = []
    for path in common.labelled():
        picture = Image.open(path).convert("RGB")
        width, height = picture.size
        corner = picture.crop((0, 0, max(1, width * 3 // 4), max(1, height * 3 // 4)))
        for variant in (picture, ImageOps.mirror(picture), corner, ImageOps.mirror(corner)):
            found.append(common.at_256(variant))
            if len(found) == SAMPLES:
                return found
    return found


def write(target: str) -> None:
    from latentstore.loaders import Sample, StoreSpec, open_writer

    import latentstore

    codec = latentstore.load_codec(common.CODEC)
    spec = StoreSpec.of(codec, size=(256, 256), shard_samples=SHARD_SAMPLES, source="benchmark")
    source = pictures()
    with open_writer(target, spec) as writer:
        for shard, first in enumerate(range(0, len(source), SHARD_SAMPLES)):
            part = source[first : first + SHARD_SAMPLES]
            writer.write_shard(
                shard,
                [
                    Sample(f"{first + i:06d}", codec.compress_groups(picture), 256, 256)
                    for i, picture in enumerate(part)
                ],
            )
        writer.finish(-(-len(source) // SHARD_SAMPLES))


class CountedFiles(LocalFileSystem):
    """Local files behind a name of their own, so that they are read like an object store; counts what is
    read."""

    protocol = "counted"
    ranges: ClassVar[Counter[str]] = Counter()
    fetched: ClassVar[Counter[str]] = Counter()

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        data = super().cat_file(path, start, end, **kwargs)
        self.ranges[path] += 1
        self.fetched[path] += len(data)
        return data

    @classmethod
    def clear(cls) -> None:
        cls.ranges.clear()
        cls.fetched.clear()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("counted://"))


def plain_zarr(store: Path) -> tuple[int, int]:
    """(bytes, requests) of ``z[:, :12]`` with nothing but zarr."""
    import zarr
    from zarr.storage import LocalStore, WrapperStore

    counted: Counter[str] = Counter()

    class Counting(WrapperStore[LocalStore]):
        async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
            value = await super().get(key, *args, **kwargs)
            if value is not None and "/c/" in key:
                counted["bytes"] += len(value)
                counted["requests"] += 1
            return value

        async def get_partial_values(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError("zarr began to use another call: count it")

    latent = zarr.open_group(Counting(LocalStore(store, read_only=True)), mode="r")["latent"]
    latent[:, :12]
    return counted["bytes"], counted["requests"]


def our_loader(store: Path, shuffle: bool | str) -> tuple[int, float, int]:
    """(bytes of shards, ranges a shard beside its index, bytes of shard indexes) of an epoch of 12
    channels."""
    from latentstore.loaders import LatentLoader

    import latentstore

    ds = latentstore.open(f"counted://{store}", channels=12)
    CountedFiles.clear()
    index = (16 * SHARD_SAMPLES * ds.codec.groups + 4) * (len(ds.shard_starts) - 1)
    assert sum(len(batch["key"]) for batch in LatentLoader(ds, 256, shuffle=shuffle)) == SAMPLES
    shards = [path for path in CountedFiles.fetched if "/latent/c/" in path]
    fetched = sum(CountedFiles.fetched[path] for path in shards)
    ranges = sum(CountedFiles.ranges[path] for path in shards) / len(shards) - 1
    return fetched, ranges, index


def main() -> None:
    fsspec.register_implementation("counted", CountedFiles, clobber=True)
    common.header(f"Bytes fetched for 12 of 48 channels, {SAMPLES} samples", "zarr")
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch, "samples.zarr")
        write(str(store))
        whole = sum(path.stat().st_size for path in (store / "latent" / "c").rglob("*") if path.is_file())
        zarr_bytes, requests = plain_zarr(store)
        rows: list[tuple[object, ...]] = [("all 48 channels", whole, 1.0, "")]
        rows.append(("plain Zarr, z[:, :12]", zarr_bytes, zarr_bytes / whole, f"{requests} requests"))
        ours = {}
        for name, shuffle in (("in order", False), ("block shuffle", "block")):
            fetched, ranges, index = our_loader(store, shuffle)
            ours[name] = fetched, ranges
            note = f"{ranges:g} ranges a shard beside its index ({index / whole:.2%} of all)"
            rows.append((f"our loader, {name}", fetched, fetched / whole, note))
    common.table(["", "bytes", "of all", ""], rows)
    bars = common.Bars()
    bars.at_most("plain Zarr, bytes fetched over all", zarr_bytes / whole, BAR)
    for name, (fetched, ranges) in ours.items():
        bars.at_most(f"our loader, {name}, bytes fetched over all", fetched / whole, BAR)
        bars.at_most(f"our loader, {name}, ranges a shard beside its index", ranges, 1)
    bars.end()


if __name__ == "__main__":
    main()
