"""Conversion: what is stored, what is left out and named, the same bytes wherever and however it runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore
from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError, ImageError, LatentstoreError, StoreError
from latentstore.conversion.quarantine import quarantine_name, read_lines
from latentstore.conversion.report import Report

SIZE = 32


def make_images(folder: Path, count: int = 80, bad: tuple[int, ...] = ()) -> Path:
    """`count` small images in two class folders, those numbered in `bad` being no images; seeded."""
    rng = np.random.default_rng(8)
    for i in range(count):
        path = folder / ("ants" if i % 2 else "bees") / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i in bad:
            path.write_bytes(b"this is no image")
            continue
        small = rng.integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(small).resize((SIZE + 8, SIZE), Image.Resampling.BICUBIC).save(path)
    return folder


def files_of(store: Path) -> dict[str, bytes]:
    """Every file below `store` and its bytes."""
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("images"))


def convert(source: Path, target: Path, **options: object) -> Report:
    return latentstore.convert(str(source), str(target), **{"size": SIZE, "progress": False, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["zarr", "wds"])
@pytest.mark.parametrize("size", [SIZE, "native"])
def test_stores_every_image_with_key_and_label(images: Path, tmp_path: Path, format: str, size: object) -> None:
    report = convert(images, tmp_path / f"x.{format}", format=format, size=size)
    assert (report.stored, report.failures, report.resumed) == (80, (), 0)
    assert report.bytes_in == sum(p.stat().st_size for p in images.rglob("*.png"))
    ds = latentstore.open(report.url)
    assert len(ds) == 80
    keys = ds.keys()
    assert keys == sorted(p.relative_to(images).with_suffix("").as_posix() for p in images.rglob("*.png"))
    assert ds.classes == ["ants", "bees"]
    assert [ds.classes[label] for label in ds.fields()["label"]] == [key.split("/")[0] for key in keys]
    assert report.bytes_out == ds.info["blob_bytes"]
    assert report.extent == 80 * SIZE * (SIZE if size == SIZE else SIZE + 8)


def test_latents_are_those_of_the_image(images: Path, tmp_path: Path) -> None:
    from latentstore.sources.images import read_image

    report = convert(images, tmp_path / "x.zarr", effort="fast")
    ds = latentstore.open(report.url)
    for i in (0, 33, 79):
        image = read_image(str(images / f"{ds[i]['key']}.png"), "RGB", SIZE)
        expected = ds.codec.encode(image[None], effort="fast")[0]
        assert np.array_equal(ds[i]["latent"], expected)


@pytest.mark.parametrize("format", ["zarr", "wds"])
def test_bytes_do_not_depend_on_workers(images: Path, tmp_path: Path, format: str) -> None:
    one = convert(images, tmp_path / "one" / "x", format=format, workers=1)
    many = convert(images, tmp_path / "many" / "x", format=format, workers=5)
    assert one.shards == many.shards > 1
    assert files_of(tmp_path / "one") == files_of(tmp_path / "many")


@pytest.mark.parametrize("format", ["zarr", "wds"])
@pytest.mark.parametrize("size", [SIZE, "native"])
def test_bad_images_are_quarantined(tmp_path: Path, format: str, size: object) -> None:
    bad = (0, 7, 40, 41, 79)
    source = make_images(tmp_path / "source", bad=bad)
    report = convert(source, tmp_path / "x", format=format, size=size)
    assert report.stored == 75
    named = read_lines((tmp_path / "x" / quarantine_name(format)).read_bytes())
    assert tuple(named) == report.failures
    assert [f.path.split("/")[-1] for f in named] == ["007.png", "041.png", "079.png", "000.png", "040.png"]
    assert all("not an image" in f.reason for f in named)
    clean = tmp_path / "clean"
    shutil.copytree(source, clean)
    for failure in named:
        (clean / failure.path).unlink()
    without = convert(clean, tmp_path / "y", format=format, size=size)
    a, b = latentstore.open(report.url), latentstore.open(without.url)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[i]["latent"], b[i]["latent"]) for i in range(75))


def test_a_zarr_store_with_a_quarantine_is_listed_without_a_warning(tmp_path: Path) -> None:
    import zarr

    source = make_images(tmp_path / "source", count=5, bad=(3,))
    convert(source, tmp_path / "x.zarr")
    group = zarr.open_group(tmp_path / "x.zarr", mode="r")  # warnings are errors in these tests
    assert "latent" in dict(group.members())


def test_a_image_too_long_for_the_format_is_quarantined(tmp_path: Path) -> None:
    source = make_images(tmp_path / "source", count=2)
    Image.fromarray(np.zeros((1, 600_000), np.uint8)).save(source / "ants" / "long.png")
    report = convert(source, tmp_path / "x.zarr", size="native")
    assert report.stored == 2
    assert [f.key for f in report.failures] == ["ants/long"]
    assert "600000" in report.failures[0].reason


def test_skip_leaves_out_without_a_file(tmp_path: Path) -> None:
    source = make_images(tmp_path / "source", count=5, bad=(3,))
    report = convert(source, tmp_path / "x.zarr", on_error="skip")
    assert (report.stored, len(report.failures)) == (4, 1)
    assert not list((tmp_path / "x.zarr").rglob("quarantine.jsonl"))


def test_raise_names_the_image_and_publishes_nothing(tmp_path: Path) -> None:
    source = make_images(tmp_path / "source", count=5, bad=(3,))
    with pytest.raises(ImageError, match=r"ants/003\.png: not an image"):
        convert(source, tmp_path / "x.zarr", on_error="raise")
    assert not (tmp_path / "x.zarr").exists()
    report = convert(source, tmp_path / "x.zarr", on_error="skip", resume=True)
    assert report.stored == 4


def test_images_that_ask_for_a_lower_quality_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    at = np.arange(64) // 4 % 2
    for name, rows in (("flat", 0), ("less", 32), ("most", 64)):
        checker = np.full((64, 64, 3), 128, np.uint8)
        checker[:rows] = (255 * (at[:rows, None] ^ at))[..., None]
        Image.fromarray(checker).save(source / f"{name}.png")
    options = {"size": 64, "quality": 100, "progress": False}
    report = latentstore.convert(source, tmp_path / "x.zarr", **options)
    assert report.stored == 3 and not report.failures
    (told,) = report.remarks
    assert (told.kind, told.count) == ("coefficients", 2)
    (less, few), (most, many) = told.examples
    assert (less, most) == ("less.png", "most.png")
    assert 0 < int(few.partition(" ")[0].replace(",", "")) < int(many.partition(" ")[0].replace(",", ""))
    assert main(["convert", str(source), str(tmp_path / "y.zarr"), "--size=64", "--quality=100"]) == 0
    shown = capsys.readouterr().out
    assert "2 images had coefficients too large" in shown and "less.png" in shown and "a lower quality" in shown
    assert not latentstore.convert(source, tmp_path / "z.zarr", **{**options, "quality": 50}).remarks


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    source = make_images(tmp_path / "source", count=3, bad=(0, 1, 2))
    with pytest.raises(LatentstoreError, match="none of the 3 entries"):
        convert(source, tmp_path / "x.zarr")
    assert not (tmp_path / "x.zarr").exists()


def test_an_empty_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(LatentstoreError, match="source"):
        convert(tmp_path / "source", tmp_path / "x.zarr")
    with pytest.raises(LatentstoreError, match="nowhere"):
        convert(tmp_path / "nowhere", tmp_path / "x.zarr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": "large"}, "size is 'large'"),
        ({"quality": 101}, "quality"),
        ({"on_error": "ignore"}, "on_error"),
        ({"effort": "much"}, "effort"),
        ({"format": "tfrecord"}, "tfrecord"),
        ({"workers": 0}, "workers is 0"),
        ({"scheduler": "slurm"}, "slurm"),
        ({"scheduler": "tcp://a:1", "workers": 3}, "cluster uses the workers it has"),
        ({"resume": True, "overwrite": True}, "only one of them"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    images: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        convert(images, tmp_path / "x.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_a_target_without_a_format_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="format"):
        convert(images, tmp_path / "photos")


def test_an_existing_store_stays_unless_overwritten(images: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.zarr"
    convert(images, target)
    before = files_of(target)
    with pytest.raises(StoreError, match="overwrite"):
        convert(images, target, quality=20)
    assert files_of(target) == before
    small = make_images(tmp_path / "source", count=4, bad=(1,))
    with pytest.raises(ImageError):
        convert(small, target, overwrite=True, on_error="raise")
    assert files_of(target) == before
    assert convert(small, target, overwrite=True).stored == 3


def test_from_and_to_an_object_store(images: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    try:
        for path in sorted(images.rglob("*.png"))[:40]:
            memory.pipe(f"/source/{path.relative_to(images).as_posix()}", path.read_bytes())
        memory.pipe("/source/ants/bad.png", b"no image")
        report = latentstore.convert("memory://source", "memory://x.zarr", size=SIZE, progress=False)
        assert (report.stored, len(report.failures)) == (40, 1)
        assert not memory.exists("/x.zarr.partial")
        assert read_lines(memory.cat("/x.zarr/key/quarantine.jsonl"))[0].path == "ants/bad.png"
        assert len(latentstore.open("memory://x.zarr")) == 40
    finally:
        memory.rm("/source", recursive=True)
        memory.rm("/x.zarr", recursive=True)


@pytest.mark.parametrize(("name", "channels", "reduction"), [("gray-f8c16", 16, 8), ("rgb-f16c48", 48, 16)])
@pytest.mark.parametrize("format", ["zarr", "wds"])
def test_other_codecs(images: Path, tmp_path: Path, name: str, channels: int, reduction: int, format: str) -> None:
    report = convert(images, tmp_path / "x", codec=name, format=format)
    ds = latentstore.open(report.url)
    side = -(-SIZE // reduction)
    assert ds[0]["latent"].shape == (channels, side, side)
    assert ds.codec.name == name
    latents = ds.read_latents(np.arange(3))
    np.testing.assert_array_equal(latents[1], ds[1]["latent"])
    pixels = ds.decode(latents, (SIZE, SIZE))
    assert pixels.shape == (3, SIZE, SIZE, ds.codec.in_channels)


def test_quarantine_lines_hold_any_name(tmp_path: Path) -> None:
    from latentstore.conversion.quarantine import Failure, write_lines

    failures = [
        Failure("naïve 图片", "naïve 图片.jpg", "cut"),
        Failure("b\udcff", "b\udcff.jpg", 'a "quoted"\nreason'),
    ]
    lines = write_lines(failures)
    assert read_lines(lines) == failures
    assert [json.loads(line)["reason"] for line in lines.splitlines()] == ["cut", 'a "quoted"\nreason']
    assert "\n" not in str(failures[1])
