"""`Codec`: what the codecs of all modalities share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentstore.codecs.arguments import Buffer, Effort, require_blob, require_prefix, require_quality
from latentstore.codecs.artifact.file import Artifact, read_artifact
from latentstore.codecs.bitstream.sample import SampleInfo, split_sample
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.entropy.coder import EntropyCoder
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError, LatentstoreError, TruncatedError
from latentstore.codecs.modality import MAX_AREA, modality_of
from latentstore.codecs.neural.decoder import LINEAR, Decoder, require_decoder

if TYPE_CHECKING:
    from latentstore.codecs.image.symmetry import SignedPermutation

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]


MOST_SIDE = 1 << 36
"""Beyond it no number is a side of an image, or the samples of a recording."""
# Of a signal's power: less than this, 20 dB down, is as good as nothing.
SILENT_SHARE = 0.01


@dataclass(frozen=True)
class Compressed:
    """What `compress_counted` made of a signal.

    groups: the group blobs. limited: coefficients that did not fit int8. kept: about the share of the signal's power
    that its latent holds; 1 where the signal is silent, and of images, for which it is not measured.
    """

    groups: list[bytes]
    limited: int
    kept: float = 1.0

    @property
    def silenced(self) -> bool:
        """Whether the signal comes back as silence, or nearly so, although it is none."""
        return self.kept < SILENT_SHARE


class Codec(ABC):
    """A codec: one artifact at work. `load_codec` makes one. Several threads may use it at once.

    name, sha256 (hexadecimal), artifact_bytes, card: which artifact it is, and what it says of itself.
    modality: `IMAGE` or `AUDIO`. mode: "RGB", "L" (gray) or "audio".
    in_channels: colours of an image, or channels of a recording.
    channels: how many channels a latent has. They come in order of importance.
    group_channels, groups: channels are coded in groups of this many, and each group decodes alone.
    reduction: an image of H x W pixels has a latent int8 (channels, ceil(H / reduction), ceil(W / reduction)). A
        recording of n samples has a latent int8 (channels, 1, ceil(n / reduction)).
    default_quality: the quality that is used where none is given.
    rate: in hertz, of signals that do not say theirs; 0 of images.
    """

    reduction: int
    rate = 0
    entropy: EntropyCoder

    folds_bands: ClassVar[bool] = False
    """Whether its decoders are those of `codecs.neural.folded`."""
    default_decoder: ClassVar[str] = LINEAR
    """The decoder where none is asked for."""

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
        # by quality: every signal asks for them several times
        self._steps: dict[int, float] = {}
        self._models: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.sha256[:12]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.artifact_bytes)

    @property
    @abstractmethod
    def in_channels(self) -> int:
        """Colours of an image, or channels of a recording."""

    # quality

    def step(self, quality: int | None = None) -> float:
        """The quantisation step at a quality, for orthonormal coefficients.

        Its unit is that of images, 0 to 255; of audio it is the level of each signal.
        """
        q = require_quality(quality, self.default_quality)
        step = self._steps.get(q)
        if step is None:
            step = self._steps[q] = float(2.0 ** np.interp(q, self._curve[:, 0], np.log2(self._curve[:, 1])))
        return step

    def scale(self, quality: int | None = None) -> Floats:
        """float32 (channels,): a latent times this gives coefficients in the signal's units."""
        return self._scale(self.step(quality))

    @abstractmethod
    def scales(self, quality: int | None = None) -> Callable[[int], Floats]:
        """A function from a sample's step code to its scale, float32 (channels,).

        quality: at which the samples were encoded. `Modality.has_steps` says which step codes there are.
        """

    def _scale(self, step: float) -> Floats:
        return np.maximum(np.float32(step), self._floor).astype(np.float32)

    def band(self, quality: int) -> int:
        """Which of the artifact's `model_steps` a quality is coded with: the nearest."""
        model = self._models.get(quality)
        if model is None:
            steps = np.log2(self.artifact.facts["model_steps"])
            model = self._models[quality] = int(np.abs(steps - np.log2(self.step(quality))).argmin())
        return model

    # signals and latents

    @abstractmethod
    def latent_shape(self, height: Any, width: Any) -> tuple[int, Any, Any]:
        """(channels, h, w): the shape of the latent of a signal of this size; h and w are of the types of the sides."""

    @abstractmethod
    def encode(self, signals: Any, quality: int | None = None, effort: Effort = "default") -> Int8s:
        """Encodes signals of one size to latents int8 (N, channels, h, w)."""

    @abstractmethod
    def decode(
        self,
        latents: npt.ArrayLike,
        channels: int | None = None,
        quality: int | None = None,
        size: Any = None,
        *,
        decoder: str | Decoder | None = None,
    ) -> npt.NDArray[Any]:
        """Decodes latents int8 (N, c, h, w), or only their first channels, to signals."""

    def decoder(self, wanted: str | Decoder | None) -> Decoder | None:
        """The decoder by its name, or one that is given; None is returned for the linear one.

        wanted: "best", "linear", the name of one that is shipped, or a `Decoder`; None is `default_decoder`.
        ArgumentError if this codec has no such decoder.
        """
        chosen = require_decoder(self.default_decoder if wanted is None else wanted, self.name, self.sha256)
        if chosen is not None and chosen.file.is_folded != self.folds_bands:
            raise ArgumentError(f"The decoder {chosen.name!r} is not of {self.modality.nouns.many}; {self.name} is.")
        return chosen

    @abstractmethod
    def decode_samples(
        self,
        latents: Int8s,
        quality: int,
        size: tuple[int, int],
        steps: npt.NDArray[np.int64] | None,
        decoder: str | Decoder | None = None,
    ) -> npt.NDArray[Any]:
        """Decodes latents int8 (N, c, h, w) as a store holds them, all of signals of one size.

        size: (height, width) of the images in pixels, or (1, samples) of audio.
        steps: int64 (N,), the step codes of the samples; None where the modality has none.
        decoder: as in `decoder`.
        """

    def symmetry(self, name: str, channels: int) -> SignedPermutation:
        """What becomes of the first channels of a latent when its image is flipped or turned.

        name: one of `latentstore.codecs.image.symmetry.SYMMETRIES`. ArgumentError with the reason if the latent of the
        result cannot be made from the latent.
        """
        raise ArgumentError(
            f"{self.name} is a codec of {self.modality.nouns.many}: its latents cannot be flipped or turned, as those "
            "of images can."
        )

    # signals and blobs

    @abstractmethod
    def require_signal(self, signal: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A signal in the form that `compress_counted` takes; ArgumentError if it is none."""

    @abstractmethod
    def signal_size(self, signal: npt.NDArray[Any]) -> tuple[int, int]:
        """(height, width) of what `require_signal` gave; of audio 1 and the number of samples."""

    @abstractmethod
    def compress(self, signal: Any, quality: int | None = None, effort: Effort = "default") -> bytes:
        """Compresses a signal to a sample blob."""

    @abstractmethod
    def decompress(
        self, blob: Buffer, channels: int | None = None, *, decoder: str | Decoder | None = None
    ) -> npt.NDArray[Any]:
        """Decompresses a sample blob, or its beginning that holds the first channels, to a signal."""

    def compress_groups(self, signal: Any, quality: int | None = None, effort: Effort = "default") -> list[bytes]:
        """Compresses a signal to its group blobs, each of which decodes alone."""
        made = self.compress_counted(signal, quality, effort)
        self._warn(made.limited, quality)
        return made.groups

    @abstractmethod
    def compress_counted(self, signal: Any, quality: int | None = None, effort: Effort = "default") -> Compressed:
        """Does what `compress_groups` does, and says what the signal lost in place of a warning."""

    def sample_fields(self, groups: Sequence[bytes]) -> dict[str, int]:
        """Fields that a store must keep for a sample beside its group blobs, by name."""
        return {}

    @abstractmethod
    def encode_latent_groups(self, latent: npt.ArrayLike, quality: int | None = None) -> list[bytes]:
        """Codes a latent, int8 (channels, h, w), to its group blobs without loss.

        quality: the one at which the latent was encoded. If it is None, the blobs do not say a quality, and the
            models that code them in fewest bits are searched for.
        """

    def _require_latent(self, latent: npt.ArrayLike) -> Int8s:
        codes = np.asarray(latent)
        if codes.ndim != 3 or codes.dtype != np.int8 or len(codes) != self.channels:
            raise ArgumentError(f"The latent is {codes.dtype} {codes.shape}; int8 ({self.channels}, h, w) is expected.")
        return codes

    def read_latent(self, blob: Buffer | Iterable[Buffer], channels: int | None = None) -> Any:
        """Decodes a sample blob to its latent, int8 (c, h, w), or a list of blobs in one call.

        channels: only the first channels. Then only the groups that hold them need to be in the blob.
        Returns for a list int8 (N, c, h, w) if all latents have one size, else a list of int8 (c, h, w).
        Raises CorruptError, TruncatedError, UnsupportedVersionError or ArtifactError. For a list the message says
        which blob is bad, and the error's `index` is its position.
        """
        if not isinstance(blob, list | tuple):
            data = require_blob(blob)
            return self._read([data], [self._sample(data)], channels)[0]
        blobs = [require_blob(b, i) for i, b in enumerate(blob)]
        return self._read_list(blobs, [self._sample(b, i) for i, b in enumerate(blobs)], channels)

    def read_groups(self, blobs: Blobs, out: Int8s) -> None:
        """Decodes n group blobs in one call, without Python's global lock.

        out: int8, C-contiguous, (n, group_channels, h, w), or (N, groups * group_channels, h, w) with n = N * groups.
        """
        if out.dtype != np.int8 or out.ndim != 4 or not out.flags.c_contiguous:
            raise ArgumentError(f"out is {out.dtype} {out.shape}; C-contiguous int8 (n, channels, h, w) is expected.")
        if out.shape[0] * out.shape[1] != len(blobs) * self.group_channels:
            raise ArgumentError(f"out of shape {out.shape} does not hold {len(blobs)} groups of {self.group_channels}.")
        if len(blobs):
            self.entropy.decode(blobs, out.reshape(len(blobs), self.group_channels, *out.shape[2:]))

    def read_sizes(self, blobs: Blobs, sizes: npt.NDArray[np.int64]) -> list[Int8s]:
        """Decodes the first groups of N samples of any sizes; the blobs of a sample follow each other.

        sizes: int64 (N, 2), height and width of the signals.
        Returns N latents int8 (c, h, w). An error's `index` is the position of the bad blob.
        """
        groups = len(blobs) // max(1, len(sizes))
        self._check_sizes(sizes, groups)
        shapes, which = np.unique(sizes, axis=0, return_inverse=True)
        latents: list[Int8s] = [np.empty(0, np.int8)] * len(sizes)
        for s, (height, width) in enumerate(shapes.tolist()):
            at = np.flatnonzero(which.reshape(-1) == s)
            rows = (at[:, None] * groups + np.arange(groups)).reshape(-1)
            planes, some = self.latent_shape(height, width)[1:], blobs.take(rows)
            try:
                place = self.entropy.place(some, *planes)
                self.entropy.decode(some, place)
            except LatentstoreError as error:
                error.index = None if error.index is None else int(rows[error.index])
                raise
            for latent, i in zip(
                place.reshape(len(at), groups * self.group_channels, *planes), at.tolist(), strict=True
            ):
                latents[i] = latent
        return latents

    def read_windows(
        self, blobs: Blobs, sizes: npt.NDArray[np.int64], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
    ) -> list[Int8s]:
        """Decodes parts of recordings: see `AudioCodec.read_windows`. ArgumentError where blobs decode as a whole."""
        raise ArgumentError(f"{self.name} is a codec of {self.modality.nouns.many}, which are decoded as a whole.")

    # inside

    def _check_sizes(self, sizes: npt.NDArray[np.int64], groups: int) -> None:
        """Raises CorruptError, with the index of a blob, unless signals of these sizes can be coded."""
        bad = ((sizes < 1) | (sizes > MOST_SIDE)).any(axis=1)
        height, width = self.latent_shape(sizes[:, 0], sizes[:, 1])[1:]
        bad |= np.multiply(height, width, dtype=np.float64) > MAX_AREA
        bad |= sizes[:, 0] > self.modality.tallest
        if bad.any():
            i = int(bad.argmax())
            said = f"{sizes[i, 0]} x {sizes[i, 1]} {self.modality.nouns.unit}s"
            raise CorruptError(f"It is said to have {said}, which none can have.", i * groups)

    def _size_of(self, info: SampleInfo) -> tuple[int, int]:
        """Height and width of the latent's planes."""
        return self.latent_shape(info.height, info.width)[1:]

    def _warn(self, outliers: int, quality: int | None) -> None:
        if outliers:
            warn_outliers(outliers, require_quality(quality, self.default_quality), self.name)

    def _sample(self, blob: memoryview, index: int | None = None) -> SampleInfo:
        """The header of a blob. index: its position in the caller's list, or None for a single blob."""
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
        if (len(info.starts), info.mode) != (self.groups, self.mode):
            raise ArtifactError(
                f"{this} has {len(info.starts)} groups in mode {info.mode}; {self.name} has {self.groups} in "
                f"mode {self.mode}: load the codec that made it.",
                index,
            )
        return info

    def _check_end(self, blob: memoryview, info: SampleInfo, groups: int, name: str, index: int | None) -> None:
        """Raises TruncatedError unless the blob holds its first groups, CorruptError if bytes follow its last."""
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
        """Latents of one size, int8 (N, c, h, w). first: the position of the first blob in the caller's list."""
        kept = require_prefix(channels, self.channels)
        groups = -(-kept // self.group_channels)

        def name(sample: int) -> str:
            return "the blob" if first is None else f"blob {first + sample}"

        for i, (blob, info) in enumerate(zip(blobs, infos, strict=True)):
            self._check_end(blob, info, groups, name(i), None if first is None else first + i)
        source = np.repeat(np.arange(len(blobs), dtype=np.int32), groups)
        starts = np.array([info.starts[:groups] for info in infos], np.int64).ravel()
        ends = np.array([info.ends[:groups] for info in infos], np.int64).ravel()
        parts = Blobs(blobs, source, starts, ends - starts)
        planes = self._size_of(infos[0])

        def group_name(i: int) -> str:
            return f"Group {i % groups} of {name(i // groups)}"

        try:
            place = self.entropy.place(parts, *planes, group_name)
            self.entropy.decode(parts, place, group_name)
        except LatentstoreError as error:
            if error.index is not None:
                error.index = None if first is None else first + error.index // groups
            raise
        return place.reshape(len(blobs), groups * self.group_channels, *planes)[:, :kept]


def _again(kind: type[Codec], content: bytes) -> Codec:
    """Unpickles a codec."""
    return kind(read_artifact(content))


class OutlierWarning(UserWarning):
    """Some coefficients did not fit int8 and were limited. The signal comes back too weak in those places."""


def warn_outliers(count: int, quality: int, name: str) -> None:
    warnings.warn(
        f"{count} coefficients do not fit int8 at quality {quality} of {name} and were limited to +-127: ask "
        "for a lower quality here.",
        OutlierWarning,
        stacklevel=4,  # whoever called `encode`, `compress` or `compress_groups`
    )
