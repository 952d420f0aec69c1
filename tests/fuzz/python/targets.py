"""What of the package takes bytes from outside and is Python: each target reads its input as that.

Checksums are of no use against a forger, who makes them match: here they match whatever the input is.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
from guided import Target
from safetensors.numpy import save

from latentstore.codecs.arrays import chunk_bytes
from latentstore.codecs.arrays.chunk_bytes import Grid, Parts, decode_chunk, pack, stored_shape
from latentstore.codecs.artifact.file import read_artifact
from latentstore.codecs.artifact.parts import PARTS
from latentstore.codecs.bitstream import group, sample, segments
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.sample import join_sample, split_sample
from latentstore.codecs.bitstream.segments import is_segmented, join_segments, split_segments, step_code_of
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.modality import AUDIO, IMAGE
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.loaders.columns import Column
from latentstore.loaders.columns import pack as pack_columns
from latentstore.loaders.manifest import StoreMeta, read_json, seal, seal_holds
from latentstore.loaders.tensors import layout as versions_layout
from latentstore.loaders.tensors.latent_reader import LatentReader
from latentstore.loaders.tensors.latents import LatentField
from latentstore.loaders.tensors.manifest import Shard, TensorMeta
from latentstore.loaders.tensors.read import VersionReader
from latentstore.loaders.webdataset.layout import decode_index
from latentstore.loaders.zarr import layout
from latentstore.loaders.zarr.arrays import ArrayInfo
from latentstore.sources.audio.files import audio_length

SHA256 = bytes(range(32))


class _Matches(int):
    """A checksum that is equal to any other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def _matching(data: object, seed: int = 0) -> int:
    return _Matches(0)


@contextmanager
def checksums_match() -> Iterator[None]:
    with ExitStack() as stack:
        for module in (chunk_bytes, group, sample, segments, layout, versions_layout):
            stack.enter_context(mock.patch.object(module, "crc32c", _matching))
        stack.enter_context(mock.patch.object(zipfile.ZipExtFile, "_update_crc", lambda self, data: None))
        yield


class _Memory:
    """In the place of a location whose every object is the input."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, name: str) -> bytes:
        return self.data

    def at(self, name: str = "") -> str:
        return f"memory/{name}"


class _Coder:
    """A coder of a chunk's parts that decodes nothing."""

    kind, sha256, grid, dtype, fill, bare, at_once = 0, SHA256.hex(), Grid((4, 3), (2, 3)), np.uint8, 0, False, 1

    def encode(self, block: Any, part: int) -> bytes:
        return b""

    def decode(self, chunks: Sequence[Parts]) -> None:
        assert all(len(blob) for parts in chunks for blob in parts.blobs)

    def loses_nothing_outside(self, blob: Any) -> None:
        return None


# targets


def artifact(data: bytes) -> None:
    read_artifact(data)


def sample_blob(data: bytes) -> None:
    info = split_sample(data)
    assert len(info.starts) == len(info.ends)


def group_blob(data: bytes) -> None:
    """Of images, or of audio, in segments or not."""
    group.group_info(data, SHA256, IMAGE)
    group.group_info(data, SHA256, AUDIO)


def segmented(data: bytes) -> None:
    if is_segmented(data):
        split_segments(data, SHA256)
    step_code_of(data)


def chunk_index(data: bytes) -> None:
    array = np.frombuffer(data, np.uint8)
    stored_shape(array)
    decode_chunk(_Coder(), array)


def tar_index(data: bytes) -> None:
    index = decode_index(data, 3, 2, "an index")
    for column in index.columns.values():
        column.values()


def manifest(data: bytes) -> None:
    attributes = read_json(_Memory(data), "manifest")  # type: ignore[arg-type]
    StoreMeta.of(attributes, "a manifest")
    seal_holds(attributes)


def version_manifest(data: bytes) -> None:
    """Of a store with versions, whatever its fields are."""
    location: Any = _Memory(data)
    meta = TensorMeta.of(read_json(location, "manifest"), "a manifest")
    reader = VersionReader(location, meta, meta.coded)
    assert reader.groups == len(meta.parts) and len(meta.asked) == len(meta.fields)
    for name in meta.latents:
        LatentReader(reader, name).fields(np.zeros(0, np.int64))


def shard_tail(data: bytes) -> None:
    """Of a shard of a store with versions: a tensor, and latents in two groups."""
    size = versions_layout.tail_bytes(data[-versions_layout.END_BYTES :], 1 << 20, "a shard")
    tail = versions_layout.decode_tail(data[-size:], ["x", "y/0", "y/1"], "a shard")
    for column in tail.columns.values():
        assert len(column.values()) == tail.count
    assert all(len(sums) == 2 for sums in tail.moments.values())


def zarr_metadata(data: bytes) -> None:
    ArrayInfo.of(read_json(_Memory(data), "zarr.json"), "zarr.json")  # type: ignore[arg-type]


