"""Writing stores of tensors, and keeping them: speed beside raw bytes, ranks that are killed, sync.

Speed: one process writes 40 MB of latents of TAESD's FLUX.2 encoder, float16 (32, 32, 32), sample by sample; beside it
the same bytes go into one file, sample by sample, and reach the disk (fsync), as the shards do. Wall time, best of
rounds in turn.

Kills: four ranks write one store; ranks are killed at random moments, eight times a run, and started again.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import latentstore
from benchmarks.support.tensors import LATENTS, latents
from latentstore import Tensor, Writer
from latentstore.codecs.tensors.coder import TensorCoder

RUNS, AT_ONCE, KILLS, RANKS, SAMPLES = 50, 5, 8, 4, 600
FILES = 100_000
PROGRAM = common.REPOSITORY / "tests" / "support" / "tensors" / "write_ranks.py"


def speeds(folder: Path) -> dict[str, float]:
    """MB/s of each way to write the same samples."""
    samples = np.tile(latents()[LATENTS[0]], (11, 1, 1, 1))

    def raw() -> None:
        with (folder / "raw").open("wb") as file:
            for sample in samples:
                file.write(sample.tobytes())
            file.flush()
            os.fsync(file.fileno())

    def store(tensor: Tensor) -> Any:
        coder = TensorCoder.fit(tensor, list(samples[:28]))

        def write() -> None:
            shutil.rmtree(folder / "store", ignore_errors=True)
            with Writer(folder / "store", {"latent": tensor}, coders={"latent": coder}) as writer:
                for number, sample in enumerate(samples):
                    writer.write(f"{number:06d}", {"latent": sample})

        return write

    best = common.race({
        "raw bytes": raw,
        "lossless": store(Tensor("float16")),
        "step at 40 dB": store(Tensor("float16", "step", snr=40)),
    })  # fmt: skip
    return {name: samples.nbytes / 1e6 / seconds for name, seconds in best.items()}


def killed(folder: Path, seed: int) -> bool:
    """Whether the store of ranks that were killed has every sample, each as it was."""
    sys.path.insert(0, str(PROGRAM.parent))
    from write_ranks import sample

    drawn, url, kills, gate = random.Random(seed), folder / f"{seed}.store", 0, folder / "gate"
    gate.touch()  # nobody waits before it

    def start(rank: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, PROGRAM, url, rank, RANKS, SAMPLES, gate]
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    running = {rank: start(rank) for rank in range(RANKS)}
    while running:
        time.sleep(drawn.uniform(0.05, 0.5))
        for rank, process in list(running.items()):
            if process.poll() == 0:
                del running[rank]
            elif process.poll() is not None:
                running[rank] = start(rank)
        alive = [rank for rank, process in running.items() if process.poll() is None]
        if kills < KILLS and alive and drawn.random() < 0.6:
            running[drawn.choice(alive)].kill()
            kills += 1
    ds = latentstore.open(url, fields=["latent", "tokens", "label"])
    read, labels = ds.read(), ds.fields()["label"]
    good = sorted(ds.keys()) == [f"{n:05d}" for n in range(SAMPLES)]
    for i, key in enumerate(ds.keys()):
        own: dict[str, Any] = sample(int(key))
        same = [read[name][i].tobytes() == own[name].tobytes() for name in ("latent", "tokens")]
        good &= all(same) and labels[i] == own["label"]
    return good


def synced(folder: Path) -> dict[str, Any]:
    """What `latentstore.sync` takes for small files."""
    root, url, fields, calls = folder / "files", folder / "synced.store", {"x": Tensor("float32")}, [0]
    for number in range(FILES):
        path = root / str(number % 50) / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full(4, number, np.float32))

    def encode(paths: Sequence[Path]) -> dict[str, Any]:
        calls[0] += len(paths)
        return {"x": [np.load(path) for path in paths]}

    latentstore.sync(root, url, fields, encode, batch_size=1024)
    calls[0], begin = 0, time.perf_counter()
    latentstore.sync(root, url, fields, encode)
    found: dict[str, Any] = {"seconds": time.perf_counter() - begin, "encoded": calls[0]}
    before = {path.name for path in (url / "shards").iterdir()}
    for number in range(0, FILES, 100):
        np.save(root / str(number % 50) / f"{number}.npy", np.full(4, -1 - number, np.float32))
    calls[0], begin = 0, time.perf_counter()
    latentstore.sync(root, url, fields, encode)
    found |= {"seconds changed": time.perf_counter() - begin, "encoded changed": calls[0]}
    found["shards"], found["new"] = len(before), len({path.name for path in (url / "shards").iterdir()} - before)
    return found


def main() -> None:
    common.header("Tensors: writing, and keeping a store as its source is")
    bars = common.Bars()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = speeds(folder)
        common.table(["", "MB/s", "of raw bytes"], [(n, mb, mb / found["raw bytes"]) for n, mb in found.items()])
        bars.at_least("lossless, of the speed of raw bytes", found["lossless"] / found["raw bytes"], 0.5)
        bars.at_least("step, of the speed of raw bytes", found["step at 40 dB"] / found["raw bytes"], 0.3)
        with ThreadPoolExecutor(AT_ONCE) as pool:  # the ranks mostly wait
            good = sum(pool.map(lambda seed: killed(folder, seed), range(RUNS)))
        print(f"\n{good} of {RUNS} runs of {RANKS} ranks, each killed {KILLS} times: every sample, as it was")
        bars.at_least("runs that were killed and lost nothing", good, RUNS)
        said = synced(folder)
        print(
            f"\nsync of {FILES} files: nothing changed {said['seconds']:.1f} s, {said['encoded']} encoded; 1 % changed "
            f"{said['seconds changed']:.1f} s, {said['encoded changed']} encoded, {said['new']} shards written of "
            f"{said['shards']}\n"
        )
        bars.at_most("sync, nothing changed: seconds", said["seconds"], 15)
        bars.at_most("sync, nothing changed: encoded", said["encoded"], 0)
        bars.at_most("sync, 1 % changed: encoded", said["encoded changed"], FILES // 100)
    bars.end()


if __name__ == "__main__":
    main()
