"""The Zarr v3 codecs: `latentstore.signal` for images, with loss, and `latentstore.latent` for int8 latents, without.

    zarr.create_array(path, shape=(n, 256, 256, 3), chunks=(1, 256, 256, 3), dtype="uint8",
                      serializer=SignalCodec.of("rgb-f8c48", axes="nhwc"), compressors=None)

Zarr finds them by their entry points, so a process that reads such an array imports nothing but zarr. The artifact is
found by its SHA-256, see `codecs.load` and `codecs.arrays.embedded`. A codec is only its configuration: cheap to make,
compare and pickle. `latentstore.zarr.create` makes arrays with fewer ways to go wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from latentstore.codecs.arrays.images import ImageChunks, check_images
from latentstore.codecs.arrays.latents import LatentChunks, check_latents
from latentstore.codecs.arrays.options import LatentOptions, SignalOptions, codec_named
from latentstore.codecs.arrays.zarr_chunks import ChunkCodec
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.load import registered

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec

    from latentstore.codecs.codec import Codec

__all__ = ["LatentCodec", "SignalCodec"]


@dataclass(frozen=True)
class LatentCodec(LatentOptions, ChunkCodec):
    """int8 (samples, channels, h, w) without loss: any number of samples and channels a chunk, all of h and
    w."""

    @classmethod
    def of(cls, codec: Codec | str) -> Self:
        """The Zarr codec that stores latents of `codec` (or of the codec of that name or path)."""
        codec = codec_named(codec)
        return cls(codec.name, codec.sha256)

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Refuses here what it cannot store, since Zarr validates no codec inside shards."""
        _check_dtype(array_spec, np.int8, f"codec {self.codec_name!r} stores int8 latents")
        check_latents(array_spec.shape, None)
        return self

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuses chunks that split a plane (outside shards; Zarr does not ask inside)."""
        chunk = getattr(chunk_grid, "chunk_shape", None)
        if chunk is None:
            return
        if len(chunk) != 4 or tuple(chunk[2:]) != tuple(shape[2:]):
            raise ArgumentError(
                f"codec {self.codec_name!r} stores whole planes: chunks=(samples, channels, "
                f"{', '.join(str(n) for n in shape[2:])}), not {tuple(chunk)}"
            )
        check_latents((chunk[0], *shape[1:]), registered(self.sha256))

    def coder(self, codec: Codec, shape: tuple[int, ...], fill: int) -> LatentChunks:
        return LatentChunks(codec, shape, fill)


@dataclass(frozen=True)
class SignalCodec(SignalOptions, ChunkCodec):
    """uint8 images with loss: a chunk is one or many images, or tiles of one; see `SignalOptions`."""

    @classmethod
    def of(
        cls,
        codec: Codec | str,
        axes: str,
        quality: int | None = None,
        effort: Literal["default", "fast"] = "default",
        partial_writes: Literal["refuse", "allow"] = "refuse",
    ) -> Self:
        """The Zarr codec that stores images by `codec` (or the codec of that name or path). quality:
        the codec's own default if None."""
        codec = codec_named(codec)
        quality = codec.default_quality if quality is None else quality
        return cls(codec.name, codec.sha256, axes=axes, quality=quality, effort=effort, partial_writes=partial_writes)

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Refuses here what it cannot store. Zarr gives the array's shape, or in shards the inner chunk's."""
        _check_dtype(array_spec, np.uint8, f"codec {self.codec_name!r} stores uint8 images")
        axes, shape = self.axes, array_spec.shape
        # An array may be larger than a chunk can be, so of its height and width only a pixel is looked at
        # here.
        cell = tuple(n if a == "c" else 1 for a, n in zip(axes, shape, strict=False))
        check_images(self, cell if len(shape) == len(axes) else shape, registered(self.sha256))
        return self

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuses chunks that split the channel axis or are too large (outside shards; Zarr does not ask
        inside)."""
        chunk = getattr(chunk_grid, "chunk_shape", None)
        if chunk is not None:
            check_images(self, tuple(chunk), registered(self.sha256))

    def coder(self, codec: Codec, shape: tuple[int, ...], fill: int) -> ImageChunks:
        return ImageChunks(self, codec, shape, fill)

    @property
    def refuses_partial_writes(self) -> bool:  # type: ignore[override]
        return self.partial_writes == "refuse"


def _check_dtype(spec: ArraySpec, wanted: type[np.generic], said: str) -> None:
    dtype = spec.dtype.to_native_dtype()
    if dtype != wanted:
        raise ArgumentError(f"{said}, not {dtype}: convert the values first, or leave this array to another codec")
