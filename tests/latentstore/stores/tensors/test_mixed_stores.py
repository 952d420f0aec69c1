"""info, verify and export of stores that hold latents beside tensors."""

from __future__ import annotations

import json
import shutil
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mixed_stores import HEARD, IMAGES, QUALITY, image, latent, recording, text, write
from PIL import Image

import latentstore
from latentstore import ArgumentError
from latentstore.importing.files.read import read_tensors
from latentstore.loaders.manifest import seal
from latentstore.loaders.tensors import layout
from latentstore.stores.export import export
from latentstore.stores.info import store_table
from latentstore.stores.verify import verify

COUNT = 9


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    url = tmp_path_factory.mktemp("mixed") / "s"
    write(url, range(COUNT), HEARD, source="somewhere")
    return url


@pytest.fixture
def store(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "s"))


def test_info(good: Path) -> None:
    rows = {
        name.strip(): said.strip() for name, _, said in (r.partition("  ") for r in store_table(str(good)).split("\n"))
    }
    assert rows["latents image"].startswith("int8 (48, 4, 5) of 40x32 pixels, RGB, ")
    assert "bits per pixel" in rows["latents image"] and "times smaller than 16-bit PCM" in rows["latents audio"]
    assert rows["codec of image"] == f"rgb-f8c48 at quality {QUALITY}, artifact {IMAGES.sha256}"
    assert rows["tensor text"].startswith("float16 (3 to 4, 8), lossless, ")
    assert rows["fields"] == "key, label (int)" and " of latents and tensors; " in rows["bytes"]


def test_a_good_store(good: Path) -> None:
    report = verify(str(good))
    assert report.problems == [] and report.samples == COUNT
    shards = latentstore.open(good).reader.meta.shards
    assert report.bytes == sum(sum(shard.fields) for shard in shards)


def test_damage_is_named(store: Path) -> None:
    meta = latentstore.open(store).reader.meta
    shard = meta.shards[0]
    path = store / layout.shard_name(shard.name)
    data = bytearray(path.read_bytes())
    parts = meta.parts_of("image")
    at = sum(shard.fields[: parts.start]) + 3
    data[at] ^= 255
    path.write_bytes(bytes(data))
    (problem,) = verify(str(store)).problems
    assert "'0' (sample 0), field 'image': group 0: " in problem and str(path) in problem


def changed(store: Path, name: str, change: Any) -> None:
    """The manifest, and its copy, after a change of what it says of a field, sealed anew."""
    manifest = json.loads((store / layout.MANIFEST).read_text())
    change(next(one for one in manifest["fields"] if one["name"] == name)["latents"])
    del manifest["crc32c"]
    for file in (layout.MANIFEST, layout.version_name(1)):
        (store / file).write_text(json.dumps(seal(manifest)))


@pytest.mark.parametrize(("change", "said"), [
    (lambda about: about["stats"]["mean"].__setitem__(3, 9.0), "field 'image': the mean in the manifest is not"),
    (lambda about: about["stats"]["std"].__setitem__(0, 9e3), "field 'image': the std in the manifest is not"),
    (lambda about: about.update(extent=7), "field 'image': extent is 7 in the manifest"),
    (lambda about: about.update(size=[31, 40]), "field 'image': its sizes are not the one that the manifest says"),
])  # fmt: skip
def test_a_manifest_that_lies(change: Any, said: str, store: Path) -> None:
    changed(store, "image", change)
    (problem,) = verify(str(store)).problems
    assert said in problem


def test_sums_that_lie(store: Path) -> None:
    meta = latentstore.open(store).reader.meta
    shard = meta.shards[0]
    path = store / layout.shard_name(shard.name)
    data = path.read_bytes()
    tail = layout.decode_tail(data[-shard.tail :], meta.parts, "")
    lies = replace(tail, moments={**tail.moments, "image": tail.moments["image"] * 1.01})
    path.write_bytes(data[: -shard.tail] + layout.encode_tail(lies))
    (problem,) = verify(str(store)).problems
    assert "field 'image': its sums are not those of its latents" in problem


def test_another_artifact(store: Path) -> None:
    (store / layout.coder_name(IMAGES.sha256)).write_bytes(b"x")
    (problem,) = verify(str(store)).problems
    assert "its SHA-256 is another one" in problem


def test_export(good: Path, tmp_path: Path) -> None:
    done = export(str(good), str(tmp_path / "out"), decoder="linear", limit=4)
    assert (done.count, done.failures) == (12, [])
    for number in range(4):
        with Image.open(tmp_path / "out" / f"{number}.image.png") as found:
            expected = IMAGES.decode(latent(number)[None], quality=QUALITY, decoder="linear")[0]
            np.testing.assert_array_equal(np.asarray(found), expected)
            assert np.abs(np.asarray(found, np.int16) - image(number)).mean() < 8
        with wave.open(str(tmp_path / "out" / f"{number}.audio.wav")) as heard:
            assert (heard.getnframes(), heard.getframerate()) == (len(recording(number)), 8000)
        arrays = read_tensors("safetensors", (tmp_path / "out" / f"{number}.safetensors").read_bytes())
        assert list(arrays) == ["text"] and arrays["text"].tobytes() == text(number).tobytes()
    rows = [json.loads(line) for line in (tmp_path / "out" / "fields.jsonl").read_text().splitlines()]
    assert rows == [{"key": f"{number}", "label": number} for number in range(4)]


def test_export_of_latents_alone(tmp_path: Path) -> None:
    write(tmp_path / "s", range(2), {"image": IMAGES})
    assert export(str(tmp_path / "s"), str(tmp_path / "out"), channels=12).count == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.image.png", "1.image.png"]
    with pytest.raises(ArgumentError, match="decoder is 'none of it'"):
        export(str(tmp_path / "s"), str(tmp_path / "more"), decoder="none of it")
