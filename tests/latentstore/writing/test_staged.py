"""Writers of every layout: gaps, the same bytes always, interruption at every step, messages."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import latentstore
from latentstore.codecs.errors import ArgumentError, CorruptError, StoreError
from latentstore.loaders.remote.location import Location
from latentstore.writing.open import open_writer
from latentstore.writing.spec import StoreSpec

SIZE = (40, 56)


@pytest.fixture(params=("zarr-fixed", "zarr-native", "wds-fixed", "wds-native"))
def layout(request: pytest.FixtureRequest) -> str:
    """The layouts of stores that grow beside their place."""
    return request.param


def _tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _spec(codec: Any, size: tuple[int, int] | None = SIZE, **job: Any) -> StoreSpec:
    return StoreSpec.of(codec, size=size, shard_samples=8, source="made", conversion=job)


def test_bad_samples_are_refused(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    writer = open_writer(f"{tmp_path}/x.zarr", _spec(codec))
    samples = make_samples(8, SIZE)[0]
    with pytest.raises(ArgumentError, match="9 samples are given, and a shard of this store has at most 8"):
        writer.write_shard(0, [*samples, samples[0]])
    with pytest.raises(
        ArgumentError, match="'a b/é 0000': its \\(height, width\\) is \\(8, 8\\), and in this store it is \\(40, 56\\)"
    ):
        writer.write_shard(0, [replace(samples[0], height=8, width=8)])
    with pytest.raises(ArgumentError, match="different fields: some have label"):
        writer.write_shard(0, [samples[0], replace(samples[1], fields={"txt": "", "score": 0, "mask": b""})])
    with pytest.raises(ArgumentError, match="field 'label' holds values of types that cannot be mixed"):
        writer.write_shard(0, [samples[0], replace(samples[1], fields={**samples[1].fields, "label": "x"})])
    with pytest.raises(ArgumentError, match="a field cannot be called 'key'"):
        writer.write_shard(0, [replace(samples[1], fields={"key": 1})])
    broken = bytearray(samples[2].groups[1])
    broken[len(broken) // 2] ^= 1
    groups = [samples[2].groups[0], bytes(broken), *samples[2].groups[2:]]
    with pytest.raises(CorruptError, match="shard 0, 'a b/é 0002'"):
        writer.write_shard(0, [*samples[:2], replace(samples[2], groups=groups)])
    writer.write_shard(0, samples[:2])
    writer.write_shard(1, samples[1:3])
    with pytest.raises(ArgumentError, match="key 'a b/é 0001' is used by more than one sample"):
        writer.finish(2)


def test_statistics_do_not_depend_on_dealing(codec: Any, make_samples: Any, tmp_path: Path) -> None:
    found = []
    samples, latents = make_samples(20, SIZE)
    for n in (3, 20):
        spec = StoreSpec.of(codec, size=SIZE, shard_samples=n, source="")
        writer = open_writer(f"{tmp_path}/{n}.zarr", spec)
        parts = [samples[i : i + n] for i in range(0, 20, n)]
        for i, part in enumerate(parts):
            writer.write_shard(i, part)
        writer.finish(len(parts))
        found.append(latentstore.open(f"{tmp_path}/{n}.zarr").stats)
    values = np.stack(latents).astype(np.float64) * codec.scale(codec.default_quality)[:, None, None]
    for stats in found:
        assert np.array_equal(stats.mean, found[0].mean) and np.array_equal(stats.std, found[0].std)
        np.testing.assert_allclose(stats.mean, values.mean(axis=(0, 2, 3)), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(stats.std, values.std(axis=(0, 2, 3)), rtol=1e-5, atol=1e-5)


def test_gaps_are_closed(make_store: Any, layout: str, tmp_path: Path) -> None:
    store = make_store(tmp_path, layout, counts=(8, 5, 0, 8, 1, 0))
    ds = latentstore.open(store.url)
    assert len(ds) == 22 and ds.keys() == store.keys
    for latent, expected in zip(ds.read_latents(np.arange(22)), store.latents, strict=True):
        assert np.array_equal(latent, expected)
    if layout == "zarr-fixed":
        assert sorted(p.name for p in Path(store.url).glob("latent/c/*")) == ["0", "1", "2"]


def test_same_bytes_however_often(make_store: Any, layout: str, tmp_path: Path) -> None:
    one, two = make_store(tmp_path / "1", layout), make_store(tmp_path / "2", layout)
    assert _tree(Path(one.url)) == _tree(Path(two.url))
    assert not list((tmp_path / "1").glob("*.partial"))


class _Power:
    """Counts the writes and moves of files, and fails one of them as a full disk would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        for name in ("write", "move", "remove"):
            monkeypatch.setattr(Location, name, self._guard(getattr(Location, name)))

    def _guard(self, method: Any) -> Any:
        def guarded(*args: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                raise StoreError(OSError(errno.ENOSPC, "No space left on device"))
            return method(*args)

        return guarded


@pytest.mark.parametrize("counts", [(8, 8, 4), (8, 5, 0, 8, 3)])
def test_interrupted_at_every_step(
    codec: Any, make_samples: Any, layout: str, counts: tuple[int, ...], tmp_path: Path, monkeypatch: Any
) -> None:
    kind, sizes = layout.split("-")
    size = SIZE if sizes == "fixed" else None
    shards, total = [], 0
    for count in counts:
        shards.append(make_samples(count, size, total)[0])
        total += count
    power = _Power(monkeypatch)

    def convert(url: str, resume: bool) -> None:
        writer = open_writer(url, _spec(codec, size), format=kind, resume=resume)
        if writer.published:
            return
        done = writer.done()
        for index, samples in enumerate(shards):
            if index in done:
                assert done[index].notes == [{"shard": index}]
            else:
                writer.write_shard(index, samples, [{"shard": index}])
        writer.finish(len(counts))

    convert(f"{tmp_path}/whole", False)
    whole = _tree(tmp_path / "whole")
    stop, url = 0, f"{tmp_path}/cut"
    while True:
        power.left = stop
        try:
            convert(url, resume=stop > 0)
            break
        except StoreError as error:
            assert "No space left" in str(error)
            power.left = -1
            assert not Path(url).exists() or _tree(Path(url)) == whole  # all or nothing, never half
        stop += 1 if stop < 12 else 3
        assert stop < 200
    assert _tree(tmp_path / "cut") == whole
    assert stop > 4


def test_unfinished_stores_say_so(codec: Any, make_samples: Any, layout: str, tmp_path: Path) -> None:
    kind, sizes = layout.split("-")
    size = SIZE if sizes == "fixed" else None
    url = f"{tmp_path}/x"
    writer = open_writer(url, _spec(codec, size), format=kind)
    writer.write_shard(0, make_samples(8, size)[0])
    with pytest.raises(StoreError, match="x is not finished"):
        latentstore.open(url)
    with pytest.raises(StoreError, match="2 of 3 shards are not written, the first is shard 1"):
        writer.finish(3)
    del writer  # as if it had been killed
    with pytest.raises(StoreError, match="holds an interrupted conversion: resume it, or start again"):
        open_writer(url, _spec(codec, size), format=kind)
    with pytest.raises(StoreError, match=r"other settings \(a; a was None, now 1\): resume it with the same"):
        open_writer(url, _spec(codec, size, a=1), format=kind, resume=True)
    assert sorted(open_writer(url, _spec(codec, size), format=kind, resume=True).done()) == [0]
    open_writer(url, _spec(codec, size), format=kind, resume=True).abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match=r"no latentstore store there .*nothing at all"):
        latentstore.open(url)


