"""Decoder files of tiny networks with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentstore.codecs.artifact.decoder import NetworkShape
from latentstore.codecs.artifact.folded import FoldedShape


def tiny_parts(codec: Any, seed: int = 0, **changes: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The facts and tensors of a decoder for this codec. changes: of the facts."""
    shape = NetworkShape(codec.channels, 4**codec.levels * codec.in_channels, 8, 1, 6)
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for name, (size, dtype) in shape.tensors().items():
        if dtype == np.int8:
            tensors[name] = rng.integers(-127, 128, size).astype(np.int8)
        elif name.endswith(".scale"):
            fan_in = np.prod(tensors[name.removesuffix("scale") + "weight"].shape[1:])
            tensors[name] = (rng.uniform(0.5, 2, size) / 70 / np.sqrt(fan_in)).astype(np.float32)
        else:
            tensors[name] = rng.normal(size=size).astype(np.float32) / 5
    tensors["sigma"] = np.ones(codec.channels, np.float32)
    tensors["deviation"] = np.full(shape.planes, 0.5, np.float32)
    tensors["ranges"] = np.full(tensors["ranges"].shape, 32, np.float32)
    facts = {
        "name": "tiny",
        "codec": codec.name,
        "codec_sha256": codec.sha256,
        "network": dict(shape.__dict__),
        "prefixes": [codec.group_channels, codec.channels],
        "qualities": [10, 75],
        "default_step": codec.step(),
        "card": {"licence": "none"},
    }
    return facts | changes, tensors


def tiny_audio_parts(codec: Any, seed: int = 0, **changes: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The same for a codec of audio."""
    shape = FoldedShape(codec.channels, (min(codec.reduction, 64), 16)[: codec.in_channels], 8, 1)
    rng = np.random.default_rng(seed)
    tensors = {
        name: (rng.normal(size=size) / np.sqrt(np.prod(size[1:]))).astype(np.float16)
        for name, size in shape.tensors().items()
    }
    tensors["deviation"] = np.full(sum(shape.bands), 0.5, np.float32)
    facts = {
        "name": "tiny",
        "codec": codec.name,
        "codec_sha256": codec.sha256,
        "network": {**shape.__dict__, "bands": list(shape.bands)},
        "prefixes": [codec.group_channels, codec.channels],
        "qualities": [1, 100],
        "default_step": codec.step(),
        "card": {"licence": "none"},
    }
    return facts | changes, tensors
