"""Sample blobs in pipelines of the package `webdataset`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from latentstore.codecs.codec import Codec
from latentstore.loaders.artifacts import load_codec


def wds_handler(codec: Codec | str, channels: int | None = None) -> Callable[[str, bytes], np.ndarray | None]:
    """A handler for ``webdataset.WebDataset(tars).decode(handler)``: ``.latent`` becomes int8 (c, h, w).

    codec: a codec, or the name, path or URL of one (``artifact.safetensors`` lies beside the tars). channels: how many
    of the latent's channels are decoded, from the first on; None for all.
    """
    if isinstance(codec, str):
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
