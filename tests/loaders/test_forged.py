"""Stores that lie about counts, shapes and places: one error that names the file, and no memory by a forged number.

Every case is tried on a disk and on an object store.
"""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from forged_stores import (
    Files,
    npy,
    read_store,
    with_array,
    with_chunk,
    with_heights,
    with_index,
    with_manifest,
    with_members,
    with_shards,
    write_store,
)

import latentstore
from latentstore.codecs.bitstream.checksum import crc32c
from latentstore.codecs.bitstream.varint import varint
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import LatentstoreError

MOST_BYTES = 8 << 20
HUGE = (1 << 62) - 1


@pytest.fixture(scope="module")
def stores(make_store: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Files]:
    made: dict[str, Files] = {}

    def get(layout: str) -> Files:
        if layout not in made:
            made[layout] = read_store(make_store(tmp_path_factory.mktemp("good"), layout).url)
        return made[layout]

    return get


def use(url: str) -> None:
    """All that a reader does with a store."""
    ds = latentstore.open(url)
    ds.load_shards([0])
    ds.read_latents(np.arange(8))
    ds.drop_shards([0])
    ds.read_latents(np.arange(min(len(ds), 64)))
    ds.keys()
    ds.fields()
    ds.sizes()
    ds.group_bytes()


def refused(files: Files, folder: Path, said: str) -> None:
    """Both of a disk and of an object store, `use` gives an error that says so, and takes little memory."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for name, data in files.items():
        memory.pipe_file(f"/forged/{name}", data)
    for url in (write_store(files, folder / "forged"), "memory://forged"):
        tracemalloc.start()
        try:
            with pytest.raises(LatentstoreError, match=said) as caught:
                use(url)
            assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
        finally:
            tracemalloc.stop()
        assert url in str(caught.value) and len(str(caught.value)) < 700
    memory.store.clear()


@pytest.fixture(scope="module", autouse=True)
def warm(stores: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What only the first use of a store takes: modules, and the codec."""
    for layout in ("zarr-fixed", "zarr-native", "wds-fixed", "wds-native", "versions-fixed", "versions-native"):
        use(write_store(stores(layout), tmp_path_factory.mktemp("warm")))


