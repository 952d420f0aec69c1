"""What a path or URL means, before anything is asked of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentstore import ArgumentError, Tensor, Writer
from latentstore.importing.fitting import fit_tensors, read_coders
from latentstore.loaders.remote.location import Location
from latentstore.loaders.remote.urls.place import is_bucket, local_path, path_here
from latentstore.stores.export import export
from latentstore.syncing.api import sync


@pytest.mark.parametrize("url", [
    "s3://", "s3:///x.store", "s3a:///x", "gs:///x", Path("s3://bucket/x.store"), "s3:/bucket/x.store", "memory://",
    "gcs:/b/x", "https:/host/x",
])  # fmt: skip
def test_urls_without_a_place(url: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them was a local folder before, or a bucket without a name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="names no place: a URL has two slashes"):
        Location(url)
    with pytest.raises(ArgumentError, match="names no place"):
        Writer(url, {"x": Tensor("float32")})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url", ["s3://b/x", "memory:///x", "hdfs:///x", "a:b", "plain:/x", "C:/x", "/s3:/x", "x/s3:/y", "s3a://b/x:/y", ":"]
)
def test_urls_with_a_place(url: str) -> None:
    assert Location(url).url == url


def test_a_version_of_an_object_is_no_folder() -> None:
    with pytest.raises(ArgumentError, match="names a version of one object"):
        Location("s3://bucket/x.store?versionId=abc")


def test_buckets() -> None:
    assert is_bucket("s3://b") and is_bucket("gs://b/") and not is_bucket("s3://b/x") and not is_bucket("memory://b")


def test_paths_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_path("a") == tmp_path / "a" and local_path("s3://b/a") is None
    assert path_here("a", "") == Path("a") and path_here("file:///a", "") == Path("/a")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert local_path("a") == Path("a") and local_path("/a") == Path("/a")


def test_what_is_written_to_a_disk_is_not_written_to_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder "s3:" was made on this machine."""
    monkeypatch.chdir(tmp_path)
    for act in (
        lambda: export("x.store", "s3://bucket/files"),
        lambda: fit_tensors("source", "s3://bucket/coders"),
        lambda: read_coders("s3://bucket/coders"),
        lambda: sync("s3://bucket/files", "x.store", {"x": Tensor("float32")}, lambda paths: {}),
    ):
        with pytest.raises(ArgumentError, match=r"s3://bucket/\w+ is not on this machine, and .*: give a path of this"):
            act()
    assert not any(tmp_path.iterdir())