def zarr_chunks(data: bytes) -> None:
    """An index of a shard of three samples in two groups, and a chunk of strings."""
    layout.decode_text(layout.check_crc(data, "strings"), "strings")
    start, length = layout.decode_index(data, 3, 2, "a shard")
    assert (start + length >= 0).all()


def audio_header(data: bytes) -> None:
    audio_length(io.BytesIO(data))


def tensor_coder(data: bytes) -> None:
    """The file of a coder; one that is taken codes what it decodes again."""
    coder = TensorCoder.of_bytes(data, "a coder")
    if coder.tensor.coding == "lossless":
        array = np.arange(24).reshape(2, 3, 4).astype(coder.tensor.values)
        assert coder.decode(Blobs.whole(coder.encode([array])))[0].tobytes() == array.tobytes()


def tensor_blob(data: bytes) -> None:
    """Frames and payloads: the input has no checksum, and gets one that matches. Its first byte chooses the coder."""
    coder = _coders()[data[0] % 2 if data else 0]
    blob, at = data[1:], 2
    for _ in range(blob[1] % 9 if len(blob) > 1 else 0):  # to the end of the header
        while at < len(blob) and blob[at] & 128:
            at += 1
        at += 1
    head, payload = blob[:at], blob[at:]
    crc = crc32c(payload, crc32c(head, crc32c(bytes.fromhex(coder.sha256))))
    coder.decode(Blobs.whole([head + crc.to_bytes(4, "little") + payload]))


# what they begin with


@cache
def _coders() -> list[TensorCoder]:
    """Of float16 without loss, and of codes in two codebooks."""
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 40, (2, 30)).astype(np.int16) for _ in range(8)]
    return [
        TensorCoder.fit(Tensor("float16"), [rng.normal(size=(2, 300)).astype(np.float16)]),
        TensorCoder.fit(Tensor("int16", "codes", vocabulary=(40, 50)), codes),
    ]


def _tensor_blobs() -> list[bytes]:
    lossless, codes = _coders()
    row = np.linspace(-1, 1, 200).astype(np.float16)
    arrays = [row.reshape(2, 100), row[:3], np.tile(row[:4], (60, 1)), row[0]]
    blobs = [b"\0" + blob for blob in lossless.encode(arrays)]
    blobs += [b"\1" + blob for blob in codes.encode([np.full((2, 9), 7, np.int16)])]
    sides = [1 + 2 + array.ndim for array in map(np.asarray, arrays)] + [5]
    return [blob[:at] + blob[at + 4 :] for blob, at in zip(blobs, sides, strict=True)]


def _small_artifact(modality: Any, mode: str, more: dict[str, Any]) -> bytes:
    facts = {
        "version": 1, "name": "x", "mode": mode, "card": {}, "channels": 1, "group_channels": 1, "default_quality": 50,
        "precision": 8, "lambda": 0.1, "rounding": 0.3, "quality_steps": [[1, 9.0], [100, 1.0]], "model_steps": [1.0],
        "bound": [1.0], "floor": [1.0], **more,
    }  # fmt: skip
    shapes = {
        "delta": ("float32", (1, 2)), "entropy.own": ("int32", (1, 1, 5)), "entropy.bias": ("int32", (1, 1)),
        "entropy.cross": ("uint8", (1, 1, 1, 2)), "entropy.table": ("uint8", (1, 1, 4, 64)),
        "entropy.freq": ("int32", (None, 64)), **PARTS[modality.name].shapes(facts, 1),
    }  # fmt: skip
    tensors = {name: np.zeros([n or 1 for n in shape], dtype) for name, (dtype, shape) in shapes.items()}
    return bytes(save(tensors, metadata={"latentstore": json.dumps(facts)}))


def _manifest(size: list[int] | None, modality: str, fields: dict[str, Any]) -> bytes:
    attributes = {
        "format_version": 1, "codec": "x", "artifact_sha256": "ab" * 32, "modality": modality, "count": 3, "size": size,
        "extent": 384, "blob_bytes": 77, "quality": 60, "channels": 2, "group_channels": 1, "shard_samples": 2,
        "source": "photos", "classes": ["a"], "stats": {"mean": [0, 1], "std": [1, 1]}, "fields": fields,
    }  # fmt: skip
    return json.dumps(seal(attributes)).encode()


def _version() -> bytes:
    about = {
        "modality": "audio", "codec": "x", "quality": 60, "channels": 2, "group_channels": 1, "size": None,
        "rate": 8000, "extent": 384, "stats": {"mean": [0, 1], "std": [1, 1]},
    }  # fmt: skip
    meta = TensorMeta.make(
        version=1, fields={"x": Tensor("float16"), "y": LatentField(about), "label": "int"}, encoders={}, source="s",
        coders={"x": "ab" * 32, "y": "cd" * 32}, shards=(Shard("a-0", 2, 300, 270, (12, 8, 10)),), session="t",
    )  # fmt: skip
    return json.dumps(meta.attributes).encode()


