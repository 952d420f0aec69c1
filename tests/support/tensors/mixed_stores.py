"""Stores that hold latents of our codecs beside tensors, for tests: images, recordings, text; always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latentstore import Latents, Tensor, Writer, load_codec

IMAGES, RECORDINGS = load_codec("rgb-f8c48"), load_codec("mono-f32c32")
QUALITY = 60
IMAGE, TEXT = Latents(IMAGES, QUALITY), Tensor("float16")
FIELDS: dict[str, Any] = {"text": TEXT, "image": IMAGE, "label": int}
"""One latent between a tensor and a number."""
HEARD: dict[str, Any] = {"audio": RECORDINGS, "text": TEXT, "image": IMAGE, "label": int}
"""Recordings of several lengths too."""


def image(number: int, side: int = 32) -> np.ndarray:
    """uint8 (side, 40, 3)."""
    y, x = np.mgrid[:side, :40]
    planes = [(y * 3 + number * 5) % 256, (x * 2 + number) % 256, (x + y + number) % 256]
    return np.stack(planes, axis=-1).astype(np.uint8)


def recording(number: int) -> np.ndarray:
    """float32 (n, 1): a tone, whose length depends on the number."""
    at = np.arange(900 + 350 * (number % 3), dtype=np.float32)
    return (0.1 * np.sin(at * (0.02 + 0.001 * number)))[:, None]


def text(number: int) -> np.ndarray:
    """float16 (3 or 4, 8)."""
    return np.random.default_rng(number).normal(0, 1, (3 + number % 2, 8)).astype(np.float16)


def sample(number: int, fields: Any = FIELDS, side: int = 32) -> dict[str, Any]:
    """The values of these fields of a sample, as they are written."""
    made = {"image": image(number, side), "audio": recording(number), "text": text(number), "label": number}
    return {name: made[name] for name in fields}


def latent(number: int, side: int = 32) -> np.ndarray:
    """The latent of an image, int8 (48, h, w)."""
    return IMAGES.encode(image(number, side)[None], QUALITY)[0]


def write(url: str | Path, numbers: Any, fields: Any = FIELDS, side: int = 32, **options: Any) -> None:
    """A store of these samples, or these samples added to it. Their keys are their numbers."""
    with Writer(url, fields, **{"shard_bytes": 3_000, **options}) as writer:
        for number in numbers:
            writer.write(f"{number}", sample(number, fields, side))
