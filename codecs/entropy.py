"""Latents to group blobs and back: the entropy coder of one artifact.

The kernel does it; without one `reference` does, with the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .artifact import SOUND, Artifact
from .bitstream import SEGMENT, GroupInfo, group_info, is_segmented, join_segments, split_segments
from .errors import ArtifactError, CorruptError, LatentstoreError, TruncatedError, UnsupportedVersionError
from .native import kernel

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]

# What the backends return for a blob that they refuse (coder.h); anything else: it contradicts itself.
_TRUNCATED, _BAD_VERSION, _WRONG_SHAPE, _BAD_CRC = -2, -5, -7, -8
TABLES = ("own", "bias", "cross", "predicted", "signed_own", "signed_cross", "table", "freq")
ADAPTIVE_TABLES = ("own", "bias", "cross", "taps", "source", "rate", "gain", "table", "freq")


def backend() -> Any:
    """The module that codes: the kernel, or the reference where there is none."""
    if kernel is not None:
        return kernel
    from . import reference

    return reference


class EntropyCoder:
    """Codes the groups of an artifact's latents.

    A model codes one group of channels in one band of steps; model = band * groups + group.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.sha256 = bytes.fromhex(artifact.sha256)
        self.group_channels = int(artifact.facts["group_channels"])
        self.groups = int(artifact.facts["channels"]) // self.group_channels
        self.bands = len(artifact.facts["model_steps"])
        self.sound = artifact.facts["mode"] == SOUND
        names = ADAPTIVE_TABLES if self.sound else TABLES
        tables = [np.ascontiguousarray(artifact.tensors[f"entropy.{name}"]) for name in names]
        make = backend().adaptive_new if self.sound else backend().coder_new
        try:
            self._coder = make(self.sha256, int(artifact.facts["precision"]), *tables)
        except ValueError as error:
            raise ArtifactError(
                f"Artifact {artifact.name} cannot be used: {error}; fetch it again."
            ) from error

    def encode(
        self, latent: Int8s, group: int | None = None, band: int | None = None, quality: int = 0
    ) -> bytes:
        """The blob of one group, int8 (group_channels, h, w).

        group, band: where known, the model to use; else the model that codes it in fewest bits is found.
        quality: 0 if unknown, noted in the header.
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
        self, coefficients: Floats, group: int, band: int, weight: Floats, trade: float, delta: Floats
    ) -> Int8s:
        """Rate-distortion-optimised integers of one group's coefficients.

        coefficients: float32 (group_channels, h, w), in steps; weight: float32 (group_channels,), squared
        error of a unit of each channel; trade: lambda, error a bit is worth; delta: float32 (group_channels,
        2), see docs/format.md section 8.
        """
        out = np.empty(coefficients.shape, np.int8)
        model = band * self.groups + group
        backend().coder_optimise(self._coder, model, coefficients, weight, float(trade), delta, out)
        return out

    # sound

    def encode_sound(self, latent: Int8s, band: int | None, code: int) -> list[bytes]:
        """The group blobs of a latent of sound, int8 (channels, 1, t), in segments where it is long.

        band: as in `encode`. code: the step code, 0 if unknown.
        """
        runs = [self._encode_run(part, band, code) for part in _segments(latent)]
        if len(runs) == 1:
            return runs[0]
        instants = latent.shape[2]
        return [join_segments(blobs, instants, self.sha256) for blobs in zip(*runs, strict=True)]

    def _encode_run(self, latent: Int8s, band: int | None, code: int) -> list[bytes]:
        grouped = np.ascontiguousarray(latent).reshape(self.groups, self.group_channels, 1, -1)
        if band is None:
            return [self.encode(group, quality=code) for group in grouped]
        return list(backend().coder_encode_many(self._coder, self._models(band, 1), code, grouped))

    def optimise_sound(
        self, coefficients: Floats, band: int, weight: Floats, trade: float, delta: Floats
    ) -> Int8s:
        """`optimise` for all groups of sound, float32 (channels, 1, t), at once; int8 of that shape."""
        out = np.empty(coefficients.shape, np.int8)
        n = self.group_channels
        at = 0
        for part in _segments(coefficients):
            grouped = np.ascontiguousarray(part).reshape(self.groups, n, 1, -1)
            for g in range(self.groups):
                made = np.empty((1, *grouped.shape[1:]), np.int8)
                k = slice(g * n, (g + 1) * n)
                backend().coder_optimise_many(
                    self._coder, self._models(band, 1)[g : g + 1], grouped[g : g + 1], weight[k], trade, delta[k], made
                )
                out[k, :, at : at + part.shape[2]] = made[0]
            at += part.shape[2]
        return out

    def _models(self, band: int, segments: int) -> npt.NDArray[np.int32]:
        return np.tile(np.arange(self.groups, dtype=np.int32) + band * self.groups, segments)

    def decode_instants(
        self, groups: Sequence[memoryview], instants: int, first: int, last: int
    ) -> tuple[Int8s, int, int]:
        """Of the first groups of a latent of sound, int8 (channels, 1, instants), as many segments as hold the instants
        from `first` to before `last`: int8 (channels, 1, some), the instant where they begin, and their step code."""
        begin, end = (first // SEGMENT * SEGMENT, min(-(-last // SEGMENT) * SEGMENT, instants))
        out = np.empty((len(groups), self.group_channels, 1, end - begin), np.int8)
        code = 0
        for at in range(begin, end, SEGMENT):
            blobs = [self._segment(group, g, instants, at // SEGMENT) for g, group in enumerate(groups)]
            code = group_info(blobs[0], sound=True).quality
            part = np.empty((*out.shape[:3], min(SEGMENT, end - at)), np.int8)
            lengths = np.array([len(blob) for blob in blobs], np.int64)
            self._decode(blobs, np.arange(len(blobs), dtype=np.int32), lengths * 0, lengths, part, "Group {}".format)
            out[..., at - begin : at - begin + part.shape[3]] = part
        return out.reshape(-1, *out.shape[2:]), begin, code

    def _segment(self, group: memoryview, index: int, instants: int, segment: int) -> memoryview:
        """The blob of a segment of a group."""
        if instants <= SEGMENT:
            return group
        if not is_segmented(group):
            raise CorruptError(f"Group {index} is not cut into segments, and has {instants} instants.", index)
        found, bounds = split_segments(group, self.sha256)
        if found != instants:
            raise CorruptError(f"Group {index} has {found} instants where {instants} are expected.", index)
        if bounds[segment + 1] > len(group):
            raise TruncatedError(f"Segment {segment} of group {index} is cut short.", index)
        return group[bounds[segment] : bounds[segment + 1]]

    def decode(
        self,
        buffers: Sequence[Any],
        source: npt.NDArray[np.int32],
        start: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        out: Int8s,
        name: Callable[[int], str] = "Group blob {}".format,
    ) -> None:
        """Decodes blob i = buffers[source[i]][start[i] : start[i] + length[i]] into out[i], without the GIL.

        out: int8 (n, group_channels, h, w), C-contiguous. Errors carry the bad blob's `index` and begin with
        what `name` calls it.
        """
        if self.sound and out.shape[3] > SEGMENT:
            for i, s in enumerate(source):
                blob = memoryview(buffers[s])[start[i] : start[i] + length[i]]
                try:
                    out[i] = self.decode_instants([blob], out.shape[3], 0, out.shape[3])[0]
                except LatentstoreError as error:
                    raise type(error)(f"{name(i)}: {error}", i) from error
            return
        self._decode(buffers, source, start, length, out, name)

    def _decode(
        self,
        buffers: Sequence[Any],
        source: npt.NDArray[np.int32],
        start: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        out: Int8s,
        name: Callable[[int], str],
    ) -> None:
        status, index = backend().coder_decode(
            self._coder,
            list(buffers),
            np.ascontiguousarray(source, np.int32),
            np.ascontiguousarray(start, np.int64),
            np.ascontiguousarray(length, np.int64),
            out,
        )
        if status:
            first = int(start[index])
            blob = memoryview(buffers[int(source[index])])[first : first + int(length[index])]
            raise self._error(status, index, f"{name(index)} ({len(blob)} bytes)", blob, out.shape[2:])

    def _error(
        self, status: int, index: int, where: str, blob: memoryview, shape: tuple[int, ...]
    ) -> LatentstoreError:
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
            info: GroupInfo = group_info(blob, sound=self.sound)
            return CorruptError(
                f"{where} holds planes of {info.height} x {info.width} where {shape[0]} x {shape[1]} are "
                "expected.",
                index,
            )
        return CorruptError(f"{where} contradicts itself (status {status}).", index)


def _segments(planes: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    return [planes[..., at : at + SEGMENT] for at in range(0, planes.shape[-1], SEGMENT)]
