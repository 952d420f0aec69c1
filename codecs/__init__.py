"""Signals to latents to blobs, and back."""

from __future__ import annotations

from .codec import Codec, OutlierWarning
from .picture_codec import PictureCodec
from .shipped import load_codec, shipped
from .sound_codec import SoundCodec

__all__ = ["Codec", "OutlierWarning", "PictureCodec", "SoundCodec", "load_codec", "shipped"]
