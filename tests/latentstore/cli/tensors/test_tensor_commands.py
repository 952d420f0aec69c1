"""`import`, `fit-tensors`, `info`, `verify` and `export` of tensors on the command line, with their exit statuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensor_files import npy, npz

import latentstore
from latentstore.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        latent = rng.normal(size=(2, 8, 8)).astype(np.float32)
        (tmp_path / "x" / f"{number}.npz").write_bytes(npz(latent=latent, ids=np.arange(4)))
    return tmp_path


def test_from_files_to_a_store_and_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "w.safetensors").write_bytes(b"weights")
    given = ["import", "x", "s", "--dtype", "float16", "--field", "ids=uint8", "--encoder-name", "vae"]
    assert main([*given, "--encoder-weights", "w.safetensors"]) == 0
    ds = latentstore.open("s")
    assert ds.tensors["latent"].dtype == "float16" and ds.tensors["ids"].dtype == "uint8"
    assert ds.encoders["latent"].is_same(latentstore.Encoder.of_files("vae", ["w.safetensors"]))
    assert "6 samples in 1 shard, source: folder" in capsys.readouterr().out
    assert main(["info", "s"]) == 0 and "tensor latent" in capsys.readouterr().out
    assert main(["verify", "s"]) == 0 and "all good" in capsys.readouterr().out
    assert main(["export", "s", "out", "--format", "npz", "--limit", "2"]) == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["0.npz", "1.npz"]
    shard = next((folder / "s" / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    assert main(["verify", "s"]) == 1 and "the manifest says" in capsys.readouterr().out


def test_what_is_left_out_gives_status_3(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x" / "bad.npz").write_bytes(b"no")
    assert main(["import", "x", "s"]) == 3
    shown = capsys.readouterr()
    assert "left out" in shown.out and "left out 1 sample, see quarantine.jsonl" in shown.err
    assert "left out bad.npz: it is no .npz file" in shown.err
    assert main(["import", "x", "s"]) == 1
    assert "latentstore import x s --overwrite" in capsys.readouterr().err
    assert main(["import", "x", "s", "--resume"]) == 3
    assert "6 samples from an earlier run" in capsys.readouterr().out


def test_coders(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit-tensors", "x", "c", "--dtype", "float16", "--samples", "4"]) == 0
    assert "latent: c/latent.safetensors" in capsys.readouterr().out
    assert main(["import", "x", "s", "--coders", "c"]) == 0
    ds = latentstore.open("s")
    assert ds.tensors["latent"].dtype == "float16"
    assert {f"{coder.sha256}.safetensors" for coder in ds.coders.values()} == {
        path.name for path in (folder / "s" / "coders").iterdir()
    }
    assert main(["fit-tensors", "x", "one.safetensors"]) == 2
    assert "name a folder" in capsys.readouterr().err
    assert main(["fit-tensors", "x", "one.safetensors", "--field", "ids=skip"]) == 0
    assert main(["import", "x", "t", "--coders", "one.safetensors", "--field", "ids=skip"]) == 0
    assert main(["import", "x", "u", "--coders", "one.safetensors"]) == 2
    capsys.readouterr()
    for options, said in [
        (["--dtype", "bfloat16"], "dtype is bfloat16, and the coder that is given for the field 'latent'"),
        (["--coding", "step", "--snr", "21"], "was fitted with"),
        (["--field", "latent=snr=21"], "the field 'latent'"),
    ]:
        assert main(["import", "x", "u", "--coders", "c", *options]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--encoder-weights", "x/0.npz"], "give --encoder-name too"),
        (["--field", "latent"], "NAME=WORDS"),
        (["--snr", "30"], "snr is given"),
        (["--coders", "nothing"], "no coder nothing"),
    ],
)
def test_wrong_usage(folder: Path, options: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "x", "s", *options]) == 2
    assert reason in capsys.readouterr().err


def test_a_field_that_needs_a_word(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "y").mkdir()
    (folder / "y" / "a.npy").write_bytes(npy(np.zeros(3)))
    assert main(["import", "y", "s"]) == 2
    assert "--field decides it" in capsys.readouterr().err
