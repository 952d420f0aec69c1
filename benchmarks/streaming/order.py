"""The order of an epoch: how well it mixes, how exactly it is resumed, and what it costs for ten million samples.

    python -m benchmarks.streaming.order

- Mixing: two statistics of an epoch over 100,000 samples in 100 shards, cut into batches of 256. "Displacement" is the
  mean distance between a sample's place in the epoch and its place in the store, as a share of that of a full shuffle,
  a third of all. "Neighbours" is the share of samples that have their neighbour in the store in the same batch; "shards
  a batch" is how many shards a batch has samples of. WebDataset's shuffle is simulated by its algorithm: shards are
  permuted, and a buffer of so many samples gives one at random for each one that comes.
- Interruptions: random data sets and mixtures, in every order, read by random numbers of ranks that are interrupted at
  random; the next ranks go on from the state. Counted is what was lost, and what was repeated beside the units that are
  read again so that all ranks make equally many batches.
- Ten million samples: a store whose shards are one file under many names, with keys and labels of its own.
"""

from __future__ import annotations

from benchmarks.support.common import Bars, header, table  # isort: skip  (before numpy)

import gc
import json
import os
import struct
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

import latentstore
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.loaders.epoch.order import SampleOrder
from latentstore.loaders.manifest import seal
from latentstore.loaders.zarr import layout
from latentstore.writing import Sample, StoreSpec, open_writer
from latentstore.writing.zarr import encode

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "support" / "epochs"))
from interruptions import lost_and_repeated, random_trial, read_through

SAMPLES, SHARDS, BATCH, BUFFER = 100_000, 100, 256, 4096
MANY, ROWS, KEY_BYTES, BLOB_BYTES = 10_000_000, 6500, 12, 700


# ---- mixing