def test_overwrite_and_resume_of_what_is_there(codec: Any, make_samples: Any, layout: str, tmp_path: Path) -> None:
    kind, sizes = layout.split("-")
    size = SIZE if sizes == "fixed" else None
    url, samples = f"{tmp_path}/x", make_samples(5, size)[0]

    def convert(count: int, **options: bool) -> None:
        with open_writer(url, _spec(codec, size, n=count), format=kind, **options) as writer:
            assert not writer.published
            writer.write_shard(0, samples[:count])
            writer.finish(1)

    convert(2)
    with pytest.raises(StoreError, match="x already exists: choose another name, or overwrite it"):
        convert(3)
    assert open_writer(url, _spec(codec, size, n=2), format=kind, resume=True).published
    with pytest.raises(StoreError, match="other settings"):
        open_writer(url, _spec(codec, size, n=3), format=kind, resume=True)
    assert len(latentstore.open(url)) == 2
    convert(3, overwrite=True)
    assert len(latentstore.open(url)) == 3 and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_overwrite_spares_what_is_not_ours(codec: Any, layout: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="not a latentstore store of this format, so it is not overwritten"):
        open_writer(f"{tmp_path}/x", _spec(codec), format=layout.split("-")[0], overwrite=True)
    assert (tmp_path / "x" / "thesis.txt").exists()


def test_nothing_to_store(codec: Any, tmp_path: Path) -> None:
    writer = open_writer(f"{tmp_path}/x.zarr", _spec(codec))
    writer.write_shard(0, [], [{"why": "broken"}])
    with pytest.raises(StoreError, match="not one sample could be stored"):
        writer.finish(1)
