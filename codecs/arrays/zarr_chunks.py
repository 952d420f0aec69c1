"""What the Zarr v3 codecs of this package share: whole and partial reads and writes of chunks made of parts.

Zarr runs codecs on its one event loop. Here every chunk is coded in a thread, without Python's global lock, so that
chunks are coded in parallel. Nothing here calls Zarr's synchronous interface: inside a codec it would wait for itself.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import (
    ArrayBytesCodec,
    ArrayBytesCodecPartialDecodeMixin,
    ArrayBytesCodecPartialEncodeMixin,
)
from zarr.abc.store import RangeByteRequest

from latentstore.codecs.arrays.batching import decode_batched
from latentstore.codecs.arrays.chunk_bytes import (
    PartCoder,
    Parts,
    decode_chunk,
    decode_parts,
    encode_chunk,
    header_bytes,
    pack,
    read_index,
)
from latentstore.codecs.arrays.embedded import embedded_codec
from latentstore.codecs.arrays.selection import Selection
from latentstore.codecs.arrays.zarr_sync import Direct, in_thread, run_direct
from latentstore.codecs.errors import (
    ArgumentError,
    ArtifactError,
    CorruptError,
    LatentstoreError,
    TruncatedError,
)
from latentstore.codecs.load import registered, resolve

if TYPE_CHECKING:
    from zarr.abc.store import ByteGetter, ByteSetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

    from latentstore.codecs.codec import Codec

FIRST_READ_BYTES = 128 << 10
"""A partial read begins with the index and so much after it: less than what a request to an object store
costs in time, and often all that is wanted. Ranges no further apart than this are read as one."""


class _Stored(np.ndarray):
    """A chunk as it was decoded. Zarr copies it into what a read returns, which is an ordinary array; or merges a
    write of a part into it, or into its copy, which is of this type, too."""


class ChunkCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin, ArrayBytesCodecPartialEncodeMixin):
    """Base of the codecs; they say how a chunk's parts are coded."""

    artifact: str
    sha256: str
    codec_name: str
    is_fixed_size = False
    refuses_partial_writes = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """From ``{"name": ..., "configuration": {...}}``; see `to_dict`."""
        return cls.from_json(data.get("configuration") if isinstance(data, dict) else None)

    def to_dict(self) -> dict[str, Any]:
        """Name and configuration, with every option."""
        return {"name": self.codec_name, "configuration": self.to_json()}

    @classmethod
    @abstractmethod
    def from_json(cls, configuration: Any) -> Self:
        """From the options as JSON; see `arrays.options`."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Every option as JSON."""

    @abstractmethod
    def coder(self, codec: Codec, shape: tuple[int, ...], fill: int) -> PartCoder:
        """How chunks of `shape` are coded."""

    # ---- whole chunks: where compressors or filters stand beside this codec, and writes of newer pipelines

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_array, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        coder = self._coder(chunk_spec)
        values = self._checked(chunk_array.as_numpy_array(), chunk_spec.shape, coder)
        if isinstance(values, _Stored):
            raise ArgumentError(
                "this write covers only a part of a chunk that is stored with loss, and beside compressors or "
                "filters, or in this pipeline of zarr, the rest would be coded again, and lose a little each time: "
                'write whole chunks, or create the array with compressors=None or partial_writes="allow"'
            )
        return chunk_spec.prototype.buffer.from_bytes(encode_chunk(coder, values))

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        chunk = decode_chunk(self._coder(chunk_spec), _bytes(chunk_data))
        return chunk_spec.prototype.nd_buffer.from_numpy_array(
            chunk.view(_Stored) if self.refuses_partial_writes else chunk
        )

    # ---- parts of chunks

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        try:
            coder = await self._coder_at(byte_getter, chunk_spec)
            chosen = Selection(coder.grid, selection)
            blobs = await _fetch(byte_getter, coder, chosen, chunk_spec)
            if blobs is None:
                return None
            # The whole chunk's room, of which only the chosen parts are ever touched: NumPy's own indexing then
            # does the rest.
            chunk = np.empty(coder.grid.shape, coder.dtype)
            parts = Parts(chunk, chosen.touched, blobs)
            if isinstance(byte_getter, Direct):
                decode_parts(coder, [parts])
            else:
                await decode_batched(coder, parts)
        except LatentstoreError as error:
            raise _at(byte_getter, error) from error
        return chunk_spec.prototype.nd_buffer.from_numpy_array(np.asarray(chunk[chosen.key]))

    async def _encode_partial_single(
        self, byte_setter: ByteSetter, chunk_array: NDBuffer, selection: Any, chunk_spec: ArraySpec
    ) -> None:
        try:
            coder = await self._coder_at(byte_setter, chunk_spec)
            chosen = Selection(coder.grid, selection)
            stored = None if chosen.covers_all else await byte_setter.get(chunk_spec.prototype)
            data = None if stored is None else _bytes(stored)
            values = chunk_array.as_numpy_array()
            blobs = await in_thread(byte_setter, self._merge, coder, chosen, values, data)
        except LatentstoreError as error:
            raise _at(byte_setter, error) from error
        if any(blobs):
            await byte_setter.set(chunk_spec.prototype.buffer.from_bytes(pack(coder, blobs)))
        elif chunk_spec.config.write_empty_chunks:
            empty = np.full(coder.grid.shape, coder.fill, coder.dtype)
            await byte_setter.set(chunk_spec.prototype.buffer.from_bytes(encode_chunk(coder, empty)))
        else:
            await byte_setter.delete()

    def _decode_partial_sync(self, byte_getter: Any, selection: Any, chunk_spec: ArraySpec) -> NDBuffer | None:
        found: NDBuffer | None = run_direct(
            self._decode_partial_single(cast("ByteGetter", Direct(byte_getter)), selection, chunk_spec)
        )
        return found

    def _encode_partial_sync(
        self, byte_setter: Any, chunk_array: NDBuffer, selection: Any, chunk_spec: ArraySpec
    ) -> None:
        place = cast("ByteSetter", Direct(byte_setter))
        run_direct(self._encode_partial_single(place, chunk_array, selection, chunk_spec))

    def _merge(
        self,
        coder: PartCoder,
        chosen: Selection,
        values: npt.NDArray[Any],
        data: npt.NDArray[np.uint8] | None,
    ) -> list[bytes]:
        """The chunk's blobs after a write: parts that it does not touch keep theirs, byte for byte."""
        grid = coder.grid
        blobs: list[Any] = [b""] * grid.parts
        if data is not None:
            index = read_index(data, coder)
            _check_end(index.total_bytes, data.size)
            blobs = [data[a:b] for a, b in zip(index.starts, index.ends, strict=True)]
        # Places without a value yet are never read: np.empty gives the memory when it is written to.
        chunk = np.empty(grid.shape, coder.dtype)
        for part in chosen.touched:
            if chosen.covers(part):
                continue
            blob = blobs[part]
            core = coder.loses_nothing_outside(blob) if len(blob) else None
            if len(blob) and core is None:
                decode_parts(coder, [Parts(chunk, [part], [blob])])
            elif core is not None and not chosen.covers(part, core):
                self._allow_partial(part)
                decode_parts(coder, [Parts(chunk, [part], [blob])])
            else:
                chunk[grid.block(part)] = coder.fill
        if values.ndim:
            values = _fitted(values, chosen.shape)
        chunk[chosen.key] = self._checked(values, values.shape, coder)
        for part in chosen.touched:
            block = chunk[grid.block(part)]
            blobs[part] = b"" if coder.bare and (block == coder.fill).all() else coder.encode(block, part)
        return [bytes(blob) for blob in blobs]

    def _allow_partial(self, part: int) -> None:
        if self.refuses_partial_writes:
            raise ArgumentError(
                f"this write covers only a part of image {part} of a chunk that is stored with loss: the "
                "rest would be decoded and coded again, and lose a little each time; write whole images "
                'or tiles (align them with array.chunks), or create the array with partial_writes="allow"'
            )

    # ---- checks and look-ups

    def _coder(self, chunk_spec: ArraySpec) -> PartCoder:
        return _coder(self, resolve(self.artifact, self.sha256), chunk_spec.shape, int(chunk_spec.fill_value))

    async def _coder_at(self, place: Any, chunk_spec: ArraySpec) -> PartCoder:
        """As `_coder`; looks for the artifact in the groups around the chunk too, where Zarr says where that
        is."""
        codec = registered(self.sha256)
        if codec is None:
            try:
                codec = await in_thread(place, resolve, self.artifact, self.sha256)
            except ArtifactError:
                if isinstance(place, Direct):  # in a thread without a loop, and once for an array
                    codec = asyncio.run(embedded_codec(place, self.sha256))
                else:
                    codec = await embedded_codec(place, self.sha256)
                if codec is None:
                    raise
        return _coder(self, codec, chunk_spec.shape, int(chunk_spec.fill_value))

    def _checked(self, values: npt.NDArray[Any], shape: tuple[int, ...], coder: PartCoder) -> npt.NDArray[Any]:
        if values.shape != shape or values.dtype != coder.dtype:
            raise ArgumentError(
                f"codec {self.codec_name!r} was given {values.dtype} {values.shape} where {coder.dtype} "
                f"{shape} is expected"
            )
        return values

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before encoding."""
        raise NotImplementedError


@lru_cache(maxsize=64)
def _coder(options: ChunkCodec, codec: Codec, shape: tuple[int, ...], fill: int) -> PartCoder:
    """One for all chunks of an array: they are decoded together by it, and small ones take less time than it does."""
    return options.coder(codec, shape, fill)


async def _fetch(
    byte_getter: ByteGetter, coder: PartCoder, chosen: Selection, spec: ArraySpec
) -> list[npt.NDArray[np.uint8]] | None:
    """The blobs of the chosen parts; None if the chunk was never written."""
    size = header_bytes(coder)
    # A chunk of a shard is in memory already, and zarr before 3.1.6 gives out no parts of it.
    whole = 2 * len(chosen.touched) > coder.grid.parts or hasattr(byte_getter, "chunk_coords")
    request = None if whole else RangeByteRequest(0, size + FIRST_READ_BYTES)
    first = await byte_getter.get(spec.prototype, request)
    if first is None:
        return None
    head = _bytes(first)
    index = read_index(head, coder)
    if whole:
        _check_end(index.total_bytes, head.size)
    wanted = [(int(index.starts[p]), int(index.ends[p])) for p in chosen.touched]
    pieces = {(0, head.size): head}
    for run in _runs([w for w in wanted if w[1] > head.size and w[0] < w[1]]):
        more = await byte_getter.get(spec.prototype, RangeByteRequest(*run))
        pieces[run] = np.zeros(0, np.uint8) if more is None else _bytes(more)
    return [_cut(pieces, w) for w in wanted]


def _runs(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending ranges, near ones joined."""
    runs: list[tuple[int, int]] = []
    for start, end in ranges:
        if runs and start - runs[-1][1] <= FIRST_READ_BYTES:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def _cut(pieces: dict[tuple[int, int], npt.NDArray[np.uint8]], wanted: tuple[int, int]) -> npt.NDArray[np.uint8]:
    start, end = wanted
    if start == end:
        return np.zeros(0, np.uint8)
    for (first, last), data in pieces.items():
        if first <= start and end <= last:
            if data.size < end - first:
                break
            return data[start - first : end - first]
    raise TruncatedError(f"the chunk is cut short: it has no bytes {start} to {end}")