def _tail() -> bytes:
    columns = {name: Column.of(name, ["a", "b"]) for name in ("key", versions_layout.SOURCE)}
    columns[versions_layout.STEP + "y"] = Column.of("step", [3, 4])
    shapes = {"x": np.array([[3]]), "y": np.array([[1, 64], [1, 9]])}
    lengths, moments = np.array([[5, 4, 3], [7, 4, 7]]), {"y": np.ones((2, 2))}
    return versions_layout.encode_tail(versions_layout.Tail(columns, shapes, lengths, moments))


def _index() -> bytes:
    columns = {"key": Column.of("key", ["a", "bé", "c"]), "label": Column.of("label", [1, 2, 3])}
    arrays = {
        "version": [1], "start": [512, 2048, 4096], "bounds": [[9, 20, 30]] * 3, "width": [8, 8, 9], "height": [8] * 3,
        "tar_bytes": [10240], "at_mask": [[1024, 5]] * 3,
    }  # fmt: skip
    return pack_columns(columns, {name: np.array(value, np.int64) for name, value in arrays.items()})


def _wav() -> bytes:
    body = b"WAVEfmt " + (16).to_bytes(4, "little") + b"\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0"
    body += b"data" + (64).to_bytes(4, "little") + bytes(64)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _aiff() -> bytes:
    body = b"AIFFCOMM" + (18).to_bytes(4, "big") + b"\0\1\0\0\0\x20\0\x10\x40\x0b\xfa\0\0\0\0\0\0\0"
    body += b"SSND" + (72).to_bytes(4, "big") + bytes(72)
    return b"FORM" + len(body).to_bytes(4, "big") + body


def _ogg() -> bytes:
    head = b"OggS\0\2" + bytes(8) + b"\1\0\0\0\0\0\0\0" + bytes(4) + b"\1\x1e\1vorbis" + bytes(4) + b"\2\x44\xac\0\0"
    return head + bytes(40) + b"OggS\0\4" + bytes(20) + b"\1\5abcde"


def _flac() -> bytes:
    return b"fLaC\x80\0\0\x22" + b"\x10\0\x10\0" + bytes(6) + b"\x0a\xc4\x42\xf0\0\0\1\0" + bytes(16) + b"\xff\xf8"


def _array(shape: list[int], kind: str) -> bytes:
    if kind == "string":
        return layout.text_metadata(shape[0])
    return layout.numbers_metadata(tuple(shape), kind, ["sample"] * len(shape))


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "artifact": lambda: [
        _small_artifact(IMAGE, "RGB", {}),
        _small_artifact(AUDIO, "sound", {"inputs": 1, "relative": False, "hop": 8, "rate": 8000}),
    ],
    "sample_blob": lambda: [
        join_sample([b"abc", b"d"], 40, 30, "RGB", SHA256),
        join_sample([b"abc"], 4000, 1, "audio", SHA256, 8000),
    ],
    "group_blob": lambda: [b"\x10\0\x32\5\7" + bytes(8), b"\x11\0\x32\1\7\2" + bytes(12)],
    "segmented": lambda: [join_segments([b"\x10\0\x32\1\7" + bytes(8)] * 2, 2000, SHA256)],
    "chunk_index": lambda: [pack(_Coder(), [b"abc", b""]), pack(_Coder(), [b"a", b"b"], True)],
    "tar_index": lambda: [_index()],
    "manifest": lambda: [
        _manifest([8, 16], "image", {"label": {"kind": "int", "array": "label"}}),
        _manifest(None, "audio", {"rate": {"kind": "int"}, "step": {"kind": "int"}}),
    ],
    "version_manifest": lambda: [_version()],
    "shard_tail": lambda: [_tail()],
    "zarr_metadata": lambda: [_array([3, 2], "int64"), _array([3], "string")],
    "zarr_chunks": lambda: [b"\2\0\0\0\1\0\0\0a\2\0\0\0bc" + bytes(4), bytes(layout.index_bytes(3, 2))],
    "tensor_coder": lambda: [coder.to_bytes() for coder in _coders()],
    "tensor_blob": _tensor_blobs,
    "audio_header": lambda: [_wav(), _aiff(), _ogg(), _flac(), b"RF64" + _wav()[4:]],
}
TARGETS: dict[str, Target] = {
    "artifact": artifact, "sample_blob": sample_blob, "group_blob": group_blob, "segmented": segmented,
    "chunk_index": chunk_index, "tar_index": tar_index, "manifest": manifest, "zarr_metadata": zarr_metadata,
    "version_manifest": version_manifest, "shard_tail": shard_tail,
    "zarr_chunks": zarr_chunks, "audio_header": audio_header,
    "tensor_coder": tensor_coder, "tensor_blob": tensor_blob,
}  # fmt: skip
