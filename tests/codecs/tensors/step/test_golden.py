"""A payload that was written once stays readable, and the same values give the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from paths import ROOT
from safetensors.numpy import load_file

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.native import kernel
from latentstore.codecs.reference import stand_in
from latentstore.codecs.tensors.step.coding import StepCoding

DATA = ROOT / "tests" / "data" / "tensors" / "step-1.safetensors"


@pytest.mark.parametrize("path", kernel.kernel_paths() if kernel else ["reference"])
def test_the_golden_payload(path: str) -> None:
    golden = load_file(DATA)
    coding = StepCoding.of({k.removeprefix("part."): a for k, a in golden.items() if k.startswith("part.")}, DATA.name)
    multiples = golden["multiples"]
    values = golden["values"]
    assert set(coding.parts()["fine"]) == {0, 1}
    payload = golden["payload"].tobytes()
    if kernel is not None:
        kernel.force_path(path)
    try:
        whole, singles = np.zeros_like(multiples), np.zeros(multiples.shape, np.float32)
        coding.decode_steps(Blobs.whole([payload]), [multiples.shape], [whole])
        coding.decode(Blobs.whole([payload]), [multiples.shape], [singles])
        assert coding.encode([values])[0] == payload
    finally:
        if kernel is not None:
            kernel.force_path(None)
    np.testing.assert_array_equal(whole, multiples)
    np.testing.assert_array_equal(singles, multiples.astype(np.float32) * coding.steps[:, None, None])


def test_the_golden_payload_by_the_reference() -> None:
    golden = load_file(DATA)
    parts = [
        golden[f"part.{name}"]
        for name in StepCoding.of(
            {k.removeprefix("part."): a for k, a in golden.items() if k.startswith("part.")}, DATA.name
        ).parts()
        if name != "channel_axis"
    ]
    multiples = golden["multiples"]
    out, payload = np.zeros(multiples.size, np.int32), golden["payload"].tobytes()
    zero, shape = np.zeros(1, np.int64), np.array([[1, *multiples.shape[1:], multiples[0].size]])
    result = stand_in.tensor_decode(
        stand_in.tensor_new(*parts),
        [payload],
        zero.astype(np.int32),
        zero,
        np.array([len(payload)]),
        shape,
        np.array([3], np.uint8),
        [out],
    )
    assert result == (0, -1)
    np.testing.assert_array_equal(out.reshape(multiples.shape), multiples)
