"""Where codecs come from: names, paths, URLs; and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import latentstore
from latentstore.codecs import Codec, codec_from_bytes, load, load_codec, shipped
from latentstore.codecs.artifact.container import MAX_BYTES
from latentstore.codecs.errors import ArgumentError, ArtifactError
from latentstore.codecs.load import _SHIPPED as FOLDER


def test_names() -> None:
    assert shipped() == ["gray-f8c16", "mono-f32c32", "rgb-f16c48", "rgb-f8c48", "stereo-f256c108"]
    for name in shipped():
        codec = load_codec(name)
        assert codec.name == name
        assert load_codec(name) is codec
        assert latentstore.load_codec(name) is codec


def test_shipped_artifacts_say_what_they_are() -> None:
    for name in shipped():
        card = load_codec(name).card
        assert {"fitted on", "licence", "measured", "transform"} <= set(card)
        assert "Apache-2.0" in card["licence"]
        assert (FOLDER / f"{name}.safetensors").stat().st_size < 1_000_000


def test_paths(codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my own.safetensors"
    path.write_bytes(codec.artifact_bytes)
    monkeypatch.chdir(tmp_path)
    for given in (path, str(path), "my own.safetensors", "./my own.safetensors", Path("my own.safetensors")):
        assert load_codec(given).sha256 == codec.sha256


@pytest.mark.parametrize("name", ["rgb-f8c49", "RGB-F8C48", "", "rgb-f8c48.zarr", "./rgb-f8c48", "s3://bucket/codec"])
def test_unknown_names_list_what_there_is(name: str) -> None:
    with pytest.raises(ArgumentError, match=rf"ships {', '.join(shipped())}; .* ends in .safetensors"):
        load_codec(name)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"x\.safetensors: the file is not there"):
        load_codec(tmp_path / "x.safetensors")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_codec(folder)


def test_urls_are_opened_elsewhere() -> None:
    with pytest.raises(ArgumentError, match=r"latentstore\.load_codec"):
        load_codec("s3://bucket/x.safetensors")


def test_files_that_are_no_artifacts(codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for content in (b"", b"hello", codec.artifact_bytes[:-1], codec.artifact_bytes + b"x"):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"x\.safetensors is not a latentstore artifact"):
            load_codec(path)


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(ArtifactError, match=f"{MAX_BYTES} bytes are no artifact"):
        load_codec(path)


def test_codecs_need_numpy_alone() -> None:
    """Reading latents loads neither torch nor zarr nor dask nor Pillow."""
    code = (
        "import sys, numpy; from latentstore.codecs import load_codec; c = load_codec('gray-f8c16');"
        "b = c.compress(numpy.zeros((8, 8), 'u1')); c.read_latent(b); c.decompress(b);"
        "print([m for m in ('torch', 'zarr', 'dask', 'PIL', 'scipy', 'fsspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"


def test_a_new_name_is_a_new_identity(codec: Codec, other_artifact: bytes) -> None:
    other = codec_from_bytes(other_artifact)
    assert other.sha256 != codec.sha256
    image = np.zeros((8, 8, 3), np.uint8)
    np.testing.assert_array_equal(other.encode(image[None]), codec.encode(image[None]))
    assert other.compress(image) != codec.compress(image)


def test_a_codec_is_found_by_its_hash_and_no_other_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = load_codec("rgb-f8c48")
    made: list[str] = []
    monkeypatch.setattr(load, "codec_from_bytes", lambda content, name: made.append(name))
    monkeypatch.setattr(load, "_registered", {})
    assert load.codec_of(wanted.sha256, bytes) is wanted
    assert not made
