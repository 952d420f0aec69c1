"""The codec by what a source holds, and signals of another modality by their true name."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from audio_made import chirp, encoded, soundfile
from audio_made import write as write_audio
from class_folders import fill, png, report, write

import latentstore
from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError, LatentstoreError
from latentstore.codecs.modality import AUDIO, IMAGE
from latentstore.sources.labels import Labels
from latentstore.sources.signals.choice import choose_codec
from latentstore.sources.signals.contents import content_of

assert soundfile


def chosen(url: Path, **options: int) -> str:
    choice = choose_codec(url, Labels(), {}, **options)
    assert choice.why.startswith(f"the codec is {choice.codec}: the source ")
    return choice.codec


def test_images_and_recordings(tmp_path: Path) -> None:
    assert chosen(fill(tmp_path / "i", "x/1.png", "2.png", **{"notes.txt": b"", "bad.jpg": b""})) == "rgb-f8c48"
    assert chosen(write_audio(tmp_path / "m", a=(chirp(1, 900), 16000))) == "mono-f32c32"
    assert (
        chosen(write_audio(tmp_path / "s", a=(chirp(1, 900, 2), 48000), b=(chirp(1, 90, 2), 8000))) == "stereo-f256c108"
    )


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.png", encoded(chirp(1, 900), 8000))
    write(tmp_path / "a" / "2", encoded(chirp(1, 900), 8000, "FLAC"))
    assert chosen(tmp_path / "a") == "mono-f32c32"
    write(tmp_path / "b" / "1.wav", png())
    assert chosen(tmp_path / "b") == "rgb-f8c48"


def test_a_mixed_folder_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = fill(write_audio(tmp_path / "s", a=(chirp(1, 900), 8000)), "x.png", "y.png", "z.png")
    with pytest.raises(ArgumentError, match="holds 3 images and 1 recording: say which") as caught:
        choose_codec(source, Labels(), {})
    assert caught.value.option == "codec"
    assert main(["convert", str(source), str(tmp_path / "x.zarr")]) == 2
    assert "--codec decides it" in capsys.readouterr().err
    # with a codec the others are named for what they are
    assert main(["convert", str(source), str(tmp_path / "x.zarr"), "--codec", "rgb-f8c48", "--size", "16"]) == 3
    assert "quarantined a.wav: a recording (WAV): use a codec of audio" in capsys.readouterr().err
    for name, options in (("y", []), ("w", ["--seconds", "0.05"])):
        given = [str(source), str(tmp_path / f"{name}.zarr"), "--codec", "mono-f32c32", *options]
        assert main(["convert", *given]) == 3
        assert "x.png: an image (PNG): use a codec of images" in capsys.readouterr().err
        assert report(tmp_path / f"{name}.zarr")["left_out"] == 3


def test_the_choice_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_audio(tmp_path / "s", a=(chirp(1, 900), 8000))
    write(source / "a.trans.txt", b"words")
    assert main(["convert", str(source), str(tmp_path / "x.zarr")]) == 0
    said = "the codec is mono-f32c32: the source holds 1 recording, most with 1 channel at 8,000 hertz"
    assert said in capsys.readouterr().out
    found = report(tmp_path / "x.zarr")
    assert (found["chosen"], found["passed_over"]) == (said, {"text beside the data (.txt)": 1})
    again = latentstore.convert(source, tmp_path / "x.zarr", resume=True, progress=False)
    assert again.chosen == said


def test_what_no_codec_takes(tmp_path: Path) -> None:
    source = write_audio(tmp_path / "s", a=(chirp(1, 900, 6), 48000))
    with pytest.raises(ArgumentError, match="6 channels at 48,000 hertz, which no shipped codec takes"):
        choose_codec(source, Labels(), {})
    write(tmp_path / "n" / "a.bin", b"neither")
    with pytest.raises(ArgumentError, match=r"neither images nor recordings.*tensors of another encoder are imported"):
        choose_codec(tmp_path / "n", Labels(), {})
    write(tmp_path / "t" / "a.txt", b"text")
    with pytest.raises(LatentstoreError, match="no entries that could be images; passed over: 1 text"):
        latentstore.convert(tmp_path / "t", tmp_path / "x.zarr")


def test_tars_and_arrays(tmp_path: Path) -> None:
    import zarr

    for name, member in (("i", ("0.png", png())), ("a", ("0.wav", encoded(chirp(1, 900, 2), 44100)))):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    assert chosen(tmp_path / "i.tar") == "rgb-f8c48"
    assert chosen(tmp_path / "a.tar") == "stereo-f256c108"
    zarr.create_array(str(tmp_path / "i.zarr"), data=np.zeros((2, 8, 8, 3), np.uint8))
    zarr.create_array(str(tmp_path / "a.zarr"), data=np.zeros((2, 900), np.float32))
    assert chosen(tmp_path / "i.zarr") == "rgb-f8c48"
    assert chosen(tmp_path / "a.zarr", rate=8000) == "mono-f32c32"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((("a.png", png()), ("a.png", png())), "sample a has two members with the extension 'png'"),
        ((("a.png", png()), ("a.cls", b"1"), ("a.label", b"2")), "it has both .cls and .label"),
        ((("../a.png", png()),), "leads out of the tar's own folder"),
    ],
)
def test_what_cannot_be_read_decides_no_codec(
    tmp_path: Path, members: tuple[tuple[str, bytes], ...], reason: str
) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    with pytest.raises(ArgumentError, match="because its entries cannot be read; the first: .*" + reason):
        choose_codec(tmp_path / "x.tar", Labels(), {})


def test_a_tar_that_is_cut_short_decides_no_codec(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"a.png".ljust(512, b"\0"))
    with pytest.raises(ArgumentError, match=r"the first: .*cut short or damaged"):
        choose_codec(tmp_path / "x.tar", Labels(), {})


def test_first_bytes() -> None:
    assert content_of(png()[:32]) == (IMAGE, "PNG")
    assert content_of(encoded(chirp(1, 90), 8000, "MP3")[:32]) == (AUDIO, "MP3")
    assert content_of(b"\xff\xd8\xff\xe0") == (IMAGE, "JPEG")
    for neither in (b"", b"\xff", b"\xff\xff\xff\xff", b"<html>", b"BM is no image", bytes(32)):
        assert content_of(neither) is None
