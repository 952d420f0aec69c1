"""What all readers share, and what each must answer alike."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from latentstore.loaders.opening import open_reader
from latentstore.loaders.reader import by_block


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5)))
def test_rows_by_block(blocks: list[int]) -> None:
    found = by_block(np.array(blocks, np.int64))
    assert [block for block, _ in found] == sorted(set(blocks))
    assert {block: rows.tolist() for block, rows in found} == {
        block: [row for row, other in enumerate(blocks) if other == block] for block in set(blocks)
    }


def test_blocks_hold_all_samples(store: Any) -> None:
    reader = open_reader(store.url)
    assert reader.starts.tolist() == [0, 8, 16, 20]
    assert reader.blocks(np.array([0, 7, 8, 15, 16, 19])).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_whole_block_holds_the_blobs_of_its_samples(store: Any) -> None:
    reader = open_reader(store.url)
    for groups in (1, 4):
        for block in range(3):
            first, last = reader.starts[block : block + 2].tolist()
            ranges = reader.block_ranges(block, groups)
            buffers = [
                b"".join(reader.location.read_ranges([(name, a, b) for name, a, b in pieces])) for pieces in ranges
            ]
            start, length = reader.locate(np.arange(first, last), groups)
            for g, (which, base) in enumerate(reader.block_bases(block, groups)):
                for a, n in zip(start[:, g] - base, length[:, g], strict=True):
                    assert a >= 0 and a + n <= len(buffers[which])


def test_readers_travel_to_other_processes(store: Any) -> None:
    reader = open_reader(store.url)
    again = pickle.loads(pickle.dumps(reader))
    every = np.arange(20)
    assert again.keys(every) == store.keys and again.starts.tolist() == reader.starts.tolist()
    np.testing.assert_array_equal(again.locate(every, 4), reader.locate(every, 4))
    assert reader.shard_of(8) == again.shard_of(8)
