"""A small store of tensors of several fields, for tests of what is done with finished stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import latentstore

FIELDS: dict[str, Any] = {
    "latent": latentstore.Tensor("float16"),
    "text": latentstore.Tensor("bfloat16"),
    "tokens": latentstore.Tensor("int16", "codes", vocabulary=300),
    "label": int,
    "score": float,
    "name": str,
    "raw": bytes,
}


def values(number: int) -> dict[str, Any]:
    """The fields of a sample; the shape of its text is its own."""
    rng = np.random.default_rng(number)
    return {
        "latent": rng.normal(size=(2, 3, 4)).astype(np.float16),
        "text": rng.normal(size=(number % 3 + 1, 5)).astype(ml_dtypes.bfloat16),
        "tokens": rng.integers(0, 300, (6,)).astype(np.int16),
        "label": number,
        "score": float("nan") if number == 1 else number / 2,
        "name": f"é{number}",
        "raw": bytes([number]),
    }


def write_store(url: str | Path, keys: list[str], **options: Any) -> None:
    """A store of a sample for each key, in several shards."""
    encoder = latentstore.Encoder("mine", "ab" * 32, {"size": 256})
    with latentstore.Writer(url, FIELDS, encoder={"latent": encoder}, shard_bytes=400, **options) as writer:
        for number, key in enumerate(keys):
            writer.write(key, values(number))
