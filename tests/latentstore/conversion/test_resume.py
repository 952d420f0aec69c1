"""Conversions that were stopped: killed at any file's renaming, out of disk, interrupted; then resumed.

A killed run is a real process that kills itself (SIGKILL) just before its n-th rename: every file of a store
is written under another name and renamed, so these are all the states that a kill can leave. The processes are forked
from one that has imported what they need.
"""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore
from latentstore.codecs.errors import StoreError

SIZE = 32

KILLED = """
import itertools, json, os, signal, sys
import PIL.Image
import latentstore.conversion.api
from latentstore.conversion import run, shard, threads
from latentstore.sources import folder, images
from latentstore.writing import lock, webdataset, zarr

lock.BEAT_SECONDS = 3600  # renewing the lock renames too, and is not counted

def dying(rename, renames, nth):
    def before(*args, **kwargs):
        if next(renames) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(*args, **kwargs)
    return before

def convert(source, target, format, size, overwrite, nth):
    renames = itertools.count(1)
    os.replace, os.rename = dying(os.replace, renames, nth), dying(os.rename, renames, nth)
    latentstore.convert(source, target, format=format, size=size, overwrite=overwrite, workers=2, progress=False)
    return next(renames) - 1

for line in sys.stdin:
    came, goes = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(300)
        os.write(goes, str(convert(*json.loads(line))).encode())
        os._exit(0)
    os.close(goes)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), os.read(came, 99).decode(), flush=True)
    os.close(came)
"""
RunUntilKilled = Callable[..., int]


@pytest.fixture(scope="module")
def run_until_killed() -> Iterator[RunUntilKilled]:
    """(source, target, format, size, nth, overwrite=False) -> how often a conversion renames, 0 if it was killed."""
    with subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin and program.stdout
        given, said = program.stdin, program.stdout

        def run(source: Path, target: Path, format: str, size: object, nth: int, overwrite: bool = False) -> int:
            given.write(json.dumps([str(source), str(target), format, size, overwrite, nth]).encode() + b"\n")
            given.flush()
            status, *renames = map(int, said.readline().split())
            assert status in (0, -signal.SIGKILL)
            return sum(renames)

        yield run
        given.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 small images, two of them broken: three shards."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(5)
    for i in range(70):
        path = folder / f"class{i % 3}" / f"{i:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(path)
    for name in ("class0/003.png", "class2/068.png"):
        (folder / name).write_bytes(b"broken")
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("format", "size"), [("zarr", SIZE), ("zarr", "native"), ("wds", SIZE)])
def test_killed_anywhere_and_resumed_it_ends_with_the_same_bytes(
    source: Path, run_until_killed: RunUntilKilled, tmp_path: Path, format: str, size: object
) -> None:
    whole = tmp_path / "whole"
    renames = run_until_killed(source, whole / "x", format, size, nth=-1)
    expected = files_of(whole)
    rng = np.random.default_rng(renames)
    points = {1, 2, renames - 1, renames, *rng.integers(3, renames - 1, 3).tolist()}
    for nth in sorted(points):
        folder = tmp_path / f"killed{nth}"
        run_until_killed(source, folder / "x", format, size, nth)
        assert not (folder / "x").exists()
        report = latentstore.convert(
            source, folder / "x", format=format, size=size, resume=True, workers=2, progress=False
        )
        assert (report.stored, len(report.failures)) == (68, 2)
        assert files_of(folder) == expected, f"killed before rename {nth} of {renames}"


def test_killed_twice(source: Path, run_until_killed: RunUntilKilled, tmp_path: Path) -> None:
    latentstore.convert(source, tmp_path / "whole" / "x.zarr", size=SIZE, progress=False)
    target = tmp_path / "killed" / "x.zarr"
    run_until_killed(source, target, "zarr", SIZE, nth=6)
    with pytest.raises(StoreError, match="holds an interrupted conversion: resume it"):
        latentstore.convert(source, target, size=SIZE, progress=False)
    report = latentstore.convert(source, target, size=SIZE, resume=True, progress=False)
    assert 0 < report.resumed < report.shards
    again = latentstore.convert(source, target, size=SIZE, resume=True, progress=False)
    assert (again.stored, again.resumed) == (68, again.shards)
    assert [f.path for f in again.failures] == ["class0/003.png", "class2/068.png"]
    assert files_of(target) == files_of(tmp_path / "whole" / "x.zarr")


