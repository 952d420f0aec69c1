"""Writes the samples of a store of tensors to files: ``.safetensors`` or ``.npz``, named by their keys."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import ml_dtypes
import numpy as np

from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders.faults.changed import still_there
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.progress import Progress, printable
from latentstore.stores.fields_file import FIELDS, row_of
from latentstore.stores.files import Exported, file_path, require_empty, why_unwritable, writing_to

__all__ = ["FORMATS", "export_tensors"]

BATCH_SAMPLES = 64
BATCH_BYTES = 8 << 20
"""Of blobs that are decoded before any of them is written."""
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

Arrays = Mapping[str, np.ndarray]


def export_tensors(
    dataset: TensorDataset, folder: str, format: str, as_float32: bool, limit: int | None, progress: bool | None
) -> Exported:
    """Writes the tensors of each sample as ``folder/KEY.safetensors``, or ``.npz``.

    format: "safetensors" or "npz". as_float32: write bfloat16 as float32, which holds every value of it; NumPy has no
    bfloat16, so ``.npz`` needs this. limit: only the first so many samples. The other fields are written to
    ``fields.jsonl``, one sample a line, if there are any; see `latentstore.stores.fields_file`.

    A sample whose key can name no file is left out and named. ArgumentError if the format cannot hold the tensors.
    """
    if format not in FORMATS:
        raise ArgumentError(f"format is {format!r}; it is {' or '.join(FORMATS)}")
    bfloat16 = [name for name, tensor in dataset.tensors.items() if tensor.values == BFLOAT16]
    if bfloat16 and format == "npz" and not as_float32:
        raise ArgumentError(
            f"the field {bfloat16[0]!r} of {dataset.url} is bfloat16, which NumPy does not have: export it as "
            "safetensors, or as float32"
        )
    out = require_empty(folder)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    blobs = sum(sum(shard.fields) for shard in dataset.reader.meta.shards)
    batch = max(1, min(BATCH_SAMPLES, BATCH_BYTES * len(dataset) // max(1, blobs)))
    done, rows = Exported(), list[str]()
    write, extension = FORMATS[format], f".{format}"
    with writing_to(folder):
        out.mkdir(parents=True, exist_ok=True)
        with Progress(progress) as shown, ThreadPoolExecutor() as pool:
            shown.begin(f"exporting to {folder}", total=count, unit="samples")
            for start in range(0, count, batch):
                indices = np.arange(start, min(start + batch, count), dtype=np.int64)
                with still_there(dataset.reader):
                    columns = dataset.read_alike(indices, list(dataset.tensors))
                others, keys = dataset.values(indices), dataset.keys(indices)
                samples = [_widened({n: c[i] for n, c in columns.items()}, as_float32) for i in range(len(keys))]
                written = pool.map(lambda key, arrays: _write(out, key, extension, write, arrays), keys, samples)
                for i, (key, (size, reason)) in enumerate(zip(keys, written, strict=True)):
                    shown.advance(1, bytes_out=size)
                    if reason:
                        done.failures.append((key, reason))
                        shown.note(f"not written: {printable(repr(key))}: {reason}")
                        continue
                    done.count += bool(dataset.tensors)
                    rows.append(row_of(key, {name: values[i] for name, values in others.items()}))
        if dataset.others:
            (out / FIELDS).write_text("".join(rows), encoding="utf-8")
    return done


def _widened(arrays: Arrays, as_float32: bool) -> Arrays:
    if not as_float32:
        return arrays
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        return {n: array.astype(np.float32) if array.dtype == BFLOAT16 else array for n, array in arrays.items()}


def _write(
    folder: Path, key: str, extension: str, write: Callable[[IO[bytes], Arrays], None], arrays: Arrays
) -> tuple[int, str]:
    """Writes one sample: (the bytes of its file, why it could not be written or "")."""
    if not arrays:
        return 0, ""
    try:
        path = file_path(folder, key, extension)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            write(file, arrays)
            return file.tell(), ""
    except (CorruptError, OSError) as error:
        return 0, why_unwritable(error)


_NAMES = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "int16": "I16", "int32": "I32", "uint8": "U8",
}  # fmt: skip


def _safetensors(file: IO[bytes], arrays: Arrays) -> None:
    """The format's own order: tensors of the widest type first, so that all are aligned."""
    ordered = sorted(arrays.items(), key=lambda one: (-one[1].itemsize, one[0]))
    table, at = {}, 0
    for name, array in ordered:
        table[name] = {"dtype": _NAMES[array.dtype.name], "shape": array.shape, "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    header = json.dumps(table).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    for _, array in ordered:
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _npz(file: IO[bytes], arrays: Arrays) -> None:
    """As `numpy.savez`, which cannot write an array of every name."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


FORMATS: dict[str, Callable[[IO[bytes], Arrays], None]] = {"safetensors": _safetensors, "npz": _npz}
"""How the tensors of a sample become a file, by its extension."""
