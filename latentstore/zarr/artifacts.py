"""Artifacts beside the Zarr arrays that need them: put there when an array is made, found when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.core.sync import sync

from latentstore.codecs.arrays.embedded import artifact_array, embedded_codec
from latentstore.codecs.arrays.options import LATENT, SIGNAL, LatentOptions
from latentstore.codecs.errors import ArtifactError, StoreError
from latentstore.codecs.load import codec_of
from latentstore.loaders.remote.location import Location

if TYPE_CHECKING:
    from latentstore.codecs import Codec

ATTRIBUTE = "latentstore_arrays"
INSTALL = "arrays here need: pip install latentstore"


def embed(group: zarr.Group, codec: Codec) -> None:
    """Puts the artifact into `group`, once, and a hint for those who open it without the plugin."""
    name = artifact_array(codec.sha256)
    if name not in group:
        content = np.frombuffer(codec.artifact_bytes, np.uint8)
        axes: dict[str, Any] = {"dimension_names": (f"{name}_byte",)}
        if group.metadata.zarr_format == 2:
            axes = {"attributes": {"_ARRAY_DIMENSIONS": [f"{name}_byte"]}}
        array = group.create_array(
            name,
            shape=content.shape,
            dtype="uint8",
            chunks=content.shape,
            compressors=None,
            filters=None,
            **axes,
        )
        array[:] = content
    known: dict[str, Any] = dict(group.attrs.get(ATTRIBUTE) or {})  # type: ignore[arg-type]
    wanted = {**known, "install": INSTALL, "artifacts": {**known.get("artifacts", {}), codec.sha256: name}}
    if wanted != known:
        group.update_attributes({ATTRIBUTE: wanted})


def signature(array: zarr.Array) -> tuple[str, str] | None:
    """(name, SHA-256) of the artifact that an array's codec needs, also inside shards; None for other codecs."""
    codecs = list(getattr(array.metadata, "codecs", ()))
    codecs += [getattr(array.metadata, "compressor", None)]
    codecs += [inner for codec in codecs for inner in getattr(codec, "codecs", ())]
    for codec in codecs:
        options = getattr(codec, "options", codec)
        if isinstance(options, LatentOptions) and options.codec_name in (SIGNAL, LATENT):
            return options.artifact, options.sha256
    return None


def register_beside(node: Any, url: str | None, storage_options: dict[str, Any] | None) -> None:
    """Registers the artifacts in the groups around an array, or in a group and around it.

    url: of the store, if it was opened by one. An array opened by its own URL has its group above the store's root.
    """
    if isinstance(node, zarr.Array):
        wanted = [s[1] for s in [signature(node)] if s]
    else:
        wanted = list((node.attrs.get(ATTRIBUTE) or {}).get("artifacts", {}))
        own = node.attrs.get("latentstore")  # a store of `latentstore.convert`
        if isinstance(own, dict) and isinstance(own.get("artifact_sha256"), str):
            wanted.append(own["artifact_sha256"])
    for sha256 in wanted:
        found = sync(embedded_codec(node.store_path / "c", sha256))
        if found is None and url:
            _register_above(url, sha256, storage_options)


def _register_above(url: str, sha256: str, storage_options: dict[str, Any] | None) -> None:
    """Looks in the two folders above the store's root: an array, and the group that it is in."""
    for _ in range(2):
        url = url.rstrip("/").rpartition("/")[0]
        if not url or url.endswith(":/"):
            return
        location = Location(url, storage_options)
        for name in (f"{artifact_array(sha256)}/c/0", f"{artifact_array(sha256)}/0"):
            try:
                content = location.read(name)
            except StoreError:
                continue
            try:
                codec_of(sha256, lambda content=content: content)  # type: ignore[misc]
            except ArtifactError as error:
                raise ArtifactError(f"{location.at(name)}: {error}") from error
            return
