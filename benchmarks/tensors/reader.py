"""One entrant of `loading.py`: reads an epoch for every line that it is sent, and answers with its seconds.

    python -m benchmarks.tensors.reader KIND WHAT FOLDER

FOLDER holds `latents.npy`, float16 (n, 4, 32, 32). Every entrant makes its own files of it first.
"""

from __future__ import annotations

from benchmarks.support import one_thread  # noqa: F401  # isort: skip  (before numpy)

import io
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.streaming.reader import BATCH, Epoch, batches, from_npy, serve, size_of


def webdataset(what: str, latents: np.ndarray, folder: Path) -> tuple[Epoch, int]:
    import webdataset as wds

    tar = folder / "latents.tar"
    with tarfile.open(tar, "w") as opened:
        for number, latent in enumerate(latents):
            content = io.BytesIO()
            np.save(content, latent)
            info = tarfile.TarInfo(f"{number:06d}.npy")
            info.size = content.tell()
            content.seek(0)
            opened.addfile(info, content)

    def epoch() -> Iterable[Any]:
        samples = wds.WebDataset(str(tar), shardshuffle=False).to_tuple("npy")
        return batches(from_npy(content) for (content,) in samples)

    return epoch, size_of(tar)


def safetensors(what: str, latents: np.ndarray, folder: Path) -> tuple[Epoch, int]:
    from safetensors.numpy import load_file, save_file

    root = folder / "safetensors"
    root.mkdir()
    for number, latent in enumerate(latents):
        save_file({"latent": latent}, root / f"{number:06d}.safetensors")
    files = sorted(root.iterdir())
    return lambda: batches(load_file(file)["latent"] for file in files), size_of(root)


def memmap(what: str, latents: np.ndarray, folder: Path) -> tuple[Epoch, int]:
    path = folder / "latents.npy"
    mapped = np.load(path, mmap_mode="r")
    order = np.random.default_rng(0).permutation(len(mapped))

    def epoch() -> Iterator[torch.Tensor]:
        for first in range(0, len(order), BATCH):
            yield torch.from_numpy(mapped[np.sort(order[first : first + BATCH])])

    return epoch, size_of(path)


def mosaicml(what: str, latents: np.ndarray, folder: Path) -> tuple[Epoch, int]:
    from streaming import MDSWriter, StreamingDataset

    local = folder / "mds"
    with MDSWriter(out=str(local), columns={"x": "bytes"}) as writer:
        for latent in latents:
            writer.write({"x": latent.tobytes()})
    shape = latents.shape[1:]
    dataset = StreamingDataset(local=str(local), shuffle=False, batch_size=BATCH)

    def epoch() -> Iterable[Any]:
        return batches(np.frombuffer(sample["x"], np.float16).reshape(shape) for sample in dataset)

    return epoch, size_of(local)


def latentstore(what: str, latents: np.ndarray, folder: Path) -> tuple[Epoch, int]:
    from latentstore import Tensor, Writer
    from latentstore import open as opened
    from latentstore.loaders import LatentLoader

    tensor = Tensor("float16") if what == "lossless" else Tensor("float16", "step", snr=float(what))
    url = folder / f"{what}.store"
    with Writer(url, {"latent": tensor}) as writer:
        writer.write_batch([f"{n:06d}" for n in range(len(latents))], {"latent": latents})
    loader = LatentLoader(opened(url, fields=["latent"]), BATCH, shuffle=True)
    return lambda: loader, size_of(url)


KINDS = {
    "webdataset": webdataset, "safetensors": safetensors, "memmap": memmap, "mosaicml": mosaicml,
    "latentstore": latentstore,
}  # fmt: skip


def main() -> None:
    kind, what, name = sys.argv[1:]
    folder = Path(name)
    serve(*KINDS[kind](what, np.load(folder / "latents.npy"), folder))


if __name__ == "__main__":
    main()
