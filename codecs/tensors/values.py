"""From what users hold, arrays of NumPy or tensors of torch, to the arrays that are coded."""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.tensors.declaration import DTYPES, MOST_RANK, Tensor

__all__ = ["MOST_VALUES", "Array", "as_array", "bits_of", "finite", "from_torch", "is_finite", "magnitude"]

Array = npt.NDArray[Any]

MOST_VALUES = 1 << 28
"""Every tensor has fewer values, and fewer entries along each axis."""


def as_array(value: Any, tensor: Tensor, where: str) -> Array:
    """The array of a value, C-contiguous and in native byte order, without a copy if it is one already.

    value: an array or a number of NumPy, of any rank 0 to 8, whose dtype is exactly the declared one; or a tensor of
        torch, also one on a GPU. bfloat16 becomes an array of ml_dtypes.bfloat16 of the same bits.
    where: which value it is, for messages, such as "latent of cat.jpg". ArgumentError says what does not fit.
    """
    if type(value) is np.ndarray and value.dtype == tensor.values and 0 < value.size < MOST_VALUES:
        flags = value.flags  # most are what they should be, and there may be very many
        if flags.c_contiguous and flags.aligned and value.ndim <= MOST_RANK:
            return value
    array = from_torch(value, where)
    if isinstance(array, np.generic):
        array = np.asarray(array)
    if not isinstance(array, np.ndarray):
        raise ArgumentError(
            f"{where} is {type(value).__name__}; a NumPy array or a torch tensor of {tensor.dtype} is expected."
        )
    if isinstance(array, np.ma.MaskedArray):
        raise ArgumentError(f"{where} is a masked array, and a mask is not stored: fill it, or store it as a field.")
    if array.dtype.newbyteorder("=") != tensor.values:
        other = f", or declare {array.dtype.name}" if array.dtype.name in DTYPES else ""
        raise ArgumentError(f"{where} is {array.dtype.name}; {tensor.dtype} is declared: convert it{other}.")
    if array.ndim > MOST_RANK:
        raise ArgumentError(f"{where} has {array.ndim} dimensions; a tensor has at most {MOST_RANK}.")
    if max(array.size, *array.shape, 0) >= MOST_VALUES:
        raise ArgumentError(f"{where} has the shape {array.shape}; a tensor has fewer than {MOST_VALUES} values.")
    array = np.asarray(array, tensor.values, order="C")
    return array if array.flags.aligned else array.copy()


def from_torch(value: Any, where: str) -> Any:
    """The array of a tensor of torch, also of one on a GPU; any other value as it is. where: see `as_array`."""
    return _torch_array(value, where) if _is_torch(value) else value


def bits_of(array: Array) -> Array:
    """The bits of values as unsigned integers of their size, in the same memory. array: C-contiguous."""
    return array.view(f"u{array.dtype.itemsize}")


_EXPONENTS = {"float32": 0x7F800000, "float16": 0x7C00, "bfloat16": 0x7F80}
"""The bits that are all 1 in infinities and NaN."""
_UNSIGNED = {2: 0x7FFF, 4: 0x7FFFFFFF}
"""All bits but the sign, by bytes of a value."""


def finite(array: Array, dtype: str) -> npt.NDArray[np.bool_]:
    """Which values are finite numbers. array: C-contiguous, floats of the dtype or their bits."""
    return bits_of(array) & _EXPONENTS[dtype] != _EXPONENTS[dtype]


def magnitude(array: Array) -> int:
    """The bits of the value that is farthest from 0, without its sign; those of NaN are above all others.

    array: floats, or their bits. Bits are compared because floats of 16 bits are slow in NumPy.
    """
    bits = bits_of(array)
    return int((bits & _UNSIGNED[bits.itemsize]).max()) if array.size else 0


def is_finite(bits: int, dtype: str) -> bool:
    """Whether a `magnitude` is that of finite numbers."""
    return bits < _EXPONENTS[dtype]


def _is_torch(value: Any) -> bool:
    """Whether this is a tensor of torch; whoever has one has imported torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _torch_array(value: Any, where: str) -> Array:
    torch = sys.modules["torch"]
    dense = value.detach()
    try:
        dense = dense.cpu()
        if dense.dtype == torch.bfloat16:  # torch makes no array of NumPy of it
            return dense.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return dense.resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(f"{where} is a torch tensor that makes no array ({error}).") from error
