"""Which samples there are, beside a dict that is told the same."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentstore.loaders.columns import Column
from latentstore.loaders.tensors import layout
from latentstore.writing.tensors.known import Known

texts = st.text(max_size=3)
shards = st.lists(st.lists(st.tuples(texts, texts), min_size=1, max_size=6), max_size=5)


def tail(samples: Sequence[tuple[str, str]]) -> layout.Tail:
    keys, sources = zip(*samples, strict=True)
    columns = {"key": Column.of("key", keys), layout.SOURCE: Column.of("source", sources)}
    return layout.Tail(columns, {}, np.zeros((len(samples), 0), np.int64), {})


@pytest.mark.parametrize("hashes", [hash, len], ids=["hashes", "hashes of many keys are the same"])
@given(shards, st.lists(texts))
def test_as_a_dict(hashes: object, given_shards: list[list[tuple[str, str]]], asked: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentstore.writing.tensors.known.hash", hashes, raising=False)
        known = Known(map(tail, given_shards))
        every = [pair for shard in given_shards for pair in shard]
        model, asked = dict(every), asked + [key for key, _ in every]
        assert len(known) == len(every)
        assert known.has(asked).tolist() == [key in model for key in asked]
        assert [known.source(key) for key in asked] == [model.get(key) for key in asked]
        assert [key for keys in known.keys_by_shard() for key in keys] == [key for key, _ in every]
        places: dict[str, list[tuple[int, int, str]]] = {}
        for number, shard in enumerate(given_shards):
            for row, (key, source) in enumerate(shard):
                places.setdefault(key, []).append((number, row, source))
        assert known.repeated() == {key: some for key, some in places.items() if len(some) > 1}


def test_little_memory() -> None:
    keys = [f"{number:09d}.jpg" for number in range(50_000)]
    one = tail([(key, "") for key in keys])
    tracemalloc.start()
    known = Known([one])
    taken = tracemalloc.get_traced_memory()[0] / len(keys)
    tracemalloc.stop()
    assert taken < 40 < sys.getsizeof(keys[0])  # of a dict's key alone
    assert known.has(keys).all() and not known.has(["", "000000000"]).any()
