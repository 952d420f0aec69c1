"""The coding `codes`: integers below a vocabulary, such as tokens of residual quantisers (docs/format.md section 11.7).

Codes have no order of their own. So each codebook's codes are ranked, the most frequent first, and ranks are coded.
Near ranks are about as frequent, so that few tokens and some extra bits serve large vocabularies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, ArtifactError
from latentstore.codecs.tensors.coding import TensorCoding
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.codecs.tensors.frame import Heads
from latentstore.codecs.tensors.tokens.intervals import fit_intervals
from latentstore.codecs.tensors.tokens.model import TokenModel, channels_of, flat_bytes
from latentstore.codecs.tensors.tokens.sampling import by_channel, some_of
from latentstore.codecs.tensors.tokens.tables import MOST_CLASSED, TOTAL, fit_tables
from latentstore.codecs.tensors.values import Array, bits_of

__all__ = ["CodesCoding", "require_codes"]

MOST_PLACES = 1 << 22
"""Codebooks of more places together are one, where the declaration does not ask for each. Those of more than
`MOST_CLASSED` channels are one, too: their frequencies would be the same."""

PARTS = 8


class CodesCoding(TensorCoding):
    """Ranks in codebooks by tables that fit the sample. Every code below the vocabulary can be coded."""

    def __init__(self, model: TokenModel, tensor: Tensor) -> None:
        self.model = model
        self.axis = tensor.channel_axis
        self.vocabulary = tensor.vocabulary

    @classmethod
    def fit(cls, samples: Sequence[Array], tensor: Tensor) -> CodesCoding:
        arrays = some_of(samples, tensor.channel_axis)
        for array in arrays:
            require_codes(array, tensor)
        width, none = tensor.values.itemsize, np.zeros(0, np.int64)
        if isinstance(tensor.vocabulary, tuple):
            sizes = tensor.vocabulary
            channels = by_channel(arrays, tensor.channel_axis, len(sizes)) or [none] * len(sizes)
            return cls(_fitted(width, [(none, 0), *zip(channels, sizes, strict=True)])[0], tensor)
        size = int(tensor.vocabulary or 1)
        channels = by_channel(arrays, tensor.channel_axis, min(MOST_CLASSED, MOST_PLACES // size)) or [none]
        together = (np.concatenate(channels), size)
        model, bits = _fitted(width, [together])
        if len(channels) > 1:
            apart, fewer = _fitted(width, [together, *[(channel, size) for channel in channels]])
            if fewer < bits:
                model = apart
        return cls(model, tensor)

    def parts(self) -> dict[str, Array]:
        return self.model.parts()

    @classmethod
    def of(cls, parts: Mapping[str, Array], tensor: Tensor, where: str) -> CodesCoding:
        model = TokenModel.of(parts, tensor.values.itemsize, where)
        declared = tensor.vocabulary
        expected = [0, *declared] if isinstance(declared, tuple) else [declared] * len(model.sizes)
        if not len(model.sizes) or model.sizes.tolist() != expected:
            raise ArtifactError(f"{where} holds codebooks that are not those of its vocabulary; fetch it again.")
        return cls(model, tensor)

    def encode(self, arrays: Sequence[Array], heads: Heads) -> list[bytes]:
        for i, array in enumerate(arrays):
            _require_books(array, self.vocabulary, self.axis, i)
        found = []
        shapes = [array.shape for array in arrays]
        for i, coded in enumerate(self.model.encode(flat_bytes(arrays), shapes, self.axis, b"", heads)):
            if isinstance(coded, int):
                raise _refused(arrays[i], coded, self.vocabulary, i)
            found.append(coded)
        return found

    def decode(self, payloads: Blobs, shapes: Sequence[tuple[int, ...]], outputs: Sequence[Array]) -> None:
        self.model.decode(payloads, self.model.inners(shapes, self.axis), outputs)


def _require_books(array: Array, vocabulary: int | tuple[int, ...] | None, axis: int, index: int | None = None) -> None:
    if isinstance(vocabulary, tuple) and array.size and channels_of(array.shape, axis)[0] != len(vocabulary):
        raise ArgumentError(
            f"Its shape is {array.shape}; {len(vocabulary)} codebooks are declared along axis {axis}.", index
        )


def require_codes(array: Array, tensor: Tensor) -> None:
    """ArgumentError unless all codes are below their vocabulary."""
    _require_books(array, tensor.vocabulary, tensor.channel_axis)
    declared = tensor.vocabulary
    smallest = min(declared) if isinstance(declared, tuple) else declared or 1
    if not array.size or int(bits_of(array).max()) < smallest:  # below 0 is far above, as bits
        return
    sizes = np.array(declared)
    if sizes.ndim:
        sizes = sizes.reshape([-1] + [1] * (array.ndim - 1 - tensor.channel_axis % array.ndim))
    bad = (array < 0) | (array >= sizes)
    if bad.any():
        raise _refused(array, int(bad.argmax()), tensor.vocabulary)


def _refused(
    array: Array, position: int, vocabulary: int | tuple[int, ...] | None, index: int | None = None
) -> ArgumentError:
    where = tuple(map(int, np.unravel_index(position, array.shape)))
    said = max(vocabulary) if isinstance(vocabulary, tuple) else vocabulary
    codes = "its codebook" if isinstance(vocabulary, tuple) else f"0 to {int(said or 1) - 1}"
    return ArgumentError(f"The code {array[where]} at {where} is not in {codes}: declare the whole vocabulary.", index)


def _fitted(width: int, books: Sequence[tuple[Array, int]]) -> tuple[TokenModel, float]:
    """A model of codebooks, and the bits that it would take for another sample like this one.

    books: what occurred of each codebook, and its size. The first one is of arrays without channels, the others are of
        the channels; where there are others, the first has no part in the tables.
    """
    places = max(2, *(size for _, size in books))  # there are two intervals at least
    order, weights = map(np.stack, zip(*(_ranked(codes, size, places) for codes, size in books), strict=True))
    used = weights[1:] if len(books) > 1 else weights
    base, extra = fit_intervals(np.arange(places, dtype=np.uint64), used.sum(0), places - 1)
    held = np.add.reduceat(used, base, axis=1)
    freq, table = fit_tables(held)
    if len(books) > 1 and not len(table):
        table = np.zeros(len(books) - 1, np.uint8)
    sizes = np.array([size for _, size in books], np.int32)
    spent = np.log2(TOTAL) - np.log2(freq[table if len(table) else [0]]) + extra
    model = TokenModel(width, 0, places - 1, base, extra, freq, table, sizes, order)
    return model, float((held * spent).sum())


def _ranked(codes: Array, size: int, places: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """The codes by rank, int32 (places,), the most frequent first, and how often each rank is to be expected.

    A sample flatters the codes that it has often. So the ranks of a part of it are those by all other parts.
    """
    counts = np.bincount(codes, minlength=size)
    weights = np.zeros(places)
    for part in range(PARTS):
        held = np.bincount(codes[part::PARTS], minlength=size)
        weights[:size] += held[np.argsort(held - counts, kind="stable")]
    order = np.argsort(-counts, kind="stable").astype(np.int32)
    return np.pad(order, (0, places - size)), weights
