"""Back to PNG: every image under its key, as the codec decodes it, and never outside the folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore
from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError, CorruptError, StoreError
from latentstore.sources.images import read_image
from latentstore.stores.export import export
from latentstore.stores.files import file_path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 smooth images of several sizes in two classes."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(2)
    for i in range(40):
        path = folder / ("x" if i % 2 else "y") / f"{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8))
        small.resize((33 + i % 3, 41), Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture(scope="module", params=[("zarr", 32), ("zarr", "native"), ("wds", "native")])
def store(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    format, size = request.param
    target = tmp_path_factory.mktemp("stores") / f"{format}-{size}"
    latentstore.convert(source, target, format=format, size=size, progress=False)
    return target


def test_images_are_those_that_the_codec_decodes(store: Path, source: Path, tmp_path: Path) -> None:
    assert export(str(store), str(tmp_path / "out"), progress=False).count == 40
    ds = latentstore.open(store)
    for i in (0, 1, 20, 39):
        image = read_image(str(tmp_path / "out" / f"{ds[i]['key']}.png"))
        original = read_image(str(source / f"{ds[i]['key']}.png"), "RGB", None if ds.size is None else 32)
        assert image.shape == original.shape
        blob = ds.codec.compress(original)
        assert np.array_equal(image, ds.codec.decompress(blob))
        assert np.abs(image.astype(int) - original).mean() < 12


def test_limit_and_channels(store: Path, tmp_path: Path) -> None:
    assert main(["export", str(store), str(tmp_path / "few"), "--limit", "3", "--channels", "12"]) == 0
    files = sorted((tmp_path / "few").rglob("*.png"))
    ds = latentstore.open(store)
    assert [p.relative_to(tmp_path / "few").with_suffix("").as_posix() for p in files] == ds.keys()[:3]
    height, width = ds.sizes(np.array([0]))[0]
    expected = ds.codec.decode(ds[0]["latent"][None, :12], quality=ds.quality, size=(int(height), int(width)))[0]
    assert np.array_equal(read_image(str(files[0])), expected)


def test_labels_and_other_fields_are_written_too(store: Path, tmp_path: Path) -> None:
    export(str(store), str(tmp_path / "out"), limit=35, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "out" / "fields.jsonl").read_text(encoding="utf-8").splitlines()]
    ds = latentstore.open(store)
    assert rows == [{"key": key, "label": int(key.startswith("y"))} for key in ds.keys()[:35]]
    assert {row["label"] for row in rows} == {0, 1}


def test_without_fields_there_is_no_file_of_them(source: Path, tmp_path: Path) -> None:
    latentstore.convert(source / "x", tmp_path / "x.zarr", progress=False)
    export(str(tmp_path / "x.zarr"), str(tmp_path / "out"), limit=2, progress=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["01.png", "03.png"]


def test_gray_stores_give_gray_images(source: Path, tmp_path: Path) -> None:
    latentstore.convert(source, tmp_path / "g.zarr", codec="gray-f8c16", size=32, progress=False)
    export(str(tmp_path / "g.zarr"), str(tmp_path / "out"), limit=1, progress=False)
    with Image.open(next((tmp_path / "out").rglob("*.png"))) as image:
        assert (image.mode, image.size) == ("L", (32, 32))


def test_nothing_is_written_over(store: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="not an empty folder"):
        export(str(store), str(tmp_path), progress=False)
    with pytest.raises(StoreError, match="not an empty folder"):
        export(str(store), str(tmp_path / "mine.txt"), progress=False)
    with pytest.raises(ArgumentError, match="limit"):
        export(str(store), str(tmp_path / "out"), limit=-1, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/x", "", "a\0b", ".."])
def test_keys_stay_inside_the_folder(key: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="cannot name a file"):
        file_path(tmp_path, key)


def test_ordinary_keys_keep_their_names(tmp_path: Path) -> None:
    assert file_path(tmp_path, "cat/naïve 图片 (1)") == tmp_path / "cat" / "naïve 图片 (1).png"
    assert file_path(tmp_path, "12:30 a..b") == tmp_path / "12:30 a..b.png"


def test_what_cannot_be_written_is_named_and_the_rest_goes_on(
    codec: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from latentstore.writing import Sample, StoreSpec, open_writer

    pixels = np.zeros((16, 16, 3), np.uint8)
    bad = ["../out", "/etc/x", "n" * 300, "a", "a\0b"]  # "a.png" is a folder when "a" comes
    keys = ["a.png/b", *bad, "fine", "x/y"]
    with open_writer(
        str(tmp_path / "x.zarr"), StoreSpec.of(codec, size=(16, 16), shard_samples=8, source="")
    ) as writer:  # type: ignore[arg-type]
        groups = codec.compress_counted(pixels).groups  # type: ignore[attr-defined]
        writer.write_shard(0, [Sample(key, groups, 16, 16) for key in keys])
        writer.finish(1)
    done = export(str(tmp_path / "x.zarr"), str(tmp_path / "out"), progress=False)
    assert (done.count, [key for key, _ in done.failures]) == (3, bad)
    assert all(reason for _, reason in done.failures)
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert written == ["a.png", "a.png/b.png", "fine.png", "x/y.png"]
    assert main(["export", str(tmp_path / "x.zarr"), str(tmp_path / "again")]) == 3
    told = capsys.readouterr()
    assert "3 files in " in told.out and "5 samples could not be written, and 3 files could" in told.err
    assert "not written: '../out': the store has the key '../out'" in told.err
