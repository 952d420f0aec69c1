"""The bytes of a WebDataset's tars and index files.

Fields of a sample: ``label`` is KEY.cls (decimal digits). Bytes are KEY.NAME. Strings called txt, text, transcript,
json or cls are KEY.NAME too. All other numbers and strings stand together in KEY.json, an object by name
(KEY.fields.json where a field is called json). The same samples give the same tar: times, owners and modes of files are
constant.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence

import numpy as np

from latentstore.codecs.bitstream.sample import join_sample, split_sample
from latentstore.codecs.codec import Codec
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.columns import Column, pack
from latentstore.loaders.webdataset import layout
from latentstore.writing.spec import Sample

_MEMBERS = {"txt", "text", "transcript", "json", "cls"}


def encode_tar(samples: Sequence[Sample], codec: Codec, columns: Mapping[str, Column]) -> tuple[bytes, layout.TarIndex]:
    """The tar of `samples`, and its index. columns: the samples' keys and fields.

    ArgumentError if a tar cannot hold a sample under its key.
    """
    stream = io.BytesIO()
    kinds = {name: column.kind for name, column in columns.items() if name != "key"}
    at: dict[str, list[tuple[int, int]]] = {name: [] for name, kind in kinds.items() if kind == "bytes"}
    starts, bounds, sha256 = [], [], bytes.fromhex(codec.sha256)
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for sample in samples:
            last = sample.key.rpartition("/")[2]
            if not last or "." in last:
                raise ArgumentError(
                    f"The key {sample.key!r} cannot be kept in a WebDataset: the last part of a key has no dots and is "
                    "not empty there. Rename the file, or write a Zarr store."
                )
            rate = codec.modality.rate_of(sample.fields)
            blob = join_sample(list(sample.groups), sample.width, sample.height, codec.mode, sha256, rate)
            starts.append(_add(tar, f"{sample.key}.latent", blob))
            info = split_sample(blob)
            bounds.append([*info.starts, info.ends[-1]])
            for name, data in _members(sample, kinds).items():
                offset = _add(tar, f"{sample.key}.{name}", data)
                if name in at:
                    at[name].append((offset, len(data)))
    data = stream.getvalue()
    index = layout.TarIndex(
        np.array(starts, np.int64),
        np.array(bounds, np.int64).reshape(len(samples), -1),
        np.array([s.width for s in samples], np.int64),
        np.array([s.height for s in samples], np.int64),
        len(data),
        {name: column for name, column in columns.items() if column.kind != "bytes"},
        {name: np.array(pairs, np.int64).reshape(-1, 2) for name, pairs in at.items()},
    )
    return data, index


def _members(sample: Sample, kinds: Mapping[str, str]) -> dict[str, bytes]:
    """The files of a sample beside its blob: contents by the ending of their names."""
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
            rest[name] = value.item() if isinstance(value, np.generic) else value
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


def encode_index(index: layout.TarIndex) -> bytes:
    """The ``.idx`` file: a NumPy .npz, with a CRC-32 on every part."""
    arrays = {
        "version": np.array([layout.INDEX_VERSION], np.int64),
        "tar_bytes": np.array([index.tar_bytes], np.int64),
        "start": index.start,
        "bounds": index.bounds.astype(np.uint32),
        "width": index.width.astype(np.uint32),
        "height": index.height.astype(np.uint32),
    }
    return pack(index.columns, {**arrays, **{f"at_{name}": pairs for name, pairs in index.at.items()}})
