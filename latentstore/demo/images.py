"""`latentstore demo`: the whole way on real images, in about half a minute.

Images that ship inside scikit-image's wheel are cut into overlapping 256-pixel tiles, converted, compared
with JPEG, streamed for an epoch, and shown on a sheet. The tiles overlap, so this is a demonstration and not
a benchmark.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from latentstore.codecs.errors import LatentstoreError, StoreError
from latentstore.evaluate.image_peers import match_jpeg, psnr
from latentstore.progress import Progress, megabytes

if TYPE_CHECKING:
    from latentstore.loaders import LatentDataset

__all__ = ["demo", "own_folder", "seconds_of", "stream"]

# Photographs of scikit-image that its wheel holds; the others would have to be downloaded.
IMAGES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
TILE = 256
STRIDE = 64
MOST_TILES = 40
SHEET_ROWS = 6
TIMED_TILES = 48
OWN_NAMES = {"images", "images.zarr", "sheet.png", "clips", "clips.zarr", "sheet-audio.png"}


def demo(folder: str, *, out: TextIO | None = None, most_tiles: int = MOST_TILES) -> Path:
    """Runs the demonstration in `folder` (new, empty, or of an earlier demo) and returns the sheet's path.

    out: where the tables go, standard output by default. most_tiles: from each image.
    """
    from latentstore import open as open_store
    from latentstore.conversion.api import convert
    from latentstore.demo.image_sheet import draw_sheet

    out = out or sys.stdout
    base = own_folder(Path(folder), "images")
    with Progress() as shown:
        tiles = _write_tiles(base / "images", most_tiles, shown)
    print(
        f"{len(tiles)} overlapping tiles of {TILE}x{TILE} pixels of photographs from scikit-image, "
        f"in {base / 'images'}\n\n$ latentstore convert {base / 'images'} {base / 'images.zarr'}",
        file=out,
        flush=True,
    )
    report = convert(str(base / "images"), str(base / "images.zarr"), overwrite=True, progress=True)
    print(
        f"{report.stored} images in {report.seconds:.1f} s ({report.stored / report.seconds:.0f}/s), "
        f"{megabytes(report.bytes_in)} of PNG in, {megabytes(report.bytes_out)} of latents out\n",
        file=out,
        flush=True,
    )
    dataset = open_store(report.url)
    originals = np.stack([_load(base / "images" / f"{key}.png") for key in dataset.keys(np.arange(len(dataset)))])
    _compare(dataset, originals, out)
    stream(report.url, out)
    sheet = base / "sheet.png"
    chosen = np.linspace(0, len(dataset) - 1, SHEET_ROWS).astype(np.int64)
    draw_sheet(dataset, chosen, originals[chosen]).save(sheet)
    print(f"originals, reconstructions and latent channels: {sheet}", file=out, flush=True)
    return sheet


def own_folder(base: Path, remade: str) -> Path:
    """`base`, made where it is not there, without its subfolder `remade`. StoreError if it holds what is no demo's."""
    if base.exists():
        if not base.is_dir():
            raise StoreError(f"{base} is a file; name a folder for the demo")
        others = sorted({path.name for path in base.iterdir()} - OWN_NAMES)
        if others:
            raise StoreError(f"{base} holds other files ({others[0]}); name a new folder for the demo")
        shutil.rmtree(base / remade, ignore_errors=True)
    base.mkdir(parents=True, exist_ok=True)
    return base


