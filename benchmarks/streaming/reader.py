"""One entrant of `loader_peers.py`: reads an epoch for every line that it is sent, and answers with its seconds.

    python -m benchmarks.streaming.reader KIND WHAT FOLDER

It imports its own library only, so that it can run in the environment of a peer. The first line says the bytes of the
data set on disk; the seconds are those of the processor.
"""

from __future__ import annotations

from benchmarks.support import one_thread  # noqa: F401  # isort: skip  (before numpy)

import io
import json
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

BATCH = 256


def batches(arrays: Iterable[np.ndarray]) -> Iterator[torch.Tensor]:
    """Batches of arrays of one shape."""
    batch: list[np.ndarray] = []
    for array in arrays:
        batch.append(array)
        if len(batch) == BATCH:
            yield torch.from_numpy(np.stack(batch))
            batch = []
    if batch:
        yield torch.from_numpy(np.stack(batch))


def from_jpeg(content: bytes) -> np.ndarray:
    import simplejpeg

    return np.asarray(simplejpeg.decode_jpeg(content))


def from_jpeg_by_pillow(content: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)))


def from_npy(content: bytes) -> np.ndarray:
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))


def members(tar: Path) -> Iterator[bytes]:
    """The files of a tar that this benchmark wrote, for the peers' own writers."""
    with tarfile.open(tar) as opened:
        for info in opened:
            file = opened.extractfile(info)
            assert file is not None
            yield file.read()


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


Epoch = Callable[[], Iterable[Any]]


def webdataset(what: str, folder: Path) -> tuple[Epoch, int]:
    import webdataset as wds

    tar = folder / f"{what.removesuffix('-pillow')}.tar"
    extension = "jpg" if what.startswith("jpeg") else "npy"
    decode = {"jpeg": from_jpeg, "jpeg-pillow": from_jpeg_by_pillow}.get(what, from_npy)

    def epoch() -> Iterable[Any]:
        samples = wds.WebDataset(str(tar), shardshuffle=False).to_tuple(extension)
        return batches(decode(content) for (content,) in samples)

    return epoch, size_of(tar)


def mosaicml(what: str, folder: Path) -> tuple[Epoch, int]:
    from streaming import MDSWriter, StreamingDataset

    local = folder / f"mds-{what}"
    content = members(folder / f"{what}.tar")
    jpeg = what == "jpeg"
    with MDSWriter(out=str(local), columns={"x": "bytes"}) as writer:
        for one in content:
            writer.write({"x": one if jpeg else from_npy(one).tobytes()})
    shape = (int(what.removeprefix("latents")), 32, 32) if not jpeg else ()
    dataset = StreamingDataset(local=str(local), shuffle=False, batch_size=BATCH)

    def epoch() -> Iterable[Any]:
        if jpeg:
            return batches(from_jpeg(sample["x"]) for sample in dataset)
        return batches(np.frombuffer(sample["x"], np.int8).reshape(shape) for sample in dataset)

    return epoch, size_of(local)


def litdata(what: str, folder: Path) -> tuple[Epoch, int]:
    from litdata import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    local = folder / f"litdata-{what}"
    jpeg = what == "jpeg"
    writer = BinaryWriter(str(local), chunk_bytes="64MB")
    for number, one in enumerate(members(folder / f"{what}.tar")):
        writer[number] = {"x": one if jpeg else from_npy(one).tobytes()}
    writer.done()
    writer.merge(num_workers=1)
    shape = (int(what.removeprefix("latents")), 32, 32) if not jpeg else ()
    dataset = StreamingDataset(str(local), shuffle=False)

    def epoch() -> Iterable[Any]:
        if jpeg:
            return batches(from_jpeg(sample["x"]) for sample in dataset)
        return batches(np.frombuffer(sample["x"], np.int8).reshape(shape) for sample in dataset)

    return epoch, size_of(local)


def latents(what: str, folder: Path) -> tuple[Epoch, int]:
    """The bytes are those of the channels that are read, with index, keys and manifest."""
    import latentstore
    from latentstore.loaders import LatentLoader

    ds = latentstore.open(str(folder / "latents.zarr"), channels=int(what))
    loader = LatentLoader(ds, BATCH, shuffle=True)
    return lambda: loader, _bytes_read(folder, ds)


def limit(what: str, folder: Path) -> tuple[Epoch, int]:
    """The latents of consecutive samples, without order, tensors, keys and fields."""
    import latentstore

    ds = latentstore.open(str(folder / "latents.zarr"), channels=int(what))
    runs = [np.arange(start, min(start + BATCH, len(ds))) for start in range(0, len(ds), BATCH)]
    return lambda: map(ds.read_latents, runs), _bytes_read(folder, ds)


def _bytes_read(folder: Path, ds: Any) -> int:
    """Of the whole store, less the blobs of the groups that are not read."""
    stored = sum(file.stat().st_size for file in (folder / "latents.zarr").rglob("*") if file.is_file())
    lengths = ds.reader.locate(np.arange(len(ds)), ds.codec.groups)[1]
    return int(stored - lengths[:, ds.channels // ds.codec.group_channels :].sum())


KINDS = {"webdataset": webdataset, "mosaicml": mosaicml, "litdata": litdata, "latentstore": latents, "limit": limit}


def main() -> None:
    kind, what, folder = sys.argv[1:]
    serve(*KINDS[kind](what, Path(folder)))


def serve(epoch: Epoch, size: int) -> None:
    """Reads an epoch for every line that comes, and answers with its seconds."""
    torch.set_num_threads(1)
    for _ in epoch():
        pass  # the first epoch fills caches
    print(json.dumps({"bytes": size}), flush=True)
    for _ in sys.stdin:
        begin = time.process_time()
        for _ in epoch():
            pass
        print(json.dumps({"seconds": time.process_time() - begin}), flush=True)


if __name__ == "__main__":
    main()
