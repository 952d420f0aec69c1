"""`Codec`: pictures to latents to blobs, and back, by one artifact."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from . import projection
from .arguments import (
    Buffer,
    Effort,
    require_blob,
    require_effort,
    require_picture,
    require_prefix,
    require_quality,
    require_size,
)
from .artifact import Artifact, read_artifact
from .bitstream import SampleInfo, check_size, group_info, join_sample, split_sample
from .entropy import EntropyCoder
from .errors import ArgumentError, ArtifactError, CorruptError, LatentstoreError, TruncatedError
from .symmetry import SymmetryClass, check_classes, symmetric_basis, transform_latent
from .transform import REDUCTION

Uint8s = npt.NDArray[np.uint8]
Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]


class Codec:
    """One artifact at work. Made by `load_codec`; safe to use from several threads.

    name, sha256 (hex), artifact_bytes, card: which artifact. mode: "RGB" or "L".
    channels, group_channels, groups, reduction: a picture of H x W pixels has a latent of int8
    (channels, ceil(H / reduction), ceil(W / reduction)), whose channels, most important first, are coded in
    groups that decode alone.
    """

    reduction = REDUCTION

    def __init__(self, artifact: Artifact) -> None:
        facts = artifact.facts
        self.artifact = artifact
        self.name, self.sha256, self.artifact_bytes = artifact.name, artifact.sha256, artifact.content
        self.mode = str(facts["mode"])
        self.in_channels = 3 if self.mode == "RGB" else 1
        self.channels = int(facts["channels"])
        self.group_channels = int(facts["group_channels"])
        self.groups = self.channels // self.group_channels
        self.default_quality = int(facts["default_quality"])
        self.card: dict[str, Any] = dict(facts["card"])
        self.classes = artifact.tensors["classes"]
        self._delta = artifact.tensors["delta"]
        self._floor = np.array(facts["floor"], np.float32)
        self._bound = np.array(facts["bound"], np.float64)
        self._analysis, self._synthesis = self._projection()
        self._curve = np.array(facts["quality_steps"], np.float64)
        self.entropy = EntropyCoder(artifact)

    @classmethod
    def from_bytes(cls, content: bytes, where: str = "the artifact") -> Codec:
        """The codec of an artifact's bytes; ArtifactError if they are not one."""
        return cls(read_artifact(content, where))

    def __repr__(self) -> str:
        return f"<Codec {self.name} {self.sha256[:12]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Codec.from_bytes, (self.artifact_bytes,)

    def _projection(self) -> tuple[projection.AnalysisTables, projection.SynthesisTables]:
        basis = symmetric_basis(self.in_channels)
        try:
            check_classes(self.classes)
            ends = np.cumsum([basis.runs[kind][1] for kind in self.classes])
            weights = []
            for name in ("analysis", "synthesis"):
                tensor = self.artifact.tensors[name]
                if tensor.size != ends[-1]:
                    raise ArgumentError(f"{name} has {tensor.size} weights, not {ends[-1]}.")
                weights.append(np.split(tensor, ends[:-1]))
            self._check_pairs(weights)
            return (
                projection.analysis_tables(basis, self.classes, weights[0]),
                projection.synthesis_tables(basis, self.classes, weights[1]),
            )
        except ArgumentError as error:
            raise ArtifactError(f"Artifact {self.name} contradicts itself: {error}") from error

    def _check_pairs(self, weights: list[list[Floats]]) -> None:
        """A quarter turn swaps the channels of a pair: it is exact only if both are treated alike."""
        for k in np.flatnonzero(self.classes == SymmetryClass.EO):
            each: list[Any] = [*weights, self._delta, self._floor]
            for values in each:
                if not np.array_equal(values[k], values[k + 1]):
                    raise ArgumentError(f"Channels {k} and {k + 1} are a pair, but not treated alike.")

    # quality

    def step(self, quality: int | None = None) -> float:
        """The quantiser's step at a quality, in the units of pixels: 0 to 255, orthonormal coefficients."""
        q = require_quality(quality, self.default_quality)
        return float(2.0 ** np.interp(q, self._curve[:, 0], np.log2(self._curve[:, 1])))

    def scale(self, quality: int | None = None) -> Floats:
        """float32 (channels,): latents times this are coefficients in the units of pixels."""
        return np.maximum(np.float32(self.step(quality)), self._floor).astype(np.float32)

    def _band(self, quality: int) -> int:
        steps = np.log2(self.artifact.facts["model_steps"])
        return int(np.abs(steps - np.log2(self.step(quality))).argmin())

    # pictures and latents

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """The latent's shape of a picture of this size."""
        return self.channels, projection.latent_side(height), projection.latent_side(width)

    def encode(self, images: npt.ArrayLike, quality: int | None = None, effort: Effort = "default") -> Int8s:
        """Pictures uint8 (N, H, W, C) to latents int8 (N, channels, ceil(H/8), ceil(W/8)).

        effort "default": rate-distortion-optimised against the entropy coder's tables; "fast": every
        coefficient is rounded by itself, and then the latent of a flipped or turned picture is exactly
        `transform` of the latent. Raises ArgumentError on another dtype or shape; warns (OutlierWarning) if a
        value does not fit int8.
        """
        pictures, q = np.asarray(images), require_quality(quality, self.default_quality)
        if pictures.ndim != 4 or pictures.dtype != np.uint8 or pictures.shape[3] != self.in_channels:
            raise ArgumentError(
                f"The images are {pictures.dtype} {pictures.shape}; {self.name} takes uint8 "
                f"(N, height, width, {self.in_channels})."
            )
        require_effort(effort)
        height, width = pictures.shape[1:3]
        check_size(width, height)
        out = np.empty((len(pictures), *self.latent_shape(height, width)), np.int8)
        outside = 0
        for picture, latent in zip(pictures, out, strict=True):
            latent[...], limited = self._encode_one(picture, q, effort)
            outside += limited
        self._warn(outside, q)
        return out

    def decode(
        self,
        latents: npt.ArrayLike,
        channels: int | None = None,
        quality: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> Uint8s:
        """Latents int8 (N, c, h, w), or their first channels, to pictures uint8 (N, H, W, C).

        quality: the one they were encoded at. size: (H, W) of the pictures, where their sides were not
        multiples of 8.
        """
        codes = np.asarray(latents)
        if codes.ndim != 4 or codes.dtype != np.int8 or not 1 <= codes.shape[1] <= self.channels:
            raise ArgumentError(
                f"latents are {codes.dtype} {codes.shape}; int8 (N, 1 to {self.channels}, h, w) is expected."
            )
        height, width = require_size(size, (codes.shape[2], codes.shape[3]))
        kept = require_prefix(channels, codes.shape[1])
        q = require_quality(quality, self.default_quality)
        out = np.empty((len(codes), height, width, self.in_channels), np.uint8)
        for i, latent in enumerate(codes):
            out[i] = self._to_picture(latent[:kept], q, (height, width))
        return out

    def transform(self, latent: npt.ArrayLike, symmetry: str) -> Int8s:
        """The latent of the flipped or turned picture, from that of the picture.

        latent: int8 (..., c, h, w), or its first channels. symmetry: one of `symmetry.SYMMETRIES`, which are
        named as NumPy's functions are. Exact where both sides of the picture are multiples of 8; see
        `symmetry.transform_latent`.
        """
        codes = np.asarray(latent)
        if codes.ndim < 3 or codes.dtype != np.int8 or not 1 <= codes.shape[-3] <= self.channels:
            raise ArgumentError(
                f"The latent is {codes.dtype} {codes.shape}; int8 (..., 1 to {self.channels}, h, w) is "
                "expected."
            )
        return transform_latent(codes, symmetry, self.classes[: codes.shape[-3]])

    # pictures and blobs

    def compress(self, image: npt.ArrayLike, quality: int | None = None, effort: Effort = "default") -> bytes:
        """A picture uint8 (H, W, C), or (H, W) for mode L, to a sample blob."""
        picture = require_picture(image, self.mode, self.name)
        groups, outliers = self.compress_counted(picture, quality, effort)
        self._warn(outliers, quality)
        return self.join_groups(groups, picture.shape[0], picture.shape[1])

    def compress_groups(
        self, image: npt.ArrayLike, quality: int | None = None, effort: Effort = "default"
    ) -> list[bytes]:
        """The picture's group blobs, each of which decodes alone."""
        groups, outliers = self.compress_counted(image, quality, effort)
        self._warn(outliers, quality)
        return groups

    def compress_counted(
        self, image: npt.ArrayLike, quality: int | None = None, effort: Effort = "default"
    ) -> tuple[list[bytes], int]:
        """`compress_groups`, and how many coefficients did not fit int8, in place of a warning."""
        picture = require_picture(image, self.mode, self.name)
        q = require_quality(quality, self.default_quality)
        latent, outliers = self._encode_one(picture, q, require_effort(effort))
        return self.encode_latent_groups(latent, q), outliers

    def encode_latent_groups(self, latent: npt.ArrayLike, quality: int | None = None) -> list[bytes]:
        """The group blobs of a latent, int8 (channels, h, w), without loss.

        quality: the one it was encoded at; left out, the blobs do not say it and the best models are looked
        for.
        """
        codes = np.asarray(latent)
        if codes.ndim != 3 or codes.dtype != np.int8 or len(codes) != self.channels:
            raise ArgumentError(
                f"The latent is {codes.dtype} {codes.shape}; int8 ({self.channels}, h, w) is expected."
            )
        check_size(codes.shape[2] * REDUCTION, codes.shape[1] * REDUCTION)
        n = self.group_channels
        q = None if quality is None else require_quality(quality, self.default_quality)
        band = None if q is None else self._band(q)
        return [self.entropy.encode(codes[g * n : (g + 1) * n], g, band, q or 0) for g in range(self.groups)]

    def join_groups(self, groups: Sequence[bytes], height: int, width: int) -> bytes:
        """The sample blob of group blobs that `compress_groups` made of a picture of this size."""
        return join_sample(groups, width, height, self.mode, self._fingerprint)

    def decompress(self, blob: Buffer, channels: int | None = None) -> Uint8s:
        """A sample blob, or the part of it that holds its first channels, to a picture uint8 (H, W, C).

        ArgumentError if the blob does not say its quality: `encode_latent_groups` was not told it.
        """
        data = require_blob(blob)
        info = self._sample(data)
        latent = self._read([data], [info], channels)[0]
        groups = -(-len(latent) // self.group_channels)
        qualities = {group_info(data[info.starts[g] : info.ends[g]]).quality for g in range(groups)}
        if len(qualities) > 1:
            raise CorruptError(f"The blob's groups are of the qualities {sorted(qualities)}, not of one.")
        quality = qualities.pop()
        if not quality:
            raise ArgumentError(
                "The blob does not say its quality: read its latent, and decode that at the right one."
            )
        return self._to_picture(latent, quality, (info.height, info.width))

    def read_latent(self, blob: Buffer | Iterable[Buffer], channels: int | None = None) -> Any:
        """A sample blob to its latent int8 (c, h, w); a list of blobs in one call.

        channels: only the first so many, and then only the groups that hold them need be in the blob. A list
        gives int8 (N, c, h, w) where all have one size, else a list of int8 (c, h, w). CorruptError and its
        kin say which blob is bad, and carry its `index` in the list.
        """
        if not isinstance(blob, list | tuple):
            data = require_blob(blob)
            return self._read([data], [self._sample(data)], channels)[0]
        blobs = [require_blob(b, i) for i, b in enumerate(blob)]
        infos = [self._sample(b, i) for i, b in enumerate(blobs)]
        if len({info.latent_size for info in infos}) == 1:
            return self._read(blobs, infos, channels, 0)
        return [
            self._read([b], [info], channels, i)[0]
            for i, (b, info) in enumerate(zip(blobs, infos, strict=True))
        ]

    def read_groups(
        self,
        buffers: Sequence[Any],
        source: npt.NDArray[np.int32],
        start: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        out: Int8s,
    ) -> None:
        """Decodes n group blobs in one call, without the GIL.

        Blob i is buffers[source[i]][start[i] : start[i] + length[i]]. out: int8, C-contiguous,
        (n, group_channels, h, w), or (N, groups * group_channels, h, w) with n = N * groups.
        """
        if out.dtype != np.int8 or out.ndim != 4 or not out.flags.c_contiguous:
            raise ArgumentError(
                f"out is {out.dtype} {out.shape}; C-contiguous int8 (n, channels, h, w) is expected."
            )
        if out.shape[0] * out.shape[1] != len(source) * self.group_channels:
            raise ArgumentError(
                f"out of shape {out.shape} does not hold {len(source)} groups of {self.group_channels}."
            )
        if len(source):
            shaped = out.reshape(len(source), self.group_channels, *out.shape[2:])
            self.entropy.decode(buffers, source, start, length, shaped)

    # inside

    @cached_property
    def _fingerprint(self) -> bytes:
        return bytes.fromhex(self.sha256)

    def _encode_one(self, picture: Uint8s, quality: int, effort: Effort) -> tuple[Int8s, int]:
        """The latent, and how many of its values were limited to +-127."""
        facts, scale = self.artifact.facts, self.scale(quality)
        inverse = (np.float32(1) / scale).astype(np.float32)
        if effort == "fast":
            rounding = np.full(self.channels, facts["rounding"], np.float32)
            return projection.picture_to_latent(picture, self._analysis, inverse, rounding)
        coefficients = projection.picture_to_coefs(picture, self._analysis, inverse)
        # counted only where some picture has such a coefficient
        outside = int((np.abs(coefficients) >= 127.5).sum()) if (self._bound > 127 * scale).any() else 0
        weight = (scale / scale.max()).astype(np.float32) ** 2
        trade = float(facts["lambda"]) * float(np.float32(self.step(quality)) / scale.max()) ** 2
        n, band = self.group_channels, self._band(quality)
        latent = np.empty(coefficients.shape, np.int8)
        for group in range(self.groups):
            k = slice(group * n, (group + 1) * n)
            latent[k] = self.entropy.optimise(coefficients[k], group, band, weight[k], trade, self._delta[k])
        return latent, outside

    def _warn(self, outliers: int, quality: int | None) -> None:
        if outliers:
            warn_outliers(outliers, require_quality(quality, self.default_quality), self.name)

    def _to_picture(self, latent: Int8s, quality: int, size: tuple[int, int]) -> Uint8s:
        delta1, delta2 = (np.ascontiguousarray(self._delta[:, i]) for i in (0, 1))
        return projection.latent_to_picture(
            latent, self._synthesis, self.scale(quality), delta1, delta2, size
        )

    def _sample(self, blob: memoryview, index: int | None = None) -> SampleInfo:
        """The header of blob `index` of a list, or of the one blob; errors name it."""
        this = "The blob" if index is None else f"Blob {index}"
        try:
            info = split_sample(blob)
        except LatentstoreError as error:
            raise type(error)(f"{this} cannot be read: {error}", index) from error
        if info.fingerprint != self._fingerprint[: len(info.fingerprint)]:
            raise ArtifactError(
                f"{this} was made with the artifact whose SHA-256 begins {info.fingerprint.hex()}; this codec"
                f" is {self.name}, {self.sha256[:12]}...: load the codec that made it.",
                index,
            )
        if len(info.starts) != self.groups or info.mode != self.mode:
            raise ArtifactError(
                f"{this} has {len(info.starts)} groups in mode {info.mode}; {self.name} has {self.groups} in "
                f"mode {self.mode}: load the codec that made it.",
                index,
            )
        return info

    def _read(
        self, blobs: list[memoryview], infos: list[SampleInfo], channels: int | None, first: int | None = None
    ) -> Int8s:
        """Latents of one size, int8 (N, c, h, w); first: the first blob's place in the caller's list."""
        kept = require_prefix(channels, self.channels)
        groups = -(-kept // self.group_channels)

        def name(sample: int) -> str:
            return "the blob" if first is None else f"blob {first + sample}"

        for i, (blob, info) in enumerate(zip(blobs, infos, strict=True)):
            end = info.ends[groups - 1]
            if end > len(blob) or (groups == self.groups and end != len(blob)):
                kind = TruncatedError if end > len(blob) else CorruptError
                raise kind(
                    f"The first {groups} groups of {name(i)} take {end} bytes, and it has {len(blob)}.",
                    None if first is None else first + i,
                )
        out = np.empty((len(blobs), groups * self.group_channels, *infos[0].latent_size), np.int8)
        source = np.repeat(np.arange(len(blobs), dtype=np.int32), groups)
        starts = np.array([info.starts[:groups] for info in infos], np.int64).ravel()
        ends = np.array([info.ends[:groups] for info in infos], np.int64).ravel()
        shaped = out.reshape(len(source), self.group_channels, *out.shape[2:])
        try:
            self.entropy.decode(
                blobs, source, starts, ends - starts, shaped,
                lambda i: f"Group {i % groups} of {name(i // groups)}",
            )  # fmt: skip
        except LatentstoreError as error:
            if error.index is not None:
                error.index = None if first is None else first + error.index // groups
            raise
        return out[:, :kept]


class OutlierWarning(UserWarning):
    """Coefficients beyond int8 were limited: those places are rebuilt too weakly."""


def warn_outliers(count: int, quality: int, name: str) -> None:
    warnings.warn(
        f"{count} coefficients do not fit int8 at quality {quality} of {name} and were limited to +-127: ask "
        "for a lower quality for this picture.",
        OutlierWarning,
        stacklevel=4,  # whoever called `encode`, `compress` or `compress_groups`
    )
