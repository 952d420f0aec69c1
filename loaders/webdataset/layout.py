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

from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.loaders.columns import Column, unpack

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
    try:
        if int(arrays["version"][0]) != INDEX_VERSION:
            raise CorruptError(f"{where}: index version {arrays['version'][0]}; this one reads {INDEX_VERSION}")
        index = TarIndex(
            arrays["start"].astype(np.int64),
            arrays["bounds"].astype(np.int64),
            arrays["width"].astype(np.int64),
            arrays["height"].astype(np.int64),
            int(arrays["tar_bytes"][0]),
            columns,
            {name.removeprefix("at_"): array for name, array in arrays.items() if name.startswith("at_")},
        )
        lengths = {len(c) for c in columns.values()} | {len(index.start), len(index.width), len(index.height)}
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise CorruptError(f"{where}: not the index of a tar ({error!r})") from error
    if lengths != {count} or index.bounds.shape != (count, groups + 1) or "key" not in columns:
        raise CorruptError(f"{where}: not the index of {count} samples of {groups} groups")
    ends = index.start + index.bounds[:, -1]
    if (index.start < 0).any() or (np.diff(index.bounds, axis=1) <= 0).any() or (ends > index.tar_bytes).any():
        raise CorruptError(f"{where}: it points outside of its tar")
    for name, pairs in index.at.items():
        if pairs.shape != (count, 2) or (pairs < 0).any() or (pairs.sum(axis=1) > index.tar_bytes).any():
            raise CorruptError(f"{where}: field {name!r} points outside of the tar")
    return index
