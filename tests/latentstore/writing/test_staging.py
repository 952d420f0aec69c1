"""Where stores lie while they grow: beginning, resuming, and overwriting, cut off anywhere."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.codecs.errors import StoreError
from latentstore.loaders.remote.location import Location
from latentstore.writing import StoreSpec, open_writer
from latentstore.writing.staging import Staging

SIZE = (40, 56)


@pytest.fixture(params=("zarr-fixed", "zarr-native", "wds-fixed", "wds-native"))
def layout(request: pytest.FixtureRequest) -> str:
    """The layouts of stores that grow beside their place."""
    return request.param


def begin(codec: Any, url: str, layout: str, shard_samples: int = 8, **options: Any) -> Any:
    size = SIZE if layout.endswith("fixed") else None
    spec = StoreSpec.of(codec, size=size, shard_samples=shard_samples, source="made")
    return open_writer(url, spec, format=layout.split("-")[0], **options)


def fill(writer: Any, make_samples: Any, layout: str, counts: tuple[int, ...] = (8, 4)) -> None:
    size = SIZE if layout.endswith("fixed") else None
    for index, count in enumerate(counts):
        if index not in writer.done():
            writer.write_shard(index, make_samples(count, size, 10 * index)[0])
    writer.finish(len(counts))


def tree(url: str) -> dict[str, bytes]:
    location = Location(url)
    return {name: location.read(name) for name in location.list()}


def test_a_refused_run_leaves_nothing(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    url = f"{tmp_path}/x.zarr"
    fill(begin(codec, url, "zarr-fixed"), make_samples, "zarr-fixed")
    with pytest.raises(StoreError, match="already exists"):
        begin(codec, url, "zarr-fixed")
    assert begin(codec, url, "zarr-fixed", resume=True).published
    assert [p.name for p in tmp_path.iterdir()] == ["x.zarr"]


# ---- overwriting on object stores


MANY = 1_000_000


class Stop(BaseException):
    """What a kill looks like from inside."""


def test_overwriting_is_cut_off_anywhere(
    codec: Any, make_samples: Any, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = f"memory://over-{layout}/old", f"memory://over-{layout}/new"
    fill(begin(codec, old, layout), make_samples, layout, counts=(8, 8, 3))
    before = tree(old)
    fill(begin(codec, new, layout, 9), make_samples, layout)
    after = tree(new)
    left = -1
    change = {name: getattr(Location, name) for name in ("write", "remove", "copy", "move")}

    def counted(name: str) -> Any:
        def call(self: Location, *given: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Stop
            left -= 1
            return change[name](self, *given)

        return call

    for name in change:
        monkeypatch.setattr(Location, name, counted(name))

    def restored(stop: int) -> None:
        """The old store as it was, and a stop after so many changes."""
        nonlocal left
        left = -1
        for url in (old, f"{old}.partial"):
            Location(url).remove()
        for name, data in before.items():
            Location(old).write(name, data)
        left = stop

    restored(MANY)
    fill(begin(codec, old, layout, 9, overwrite=True), make_samples, layout)
    changes = MANY - left
    # every change of the end, where the stores change places, and some of those before
    end = range(max(changes - 24, 0), changes)
    stops, seen_old = sorted({*range(0, changes, max(changes // 24, 1)), *end}), 0
    for stop in stops:
        restored(stop)
        with pytest.raises(Stop):
            fill(begin(codec, old, layout, 9, overwrite=True), make_samples, layout)
        left = -1
        # Here, where the writer that was stopped is forgotten: as long as somebody has it, its lock is held.
        try:
            count = len(latentstore.open(old))
        except StoreError:  # between the old manifest and the new one
            count = 0
        assert count in (0, 12, 19)
        if count == 19:
            assert tree(old) == before
            seen_old += 1
        resumed = Location(f"{old}.partial").exists("job.json")
        writer = begin(codec, old, layout, 9, resume=resumed, overwrite=not resumed)
        if not writer.published:
            fill(writer, make_samples, layout)
        assert tree(old) == after and not Location(f"{old}.partial").list(), stop
    assert 5 < seen_old < len(stops)


@pytest.mark.parametrize("layout", ["zarr-native", "wds-native"])  # more objects than those of one size
def test_overwriting_on_s3(codec: Any, make_samples: Any, layout: str, s3_server: Any) -> None:
    url = f"s3://bucket/over-{layout}"
    given = {"shard_samples": 8, "storage_options": s3_server}
    fill(begin(codec, url, layout, **given), make_samples, layout, counts=(8, 8, 3))
    writer = begin(codec, url, layout, **given, overwrite=True)
    assert len(latentstore.open(url, storage_options=s3_server)) == 19
    del writer  # as if it had been killed
    gc.collect()  # an answer of the server that was an error may hold it in a cycle
    with pytest.raises(StoreError, match="holds an interrupted conversion"):
        begin(codec, url, layout, **given)
    fill(begin(codec, url, layout, **given, resume=True), make_samples, layout)
    ds = latentstore.open(url, storage_options=s3_server)
    assert len(ds.read_latents(np.arange(12))) == 12
    assert not Location(f"{url}.partial", s3_server).list()


def test_a_new_store_may_be_begun_again(codec: Any, make_samples: Any, layout: str) -> None:
    url = f"memory://again-{layout}"
    size = SIZE if layout.endswith("fixed") else None
    begin(codec, url, layout).write_shard(0, make_samples(8, size)[0])
    with pytest.raises(StoreError, match="or start again by overwriting it"):
        begin(codec, url, layout)
    fill(begin(codec, url, layout, overwrite=True), make_samples, layout)
    assert len(latentstore.open(url)) == 12


def test_an_old_store_moved_aside_comes_back(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    url = f"{tmp_path}/x.zarr"
    fill(begin(codec, url, "zarr-fixed"), make_samples, "zarr-fixed")
    whole = tree(url)
    begin(codec, url, "zarr-fixed", overwrite=True)
    staging = Staging.at(url, None)
    staging.target.path().rename(staging.partial.path("old"))
    begin(codec, url, "zarr-fixed", overwrite=True)
    assert tree(url) == whole
