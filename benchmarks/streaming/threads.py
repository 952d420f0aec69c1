"""What more threads bring a loader, beside a control that needs nothing but the processor.

Samples a second of wall time with one, two and four workers. The control hashes memory in as many threads, in pieces
that take about as long as a batch: what it gains is what the machine has to give at that moment. The rounds take turns,
and of each the best counts.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import hashlib
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

import latentstore
from latentstore.loaders import LatentLoader

ROUNDS = 7
PHOTOS, REPEATS = 200, 20
BATCH = 256
THREADS = (1, 2, 4)
CHANNELS = (12, 48)
PIECE, PIECES = bytes(16 << 20), 16


def write(folder: Path) -> str:
    """A store of photographs at 256 px, each many times."""
    images = folder / "images"
    images.mkdir()
    for number, path in enumerate(common.labelled()[:PHOTOS]):
        image = common.at_256(Image.open(path))
        for repeat in range(REPEATS):
            Image.fromarray(image).save(images / f"{repeat:03d}-{number:04d}.webp", lossless=True, quality=0, method=0)
    store = folder / "photos.zarr"
    latentstore.convert(str(images), str(store), size=256, effort="fast", progress=False)
    return str(store)


def control(threads: int) -> None:
    """Hashing lets other threads run, as decoding does."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda _: hashlib.sha256(PIECE).digest(), range(PIECES)):
            pass


def epoch(loader: LatentLoader) -> Callable[[], None]:
    """Reads one."""

    def read() -> None:
        for _ in loader:
            pass

    return read


def main() -> None:
    common.header("Threads of a loader, photographs at 256 px", "torch")
    with tempfile.TemporaryDirectory() as scratch:
        store = write(Path(scratch))
        calls: dict[tuple[str, int], Callable[[], None]] = {}
        for threads in THREADS:
            calls["control", threads] = lambda threads=threads: control(threads)  # type: ignore[misc]
            for channels in CHANNELS:
                ds = latentstore.open(store, channels=channels)
                loader = LatentLoader(ds, BATCH, shuffle=True, num_workers=threads)
                calls[f"{channels} channels", threads] = epoch(loader)
        best = dict.fromkeys(calls, float("inf"))
        for _ in range(ROUNDS):
            for name, call in calls.items():
                begin = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - begin)
        samples = len(latentstore.open(store))
    gain = {(what, threads): best[what, 1] / seconds for (what, threads), seconds in best.items()}
    rows = []
    for what, threads in best:
        speed = samples / best[what, threads] if what != "control" else ""
        rows.append((what, threads, speed, gain[what, threads]))
    common.table(["", "threads", "samples/s", "times one thread"], sorted(rows, key=lambda row: (row[0], row[1])))
    print()
    bars = common.Bars()
    for channels in CHANNELS:
        for threads in THREADS[1:]:
            figure = gain[f"{channels} channels", threads] / gain["control", threads]
            bars.at_least(f"{channels} channels, {threads} threads: gain over the control's", figure, 0.9)
    bars.end()


if __name__ == "__main__":
    main()
