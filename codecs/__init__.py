"""Codecs: images and audio to latents to blobs, and back.

Each name is looked up when it is first used, so that a module of a codec loads no more than it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentstore.codecs.audio.codec import AudioCodec
    from latentstore.codecs.codec import Codec, OutlierWarning
    from latentstore.codecs.entropy.blobs import Blobs
    from latentstore.codecs.image.codec import ImageCodec
    from latentstore.codecs.load import codec_from_bytes, load_codec, shipped
    from latentstore.codecs.neural.decoder import Decoder, load_decoder

__all__ = [
    "AudioCodec",
    "Blobs",
    "Codec",
    "Decoder",
    "ImageCodec",
    "OutlierWarning",
    "codec_from_bytes",
    "load_codec",
    "load_decoder",
    "shipped",
]

_HOME = {
    "AudioCodec": "audio.codec",
    "Blobs": "entropy.blobs",
    "Codec": "codec",
    "Decoder": "neural.decoder",
    "ImageCodec": "image.codec",
    "OutlierWarning": "codec",
    "codec_from_bytes": "load",
    "load_codec": "load",
    "load_decoder": "neural.decoder",
    "shipped": "load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
