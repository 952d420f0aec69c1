"""`TokenModel`: intervals and tables at work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArtifactError, CorruptError, TruncatedError
from latentstore.codecs.native import backend
from latentstore.codecs.tensors.frame import Heads
from latentstore.codecs.tensors.values import Array

__all__ = ["TokenModel", "channels_of", "flat_bytes"]

TRUNCATED = -2
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TokenModel:
    """The tables by which values of `width` bytes are coded (docs/format.md section 11.3).

    width, shift, last: the bytes of a value, the low bits that are 0 in all, and the largest value after the shift.
    base int64 (t,), extra uint8 (t,): the intervals of the tokens. freq int32 (tables, t): the frequencies.
    table uint8 (c,): the table of each channel; (0,) where table 0 is that of all values.
    sizes int32 (1 + c,), codes int32 (1 + c, last + 1): the codebooks, where values are ranks in them; else empty.
    """

    width: int
    shift: int
    last: int
    base: npt.NDArray[np.int64]
    extra: npt.NDArray[np.uint8]
    freq: npt.NDArray[np.int32]
    table: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.int32]
    codes: npt.NDArray[np.int32]

    def parts(self) -> dict[str, Array]:
        """The tables as an artifact holds them."""
        range_ = np.array([self.shift, self.last], np.int64)
        tables = {name: getattr(self, name) for name in TABLES}
        return {"range": range_, **tables, "codes": self.codes.astype(np.uint16)}

    @classmethod
    def of(cls, parts: Mapping[str, Array], width: int, where: str) -> Self:
        """The model that has these tables, or ArtifactError."""
        found = {name: (array.dtype, array.ndim) for name, array in parts.items()}
        expected = TABLES | {"codes": (np.uint16, 2), "range": (np.int64, 1)}
        if found != expected or parts["range"].shape != (2,):
            raise ArtifactError(f"{where} does not hold the tables of tokens that are expected; fetch it again.")
        shift, last = parts["range"].tolist()
        model = cls(
            width, shift, last, **{k: np.ascontiguousarray(parts[k], dtype) for k, (dtype, _) in TABLES.items()}
        )
        try:
            model._made  # noqa: B018  the kernel checks every number
        except (ValueError, OverflowError) as error:
            raise ArtifactError(f"{where} holds tables of tokens that cannot be ({error}); fetch it again.") from error
        return model

    @cached_property
    def _made(self) -> Any:
        return backend().tokens_new(self.width, self.shift, self.last, *(getattr(self, name) for name in TABLES))

    def encode(
        self, flat: list[npt.NDArray[np.uint8]], shapes: Sequence[Shape], axis: int, before: bytes, heads: Heads
    ) -> list[bytes | int]:
        """For each array the blob of `before` and its payload, or the position of a value that the model cannot hold.

        flat: the bytes of the arrays (`flat_bytes`). axis: of their channels.
        """
        inner = self.inners(shapes, axis)
        found: list[bytes | int] = backend().tokens_encode(self._made, flat, inner, before, heads.heads, heads.crcs)
        return found

    def decode(self, payloads: Blobs, inner: npt.NDArray[np.int64], outputs: Sequence[Array]) -> None:
        """Decodes payload i into outputs[i]. CorruptError or TruncatedError, whose `index` is that of the bad one."""
        flat = flat_bytes(outputs)
        status, index = backend().tokens_decode(self._made, *payloads.arrays(), inner, flat)
        if status:
            kind = TruncatedError if status == TRUNCATED else CorruptError
            raise kind(f"Tensor blob {index} holds no tensor of its shape: fetch it again.", index)

    def inner(self, shape: Shape, axis: int) -> int:
        """How many values of a channel follow each other in an array; 0 where its channels are not the model's."""
        channels, inner = channels_of(shape, axis)
        return inner if channels == len(self.table) else 0

    def inners(self, shapes: Sequence[Shape], axis: int) -> npt.NDArray[np.int64]:
        """`inner` of many shapes, int64 (n,)."""
        known = {shape: self.inner(shape, axis) for shape in set(shapes)}
        return np.array([known[shape] for shape in shapes], np.int64)


TABLES: dict[str, tuple[Any, int]] = {
    "base": (np.int64, 1), "extra": (np.uint8, 1), "freq": (np.int32, 2), "table": (np.uint8, 1),
    "sizes": (np.int32, 1), "codes": (np.int32, 2),
}  # fmt: skip


def flat_bytes(arrays: Sequence[Array]) -> list[npt.NDArray[np.uint8]]:
    """The bytes of C-contiguous arrays, in the same memory."""
    return [array.reshape(-1).view(np.uint8) for array in arrays]


def channels_of(shape: Shape, axis: int) -> tuple[int, int]:
    """How many channels an array has, and how many values of one follow each other; (0, 0) where it has none."""
    rank = len(shape)
    if not -rank <= axis < rank or 0 in shape:
        return 0, 0
    return shape[axis], math.prod(shape[axis % rank + 1 :])
