"""Bytes fetched for the first 12 channels of a Zarr store of 2,000 samples: by plain Zarr and by our loader.

Plain Zarr reads ``z[:, :12]`` through a store that counts; our loader reads an epoch of a store behind
fsspec that counts, as an object store would be read. How much of an image's bytes its first channels take
depends on the image, so there are three sets at the default quality: tiles of photographs at full
resolution, tiles of Kodak, and the labelled photographs at 256 px, which are soft: most of what there is to
code is in the first channels. Flips, turns and crops fill each set up to 2,000.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

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


def tiles(*folder: str) -> list[np.ndarray]:
    """2,000 tiles, uint8 (256, 256, 3): a folder's images cut up, then flips and turns of the tiles."""
    cut = []
    for path in sorted(common.data("images", *folder).iterdir()):
        image = np.asarray(Image.open(path).convert("RGB"))
        for y in range(0, image.shape[0] - 255, 256):
            cut += [image[y : y + 256, x : x + 256] for x in range(0, image.shape[1] - 255, 256)]
    turned = [np.rot90(tile[:, ::-1] if flip else tile, turn) for flip in (0, 1) for turn in range(4) for tile in cut]
    return [np.ascontiguousarray(turned[i % len(turned)]) for i in range(SAMPLES)]


def labelled() -> list[np.ndarray]:
    """2,000 images, uint8 (256, 256, 3): the labelled photographs, mirrored, and corners of them."""
    found = []
    for path in common.labelled():
        image = Image.open(path).convert("RGB")
        width, height = image.size
        corner = image.crop((0, 0, max(1, width * 3 // 4), max(1, height * 3 // 4)))
        for variant in (image, ImageOps.mirror(image), corner, ImageOps.mirror(corner)):
            found.append(common.at_256(variant))
            if len(found) == SAMPLES:
                return found
    return found


def write(target: str, source: list[np.ndarray]) -> None:
    import latentstore
    from latentstore.writing import Sample, StoreSpec, open_writer

    codec = latentstore.load_codec(common.CODEC)
    spec = StoreSpec.of(codec, size=(256, 256), shard_samples=SHARD_SAMPLES, source="benchmark")
    with open_writer(target, spec) as writer:
        for shard, first in enumerate(range(0, len(source), SHARD_SAMPLES)):
            part = source[first : first + SHARD_SAMPLES]
            writer.write_shard(
                shard,
                [Sample(f"{first + i:06d}", codec.compress_groups(image), 256, 256) for i, image in enumerate(part)],
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
    import latentstore
    from latentstore.loaders import LatentLoader

    ds = latentstore.open(f"counted://{store}", channels=12)
    CountedFiles.clear()
    index = (16 * SHARD_SAMPLES * ds.codec.groups + 4) * (len(ds.shard_starts) - 1)
    assert sum(len(batch["key"]) for batch in LatentLoader(ds, 256, shuffle=shuffle)) == SAMPLES
    shards = [path for path in CountedFiles.fetched if "/latent/c/" in path]
    fetched = sum(CountedFiles.fetched[path] for path in shards)
    ranges = sum(CountedFiles.ranges[path] for path in shards) / len(shards) - 1
    return fetched, ranges, index


def measure(name: str, source: list[np.ndarray], rows: list[tuple[object, ...]], bars: common.Bars) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch, "samples.zarr")
        write(str(store), source)
        whole = sum(path.stat().st_size for path in (store / "latent" / "c").rglob("*") if path.is_file())
        fetched, requests = plain_zarr(store)
        rows.append((name, "all 48 channels", whole, 1.0, ""))
        rows.append(("", "plain Zarr, z[:, :12]", fetched, fetched / whole, f"{requests} requests"))
        bars.at_most(f"{name}: plain Zarr, bytes fetched over all", fetched / whole, BAR)
        for order, shuffle in (("in order", False), ("block shuffle", "block")):
            fetched, ranges, index = our_loader(store, shuffle)
            note = f"{ranges:g} ranges a shard beside its index ({index / whole:.2%} of all)"
            rows.append(("", f"our loader, {order}", fetched, fetched / whole, note))
            bars.at_most(f"{name}: our loader, {order}, bytes fetched over all", fetched / whole, BAR)
            bars.at_most(f"{name}: our loader, {order}, ranges a shard beside its index", ranges, 1)


def main() -> None:
    fsspec.register_implementation("counted", CountedFiles, clobber=True)
    common.header(f"Bytes fetched for 12 of 48 channels, {SAMPLES} samples of 256 px", "zarr")
    sets = {"photographs": tiles("train"), "Kodak": tiles("kodak"), "labelled at 256": labelled()}
    rows: list[tuple[object, ...]] = []
    bars = common.Bars(later=True)
    for name, source in sets.items():
        measure(name, source, rows, bars)
    common.table(["", "", "bytes", "of all", ""], rows)
    bars.end()


if __name__ == "__main__":
    main()
