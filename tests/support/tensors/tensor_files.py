"""Files of tensors for tests, made by code: good ones as their programs write them, and hostile ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

RAN = "LATENTSTORE_TEST_RAN"
"""An environment variable that hostile files set, if anything runs them."""


def npy(array: np.ndarray) -> bytes:
    """The bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    """The bytes of a ``.npz`` file."""
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def safetensors(header: Any, body: bytes) -> bytes:
    """The bytes of a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


class Hostile:
    """Pickled, it sets `RAN` where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.putenv, (RAN, "1")


def torch_zip(data: bytes, storages: Mapping[str, bytes], compress: int = zipfile.ZIP_STORED) -> bytes:
    """A file as `torch.save` writes it, with any pickle in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compress) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")
        for name, content in storages.items():
            archive.writestr(f"archive/data/{name}", content)
        archive.writestr("archive/version", b"3\n")
    return stream.getvalue()


def tensor_pickle(sides: tuple[int, ...], strides: tuple[int, ...], offset: int, count: int) -> bytes:
    """The pickle of one float32 tensor, as torch writes it, whose numbers may be anything."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self) -> Any:
            return _rebuild_tensor_v2, (Storage(), offset, sides, strides, False, None)

    class Pickler(pickle._Pickler):  # type: ignore[misc]  # the one in Python, whose names can be chosen
        def persistent_id(self, value: Any) -> Any:
            return ("storage", FloatStorage, "0", "cpu", count) if isinstance(value, Storage) else None

        def save_global(self, value: Any, name: str | None = None) -> None:
            module = "torch._utils" if value is _rebuild_tensor_v2 else "torch"
            self.write(pickle.GLOBAL + f"{module}\n{value.__name__}\n".encode())
            self.memoize(value)

        dispatch: ClassVar = {**pickle._Pickler.dispatch, type: save_global, type(tensor_pickle): save_global}  # type: ignore[attr-defined]

    stream = io.BytesIO()
    Pickler(stream, 2).dump(Tensor())
    return stream.getvalue()


def _rebuild_tensor_v2() -> None:
    """Stands for torch's function of that name."""


class FloatStorage:
    """Stands for torch's class of that name."""


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    """A tar of these members."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_mds(
    folder: Path,
    columns: Mapping[str, tuple[str, int | None]],
    rows: Sequence[Mapping[str, bytes]],
    per_shard: int = 3,
    compression: str | None = None,
) -> None:
    """A folder as MosaicML Streaming writes it. columns: (encoding, size or None) by name. rows: encoded values."""
    import bz2
    import gzip

    from numcodecs.zstd import Zstd

    pack = {None: bytes, "gz": gzip.compress, "bz2:9": bz2.compress, "zstd": lambda data: bytes(Zstd().encode(data))}
    names = sorted(columns)
    config = {
        "version": 2, "format": "mds", "compression": compression, "hashes": [], "size_limit": 1 << 26,
        "column_names": names, "column_encodings": [columns[n][0] for n in names],
        "column_sizes": [columns[n][1] for n in names],
    }  # fmt: skip
    text = json.dumps(config, sort_keys=True).encode()
    folder.mkdir(parents=True)
    shards = []
    for number, start in enumerate(range(0, len(rows), per_shard)):
        samples = []
        for row in rows[start : start + per_shard]:
            sizes = [len(row[n]) for n in names if columns[n][1] is None]
            samples.append(np.array(sizes, "<u4").tobytes() + b"".join(row[n] for n in names))
        begin = 4 + 4 * (len(samples) + 1) + len(text)
        offsets = begin + np.cumsum([0, *map(len, samples)])
        raw = b"".join([np.uint32(len(samples)).tobytes(), offsets.astype("<u4").tobytes(), text, *samples])
        name = f"shard.{number:05d}.mds"
        said = {"basename": name, "bytes": len(raw), "hashes": {}}
        packed = pack[compression](raw)  # type: ignore[operator]
        end = "" if compression is None else f".{compression.partition(':')[0]}"
        zipped = None if compression is None else {"basename": name + end, "bytes": len(packed), "hashes": {}}
        (folder / f"{name}{end}").write_bytes(packed)
        shards.append({**config, "samples": len(samples), "raw_data": said, "zip_data": zipped})
    (folder / "index.json").write_text(json.dumps({"version": 2, "shards": shards}))
