"""`TensorCoding`: what every coding of tensors does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.codecs.tensors.frame import Heads
from latentstore.codecs.tensors.values import Array

__all__ = ["TensorCoding"]


class TensorCoding(ABC):
    """A coding with its fitted tables. Several threads may use it at once.

    Arrays are C-contiguous, and of the declared dtype unless the coding says otherwise.
    """

    @classmethod
    @abstractmethod
    def fit(cls, samples: Sequence[Array], tensor: Tensor) -> Self:
        """The coding whose tables fit arrays like these. There may be none, and they may have any shapes."""

    @abstractmethod
    def parts(self) -> dict[str, Array]:
        """The tables as an artifact holds them; `of` reads them."""

    @classmethod
    @abstractmethod
    def of(cls, parts: Mapping[str, Array], tensor: Tensor, where: str) -> Self:
        """The coding that has these tables. where: whose they are. ArtifactError if they cannot be."""

    def require(self, array: Array, magnitude: int) -> None:  # noqa: B027  most codings hold every array
        """ArgumentError if the coding cannot hold an array, which is found much faster than by `encode`.

        magnitude: of the array, see `codecs.tensors.values.magnitude`, where it holds floats.
        """

    @abstractmethod
    def encode(self, arrays: Sequence[Array], heads: Heads) -> list[bytes]:
        """The blobs of arrays, whose shapes may differ.

        ArgumentError if the coding cannot hold one, whose `index` is its position.
        """

    @abstractmethod
    def decode(self, payloads: Blobs, shapes: Sequence[tuple[int, ...]], outputs: Sequence[Array]) -> None:
        """Decodes payload i into outputs[i], which has the shape shapes[i] and is C-contiguous.

        CorruptError or TruncatedError, whose `index` is the position of the bad one.
        """
