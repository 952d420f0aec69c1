"""Training batches from 256 px images: our loader at 12 channels beside WebDataset with JPEG files.

Both run in one process and one thread over the labelled photographs, read from a warm local disk: the peer
decodes the JPEG files as they are (about 375x500), resizes and crops to 256, as training on such images
does; ours reads a store that was converted at 256 once. Ours is shown in every output a model may ask for.
The second table shows why the loader's workers are threads: beside them two processes of torch's DataLoader
that stay alive, each given the numbers of a whole batch, and the same DataLoader as it comes, a sample at a
time.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds

import latentstore
from latentstore.loaders import LatentDataset, LatentLoader

BATCH = 256
BAR = 15.0


def write_tar(target: Path) -> None:
    """The labelled photographs as one WebDataset tar, JPEG bytes untouched."""
    with tarfile.open(target, "w") as tar:
        for number, path in enumerate(common.labelled()):
            tar.add(path, f"{number:06d}.jpg")


def webdataset(tar: Path) -> Iterable[object]:
    """Batches of uint8 tensors (n, 256, 256, 3)."""
    images = wds.WebDataset(str(tar), shardshuffle=False).decode("pil").to_tuple("jpg")
    batch: list[np.ndarray] = []
    for (image,) in images:
        batch.append(common.at_256(image))
        if len(batch) == BATCH:
            yield torch.from_numpy(np.stack(batch))
            batch = []
    if batch:
        yield torch.from_numpy(np.stack(batch))


def drain(batches: Iterable[object]) -> int:
    return sum(1 for _ in batches)


class WholeBatches:
    """A data set for torch's DataLoader whose items are batches: one decoding call each, as in our loader."""

    def __init__(self, ds: LatentDataset) -> None:
        self.ds = ds

    def __getitem__(self, numbers: list[int]) -> dict[str, object]:
        indices = np.array(numbers, np.int64)
        latents = torch.from_numpy(self.ds.read_latents(indices))
        return {"latent": latents, "key": self.ds.keys(indices), **self.ds.fields(indices)}


def processes(ds: LatentDataset, repeats: int) -> Callable[[], int]:
    """torch's DataLoader with two processes that stay alive, a batch an item."""
    numbers = torch.utils.data.RandomSampler(ds, replacement=True, num_samples=repeats * len(ds))
    batches = torch.utils.data.BatchSampler(numbers, BATCH, drop_last=False)
    loader = torch.utils.data.DataLoader(
        WholeBatches(ds), batch_size=None, sampler=batches, num_workers=2, persistent_workers=True
    )
    return lambda: drain(loader)


def show(samples: int, entrants: dict[str, tuple[Callable[[], int], int]]) -> dict[str, float]:
    """Samples a second of (epochs, how many) by name; prints them over the first one's."""
    best = common.race({name: call for name, (call, _) in entrants.items()}, rounds=5)
    speed = {name: samples * entrants[name][1] / seconds for name, seconds in best.items()}
    first = next(iter(speed.values()))
    common.table(["", "samples/s", "times the first"], [[n, s, s / first] for n, s in speed.items()])
    return speed


def main() -> None:
    torch.set_num_threads(1)
    common.header("Loader: samples a second of one core, 256 px", "webdataset", "torch")
    samples = len(common.labelled())
    with tempfile.TemporaryDirectory() as scratch:
        tar, store = Path(scratch, "peer.tar"), Path(scratch, "ours.zarr")
        write_tar(tar)
        source = common.data("images", "labelled", "train")
        latentstore.convert(str(source), str(store), size=256, workers=2, progress=False)

        def ours(channels: int, repeats: int, **options: Any) -> tuple[Callable[[], int], int]:
            ds = latentstore.open(str(store), channels=channels)
            loader = LatentLoader(ds, BATCH, shuffle=True, **options)
            return lambda: sum(drain(loader) for _ in range(repeats)), repeats

        bfloat16 = {"output": "latents", "dtype": torch.bfloat16}
        speed = show(
            samples,
            {
                "WebDataset: JPEG, Pillow decode, resize to 256": (lambda: drain(webdataset(tar)), 1),
                "latentstore, 12 channels, int8 codes": ours(12, 10),
                "latentstore, 12 channels, normalised float32": ours(12, 10, output="latents"),
                "latentstore, 12 channels, normalised bfloat16": ours(12, 10, **bfloat16),
                "latentstore, 48 channels, int8 codes": ours(48, 5),
                "latentstore, 12 channels, pixels": ours(12, 1, output="pixels"),
            },
        )
        print()
        ds = latentstore.open(str(store))
        plain = torch.utils.data.DataLoader(ds, BATCH)
        show(
            samples,
            {
                "latentstore, 48 channels, no workers": ours(48, 20),
                "two threads": ours(48, 20, num_workers=2),
                "torch's DataLoader, two processes, a batch an item": (processes(ds, 20), 20),
                "torch's DataLoader, no workers, a sample an item": (lambda: drain(plain), 1),
            },
        )
    names = list(speed)
    bars = common.Bars()
    bars.at_least("samples/s, 12 channels as int8, over WebDataset's", speed[names[1]] / speed[names[0]], BAR)
    bars.end()


if __name__ == "__main__":
    main()
