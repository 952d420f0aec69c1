"""The layout of a latentstore WebDataset: names, tars, index files. Known here and nowhere else.

    FOLDER/x-000000.tar         per sample, in order: KEY.latent (the sample blob), then its fields
    FOLDER/x-000000.idx         NumPy .npz beside each tar: where each blob is, keys, fields (see
    `encode_index`) FOLDER/artifact.safetensors the codec's artifact FOLDER/latentstore.json     describes the
    store and lists its tars; written last

Fields: ``label`` is KEY.cls (decimal digits); bytes are KEY.NAME; strings called txt, text, transcript, json
or cls are KEY.NAME too; all other numbers and strings stand together in KEY.json (KEY.fields.json where a
field is called json), an object by name. A tar is the same bytes for the same samples: time, owner and mode
are constant.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentstore.codecs.bitstream.sample import join_sample, split_sample
from latentstore.codecs.errors import ArgumentError, CorruptError
from latentstore.codecs.modality import modality_of
from latentstore.loaders.columns import Column, pack, unpack
from latentstore.writing.spec import Sample

MANIFEST = "latentstore.json"
ARTIFACT = "artifact.safetensors"
PREFIX = "data"
INDEX_VERSION = 1

_MEMBERS = {"txt", "text", "transcript", "json", "cls"}


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
    """start: int64 (n,), where each sample blob begins in the tar. bounds: int64 (n, groups + 1), group g of
    a blob is its bytes bounds[g] to bounds[g + 1]. width, height: int64 (n,), pixels. tar_bytes: size of the
    tar. columns: key and fields; fields of bytes are ``at[name]``, int64 (n, 2): offset in the tar and
    length."""

    start: np.ndarray
    bounds: np.ndarray
    width: np.ndarray
    height: np.ndarray
    tar_bytes: int
    columns: dict[str, Column]
    at: dict[str, np.ndarray]


def encode_tar(samples: Sequence[Sample], mode: str, sha256: str, columns: dict[str, Column]) -> tuple[bytes, TarIndex]:
    """The tar of `samples`, and its index. sha256: of the artifact; columns: the samples' keys and fields."""
    stream = io.BytesIO()
    kinds = {name: column.kind for name, column in columns.items() if name != "key"}
    at: dict[str, list[tuple[int, int]]] = {name: [] for name, kind in kinds.items() if kind == "bytes"}
    starts, bounds, artifact = [], [], bytes.fromhex(sha256)
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for sample in samples:
            if "." in sample.key.rpartition("/")[2] or not sample.key.rpartition("/")[2]:
                raise ArgumentError(
                    f"{sample.key!r}: the last part of a key in a WebDataset has no dots, and is not empty"
                )
            rate = modality_of(mode).rate_of(sample.fields)
            blob = join_sample(list(sample.groups), sample.width, sample.height, mode, artifact, rate)
            starts.append(_add(tar, f"{sample.key}.latent", blob))
            info = split_sample(blob)
            bounds.append([*info.starts, info.ends[-1]])
            for name, data in _members(sample, kinds).items():
                offset = _add(tar, f"{sample.key}.{name}", data)
                if name in at:
                    at[name].append((offset, len(data)))
    data = stream.getvalue()
    index = TarIndex(
        np.array(starts, np.int64),
        np.array(bounds, np.int64).reshape(len(samples), -1),
        np.array([s.width for s in samples], np.int64),
        np.array([s.height for s in samples], np.int64),
        len(data),
        {name: column for name, column in columns.items() if column.kind != "bytes"},
        {name: np.array(pairs, np.int64).reshape(-1, 2) for name, pairs in at.items()},
    )
    return data, index


def _members(sample: Sample, kinds: dict[str, str]) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    rest = {}
    for name, value in sorted(sample.fields.items()):
        if isinstance(value, bytes | bytearray):
            members[name] = bytes(value)
        elif isinstance(value, str) and name in _MEMBERS:
            members[name] = value.encode()
        elif name == "label" and kinds[name] == "int" and "cls" not in sample.fields:
            members["cls"] = str(int(value)).encode()
        else:
            rest[name] = value
    if rest:
        name = "fields.json" if "json" in members else "json"
        members[name] = json.dumps(rest, ensure_ascii=False, sort_keys=True).encode()
    return members


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a member; the offset of its data in the tar."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
    return tar.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def encode_index(index: TarIndex) -> bytes:
    """The ``.idx`` file: a NumPy .npz, with a CRC-32 on every part."""
    arrays = {
        "version": np.array([INDEX_VERSION], np.int64),
        "tar_bytes": np.array([index.tar_bytes], np.int64),
        "start": index.start,
        "bounds": index.bounds.astype(np.uint32),
        "width": index.width.astype(np.uint32),
        "height": index.height.astype(np.uint32),
    }
    return pack(index.columns, {**arrays, **{f"at_{name}": pairs for name, pairs in index.at.items()}})


def decode_index(data: bytes, count: int, groups: int, where: str) -> TarIndex:
    """The index of a tar of `count` samples; CorruptError naming `where` if it is damaged or of another
    tar."""
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
