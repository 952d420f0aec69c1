"""`Codec`: what all codecs share. `ImageCodec` and `AudioCodec` bring their signals to latents and back."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.arguments import Buffer, Effort, require_blob, require_prefix, require_quality
from latentstore.codecs.artifact.file import Artifact, read_artifact
from latentstore.codecs.bitstream.sample import SampleInfo, split_sample
from latentstore.codecs.entropy.coder import EntropyCoder
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError, LatentstoreError, TruncatedError
from latentstore.codecs.modality import modality_of

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]


class Codec(ABC):
    """One artifact at work. Made by `load_codec`; safe to use from several threads.

    name, sha256 (hex), artifact_bytes, card: which artifact it is. modality: `IMAGE` or `AUDIO`; mode: "RGB", "L" or
    "audio". in_channels: colours of an image, channels of a recording. channels: of a latent, the most important first.
    group_channels, groups: channels are coded in groups, and a group decodes alone. reduction: an image of H x W pixels
    has a latent int8 (channels, ceil(H / reduction), ceil(W / reduction)); n samples of audio have one of
    (channels, 1, ceil(n / reduction)).
    """

    reduction: int
    entropy: EntropyCoder

    def __init__(self, artifact: Artifact) -> None:
        facts = artifact.facts
        self.artifact = artifact
        self.name, self.sha256, self.artifact_bytes = artifact.name, artifact.sha256, artifact.content
        self.fingerprint = bytes.fromhex(self.sha256)
        self.mode = artifact.mode
        self.modality = modality_of(self.mode)
        self.channels = int(facts["channels"])
        self.group_channels = int(facts["group_channels"])
        self.groups = self.channels // self.group_channels
        self.default_quality = int(facts["default_quality"])
        self.card: dict[str, Any] = dict(facts["card"])
        self._delta = artifact.tensors["delta"]
        self._floor = np.array(facts["floor"], np.float32)
        self._bound = np.array(facts["bound"], np.float64)
        self._curve = np.array(facts["quality_steps"], np.float64)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.sha256[:12]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.artifact_bytes)

    @property
    @abstractmethod
    def in_channels(self) -> int:
        """Colours of an image, inputs of audio."""

    # quality

    def step(self, quality: int | None = None) -> float:
        """The quantiser's step at a quality, in the signal's units (0 to 255 for images, -1 to 1 for audio) and of
        orthonormal coefficients; relative to the signal's level where the codec's artifact says so."""
        q = require_quality(quality, self.default_quality)
        return float(2.0 ** np.interp(q, self._curve[:, 0], np.log2(self._curve[:, 1])))

    def scale(self, quality: int | None = None) -> Floats:
        """float32 (channels,): latents times this are coefficients in the signal's units."""
        return self._scale(self.step(quality))

    @abstractmethod
    def scales(self, quality: int | None = None) -> Callable[[int], Floats]:
        """From the step code of a sample to its `scale`, for samples encoded at this quality; see `Modality.steps`."""

    def _scale(self, step: float) -> Floats:
        return np.maximum(np.float32(step), self._floor).astype(np.float32)

    def _band(self, quality: int) -> int:
        steps = np.log2(self.artifact.facts["model_steps"])
        return int(np.abs(steps - np.log2(self.step(quality))).argmin())

    # signals and latents

    @abstractmethod
    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """The latent's shape of a signal of this size."""

    @abstractmethod
    def encode(self, signals: Any, quality: int | None = None, effort: Effort = "default") -> Int8s:
        """Signals of one size to latents int8 (N, channels, h, w)."""

    @abstractmethod
    def decode(
        self, latents: npt.ArrayLike, channels: int | None = None, quality: int | None = None, size: Any = None
    ) -> npt.NDArray[Any]:
        """Latents int8 (N, c, h, w), or their first channels, to signals."""

    @abstractmethod
    def decode_samples(
        self, latents: Int8s, quality: int, size: tuple[int, int], steps: npt.NDArray[np.int64] | None
    ) -> npt.NDArray[Any]:
        """Latents int8 (N, c, h, w) of signals of one size, as a store holds them, to signals (N, ...).

        size: (height, width) of the image in pixels; (1, samples) of audio. steps: int64 (N,), their step codes, where
        the modality has them.
        """

    # signals and blobs

    @abstractmethod
    def compress(self, signal: Any, quality: int | None = None, effort: Effort = "default") -> bytes:
        """A signal to a sample blob."""

    @abstractmethod
    def decompress(self, blob: Buffer, channels: int | None = None) -> npt.NDArray[Any]:
        """A sample blob, or the part of it that holds its first channels, to a signal."""

    def compress_groups(self, signal: Any, quality: int | None = None, effort: Effort = "default") -> list[bytes]:
        """The signal's group blobs, each of which decodes alone."""
        groups, outliers = self.compress_counted(signal, quality, effort)
        self._warn(outliers, quality)
        return groups

    @abstractmethod
    def compress_counted(
        self, signal: Any, quality: int | None = None, effort: Effort = "default"
    ) -> tuple[list[bytes], int]:
        """`compress_groups`, and how many coefficients did not fit int8, in place of a warning."""

    def sample_fields(self, groups: Sequence[bytes]) -> dict[str, int]:
        """What a store must know of a sample beside its group blobs, as fields of it."""
        return {}

    @abstractmethod
    def encode_latent_groups(self, latent: npt.ArrayLike, quality: int | None = None) -> list[bytes]:
        """The group blobs of a latent, int8 (channels, h, w), without loss.

        quality: the one it was encoded at; left out, the blobs do not say it and the best models are looked
        for.
        """

    def _require_latent(self, latent: npt.ArrayLike) -> Int8s:
        codes = np.asarray(latent)
        if codes.ndim != 3 or codes.dtype != np.int8 or len(codes) != self.channels:
            raise ArgumentError(f"The latent is {codes.dtype} {codes.shape}; int8 ({self.channels}, h, w) is expected.")
        return codes

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
        return self._read_list(blobs, [self._sample(b, i) for i, b in enumerate(blobs)], channels)

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
            raise ArgumentError(f"out is {out.dtype} {out.shape}; C-contiguous int8 (n, channels, h, w) is expected.")
        if out.shape[0] * out.shape[1] != len(source) * self.group_channels:
            raise ArgumentError(
                f"out of shape {out.shape} does not hold {len(source)} groups of {self.group_channels}."
            )
        if len(source):
            shaped = out.reshape(len(source), self.group_channels, *out.shape[2:])
            self.entropy.decode(buffers, source, start, length, shaped)

    def read_sizes(
        self,
        buffers: Sequence[Any],
        source: npt.NDArray[np.int32],
        start: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
    ) -> list[Int8s]:
        """Decodes the first groups of N samples of any sizes.

        Blob i is as in `read_groups`; the blobs of a sample follow each other. sizes: int64 (N, 2), height and width of
        the signals. Returns N latents int8 (c, h, w). Errors carry the bad blob's `index`.
        """
        groups = len(source) // max(1, len(sizes))
        shapes, which = np.unique(sizes, axis=0, return_inverse=True)
        latents: list[Int8s] = [np.empty(0, np.int8)] * len(sizes)
        for s, (height, width) in enumerate(shapes.tolist()):
            at = np.flatnonzero(which.reshape(-1) == s)
            rows = (at[:, None] * groups + np.arange(groups)).reshape(-1)
            got = np.empty((len(at), groups * self.group_channels, *self.latent_shape(height, width)[1:]), np.int8)
            try:
                self.read_groups(buffers, source[rows], start[rows], length[rows], got)
            except LatentstoreError as error:
                error.index = None if error.index is None else int(rows[error.index])
                raise
            for latent, i in zip(got, at.tolist(), strict=True):
                latents[i] = latent
        return latents

    # inside

    def _size_of(self, info: SampleInfo) -> tuple[int, int]:
        """Height and width of the latent's planes."""
        return self.latent_shape(info.height, info.width)[1:]

    def _warn(self, outliers: int, quality: int | None) -> None:
        if outliers:
            warn_outliers(outliers, require_quality(quality, self.default_quality), self.name)

    def _sample(self, blob: memoryview, index: int | None = None) -> SampleInfo:
        """The header of blob `index` of a list, or of the one blob; errors name it."""
        this = "The blob" if index is None else f"Blob {index}"
        try:
            info = split_sample(blob)
        except LatentstoreError as error:
            raise type(error)(f"{this} cannot be read: {error}", index) from error
        if info.fingerprint != self.fingerprint[: len(info.fingerprint)]:
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

    def _check_end(self, blob: memoryview, info: SampleInfo, groups: int, name: str, index: int | None) -> None:
        """TruncatedError unless the blob holds its first groups, CorruptError if it goes on after its last."""
        end = info.ends[groups - 1]
        if end > len(blob) or (groups == self.groups and end != len(blob)):
            kind = TruncatedError if end > len(blob) else CorruptError
            raise kind(f"The first {groups} groups of {name} take {end} bytes, and it has {len(blob)}.", index)

    def _read_list(self, blobs: list[memoryview], infos: list[SampleInfo], channels: int | None) -> Any:
        """The latents of a list of blobs, as `read_latent` gives them."""
        if len({self._size_of(info) for info in infos}) == 1:
            return self._read(blobs, infos, channels, 0)
        return [self._read([b], [info], channels, i)[0] for i, (b, info) in enumerate(zip(blobs, infos, strict=True))]

    def _read(
        self, blobs: list[memoryview], infos: list[SampleInfo], channels: int | None, first: int | None = None
    ) -> Int8s:
        """Latents of one size, int8 (N, c, h, w); first: the first blob's place in the caller's list."""
        kept = require_prefix(channels, self.channels)
        groups = -(-kept // self.group_channels)

        def name(sample: int) -> str:
            return "the blob" if first is None else f"blob {first + sample}"

        for i, (blob, info) in enumerate(zip(blobs, infos, strict=True)):
            self._check_end(blob, info, groups, name(i), None if first is None else first + i)
        out = np.empty((len(blobs), groups * self.group_channels, *self._size_of(infos[0])), np.int8)
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


def _again(kind: type[Codec], content: bytes) -> Codec:
    """Unpickles a codec."""
    return kind(read_artifact(content))


class OutlierWarning(UserWarning):
    """Coefficients beyond int8 were limited: those places are rebuilt too weakly."""


def warn_outliers(count: int, quality: int, name: str) -> None:
    warnings.warn(
        f"{count} coefficients do not fit int8 at quality {quality} of {name} and were limited to +-127: ask "
        "for a lower quality here.",
        OutlierWarning,
        stacklevel=4,  # whoever called `encode`, `compress` or `compress_groups`
    )
