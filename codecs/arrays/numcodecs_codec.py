"""The numcodecs codecs `latentstore.signal` and `latentstore.latent`, for Zarr v2 arrays and all that uses numcodecs.

    zarr.create_array(
        path, zarr_format=2, shape=(n, 256, 256, 3), chunks=(1, 256, 256, 3), dtype="uint8", filters=None,
        compressors=SignalV2.of("rgb-f8c48", axes="nhwc"), fill_value=0,
    )

A chunk has the same bytes as in Zarr v3. numcodecs tells a codec nothing of the array: shape and memory order are in
the chunk, and the dtype is checked when it is encoded. Zarr v2 decodes and encodes a whole chunk to write a part of it,
so a chunk is best one image.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from numcodecs.abc import Codec as NumcodecsCodec
from numcodecs.compat import ensure_contiguous_ndarray

from latentstore.codecs.arrays.chunk_bytes import PartCoder, decode_chunk, encode_chunk, stored_shape
from latentstore.codecs.arrays.images import ImageChunks
from latentstore.codecs.arrays.latents import LatentChunks
from latentstore.codecs.arrays.options import LatentOptions, SignalOptions, codec_named
from latentstore.codecs.errors import ArgumentError
from latentstore.codecs.load import resolve

if TYPE_CHECKING:
    from latentstore.codecs.codec import Codec

__all__ = ["LatentV2", "SignalV2"]


class _ArrayCodec(NumcodecsCodec):  # type: ignore[misc]  # numcodecs has no types
    options_type: ClassVar[type[LatentOptions]]
    dtype: ClassVar[np.dtype]

    def __init__(self, options: LatentOptions, fill_value: int = 0) -> None:
        self.options = options
        self.fill_value = int(fill_value)
        info = np.iinfo(self.dtype)
        if not info.min <= self.fill_value <= info.max:
            raise ArgumentError(
                f"codec {self.codec_id!r}: fill_value must be a value of {self.dtype}, not {fill_value!r}"
            )

    def get_config(self) -> dict[str, Any]:
        """JSON, with every option."""
        return {"id": self.codec_id, **self.options.to_json(), "fill_value": self.fill_value}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """From what `get_config` gives."""
        rest = {key: value for key, value in config.items() if key not in ("id", "fill_value")}
        options = cls.options_type.from_json(rest)
        if not isinstance(config.get("fill_value"), int):
            raise ArgumentError(f"codec {cls.codec_id!r}: its configuration lacks fill_value, a whole number")
        return cls(options, config["fill_value"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.options!r}, fill_value={self.fill_value})"

    def __hash__(self) -> int:
        return hash((type(self), self.options, self.fill_value))

    def encode(self, buf: Any) -> bytes:
        """An array, as it is (not flattened), to bytes; ArgumentError for another dtype or shape."""
        values = np.asarray(buf)
        if values.dtype != self.dtype:
            raise ArgumentError(
                f"codec {self.codec_id!r} stores {self.dtype} arrays, not {values.dtype}: convert the values first"
            )
        # A decoder that gave C order for an array of Zarr v2 in Fortran order would scramble it without an
        # error.
        fortran = values.flags.f_contiguous and not values.flags.c_contiguous
        return encode_chunk(self._coder(values.shape), values, fortran)

    def decode(self, buf: Any, out: Any = None) -> npt.NDArray[Any]:
        """The array, in the memory order that it had.

        out: where to put it, and what is returned then: a contiguous array of its shape and dtype, or a flat buffer of
        its size, which gets the values in the memory order that they had. ArgumentError if it is anything else.
        """
        data = np.asarray(ensure_contiguous_ndarray(buf)).view(np.uint8).ravel()
        shape = stored_shape(data)
        room = None if out is None else self._room(out, shape)
        chunk = decode_chunk(self._coder(shape), data)
        if room is None:
            return chunk
        room[...] = chunk if room.shape == shape else chunk.ravel(order="A")
        return out

    def _room(self, out: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """`out` as an array, checked before anything is decoded."""
        room = np.asarray(out)
        flat = (math.prod(shape),)
        whole = room.flags.c_contiguous or room.flags.f_contiguous
        if room.shape not in (shape, flat) or room.dtype != self.dtype or not (whole and room.flags.writeable):
            kind = "" if whole else ", not contiguous"
            kind += "" if room.flags.writeable else ", read-only"
            raise ArgumentError(
                f"codec {self.codec_id!r}: out must be a writable, contiguous {self.dtype} array of shape {shape} or "
                f"{flat}; it is {room.dtype} {room.shape}{kind}"
            )
        return room

    def _resolved(self) -> Codec:
        return resolve(self.options.artifact, self.options.sha256)

    @abstractmethod
    def _coder(self, shape: tuple[int, ...]) -> PartCoder:
        """How a chunk of `shape` is coded."""


class SignalV2(_ArrayCodec):
    """uint8 images with loss; see `SignalOptions`. fill_value: that of the array, so that padding costs nothing."""

    codec_id = "latentstore.signal"
    options_type = SignalOptions
    dtype = np.dtype(np.uint8)

    @classmethod
    def of(
        cls,
        codec: Codec | str,
        axes: str,
        quality: int | None = None,
        effort: Literal["default", "fast"] = "default",
        fill_value: int = 0,
    ) -> Self:
        """Images by `codec`: a codec, or the name or path of one. quality: None is the codec's default."""
        codec = codec_named(codec)
        quality = codec.default_quality if quality is None else quality
        # Zarr v2 merges partial writes before it asks a codec, so nothing here could refuse them.
        options = SignalOptions(
            codec.name, codec.sha256, axes=axes, quality=quality, effort=effort, partial_writes="allow"
        )
        return cls(options, fill_value)

    def _coder(self, shape: tuple[int, ...]) -> PartCoder:
        assert isinstance(self.options, SignalOptions)
        return ImageChunks(self.options, self._resolved(), shape, self.fill_value)


class LatentV2(_ArrayCodec):
    """int8 latents (samples, channels, h, w) without loss. A chunk always has an index: decoding needs its shape."""

    codec_id = "latentstore.latent"
    options_type = LatentOptions
    dtype = np.dtype(np.int8)

    @classmethod
    def of(cls, codec: Codec | str, fill_value: int = 0) -> Self:
        """Latents of `codec`: a codec, or the name or path of one."""
        codec = codec_named(codec)
        return cls(LatentOptions(codec.name, codec.sha256), fill_value)

    def _coder(self, shape: tuple[int, ...]) -> PartCoder:
        coder = LatentChunks(self._resolved(), shape, self.fill_value)
        coder.bare = False
        return coder
