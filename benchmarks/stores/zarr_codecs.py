"""Images and latents in Zarr arrays: 500 images of 256 px by our codecs and by those of imagecodecs at
equal PSNR.

A chunk is one image for everybody. The peers are numcodecs codecs in Zarr v2 arrays, ours is the serializer
of a Zarr v3 array and, for a like comparison, the numcodecs codec too. Stores are in memory. One thread:
Zarr's pool has one worker, and speeds are by the processor's seconds, except where two threads are compared with one.

    python -m benchmarks.stores.zarr_codecs [compare | one_of_many | two_threads | memory]
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs.numcodecs as peers
import numpy as np
import zarr
from PIL import Image
from zarr.storage import MemoryStore

import latentstore
from latentstore.codecs.arrays.numcodecs_codec import SignalV2
from latentstore.codecs.arrays.zarr_codec import LatentCodec, SignalCodec

COUNT, SIDE, SUBSET, TIMED = 500, 256, 50, 128
BATCH = 64
LARGE = 10_000


class Peer(NamedTuple):
    """A codec of imagecodecs: level -> codec; the levels to look for equal PSNR in, of rising quality."""

    codec: Callable[[float], Any]
    levels: tuple[float, float]
    whole: bool = True


PEERS = {
    "JPEG 4:2:0 optimised": Peer(lambda q: peers.Jpeg(level=int(q), subsampling="420", optimize=True), (5, 98)),
    "JPEG 4:2:0": Peer(lambda q: peers.Jpeg(level=int(q), subsampling="420"), (5, 98)),
    "WebP method 4": Peer(lambda q: peers.Webp(level=int(q), lossless=False, method=4, numthreads=1), (1, 99)),
    "WebP method 6": Peer(lambda q: peers.Webp(level=int(q), lossless=False, method=6, numthreads=1), (1, 99)),
    "JPEG XL effort 7": Peer(
        lambda d: peers.Jpegxl(distance=-d, effort=7, lossless=False, numthreads=1), (-12.0, -0.2), whole=False
    ),
    "JPEG 2000": Peer(lambda db: peers.Jpeg2k(level=db, reversible=False, numthreads=1), (22.0, 48.0), whole=False),
    "AVIF speed 6 4:2:0": Peer(lambda q: peers.Avif(level=int(q), speed=6, pixelformat="420", numthreads=1), (10, 95)),
}


def images(count: int) -> np.ndarray:
    """uint8 (count, 256, 256, 3) of the labelled photographs, every class alike."""
    files = common.labelled()
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, count).round().astype(int)]
    return np.stack([common.at_256(Image.open(f)) for f in chosen])


def v2(codec: Any, x: np.ndarray) -> zarr.Array:
    return zarr.create_array(
        MemoryStore(), zarr_format=2, shape=x.shape, chunks=(1, *x.shape[1:]), dtype="uint8", filters=None,
        compressors=codec, fill_value=None,
    )  # fmt: skip


def v3(serializer: Any, x: np.ndarray, chunks: tuple[int, ...]) -> zarr.Array:
    return zarr.create_array(
        MemoryStore(),
        shape=x.shape,
        chunks=chunks,
        dtype=x.dtype,
        serializer=serializer,
        compressors=None,
        fill_value=0,
    )


def stored(z: zarr.Array) -> int:
    return sum(
        len(value) for key, value in z.store._store_dict.items() if not key.endswith(("json", ".zarray", ".zattrs"))
    )


def timed(call: Callable[[], Any], rounds: int = 3, budget_s: float = 10) -> float:
    """Seconds of the best of `rounds` calls, or of those that begin within `budget_s`."""
    best, begin = float("inf"), time.perf_counter()
    for _ in range(rounds):
        start = time.perf_counter()
        if start - begin > budget_s:
            break
        call()
        best = min(best, time.perf_counter() - start)
    return best


def around_psnr(peer: Peer, x: np.ndarray, target: float) -> tuple[Any, Any]:
    """Codecs just below and just above that PSNR, by bisection on `x`."""

    def reached(level: float) -> float:
        codec = peer.codec(level)
        return common.psnr(x, np.stack([codec.decode(codec.encode(p)).reshape(p.shape) for p in x]))

    low, high = peer.levels
    while high - low > (1 if peer.whole else 0.1):
        middle = (low + high) // 2 if peer.whole else (low + high) / 2
        low, high = (middle, high) if reached(middle) < target else (low, middle)
    return peer.codec(low), peer.codec(high)


def compare(bars: common.Bars) -> None:
    x = images(COUNT)
    codec = latentstore.load_codec(common.CODEC)
    ours = f"ours, quality {codec.default_quality}"
    rows: list[list[Any]] = []
    sizes: dict[str, float] = {}
    arrays: dict[str, zarr.Array] = {}

    def row(name: str, z: zarr.Array, size: float, quality: object) -> None:
        arrays[name], sizes[name] = z, size
        rows.append([name, quality, size / COUNT / SIDE**2 * 8, size / sizes[ours] - 1])

    for name, z in (
        (ours, v3(SignalCodec.of(codec, "nhwc"), x, (1, SIDE, SIDE, 3))),
        ("ours, effort fast", v3(SignalCodec.of(codec, "nhwc", effort="fast"), x, (1, SIDE, SIDE, 3))),
        ("ours, numcodecs", v2(SignalV2.of(codec, "nhwc"), x)),
    ):
        z[...] = x
        row(name, z, stored(z), common.psnr(x, z[...]))
    target = float(rows[0][1])
    some = x[:: COUNT // SUBSET]
    aim = common.psnr(some, arrays[ours][:: COUNT // SUBSET])
    for name, peer in PEERS.items():
        sides = []
        for made_by in around_psnr(peer, some, aim):
            z = v2(made_by, x)
            z[...] = x
            sides.append((common.psnr(x, z[...]), np.log(stored(z))))
        (low, few), (high, many) = sides
        size = float(np.exp(few + (target - low) / (high - low) * (many - few)))
        row(name, z, size, f"{low:.2f} to {high:.2f}")
    writes, reads, latent_reads = speeds(codec, x[:TIMED], arrays)
    print(
        f"\nArray uint8 ({COUNT}, {SIDE}, {SIDE}, 3), one thread; of the peers two levels around our PSNR: "
        f"bytes are put between them at our PSNR, speeds are of the second, "
        f"in seconds of the processor, on {TIMED} images"
    )
    table = [[*cells, writes[cells[0]], reads[cells[0]]] for cells in rows]
    common.table(["codec", "PSNR dB", "bpp", "bytes to ours", "write MP/s", "read MP/s"], table)
    print()
    common.table(
        ["latents, int8, lossless; MP/s of the images", "read MP/s"],
        [[name, speed] for name, speed in latent_reads.items()],
    )
    best = max(reads[name] for name in PEERS)
    first = {name: speed for name, speed in latent_reads.items() if name.endswith("first 12 channels")}
    print()
    bars.at_least("bytes saved against JPEG 4:2:0 optimised", 1 - sizes[ours] / sizes["JPEG 4:2:0 optimised"], 0.28)
    others = [writes[n] for n in PEERS if not n.startswith("JPEG 4")]
    bars.at_least("write speed to the fastest peer but JPEG", writes[ours] / max(others), 1)
    bars.at_least(
        f"read of 12-channel latents, {BATCH} a chunk, to the fastest peer's pixels", max(first.values()) / best, 3
    )
    print(
        f"stated: the same, one a chunk: {min(first.values()) / best:.2f}; read of pixels to the fastest peer's: "
        f"{reads[ours] / best:.2f}; PSNR {target:.2f} dB for all"
    )


def speeds(
    codec: Any, x: np.ndarray, arrays: dict[str, zarr.Array]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """MP/s of writing and of reading `x` in each array, and of reading latents in several chunkings; all in
    turn."""
    megapixels = x.shape[0] * SIDE * SIDE / 1e6

    def write(z: zarr.Array) -> None:
        z[: len(x)] = x

    def read(z: zarr.Array) -> Any:
        return z[: len(x)]

    y = codec.encode(x)
    latents: dict[str, Callable[[], Any]] = {}
    for name, chunks in (
        ("one group of one sample a chunk", (1, 12, *y.shape[2:])),
        (f"{BATCH} samples, all channels a chunk", (BATCH, *y.shape[1:])),
        (f"{BATCH} samples, one group a chunk", (BATCH, 12, *y.shape[2:])),
    ):
        z = v3(LatentCodec.of(codec), y, chunks)
        z[...] = y
        assert np.array_equal(z[...], y)
        latents[f"{name}: first 12 channels"] = lambda z=z: z[:, :12]  # type: ignore[misc]
        latents[f"{name}: all {y.shape[1]}"] = lambda z=z: z[...]  # type: ignore[misc]
    pixels = {name: (lambda z=z: read(z)) for name, z in arrays.items()}
    read_s = common.race({**pixels, **latents}, rounds=9, budget_s=120, clock=time.process_time)
    write_s = common.race(
        {name: (lambda z=z: write(z)) for name, z in arrays.items()}, rounds=4, budget_s=120, clock=time.process_time
    )
    return (
        {name: megapixels / s for name, s in write_s.items()},
        {name: megapixels / read_s[name] for name in pixels},
        {name: megapixels / read_s[name] for name in latents},
    )


def one_of_many(bars: common.Bars) -> None:
    codec = latentstore.load_codec(common.CODEC)
    x = images(BATCH)
    y = codec.encode(x, effort="fast")
    figures = {}
    for name, serializer, values in (
        ("images", SignalCodec.of(codec, "nhwc", effort="fast"), x),
        ("latents, 48 channels", LatentCodec.of(codec), y),
    ):
        z = v3(serializer, values, values.shape)
        z[...] = values
        one, whole = timed(lambda z=z: z[17], 20), timed(lambda z=z: z[...], 7)
        figures[name] = (one, whole)
    print(f"\nOne sample out of a chunk of {BATCH}")
    common.table(["", "one, ms", "chunk, ms", "ratio"], [[k, a * 1e3, b * 1e3, a / b] for k, (a, b) in figures.items()])
    for name, (one, whole) in figures.items():
        bars.at_most(f"one of {BATCH} {name} to the chunk", one / whole, 0.1)


def threads_child(workers: int, concurrency: int, side: int) -> None:
    """Prints seconds of writing and of reading 8.4 megapixels in images of `side`, with so many workers."""
    zarr.config.set({"threading.max_workers": workers, "async.concurrency": concurrency})
    codec = latentstore.load_codec(common.CODEC)
    x = np.concatenate([images(16)] * (TIMED // 16)).reshape(-1, side, side, 3)
    z = v3(SignalCodec.of(codec, "nhwc"), x, (1, side, side, 3))

    def write() -> None:
        z[...] = x

    write()
    print(json.dumps([timed(write, 5), timed(lambda: z[...], 7), timed(lambda: control(workers), 7)]))


def control(workers: int) -> None:
    """zlib on a fixed amount of bytes in so many threads: what this machine has to give at the moment."""
    data = np.random.default_rng(0).integers(0, 256, 1 << 20).astype(np.uint8).tobytes()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(zlib.compress, [data] * 8))


def child(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.stores.zarr_codecs", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def two_threads(bars: common.Bars) -> None:
    """One thread: one worker, one chunk at a time. With more chunks at a time Zarr's own thread, which copies what
    was decoded into the array that is returned, works beside the one worker; that is stated, too."""
    settings = {"one": (1, 1), "one and Zarr's own": (1, 4), "two": (2, 4)}
    megapixels = TIMED * SIDE * SIDE / 1e6
    work = {"write, MP/s": megapixels, "read, MP/s": megapixels, "control: zlib, MB/s": 8 * 2**20 / 1e6}
    for side in (512, 1024):
        # in turn: busy moments hit all
        taken = [[child("--threads", str(w), str(c), str(side)) for w, c in settings.values()] for _ in range(3)]
        one, beside, two = np.min(taken, axis=0)
        print(f"\nTwo threads against one: {megapixels:.1f} megapixels, a chunk of {side} x {side} each")
        rows = [[w, n / one[i], n / beside[i], n / two[i], one[i] / two[i]] for i, (w, n) in enumerate(work.items())]
        common.table(["", *settings, "two to one"], rows)
        for i, what in enumerate(("write", "read")):
            bars.at_least(f"{what} of {side} x {side}, two threads to one", float(one[i] / two[i]), 1.7)


def peak_kib() -> int:
    """Peak memory of this process since it began. (getrusage gives its parent's, where that is more.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def memory_child() -> None:
    """Prints peak memory before and after writing and summing a large array through dask, and chunk bytes."""
    import dask
    import dask.array as da

    codec = latentstore.load_codec(common.CODEC)
    kodak = common.kodak()[0][:512, :512]
    tile = np.tile(kodak, (2, 2, 1))

    def made(block_id: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
        return np.roll(tile, block_id[0] * 7 + block_id[1] * 3, axis=1)[: shape[0], : shape[1]]

    from latentstore import zarr as arrays

    z = arrays.create(MemoryStore(), "map", (LARGE, LARGE, 3), codec=codec, effort="fast")
    warm = z.chunks
    sides = tuple(tuple(min(c, LARGE - i) for i in range(0, LARGE, c)) for c in warm[:2])
    values = da.map_blocks(
        lambda block_info=None: made(block_info[None]["chunk-location"], block_info[None]["chunk-shape"]),
        chunks=(*sides, (3,)), dtype="uint8",
    )  # fmt: skip
    before = peak_kib()
    start = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=2):
        values.store(z, lock=False)
        wrote = time.perf_counter() - start
        total = int(da.from_zarr(z).sum().compute())
    after = peak_kib()
    print(json.dumps([before / 1024, after / 1024, stored(z) / 2**20, wrote, total, np.prod(warm) / 2**20]))


def memory(bars: common.Bars) -> None:
    before, after, kept, wrote, _, chunk = child("--memory")
    print(
        f"\nA image of {LARGE} x {LARGE} x 3 (286 MiB) through dask, two threads, chunks of {chunk:.1f} "
        f"MiB, into memory"
    )
    common.table(
        ["", "MiB"],
        [
            ["peak before", before],
            ["peak after writing and summing it", after],
            ["of these the stored bytes", kept],
        ],
    )
    print(f"written at {LARGE * LARGE / 1e6 / wrote:.0f} MP/s")
    # Per thread: the chunk, its copies in dask and zarr, and float32 coefficients four times its bytes.
    bars.at_most("memory used beyond the stored bytes, in chunks a thread", (after - before - kept) / chunk / 2, 16)


def main() -> None:
    if sys.argv[1:2] == ["--threads"]:
        threads_child(*map(int, sys.argv[2:]))
    elif sys.argv[1:] == ["--memory"]:
        memory_child()
    else:
        title = "Zarr arrays: images and latents against imagecodecs' codecs"
        common.header(title, "zarr", "numcodecs", "imagecodecs", "dask")
        bars = common.Bars()
        zarr.config.set({"threading.max_workers": 1})
        for part in (compare, one_of_many, two_threads, memory):
            if sys.argv[1:] in ([], [part.__name__]):
                part(bars)
                sys.stdout.flush()
        bars.end()


if __name__ == "__main__":
    main()
