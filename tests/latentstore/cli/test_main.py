"""The entry point: exit statuses, error lines, and the command that helps after an error."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latentstore.cli import main as entry
from latentstore.cli.main import main
from latentstore.codecs.errors import ArgumentError, LatentstoreError, StoreError
from latentstore.version import __version__

CONVERT = ["convert", "my photos", "x.zarr", "--quality", "30", "--overwrite"]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def convert(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("latentstore.conversion.api.convert", convert)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LatentstoreError("no"), 1),
        (StoreError("no"), 1),
        (ArgumentError("no"), 2),
        (OSError("no"), 1),
    ],
)
def test_statuses_and_one_line(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, error)
    assert main(CONVERT) == status
    assert capsys.readouterr().err == "latentstore: no\n"


@pytest.mark.parametrize(
    ("remedy", "line"),
    [
        ("resume", "to go on: latentstore convert 'my photos' x.zarr --quality 30 --resume"),
        ("overwrite", "to replace what is there: latentstore convert 'my photos' x.zarr --quality 30 --overwrite"),
    ],
)
def test_an_error_says_which_command_helps(
    remedy: Any, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, StoreError("x.zarr is in the way", remedy=remedy))
    assert main(CONVERT) == 1
    assert capsys.readouterr().err == f"latentstore: x.zarr is in the way\nlatentstore: {line}\n"


def test_other_commands_name_the_conversion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def store_table(store: str) -> str:
        raise StoreError("x.zarr is not finished", remedy="resume")

    monkeypatch.setattr("latentstore.stores.info.store_table", store_table)
    assert main(["info", "x.zarr"]) == 1
    assert "repeat its `latentstore convert` command with --resume" in capsys.readouterr().err


def test_stopped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert main(CONVERT) == 130
    assert capsys.readouterr().err.endswith(
        "stopped; to go on: latentstore convert 'my photos' x.zarr --quality 30 --resume\n"
    )


def test_a_conversion_that_fails_half_way_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.png").write_bytes(b"no image")
    given = ["convert", str(tmp_path / "source"), str(tmp_path / "x.zarr"), "--on-error", "raise"]
    assert main(given) == 1
    assert (
        capsys.readouterr().err.splitlines()[-1] == f"latentstore: to go on: latentstore {shlex.join(given)} --resume"
    )


def test_every_command_has_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    for command in entry.COMMANDS:
        name = command.__name__.rpartition(".")[2].removesuffix("_").replace("_", "-")  # import is a word of Python
        assert re.search(rf"\n    {name}\s", told)


@pytest.mark.parametrize("command", ["", *(c.__name__.rpartition(".")[2] for c in entry.COMMANDS)])
def test_help_is_wrapped_and_its_examples_are_right(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        main([*filter(None, [command.removesuffix("_").replace("_", "-")]), "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 120
    examples = re.findall(r"^  (latentstore \S.*)$", told.partition("\nExamples:\n")[2], re.MULTILINE)
    assert len(examples) > 1 or command in ("info", "verify", "codecs", "train", "cache", "demo")
    for example in examples:
        line, *said = re.split(r" {3,}", example)
        assert entry._parser().parse_args(shlex.split(line)[1:]).command, said


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"latentstore {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from latentstore.cli.main import main\n"
        "try: main(['convert', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'dask', 'distributed', 'zarr', 'PIL', 'soundfile', 'scipy', 'fsspec'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