def _bundled() -> Path:
    """The folder of scikit-image's images, found without importing it, which takes a second."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise LatentstoreError(
            "the demo uses scikit-image's images, which are not installed: pip install 'latentstore[demo]'"
        )
    return Path(spec.origin).parent / "data"


def _load(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write_tiles(folder: Path, most: int, shown: Progress) -> list[Path]:
    from PIL import Image

    shown.begin("cutting tiles", unit="tiles")
    written = []
    for name in IMAGES:
        path = _bundled() / name
        if not path.exists():
            continue
        image = _load(path)
        places = list(_places(image.shape[0], image.shape[1]))
        few = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).astype(int))
        (folder / path.stem).mkdir(parents=True, exist_ok=True)
        for y, x in (places[i] for i in few):
            tile = folder / path.stem / f"{path.stem}-{y:04d}-{x:04d}.png"
            Image.fromarray(image[y : y + TILE, x : x + TILE]).save(tile, compress_level=1)
            written.append(tile)
            shown.advance(1, bytes_out=tile.stat().st_size)
    if not written:
        raise LatentstoreError(f"no images lie in {_bundled()}; scikit-image is installed without its data")
    return written


def _places(height: int, width: int) -> Iterator[tuple[int, int]]:
    for y in range(0, height - TILE + 1, STRIDE):
        for x in range(0, width - TILE + 1, STRIDE):
            yield y, x


def seconds_of(action: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _compare(dataset: LatentDataset, originals: np.ndarray, out: TextIO) -> None:
    """Bytes, PSNR and one-thread speed at some prefixes of channels, beside JPEG at the same PSNR."""
    codec, quality = dataset.codec, dataset.quality
    everything = np.arange(len(dataset))
    latents = dataset.read_latents(everything)
    group_bytes = dataset.fetch(everything).length.reshape(len(dataset), codec.groups).sum(axis=0)
    some = originals[:TIMED_TILES]
    megapixels = some[..., 0].size / 1e6
    encode = megapixels / seconds_of(lambda: [codec.compress(tile, quality) for tile in some])
    fast = megapixels / seconds_of(lambda: [codec.compress(tile, quality, effort="fast") for tile in some])
    blobs = [codec.compress(tile, quality) for tile in some]
    table = _Table(out, originals[..., 0].size)
    for groups in sorted({1, max(1, codec.groups // 2), codec.groups}):
        channels = groups * codec.group_channels
        decoded = codec.decode(latents[:, :channels], quality=quality, size=originals.shape[1:3])
        reached = psnr(originals, decoded)
        speed = megapixels / seconds_of(partial(_decode_all, dataset, blobs, channels))
        size = float(group_bytes[:groups].sum())
        whole = groups == codec.groups
        table.row(
            f"{codec.name}, {channels} of {codec.channels} channels",
            size,
            reached,
            encode if whole else 0,
            speed,
        )
        if whole:
            table.row("the same, effort=fast", 0, 0, fast, 0)
        match = match_jpeg(originals, reached, some)
        table.row(f"JPEG quality {match.quality}, 4:2:0, optimised", match.bytes, match.psnr,
                  megapixels / match.encode_seconds, megapixels / match.decode_seconds)  # fmt: skip
        table.text(f"  {size / match.bytes_at_psnr:.2f} of JPEG's bytes at the same PSNR (interpolated)")
    table.text("")


def _decode_all(dataset: LatentDataset, blobs: list[bytes], channels: int) -> None:
    for blob in blobs:
        dataset.codec.decompress(blob, channels=channels)


class _Table:
    """Rows of sizes and speeds; zeros stay blank. pixels: of all images together."""

    def __init__(self, out: TextIO, pixels: int) -> None:
        self.out, self.pixels = out, pixels
        self.text(f"{'':38}{'MB':>7}{'bits/pixel':>12}{'PSNR dB':>9}{'encode':>9}{'decode':>9}   MP/s, one thread")

    def row(self, name: str, size: float, decibel: float, encode: float, decode: float) -> None:
        cells = [
            f"{size / 1e6:7.2f}" if size else " " * 7,
            f"{8 * size / self.pixels:12.3f}" if size else " " * 12,
            *(
                f"{value:9.{digits}f}" if value else " " * 9
                for value, digits in ((decibel, 2), (encode, 1), (decode, 1))
            ),
        ]
        self.text(f"{name:38}{''.join(cells)}".rstrip())

    def text(self, line: str) -> None:
        print(line, file=self.out, flush=True)


def stream(url: str, out: TextIO) -> None:
    """Streams epochs of a store at one group and at all channels, and says how fast."""
    from latentstore import open as open_store

    codec = open_store(url).codec
    for channels in (codec.group_channels, codec.channels):
        dataset = open_store(url, channels=channels)
        kind, batches = _batches(dataset)
        next(iter(_batches(dataset)[1]))  # the first batch pays for imports
        start = time.perf_counter()
        count = sum(batches)
        seconds = time.perf_counter() - start
        print(
            f"an epoch, shuffled, {channels} channels: {count} samples in {kind}, {count / seconds:,.0f} samples/s",
            file=out,
            flush=True,
        )
    print(file=out)


def _batches(dataset: LatentDataset) -> tuple[str, Iterator[int]]:
    """What is streamed, in words, and the sizes of an epoch's batches."""
    if importlib.util.find_spec("torch") is None:
        order = np.random.default_rng(0).permutation(len(dataset))
        parts = np.array_split(order, max(1, len(order) // 32))
        return "NumPy batches (torch is not installed)", (len(dataset.read_latents(part)) for part in parts)
    from latentstore.loaders import LatentLoader

    loader = LatentLoader(dataset, batch_size=32, shuffle=True, seed=0, num_workers=0)
    return "torch batches", (len(batch["latent"]) for batch in loader)
