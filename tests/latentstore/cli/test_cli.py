"""The command line as people use it: statuses, what is printed, mistakes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore
from latentstore.cli.main import main
from latentstore.conversion.quarantine import quarantine_name, read_lines

ONE = ["convert", "a", "b.zarr"]


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """run(*arguments) -> Done, in this process: how a process of its own ends is in the tests that start one."""

    def called(*arguments: object) -> Done:
        try:
            status = main([str(word) for word in arguments])
        except SystemExit as ended:  # of the parser of arguments
            status = ended.code
        return Done(status, *capsys.readouterr())

    return called


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(1)
    for name in ("cat/one.png", "cat/two [bold].png", "dog/three.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 32, 3), np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def store(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("stores") / "x.zarr"
    latentstore.convert(source, target, size=32, progress=False)
    return target


def test_convert_prints_what_it_did(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "latentstore", "convert", source, tmp_path / "x.zarr", "--size", "32"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'x.zarr'}: 3 images in 1 shard, ")
    assert "bits per pixel" in done.stdout
    assert done.stderr.splitlines()[0] == f"listing {source} ..."
    assert "converting on " in done.stderr
    assert "publishing" in done.stderr
    assert len(latentstore.open(tmp_path / "x.zarr")) == 3


@pytest.mark.parametrize("screen", [True, False])
def test_why_a_codec_was_chosen_is_read_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], screen: bool
) -> None:
    """On a screen both the progress and the page are read; in a file of the output only the page."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: screen)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: screen)
    assert main(["convert", str(source), str(tmp_path / "x.zarr"), "--size", "32"]) == 0
    shown = capsys.readouterr()
    assert [text.count("the codec is rgb-f8c48: ") for text in (shown.err, shown.out)] == [1, not screen]


def test_every_option_reaches_the_conversion(run: Run, source: Path, tmp_path: Path) -> None:
    rows = ("path,label,mood", "cat/one.png,cat,calm", "cat/two [bold].png,cat,bold", "dog/three.png,dog,mad")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    done = run(
        *("convert", source, tmp_path / "x", "--codec", "gray-f8c16", "--size", "native", "--quality", 30),
        *("--format", "wds", "--workers", 1, "--scheduler", "threads", "--on-error", "raise"),
        *("--effort", "fast", "--labels", tmp_path / "labels.csv"),
    )
    assert done.returncode == 0, done.stderr
    ds = latentstore.open(tmp_path / "x")
    assert (ds.codec.name, ds.quality, ds.size, ds.classes) == ("gray-f8c16", 30, None, ["cat", "dog"])
    assert ds[0]["mood"] == "calm"
    again = run("convert", source, tmp_path / "x", "--format", "wds", "--overwrite")
    assert again.returncode == 0, again.stderr
    assert latentstore.open(tmp_path / "x").codec.name == "rgb-f8c48"


def test_left_out_images_are_named_and_counted_in_the_status(run: Run, source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(source, mine)
    (mine / "dog" / "esc\x1b[31m.png").write_bytes(b"not one")
    done = run("convert", mine, tmp_path / "x.zarr", "--size", 32)
    assert done.returncode == 3
    assert "quarantined dog/esc\\x1b[31m.png: not an image" in done.stderr
    assert "\x1b" not in done.stderr
    assert "skipped 1 entry that could not be read, see quarantine.jsonl in the store" in done.stderr
    skipped = run("convert", mine, tmp_path / "y.zarr", "--size", 32, "--on-error", "skip")
    assert skipped.returncode == 3
    ended = run("convert", mine, tmp_path / "z.zarr", "--size", 32, "--on-error", "raise")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "z.zarr").exists()


@pytest.mark.parametrize("format", ["zarr", "wds"])
def test_a_folder_of_odd_files(run: Run, odd_images: Path, tmp_path: Path, format: str) -> None:
    from latentstore.sources import open_source
    from latentstore.sources.images import read_image

    done = run("convert", odd_images, tmp_path / "x", "--format", format, "--size", 32, "--on-error", "quarantine")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    named = {f.path: f.reason for f in read_lines((tmp_path / "x" / quarantine_name(format)).read_bytes())}
    ds = latentstore.open(tmp_path / "x")
    entries = {item.key: item for item in open_source(odd_images)}
    assert sorted([*ds.keys(), *(key for key, item in entries.items() if item.path in named)]) == sorted(entries)
    for path, reason in named.items():
        assert path in done.stderr
        assert reason
    for i, key in enumerate(ds.keys()):
        image = read_image(entries[key].read(), "RGB", 32)
        assert np.array_equal(ds[i]["latent"], ds.codec.read_latent(ds.codec.compress(image))), key
    for broken in ("empty.jpg", "text.jpg", "zero_size.png", "bomb.png"):
        assert broken in named
    checked = run("verify", tmp_path / "x")
    assert checked.returncode == 0, checked.stdout


