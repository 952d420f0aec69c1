"""Zarr arrays of images and of latents: making them, and opening them with the artifact that lies beside them.

    z = latentstore.zarr.create("photos.zarr", "image", (1000, 256, 256, 3))
    z[0] = image                                # uint8 (256, 256, 3), stored with loss
    latentstore.zarr.open("photos.zarr", "image")[0]

What `create` makes is ordinary Zarr: any process with latentstore installed reads it by zarr alone.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.storage import MemoryStore

from latentstore.codecs.errors import ArgumentError, ArtifactError
from latentstore.codecs.load import register, resolve
from latentstore.loaders.artifacts import load_codec
from latentstore.zarr.artifacts import embed, register_beside, signature
from latentstore.zarr.copying import copy

if TYPE_CHECKING:
    from latentstore.codecs import Codec

__all__ = ["copy", "create", "open"]

TILE = 1024
"""Default side of a tile of images that are larger than one and a half of it: 3 MB of pixels, a twentieth
of that stored; smaller ones cost bits at their borders, larger ones memory and threads."""

Store = Any  # what zarr takes for a store: a path, a URL, a zarr store, or a group in one


def create(
    store: Store,
    name: str,
    shape: tuple[int, ...],
    *,
    codec: Codec | str = "rgb-f8c48",
    dtype: Literal["uint8", "int8"] | Any = "uint8",
    axes: str | None = None,
    quality: int | None = None,
    effort: Literal["default", "fast"] = "default",
    chunks: tuple[int, ...] | None = None,
    shards: tuple[int, ...] | None = None,
    fill_value: int = 0,
    partial_writes: Literal["refuse", "allow"] = "refuse",
    data: np.ndarray | None = None,
    attributes: dict[str, Any] | None = None,
    dimension_names: tuple[str, ...] | None = None,
    zarr_format: Literal[2, 3] = 3,
    embed_artifact: bool = True,
    overwrite: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> zarr.Array:
    """Creates the array `name` in the group at `store`, and puts the codec's artifact beside it.

    store: a path, a URL, a Zarr store or a group. zarr itself opens it.
    codec: a codec, or the name, path or URL of one.
    dtype: uint8 for images, which are stored with loss; int8 for latents (samples, channels, h, w), stored without.
    axes: of images: a letter for each axis: h, w, c, or n for any other. None takes the first that fits the shape of
        (h, w), (h, w, c), (n, h, w), (n, h, w, c) and (n, c, h, w).
    quality: 1 to 100; None is the codec's default.
    chunks: None is one image, or tiles of `TILE` of a large image; of latents, one group of one sample.
    shards: None is no shards. Zarr's shards are safe only if one task writes each of them, whole.
    partial_writes: what to do with a write that covers only a part of a stored image; see `SignalOptions`.
    data: uint8 or int8 values of that shape, to write at once.
    fill_value: what is read where nothing was written. Images that hold only this value are written all the same,
        so that what is there can be told from what is not.

    Everything is checked before anything that exists is touched. Raises ArgumentError, or what zarr raises.
    """
    codec = register(load_codec(codec) if isinstance(codec, str) else codec)
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.uint8), np.dtype(np.int8)):
        raise ArgumentError(
            f"dtype is {kind}; images are uint8 and latents int8: convert the values first, or use another "
            f"codec for them"
        )
    shape = tuple(int(n) for n in shape)
    if data is not None and (data.shape != shape or data.dtype != kind):
        raise ArgumentError(
            f"data is {data.dtype} {data.shape}, the array {kind} {shape}: zarr would cast it in silence"
        )
    if not name.strip("/"):
        raise ArgumentError("the array needs a name: it lies in a group, and its artifact beside it")
    images = kind == np.uint8
    axes = (axes or _axes(shape, codec)) if images else None
    chunks = tuple(chunks) if chunks else _chunks(shape, axes, codec)
    options: dict[str, Any] = {
        "shape": shape, "dtype": kind, "chunks": chunks, "shards": shards, "attributes": attributes,
        "zarr_format": zarr_format, "filters": None, "config": {"write_empty_chunks": True},
    }  # fmt: skip
    if zarr_format == 3:
        options |= _v3(codec, axes, quality, effort, partial_writes)
        options |= {"compressors": None, "fill_value": fill_value, "dimension_names": dimension_names}
    else:
        options |= _v2(codec, axes, quality, effort, fill_value)
    zarr.create_array(MemoryStore(), **options)  # zarr deletes what exists before it validates; this is where it fails
    group = _group(store, name, zarr_format, storage_options)
    leaf = name.strip("/").rpartition("/")[2]
    array = group.create_array(leaf, overwrite=overwrite, **{k: v for k, v in options.items() if k != "zarr_format"})
    if embed_artifact:
        embed(group, codec)
    if data is not None:
        array[...] = data
    return array


def open(
    store: Store,
    name: str | None = None,
    mode: Literal["r", "r+"] = "r",
    storage_options: dict[str, Any] | None = None,
) -> Any:
    """Opens an array or a group, and makes the artifacts that lie beside it known to this process.

    Arrays need this if their artifact is not one of those shipped and they are sharded or Zarr v2, because zarr
    does not tell such codecs where they are. Raises ArtifactError if the array's artifact is nowhere.
    """
    if isinstance(store, zarr.Group):
        path = "/".join(part for part in (store.path, (name or "").strip("/")) if part)
        found: Any = zarr.open(store.store, path=path, mode=mode)
    else:
        found = zarr.open(_store(store), path=name, mode=mode, storage_options=storage_options)
    register_beside(found)
    if isinstance(found, zarr.Array):
        sha256 = signature(found)
        if sha256:
            try:
                resolve(*sha256)
            except ArtifactError as error:
                raise ArtifactError(f"{found.store_path}: {error}") from error
        config: Any = {"write_empty_chunks": True}
        return zarr.open_array(found.store, path=found.path, mode=mode, config=config)
    return found


def _store(store: Store) -> Store:
    return str(store) if isinstance(store, Path) else store


def _group(store: Store, name: str, zarr_format: Literal[2, 3], storage_options: dict[str, Any] | None) -> zarr.Group:
    """The group that `name` lies in; it is made if it is missing."""
    parent = name.strip("/").rpartition("/")[0]
    if isinstance(store, zarr.Group):
        if store.metadata.zarr_format != zarr_format:
            raise ArgumentError(
                f"{store.store_path} is a group of Zarr v{store.metadata.zarr_format}; arrays in it are too"
            )
        return store.require_group(parent) if parent else store
    root = zarr.open_group(_store(store), mode="a", zarr_format=zarr_format, storage_options=storage_options)
    return root.require_group(parent) if parent else root


def _v3(codec: Codec, axes: str | None, quality: int | None, effort: Any, partial_writes: Any) -> dict[str, Any]:
    from latentstore.codecs.arrays.zarr_codec import LatentCodec, SignalCodec

    if axes is None:
        return {"serializer": LatentCodec.of(codec)}
    return {"serializer": SignalCodec.of(codec, axes, quality, effort, partial_writes)}


def _v2(codec: Codec, axes: str | None, quality: int | None, effort: Any, fill_value: int) -> dict[str, Any]:
    from latentstore.codecs.arrays.numcodecs_codec import LatentV2, SignalV2

    if fill_value:
        raise ArgumentError(
            "Zarr v2 arrays are made with no fill value (xarray would read it as missing): leave it at 0"
        )
    if axes is None:
        return {"compressors": LatentV2.of(codec), "fill_value": None}
    return {"compressors": SignalV2.of(codec, axes, quality, effort), "fill_value": None}


def _axes(shape: tuple[int, ...], codec: Codec) -> str:
    c = codec.in_channels
    if len(shape) == 4 and shape[3] == c:
        return "nhwc"
    if len(shape) == 4 and shape[1] == c:
        return "nchw"
    if len(shape) == 3 and shape[2] == c:
        return "hwc"
    if len(shape) in (2, 3) and c == 1:
        return "nhw"[3 - len(shape) :]
    raise ArgumentError(
        f"shape {shape} does not say which axes are height, width and {c} channels of {codec.mode} "
        'images: name them by axes, a letter each, such as axes="nhwc"'
    )


def _chunks(shape: tuple[int, ...], axes: str | None, codec: Codec) -> tuple[int, ...]:
    if axes is None:
        return (1, min(codec.group_channels, *shape[1:2]), *shape[2:])
    if len(axes) != len(shape):
        raise ArgumentError(f"axes {axes!r} name {len(axes)} axes, the array has {len(shape)}: {shape}")
    side = {"n": 1, "c": math.inf}
    return tuple(
        max(1, int(min(n, side.get(letter, n if n <= TILE * 3 // 2 else TILE))))
        for letter, n in zip(axes, shape, strict=True)
    )
