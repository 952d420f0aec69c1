"""`latentstore.latent`: the Zarr v3 codec for int8 latents, lossless.

    zarr.create_array(path, shape=(n, 48, 32, 32), chunks=(1, 12, 32, 32), dtype="int8",
                      serializer=LatentCodec.of("rgb-f8c48"), compressors=None)

A chunk is one group of one sample: (1, group_channels, h, w), with all of h and w. Zarr finds the codec by
its entry point, so a process that reads such an array imports nothing but zarr; the artifact is found by its
SHA-256, see `codecs.resolve`. The codec itself is only its configuration: cheap to make, compare and pickle.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from latentstore.codecs.errors import ArgumentError, CorruptError, UnsupportedVersionError
from latentstore.codecs.resolve import register, resolve
from zarr.abc.codec import ArrayBytesCodec

if TYPE_CHECKING:
    from latentstore.codecs import Codec
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME = "latentstore.latent"
VERSION = 1


@dataclass(frozen=True)
class LatentCodec(ArrayBytesCodec):
    """int8 (1, group_channels, h, w) to a group blob. artifact: its name; sha256: its identity, in
    hexadecimal."""

    artifact: str
    sha256: str
    version: int = VERSION

    is_fixed_size = False

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise UnsupportedVersionError(
                f"codec {NAME!r} version {self.version!r}; this latentstore reads version {VERSION}: "
                "pip install --upgrade latentstore"
            )
        if not isinstance(self.artifact, str) or not self.artifact:
            raise ArgumentError(f"codec {NAME!r}: artifact name must be a string, not {self.artifact!r}")
        if not (
            isinstance(self.sha256, str)
            and len(self.sha256) == 64
            and set(self.sha256) <= set("0123456789abcdef")
        ):
            raise ArgumentError(f"codec {NAME!r}: sha256 must be 64 hexadecimal digits, not {self.sha256!r}")

    @classmethod
    def of(cls, codec: Codec | str) -> Self:
        """The Zarr codec that stores latents of `codec` (or of the codec of that name, path or URL)."""
        if isinstance(codec, str):
            from latentstore.codecs import load_codec

            codec = load_codec(codec)
        register(codec)
        return cls(codec.name, codec.sha256)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From ``{"name": ..., "configuration": {"version", "artifact": {"name", "sha256"}}}``."""
        configuration = data.get("configuration") if isinstance(data, dict) else None
        if not isinstance(configuration, dict):
            raise ArgumentError(
                f"codec {NAME!r} needs a configuration with version and artifact; got {data!r}"
            )
        version, artifact = configuration.get("version"), configuration.get("artifact")
        if version != VERSION:
            raise UnsupportedVersionError(
                f"codec {NAME!r} version {version!r}; this latentstore reads version {VERSION}: "
                "pip install --upgrade latentstore"
            )
        unknown = sorted(set(configuration) - {"version", "artifact"})
        if unknown:
            raise ArgumentError(f"codec {NAME!r}: unknown configuration {', '.join(unknown)}")
        if not isinstance(artifact, dict) or set(artifact) != {"name", "sha256"}:
            raise ArgumentError(f"codec {NAME!r}: artifact must have a name and a sha256; got {artifact!r}")
        return cls(artifact["name"], artifact["sha256"], version)

    def to_dict(self) -> dict[str, Any]:
        """See `from_dict`. Every option is written, so stored data never hangs on a default."""
        artifact = {"name": self.artifact, "sha256": self.sha256}
        return {"name": NAME, "configuration": {"version": self.version, "artifact": artifact}}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Refuses here what it cannot store, since Zarr validates no codec inside shards."""
        dtype = array_spec.dtype.to_native_dtype()
        if dtype != np.int8:
            raise ArgumentError(f"codec {NAME!r} stores int8 latents, not {dtype}")
        if len(array_spec.shape) != 4 or 0 in array_spec.shape[1:]:
            raise ArgumentError(
                f"codec {NAME!r} stores non-empty latents (sample, channel, y, x), "
                f"not shape {array_spec.shape}"
            )
        return self

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuses chunks that split a plane or hold several samples (called outside shards only; encoding
        checks too)."""
        chunk = getattr(chunk_grid, "chunk_shape", None)
        if chunk is not None and (len(chunk) != 4 or chunk[0] != 1 or tuple(chunk[2:]) != tuple(shape[2:])):
            raise ArgumentError(_chunks_said(tuple(chunk), shape))

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        # Zarr runs codecs on its one event loop; a thread with the GIL released is what makes them run in
        # parallel.
        return await asyncio.to_thread(self._encode, chunk_array, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode, chunk_data, chunk_spec)

    def _encode(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        latent = np.ascontiguousarray(chunk_array.as_numpy_array())
        codec = resolve(self.artifact, self.sha256)
        self._check_chunk(chunk_spec.shape, codec)
        # Zarr does not say which channels a chunk holds: the model that codes them in fewest bits is found.
        blob = codec.entropy.encode(latent.reshape(chunk_spec.shape[1:]))
        return chunk_spec.prototype.buffer.from_bytes(blob)

    def _decode(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        codec = resolve(self.artifact, self.sha256)
        self._check_chunk(chunk_spec.shape, codec)
        blob = np.ascontiguousarray(chunk_data.as_numpy_array()).view(np.uint8)
        if not blob.size:
            raise CorruptError(f"an empty chunk: codec {NAME!r} never writes one")
        out = np.empty(chunk_spec.shape, np.int8)  # Zarr checks no shape: the decoder must fill exactly this
        zero = np.zeros(1, np.int64)
        codec.read_groups([blob], zero.astype(np.int32), zero, np.array([blob.size], np.int64), out)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(out)

    def _check_chunk(self, chunk: tuple[int, ...], codec: Codec) -> None:
        if len(chunk) != 4 or chunk[0] != 1 or chunk[1] != codec.group_channels:
            expected = f"(1, {codec.group_channels}, h, w)"
            raise ArgumentError(
                f"codec {NAME!r} with {self.artifact} stores chunks of {expected}, not {chunk}"
            )

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before encoding."""
        raise NotImplementedError


def _chunks_said(chunk: tuple[int, ...], shape: tuple[int, ...]) -> str:
    return (
        f"codec {NAME!r} stores one group of channels of one sample per chunk: "
        f"chunks=(1, channels of a group, "
        f"{', '.join(str(n) for n in shape[2:])}), not {chunk}"
    )
