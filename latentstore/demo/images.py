"""The demonstration on images, in about half a minute.

Photographs that scikit-image's wheel contains are cut into tiles of 256 pixels, converted, compared with JPEG, streamed
for an epoch, and shown on a sheet. The tiles overlap, so this is a demonstration and not a benchmark.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
from PIL import Image

from latentstore.codecs.errors import LatentstoreError
from latentstore.codecs.neural.decoder import LINEAR
from latentstore.conversion.api import convert
from latentstore.demo.image_sheet import draw_sheet
from latentstore.demo.jpeg_match import match_jpeg
from latentstore.demo.stages import own_folder, seconds_of, stream
from latentstore.evaluate.images.metrics import psnr
from latentstore.loaders.opening import open_latents
from latentstore.progress import Progress, megabytes

if TYPE_CHECKING:
    from latentstore.loaders.dataset import LatentDataset

__all__ = ["demo_images"]

# Photographs in scikit-image's wheel; it would have to download the others.
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
TRAINED = "small"


def demo_images(folder: str, *, out: TextIO | None = None, most_tiles: int = MOST_TILES) -> Path:
    """Runs the demonstration in `folder` and returns the path of the sheet.

    folder: new, empty, or from an earlier demonstration. out: where the tables go; None is standard output. most_tiles:
    cut from each photograph. StoreError; LatentstoreError where scikit-image is not installed.
    """
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
    dataset = open_latents(report.url)
    originals = np.stack([_load(base / "images" / f"{key}.png") for key in dataset.keys(np.arange(len(dataset)))])
    _compare(dataset, originals, out)
    stream(report.url, out)
    sheet = base / "sheet.png"
    chosen = np.linspace(0, len(dataset) - 1, SHEET_ROWS).astype(np.int64)
    draw_sheet(dataset, chosen, originals[chosen]).save(sheet)
    print(f"originals, reconstructions and latent channels: {sheet}", file=out, flush=True)
    return sheet


def _bundled() -> Path:
    """The folder of scikit-image's images; importing scikit-image would take a second."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise LatentstoreError("the demonstration needs scikit-image for its images: pip install 'latentstore[demo]'")
    return Path(spec.origin).parent / "data"


def _load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _write_tiles(folder: Path, most: int, shown: Progress) -> list[Path]:
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


def _compare(dataset: LatentDataset, originals: np.ndarray, out: TextIO) -> None:
    """Prints bytes, PSNR and speed in one thread with some, and with all channels, beside JPEG at the same PSNR."""
    codec, quality = dataset.codec, dataset.quality
    everything = np.arange(len(dataset))
    latents = np.asarray(dataset.read_latents(everything))
    group_bytes = dataset.fetch(everything).length.reshape(len(dataset), codec.groups).sum(axis=0)
    some = originals[:TIMED_TILES]
    megapixels = some[..., 0].size / 1e6
    encode = megapixels / seconds_of(lambda: [codec.compress(tile, quality) for tile in some])
    fast = megapixels / seconds_of(lambda: [codec.compress(tile, quality, effort="fast") for tile in some])
    blobs = [codec.compress(tile, quality) for tile in some]
    table = _Table(out, originals[..., 0].size)
    for groups in sorted({1, max(1, codec.groups // 2), codec.groups}):
        channels = groups * codec.group_channels
        decoded = codec.decode(latents[:, :channels], quality=quality, size=originals.shape[1:3], decoder=LINEAR)
        reached = psnr(originals, decoded)
        speed = megapixels / seconds_of(partial(_decode_all, dataset, blobs, channels, LINEAR))
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
            refined = codec.decode(latents, quality=quality, size=originals.shape[1:3], decoder=TRAINED)
            speed = megapixels / seconds_of(partial(_decode_all, dataset, blobs, channels, TRAINED))
            table.row(f"the same, decoder {TRAINED}", 0, psnr(originals, refined), 0, speed)
        match = match_jpeg(originals, reached, some)
        table.row(f"JPEG quality {match.quality}, 4:2:0, optimised", match.bytes, match.psnr,
                  megapixels / match.encode_seconds, megapixels / match.decode_seconds)  # fmt: skip
        table.text(f"  {size / match.bytes_at_psnr:.2f} times the bytes of JPEG at the same PSNR (interpolated)")
    table.text("")


def _decode_all(dataset: LatentDataset, blobs: list[bytes], channels: int, decoder: str) -> None:
    for blob in blobs:
        dataset.codec.decompress(blob, channels, decoder=decoder)


class _Table:
    """Prints rows of sizes and speeds; zeros stay blank. pixels: of all images together."""

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
