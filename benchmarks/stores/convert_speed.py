"""Converting a folder of photographs at 256 px with two workers, and the bytes of the store.

Speed: beside decoding and resizing the same files alone, with plain Pillow and with the reader that
conversion uses, on two threads and on two processes that run already; the best of these counts. Bytes: all
files of the store (the artifact inside it is named apart) beside the same 256 px images as JPEG
(optimised, 4:2:0) of equal PSNR, matched in the mean over the set (one quality for all, interpolated) and
image by image.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.interpolate import PchipInterpolator

from benchmarks.support import peers
from latentstore.sources.images import read_image

WORKERS, ROUNDS = 2, 3
SPEED_BAR, BYTES_BAR = 0.5, 0.75
JPEG_QUALITIES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95)


def pillow(path: Path) -> int:
    """Decode and resize one file."""
    return common.at_256(Image.open(path)).shape[0]


def reader(path: Path) -> int:
    """The same by conversion's own rule."""
    return read_image(path, size=256).shape[0]


def alone(pool: Executor, read: Callable[[Path], int]) -> Callable[[], object]:
    return lambda: list(pool.map(read, common.labelled(), chunksize=20))


def jpeg_bytes(images: list[np.ndarray], target_db: np.ndarray) -> tuple[float, float]:
    """Bytes of `images` as JPEG: at the mean of `target_db`, one quality for all; and image by
    image."""
    sizes = np.empty((len(JPEG_QUALITIES), len(images)))
    db = np.empty_like(sizes)
    for row, quality in enumerate(JPEG_QUALITIES):
        for column, image in enumerate(images):
            blob = peers.JPEG.encode(image, quality)
            sizes[row, column], db[row, column] = len(blob), common.psnr(peers.JPEG.decode(blob), image)
    mean = float(PchipInterpolator(db.mean(1), sizes.sum(1))(target_db.mean()))
    each = 0.0
    for column, target in enumerate(target_db):
        rising = np.flatnonzero(np.diff(db[:, column], prepend=-1) > 0)
        each += float(np.interp(target, db[rising, column], sizes[rising, column]))
    return mean, each


def our_db(store: str, images: list[np.ndarray]) -> np.ndarray:
    """PSNR of each of `images`, in the order of their files' names, as the store gives it back."""
    import latentstore

    ds = latentstore.open(store)
    if len(ds) != len(images):
        raise SystemExit(f"{len(ds)} images were stored of {len(images)}")
    latents = ds.read_latents(np.arange(len(ds)))
    decoded = ds.codec.decode(latents, quality=ds.quality, size=ds.size, decoder="linear")
    return np.array([common.psnr(a, b) for a, b in zip(decoded, images, strict=True)])


def main() -> None:
    import latentstore

    common.header("Converting 600 photographs at 256 px, two workers", "zarr")
    source = common.data("images", "labelled", "train")
    files = common.labelled()
    images = [read_image(path, size=256) for path in files]
    with (
        tempfile.TemporaryDirectory() as scratch,
        ThreadPoolExecutor(WORKERS) as threads,
        ProcessPoolExecutor(WORKERS) as processes,
    ):
        stores = {effort: str(Path(scratch, f"{effort}.zarr")) for effort in ("fast", "default")}

        def convert(effort: str) -> None:
            latentstore.convert(
                str(source),
                stores[effort],
                size=256,
                workers=WORKERS,
                effort=effort,
                overwrite=True,
                progress=False,
            )

        start = time.perf_counter()
        convert("fast")
        first = time.perf_counter() - start
        seconds = common.race(
            {
                "Pillow's decoding and resizing alone, two threads": alone(threads, pillow),
                "Pillow's decoding and resizing alone, two processes": alone(processes, pillow),
                "conversion's reader alone, two threads": alone(threads, reader),
                "conversion's reader alone, two processes": alone(processes, reader),
                "convert, fast setting": lambda: convert("fast"),
                "convert, default setting": lambda: convert("default"),
            },
            rounds=ROUNDS,
            budget_s=120,
        )
        peer = min(spent for name, spent in seconds.items() if "alone" in name)
        common.table(
            ["", "images/s", "times the best alone"],
            [(name, len(files) / spent, peer / spent) for name, spent in seconds.items()]
            + [("convert, fast setting, first run of the process", len(files) / first, peer / first)],
        )
        print()
        rows, ratios = [], {}
        for effort, store in stores.items():
            db = our_db(store, images)
            parts = [path for path in Path(store).rglob("*") if path.is_file()]
            whole = sum(path.stat().st_size for path in parts)
            artifact = len(latentstore.load_codec(common.CODEC).artifact_bytes)
            mean, each = jpeg_bytes(images, db)
            ratios[effort] = max(whole / mean, whole / each)
            rows.append((effort, f"{db.mean():.2f}", whole, artifact, mean, whole / mean, each, whole / each))
    common.table(
        [
            "setting", "mean PSNR, dB", "store bytes", "of them artifact", "JPEG, mean PSNR", "ratio",
            "JPEG, each PSNR", "ratio",
        ],
        rows,
    )  # fmt: skip
    bars = common.Bars()
    bars.at_least("speed over decoding and resizing alone, fast", peer / seconds["convert, fast setting"], SPEED_BAR)
    for effort, ratio in ratios.items():
        bars.at_most(f"store bytes over JPEG's, {effort} setting, the worse match", ratio, BYTES_BAR)
    bars.end()


if __name__ == "__main__":
    main()
