"""Blobs of version 1 decode as they did, and encoders of today make the same."""

from __future__ import annotations

import numpy as np
import pytest
from paths import ROOT

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.lossless import PLANES

with np.load(ROOT / "tests" / "data" / "tensors" / "golden.npz") as golden:
    HELD = dict(golden)
NAMES = sorted({key.split("/")[0] for key in HELD})


def test_there_are_cases() -> None:
    assert NAMES == ["bfloat16", "books", "codes", "float16", "float32", "int32"]


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, path: str) -> None:
    coder = TensorCoder.of_bytes(HELD[f"{name}/coder"].tobytes(), name)
    count = sum(key.startswith(f"{name}/") and key.endswith("/blob") for key in HELD)
    blobs = [HELD[f"{name}/{i}/blob"].tobytes() for i in range(count)]
    arrays = coder.decode(Blobs.whole(blobs))
    for i, array in enumerate(arrays):
        assert array.dtype == coder.tensor.values and array.shape == tuple(HELD[f"{name}/{i}/shape"])
        assert array.tobytes() == HELD[f"{name}/{i}/values"].tobytes()
    made = coder.encode(arrays)
    # what zstd makes of planes may change with its version
    for i, blob in enumerate(blobs):
        assert made[i] == blob or (
            coder.tensor.coding == "lossless" and blob[6 + blob[1] : 7 + blob[1]] == bytes([PLANES])
        )
