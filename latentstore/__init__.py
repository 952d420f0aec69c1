"""Data sets as latents: convert once, train on the latents, decode what you want to see or hear.

    latentstore.convert("photos/", "photos.zarr", size=256)
    ds = latentstore.open("photos.zarr", channels=12)
    ds[0]["latent"]  # int8 (12, 32, 32)

`convert` makes a store of images or audio. `Writer` makes one of tensors that another encoder made, such as latents of
a VAE and text embeddings; `import_tensors` makes one of tensors in files; `sync` makes one that follows its source.
`open` reads them all, and batches for training come from `latentstore.loaders.LatentLoader`. `load_codec` gives a codec
by itself, and `latentstore.zarr` uses one in arrays. Every error that this package raises on purpose is a
`LatentstoreError`.

Importing this package loads neither torch, dask nor zarr: each name is looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from latentstore.version import __version__

if TYPE_CHECKING:
    from latentstore import codecs, loaders, writing, zarr
    from latentstore.codecs.audio.codec import AudioCodec
    from latentstore.codecs.codec import Codec
    from latentstore.codecs.errors import (
        ArgumentError,
        ArtifactError,
        AudioError,
        CorruptError,
        ImageError,
        LatentstoreError,
        SignalError,
        StoreError,
        TruncatedError,
        UnsupportedVersionError,
    )
    from latentstore.codecs.image.codec import ImageCodec
    from latentstore.codecs.neural.decoder import Decoder, load_decoder
    from latentstore.codecs.tensors.declaration import Tensor
    from latentstore.conversion.api import convert
    from latentstore.foreign.load import load_codec
    from latentstore.importing.api import import_tensors
    from latentstore.loaders.mixture import mix
    from latentstore.loaders.opening import open
    from latentstore.loaders.tensors.encoder import Encoder
    from latentstore.loaders.tensors.latents import Latents
    from latentstore.syncing.api import sync
    from latentstore.writing.tensors.writer import Writer

__all__ = [
    "ArgumentError",
    "ArtifactError",
    "AudioCodec",
    "AudioError",
    "Codec",
    "CorruptError",
    "Decoder",
    "Encoder",
    "ImageCodec",
    "ImageError",
    "Latents",
    "LatentstoreError",
    "SignalError",
    "StoreError",
    "Tensor",
    "TruncatedError",
    "UnsupportedVersionError",
    "Writer",
    "__version__",
    "codecs",
    "convert",
    "import_tensors",
    "load_codec",
    "load_decoder",
    "loaders",
    "mix",
    "open",
    "sync",
    "writing",
    "zarr",
]

_SUBPACKAGES = ("codecs", "loaders", "writing", "zarr")
# No name here may also be the name of a submodule: importing the submodule would put it in the name's place.
_HOME = {
    "AudioCodec": "latentstore.codecs.audio.codec",
    "Codec": "latentstore.codecs.codec",
    "Decoder": "latentstore.codecs.neural.decoder",
    "ImageCodec": "latentstore.codecs.image.codec",
    "Encoder": "latentstore.loaders.tensors.encoder",
    "Latents": "latentstore.loaders.tensors.latents",
    "Tensor": "latentstore.codecs.tensors.declaration",
    "Writer": "latentstore.writing.tensors.writer",
    "convert": "latentstore.conversion.api",
    "import_tensors": "latentstore.importing.api",
    "load_codec": "latentstore.foreign.load",
    "load_decoder": "latentstore.codecs.neural.decoder",
    "mix": "latentstore.loaders.mixture",
    "open": "latentstore.loaders.opening",
    "sync": "latentstore.syncing.api",
}


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in __all__:
        value = getattr(import_module("latentstore.codecs.errors"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
