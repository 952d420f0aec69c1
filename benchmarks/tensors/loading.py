"""Batches of latents that another encoder made: latentstore beside files people keep them in today.

Samples are float16 (4, 32, 32): four channels each of the latents of TAESD's FLUX.2 encoder. All read from a warm local
disk, in one process and one thread, batches of 256 as torch tensors; of each the seconds of the processor of its best
epoch count. Every entrant is a process of its own, and they take turns. WebDataset, MosaicML Streaming and the files
are read in stored order, which is their fastest; latentstore and the memory map in a full shuffle.

LATENTSTORE_PEERS may name the Python of an environment that has mosaicml-streaming.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.streaming.loader_peers import Entrant
from benchmarks.support.tensors import LATENTS, latents

ROUNDS = 5
COPIES = 10
NPY = "WebDataset: .npy"
ROWS = (
    (NPY, "webdataset", "npy"),
    ("a .safetensors file each", "safetensors", "files"),
    ("MosaicML Streaming: bytes", "mosaicml", "bytes"),
    ("one memory map", "memmap", "map"),
    ("latentstore, lossless", "latentstore", "lossless"),
    ("latentstore, step at 40 dB", "latentstore", "40"),
    ("latentstore, step at 20 dB", "latentstore", "20"),
)


def main() -> None:
    common.header("Tensors: samples a second of one core, latents of 4 x 32 x 32", "webdataset", "torch", "safetensors")
    array = latents()[LATENTS[0]]
    samples = np.tile(array.reshape(-1, 4, *array.shape[2:]), (COPIES, 1, 1, 1))
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        np.save(folder / "latents.npy", samples)
        entrants = {}
        for name, kind, what in ROWS:
            entrants[name] = Entrant(kind, what, folder, "benchmarks.tensors.reader")
            stack.callback(entrants[name].close)
        for _ in range(ROUNDS):
            for entrant in entrants.values():
                entrant.epoch()
        speed = {name: len(samples) / one.best for name, one in entrants.items()}
        rows = []
        for name, one in entrants.items():
            if "failed" in one.said:
                rows.append((name, str(one.said["failed"])[:70], "", ""))
            else:
                size = float(str(one.said["bytes"])) / len(samples) / 1000
                rows.append((name, size, speed[name], speed[name] / speed[NPY]))
        print(f"{len(samples)} samples of {samples[0].nbytes} bytes, an epoch each\n")
        common.table(["", "kB a sample", "samples/s", "times the first"], rows)
    print()
    bars = common.Bars()
    bars.at_least("lossless, over WebDataset's .npy", speed["latentstore, lossless"] / speed[NPY], 5)
    bars.at_least("step at 40 dB, over WebDataset's .npy", speed["latentstore, step at 40 dB"] / speed[NPY], 5)
    bars.end()


if __name__ == "__main__":
    main()
