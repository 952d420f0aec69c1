"""`latentstore cache`: where it is, what it holds, and emptying it."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentstore.cli.main import main
from latentstore.loaders.cache.folder import CacheFolder


def test_path_info_and_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "c"
    monkeypatch.setenv("LATENTSTORE_CACHE", str(folder))
    monkeypatch.setenv("LATENTSTORE_CACHE_SIZE", "3GB")
    assert main(["cache", "path"]) == 0 and capsys.readouterr().out == f"{folder}\n"
    assert main(["cache", "info"]) == 0
    assert capsys.readouterr().out == f"{folder}: 0 bytes in 0 files, of 0 stores; it may have 3 GB\n"
    cache = CacheFolder(folder, 10**6)
    cache.put("0" * 32, "a", bytes(1968))
    cache.put("1" * 32, "a", bytes(1968))
    assert main(["cache", "info"]) == 0
    assert capsys.readouterr().out == f"{folder}: 4 kB in 2 files, of 2 stores; it may have 3 GB\n"
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"{folder}: removed 4 kB in 2 files, of 2 stores\n"
    assert cache.usage().entries == 0


def test_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTSTORE_CACHE", raising=False)
    assert main(["cache", "path", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"
    monkeypatch.setenv("LATENTSTORE_CACHE_SIZE", "huge")
    assert main(["cache", "info"]) == 2
    assert "LATENTSTORE_CACHE_SIZE is 'huge'" in capsys.readouterr().err