def webdataset_buffer(shard_order: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[int]:
    """`webdataset.shuffle(size)` behind shuffled shards: it fills up, then gives one at random for each that comes."""
    buffer: list[int] = []
    each = SAMPLES // SHARDS
    for shard in shard_order.tolist():
        for sample in range(shard * each, (shard + 1) * each):
            buffer.append(sample)
            if len(buffer) >= size:
                place = int(rng.integers(len(buffer)))
                buffer[place], buffer[-1] = buffer[-1], buffer[place]
                yield buffer.pop()
    while buffer:
        place = int(rng.integers(len(buffer)))
        buffer[place], buffer[-1] = buffer[-1], buffer[place]
        yield buffer.pop()


def mixing(indices: Iterable[int]) -> tuple[float, float, float]:
    """(displacement, % of neighbours, shards a batch) of an epoch."""
    order = np.fromiter(indices, np.int64, SAMPLES)
    place = np.empty(SAMPLES, np.int64)
    place[order] = np.arange(SAMPLES)
    displacement = float(np.abs(place - np.arange(SAMPLES)).mean() / (SAMPLES / 3))
    batch = place // BATCH
    neighbours = 100 * float((batch[1:] == batch[:-1]).mean())
    shards = order // (SAMPLES // SHARDS)
    counts = [len(np.unique(shards[a : a + BATCH])) for a in range(0, SAMPLES - BATCH + 1, BATCH)]
    return displacement, neighbours, float(np.mean(counts))


def mixing_rows() -> list[list[object]]:
    rng = np.random.default_rng(0)
    sizes = (SAMPLES // SHARDS,) * SHARDS
    every = np.arange(SAMPLES)
    orders = {
        "as stored": every,
        f'"block": windows of 4 shards, {4 * SAMPLES // SHARDS}': SampleOrder(sizes, "block").epoch(0).indices(every),
        "full shuffle": SampleOrder(sizes, "full").epoch(0).indices(every),
        f"WebDataset's buffer of {BUFFER}": webdataset_buffer(rng.permutation(SHARDS), BUFFER, rng),
        "WebDataset's buffer of 1000": webdataset_buffer(rng.permutation(SHARDS), 1000, rng),
    }
    return [[name, *mixing(order)] for name, order in orders.items()]


# ---- interruptions


def interruptions(wanted: int) -> tuple[int, int, int, int]:
    """(interruptions, data sets, samples lost, samples repeated) of random runs."""
    rng = np.random.default_rng(2026)
    done = sets = lost = repeated = 0
    while done < wanted:
        trial = random_trial(rng)
        seen, stops = read_through(trial, rng, int(rng.integers(1, 8)))
        missing, again = lost_and_repeated(trial, seen)
        done, sets, lost, repeated = done + stops, sets + 1, lost + missing, repeated + again
    return done, sets, lost, repeated


# ---- ten million samples


def large_store(folder: Path) -> Path:
    """A store of `MANY` samples. All shards are one file, whose index is whole and whose blobs are a hole in it."""
    codec = latentstore.load_codec("rgb-f8c48")
    small, large = folder / "small.zarr", folder / "large.zarr"
    rng = np.random.default_rng(0)
    groups = codec.compress_groups(rng.integers(0, 255, (256, 256, 3), np.uint8), effort="fast")
    with open_writer(str(small), StoreSpec.of(codec, size=(256, 256), shard_samples=ROWS, source="")) as writer:
        writer.write_shard(0, [Sample("k", groups, 256, 256, {"label": 0})])
        writer.finish(1)
    latent = large / "latent"
    latent.mkdir(parents=True)
    (latent / "zarr.json").write_bytes((small / "latent" / "zarr.json").read_bytes())
    (large / "artifact").symlink_to(small / "artifact")
    counts = (rng.integers(BLOB_BYTES // 2, BLOB_BYTES * 3 // 2, (codec.groups, ROWS))).astype(np.uint64)
    entries = np.empty((ROWS, codec.groups, 2), "<u8")
    entries[..., 0] = (np.cumsum(counts.reshape(-1)).reshape(counts.shape) - counts).T
    entries[..., 1] = counts.T
    index = entries.tobytes()
    first = large / layout.shard_name(0)
    first.parent.mkdir(parents=True)
    with first.open("wb") as file:
        file.truncate(int(counts.sum()))
        file.seek(0, os.SEEK_END)
        file.write(index + struct.pack("<I", crc32c(index)))
    for shard in range(1, -(-MANY // ROWS)):
        name = large / layout.shard_name(shard)
        name.parent.mkdir(parents=True, exist_ok=True)
        os.link(first, name)
    _texts(large / "key")
    metadata, chunks = encode.numbers(rng.integers(0, 1000, MANY), [layout.SAMPLE])
    for name, data in chunks.items():
        _write(large / "label" / name, data)
    _write(large / "label" / "zarr.json", metadata)
    attributes = json.loads((small / "zarr.json").read_text())["attributes"]["latentstore"]
    del attributes["crc32c"]
    attributes.update(count=MANY, extent=MANY * 65536, blob_bytes=MANY * 4 * BLOB_BYTES, shard_samples=ROWS)
    _write(large / "zarr.json", encode.root_metadata(seal(attributes)))
    return large


def _texts(folder: Path) -> None:
    rows = layout.chunk_rows(MANY, layout.TEXT_ROWS)
    for chunk, first in enumerate(range(0, MANY, rows)):
        numbers = np.arange(first, first + rows)
        digits = (numbers[:, None] // 10 ** np.arange(KEY_BYTES - 1, -1, -1) % 10 + 48).astype(np.uint8)
        table_ = np.empty((rows, 4 + KEY_BYTES), np.uint8)
        table_[:, :4] = np.frombuffer(struct.pack("<I", KEY_BYTES), np.uint8)
        table_[:, 4:] = digits
        _write(folder / "c" / str(chunk), encode.with_crc(struct.pack("<I", rows) + table_.tobytes()))
    _write(folder / "zarr.json", layout.text_metadata(MANY))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def kept_bytes(read: Callable[[np.ndarray], object], samples: int) -> float:
    """Bytes a sample that are kept after `read` has been asked for some of the first samples, a few at a time."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for first in range(0, samples, 256 * ROWS // 8):
        read(np.arange(first, min(first + 256 * ROWS // 8, samples), ROWS // 8))
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / samples


def many_samples(bars: Bars) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = str(large_store(Path(folder)))
        latentstore.open(Path(folder) / "small.zarr")  # imports, and the codec
        begin = time.perf_counter()
        ds = latentstore.open(url)
        opened = time.perf_counter() - begin
        print(f"open: {1000 * opened:.1f} ms")
        tracemalloc.start()
        reads = {
            # a part stands for the whole, since tracing ten million strings takes minutes; fields are read whole
            "where each blob lies, 4 groups": (ds.group_bytes, 160 * ROWS),
            f"keys of {KEY_BYTES} bytes": (ds.keys, 16 * layout.TEXT_ROWS),
            "a field of whole numbers": (ds.fields, len(ds)),
        }
        rows: list[list[object]] = [[name, kept_bytes(*read)] for name, read in reads.items()]
        each = sum(float(str(row[1])) for row in rows)
        tracemalloc.stop()
        order = SampleOrder(tuple(np.diff(ds.shard_starts).tolist()))
        begin = time.perf_counter()
        order.epoch(1).indices(np.arange(256) * 1000)
        first_batch = time.perf_counter() - begin
        table([f"{MANY} samples", "bytes a sample"], [*rows, ["together", each]])
        print(f"order of one batch, full shuffle: {1000 * first_batch:.2f} ms")
        bars.at_most("open, s", opened, 1)
        bars.at_most("index memory, bytes a sample", each, 40)


def main() -> None:
    header("The order of an epoch")
    bars = Bars(later=True)
    table(["order", "displacement", "neighbours %", "shards a batch"], mixing_rows())
    print()
    done, sets, lost, repeated = interruptions(1000)
    print(f"{done} interruptions of {sets} random data sets: {lost} samples lost, {repeated} repeated")
    bars.at_most("samples lost or repeated", lost + repeated, 0)
    print()
    many_samples(bars)
    bars.end()


if __name__ == "__main__":
    main()
