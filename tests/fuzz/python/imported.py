"""The files that `latentstore import` reads: each target reads its input as one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from guided import Target
from tensors.tensor_files import npy, npz, safetensors, tensor_pickle, torch_zip, write_mds

from latentstore.importing.files.read import read_tensors
from latentstore.importing.places.mds import INDEX, list_mds
from latentstore.loaders.remote.location import Location

SHARD = "shard.00000.mds"
MOST_ROWS = 20


def _file(extension: str) -> Target:
    return lambda data: read_tensors(extension, data)


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="latentstore-fuzz-")


def mds(data: bytes) -> None:
    """The index, after two bytes that say how long it is, and then a shard."""
    folder, size = Path(_folder().name), int.from_bytes(data[:2], "little")
    (folder / INDEX).write_bytes(data[2 : 2 + size])
    (folder / SHARD).write_bytes(data[2 + size :])
    for part in list_mds(Location(folder), ()).parts:
        part.read(range(min(MOST_ROWS, len(part.keys))))


# what they begin with


def _npy() -> list[bytes]:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    return [
        npy(array),
        npy(np.asfortranarray(array)),
        npy(np.array("a cat")),
        npy(array[0, :0]),
        npy(array.astype(">i2")),
    ]


def _npz() -> list[bytes]:
    array = np.arange(12, dtype=np.float16)
    return [npz(x=array), npz(True, x=array, y=np.array(3))]


def _torch() -> list[bytes]:
    values = np.arange(12, dtype=np.float32).tobytes()
    return [
        torch_zip(tensor_pickle(sides, strides, offset, 12), {"0": values})
        for sides, strides, offset in (((3, 4), (4, 1), 0), ((2, 2), (1, 4), 3), ((), (), 11))
    ]


def _safetensors() -> list[bytes]:
    entry = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
    more = {"dtype": "I64", "shape": [1], "data_offsets": [12, 20]}
    return [
        safetensors({"x": entry}, bytes(12)),
        safetensors({"x": entry, "y": more, "__metadata__": {"made": "by"}}, bytes(range(20))),
    ]


def _mds() -> list[bytes]:
    columns = {"key": ("str", None), "x": ("ndarray:float16:2,3", 12), "y": ("int", 8), "z": ("ndarray", None)}
    row = {"x": bytes(range(12)), "y": bytes(8), "z": bytes([12, 1, 2]) + bytes(8)}
    found = []
    for compression in (None, "gz", "zstd"):
        with TemporaryDirectory() as above:
            folder = Path(above) / "mds"
            write_mds(folder, columns, [{**row, "key": key} for key in (b"a", b"bc")], compression=compression)
            shard = next(path for path in folder.iterdir() if path.name != INDEX)
            index = json.dumps(json.loads((folder / INDEX).read_text())).replace(shard.name, SHARD).encode()
            found.append(len(index).to_bytes(2, "little") + index + shard.read_bytes())
    return found


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "npy": _npy, "npz": _npz, "torch_file": _torch, "safetensors": _safetensors, "mds": _mds,
}  # fmt: skip
TARGETS: dict[str, Target] = {
    "npy": _file("npy"), "npz": _file("npz"), "torch_file": _file("pt"), "safetensors": _file("safetensors"),
    "mds": mds,
}  # fmt: skip
