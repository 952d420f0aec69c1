"""The Zarr codec `latentstore.latent` with chunks of many samples and of any number of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore
from zarr_arrays import images, latents

import latentstore
from latentstore.codecs import Codec
from latentstore.codecs.arrays.zarr_codec import LatentCodec
from latentstore.codecs.entropy.blobs import Blobs
from latentstore.codecs.errors import ArgumentError


def make(codec: Any, shape: tuple[int, ...], chunks: tuple[int, ...], shards: Any = None, **options: Any) -> zarr.Array:
    settings = {"dtype": "int8", "compressors": None, "fill_value": 0, **options}
    store = settings.pop("store", None)
    store = MemoryStore() if store is None else store
    return zarr.create_array(
        store, shape=shape, chunks=chunks, shards=shards, serializer=LatentCodec.of(codec), **settings
    )


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("channels", [48, 36, 24, 20, 12, 5, 1])
def test_any_samples_and_channels_a_chunk(codec: Any, channels: int, count: int, sharded: bool) -> None:
    x = latents(6, 4, 5, channels)
    z = make(codec, x.shape, (count, channels, 4, 5), (count * 2, channels, 4, 5) if sharded else None)
    z[...] = x
    assert np.array_equal(z[...], x)
    z[3] = x[0]
    z[5:, channels // 2] = 9  # lossless: parts of a sample may be written
    y = x.copy()
    y[3], y[5:, channels // 2] = x[0], 9
    assert np.array_equal(z[...], y)
    z.append(x[:3])
    assert np.array_equal(z[...], np.concatenate([y, x[:3]]))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_shape_chunks_and_shards(codec: Any, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(1, top)) for top in (5, 48, 7, 7))
    chunks = (data.draw(st.integers(1, 6)), data.draw(st.integers(1, shape[1])), *shape[2:])
    shards = (chunks[0] * data.draw(st.integers(1, 2)), *chunks[1:]) if data.draw(st.booleans()) else None
    top = data.draw(st.sampled_from([0, 1, 127]))
    fill = data.draw(st.sampled_from([0, -3, 127]))
    x = np.random.default_rng(data.draw(st.integers(0, 999))).integers(-top - 1, top + 1, shape).astype(np.int8)
    z = make(
        codec,
        shape,
        chunks,
        shards,
        fill_value=fill,
        config={"order": data.draw(st.sampled_from(["C", "F"]))},
    )
    some = tuple(
        data.draw(st.one_of(st.integers(0, n - 1), st.slices(n).filter(lambda s: (s.step or 1) > 0))) for n in shape
    )
    assert (z[some] == fill).all()
    z[...] = x
    assert np.array_equal(z[...], x) and np.array_equal(z[some], x[some])
    z[some] = 5
    x[some] = 5
    assert np.array_equal(z[...], x)


def test_only_the_groups_asked_for_are_decoded(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = latents(8, 4, 5)
    z = make(codec, x.shape, (8, 48, 4, 5))
    z[...] = x
    decoded: list[int] = []
    original = Codec.read_groups

    def read_groups(self: Any, blobs: Blobs, out: Any) -> None:
        decoded.append(len(blobs))
        original(self, blobs, out)

    monkeypatch.setattr(Codec, "read_groups", read_groups)
    for selection, groups in (
        (np.s_[3], 4),
        (np.s_[3, :12], 1),
        (np.s_[:, 11:13], 16),
        (np.s_[2:4, 30, 1, ::2], 2),
        (np.s_[...], 32),
    ):
        decoded.clear()
        assert np.array_equal(z[selection], x[selection])
        assert sum(decoded) == groups, selection


def test_a_group_alone_is_its_blob(codec: Any) -> None:
    store = MemoryStore()
    x = latents(1, 4, 5)
    z = make(codec, x.shape, (1, 12, 4, 5), store=store)
    z[...] = x
    out = np.empty((1, 12, 4, 5), np.int8)
    blob = store._store_dict["c/0/2/0/0"].to_bytes()
    codec.read_groups(Blobs.whole([blob]), out)
    assert np.array_equal(out, x[:, 24:36])


def test_many_samples_in_a_chunk_cost_few_bytes(codec: Any) -> None:
    one, many = MemoryStore(), MemoryStore()
    x = codec.encode(images(32, 128, 128) // 2 + np.random.default_rng(0).integers(0, 99, (32, 128, 128, 3), np.uint8))
    for store, chunks in ((one, (1, 12, 16, 16)), (many, (32, 48, 16, 16))):
        make(codec, x.shape, chunks, store=store)[...] = x
    alone, together = (sum(len(v) for k, v in s._store_dict.items() if k.startswith("c/")) for s in (one, many))
    assert together < 1.015 * alone  # four bytes a group


def test_too_many_channels_are_refused(codec: Any) -> None:
    with pytest.raises(ArgumentError, match="60 channels, latents of rgb-f8c48 have 48"):
        make(codec, (4, 60, 4, 5), (1, 60, 4, 5))
    with pytest.raises(ArgumentError, match="60 channels"):
        # In shards Zarr 3.1 asks too little, and writing says it.
        make(codec, (4, 60, 4, 5), (1, 60, 4, 5), (4, 60, 4, 5))[0] = 1


def test_damage_to_a_chunk_of_many(codec: Any) -> None:
    store = MemoryStore()
    x = latents(2, 2, 2)
    z = make(codec, x.shape, (2, 48, 2, 2), store=store)
    z[...] = x
    (name,) = (k for k in store._store_dict if k.startswith("c/"))
    good = store._store_dict[name]
    data = good.to_bytes()
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        for blob in (bytes(flipped), data[:at]):
            store._store_dict[name] = type(good).from_bytes(blob)
            with pytest.raises(latentstore.LatentstoreError, match="chunk memory"):
                z[...]
