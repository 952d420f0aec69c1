"""Chunks that are read at the same time are decoded together."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore
from zarr_arrays import coded, counted, images, latents

from latentstore.codecs.arrays import batching as gather
from latentstore.codecs.arrays.chunk_bytes import Parts
from latentstore.codecs.arrays.latents import LatentChunks
from latentstore.codecs.arrays.zarr_codec import LatentCodec, SignalCodec
from latentstore.codecs.errors import CorruptError


def made(x: np.ndarray, serializer: Any, chunks: tuple[int, ...], shards: Any = None) -> zarr.Array:
    return zarr.create_array(
        MemoryStore(), data=x, chunks=chunks, shards=shards, serializer=serializer, compressors=None
    )


@pytest.mark.usefixtures("batched_pipeline")
@pytest.mark.parametrize("sharded", [False, True])
def test_small_chunks_take_few_calls(codec: Any, sharded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x = latents(20, 4, 5)
    z = made(x, LatentCodec.of(codec), (1, 12, 4, 5), x.shape if sharded else None)
    with counted(monkeypatch, type(codec), "read_groups") as calls:
        assert np.array_equal(z[...], x)
    assert sum(len(blobs) for blobs in calls) == 80 and max(map(len, calls)) <= 16
    assert len(calls) < 40  # Zarr reads ten chunks at once
    y = images(12, 16, 24)
    z = made(y, SignalCodec.of(codec, "nhwc"), (1, 16, 24, 3), y.shape if sharded else None)
    with counted(monkeypatch, type(codec), "decompress_into") as calls:
        assert np.array_equal(z[...], coded(codec, y, "nhwc", (1, 16, 24, 3)))
    assert sum(len(blobs) for blobs in calls) == 12 and len(calls) < 9


def test_large_planes_are_decoded_alone(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They fill the lanes by themselves, and in several threads."""
    y = images(3, 288, 288)
    z = made(y, SignalCodec.of(codec, "nhwc", effort="fast"), (1, 288, 288, 3))
    with counted(monkeypatch, type(codec), "decompress_into") as calls:
        z[...]
    assert [len(blobs) for blobs in calls] == [1, 1, 1]


def test_a_damaged_chunk_is_named_and_spoils_no_other(codec: Any) -> None:
    coder = LatentChunks(codec, (1, 12, 4, 5), 0)
    x = latents(5, 4, 5, 12)
    blobs = [np.frombuffer(coder.encode(one[None], 0), np.uint8) for one in x]
    blobs[2] = blobs[2][:-1]
    chunks = [np.zeros((1, 12, 4, 5), np.int8) for _ in x]

    async def read() -> list[Any]:
        reads = [gather.decode_batched(coder, Parts(c, [0], [b])) for c, b in zip(chunks, blobs, strict=True)]
        return await asyncio.gather(*reads, return_exceptions=True)

    for _ in range(2):  # in another loop each time
        errors = asyncio.run(read())
        assert [type(error) for error in errors] == [type(None)] * 2 + [CorruptError] + [type(None)] * 2
        assert all(np.array_equal(c[0], one) for c, one, e in zip(chunks, x, errors, strict=True) if e is None)
    z = made(x, LatentCodec.of(codec), (1, 12, 4, 5))
    store: Any = z.store
    store._store_dict["c/3/0/0/0"] = store._store_dict["c/3/0/0/0"][:-1]
    with pytest.raises(CorruptError, match=r"chunk .*c/3/0/0/0"):
        z[...]


def test_a_reader_that_gives_up_stops_no_other(codec: Any) -> None:
    coder = LatentChunks(codec, (1, 12, 4, 5), 0)
    x = latents(3, 4, 5, 12)
    chunks = [np.zeros((1, 12, 4, 5), np.int8) for _ in x]

    async def read() -> None:
        blobs = [np.frombuffer(coder.encode(one[None], 0), np.uint8) for one in x]
        tasks = [
            asyncio.create_task(gather.decode_batched(coder, Parts(c, [0], [b])))
            for c, b in zip(chunks, blobs, strict=True)
        ]
        await asyncio.sleep(0)  # all have joined
        tasks[0].cancel()
        await asyncio.gather(*tasks[1:])

    asyncio.run(read())
    assert all(np.array_equal(c[0], one) for c, one in zip(chunks[1:], x[1:], strict=True))
