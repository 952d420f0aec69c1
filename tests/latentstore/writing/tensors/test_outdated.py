"""Sources that change between a run that was killed and the one that goes on: the newest samples are published."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import mixed_stores
import numpy as np
import pytest

import latentstore
from latentstore import Tensor, Writer
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.stores.verify import verify

ONE = {"x": Tensor("float32")}
NOISE = np.random.default_rng(0).normal(size=32).astype(np.float32)  # takes its bytes
CODERS = {"x": TensorCoder.fit(ONE["x"], [NOISE])}


def tensor(value: float) -> np.ndarray:
    return np.concatenate([np.float32([value]), NOISE[1:]])


def killed(url: Path, samples: Iterable[tuple[str, str, float]]) -> None:
    """A run of shards of two samples that ends by an error. samples: key, source, value."""
    with pytest.raises(ZeroDivisionError), Writer(url, ONE, coders=CODERS, resume=True, shard_bytes=200) as writer:
        for key, source, value in samples:
            writer.write(key, {"x": tensor(value)}, source)
        raise ZeroDivisionError


def resumed(url: Path, samples: Iterable[tuple[str, str, float]], rank: int = 0, world_size: int = 1) -> list[bool]:
    """Which samples are new."""
    with Writer(url, ONE, coders=CODERS, resume=True, rank=rank, world_size=world_size) as writer:
        return [writer.write(key, {"x": tensor(value)}, source) for key, source, value in samples]


def held(url: Path) -> dict[str, float]:
    assert verify(str(url)).problems == []
    ds = latentstore.open(url)
    keys = ds.keys()
    assert len(set(keys)) == len(keys)
    return {key: float(one[0]) for key, one in zip(keys, ds.read()["x"], strict=True)}


@pytest.mark.parametrize("published", [False, True])
def test_a_source_that_changed_meanwhile(published: bool, tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    if published:
        resumed(url, [("d", "d1", 0), ("z", "z1", 1)])
    killed(url, [(key, f"{key}1", 1) for key in "abcdef"])
    killed(url, [("a", "a1", -1), ("b", "b2", 2), ("d", "d2", 2), ("e", "e2", 2), ("f", "f2", 2)])
    again = resumed(url, [("a", "a1", -1), ("b", "b2", -1), ("c", "c3", 3), ("d", "d3", 3), ("g", "g3", 3)])
    assert again == [False, False, True, True, True]
    expected = {"a": 1, "b": 2, "c": 3, "d": 3, "e": 2, "f": 2, "g": 3}
    assert held(url) == expected | ({"z": 1} if published else {})


def test_a_shard_of_which_nothing_stays(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    killed(url, [("a", "1", 1), ("b", "1", 1), ("c", "1", 1), ("d", "1", 1)])
    resumed(url, [(key, "2", 2) for key in "ab"])
    assert held(url) == {"a": 2, "b": 2, "c": 1, "d": 1}


def test_keys_that_other_ranks_have_now(tmp_path: Path) -> None:
    url = tmp_path / "x.store"
    killed(url, [(key, "1", 1) for key in "abcd"])
    samples = [[("a", "2", 2)], [("b", "2", 2), ("d", "1", 2)]]
    threads = [threading.Thread(target=resumed, args=(url, samples[rank], rank, 2), daemon=True) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert held(url) == {"a": 2, "b": 2, "c": 1, "d": 1}


def test_images_beside_tensors(tmp_path: Path) -> None:
    """Sums over the latents of what stays, and sizes, are as if the old ones had never been."""
    url, new = tmp_path / "x.store", tmp_path / "new.store"
    with pytest.raises(ZeroDivisionError), Writer(url, mixed_stores.FIELDS, shard_bytes=1000) as writer:
        for number in range(60):
            writer.write(f"{number}", mixed_stores.sample(number + 100 * (number % 3 == 0)), f"{number}")
        raise ZeroDivisionError
    for where in (url, new):
        with Writer(where, mixed_stores.FIELDS, resume=True) as writer:
            for number in range(60):
                writer.write(f"{number}", mixed_stores.sample(number), f"{number}" + "new" * (number % 3 == 0))
    assert verify(str(url)).problems == []
    assert any(path.name.count(".") == 2 for path in (url / "shards").iterdir())  # written again without some samples
    ds, one = latentstore.open(url), latentstore.open(new)
    assert sorted(ds.keys()) == sorted(one.keys())
    for name, field in ds.latents.items():
        np.testing.assert_allclose(field.stats.mean, one.latents[name].stats.mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(field.stats.std, one.latents[name].stats.std, rtol=1e-9)
        by_key = dict(zip(one.keys(), one.read()[name], strict=True))
        for key, latent in zip(ds.keys(), ds.read()[name], strict=True):
            np.testing.assert_array_equal(latent, by_key[key])