def test_info(run: Run, store: Path) -> None:
    done = run("info", store)
    assert done.returncode == 0, done.stderr
    table = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    told = {name: value.strip() for name, value in table.items()}
    ds = latentstore.open(store)
    assert told["samples"] == "3 in 1 shard"
    assert told["images"] == "32x32 pixels, RGB"
    assert told["latents"] == "int8 (48, 4, 4), 4 groups of 12 channels"
    assert told["artifact sha256"] == ds.codec.sha256
    assert told["classes"] == "2: cat, dog"
    assert told["quality"].startswith(f"{ds.quality} ")
    assert "kernel" in told


def test_verify(run: Run, store: Path, tmp_path: Path) -> None:
    assert run("verify", store).returncode == 0
    broken = tmp_path / "broken.zarr"
    shutil.copytree(store, broken)
    shard = next(p for p in sorted((broken / "latent" / "c").rglob("*")) if p.is_file())
    data = bytearray(shard.read_bytes())
    data[len(data) // 4] ^= 1
    shard.write_bytes(data)
    done = run("verify", broken)
    assert done.returncode == 1
    assert "cat/" in done.stdout or "dog/" in done.stdout


def test_codecs(run: Run) -> None:
    done = run("codecs")
    assert done.returncode == 0, done.stderr
    assert "rgb-f8c48" in done.stdout
    assert "gray-f8c16" in done.stdout
    assert latentstore.load_codec("rgb-f8c48").sha256 in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["info", "nowhere.zarr"], 1, "nowhere.zarr"),
        (["verify", "nowhere.zarr"], 1, "nowhere.zarr"),
        (["export", "nowhere.zarr", "out"], 1, "nowhere.zarr"),
        (["convert", "nowhere", "x.zarr"], 1, "nowhere does not exist"),
        (["convert", ".", "x"], 2, "give the format (zarr, wds, versions)"),
        (["convert", ".", "x.zarr", "--quality", "0"], 2, "quality"),
        (["convert", ".", "x.zarr", "--codec", "rgb-f9c49"], 2, "rgb-f9c49"),
        (["convert", ".", "x.zarr", "--workers", "-1"], 2, "workers is -1"),
        (["convert", ".", "x.zarr", "--scheduler", "moon"], 2, "moon"),
    ],
)
def test_mistakes_get_one_sentence(
    run: Run, arguments: list[str], status: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.returncode == status, done.stderr
    told = done.stderr.splitlines()[-1] + "\n" if arguments[0] != "verify" else "latentstore: " + done.stdout
    assert "Traceback" not in done.stderr
    assert said in told


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["convert"],
        ["convert", "a", "b.zarr", "--size", "big"],
        ["fly"],
        ["convert", "a", "b.zarr", "--resume", "--overwrite"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize("command", ["", "convert", "info", "verify", "export", "codecs", "demo", "evaluate", "fit"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "usage: latentstore" in told
    if command == "convert":
        assert "Exit status: 0 all entries are stored" in told


@pytest.mark.parametrize("buffered", [False, True])
def test_a_closed_pipe_is_quiet(store: Path, buffered: bool) -> None:
    command = f"{sys.executable} -m latentstore info {store} | true"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if not buffered:
        environment["PYTHONUNBUFFERED"] = "1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=300, env=environment
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_interrupted_it_says_how_to_go_on(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    # Many seconds of work, whose end nobody waits for.
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)).save(source / "0.png")
    for i in range(1, 3000):
        os.link(source / "0.png", source / f"{i}.png")
    command = [sys.executable, "-m", "latentstore", "convert", str(source), str(tmp_path / "x.zarr")]
    # a shell that runs this in the background ignores Ctrl-C for all that it starts
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heeds) as process:
        assert process.stderr is not None
        assert any("converting" in line for line in iter(process.stderr.readline, "")), "it has ended"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("latentstore: stopped; to go on: latentstore convert ")
    assert said.splitlines()[-1].endswith("--resume")
    assert not (tmp_path / "x.zarr").exists()
