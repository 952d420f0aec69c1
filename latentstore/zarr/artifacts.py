"""Artifacts beside the Zarr arrays that need them: put there when an array is made, found when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.core.sync import sync

from latentstore.codecs.arrays.embedded import artifact_array, codec_beside
from latentstore.codecs.arrays.options import LATENT, SIGNAL, LatentOptions
from latentstore.codecs.errors import ArtifactError

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


def register_beside(node: Any) -> None:
    """Registers the artifacts in the groups around an array, or in a group and around it."""
    if isinstance(node, zarr.Array):
        wanted = [s[1] for s in [signature(node)] if s]
        array = node.path
    else:
        wanted = list((node.attrs.get(ATTRIBUTE) or {}).get("artifacts", {}))
        own = node.attrs.get("latentstore")  # a store of `latentstore.convert`
        if isinstance(own, dict) and isinstance(own.get("artifact_sha256"), str):
            wanted.append(own["artifact_sha256"])
        array = f"{node.path}/any array of this group"
    for sha256 in wanted:
        try:
            sync(codec_beside(node.store, array, sha256))
        except ArtifactError as error:
            raise ArtifactError(f"{node.store_path}: {error}") from error