def test_an_overwritten_store_is_whole_at_every_moment(
    source: Path, run_until_killed: RunUntilKilled, tmp_path: Path
) -> None:
    latentstore.convert(source, tmp_path / "old" / "x.zarr", size=16, progress=False)
    latentstore.convert(source, tmp_path / "new" / "x.zarr", size=SIZE, progress=False)
    old, new = files_of(tmp_path / "old"), files_of(tmp_path / "new")
    target = tmp_path / "both" / "x.zarr"
    latentstore.convert(source, target, size=16, progress=False)
    renames = run_until_killed(source, tmp_path / "count" / "x.zarr", "zarr", SIZE, nth=-1)
    for nth in (2, renames // 2, renames):
        run_until_killed(source, target, "zarr", SIZE, nth, overwrite=True)
        assert {name: data for name, data in files_of(target.parent).items() if ".partial/" not in name} == old
    report = latentstore.convert(source, target, size=SIZE, resume=True, progress=False)
    assert report.stored == 68
    assert files_of(target.parent) == new


def test_killed_between_the_two_renames_of_an_overwrite(
    source: Path, run_until_killed: RunUntilKilled, tmp_path: Path
) -> None:
    target = tmp_path / "both" / "x.zarr"
    latentstore.convert(source, target, size=16, progress=False)
    renames = run_until_killed(source, tmp_path / "new" / "x.zarr", "zarr", SIZE, nth=-1)
    run_until_killed(source, target, "zarr", SIZE, renames + 1, overwrite=True)
    assert not target.exists()  # the old store lies in x.zarr.partial
    latentstore.convert(source, target, size=SIZE, resume=True, progress=False)
    assert files_of(target.parent) == files_of(tmp_path / "new")


@pytest.mark.parametrize("nth", [1, 4, 9])
def test_a_full_disk_is_one_error_and_resumable(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    latentstore.convert(source, tmp_path / "whole" / "x.zarr", size=SIZE, progress=False)
    target = tmp_path / "full" / "x.zarr"
    calls = 0
    fsync = os.fsync

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left on device"):
            latentstore.convert(source, target, size=SIZE, workers=1, progress=False)
    assert not target.exists()
    latentstore.convert(source, target, size=SIZE, resume=True, progress=False)
    assert files_of(target.parent) == files_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": 33}, "quality"),
        ({"size": 64}, "size"),
        ({"effort": "fast"}, "effort"),
        ({"codec": "gray-f8c16"}, "codec"),
    ],
)
def test_other_options_are_refused(
    source: Path, run_until_killed: RunUntilKilled, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    target = tmp_path / "x.zarr"
    run_until_killed(source, target, "zarr", SIZE, nth=5)
    options = {"size": SIZE, "progress": False, **change}
    with pytest.raises(StoreError, match=f"other settings.*{message}"):
        latentstore.convert(source, target, resume=True, **options)  # type: ignore[arg-type]


def test_a_changed_source_is_refused(source: Path, run_until_killed: RunUntilKilled, tmp_path: Path) -> None:
    import shutil

    mine = tmp_path / "source"
    shutil.copytree(source, mine)
    target = tmp_path / "x.zarr"
    run_until_killed(mine, target, "zarr", SIZE, nth=5)
    os.utime(mine / "class1" / "001.png", (1, 1))
    with pytest.raises(StoreError, match="listing"):
        latentstore.convert(mine, target, size=SIZE, resume=True, progress=False)
    (mine / "class1" / "001.png").unlink()
    with pytest.raises(StoreError, match="images"):
        latentstore.convert(mine, target, size=SIZE, resume=True, progress=False)


def test_resume_with_nothing_there_begins(source: Path, tmp_path: Path) -> None:
    report = latentstore.convert(source, tmp_path / "x.zarr", size=SIZE, resume=True, progress=False)
    assert (report.stored, report.resumed) == (68, 0)


def test_interrupt_stops_soon_and_resumes(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latentstore.conversion.run import Run

    target = tmp_path / "x.zarr"
    with monkeypatch.context() as patch:

        def interrupted(run: Run, result: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Run, "_finished", interrupted)
        with pytest.raises(KeyboardInterrupt):
            latentstore.convert(source, target, size=SIZE, workers=1, progress=False)
    assert not target.exists()
    report = latentstore.convert(source, target, size=SIZE, resume=True, progress=False)
    assert report.resumed >= 1
    assert report.stored == 68
