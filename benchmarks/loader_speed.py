"""Training batches from 256 px pictures: our loader at 12 channels beside WebDataset with JPEG files.

Both run in one process and one thread over the labelled photographs, read from a warm local disk: the peer
decodes the JPEG files as they are (about 375x500), resizes and crops to 256, as training on such pictures
does; ours reads a store that was converted at 256 once. Ours is shown in every output a model may ask for.
"""

from __future__ import annotations

import common  # isort: skip  (before numpy)

import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

BATCH = 256
BAR = 15.0


def write_tar(target: Path) -> None:
    """The labelled photographs as one WebDataset tar, JPEG bytes untouched."""
    with tarfile.open(target, "w") as tar:
        for number, path in enumerate(common.labelled()):
            tar.add(path, f"{number:06d}.jpg")


def webdataset(tar: Path) -> Iterable[object]:
    """Batches of uint8 tensors (n, 256, 256, 3)."""
    import torch
    import webdataset as wds

    pictures = wds.WebDataset(str(tar), shardshuffle=False).decode("pil").to_tuple("jpg")
    batch: list[np.ndarray] = []
    for (picture,) in pictures:
        batch.append(common.at_256(picture))
        if len(batch) == BATCH:
            yield torch.from_numpy(np.stack(batch))
            batch = []
    if batch:
        yield torch.from_numpy(np.stack(batch))


def drain(batches: Iterable[object]) -> int:
    return sum(1 for _ in batches)


def main() -> None:
    import torch
    from latentstore.loaders import LatentLoader

    import latentstore

    torch.set_num_threads(1)
    common.header("Loader: samples a second of one core, 256 px", "webdataset", "torch")
    samples = len(common.labelled())
    with tempfile.TemporaryDirectory() as scratch:
        tar, store = Path(scratch, "peer.tar"), Path(scratch, "ours.zarr")
        write_tar(tar)
        latentstore.convert(str(common.data("images", "labelled", "train")), str(store), size=256, workers=2)

        def ours(channels: int, repeats: int, **options: object) -> Callable[[], int]:
            loader = LatentLoader(
                latentstore.open(str(store), channels=channels), BATCH, shuffle=True, **options
            )
            return lambda: sum(drain(loader) for _ in range(repeats))

        entrants = {
            "WebDataset: JPEG, Pillow decode, resize to 256": (lambda: drain(webdataset(tar)), 1),
            "latentstore, 12 channels, int8 codes": (ours(12, 10), 10),
            "latentstore, 12 channels, normalised float32": (ours(12, 10, output="latents"), 10),
            "latentstore, 12 channels, normalised bfloat16": (
                ours(12, 10, output="latents", dtype=torch.bfloat16),
                10,
            ),
            "latentstore, 48 channels, int8 codes": (ours(48, 5), 5),
            "latentstore, 12 channels, pixels": (ours(12, 1, output="pixels"), 1),
        }
        best = common.race({name: call for name, (call, _) in entrants.items()}, rounds=5)
        speed = {name: samples * entrants[name][1] / seconds for name, seconds in best.items()}
    names = list(speed)
    common.table(
        ["", "samples/s", "times the peer"],
        [[name, speed[name], speed[name] / speed[names[0]]] for name in names],
    )
    bars = common.Bars()
    bars.at_least("samples/s, 12 channels as int8, over WebDataset's", speed[names[1]] / speed[names[0]], BAR)
    bars.end()


if __name__ == "__main__":
    main()
