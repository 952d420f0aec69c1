"""The layout of a latentstore WebDataset: names and index files.

    FOLDER/x-000000.tar            per sample, in order: KEY.latent (the sample blob), then its fields
    FOLDER/x-000000.idx            beside each tar, a NumPy .npz: keys, fields, and where each blob lies
    FOLDER/artifact.safetensors    the codec's artifact
    FOLDER/latentstore.json        the manifest; lists the tars; written last

How fields become files of a tar is in `latentstore.writing.webdataset.encode`: this reader takes fields from the index,
and only fields of bytes from the tar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentstore.codecs.artifact.checks import short
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders.columns import Column, unpack
from latentstore.loaders.manifest import MOST

MANIFEST = "latentstore.json"
PREFIX = "data"
INDEX_VERSION = 1


def split_target(target: str) -> tuple[str, str]:
    """(folder, prefix) of a folder, or of a pattern ``folder/x-{000000..}.tar``."""
    folder, _, last = target.rstrip("/").rpartition("/")
    if not last.endswith(".tar"):
        return target, PREFIX
    prefix, brace, rest = last.partition("-{")
    if not (brace and rest.endswith("}.tar") and prefix):
        raise ArgumentError(f"{target!r}: a pattern of tars looks like folder/x-{{000000..}}.tar")
    return folder or ".", prefix


def tar_name(prefix: str, index: int) -> str:
    return f"{prefix}-{index:06d}.tar"


def index_name(tar: str) -> str:
    return f"{tar.removesuffix('.tar')}.idx"


@dataclass(frozen=True)
class TarIndex:
    """What the index of a tar of n samples says.

    start: int64 (n,), where each sample blob begins in the tar. bounds: int64 (n, groups + 1); group g of a blob is its
    bytes bounds[g] to bounds[g + 1]. width, height: int64 (n,), of images in pixels; of audio, samples and 1.
    tar_bytes: size of the tar. columns: the key and all fields but those of bytes. at: for each field of bytes,
    int64 (n, 2): offset in the tar, and length.
    """

    start: np.ndarray
    bounds: np.ndarray
    width: np.ndarray
    height: np.ndarray
    tar_bytes: int
    columns: dict[str, Column]
    at: dict[str, np.ndarray]


def decode_index(data: bytes, count: int, groups: int, where: str) -> TarIndex:
    """The index of a tar of `count` samples. CorruptError names `where` if it is damaged or belongs to another tar."""
    columns, arrays = unpack(data, where)
    shapes = {
        "version": (1,), "tar_bytes": (1,), "start": (count,), "bounds": (count, groups + 1), "width": (count,),
        "height": (count,), **{name: (count, 2) for name in arrays if name.startswith("at_")},
    }  # fmt: skip
    for name, shape in shapes.items():
        if name not in arrays:
            raise CorruptError(f"{where}: not the index of a tar: it has no {name!r}")
        if arrays[name].shape != shape or arrays[name].dtype.kind not in "iu":
            raise CorruptError(
                f"{where}: not the index of {count} samples of {groups} groups: {short(name)} is {arrays[name].dtype} "
                f"{arrays[name].shape}, not whole numbers {shape}"
            )
    if arrays["version"][0] != INDEX_VERSION:
        raise CorruptError(f"{where}: index version {arrays['version'][0]}; this one reads {INDEX_VERSION}")
    # numbers of 2^63 and more become negative, and are refused as such
    arrays = {name: array.astype(np.int64, copy=False) if name in shapes else array for name, array in arrays.items()}
    for name, column in {"key": None, **columns}.items():
        if column is None or len(column) != count or (name == "key" and column.kind != "str"):
            raise CorruptError(f"{where}: not the index of {count} samples: column {short(name)} is another's")
    index = TarIndex(
        arrays["start"],
        arrays["bounds"],
        arrays["width"],
        arrays["height"],
        int(arrays["tar_bytes"][0]),
        columns,
        {name.removeprefix("at_"): array for name, array in arrays.items() if name.startswith("at_")},
    )
    if not _inside(index.start, index.bounds, index.tar_bytes) or (index.bounds[:, 1:] <= index.bounds[:, :-1]).any():
        raise CorruptError(f"{where}: it points outside of its tar")
    for name, pairs in index.at.items():
        if not _inside(pairs[:, 0], pairs[:, 1:], index.tar_bytes):
            raise CorruptError(f"{where}: field {name!r} points outside of the tar")
    return index


def _inside(start: np.ndarray, lengths: np.ndarray, size: int) -> bool:
    """Whether start (n,) and lengths (n, m) from there are within `size` bytes."""
    if not 0 <= size <= MOST or not len(start):
        return not len(start)
    # each by itself first, so that no sum overflows
    one_by_one = min(start.min(), lengths.min()) >= 0 and max(start.max(), lengths.max()) <= size
    return bool(one_by_one and (start + lengths.max(axis=1) <= size).all())
