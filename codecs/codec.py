"""`Codec`: pictures to latents to blobs, and back, by one artifact."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import projection
from .artifact import Artifact, read_artifact, require_quality
from .bitstream import SampleInfo, check_size, join_sample, split_sample
from .entropy import EntropyCoder
from .errors import ArgumentError, ArtifactError, TruncatedError
from .symmetry import symmetric_basis, transform_latent
from .transform import REDUCTION

Effort = Literal["default", "fast"]
Uint8s = npt.NDArray[np.uint8]
Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]


class Codec:
    """One artifact at work. Made by `load_codec`; safe to use from several threads.

    name, sha256 (hex), artifact_bytes, card: which artifact. mode: "RGB" or "L". channels, group_channels, groups,
    reduction: a picture of H x W pixels has a latent of int8 (channels, ceil(H / reduction), ceil(W / reduction)),
    whose channels, most important first, are coded in groups that decode alone.
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
        self.card: dict[str, Any] = dict(facts.get("card", {}))
        self.entropy = EntropyCoder(artifact)
        self.classes = artifact.tensors["classes"]
        self._delta = artifact.tensors["delta"]
        self._analysis, self._synthesis = self._projection()
        self._curve = np.log2(np.array(facts["quality_steps"], np.float64))
        self._floor = np.array(facts["floor"], np.float32)
        if self._floor.shape != (self.channels,) or not (np.isfinite(self._floor).all() and (self._floor > 0).all()):
            raise ArtifactError(f"Artifact {self.name} contradicts itself: floor is not {self.channels} steps.")

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
        counts = [basis.runs[kind][1] for kind in self.classes] if self.classes.size else []
        tensors = self.artifact.tensors
        ends = np.cumsum(counts)
        for name in ("analysis", "synthesis"):
            if tensors[name].shape != (int(ends[-1]),):
                raise ArtifactError(f"Artifact {self.name} contradicts itself: {name} has {tensors[name].size} weights.")
        try:
            return (
                projection.analysis_tables(basis, self.classes, np.split(tensors["analysis"], ends[:-1])),
                projection.synthesis_tables(basis, self.classes, np.split(tensors["synthesis"], ends[:-1])),
            )
        except (ArgumentError, IndexError) as error:
            raise ArtifactError(f"Artifact {self.name} contradicts itself: {error}") from error

    # quality

    def step(self, quality: int | None = None) -> float:
        """The quantiser's step at a quality, in the units of pixels (orthonormal coefficients, 0..255 a sample)."""
        q = require_quality(quality, self.default_quality)
        at = np.array([float(f) for f, _ in self.artifact.facts["quality_steps"]])
        return float(2.0 ** np.interp(q, at, self._curve[:, 1]))

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

        effort "default": rate-distortion-optimised against the entropy coder's tables; "fast": every coefficient is
        rounded by itself, and then the latent of a flipped or turned picture is exactly `transform` of the latent.
        Raises ArgumentError on another dtype or shape; warns (OutlierWarning) if a value does not fit int8.
        """
        pictures = np.asarray(images)
        if pictures.ndim != 4:
            raise ArgumentError(f"images has shape {pictures.shape}; (N, height, width, {self.in_channels}) is expected.")
        if not len(pictures):
            return np.zeros((0, *self.latent_shape(*pictures.shape[1:3])), np.int8)
        encoded = [self._encode_one(self._picture(p), quality, effort) for p in pictures]
        self._warn(sum(outliers for _, outliers in encoded), quality)
        return np.stack([latent for latent, _ in encoded])

    def decode(
        self,
        latents: npt.ArrayLike,
        channels: int | None = None,
        quality: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> Uint8s:
        """Latents int8 (N, c, h, w), or their first channels, to pictures uint8 (N, H, W, C).

        quality: the one they were encoded at. size: (H, W) of the pictures, where their sides were not multiples
        of 8.
        """
        codes = np.asarray(latents)
        if codes.ndim != 4 or codes.dtype != np.int8 or not 1 <= codes.shape[1] <= self.channels:
            raise ArgumentError(
                f"latents are {codes.dtype} {codes.shape}; int8 (N, 1 to {self.channels}, h, w) is expected."
            )
        height, width = size or (codes.shape[2] * REDUCTION, codes.shape[3] * REDUCTION)
        kept = codes.shape[1] if channels is None else self._prefix(channels, codes.shape[1])
        out = np.empty((len(codes), height, width, self.in_channels), np.uint8)
        for i, latent in enumerate(codes):
            out[i] = self._to_picture(latent[:kept], require_quality(quality, self.default_quality), (height, width))
        return out

    def transform(self, latent: Int8s, symmetry: str) -> Int8s:
        """The latent of the flipped or turned picture; see `symmetry.transform_latent`."""
        return transform_latent(latent, symmetry, self.classes[: latent.shape[-3]])

    # pictures and blobs

    def compress(self, image: npt.ArrayLike, quality: int | None = None, effort: Effort = "default") -> bytes:
        """A picture uint8 (H, W, C), or (H, W) for mode L, to a sample blob."""
        picture = self._picture(image)
        groups, outliers = self.compress_counted(picture, quality, effort)
        self._warn(outliers, quality)
        return join_sample(groups, picture.shape[1], picture.shape[0], self.mode, self._fingerprint)

    def compress_groups(self, image: npt.ArrayLike, quality: int | None = None, effort: Effort = "default") -> list[bytes]:
        """The picture's group blobs, each of which decodes alone."""
        groups, outliers = self.compress_counted(image, quality, effort)
        self._warn(outliers, quality)
        return groups

    def compress_counted(
        self, image: npt.ArrayLike, quality: int | None = None, effort: Effort = "default"
    ) -> tuple[list[bytes], int]:
        """`compress_groups`, and how many coefficients did not fit int8, in place of a warning."""
        latent, outliers = self._encode_one(self._picture(image), quality, effort)
        return self.encode_latent_groups(latent, require_quality(quality, self.default_quality)), outliers

    def encode_latent_groups(self, latent: npt.ArrayLike, quality: int | None = None) -> list[bytes]:
        """The group blobs of a latent, int8 (channels, h, w), without loss."""
        codes = np.asarray(latent)
        if codes.ndim != 3 or codes.dtype != np.int8 or len(codes) != self.channels or 0 in codes.shape:
            raise ArgumentError(f"The latent is {codes.dtype} {codes.shape}; int8 ({self.channels}, h, w) is expected.")
        n = self.group_channels
        band = None if quality is None else self._band(quality)
        return [
            self.entropy.encode(codes[g * n : (g + 1) * n], g, band, quality or 0) for g in range(self.groups)
        ]

    def join_groups(self, groups: Sequence[bytes], height: int, width: int) -> bytes:
        """The sample blob of group blobs that `compress_groups` made of a picture of this size."""
        return join_sample(groups, width, height, self.mode, self._fingerprint)

    def decompress(self, blob: bytes | memoryview, channels: int | None = None) -> Uint8s:
        """A sample blob, or the part of it that holds its first channels, to a picture uint8 (H, W, C)."""
        info = self._sample(blob)
        latent = self._read_one(blob, info, channels)
        quality = memoryview(blob)[info.starts[0] + 2]
        return self._to_picture(latent, quality or self.default_quality, (info.height, info.width))

    def read_latent(self, blob: Any, channels: int | None = None) -> Any:
        """A sample blob to its latent int8 (c, h, w); a list of blobs in one call.

        channels: only the first so many, and then only the groups that hold them need be in the blob. A list gives
        int8 (N, c, h, w) where all have one size, else a list. CorruptError and its kin say which blob is bad.
        """
        if isinstance(blob, bytes | bytearray | memoryview):
            return self._read_one(blob, self._sample(blob), channels)
        blobs = list(blob)
        infos = [self._sample(b, i) for i, b in enumerate(blobs)]
        sizes = {info.latent_size for info in infos}
        if len(sizes) != 1:
            return [self._read_one(b, info, channels, i) for i, (b, info) in enumerate(zip(blobs, infos, strict=True))]
        kept = self._prefix(channels, self.channels)
        groups = -(-kept // self.group_channels)
        height, width = sizes.pop()
        out = np.empty((len(blobs), groups * self.group_channels, height, width), np.int8)
        source = np.repeat(np.arange(len(blobs), dtype=np.int32), groups)
        starts = np.array([info.starts[:groups] for info in infos], np.int64).ravel()
        ends = np.array([info.ends[:groups] for info in infos], np.int64).ravel()
        for i, (b, info) in enumerate(zip(blobs, infos, strict=True)):
            self._check_whole(b, info, groups, i)
        self.read_groups(blobs, source, starts, ends - starts, out)
        return out[:, :kept] if kept < out.shape[1] else out

    def read_groups(
        self,
        buffers: Sequence[Any],
        source: npt.NDArray[np.int32],
        start: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        out: Int8s,
    ) -> None:
        """Decodes n group blobs in one call, without the GIL; blob i is buffers[source[i]][start[i]:][:length[i]].

        out: int8, C-contiguous, (n, group_channels, h, w) or (N, groups * group_channels, h, w) with n = N * groups.
        """
        if out.dtype != np.int8 or out.ndim != 4 or not out.flags.c_contiguous:
            raise ArgumentError(f"out is {out.dtype} {out.shape}; C-contiguous int8 (n, channels, h, w) is expected.")
        if out.shape[0] * out.shape[1] != len(source) * self.group_channels:
            raise ArgumentError(f"out of shape {out.shape} does not hold {len(source)} groups of {self.group_channels}.")
        if len(source):
            shaped = out.reshape(len(source), self.group_channels, *out.shape[2:])
            self.entropy.decode(buffers, source, start, length, shaped)

    # inside

    @cached_property
    def _fingerprint(self) -> bytes:
        return bytes.fromhex(self.sha256)

    def _picture(self, image: npt.ArrayLike) -> Uint8s:
        picture = np.asarray(image)
        if self.mode == "L" and picture.ndim == 2:
            picture = picture[..., None]
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != self.in_channels:
            raise ArgumentError(
                f"The picture is {picture.dtype} {picture.shape}; {self.name} takes uint8 (height, width, "
                f"{self.in_channels}): convert it first."
            )
        check_size(picture.shape[1], picture.shape[0])
        return picture

    def _encode_one(self, picture: Uint8s, quality: int | None, effort: Effort) -> tuple[Int8s, int]:
        """The latent, and how many of its coefficients were limited to int8."""
        q = require_quality(quality, self.default_quality)
        facts = self.artifact.facts
        scale = self.scale(q)
        inverse = (np.float32(1) / scale).astype(np.float32)
        if effort == "fast":
            rounding = np.full(self.channels, facts["rounding"], np.float32)
            latent, outside = projection.picture_to_latent(picture, self._analysis, inverse, rounding)
        elif effort == "default":
            coefficients = projection.picture_to_coefs(picture, self._analysis, inverse)
            outside = int(np.count_nonzero(np.abs(coefficients) >= 127.5)) if scale.min() < self._safe_step else 0
            weight = (scale / scale.max()).astype(np.float32) ** 2
            n, band = self.group_channels, self._band(q)
            trade = float(facts["lambda"]) * float(np.float32(self.step(q)) / scale.max()) ** 2
            latent = np.concatenate([
                self.entropy.optimise(coefficients[k : k + n], k // n, band, weight[k : k + n], trade, self._delta[k : k + n])
                for k in range(0, self.channels, n)
            ])  # fmt: skip
        else:
            raise ArgumentError(f"effort is {effort!r}; it is 'default' or 'fast'.")
        return latent, int(outside)

    def _warn(self, outliers: int, quality: int | None) -> None:
        if outliers:
            warn_outliers(outliers, require_quality(quality, self.default_quality), self.name)

    @cached_property
    def _safe_step(self) -> float:
        """At this step and above no picture has a coefficient that int8 cannot hold."""
        return float(np.array(self.artifact.facts["bound"], np.float64).max() / 127)

    def _to_picture(self, latent: Int8s, quality: int, size: tuple[int, int]) -> Uint8s:
        delta1, delta2 = (np.ascontiguousarray(self._delta[:, i]) for i in (0, 1))
        return projection.latent_to_picture(latent, self._synthesis, self.scale(quality), delta1, delta2, size)

    def _prefix(self, channels: int | None, most: int) -> int:
        if channels is None:
            return most
        if isinstance(channels, bool) or not 1 <= channels <= most:
            raise ArgumentError(f"channels is {channels!r}; it is 1 to {most}.")
        return int(channels)

    def _sample(self, blob: Any, index: int = 0) -> SampleInfo:
        info = split_sample(blob)
        if info.fingerprint != self._fingerprint[: len(info.fingerprint)]:
            raise ArtifactError(
                f"Blob {index} was made with the artifact whose SHA-256 begins {info.fingerprint.hex()}; this codec is "
                f"{self.name}, {self.sha256[:12]}...: load the codec that made it.",
                index,
            )
        if len(info.starts) != self.groups or info.mode != self.mode:
            raise ArtifactError(
                f"Blob {index} has {len(info.starts)} groups in mode {info.mode}; {self.name} has others.", index
            )
        return info

    def _check_whole(self, blob: Any, info: SampleInfo, groups: int, index: int) -> None:
        if info.ends[groups - 1] > len(blob) or (groups == self.groups and info.ends[-1] != len(blob)):
            raise TruncatedError(
                f"Blob {index} has {len(blob)} bytes where {info.ends[groups - 1]} are expected for {groups} groups.", index
            )

    def _read_one(self, blob: Any, info: SampleInfo, channels: int | None, index: int = 0) -> Int8s:
        kept = self._prefix(channels, self.channels)
        groups = -(-kept // self.group_channels)
        self._check_whole(blob, info, groups, index)
        starts, ends = (np.array(x[:groups], np.int64) for x in (info.starts, info.ends))
        out = np.empty((groups, self.group_channels, *info.latent_size), np.int8)
        self.entropy.decode([blob], np.zeros(groups, np.int32), starts, ends - starts, out)
        return out.reshape(-1, *info.latent_size)[:kept]


class OutlierWarning(UserWarning):
    """Coefficients beyond int8 were limited: those places are rebuilt too weakly."""


def warn_outliers(count: int, quality: int, name: str) -> None:
    import warnings

    warnings.warn(
        f"{count} coefficients do not fit int8 at quality {quality} of {name} and were limited to +-127: ask for a lower "
        "quality for this picture.",
        OutlierWarning,
        stacklevel=4,  # whoever called `encode`, `compress` or `compress_groups`
    )
