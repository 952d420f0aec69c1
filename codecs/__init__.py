"""Signals to latents to blobs, and back."""

from __future__ import annotations

from .codec import Codec, OutlierWarning
from .shipped import load_codec, shipped

__all__ = ["Codec", "OutlierWarning", "load_codec", "shipped"]
