"""Planning: which entries make which shard, and what tells one listing from another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentstore.codecs import load_codec
from latentstore.codecs.errors import LatentstoreError
from latentstore.conversion.plan import listing_digest, make_plan, shard_bounds, shard_samples
from latentstore.sources import open_source
from latentstore.sources.item import Item
from latentstore.sources.labels import Labels
from latentstore.sources.signals.settings import Settings


def test_shards_are_planned_over_the_source() -> None:
    assert shard_samples(10, (256, 256)) == 10
    assert shard_samples(600, (256, 256)) == 32
    assert shard_samples(100_000, (256, 256)) == 1563
    assert 4000 < shard_samples(10**8, (256, 256)) < 9000
    assert shard_bounds(range(7), 3, (256, 256)) == [(0, 3), (3, 6), (6, 7)]


def test_native_shards_are_bounded_in_bytes() -> None:
    def items(*sizes: int | None) -> list[Item]:
        return [Item("a", "a", size) for size in sizes]

    mega = 1 << 20
    assert shard_bounds(items(60 * mega, 60 * mega, 60 * mega, 300 * mega, None, 1), 100, None) == [
        (0, 2),
        (2, 3),
        (3, 4),
        (4, 6),
    ]
    assert shard_bounds(items(*[None] * 5), 2, None) == [(0, 2), (2, 4), (4, 5)]


ITEMS = [Item("a", "x/a.png", 3, "1", {"label": 0, "mask": b"\x00"}), Item("b", "x/b.png", 4, "2", {})]


@pytest.mark.parametrize(
    "change",
    [
        lambda items: items[::-1],
        lambda items: items[:1],
        lambda items: [items[0].with_(key="c"), items[1]],
        lambda items: [items[0].with_(path="y/a.png"), items[1]],
        lambda items: [items[0].with_(stamp="9"), items[1]],
        lambda items: [items[0].with_(fields={"label": 1, "mask": b"\x00"}), items[1]],
    ],
)
def test_a_digest_changes_with_the_listing(change: Callable[[list[Item]], list[Item]]) -> None:
    assert listing_digest(change(ITEMS)) != listing_digest(ITEMS)
    # the order of fields and the size say nothing
    assert listing_digest([ITEMS[0].with_(fields={"mask": b"\x00", "label": 0}, size_bytes=9), ITEMS[1]]) == (
        listing_digest(ITEMS)
    )


def test_a_plan(tmp_path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / ".hidden").touch()
    settings = Settings("RGB", 40, size=16)
    codec = load_codec("rgb-f8c48")
    plan = make_plan(open_source(tmp_path), Labels(), None, codec, settings)
    assert [item.path for item in plan.items] == ["0.png", "1.png", "2.png"]
    assert plan.bounds == [(0, 3)]
    assert plan.passed_over == {"hidden or system file": 1}
    assert (plan.spec.quality, plan.spec.size, plan.spec.shard_samples) == (40, (16, 16), 3)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.xml").touch()
    with pytest.raises(LatentstoreError, match=r"no entries that could be images; passed over: 1 text .*\.xml"):
        make_plan(open_source(tmp_path / "empty"), Labels(), None, codec, settings)
