"""`latentstore sync` of a folder of images on the command line: what it prints, and its exit statuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore
from latentstore.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        put(tmp_path, number)
    return tmp_path


def put(folder: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")


def test_from_a_folder_to_versions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["sync", "photos", "x", "--size", "16", "--workers", "1"]
    assert main([*given, "--dry-run"]) == 0 and not (folder / "x").exists()
    assert "x, version 0: 0 unchanged; 0 changed, 4 new: 4 to encode" in capsys.readouterr().out
    assert main(given) == 0
    shown = capsys.readouterr().out
    assert "x: 4 images in 1 shard" in shown and shown.endswith("x has version 1 now\n")
    put(folder, 9)
    (folder / "photos" / "0.png").unlink()
    assert main(["sync", "photos", "x", "--delete"]) == 0, "the options are those of the store"
    shown = capsys.readouterr().out
    assert (
        "3 unchanged; 0 changed, 1 new: 1 to encode" in shown and "1 gone: left out; 1 shard to copy in part" in shown
    )
    ds = latentstore.open("x", channels=12)
    assert ds.keys() == ["1", "2", "3", "9"] and ds.info["version"] == 2
    assert main(["info", "x"]) == 0 and "version          2" in capsys.readouterr().out
    assert main(["verify", "x"]) == 0 and main(["export", "x", "out"]) == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["1.png", "2.png", "3.png", "9.png"]
    capsys.readouterr()
    assert main(["gc", "x"]) == 0 and "removed: 1 version, 3 objects" in capsys.readouterr().out
    assert main(["verify", "x"]) == 0


def test_what_cannot_be_read_gives_status_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "photos" / "bad.png").write_bytes(b"no")
    assert main(["sync", "photos", "x", "--size", "16"]) == 3
    assert "1 entry could not be read, see quarantine.jsonl in the store" in capsys.readouterr().err
    assert main(["sync", "photos", "x"]) == 3
    shown = capsys.readouterr()
    assert "1 could not be read before, and have not changed" in shown.out and "1 entry could not be read" in shown.err


def test_damaged_shards_are_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", "photos", "x", "--size", "16"]) == 0
    shard = next((folder / "x" / "shards").iterdir())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:9] + bytes([whole[9] ^ 1]) + whole[10:])
    assert main(["verify", "x"]) == 1
    shard.write_bytes(whole[:-1])
    capsys.readouterr()
    assert main(["verify", "x"]) == 1 and "the manifest says" in capsys.readouterr().out
    shard.write_bytes(whole)
    moments = folder / "x" / "versions" / "000001.npz"
    data = bytearray(moments.read_bytes())
    at = data.index(b"\n", data.index(b"moments_sums")) + 1
    data[at] ^= 1
    moments.write_bytes(bytes(data))
    assert main(["verify", "x"]) == 1 and "000001.npz" in capsys.readouterr().out


def test_mistakes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", "photos", "x.zarr"]) == 2 and "choose a name without .zarr" in capsys.readouterr().err
    assert main(["sync", "nothing", "x"]) == 1 and "does not exist" in capsys.readouterr().err
    assert main(["sync", "photos", "x", "--size", "16"]) == 0
    (folder / "photos" / "0.png").unlink()
    capsys.readouterr()
    assert main(["sync", "photos", "x", "--quality", "20"]) == 2
    assert "--delete decides it" in capsys.readouterr().err
