"""Stores whose numbers lie, with checksums that match: what a forger would send."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.loaders.columns import Column
from latentstore.loaders.manifest import seal
from latentstore.loaders.tensors import layout

Files = dict[str, bytes]
"""A store: the bytes of its files by their names."""


def read_store(url: str) -> Files:
    root = Path(url)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def write_store(files: Mapping[str, bytes], folder: Path) -> str:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(folder)


def with_manifest(files: Files, **changes: Any) -> Files:
    """The store with other entries in its manifest, sealed anew."""
    if "latentstore.json" in files:
        manifest = json.loads(files["latentstore.json"])
        return {**files, "latentstore.json": json.dumps(_resealed(manifest, changes)).encode()}
    if layout.MANIFEST in files:
        manifest = json.loads(files[layout.MANIFEST])
        latents = manifest["fields"][0]["latents"]
        latents.update({name: value for name, value in changes.items() if name not in manifest})
        own = {name: value for name, value in changes.items() if name in manifest}
        return {**files, layout.MANIFEST: json.dumps(_resealed(manifest, own)).encode()}
    root = json.loads(files["zarr.json"])
    root["attributes"]["latentstore"] = _resealed(root["attributes"]["latentstore"], changes)
    return {**files, "zarr.json": json.dumps(root).encode()}


def _resealed(manifest: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    unsealed = {**{k: v for k, v in manifest.items() if k != "crc32c"}, **changes}
    try:
        return seal(unsealed)
    except UnicodeEncodeError:  # what is no text has no checksum either
        return unsealed


def with_heights(files: Files, height: int) -> Files:
    """The store with versions after all images of its first shard are said to have this height."""
    manifest = json.loads(files[layout.MANIFEST])
    shard = manifest["shards"][0]
    name = layout.shard_name(shard["name"])
    data = files[name]
    tail = layout.decode_tail(data[-shard["tail"] :], [f"latent/{g}" for g in range(len(shard["fields"]))], name)
    heights = {layout.HEIGHT: Column("int", np.full(tail.count, height, np.int64))}
    new = layout.encode_tail(layout.Tail({**tail.columns, **heights}, {}, tail.lengths))
    shards = [{**shard, "tail": len(new), "bytes": len(data) - shard["tail"] + len(new)}, *manifest["shards"][1:]]
    return with_manifest({**files, name: data[: -shard["tail"]] + new}, shards=shards)


def with_array(files: Files, array: str, rows: int | None = None, **changes: Any) -> Files:
    """The Zarr store with other metadata of one array; rows: of a chunk."""
    name = f"{array}/zarr.json"
    metadata = {**json.loads(files[name]), **changes}
    if rows is not None:
        metadata["chunk_grid"]["configuration"]["chunk_shape"][0] = rows
    return {**files, name: json.dumps(metadata).encode()}


def with_chunk(files: Files, name: str, data: bytes) -> Files:
    """The Zarr store with another chunk, whose checksum matches."""
    return {**files, name: data + crc32c(data).to_bytes(4, "little")}


def with_shards(files: Files, change: Callable[[dict[str, Any]], Any]) -> Files:
    """The WebDataset store after `change` of what its manifest says of the first tar."""
    shards = json.loads(files["latentstore.json"])["shards"]
    change(shards[0])
    changes: dict[str, Any] = {"shards": shards}
    if all(isinstance(shard.get("count"), int) for shard in shards):
        changes["count"] = sum(shard["count"] for shard in shards)
    return with_manifest(files, **changes)


def with_index(files: Files, data: bytes) -> Files:
    """The WebDataset store with another index of its first tar, whose checksum matches."""
    files = {**files, "data-000000.idx": data}
    return with_shards(files, lambda shard: shard.update(index_crc32c=crc32c(data)))


def with_members(files: Files, compression: int = zipfile.ZIP_STORED, **changes: np.ndarray | bytes | None) -> Files:
    """The WebDataset store with other members of the first tar's index; bytes: as they are; None: left out."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files["data-000000.idx"])) as old, zipfile.ZipFile(stream, "w", compression) as new:
        for name in [*old.namelist(), *(f"{added}.npy" for added in changes if f"{added}.npy" not in old.namelist())]:
            value = changes.get(name.removesuffix(".npy"), old.read(name) if name in old.namelist() else None)
            if isinstance(value, np.ndarray):
                member = io.BytesIO()
                np.save(member, value)
                value = member.getvalue()
            if value is not None:
                new.writestr(name, value)
    return with_index(files, stream.getvalue())


def npy(shape: str, dtype: str = "<i8", data: bytes = b"") -> bytes:
    """A ``.npy`` file whose header claims any shape."""
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + data
