"""Latents to group blobs and back: the entropy coder of images, and what that of audio shares with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentstore.codecs.artifact.file import Artifact
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import (
    ArtifactError,
    CorruptError,
    LatentstoreError,
    TruncatedError,
    UnsupportedVersionError,
)
from latentstore.codecs.modality import IMAGE, Modality
from latentstore.codecs.native import backend

__all__ = ["TABLES", "EntropyCoder"]

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]

# Why the backend refuses a blob (coder/coder.h); anything else: its parts do not agree.
_TRUNCATED, _BAD_VERSION, _WRONG_SHAPE, _BAD_CRC = -2, -5, -7, -8
PLENTY, LEAN = 1 << 22, 256
"""Bytes of latents, and how many of them for each byte of blobs, from which on headers are read before memory is taken.
Real latents are some ten times as large as their blobs."""
TABLES = ("own", "bias", "cross", "predicted", "signed_own", "signed_cross", "table", "freq", "empty")


class EntropyCoder:
    """Codes the groups of an artifact's latents.

    A model codes one group of channels in one band of steps; its number is band * groups + group.
    modality: of the latents. tables: the artifact's tensors ``entropy.NAME`` that the coder is made of.
    """

    modality: ClassVar[Modality] = IMAGE
    tables: ClassVar[tuple[str, ...]] = TABLES

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.sha256 = bytes.fromhex(artifact.sha256)
        self.group_channels = int(artifact.facts["group_channels"])
        self.groups = int(artifact.facts["channels"]) // self.group_channels
        self.bands = len(artifact.facts["model_steps"])
        tables = [np.ascontiguousarray(artifact.tensors[f"entropy.{name}"]) for name in self.tables]
        try:
            self._coder = self._make(int(artifact.facts["precision"]), tables)
        except ValueError as error:
            raise ArtifactError(f"Artifact {artifact.name} cannot be used: {error}; fetch it again.") from error

    def _make(self, precision: int, tables: list[npt.NDArray[Any]]) -> Any:
        """The backend's coder; ValueError if the tables are not right."""
        return backend().coder_new(self.sha256, precision, *tables)

    def encode(self, latent: Int8s, group: int | None = None, band: int | None = None, quality: int = 0) -> bytes:
        """The blob of one group, int8 (group_channels, h, w).

        group, band: where they are known, they give the model. Else the model that codes the group in fewest bits
            is searched for.
        quality: is written into the header; 0 if it is not known.
        """
        latent = np.ascontiguousarray(latent)
        models = [
            b * self.groups + g
            for b in (range(self.bands) if band is None else (band,))
            for g in (range(self.groups) if group is None else (group,))
        ]
        best = models[0]
        if len(models) > 1 and latent.any():
            best = min(models, key=lambda model: backend().coder_cost(self._coder, model, latent))
        return bytes(backend().coder_encode(self._coder, best, quality, latent))

    def optimise(
        self, coefficients: Floats, group: int, band: int, weight: Floats, lambda_: float, delta: Floats
    ) -> Int8s:
        """Rate-distortion-optimised integers of one group's coefficients.

        coefficients: float32 (group_channels, h, w), in steps; weight: float32 (group_channels,), squared
        error of a unit of each channel; lambda_: squared error accepted to save one bit; delta: float32
        (group_channels, 2), see docs/format.md section 8.
        """
        out = np.empty(coefficients.shape, np.int8)
        model = band * self.groups + group
        backend().coder_optimise(self._coder, model, coefficients, weight, float(lambda_), delta, out)
        return out

    def decode(self, blobs: Blobs, out: Int8s, name: Callable[[int], str] = "Group blob {}".format) -> None:
        """Decodes blob i into out[i], without Python's global lock.

        out: int8 (n, group_channels, h, w), C-contiguous. An error's `index` is that of the bad blob, and its message
        begins with what `name` calls it.
        """
        status, index = backend().coder_decode(self._coder, *blobs.arrays(), out)
        if status:
            raise self._error(status, index, name(index), blobs[index], out.shape[2:])

    def claims(self, blob: memoryview) -> tuple[int, int]:
        """Height and width of the planes that a blob's header claims; the errors of `group_info`."""
        info = group_info(blob, self.sha256, self.modality)
        return info.height, info.width

    def place(
        self, blobs: Blobs, height: int, width: int, name: Callable[[int], str] = "Group blob {}".format
    ) -> Int8s:
        """Memory that `decode` puts blobs into, int8 (n, group_channels, height, width).

        Much memory for few bytes is taken only if each blob's header claims that shape; else CorruptError, with the
        blob's `index`.
        """
        if self._is_much(blobs, len(blobs) * height * width):
            self.require_claims(blobs, [(height, width)] * len(blobs), name)
        return np.empty((len(blobs), self.group_channels, height, width), np.int8)

    def _is_much(self, blobs: Blobs, positions: int) -> bool:
        """Whether latents of so many positions are much memory for these blobs."""
        size = self.group_channels * positions
        return size > PLENTY and size > LEAN * int(blobs.length.sum())

    def require_claims(self, blobs: Blobs, shapes: Sequence[tuple[int, int]], name: Callable[[int], str]) -> None:
        """CorruptError, with the index of a blob, unless the header of each claims the planes of `shapes`."""
        for i, shape in enumerate(shapes):
            try:
                claimed = self.claims(blobs[i])
            except LatentstoreError as error:
                raise type(error)(f"{name(i)} cannot be read: {error}", i) from error
            if claimed != shape:
                raise self._error(_WRONG_SHAPE, i, name(i), blobs[i], shape)

    def _error(self, status: int, index: int, name: str, blob: memoryview, shape: tuple[int, ...]) -> LatentstoreError:
        where = f"{name} ({len(blob)} bytes)"
        mine = f"{self.artifact.name}, SHA-256 {self.artifact.sha256[:12]}..."
        if status == _TRUNCATED:
            return TruncatedError(f"{where} is cut short.", index)
        if status == _BAD_VERSION:
            return UnsupportedVersionError(
                f"{where} is of format version {blob[0] >> 4}; this release reads version 1: upgrade "
                "latentstore, or fetch the blob again if it is damaged.",
                index,
            )
        if status == _BAD_CRC:
            return CorruptError(
                f"{where} is damaged, or of an artifact other than {mine}: its CRC does not match.", index
            )
        if status == _WRONG_SHAPE:
            height, width = self.claims(blob)
            return CorruptError(
                f"{where} holds planes of {height} x {width} where {shape[0]} x {shape[1]} are expected.",
                index,
            )
        return CorruptError(
            f"{where} is not a valid group blob: its checksum holds, but its parts do not agree; encode it anew.", index
        )
