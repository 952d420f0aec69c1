"""Conversion of audio: what is stored, under which keys, with which fields; what is left out and named."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_made import chirp, encoded, write

import latentstore
from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError, AudioError, LatentstoreError, StoreError
from latentstore.conversion.quarantine import read_lines
from latentstore.conversion.report import Report
from latentstore.sources.audio.reader import read_audio
from latentstore.stores.verify import verify

RATE = 8000
CODEC = "mono-f32c32"


def convert(source: Any, target: Path, **options: Any) -> Report:
    return latentstore.convert(source, target, **{"codec": CODEC, "progress": False, **options})


def keys_of(ds: Any) -> list[str]:
    keys: list[str] = ds.keys()
    return keys


def files_of(store: Path) -> dict[str, bytes]:
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 short recordings of different lengths, {label}_{speaker}_{n}.wav."""
    folder = tmp_path_factory.mktemp("digits")
    names = [(i % 4, ("ann", "bob")[i % 2], i // 4) for i in range(40)]
    return write(folder, **{f"{a}_{b}_{n}": (chirp(i, 300 + 97 * i), RATE) for i, (a, b, n) in enumerate(names)})


@pytest.mark.parametrize("format", ["zarr", "wds"])
def test_whole_recordings(digits: Path, tmp_path: Path, format: str) -> None:
    report = convert(digits, tmp_path / "x", format=format, labels="{label}_{speaker}_{n}.wav")
    assert (report.stored, report.failures) == (40, ())
    assert "40 recordings in " in str(report) and "bits per sample frame" in str(report)
    ds = latentstore.open(report.url)
    assert verify(report.url).problems == []
    fields = ds.fields()
    assert set(fields) == {"label", "speaker", "n", "rate", "step"}
    assert ds.classes is None and fields["label"].tolist() == [int(name[0]) for name in keys_of(ds)]
    assert fields["speaker"] == [name.split("_")[1] for name in keys_of(ds)]
    assert set(fields["rate"].tolist()) == {RATE}
    for i in (0, 17):
        audio, _ = read_audio((digits / f"{ds[i]['key']}.wav").read_bytes(), 1)
        assert ds.sizes()[i].tolist() == [1, len(audio)]
        blob = ds.codec.compress(audio)
        assert np.array_equal(ds[i]["latent"], ds.codec.read_latent(blob)[:, 0])
        decoded = ds.decode(ds.read_latents(np.array([i]))[0][None], (1, len(audio)), fields["step"][i : i + 1])
        assert np.array_equal(decoded[0], ds.codec.decompress(blob))


def test_whole_recordings_are_blobs_of_their_own(digits: Path, tmp_path: Path) -> None:
    convert(digits, tmp_path / "x", format="wds")
    codec = latentstore.open(tmp_path / "x").codec
    with tarfile.open(next((tmp_path / "x").glob("*.tar"))) as tar:
        name = next(name for name in tar.getnames() if name.endswith(".latent"))
        blob = tar.extractfile(name).read()  # type: ignore[union-attr]
    assert codec.info(blob).rate == RATE  # type: ignore[attr-defined]


def test_windows(tmp_path: Path) -> None:
    clips = {"long": chirp(1, 2500), "short": chirp(2, 300), "half": chirp(3, 1500), "less": chirp(4, 1499)}
    source = write(tmp_path / "source", **{name: (audio, RATE) for name, audio in clips.items()})
    report = convert(source, tmp_path / "x.zarr", seconds=0.125, quality=90)
    ds = latentstore.open(report.url)
    assert ds.size == (1, 1000) and ds.latent_shape == (32, 1, 32) and ds[0]["latent"].shape == (32, 32)
    assert dict(zip(ds.keys(), ds.fields()["samples"].tolist(), strict=True)) == {
        "half_00000": 1000, "half_00001": 500, "less_00000": 1000,
        "long_00000": 1000, "long_00001": 1000, "long_00002": 500, "short_00000": 300,
    }  # fmt: skip
    assert "7 windows in 1 shard" in str(report)
    every = np.arange(len(ds))
    decoded = ds.decode(np.asarray(ds.read_latents(every)), (1, 1000), ds.step_codes(ds.fields(every)))
    for key, samples, got in zip(ds.keys(), ds.fields()["samples"], decoded, strict=True):
        name, number = key.split("_")
        wanted = clips[name][int(number) * 1000 :][:1000]
        assert np.square(got[:samples] - wanted).mean() < 0.05 * np.square(wanted).mean()
    assert verify(report.url).problems == []


def test_windows_take_the_rate_of_the_codec_or_the_one_given(tmp_path: Path) -> None:
    source = write(tmp_path / "s", a=(chirp(1, 8000), 8000), b=(chirp(1, 22050), 22050), c=(chirp(1, 192000), 192000))
    for rate in (None, 16000):
        report = convert(source, tmp_path / f"{rate}.zarr", seconds=0.5, rate=rate)
        ds = latentstore.open(report.url)
        assert ds.size == (1, (rate or RATE) // 2) and set(ds.fields()["rate"]) == {rate or RATE}
        assert ds.keys() == [f"{name}_0000{i}" for name in "abc" for i in (0, 1)]


def test_whole_recordings_keep_their_rates_unless_one_is_asked_for(tmp_path: Path) -> None:
    source = write(tmp_path / "s", a=(chirp(1, 4000), 8000), b=(chirp(1, 11025), 22050))
    ds = latentstore.open(convert(source, tmp_path / "own.zarr").url)
    assert ds.fields()["rate"].tolist() == [8000, 22050] and ds.sizes()[:, 1].tolist() == [4000, 11025]
    ds = latentstore.open(convert(source, tmp_path / "one.zarr", rate=16000).url)
    assert ds.fields()["rate"].tolist() == [16000] * 2 and ds.sizes()[:, 1].tolist() == [8000, 8000]


def test_stereo(tmp_path: Path) -> None:
    source = write(tmp_path / "s", cat__a=(chirp(1, 3000, 2), 44100), dog__b=(chirp(2, 3000), 44100))
    ds = latentstore.open(convert(source, tmp_path / "x.zarr", codec="stereo-f256c108").url)
    assert ds.classes == ["cat", "dog"] and ds.latent_shape is None
    assert [ds[i]["latent"].shape for i in range(2)] == [(108, 12)] * 2


def test_long_recordings_are_encoded_in_blocks(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(digits, tmp_path / "whole" / "x", format="wds")
    monkeypatch.setattr("latentstore.sources.signals.audio.LONG_SAMPLES", 999)
    monkeypatch.setattr("latentstore.sources.audio.reader.BLOCK", 512)
    convert(digits, tmp_path / "blocks" / "x", format="wds")
    assert files_of(tmp_path / "whole") == files_of(tmp_path / "blocks")


@pytest.mark.parametrize("seconds", [None, 0.05])
def test_bytes_do_not_depend_on_workers_or_resuming(
    digits: Path, tmp_path: Path, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"format": "wds", "seconds": seconds, "rate": 11025}
    convert(digits, tmp_path / "one" / "x", workers=1, **options)
    assert len(list((tmp_path / "one" / "x").glob("*.tar"))) > 1
    convert(digits, tmp_path / "many" / "x", workers=4, **options)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "many")

    from latentstore.writing.sharded import ShardWriter

    write_shard = ShardWriter.write_shard

    def failing(self: Any, index: int, *rest: Any) -> Any:
        if index:
            raise StoreError("the disk is full")
        return write_shard(self, index, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "write_shard", failing)
        with pytest.raises(StoreError, match="full"):
            convert(digits, tmp_path / "resumed" / "x", workers=1, **options)
    assert convert(digits, tmp_path / "resumed" / "x", resume=True, **options).resumed == 1
    assert files_of(tmp_path / "one") == files_of(tmp_path / "resumed")
    with pytest.raises(StoreError, match="other settings"):
        convert(digits, tmp_path / "resumed" / "x", resume=True, **{**options, "rate": 8000})


BAD = {
    "cut.flac": encoded(chirp(1, 9000), RATE, "FLAC")[:-3000],
    "cut.wav": encoded(chirp(1, 9000), RATE)[:-3000],
    "empty.wav": b"",
    "header.wav": encoded(np.zeros((0, 1)), RATE),
    "nan.wav": encoded(np.where(np.arange(900)[:, None] == 77, np.nan, chirp(1, 900)), RATE, subtype="FLOAT"),
    "six.wav": encoded(chirp(1, 900, 6), RATE),
    "text.wav": b"this is no audio at all, whatever its name says",
}


@pytest.mark.parametrize("seconds", [None, 0.125])
def test_bad_recordings_are_quarantined(tmp_path: Path, seconds: float | None) -> None:
    source = write(tmp_path / "source", good=(chirp(1, 900), RATE))
    for name, data in BAD.items():
        (source / name).write_bytes(data)
    (source / "really-flac.wav").write_bytes(encoded(chirp(2, 900), RATE, "FLAC"))
    (source / "dots.and.no.extension").write_bytes(encoded(chirp(2, 900), 192000))
    report = convert(source, tmp_path / "x.zarr", seconds=seconds)
    named = read_lines((tmp_path / "x.zarr" / "key" / "quarantine.jsonl").read_bytes())
    assert {failure.path.split(" [")[0] for failure in named} == set(BAD)
    assert report.stored == 3 or seconds
    assert verify(report.url).problems == []
    with pytest.raises(AudioError, match=r"cut\.flac"):
        convert(source, tmp_path / "y.zarr", seconds=seconds, on_error="raise", workers=1)


def test_windows_before_damage_are_kept(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.flac").write_bytes(encoded(chirp(1, 80_000), RATE, "FLAC")[:-2000])
    report = convert(tmp_path / "s", tmp_path / "x.zarr", seconds=1)
    assert report.stored + len(report.failures) == 10 and 1 <= report.stored <= 9
    assert all("damaged or cut short" in failure.reason for failure in report.failures)


def test_nothing_but_bad_recordings(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.wav").write_bytes(b"no")
    with pytest.raises(LatentstoreError, match="could be read as recordings"):
        convert(tmp_path / "s", tmp_path / "x.zarr")


def test_tars(digits: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x-0.tar", "w") as tar:
        for path in sorted(digits.iterdir())[:6]:
            for name, data in ((path.name, path.read_bytes()), (path.stem + ".txt", b"said")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    shutil.copytree(digits, tmp_path / "first")
    for path in sorted((tmp_path / "first").iterdir())[6:]:
        path.unlink()
    for seconds in (None, 0.05):
        options: dict[str, Any] = {"seconds": seconds, "labels": "{label}_{_}_{n}.wav"}
        a = latentstore.open(convert(tmp_path / "x-0.tar", tmp_path / f"t{seconds}.zarr", **options).url)
        b = latentstore.open(convert(tmp_path / "first", tmp_path / f"f{seconds}.zarr", **options).url)
        assert a.keys() == b.keys() and set(a.fields()["txt"]) == {"said"}
        assert all(np.array_equal(a[i]["latent"], b[i]["latent"]) for i in range(len(a)))
        assert a.fields()["label"].tolist() == b.fields()["label"].tolist()


@pytest.mark.parametrize("shape", ["plain", "last", "first"])
def test_zarr_arrays(tmp_path: Path, shape: str) -> None:
    import zarr

    clips = np.stack([chirp(i, 2000, 2) for i in range(5)])
    values = {"plain": clips[..., 0], "last": clips, "first": clips.transpose(0, 2, 1)}[shape]
    group = zarr.open_group(tmp_path / "in.zarr", mode="w")
    group["audio"] = (values * 32767).round().astype(np.int16)
    group["label"] = np.arange(5)
    codec = CODEC if shape == "plain" else "stereo-f256c108"
    with pytest.raises(ArgumentError, match="give the rate in hertz"):
        convert(tmp_path / "in.zarr", tmp_path / "x.zarr", codec=codec)
    with pytest.raises(ArgumentError, match="give the rate in hertz"):
        convert(tmp_path / "in.zarr", tmp_path / "x.zarr", codec=codec, seconds=0.1)
    given = latentstore.open(convert(tmp_path / "in.zarr", tmp_path / "g.zarr", codec=codec, rate=8000).url)
    group.attrs["sample_rate"] = 16000
    ds = latentstore.open(convert(tmp_path / "in.zarr", tmp_path / "x.zarr", codec=codec).url)
    assert ds.fields()["rate"].tolist() == [16000] * 5 and ds.fields()["label"].tolist() == list(range(5))
    assert given.fields()["rate"].tolist() == [8000] * 5
    assert ds.sizes().tolist() == [[1, 2000]] * 5
    cut = latentstore.open(convert(tmp_path / "in.zarr", tmp_path / "c.zarr", codec=codec, seconds=0.05, rate=8000).url)
    assert cut.keys()[:3] == ["000000_00000", "000000_00001", "000000_00002"] and cut.size == (1, 400)


def test_labels_from_a_table_name_recordings(digits: Path, tmp_path: Path) -> None:
    rows = ["path,label"] + [f"{path.name},{path.name[0] in '02'}" for path in sorted(digits.iterdir())]
    (tmp_path / "l.csv").write_text("\n".join(rows))
    ds = latentstore.open(convert(digits, tmp_path / "x.zarr", labels=str(tmp_path / "l.csv"), seconds=0.05).url)
    assert ds.classes == ["False", "True"]
    assert ds.fields()["label"].tolist() == [int(name[0] in "02") for name in keys_of(ds)]


def test_a_field_that_audio_has_of_its_own(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="'rate'"):
        convert(digits, tmp_path / "x.zarr", labels="{label}_{_}_{rate}.wav")


def test_options_that_contradict_each_other(digits: Path, tmp_path: Path) -> None:
    for options, words in (
        ({"size": 64}, "codec of audio"),
        ({"size": 64, "seconds": 1}, "size applies to images"),
        ({"seconds": 0}, "lasts"),
        ({"seconds": float("nan")}, "lasts"),
        ({"seconds": 1e9}, "lasts"),
        ({"rate": 0}, "hertz"),
        ({"codec": "rgb-f8c48", "seconds": 1}, "codec of images"),
        ({"codec": "rgb-f8c48", "rate": 8000}, "codec of images"),
    ):
        with pytest.raises(ArgumentError, match=words):
            convert(digits, tmp_path / "x.zarr", **options)


def test_the_command_line(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "x.zarr")
    given = ["--codec", CODEC, "--seconds", "0.1", "--labels", "{label}_{speaker}_{n}.wav"]
    assert main(["convert", str(digits), store, *given]) == 0
    assert main(["convert", str(digits), store, *given, "--size", "64"]) == 2
    assert main(["info", store]) == 0
    assert main(["verify", store]) == 0
    assert main(["export", store, str(tmp_path / "out"), "--limit", "3", "--channels", "16"]) == 0
    told = capsys.readouterr().out
    assert (
        "windows of 0.1 s, 1 input, 8,000 hertz" in told
        and "times smaller than 16-bit PCM" in told
        and "int8 (32, 25)" in told
    )
    assert "3 files in" in told
    assert main(["codecs"]) == 0
    assert "1 input, made for 8,000 hertz" in capsys.readouterr().out


def test_recordings_of_a_bucket(digits: Path, s3_server: dict[str, Any], tmp_path: Path) -> None:
    import s3fs

    fs = s3fs.S3FileSystem(**s3_server)
    for path in sorted(digits.iterdir())[:4]:
        fs.pipe_file(f"bucket/digits/{path.name}", path.read_bytes())
    fs.pipe_file("bucket/digits/z.wav", b"no audio")
    url = convert("s3://bucket/digits", tmp_path / "x.zarr", seconds=0.05, storage_options=s3_server).url
    ds = latentstore.open(url)
    assert ds.keys()[0].endswith("_00000") and len({name[:-6] for name in keys_of(ds)}) == 4


def test_a_recording_that_becomes_silence_is_told_of(tmp_path: Path) -> None:
    at = np.arange(44100) / 44100
    tones = {name: (0.5 * np.sin(2 * np.pi * hertz * at), 44100) for name, hertz in (("high", 10000), ("low", 440))}
    report = latentstore.convert(write(tmp_path / "s", **tones), tmp_path / "x.zarr", codec="stereo-f256c108")
    (told,) = (told for told in report.remarks if told.kind == "silence")
    assert told.count == 1 and told.examples[0][0] == "high.wav"
