"""`ImageCodec`: images to latents to blobs, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from latentstore.codecs.arguments import (
    Buffer,
    Effort,
    require_blob,
    require_effort,
    require_prefix,
    require_quality,
)
from latentstore.codecs.artifact.file import Artifact
from latentstore.codecs.artifact.parts import image_levels
from latentstore.codecs.bitstream.group import group_info
from latentstore.codecs.bitstream.sample import SampleInfo, join_sample
from latentstore.codecs.codec import Codec, Compressed
from latentstore.codecs.entropy.coder import EntropyCoder
from latentstore.codecs.errors import ArgumentError, ArtifactError, CorruptError
from latentstore.codecs.image import projection
from latentstore.codecs.image.arguments import COLOURS, require_image, require_size
from latentstore.codecs.image.symmetry import (
    SignedPermutation,
    SymmetryClass,
    check_classes,
    signed_permutation,
    symmetric_basis,
    transform_latent,
)
from latentstore.codecs.modality import IMAGE, LEAST_REDUCTION
from latentstore.codecs.neural.decoder import BEST, Decoder

Uint8s = npt.NDArray[np.uint8]
Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]


class ImageCodec(Codec):
    """A codec of 8-bit images. Its mode is "RGB" or "L" (gray).

    levels: of its packet transform; `reduction` is 2**levels.
    """

    default_decoder = BEST

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self.levels = image_levels(artifact.facts)
        self.reduction = 1 << self.levels
        self.entropy = EntropyCoder(artifact)
        self.classes = artifact.tensors["classes"]
        self._analysis, self._synthesis = self._projection()

    @property
    def in_channels(self) -> int:
        return COLOURS[self.mode]

    def _projection(self) -> tuple[projection.AnalysisTables, projection.SynthesisTables]:
        basis = symmetric_basis(self.in_channels, self.levels)
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
        """A quarter turn swaps the two channels of a pair. It is exact only if both have the same weights and steps."""
        for k in np.flatnonzero(self.classes == SymmetryClass.EO):
            each: list[Any] = [*weights, self._delta, self._floor]
            for values in each:
                if not np.array_equal(values[k], values[k + 1]):
                    raise ArgumentError(f"Channels {k} and {k + 1} are a pair, but not treated alike.")

    def decoder(self, wanted: str | Decoder | None) -> Decoder | None:
        """See `Codec.decoder`; ArgumentError too if the network is of latents or bands unlike those of this codec."""
        chosen = super().decoder(wanted)
        if chosen is not None:
            shape, planes = chosen.file.shape, 4**self.levels * self.in_channels
            if (shape.channels, shape.planes) != (self.channels, planes):
                raise ArgumentError(
                    f"The decoder {chosen.name!r} is of {shape.channels} channels and {shape.planes} planes; "
                    f"{self.name} has {self.channels} and {planes}: fetch it again or train it anew."
                )
        return chosen

    # images and latents

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(channels, h, w): the shape of the latent of an image of this size in pixels."""
        return self.channels, projection.latent_side(height, self.levels), projection.latent_side(width, self.levels)

    def encode(self, images: npt.ArrayLike, quality: int | None = None, effort: Effort = "default") -> Int8s:
        """Encodes images uint8 (N, H, W, C) to latents int8 (N, channels, h, w), see `latent_shape`.

        quality: 1 to 100; None is the codec's default.
        effort: "default" optimises rate and distortion against the tables of the entropy coder. "fast" rounds
            every coefficient by itself; then the latent of a flipped or turned image is exactly the `transform`
            of the latent.
        Raises ArgumentError for another dtype or shape. Warns with OutlierWarning if a value does not fit int8.
        """
        images, q = np.asarray(images), require_quality(quality, self.default_quality)
        if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] != self.in_channels:
            raise ArgumentError(
                f"The images are {images.dtype} {images.shape}; {self.name} takes uint8 "
                f"(N, height, width, {self.in_channels})."
            )
        require_effort(effort)
        height, width = images.shape[1:3]
        IMAGE.check(width, height)
        out = np.empty((len(images), *self.latent_shape(height, width)), np.int8)
        outside = 0
        for image, latent in zip(images, out, strict=True):
            latent[...], limited = self._encode_one(image, q, effort)
            outside += limited
        self._warn(outside, q)
        return out

    def decode(
        self,
        latents: npt.ArrayLike,
        channels: int | None = None,
        quality: int | None = None,
        size: tuple[int, int] | None = None,
        decoder: str | Decoder | None = None,
    ) -> Uint8s:
        """Decodes latents int8 (N, c, h, w), or only their first channels, to images uint8 (N, H, W, C).

        channels: how many of the first channels are used; None is all that are given.
        quality: the one at which the latents were encoded; None is the codec's default.
        size: (H, W) of the images. It is needed where their sides are not multiples of `reduction`.
        decoder: "best", "linear", the name of a trained decoder ("small" or "large"), or what `load_decoder` gives.
            None is "best": the trained one of this codec that gains most, or "linear" where none is shipped. A
            trained one is twenty to seventy times as slow as "linear". The latents are the same for all.
        """
        codes = np.asarray(latents)
        if codes.ndim != 4 or codes.dtype != np.int8 or not 1 <= codes.shape[1] <= self.channels:
            raise ArgumentError(
                f"latents are {codes.dtype} {codes.shape}; int8 (N, 1 to {self.channels}, h, w) is expected."
            )
        height, width = require_size(size, (codes.shape[2], codes.shape[3]), self.reduction)
        kept = require_prefix(channels, codes.shape[1])
        q, chosen = require_quality(quality, self.default_quality), self.decoder(decoder)
        out = np.empty((len(codes), height, width, self.in_channels), np.uint8)
        for latent, image in zip(codes, out, strict=True):
            self._refined(latent[:kept], q, (height, width), chosen, image)
        return out

    def scales(self, quality: int | None = None) -> Callable[[int], Floats]:
        """One scale for all samples: images have no step codes of their own."""
        return partial(_whatever_the_step, self.scale(quality))  # it pickles, for loaders that do

    def decode_samples(
        self,
        latents: Int8s,
        quality: int,
        size: tuple[int, int],
        steps: npt.NDArray[np.int64] | None,
        decoder: str | Decoder | None = None,
    ) -> Uint8s:
        """See `Codec.decode_samples`: uint8 (N, H, W, C)."""
        return self.decode(latents, quality=quality, size=size, decoder=decoder)

    def transform(self, latent: npt.ArrayLike, symmetry: str) -> Int8s:
        """The latent of the flipped or turned image, from the latent of the image.

        latent: int8 (..., c, h, w), or only its first channels.
        symmetry: one of `symmetry.SYMMETRIES`, which have the names of NumPy's functions.
        The result is exact where both sides of the image are multiples of `reduction`; see `symmetry.transform_latent`.
        """
        codes = np.asarray(latent)
        if codes.ndim < 3 or codes.dtype != np.int8 or not 1 <= codes.shape[-3] <= self.channels:
            raise ArgumentError(
                f"The latent is {codes.dtype} {codes.shape}; int8 (..., 1 to {self.channels}, h, w) is expected."
            )
        return transform_latent(codes, symmetry, self.classes[: codes.shape[-3]])

    def symmetry(self, name: str, channels: int) -> SignedPermutation:
        """See `Codec.symmetry`."""
        kept = self.classes[:channels]
        if kept[-1] == SymmetryClass.EO and signed_permutation(name, kept[:0]).transpose:
            raise ArgumentError(
                f"The first {channels} channels of {self.name} cannot be turned: a quarter turn exchanges the last of "
                f"them with the channel after it. Use {channels - 1} or {channels + 1} channels."
            )
        return signed_permutation(name, kept)

    @cached_property
    def matrix(self) -> Floats:
        """What one unit of each channel adds to each plane: float32 (64 * colours, channels)."""
        return projection.synthesis_matrix(self._synthesis, self.channels)

    # images and blobs

    def require_signal(self, signal: npt.NDArray[Any]) -> Uint8s:
        """See `Codec.require_signal`: uint8 (H, W, C)."""
        return require_image(signal, self.mode, self.name)

    def signal_size(self, signal: npt.NDArray[Any]) -> tuple[int, int]:
        """See `Codec.signal_size`."""
        return signal.shape[0], signal.shape[1]

    def compress(self, image: npt.ArrayLike, quality: int | None = None, effort: Effort = "default") -> bytes:
        """Compresses an image uint8 (H, W, C), or (H, W) for mode "L", to a sample blob.

        quality, effort: as in `encode`.
        """
        image = require_image(image, self.mode, self.name)
        made = self.compress_counted(image, quality, effort)
        self._warn(made.limited, quality)
        return self.join_groups(made.groups, image.shape[0], image.shape[1])

    def compress_counted(
        self, image: npt.ArrayLike, quality: int | None = None, effort: Effort = "default"
    ) -> Compressed:
        """Does what `compress_groups` does, and says what the image lost in place of a warning."""
        image = require_image(image, self.mode, self.name)
        q = require_quality(quality, self.default_quality)
        latent, outliers = self._encode_one(image, q, require_effort(effort))
        return Compressed(self.encode_latent_groups(latent, q), outliers)

    def encode_latent_groups(self, latent: npt.ArrayLike, quality: int | None = None) -> list[bytes]:
        """Codes a latent, int8 (channels, h, w), to its group blobs without loss.

        quality: the one at which the latent was encoded. If it is None, the blobs do not say a quality, and the
            models that code them in fewest bits are searched for.
        """
        codes = self._require_latent(latent)
        # of the smallest images with such a latent, the sides rounded up as the bound on pixels is meant
        spare = self.reduction - LEAST_REDUCTION
        IMAGE.check(*(max(side * self.reduction - spare, 0) for side in codes.shape[:0:-1]))
        n = self.group_channels
        q = None if quality is None else require_quality(quality, self.default_quality)
        band = None if q is None else self.band(q)
        return [self.entropy.encode(codes[g * n : (g + 1) * n], g, band, q or 0) for g in range(self.groups)]

    def join_groups(self, groups: Sequence[bytes], height: int, width: int) -> bytes:
        """Joins the group blobs that `compress_groups` made of an image of this size to a sample blob."""
        return join_sample(groups, width, height, self.mode, self.fingerprint)

    def decompress(self, blob: Buffer, channels: int | None = None, decoder: str | Decoder | None = None) -> Uint8s:
        """Decompresses a sample blob, or its beginning that holds the first channels, to an image uint8 (H, W, C).

        decoder: as in `decode`.
        Raises ArgumentError if the blob does not say its quality, because `encode_latent_groups` was not told it.
        """
        data, chosen = require_blob(blob), self.decoder(decoder)
        info = self._sample(data)
        latent = self._read([data], [info], channels)[0]
        return self._refined(latent, self._quality(data, info, len(latent)), (info.height, info.width), chosen)

    def decompress_into(self, blobs: Sequence[Buffer], images: Sequence[Uint8s]) -> None:
        """Decompresses sample blobs: blob i into images[i], uint8 (H, W, C) of its size.

        Many small images take less time in one call than one by one; see `bitstream.group.at_once`.
        """
        data = [require_blob(blob, i) for i, blob in enumerate(blobs)]
        infos = [self._sample(blob, i) for i, blob in enumerate(data)]
        latents = self._read_list(data, infos, None)
        for blob, info, latent, image in zip(data, infos, latents, images, strict=True):
            size = info.height, info.width
            if image.shape != (*size, self.in_channels) or image.dtype != np.uint8:
                raise ArgumentError(
                    f"The image's place is {image.dtype} {image.shape}; uint8 {(*size, self.in_channels)} is expected."
                )
            quality = self._quality(blob, info, len(latent))
            if image.flags.c_contiguous:
                self._to_image(latent, quality, size, image)
            else:
                image[...] = self._to_image(latent, quality, size)

    def _quality(self, blob: memoryview, info: SampleInfo, channels: int) -> int:
        """The quality that the groups of the first channels say."""
        groups = -(-channels // self.group_channels)
        qualities = {group_info(blob[info.starts[g] : info.ends[g]]).quality for g in range(groups)}
        if len(qualities) > 1:
            raise CorruptError(f"The blob's groups are of the qualities {sorted(qualities)}, not of one.")
        quality = qualities.pop()
        if not quality:
            raise ArgumentError("The blob does not say its quality: read its latent, and decode that at the right one.")
        return quality

    def _encode_one(self, image: Uint8s, quality: int, effort: Effort) -> tuple[Int8s, int]:
        """The latent, and how many of its values were limited to +-127."""
        facts, scale = self.artifact.facts, self.scale(quality)
        inverse = (np.float32(1) / scale).astype(np.float32)
        if effort == "fast":
            rounding = np.full(self.channels, facts["rounding"], np.float32)
            return projection.image_to_latent(image, self._analysis, inverse, rounding)
        coefficients = projection.image_to_coefs(image, self._analysis, inverse)
        # counted only where some image has such a coefficient
        outside = int((np.abs(coefficients) >= 127.5).sum()) if (self._bound > 127 * scale).any() else 0
        weight = (scale / scale.max()).astype(np.float32) ** 2
        lambda_ = float(facts["lambda"]) * float(np.float32(self.step(quality)) / scale.max()) ** 2
        n, band = self.group_channels, self.band(quality)
        latent = np.empty(coefficients.shape, np.int8)
        for group in range(self.groups):
            k = slice(group * n, (group + 1) * n)
            latent[k] = self.entropy.optimise(coefficients[k], group, band, weight[k], lambda_, self._delta[k])
        return latent, outside

    def _refined(
        self, latent: Int8s, quality: int, size: tuple[int, int], decoder: Decoder | None, out: Uint8s | None = None
    ) -> Uint8s:
        """The image by the linear synthesis, or by a decoder where that was trained for it."""
        if decoder is None or not decoder.serves(len(latent), quality):
            return self._to_image(latent, quality, size, out)
        return self._to_image(latent, quality, size, out, decoder.refinement(latent, self.step(quality)))

    def _to_image(
        self,
        latent: Int8s,
        quality: int,
        size: tuple[int, int],
        out: Uint8s | None = None,
        added: Floats | None = None,
    ) -> Uint8s:
        scale = self._scales.get(quality)
        if scale is None:
            scale = self._scales[quality] = self.scale(quality)
        return projection.latent_to_image(latent, self._synthesis, scale, *self._deltas, size, out, added)

    @cached_property
    def _scales(self) -> dict[int, Floats]:
        """By quality, what images were decoded with."""
        return {}

    @cached_property
    def _deltas(self) -> tuple[Floats, Floats]:
        delta1, delta2 = (np.ascontiguousarray(self._delta[:, i]) for i in (0, 1))
        return delta1, delta2


def _whatever_the_step(scale: Floats, step: int) -> Floats:
    return scale
