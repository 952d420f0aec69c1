"""The layout of a store with versions, of tensors, latents or both: names, and the bytes of a shard. `docs/stores.md`
describes it.

    TARGET/tensors.json                 the manifest of the newest version; written last
    TARGET/versions/000001.json         every version that is kept, as it was written
    TARGET/versions/000001.npz          of a store of latents alone: the moments of the latents of that version
    TARGET/shards/NAME                  samples; a shard is written once and never changed
    TARGET/coders/SHA256.safetensors    what a field's blobs are decoded with: a coder, or the artifact of a codec

A version names its shards, so readers of one version never see another one. A sample has parts: one blob of each tensor
field, and one of each group of each of its latents. A shard is: of each part the blobs of all samples, end to end, one
part after the other; then the tail: its columns (keys, numbers, text), the lengths of the blobs, and 32 bytes that say
how long these two are. So the first groups of all latents are one range of bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.errors import CorruptError
from latentstore.loaders.columns import Column, pack, unpack

MANIFEST = "tensors.json"
SHARDS, VERSIONS, CODERS = "shards", "versions", "coders"
SHAPE = "shape/"
"""Before the name of a field: the array of a shard's columns that holds the shapes of its tensors; of latents beside
other fields, height and width of the signals, as `loaders.reader.Reader.sizes` gives them."""

MOMENTS = "moments/"
"""Before the name of latents beside other fields: the array of a shard's columns that holds, per channel, the sums and
the sums of squares of the dequantised latents of the shard, float64 (2, channels)."""

STEP = "@step/"
"""Before the name of latents beside other fields: the column of a shard that holds the step code of each sample."""

SOURCE = "@source"
"""The column of a shard that says what each sample was made of: text that changes with it, "" where nobody said."""

HEIGHT, WIDTH = "@height", "@width"
"""The columns of a shard that say how large each signal is, where the sizes of a store of latents alone differ."""

MOST_FIELDS = 256
MOST_PARTS = 1024
MOST_SHARD_SAMPLES = 1 << 24
MOST_SHARD_BYTES = 1 << 40
MOST_TAIL_BYTES = 1 << 30

_END = struct.Struct("<8sQQII")
"""Magic, bytes of the columns, samples, fields, CRC-32C of the tail before this number."""
_MAGIC = b"LSTENS\x00\x01"
END_BYTES = _END.size


def shard_name(name: str) -> str:
    """The object of a shard."""
    return f"{SHARDS}/{name}"


def version_name(version: int) -> str:
    """The object that keeps the manifest of a version."""
    return f"{VERSIONS}/{version:06d}.json"


def moments_name(version: int) -> str:
    """The object that keeps the moments of all latents of a version, for whoever makes the next one."""
    return f"{VERSIONS}/{version:06d}.npz"


def coder_name(sha256: str) -> str:
    """The object of a coder."""
    return f"{CODERS}/{sha256}.safetensors"


@dataclass(frozen=True)
class Tail:
    """What stands at the end of a shard.

    columns: of keys, numbers, text and bytes, by name. shapes: of each field that `SHAPE` speaks of, int64
    (samples, rank), or (1, rank) where all are the same, or None where even the rank differs. lengths: int64
    (samples, parts), of the blobs. moments: see `MOMENTS`.
    """

    columns: Mapping[str, Column]
    shapes: Mapping[str, np.ndarray | None]
    lengths: np.ndarray
    moments: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Samples of the shard."""
        return len(self.lengths)


def encode_tail(tail: Tail) -> bytes:
    """The bytes of a tail."""
    arrays = {SHAPE + name: shape for name, shape in tail.shapes.items() if shape is not None}
    table = pack(tail.columns, arrays | {MOMENTS + name: sums for name, sums in tail.moments.items()})
    body = table + np.ascontiguousarray(tail.lengths.T, "<u4").tobytes()
    head = _MAGIC, len(table), *tail.lengths.shape
    return body + _END.pack(*head, crc32c(body + _END.pack(*head, 0)))


def tail_bytes(end: bytes, size: int, where: str) -> int:
    """How long the tail of a shard is, from its last `END_BYTES` bytes. size: of the whole shard."""
    columns, samples, fields, _ = _read_end(end, where)
    total = columns + 4 * samples * fields + END_BYTES
    if total > min(size, MOST_TAIL_BYTES):
        raise CorruptError(f"{where}: a shard of {size} bytes says that its last {total} bytes are its index")
    return total


def decode_tail(data: bytes, parts: Sequence[str], where: str) -> Tail:
    """The tail of a shard, from its bytes. parts: of a sample. CorruptError names `where`."""
    columns_bytes, samples, count, crc = _read_end(data[-END_BYTES:], where)
    body = data[:-END_BYTES]
    if columns_bytes + 4 * samples * count != len(body) or count != len(parts):
        raise CorruptError(f"{where}: its index is not that of {len(parts)} fields, or is cut short")
    if crc32c(body + data[-END_BYTES:-4] + bytes(4)) != crc:
        raise CorruptError(f"{where}: the index at its end is damaged")
    columns, arrays = unpack(body[:columns_bytes], where)
    lengths = np.frombuffer(body, "<u4", offset=columns_bytes).reshape(count, samples).T.astype(np.int64)
    shapes = dict.fromkeys(parts) | {
        name: _shape(array, samples, f"{where}, field {name!r}") for name, array in _named(arrays, SHAPE)
    }
    moments = {name: _sums(array, f"{where}, field {name!r}") for name, array in _named(arrays, MOMENTS)}
    for name, column in columns.items():
        if len(column) != samples:
            raise CorruptError(f"{where}: {len(column)} values of {name!r} for {samples} samples")
    for name in ("key", SOURCE):
        if name not in columns or columns[name].kind != "str":
            raise CorruptError(f"{where}: it lacks the column {name!r}")
    return Tail(columns, shapes, lengths, moments)


def _read_end(end: bytes, where: str) -> tuple[int, int, int, int]:
    if len(end) != END_BYTES:
        raise CorruptError(f"{where}: cut short, its last bytes are missing")
    magic, columns, samples, fields, crc = _END.unpack(end)
    if magic != _MAGIC:
        raise CorruptError(f"{where}: not a shard of a store with versions, or cut short (its last bytes are others)")
    if not 1 <= samples <= MOST_SHARD_SAMPLES or not 1 <= fields <= MOST_PARTS or columns > MOST_TAIL_BYTES:
        raise CorruptError(f"{where}: its last bytes claim {samples} samples of {fields} fields")
    return columns, samples, fields, crc


def _named(arrays: Mapping[str, np.ndarray], prefix: str) -> list[tuple[str, np.ndarray]]:
    return [(name.removeprefix(prefix), array) for name, array in arrays.items() if name.startswith(prefix)]


def _shape(array: np.ndarray, samples: int, where: str) -> np.ndarray:
    if array.dtype != np.int64 or array.ndim != 2 or len(array) not in (1, samples) or (array < 0).any():
        raise CorruptError(f"{where}: its shapes are damaged")
    return array


def _sums(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype != np.float64 or array.ndim != 2 or len(array) != 2 or not np.isfinite(array).all():
        raise CorruptError(f"{where}: its sums over the latents are damaged")
    return array
