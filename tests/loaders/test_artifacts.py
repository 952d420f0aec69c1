"""Codecs by URL."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from latentstore.codecs import Codec
from latentstore.codecs.artifact.container import MAX_BYTES
from latentstore.codecs.errors import ArgumentError, ArtifactError
from latentstore.loaders.artifacts import load_codec


def test_urls(codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(codec.artifact_bytes)
    memory = f"memory://{uuid.uuid4().hex}/x.safetensors"
    with fsspec.open(memory, "wb") as file:
        file.write(codec.artifact_bytes)
    for url in (path.as_uri(), memory):
        assert load_codec(url).sha256 == codec.sha256


def test_an_object_store(codec: Codec, s3_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The address comes from the environment, as for every tool that speaks S3."""
    import s3fs

    s3fs.S3FileSystem(**s3_server).pipe("bucket/codecs/x.safetensors", codec.artifact_bytes)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server["client_kwargs"]["endpoint_url"])
    assert load_codec("s3://bucket/codecs/x.safetensors").sha256 == codec.sha256
    with pytest.raises(ArgumentError, match=r"s3://bucket/codecs/y.safetensors: the file is not there"):
        load_codec("s3://bucket/codecs/y.safetensors")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for url in (
        tmp_path / "x.safetensors",
        (tmp_path / "x.safetensors").as_uri(),
        "memory://none/x.safetensors",
    ):
        with pytest.raises(ArgumentError, match=r"x\.safetensors: the file is not there"):
            load_codec(url)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    for url in (folder, folder.as_uri(), "nosuchprotocol://x/y.safetensors"):
        with pytest.raises(ArtifactError, match="cannot be read"):
            load_codec(url)


def test_files_that_are_no_artifacts(codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for content in (b"", b"hello", codec.artifact_bytes[:-1], codec.artifact_bytes + b"x"):
        path.write_bytes(content)
        for url in (path, path.as_uri()):
            with pytest.raises(ArtifactError, match=r"x\.safetensors is not a latentstore artifact"):
                load_codec(url)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(ArtifactError, match=f"at most {MAX_BYTES}"):
        load_codec(path.as_uri())
