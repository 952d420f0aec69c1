"""`TensorCoder`: a declaration and its fitted tables at work."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from latentstore.codecs.artifact.container import pack, unpack
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError, LatentstoreError
from latentstore.codecs.tensors.codes import CodesCoding
from latentstore.codecs.tensors.coding import TensorCoding
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.codecs.tensors.frame import Frames, Heads, split_frames
from latentstore.codecs.tensors.lossless import LosslessCoding
from latentstore.codecs.tensors.stepped import SteppedCoding
from latentstore.codecs.tensors.values import Array, as_array, bits_of

__all__ = ["TensorCoder"]

KEY = "latentstore-tensor"
VERSION = 1
CODINGS: dict[str, type[TensorCoding]] = {"lossless": LosslessCoding, "step": SteppedCoding, "codes": CodesCoding}


class TensorCoder:
    """Codes the tensors of one field: a declaration, and tables that were fitted to a sample of them.

    tensor: the declaration. sha256 (hexadecimal): of the coder's file, which blobs are bound to.
    Several threads may use a coder at once. `encode` and the decoders are calls for many tensors.

        coder = TensorCoder.fit(Tensor("float16"), samples)
        blobs = coder.encode(arrays)
        arrays = coder.decode(Blobs.whole(blobs))
    """

    def __init__(self, tensor: Tensor, coding: TensorCoding) -> None:
        self.tensor = tensor
        self._coding = coding
        self._content = pack(KEY, VERSION, {"tensor": tensor.to_json()}, coding.parts())
        self._digest = sha256(self._content).digest()

    def __repr__(self) -> str:
        return f"<TensorCoder {self.tensor.dtype} {self.tensor.coding} {self.sha256[:12]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorCoder.of_bytes, (self._content, "the coder")

    @property
    def sha256(self) -> str:
        """The SHA-256 of the coder's file in hexadecimal."""
        return self._digest.hex()

    @classmethod
    def fit(cls, tensor: Tensor, samples: Sequence[Any]) -> TensorCoder:
        """A coder whose tables are fitted to samples: arrays or torch tensors as `encode` takes them.

        Other tensors are coded too, in more bits. There may be no samples at all.
        """
        arrays = [as_array(value, tensor, f"Sample {i}") for i, value in enumerate(samples)]
        if tensor.coding == "step":
            arrays = [array.astype(np.float32, copy=False) for array in arrays]
        return cls(tensor, _coding(tensor, None).fit(arrays, tensor))

    def to_bytes(self) -> bytes:
        """The coder's file, of the safetensors format; the same tables give the same bytes."""
        return self._content

    @classmethod
    def of_bytes(cls, data: bytes, where: str) -> TensorCoder:
        """The coder of a file that `to_bytes` made. where: the name of the file, for messages.

        ArtifactError says what is wrong; UnsupportedVersionError if a newer release wrote it.
        """
        facts, parts = unpack(data, where, KEY, VERSION, "tensor coder")
        try:
            tensor = Tensor.of_json(facts.get("tensor"), where)
        except CorruptError as error:
            raise ArtifactError(f"{error} Fetch {where} again.") from error
        coder = cls(tensor, _coding(tensor, where).of(parts, tensor, where))
        # what the file has beside the tables is a part of its identity, too
        coder._content, coder._digest = data, sha256(data).digest()
        return coder

    def require(self, array: Array, magnitude: int) -> None:
        """ArgumentError if an array, as `as_array` gives it, cannot be coded. magnitude: of floats, see `values`."""
        self._coding.require(self._bits(array), magnitude)

    def encode(self, arrays: Sequence[Any]) -> list[bytes]:
        """The blobs of arrays, or of torch tensors, of the declared dtype; shapes may differ.

        ArgumentError, whose `index` is the position of the array, if one is of another dtype or cannot be coded.
        """
        given: list[Array] = []
        try:
            for value in arrays:
                given.append(self._bits(as_array(value, self.tensor, "It")))
            return self._coding.encode(given, Heads(self.tensor.coding, [a.shape for a in given], self._digest))
        except LatentstoreError as error:
            i = len(given) if error.index is None else error.index
            raise type(error)(f"Tensor {i}: {error}", i) from error

    def shapes(self, blobs: Blobs) -> list[tuple[int, ...]]:
        """The shapes of tensors, from the headers of their blobs alone. Checksums are not looked at.

        CorruptError, TruncatedError or UnsupportedVersionError, whose `index` is the position of the bad blob.
        """
        return split_frames(blobs, self.tensor.coding, self._digest, checked=False).shapes

    def decode(self, blobs: Blobs) -> list[Array]:
        """The arrays of blobs. Raises as `decode_into`."""
        frames = split_frames(blobs, self.tensor.coding, self._digest)
        outputs = [np.empty(shape, self.tensor.values) for shape in frames.shapes]
        self._decode(frames, outputs)
        return outputs

    def decode_into(self, blobs: Blobs, outputs: Sequence[Array]) -> None:
        """Decodes blob i into outputs[i], an array of the declared dtype and of the tensor's shape.

        Outputs are C-contiguous, aligned and writable.

        CorruptError, TruncatedError or UnsupportedVersionError, whose `index` is the position of the bad blob.
        ArgumentError with such an index if an output does not fit.
        """
        frames = split_frames(blobs, self.tensor.coding, self._digest)
        if len(outputs) != len(blobs):
            raise ArgumentError(f"{len(outputs)} outputs are given for {len(blobs)} blobs.")
        for i, (shape, output) in enumerate(zip(frames.shapes, outputs, strict=True)):
            if output.dtype != self.tensor.values or output.shape != shape or not output.flags.carray:
                raise ArgumentError(
                    f"Output {i} is {output.dtype} {output.shape}; {self.tensor.dtype} {shape} to write to is due.",
                    i,
                )
        self._decode(frames, outputs)

    def decode_stacked(self, blobs: Blobs) -> Array:
        """The arrays of n blobs, all of one shape, as one array (n, *shape). Raises as `decode_into`.

        ArgumentError if the shapes differ, whose `index` is the position of the first that does, or if n is 0.
        """
        frames = split_frames(blobs, self.tensor.coding, self._digest)
        if not frames.shapes:
            raise ArgumentError("No blobs are given, so that the shape of the array is not known.")
        first = frames.shapes[0]
        for i, shape in enumerate(frames.shapes):
            if shape != first:
                raise ArgumentError(
                    f"Tensor blob {i} has the shape {shape}, and blob 0 has {first}: decode them as a list.", i
                )
        out = np.empty((len(blobs), *first), self.tensor.values)
        self._decode(frames, [out[i : i + 1].reshape(first) for i in range(len(out))])
        return out

    def _decode(self, frames: Frames, outputs: Sequence[Array]) -> None:
        self._coding.decode(frames.payloads, frames.shapes, [self._bits(output) for output in outputs])

    def _bits(self, array: Array) -> Array:
        """The array as its coding takes it: by steps, bfloat16 is taken as its bits."""
        return bits_of(array) if self.tensor.coding == "step" and self.tensor.dtype == "bfloat16" else array


def _coding(tensor: Tensor, where: str | None) -> type[TensorCoding]:
    """The class of a coding. where: the file that names it, or None where a user did."""
    found = CODINGS.get(tensor.coding)
    if found is None:
        raise ArtifactError(f"{where or 'This release'} asks for the coding {tensor.coding!r}, which is not built in.")
    return found
