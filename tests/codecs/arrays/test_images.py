"""The Zarr codec `latentstore.signal`: images of every layout, whole and in part, and no loss that nobody
asked for."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore
from zarr_arrays import coded, counted, images

import latentstore
from latentstore.codecs.arrays.zarr_codec import SignalCodec
from latentstore.codecs.errors import ArgumentError, CorruptError, UnsupportedVersionError

CONFIG = {
    "version": 1,
    "artifact": {"name": "rgb-f8c48", "sha256": "ab" * 32},
    "axes": "nhwc",
    "quality": 50,
    "effort": "default",
    "partial_writes": "refuse",
}
# Axes, and how to lay (n, h, w, c) out so.
LAYOUTS = {
    "nhwc": (0, 1, 2, 3),
    "nchw": (0, 3, 1, 2),
    "hwc": None,
    "hnwc": (1, 0, 2, 3),
    "chwn": (3, 1, 2, 0),
}


def make(
    codec: Any, shape: tuple[int, ...], chunks: Any, axes: str = "nhwc", shards: Any = None, **options: Any
) -> zarr.Array:
    serializer = SignalCodec.of(
        codec, axes, **{k: options.pop(k) for k in ("quality", "effort", "partial_writes") if k in options}
    )
    settings = {"dtype": "uint8", "compressors": None, "fill_value": 0, **options}
    store = settings.pop("store", None)
    store = MemoryStore() if store is None else store
    return zarr.create_array(store, shape=shape, chunks=chunks, shards=shards, serializer=serializer, **settings)


# ---- configuration


def test_configuration_round_trip() -> None:
    codec = SignalCodec.from_dict({"name": "latentstore.signal", "configuration": CONFIG})
    assert codec.to_dict() == {"name": "latentstore.signal", "configuration": CONFIG}
    assert json.loads(json.dumps(codec.to_dict())) == codec.to_dict()
    assert codec == pickle.loads(pickle.dumps(codec)) and len({codec, pickle.loads(pickle.dumps(codec))}) == 1
    assert len(pickle.dumps(codec)) < 600


def test_numbers_of_numpy_become_json(codec: Any) -> None:
    assert json.dumps(SignalCodec.of(codec, "hwc", quality=np.int64(30)).to_dict())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"version": 2}, UnsupportedVersionError, "version 2; this latentstore reads version 1"),
        ({"level": 3}, ArgumentError, "unknown configuration level"),
        ({"axes": "nhw2"}, ArgumentError, "a letter for each axis"),
        ({"axes": "nhwcc"}, ArgumentError, "a letter for each axis"),
        ({"axes": "nhc"}, ArgumentError, "a letter for each axis"),
        ({"quality": 0}, ArgumentError, "quality is 0"),
        ({"quality": 101}, ArgumentError, "quality is 101"),
        ({"quality": "best"}, ArgumentError, "quality must be 1 to 100"),
        ({"quality": 3.5}, ArgumentError, "quality must be 1 to 100"),
        ({"effort": "most"}, ArgumentError, "effort must be one of"),
        ({"partial_writes": "maybe"}, ArgumentError, "partial_writes must be one of"),
        ({"artifact": {"name": "x"}}, ArgumentError, "must have a name and a sha256"),
    ],
)
def test_bad_configurations(change: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        SignalCodec.from_dict({"name": "latentstore.signal", "configuration": {**CONFIG, **change}})


def test_every_option_is_stored_and_none_is_guessed() -> None:
    for key in CONFIG:
        rest = {k: v for k, v in CONFIG.items() if k != key}
        with pytest.raises((ArgumentError, UnsupportedVersionError)):
            SignalCodec.from_dict({"name": "latentstore.signal", "configuration": rest})
    for data in ("latentstore.signal", {"name": "latentstore.signal"}):
        with pytest.raises(ArgumentError, match="needs a configuration"):
            SignalCodec.from_dict(data)  # type: ignore[arg-type]


# ---- round trips


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("axes", LAYOUTS)
def test_layouts(codec: Any, axes: str, sharded: bool) -> None:
    x = images(5, 24, 40)
    x = x[0] if axes == "hwc" else x.transpose(LAYOUTS[axes])
    size = {"n": 2, "h": 24, "w": 40, "c": 3}
    chunks = tuple(size[a] for a in axes)
    shards = tuple(c * 2 if a == "n" else c for a, c in zip(axes, chunks, strict=True)) if sharded else None
    z = make(codec, x.shape, chunks, axes, shards)
    z[...] = x
    expected = coded(codec, x, axes, chunks)
    assert np.array_equal(z[...], expected)
    assert np.abs(expected.astype(int) - x).mean() < 3


def test_gray(codec: Any) -> None:
    if "gray-f8c16" not in latentstore.codecs.shipped():
        pytest.skip("artifact gray-f8c16 is not there")
    gray = latentstore.load_codec("gray-f8c16")
    for axes, x in (
        ("nhw", images(5, 24, 40, 1)[..., 0]),
        ("hwc", images(1, 24, 40, 1)[0]),
        ("hw", images(1, 24, 40)[0, ..., 0]),
    ):
        chunks = (2, *x.shape[1:]) if axes == "nhw" else x.shape
        z = make(gray, x.shape, chunks, axes)
        z[...] = x
        assert np.array_equal(z[...], coded(gray, x, axes, chunks))
    with pytest.raises(ArgumentError, match=r"gives? images of 3 channels, but gray-f8c16 codes L"):
        make(gray, (4, 8, 8, 3), (1, 8, 8, 3))
    with pytest.raises(ArgumentError, match=r"gives? images of 1 channels, but rgb-f8c48 codes RGB"):
        make(codec, (4, 8, 8), (1, 8, 8), "nhw")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_shape_chunks_shards_and_order(codec: Any, data: st.DataObject) -> None:
    axes = data.draw(st.sampled_from(["hwc", "nhwc", "nchw", "nnhwc", "wcnh"]))
    shape = tuple(3 if a == "c" else data.draw(st.integers(1, 4 if a == "n" else 33)) for a in axes)
    chunks = tuple(3 if a == "c" else data.draw(st.integers(1, n + 2)) for a, n in zip(axes, shape, strict=True))
    times = tuple(1 if a == "c" else data.draw(st.integers(1, 3)) for a in axes)
    shards = tuple(c * t for c, t in zip(chunks, times, strict=True)) if data.draw(st.booleans()) else None
    fill = data.draw(st.sampled_from([0, 7, 255]))
    order = data.draw(st.sampled_from(["C", "F"]))
    x = np.random.default_rng(data.draw(st.integers(0, 999))).integers(0, 256, shape).astype(np.uint8)
    if data.draw(st.booleans()):
        x = np.asfortranarray(x)
    z = make(
        codec,
        shape,
        chunks,
        axes,
        shards,
        fill_value=fill,
        config={"order": order},
        effort="fast",
        quality=40,
    )
    z[...] = x
    expected = coded(codec, x, axes, chunks, fill, effort="fast", quality=40)
    assert np.array_equal(z[...], expected)
    some = tuple(
        data.draw(st.one_of(st.integers(0, n - 1), st.slices(n).filter(lambda s: (s.step or 1) > 0))) for n in shape
    )
    assert np.array_equal(z[some], expected[some])


# ---- what Zarr pads


@pytest.mark.parametrize("fill", [0, 7, 255])
def test_padding_costs_nothing_and_never_shows(codec: Any, fill: int) -> None:
    x = images(1, 40, 56)[0]
    store, exact = MemoryStore(), MemoryStore()
    z = make(codec, x.shape, (64, 64, 3), "hwc", fill_value=fill, store=store)
    z[...] = x
    same = make(codec, x.shape, x.shape, "hwc", fill_value=fill, store=exact)
    same[...] = x
    assert np.array_equal(z[...], same[...])
    assert len(store._store_dict["c/0/0/0"]) == len(exact._store_dict["c/0/0/0"])


@pytest.mark.parametrize("fill", [0, 7])
def test_rows_of_the_fill_value_come_back_as_they_were(codec: Any, fill: int) -> None:
    x = images(1, 40, 40)[0]
    x[29:], x[:, 33:] = fill, fill
    z = make(codec, x.shape, x.shape, "hwc", fill_value=fill)
    z[...] = x
    assert (z[29:] == fill).all() and (z[:, 33:] == fill).all()
    z[...] = fill
    assert (z[...] == fill).all()


def test_nothing_written_and_black_are_told_apart(codec: Any) -> None:
    z = make(codec, (4, 16, 16, 3), (1, 16, 16, 3), config={"write_empty_chunks": True})
    z[1] = 0
    assert z.nchunks_initialized == 1 and not z[...].any()
    z = make(codec, (4, 16, 16, 3), (1, 16, 16, 3))  # Zarr's own default
    z[1] = images(1, 16, 16)[0]
    z[1] = 0
    assert z.nchunks_initialized == 0 and not z[...].any()


# ---- parts of chunks


def test_only_what_is_asked_for_is_decoded(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(12, 16, 16)
    z = make(codec, x.shape, (6, 16, 16, 3))
    z[...] = x
    whole = z[...]
    with counted(monkeypatch, type(codec), "decompress_into") as calls:
        for selection, decoded in (
            (np.s_[3], 1),
            (np.s_[3, 2:5, ::2, 0], 1),
            (np.s_[4:8], 4),
            (np.s_[::5, 0], 3),
            (np.s_[...], 12),
            (np.s_[0:0], 0),
        ):
            calls.clear()
            assert np.array_equal(z[selection], whole[selection])
            assert sum(map(len, calls)) == decoded, selection
        calls.clear()
        assert np.array_equal(z.oindex[[9, 1], :, [3, 4]], whole[np.ix_([9, 1], range(16), [3, 4])])
        assert sum(map(len, calls)) == 2
        calls.clear()
        assert np.array_equal(
            z.vindex[[9, 1, 9], [1, 2, 3], [3, 4, 5], [0, 1, 2]],
            whole[[9, 1, 9], [1, 2, 3], [3, 4, 5], [0, 1, 2]],
        )
        assert sum(map(len, calls)) == 2


class Counting(MemoryStore):
    """Keeps the requests: key and byte range."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        self.requests.append((key, byte_range))
        return await super().get(key, prototype, byte_range)


