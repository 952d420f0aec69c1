"""Training batches of one data set of 256 px images: latentstore beside WebDataset, MosaicML Streaming and LitData.

All read from a warm local disk, in one process and one thread, batches of 256 as torch tensors; of each the seconds of
the processor of its best epoch count. Every entrant is a process of its own (`reader.py`), and they take turns. The
peers' JPEG files are made at 256 px before, with quality 90, and decoded by simplejpeg (libjpeg-turbo) where the table
does not say Pillow. The peers read in stored order, which is their fastest; latentstore reads a full shuffle.

LATENTSTORE_PEERS may name the Python of an environment that has mosaicml-streaming and litdata; without it they are
taken from this one, and rows of peers that are not installed say so.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image

import latentstore

ROUNDS = 5
QUALITY = 90
# name of a row, kind of reader, what it reads
JPEG = "WebDataset: JPEG, simplejpeg"
ROWS = (
    (JPEG, "webdataset", "jpeg"),
    ("WebDataset: JPEG, Pillow", "webdataset", "jpeg-pillow"),
    ("WebDataset: uint8 pixels", "webdataset", "pixels"),
    ("WebDataset: latents as .npy, 12 channels", "webdataset", "latents12"),
    ("WebDataset: latents as .npy, 48 channels", "webdataset", "latents48"),
    ("MosaicML Streaming: JPEG", "mosaicml", "jpeg"),
    ("MosaicML Streaming: latents as bytes, 12 channels", "mosaicml", "latents12"),
    ("MosaicML Streaming: latents as bytes, 48 channels", "mosaicml", "latents48"),
    ("LitData: JPEG", "litdata", "jpeg"),
    ("LitData: latents as bytes, 12 channels", "litdata", "latents12"),
    ("latentstore, 12 channels", "latentstore", "12"),
    ("latentstore, 24 channels", "latentstore", "24"),
    ("latentstore, 48 channels", "latentstore", "48"),
    ("the limit: reading and entropy decoding alone, 12", "limit", "12"),
    ("the limit: reading and entropy decoding alone, 48", "limit", "48"),
)


def images() -> Iterator[np.ndarray]:
    """All photographs that are 256 px or more, cropped and resized, uint8 (256, 256, 3)."""
    paths = common.labelled() + [p for p in sorted(common.data("images", "photos").iterdir()) if p.suffix != ".tsv"]
    for path in paths:
        with Image.open(path) as image:
            if min(image.size) >= 256:
                yield common.at_256(image)


def write(folder: Path) -> int:
    """Everything that the entrants read, but what the peers' own writers make; returns how many samples."""
    sources = folder / "sources"
    sources.mkdir()
    kinds = ("jpeg", "pixels", "latents12", "latents48")
    with ExitStack() as stack:
        tars = {kind: stack.enter_context(tarfile.open(folder / f"{kind}.tar", "w")) for kind in kinds}
        for count, image in enumerate(images()):
            Image.fromarray(image).save(sources / f"{count:06d}.png", compress_level=1)
            content = io.BytesIO()
            Image.fromarray(image).save(content, "JPEG", quality=QUALITY)
            _add(tars["jpeg"], f"{count:06d}.jpg", content.getvalue())
            _add(tars["pixels"], f"{count:06d}.npy", _npy(image))
        store = folder / "latents.zarr"
        latentstore.convert(str(sources), str(store), size=256, progress=False)
        ds = latentstore.open(str(store))
        for start in range(0, len(ds), 256):
            for i, latent in enumerate(ds.read_latents(np.arange(start, min(start + 256, len(ds))))):
                _add(tars["latents12"], f"{start + i:06d}.npy", _npy(latent[:12]))
                _add(tars["latents48"], f"{start + i:06d}.npy", _npy(latent))
    return len(ds)


def _npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


class Entrant:
    """A process that reads an epoch whenever it is told to. module: its program."""

    def __init__(self, kind: str, what: str, folder: Path, module: str = "benchmarks.streaming.reader") -> None:
        ours = kind in ("latentstore", "limit")
        python = sys.executable if ours else os.environ.get("LATENTSTORE_PEERS", sys.executable)
        self.process = subprocess.Popen(
            [python, "-W", "ignore", "-m", module, kind, what, str(folder)],
            cwd=common.REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.best = float("inf")
        self.said = self._line()

    def _line(self) -> dict[str, object]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            errors = self.process.stderr.read().strip().splitlines()
            return {"failed": errors[-1] if errors else "it ended without a word"}
        return json.loads(line)  # type: ignore[no-any-return]

    def epoch(self) -> None:
        if "failed" in self.said:
            return
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self._line()
        if "failed" in line:
            self.said = line
        else:
            self.best = min(self.best, float(str(line["seconds"])))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def main() -> None:
    common.header("Loaders: samples a second of one core, photographs at 256 px", "webdataset", "torch")
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        samples = write(folder)
        entrants: dict[str, Entrant] = {}
        for name, kind, what in ROWS:
            entrants[name] = Entrant(kind, what, folder)
            stack.callback(entrants[name].close)
        for _ in range(ROUNDS):
            for entrant in entrants.values():
                entrant.epoch()
        speed = {name: samples / one.best for name, one in entrants.items()}
        rows = []
        for name, one in entrants.items():
            if "failed" in one.said:
                rows.append((name, str(one.said["failed"])[:70], "", ""))
            else:
                size = float(str(one.said["bytes"])) / samples / 1000
                rows.append((name, size, speed[name], speed[name] / speed[JPEG]))
        print(f"{samples} samples, an epoch each\n")
        common.table(["", "kB a sample", "samples/s", "times the first"], rows)
        size = {name: float(str(one.said.get("bytes", "nan"))) for name, one in entrants.items()}
    print()
    bars = common.Bars()
    twelve, all48 = "latentstore, 12 channels", "latentstore, 48 channels"
    bars.at_least("12 channels, over WebDataset's JPEG", speed[twelve] / speed[JPEG], 6)
    bars.at_least("48 channels, over WebDataset's JPEG", speed[all48] / speed[JPEG], 3.5)
    limits = "the limit: reading and entropy decoding alone, "
    bars.at_least("12 channels, over the limit", speed[twelve] / speed[limits + "12"], 0.8)
    bars.at_least("48 channels, over the limit", speed[all48] / speed[limits + "48"], 0.8)
    npy, mds = "WebDataset: latents as .npy, 12 channels", "MosaicML Streaming: latents as bytes, 12 channels"
    bars.at_least("bytes of .npy latents in WebDataset, over ours", size[npy] / size[twelve], 2.5)
    bars.at_least("speed over that of .npy latents in WebDataset", speed[twelve] / speed[npy], 1)
    if "failed" not in entrants[mds].said:
        bars.at_least("bytes of latents in MosaicML Streaming, over ours", size[mds] / size[twelve], 2.5)
        bars.at_least("speed over that of latents in MosaicML Streaming", speed[twelve] / speed[mds], 1)
    bars.end()


if __name__ == "__main__":
    main()
