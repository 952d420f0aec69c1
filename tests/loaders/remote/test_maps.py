"""Maps of files: fewer than the process may have files open, and never taken from a reader."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentstore.codecs.errors import LatentstoreError
from latentstore.loaders.remote import maps
from latentstore.loaders.remote.client import MissingError
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.maps import Maps

FILES = 40


@pytest.fixture
def place(tmp_path: Path) -> Location:
    for number in range(FILES):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 100)
    return Location(tmp_path)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No maps of other tests."""
    monkeypatch.setattr(maps, "_alive", {})
    monkeypatch.setattr(maps, "_oldest", deque())
    yield
    gc.collect()


@pytest.fixture
def most(monkeypatch: pytest.MonkeyPatch) -> int:
    """Room for ten maps."""
    monkeypatch.setattr(maps, "most_maps", lambda: 10)
    return 10


def test_old_maps_make_room(place: Location, most: int) -> None:
    files = Maps(place)
    for number in [*range(FILES), *range(FILES)]:
        found = files.map(number, str(number))
        assert found is not None and found.tobytes() == bytes([number]) * 100 and not found.flags.writeable
        assert files.map(number, "never opened again") is found is files.found[number]
        assert len(maps._alive) <= most
    assert sorted(files.found) == list(range(FILES - 10, FILES))


def test_a_map_in_use_is_not_taken_away(place: Location, most: int) -> None:
    files = Maps(place)
    views = [files.map(number, str(number))[5:7] for number in range(10)]  # type: ignore[index]
    assert files.map(10, "10") is None and files.map(3, "3") is not None
    assert [view.tobytes() for view in views] == [bytes([number]) * 2 for number in range(10)]
    del views[4]
    assert files.map(11, "11") is not None and files.map(12, "12") is None
    assert 4 not in files.found
    assert [int(view[0]) for view in views] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_all_stores_share_the_room(place: Location, most: int) -> None:
    one, other = Maps(place), Maps(place)
    held = [one.map(number, str(number)) for number in range(6)]
    for number in range(FILES):
        other.map(number, str(number))
    assert len(one.found) == 6 and len(other.found) == 4 and len(maps._alive) == most
    del one, held
    for number in range(FILES):
        other.map(number, str(number))
    assert len(other.found) == 10


def test_a_missing_and_an_empty_file(place: Location, most: int) -> None:
    files = Maps(place)
    with pytest.raises(MissingError, match="none is missing"):
        files.map(99, "none")
    place.path("empty").touch()
    found = files.map(98, "empty")
    assert found is not None and found.size == 0


TAKEN = """
import os, resource, sys
from contextlib import suppress
from latentstore.loaders.remote import maps
from latentstore.loaders.remote.location import Location
maps.most_maps = lambda: 1000  # the bound is not what ends it
url, count = sys.argv[1], int(sys.argv[2])
files = maps.Maps(Location(url))
for number in range(count):
    files.map(number, str(number))
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
with suppress(OSError):
    while True:
        os.open(os.devnull, os.O_RDONLY)
assert maps.Maps(Location(url)).map(1, "1") is not None
assert len(files.found) < count
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_descriptors_that_others_have_taken(place: Location) -> None:
    """In a process of its own: other tests' threads would miss the descriptors."""
    command = [sys.executable, "-c", TAKEN, place.url, str(FILES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_many_threads(place: Location, most: int) -> None:
    files, wrong = Maps(place), []

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for number in rng.integers(0, FILES, 300).tolist():
            found = files.map(number, str(number))
            if found is not None and found[-1] != number:
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(maps._alive) <= most


def test_the_room_follows_the_limit() -> None:
    program = (
        "import resource as r; from latentstore.loaders.remote.maps import MOST, most_maps\n"
        "hard = r.getrlimit(r.RLIMIT_NOFILE)[1]\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, hard)); print(most_maps())"
    )
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["128"]


@pytest.mark.parametrize("layout", ["zarr-native", "wds-fixed", "zarr-fixed"])
def test_a_batch_of_more_files_than_maps(make_store: Any, tmp_path: Path, layout: str, monkeypatch: Any) -> None:
    """Samples that lie in files which cannot be mapped are read."""
    import latentstore

    store = make_store(tmp_path, layout, counts=(8,) * 3 if layout == "zarr-fixed" else (2,) * 12)
    gc.collect()
    room = len(maps._alive) + 2
    monkeypatch.setattr(maps, "most_maps", lambda: room)
    ds = latentstore.open(store.url)
    for indices in (np.arange(24), np.random.default_rng(0).permutation(24), np.array([23, 0, 23])):
        got = ds.read_latents(indices)
        for latent, index in zip(got, indices.tolist(), strict=True):
            assert np.array_equal(latent, store.latents[index])
    shard = ds.reader.object_name(2) if layout != "zarr-native" else ds.reader.object_name(2 << 32)
    path = Path(store.url) / shard
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(LatentstoreError, match="cut short"):
        latentstore.open(store.url).read_latents(np.arange(24))