def _fitted(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Orthogonal writes drop or keep axes of length one; nothing else may differ. (Zarr 3.1 gives values of
    another shape where arrays of indices write into a shard, whatever the codec.)"""
    if [n for n in values.shape if n != 1] != [n for n in shape if n != 1]:
        raise ArgumentError(
            f"zarr gave values of shape {values.shape} for a selection of shape {shape}: write by slices, "
            f"which it does in shards too"
        )
    return values.reshape(shape)


def _check_end(expected: int, found: int) -> None:
    if expected != found:
        kind = TruncatedError if found < expected else CorruptError
        raise kind(f"the chunk has {found} bytes where its index announces {expected}")


def _bytes(buffer: Buffer) -> npt.NDArray[np.uint8]:
    data = np.ascontiguousarray(buffer.as_numpy_array()).view(np.uint8)
    if not data.size:
        raise TruncatedError("the chunk is empty: no codec of latentstore writes one without bytes")
    return data


def _at(place: Any, error: LatentstoreError) -> LatentstoreError:
    """The same error, saying which chunk: Zarr tells it where the chunk is no part of a shard, else its place
    in it."""
    coordinates = getattr(place, "chunk_coords", None)
    where = f"chunk {place}" if coordinates is None else f"chunk {coordinates} of a shard"
    return type(error)(f"{where}: {error}", error.index)