@pytest.mark.parametrize("layout", ["zarr-fixed", "zarr-native", "wds-fixed", "wds-native"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": HUGE}, "count"),
        ({"count": 10**400}, "count"),
        ({"count": 10**12}, "count"),
        ({"count": 10**6}, "count|samples|1000001"),
        ({"count": 21}, "count|21|shape|samples|lacks a chunk"),
        ({"count": 3.0}, "count is 3.0"),
        ({"count": True}, "count is True"),
        ({"count": float("inf")}, "count is inf"),
        ({"shard_samples": "8"}, "shard_samples is '8'"),
        ({"channels": 10**9}, "channels"),
        ({"channels": 96, "stats": {"mean": [0.0] * 96, "std": [1.0] * 96}}, "96 channels"),
        ({"extent": -1}, "extent is -1"),
        ({"blob_bytes": 1 << 70}, "blob_bytes"),
        ({"quality": 10**9}, "quality"),
        ({"stats": {"mean": [10**400] * 48, "std": [1] * 48}}, "mean"),
        ({"stats": {"mean": [float("nan")] * 48, "std": [1] * 48}}, "mean"),
        ({"classes": {"a": 1}}, "classes"),
        ({"codec": ["x"]}, "codec"),
        ({"source": "\ud800"}, "not JSON"),
        ({"fields": {"\ud800": {"kind": "int", "array": "label"}}}, "not JSON"),
        ({"fields": 7}, "manifest is damaged"),
        ({"fields": {"label": {"kind": "int", "array": ".."}}}, "outside of the store"),
        ({"fields": {"label": {"kind": "int", "array": "a\0b"}}}, "outside of the store"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_manifest(stores: Any, layout: str, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    refused(with_manifest(stores(layout), **changes), tmp_path, said)


@pytest.mark.parametrize("layout", ["versions-fixed", "versions-native"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": HUGE}, "its shards have 20 samples"),
        ({"channels": 10**9}, "1000000000 channels"),
        ({"channels": 96, "stats": {"mean": [0.0] * 96, "std": [1.0] * 96}}, "manifest is damaged|sizes of the shard"),
        ({"channels": 0}, "0 channels"),
        ({"group_channels": "x"}, "groups of 'x'"),
        ({"extent": -1}, "extent is -1"),
        ({"quality": 10**9}, "quality"),
        ({"stats": {"mean": [float("nan")] * 48, "std": [1] * 48}}, "mean"),
        ({"classes": {"a": 1}}, "classes"),
        ({"codec": ["x"]}, "codec"),
        ({"modality": 3}, "manifest is damaged"),
        ({"source": 7}, "expected text"),
        ({"fields": [{"name": "latent", "latents": 7}]}, "manifest is damaged"),
        ({"fields": 7}, "manifest is damaged"),
        ({"coders": {}}, "manifest is damaged"),
        ({"shards": []}, "have 0 samples"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_manifest_with_versions(stores: Any, layout: str, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    refused(with_manifest(stores(layout), **changes), tmp_path, said)


@pytest.mark.parametrize("value", [-5, 0, 10**12])
def test_sizes_of_shards_with_versions(stores: Any, tmp_path: Path, value: int) -> None:
    refused(with_heights(stores("versions-native"), value), tmp_path, "pixels, which none can have")


@pytest.mark.parametrize("layout", ["zarr-fixed", "wds-fixed"])
@pytest.mark.parametrize("size", [[1 << 14, 1 << 14], [1 << 19, 512], [1 << 40, 1 << 40], [0, 8], [8], "8x8", [8.0, 8]])
def test_a_size(stores: Any, layout: str, tmp_path: Path, size: Any) -> None:
    refused(with_manifest(stores(layout), size=size), tmp_path, r"size is|planes of 5 x 7 where")


@pytest.mark.parametrize("layout", ["zarr-fixed"])
@pytest.mark.parametrize("rows", [1, 7, 9, 1 << 20, HUGE])
def test_a_size_of_shards(stores: Any, tmp_path: Path, layout: str, rows: int) -> None:
    refused(with_manifest(stores(layout), shard_samples=rows), tmp_path, "latent/c/|count")


NESTED = b'{"attributes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize("root", [NESTED, b"[]", b"", b'{"attributes": 1}', b'{"attributes": {"latentstore": 3}}'])
def test_a_root(stores: Any, tmp_path: Path, root: bytes) -> None:
    refused({**stores("zarr-fixed"), "zarr.json": root}, tmp_path, "not JSON|not a JSON object|not a latentstore store")


ARRAYS: list[tuple[str, str, dict[str, Any]]] = [
    ("zarr-fixed", "key", {"shape": [HUGE]}),
    ("zarr-fixed", "key", {"shape": [21]}),
    ("zarr-fixed", "key", {"data_type": "int64"}),
    ("zarr-fixed", "key", {"rows": HUGE}),
    ("zarr-fixed", "key", {"rows": 0}),
    ("zarr-fixed", "label", {"shape": [HUGE]}),
    ("zarr-fixed", "label", {"shape": [20, HUGE]}),
    ("zarr-fixed", "label", {"shape": [20, 0]}),
    ("zarr-fixed", "label", {"shape": ["20"]}),
    ("zarr-fixed", "label", {"shape": []}),
    ("zarr-fixed", "label", {"shape": 20}),
    ("zarr-fixed", "label", {"rows": HUGE}),
    ("zarr-fixed", "label", {"rows": 1}),
    ("zarr-fixed", "label", {"data_type": "float64"}),
    ("zarr-fixed", "label", {"data_type": "object"}),
    ("zarr-fixed", "label", {"data_type": "V1000000000"}),
    ("zarr-fixed", "label", {"data_type": {"names": ["x"], "formats": ["i8"], "itemsize": 1 << 30}}),
    ("zarr-fixed", "label", {"chunk_grid": {}}),
    ("zarr-fixed", "mask", {"shape": [HUGE]}),
    ("zarr-fixed", "mask_offset", {"shape": [20]}),
    ("zarr-native", "offset", {"shape": [21, 5]}),
    ("zarr-native", "offset", {"rows": HUGE}),
    ("zarr-native", "height", {"shape": [19]}),
    ("zarr-native", "width", {"data_type": "float64"}),
    ("zarr-native", "blob_g1", {"shape": [HUGE]}),
    ("zarr-native", "blob_g1", {"rows": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "array", "changes"), ARRAYS, ids=lambda v: str(v)[:30])
def test_the_metadata_of_an_array(
    stores: Any, tmp_path: Path, layout: str, array: str, changes: dict[str, Any]
) -> None:
    said = array.removesuffix("_offset")
    refused(with_array(stores(layout), array, **changes), tmp_path, said if "g1" not in array else "blob_g1|offset")


def test_an_artifact_as_an_array(stores: Any, tmp_path: Path, codec: Any) -> None:
    """It is not read where the manifest's SHA-256 is that of a codec that is known, so that is another here."""
    files = with_manifest(stores("zarr-fixed"), artifact_sha256="ab" * 32)
    refused(with_array(files, "artifact", shape=[HUGE], rows=1), tmp_path, "artifact/zarr.json")
    refused(with_array(files, "artifact", shape=[0]), tmp_path, "artifact|Artifact")
    refused(files, tmp_path, "SHA-256|artifact")


def _offsets(files: Files, change: Callable[[np.ndarray], Any]) -> Files:
    offset = np.frombuffer(files["offset/c/0/0"][:-4], "<i8").reshape(-1, 4).copy()
    change(offset)
    return with_chunk(files, "offset/c/0/0", offset.tobytes())


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o.__setitem__(20, HUGE),
        lambda o: o.__setitem__(0, -5),
        lambda o: o.__setitem__((slice(0, 2), 0), [-(1 << 63), (1 << 63) - 1]),
        lambda o: o.__setitem__(3, o[5]),
        lambda o: o.__iadd__(1),
    ],
)  # fmt: skip
def test_offsets(stores: Any, tmp_path: Path, change: Any) -> None:
    refused(_offsets(stores("zarr-native"), change), tmp_path, "offset")


@pytest.mark.parametrize("side", [0, -1, 1 << 14, 1 << 19, (1 << 31) - 1])
def test_sides(stores: Any, tmp_path: Path, side: int) -> None:
    files = stores("zarr-native")
    for name in ("height", "width"):
        sides = np.full(20, side, "<i4")
        files = with_chunk(files, f"{name}/c/0", sides.tobytes())
    refused(files, tmp_path, "which none can have|planes of .* where")


def test_the_index_of_a_shard(stores: Any, tmp_path: Path) -> None:
    files = stores("zarr-fixed")
    name = "latent/c/0/0/0/0"
    name = next(n for n in files if n.startswith("latent/c/0/"))
    shard, size = files[name], 8 * 4 * 16
    for start, length in ((0, HUGE - 1), (HUGE - 1, 1), (len(shard), 9), ((1 << 64) - 2, 1), ((1 << 64) - 1, 0)):
        entries = np.frombuffer(shard[-size - 4 : -4], "<u8").reshape(-1, 2).copy()
        entries[3] = start, length
        tail = entries.tobytes()
        forged = shard[: -size - 4] + tail + crc32c(tail).to_bytes(4, "little")
        refused({**files, name: forged}, tmp_path, "cut short|impossible|lacks a chunk|outside")


def test_planes_that_the_blobs_do_not_have(stores: Any, tmp_path: Path, codec: Any) -> None:
    """A batch is not made room for before its blobs agree."""
    huge = with_manifest(stores("zarr-fixed"), size=[1 << 14, 1 << 14])
    refused(huge, tmp_path, "planes of 5 x 7 where 2048 x 2048 are expected")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.update(count=10**12), "count is 1000000000012"),
        (lambda s: s.update(count=10**7), "samples in"),
        (lambda s: s.update(count=10**7, bytes=1 << 60), "is said to have"),
        (lambda s: s.update(count=HUGE, bytes=HUGE), "count is"),
        (lambda s: s.update(count=9), "not the index of 9 samples"),
        (lambda s: s.update(count=0), "its tars hold"),
        (lambda s: s.update(count="8"), "'count' of tar 0"),
        (lambda s: s.update(bytes=1 << 70), "'bytes' of tar 0"),
        (lambda s: s.update(bytes=-1), "'bytes' of tar 0"),
        (lambda s: s.update(crc32c=None), "'crc32c' of tar 0"),
        (lambda s: s.update(name="../x.tar"), "not files beside it"),
        (lambda s: s.update(name="x\0.tar"), "not files beside it"),
        (lambda s: s.update(name=3), "not files beside it"),
        (lambda s: s.clear(), "of tar 0"),
    ],
)  # fmt: skip
def test_the_list_of_tars(stores: Any, tmp_path: Path, change: Any, said: str) -> None:
    refused(with_shards(stores("wds-fixed"), change), tmp_path, said)


def test_no_list_of_tars(stores: Any, tmp_path: Path) -> None:
    for shards in (None, {}, [7], "x"):
        refused(with_manifest(stores("wds-fixed"), shards=shards), tmp_path, "its list of tars is damaged")


START = np.arange(8) * 1024
MEMBERS: list[tuple[dict[str, Any], str]] = [
    ({"start": npy(f"({HUGE},)")}, "claims shape"),
    ({"start": npy("(1000000000,)", data=bytes(64))}, "claims shape"),
    ({"start": npy("(0, 1000000000)")}, "not whole numbers"),
    ({"start": npy("(8,)", "|O", bytes(64))}, "not an array of numbers"),
    ({"start": npy("(8,)", "|V1000000000", bytes(64))}, "not an array of numbers"),
    ({"start": npy("(" * 3000 + ")" * 3000)}, "not an array of numbers"),
    ({"start": npy("(8,)", "<f8", bytes(64))}, "not whole numbers"),
    ({"start": b"\x93NUMPY\x01\x00\xff\xff"}, "not an array of numbers"),
    ({"start": b""}, "damaged"),
    ({"start": START - 5}, "outside of its tar"),
    ({"start": START + HUGE}, "outside of its tar"),
    ({"start": START[:7]}, "not the index of 8 samples"),
    ({"bounds": np.zeros((8, 5), np.int64)}, "outside of its tar"),
    ({"bounds": np.tile([[0, HUGE, 1, 2, 3]], (8, 1))}, "outside of its tar"),
    ({"bounds": np.tile([[-9, 1, 2, 3, 4]], (8, 1))}, "outside of its tar"),
    ({"bounds": np.full((8, 5), 1 << 63, np.uint64)}, "outside of its tar"),
    ({"start": np.full(8, 1 << 62), "bounds": np.tile([[0, 1, 2, 3, 1 << 62]], (8, 1))}, "outside of its tar"),
    ({"at_mask": np.full((8, 2), 1 << 62)}, "field 'mask' points outside"),
    ({"at_mask": np.full((8, 2), -1)}, "field 'mask' points outside"),
    ({"tar_bytes": np.array([HUGE])}, "is cut short|the index of a tar of"),
    ({"version": np.array([2])}, "index version 2"),
    ({"version": np.array(1)}, "version"),
    ({"version": None}, "has no 'version'"),
    ({"width": np.full(8, 1 << 62)}, "which none can have|planes"),
    ({"width": np.full(8, 1 << 17), "height": np.full(8, 1 << 11)}, "planes of"),
    ({"str:key": np.full(8, 255, np.uint8), "offsets:key": np.arange(9)}, "not a column of str"),
    ({"str:key": np.frombuffer("é".encode() * 4, np.uint8), "offsets:key": np.arange(9)}, "not a column of str"),
    ({"offsets:key": np.array([0, (1 << 63) - 1, -2])}, "not a column of str"),
    ({"offsets:key": None}, "not a column of str"),
    ({"str:key": None}, "key"),
    ({"int:label": None}, "field 'label'"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), MEMBERS, ids=lambda v: str(v)[:40])
def test_the_index_of_a_tar(stores: Any, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    refused(with_members(stores("wds-native"), **changes), tmp_path, said)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_in_an_index(stores: Any, tmp_path: Path, compression: int) -> None:
    zeros = np.zeros(1 << 25, np.uint8)
    refused(with_members(stores("wds-fixed"), compression, at_x=zeros), tmp_path, "is compressed")


def test_an_index_that_is_no_zip_file(stores: Any, tmp_path: Path) -> None:
    for data in (b"", b"PK", b"PK\x05\x06" + bytes(18), b"\x93NUMPY" + bytes(50)):
        refused(with_index(stores("wds-fixed"), data), tmp_path, "damaged or cut short|has no|key")


def test_long_audio_that_is_not_there(tmp_path: Path) -> None:
    """Sizes of recordings are borne out by their groups' headers before the latents' memory is taken."""
    codec: Any = latentstore.load_codec("mono-f32c32")
    sha256 = bytes.fromhex(codec.sha256)
    group = codec.compress_groups(np.zeros((100, 1), np.float32))[0]
    head = bytes([0x12]) + varint(2000) + varint(len(group)) * 2
    cut = head + crc32c(head, crc32c(sha256)).to_bytes(4, "little") + group * 2
    for blob in (group, cut):
        for samples in (1 << 26, 1 << 40, 0, -1):
            tracemalloc.start()
            try:
                with pytest.raises(LatentstoreError):
                    codec.read_sizes(Blobs.whole([blob] * codec.groups), np.array([[1, samples]]))
                assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
            finally:
                tracemalloc.stop()
