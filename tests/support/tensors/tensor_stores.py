"""Stores of tensors for tests: small, of every kind of field, always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from latentstore import Encoder, Tensor, Writer

FIELDS: dict[str, Any] = {
    "latent": Tensor("float16"),
    "text": Tensor("bfloat16", channel_axis=1),
    "tokens": Tensor("int16", "codes", vocabulary=512),
    "label": int,
    "score": float,
    "caption": str,
    "raw": bytes,
}
"""`text` differs in length from sample to sample."""
ENCODER = Encoder("noise", "ab" * 32, {"size": 64}, scale=2.0, shift=0.5)


def sample(number: int) -> dict[str, Any]:
    """The fields of sample `number`, the same every time."""
    rng = np.random.default_rng(number)
    return {
        "latent": np.cumsum(rng.normal(0, 0.1, (4, 8, 8)), axis=2).astype(np.float16),
        "text": rng.normal(0, 1, (3 + number % 3, 16)).astype(ml_dtypes.bfloat16),
        "tokens": rng.integers(0, 512, (2, 7)).astype(np.int16),
        "label": number % 5 - 1,
        "score": number / 4,
        "caption": f"sample {number} \N{SNOWMAN}",
        "raw": bytes([number % 256]) * (number % 4),
    }


def key(number: int) -> str:
    """The key of sample `number`."""
    return f"folder/{number:04d}"


def write(url: str | Path, numbers: Any, shard_bytes: int = 30_000, **options: Any) -> None:
    """A store of these samples, or these samples added to it."""
    with Writer(url, FIELDS, encoder=ENCODER, shard_bytes=shard_bytes, **options) as writer:
        for number in numbers:
            writer.write(key(number), sample(number))


def assert_is(found: dict[str, Any], number: int) -> None:
    """Whether a sample, of the fields that it has, is sample `number`."""
    expected = {"key": key(number), **sample(number)}
    for name, value in found.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == expected[name].dtype and value.shape == expected[name].shape, name
            assert value.tobytes() == expected[name].tobytes(), name
        else:
            assert value == expected[name] and type(value) is type(expected[name]), name
