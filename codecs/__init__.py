"""Codecs: images and audio to latents to blobs, and back."""

from __future__ import annotations

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
