"""The Python of the task pages runs, block after block, on a small store."""

from __future__ import annotations

import re
import shlex
import tarfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT
from PIL import Image

import latentstore
from latentstore.cli.main import main
from latentstore.codecs import load
from latentstore.train.recipe import Recipe, read_recipe


def run_page(page: str, names: dict[str, object], replace: dict[str, str] | None = None) -> int:
    """Runs the page's blocks in one namespace; returns how many there were."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        for old, new in (replace or {}).items():
            block = block.replace(old, new)
        exec(compile(block, page, "exec"), names)
    return len(blocks)


def commands(page: str) -> list[list[str]]:
    """The arguments of every `latentstore` command in the page's blocks of bash."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("latentstore ")]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/ with 40 images in two classes; the working directory."""
    y, x = np.mgrid[:64, :80]
    for i in range(40):
        image = np.stack([x + i, y + 2 * i, (x * y) // 64], -1) % 256
        path = tmp_path / "photos" / ("even", "odd")[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder in ("latents", "shards"):
        (tmp_path / folder).mkdir()
    for i in range(6):
        latent, ids = rng.normal(size=(4, 8, 8)).astype(np.float32), rng.integers(0, 64, 10)
        np.savez(tmp_path / "latents" / f"{i}.npz", latent=latent, ids=ids)
    for number in range(2):
        with tarfile.open(tmp_path / "shards" / f"x-{number:03d}.tar", "w") as tar:
            for i in range(3):
                for member in ("npz", "jpg"):
                    tar.add(tmp_path / "latents" / f"{i}.npz", f"{number}{i}.{member}")
    for command in commands("tensors.md"):
        assert main(command) == 0, command


def test_tensors_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    assert run_page("tensors.md", names) == 6
    assert next(iter(names["loader"]))["latent"].shape[1:] == (4, 32, 32) and len(names["ds"]) == 100
    assert names["both"][0]["image"].shape == (12, 8, 6) and names["both"][0]["text"].shape == (7, 64)
    assert names["batch"]["image"].shape == (16, 12, 8, 6) and names["batch"]["text"].shape == (16, 7, 64)
    keys = names["ds"].keys()
    assert len(keys) == 100 and "000004" not in keys and "000100" in keys
    replaced = names["ds"][keys.index("000003")]
    assert replaced["label"] == 8
    error = replaced["latent"].astype(np.float64) - names["latents"][3]
    assert 0 < error.std() < 0.02 * names["latents"][3].astype(np.float64).std()
    assert names["plan"].encodes == 5 and len(latentstore.open("kept.store")) == 5


def test_loading(photos: Path) -> None:
    pytest.importorskip("torch")
    latentstore.convert("photos", "photos.zarr", size=64)
    assert run_page("loading.md", {}, {"batch_size=256": "batch_size=16", "crop=(24, 24)": "crop=(6, 6)"}) == 10
    for command in commands("loading.md"):
        assert main(command) == 0, command


def test_learning(photos: Path) -> None:
    pytest.importorskip("torch")
    latentstore.convert("photos", "photos.zarr", size=64)
    names: dict[str, Any] = {}
    assert (
        run_page("learned/learning.md", names, {"LatentLoader(ds, 100": "LatentLoader(ds, 10", "(16, 16)": "(6, 6)"})
        == 1
    )
    assert names["seen"].shape == (10, 23, 6, 6)


def test_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    import foreign_checkpoints

    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    foreign_checkpoints.write(tmp_path / "checkpoints", "linear")
    for suffix in (".pth", ".json"):
        (tmp_path / "checkpoints" / f"linear{suffix}").rename(tmp_path / "checkpoints" / f"RGB_16x{suffix}")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (258, 260, 3), np.uint8)).save("photo.png")
    names: dict[str, Any] = {}
    assert run_page("learned/checkpoints.md", names) == 2
    assert names["codec"].name == "walloc:RGB_16x"
    assert names["decoded"].shape == (1, 258, 260, 3)
    np.testing.assert_array_equal(names["z"][0], names["codec"].encode(names["images"][:, :256, :256])[0])


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves its tars to the collector
def test_plain_webdataset(photos: Path) -> None:
    pytest.importorskip("webdataset")
    latentstore.convert("photos", "store", format="wds", size=64)
    names: dict[str, Any] = {}
    assert run_page("stores.md", names) == 1
    found = list(names["samples"])  # to the end, where webdataset closes its files
    assert len(found) == 32 and found[0]["latent"].shape == (12, 8, 8)


def test_streaming_from_s3(photos: Path, s3_server: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    latentstore.convert("photos", "s3://bucket/photos.zarr", size=64, storage_options=s3_server)
    assert run_page("streaming.md", {"storage_options": s3_server}) == 4


def test_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from audio_made import chirp, write

    monkeypatch.chdir(tmp_path)
    write(Path("songs"), **{f"s{i}": (chirp(i, 44100, 2), 44100) for i in range(4)})
    digits = {f"{i % 3}_{('ann', 'bob')[i % 2]}_{i}": (chirp(i, 900 + 100 * i), 8000) for i in range(16)}
    write(Path("digits"), **digits)
    said = commands("audio.md")
    assert [command[0] for command in said] == ["convert", "convert", "info", "verify", "export", "evaluate"]
    for command in said:
        assert main(command) == 0, command
    assert len(list(Path("heard").glob("*.wav"))) == 4
    names: dict[str, Any] = {}
    assert run_page("audio.md", names) == 3
    assert names["second"].shape == (22050, 2) and names["latent"].shape == (27, 1, 173)
    assert names["batch"]["latent"].shape[:2] == (8, 32) and 0 < names["loader"].padding < 0.5


@pytest.mark.parametrize("name", load.shipped())
def test_modes_of_artifacts_are_those_of_the_format(name: str) -> None:
    """What an artifact file says is for ever; the words of the code may change."""
    codec = latentstore.load_codec(name)
    page = "format-audio.md" if codec.modality.name == "audio" else "format.md"
    (row,) = re.findall(r"^\| `mode` \|.*$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert f'`"{codec.artifact.facts["mode"]}"`' in row


def test_codecs(photos: Path) -> None:
    """With the commands of the page between its blocks, in the order of the text."""
    pytest.importorskip("scipy")
    pytest.importorskip("threadpoolctl")
    Image.open("photos/odd/01.png").save("photo.png")
    for path in sorted(Path("photos").glob("*/*.png")):
        if int(path.stem) >= 12:  # fitting takes time for each
            path.unlink()
    said = commands("codecs.md")
    assert [command[0] for command in said] == ["evaluate", "fit", "convert"]
    Path("one").mkdir()
    Image.open("photo.png").save("one/photo.png")  # one image is enough to evaluate
    for command in [[word.replace("photos", "one") for word in said[0]], *said[1:]]:
        assert main(command) == 0, command
    assert Path("page.html").stat().st_size > Path("figures.json").stat().st_size > 1000
    names: dict[str, Any] = {}
    assert run_page("codecs.md", names) == 4
    assert names["codec"].name == "my-codec"
    assert latentstore.open("photos.zarr").codec.sha256 == names["codec"].sha256


def test_decoders(photos: Path) -> None:
    pytest.importorskip("torch")
    from tiny_decoders import tiny_parts

    from latentstore.codecs.artifact.decoder import make_decoder

    Image.open("photos/odd/01.png").save("photo.png")
    Path("mine.safetensors").write_bytes(
        make_decoder(*tiny_parts(latentstore.load_codec("rgb-f8c48"), card={"measured": "-"}))
    )
    names: dict[str, Any] = {}
    assert run_page("learned/decoders.md", names) == 3
    assert names["best"].shape == names["image"].shape
    assert names["clearer"].shape == names["speech"].shape


def test_training_speaks_of_every_key() -> None:
    """And the recipes of the shipped decoders can be read."""
    text = (ROOT / "docs" / "learned" / "training.md").read_text(encoding="utf-8")
    rows = {key for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    assert rows == {field.name for field in fields(Recipe)}
    recipe = read_recipe(ROOT / "docs" / "learned" / "rgb-f8c48.small.toml")
    assert (recipe.name, recipe.artifact) == ("small", "rgb-f8c48")
    assert sum(recipe.qualities.values()) == pytest.approx(1) == sum(recipe.prefixes.values())
    joint = read_recipe(ROOT / "docs" / "learned" / "rgb-f8c48.joint.toml")
    assert (joint.stage, joint.start, joint.artifact) == ("joint", "small", "rgb-f8c48")
    assert (joint.width, joint.blocks, joint.head) == (recipe.width, recipe.blocks, recipe.head)
    assert sum(joint.qualities.values()) == pytest.approx(1) == sum(joint.prefixes.values())
    for name in ("mono-f32c32", "stereo-f256c108"):
        recipe = read_recipe(ROOT / "docs" / "learned" / f"{name}.small.toml")
        assert (recipe.name, recipe.artifact) == ("small", name)
        assert sum(recipe.prefixes.values()) == pytest.approx(1)


def test_a_source_that_changes(photos: Path) -> None:
    given = [command for command in commands("converting.md") if command[0] == "sync"]
    latentstore.convert("photos", "photos.zarr", size=64)
    for command in [["export", "photos.zarr", "folder", "--limit", "3"], *given]:
        assert main(command) == 0, command
    names: dict[str, Any] = {}
    assert len(given) == 3 and run_page("converting.md", names) == 2
    assert names["images"].shape == (8, 64, 64, 3) and len(names["fields"]["label"]) == len(names["keys"]) == 40
    assert str(names["plan"]) == "40 unchanged; 0 changed, 0 new: 0 to encode; 0 gone: left out"