@pytest.mark.usefixtures("batched_pipeline")
def test_only_what_is_asked_for_is_fetched(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentstore.codecs.arrays import zarr_chunks

    store = Counting()
    x = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    z = make(codec, x.shape, (8, 32, 32, 3), store=store)
    z[...] = x
    whole = z[...]
    size = len(store._store_dict["c/0/0/0/0"])
    monkeypatch.setattr(zarr_chunks, "FIRST_READ_BYTES", 16)
    for selection in (np.s_[6], np.s_[1:3], np.s_[::6]):
        store.requests.clear()
        assert np.array_equal(z[selection], whole[selection])
        ranges = [r for _, r in store.requests]
        assert None not in ranges and sum(r.end - r.start for r in ranges) < size / 2
    assert len(ranges) == 3  # the index, and two that are far apart


@pytest.mark.parametrize("sharded", [False, True])
def test_writes_that_would_code_pixels_again_are_refused(codec: Any, sharded: bool) -> None:
    x = images(8, 24, 24)
    z = make(codec, x.shape, (4, 24, 24, 3), shards=(8, 24, 24, 3) if sharded else None)
    z[...] = x
    before = z[...]
    for where in (np.s_[0, 0, 0], np.s_[2, :, :, 0], np.s_[3:5, 4:], np.s_[1, ::2]):
        with pytest.raises(ArgumentError, match=r"covers only a part of (image|a chunk) .* lose a little") as caught:
            z[where] = 1
        assert "chunk" in str(caught.value)
    with pytest.raises(ArgumentError, match="covers only a part"):
        z.oindex[[1, 2], [0, 3]] = 1
    with pytest.raises(ArgumentError, match="covers only a part"):
        z.vindex[[1], [0], [0], [0]] = 1
    assert np.array_equal(z[...], before)


@pytest.mark.usefixtures("batched_pipeline")
@pytest.mark.parametrize("sharded", [False, True])
def test_whole_images_are_replaced_and_the_others_keep_their_bytes(codec: Any, sharded: bool) -> None:
    x = images(8, 24, 24)
    z = make(codec, x.shape, (4, 24, 24, 3), shards=(8, 24, 24, 3) if sharded else None)
    z[...] = x
    expected = coded(codec, x, "nhwc", (4, 24, 24, 3))
    for _ in range(5):
        z[2] = x[7]
        z[3:5] = x[:2]
        z.oindex[5] = x[6]
        if sharded and zarr.__version__.startswith("3.1."):  # it cannot do it in shards, with any codec
            z[6], z[0] = x[1], x[2]
            with pytest.raises(ArgumentError, match="write by slices"):
                z.oindex[[6, 0]] = x[[1, 2]]
        else:
            z.oindex[[6, 0]] = x[[1, 2]]
    for at, what in ((2, 7), (3, 0), (4, 1), (6, 1), (0, 2), (5, 6)):
        expected[at] = coded(codec, x[what : what + 1], "nhwc", (1, 24, 24, 3))[0]
    assert np.array_equal(z[...], expected)
    z[1] = 0
    assert not z[1].any() and np.array_equal(z[2:], expected[2:])
    z[1:3] = 99
    assert np.abs(z[1:3].astype(int) - 99).max() < 6


def test_appending_loses_nothing(codec: Any) -> None:
    x = images(9, 24, 24)
    z = make(codec, (0, 24, 24, 3), (4, 24, 24, 3))
    for i in range(9):
        z.append(x[i : i + 1])
    assert np.array_equal(z[...], coded(codec, x, "nhwc", (4, 24, 24, 3)))


def test_edge_tiles_can_be_written_again(codec: Any) -> None:
    x = images(2, 40, 56)
    z = make(codec, x.shape[1:], (32, 32, 3), "hwc")
    z[...] = x[0]
    z[...] = x[1]
    assert np.array_equal(z[...], coded(codec, x[1], "hwc", (32, 32, 3)))
    z[32:, 32:] = x[0, 32:, 32:]
    with pytest.raises(ArgumentError, match="covers only a part"):
        z[32:, 33:] = 1


def test_parts_of_images_never_written_can_be(codec: Any) -> None:
    x = images(1, 32, 32)[0]
    z = make(codec, x.shape, x.shape, "hwc")
    z[:20, :16] = x[:20, :16]
    assert np.array_equal(z[:20, :16], coded(codec, x[:20, :16], "hwc", (20, 16, 3))) and not z[20:].any()


def test_partial_writes_where_they_are_allowed(codec: Any) -> None:
    x = images(4, 24, 24)
    z = make(codec, x.shape, (2, 24, 24, 3), partial_writes="allow")
    z[...] = x
    before = z[...]
    z[1, 8:16, 8:16] = 200
    after = z[...]
    assert np.abs(after[1, 8:16, 8:16].astype(int) - 200).mean() < 20
    assert np.abs(after[1].astype(int) - before[1]).max() > 20 and np.array_equal(after[[0, 2, 3]], before[[0, 2, 3]])


def test_resize(codec: Any) -> None:
    x = images(6, 24, 24)
    z = make(codec, x.shape, (4, 24, 24, 3))
    z[...] = x
    before = z[...]
    z.resize((5, 24, 24, 3))
    z.resize((7, 24, 24, 3))
    assert np.array_equal(z[:5], before[:5]) and not z[6].any()
    z[5:] = x[:2]
    assert np.array_equal(z[5:], before[:2]) and np.array_equal(z[:5], before[:5])


# ---- damage


@pytest.mark.usefixtures("batched_pipeline")
@pytest.mark.parametrize("sharded", [False, True])
def test_damage_is_an_error_that_names_the_chunk(codec: Any, sharded: bool) -> None:
    store = MemoryStore()
    x = images(2, 16, 16)
    z = make(codec, x.shape, (2, 16, 16, 3), shards=(4, 16, 16, 3) if sharded else None, store=store)
    z[...] = x
    (name,) = (k for k in store._store_dict if k.startswith("c/"))
    good = store._store_dict[name]
    data = good.to_bytes()
    index = 2 * 16 + 4 if sharded else 0
    payload = len(data) - index
    bad = [data[:cut] for cut in (1, payload // 2, payload - 1)] + [data + b"\0"]
    for at in range(payload):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        bad.append(bytes(flipped))
    for blob in bad:
        store._store_dict[name] = type(good).from_bytes(blob)
        if sharded and len(blob) != len(data):
            continue  # the shard's own index finds those
        with pytest.raises(latentstore.LatentstoreError, match="chunk") as caught:
            z[0], z[1], z[...]  # bytes behind the last image are seen by who reads all
        assert ("of a shard" if sharded else name) in str(caught.value)


def test_a_chunk_of_another_array(codec: Any) -> None:
    store = MemoryStore()
    z = make(codec, (2, 16, 16, 3), (2, 16, 16, 3), store=store)
    z[...] = images(2, 16, 16)
    for other in (
        make(codec, (2, 16, 24, 3), (2, 16, 24, 3)),
        make(codec, (2, 16, 16, 3), (1, 16, 16, 3)),
        make(codec, (2, 16, 16, 3), (2, 16, 16, 3), fill_value=9),
    ):
        other[...] = images(*other.shape[:3])
        store._store_dict["c/0/0/0/0"] = other.store._store_dict["c/0/0/0/0"]  # type: ignore[attr-defined]
        with pytest.raises(CorruptError, match=r"expected|fill value"):
            z[0]
