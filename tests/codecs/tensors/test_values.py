"""Arrays and torch tensors to the arrays that are coded."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.tensors.declaration import DTYPES, Tensor
from latentstore.codecs.tensors.values import as_array, bits_of


@pytest.mark.parametrize("name", DTYPES)
def test_arrays_are_not_copied(name: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(DTYPES[name])
    assert as_array(array, Tensor(name), "x") is array


def test_layouts() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tensor = Tensor("float32")
    memory = np.zeros(97, np.uint8)
    odd = memory[1:].view(np.float32).reshape(2, 3, 4)
    odd[...] = array
    swapped = array.astype(array.dtype.newbyteorder())
    for other in (np.asfortranarray(array), array[:, ::-1].copy()[:, ::-1], swapped, odd):
        made = as_array(other, tensor, "x")
        assert np.array_equal(made, array) and made.flags.c_contiguous and made.flags.aligned and made.dtype.isnative
    assert as_array(np.float32(3), tensor, "x").shape == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros(3, np.float64), "float64"), (np.zeros(3, np.uint16), "uint16"), ([1.0], "list"), (3.0, "float"),
        (None, "NoneType"), (np.zeros((1,) * 9, np.float16), "9 dimensions"),
        (np.zeros(3, ml_dtypes.bfloat16), "bfloat16"),
        (np.broadcast_to(np.float16(0), (1 << 14, 1 << 14)), "fewer than"),
        (np.zeros((0, 1 << 28), np.float16), "fewer than"),
    ],
)  # fmt: skip
def test_what_does_not_fit(value: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match="the latent") as caught:
        as_array(value, Tensor("float16"), "the latent of a.jpg")
    assert said in str(caught.value)


@pytest.mark.parametrize("name", DTYPES)
def test_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    value = torch.arange(24).reshape(2, 3, 4).to(getattr(torch, name)).permute(2, 0, 1)
    made = as_array(value, Tensor(name), "x")
    assert made.shape == (4, 2, 3) and made.dtype == DTYPES[name] and made.flags.c_contiguous
    assert np.array_equal(made.astype(np.int64), value.to(torch.int64).numpy())


def test_bfloat16_of_torch_keeps_every_bit() -> None:
    torch = pytest.importorskip("torch")
    bits = np.arange(1 << 16, dtype=np.uint16)
    value = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
    assert np.array_equal(bits_of(as_array(value, Tensor("bfloat16"), "x")), bits)
    with_gradient = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    assert as_array(with_gradient, Tensor("bfloat16"), "x").tolist() == [1, 1, 1]


def test_torch_tensors_that_make_no_array() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ArgumentError, match="makes no array"):
        as_array(torch.eye(3).to_sparse(), Tensor("float32"), "x")
    with pytest.raises(ArgumentError, match="float64"):
        as_array(torch.ones(3, dtype=torch.float64), Tensor("float32"), "x")
