"""Our blobs in other people's `webdataset` pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec


def wds_handler(codec: Codec | str, channels: int | None = None) -> Callable[[str, bytes], np.ndarray | None]:
    """A handler for ``webdataset.WebDataset(tars).decode(handler)``: ``.latent`` becomes int8 (c, h, w).

    codec: a codec, or the name or path of one (``artifact.safetensors`` beside the tars). channels: only the
    first so many.
    """
    if isinstance(codec, str):
        from latentstore.loaders.artifacts import load_codec

        codec = load_codec(codec)
    return _Handler(codec, channels)


class _Handler:  # a class, not a closure: DataLoader workers that are spawned pickle it
    def __init__(self, codec: Codec, channels: int | None) -> None:
        self.codec = codec
        self.channels = channels

    def __call__(self, extension: str, data: bytes) -> np.ndarray | None:
        if extension.rpartition(".")[2] != "latent":
            return None
        return self.codec.read_latent(data, channels=self.channels)
