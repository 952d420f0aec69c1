"""`latentstore sync` of latents: what cannot be listed or read for a while is not gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changing_photos import Photos, latents_of

from latentstore.syncing.latents import sync_latents


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    photos, away = Photos(tmp_path / "photos"), Photos(tmp_path / "disk")
    for i in range(4):
        photos.put(f"own/{i}.png", i)
        away.put(f"{i}.png", 10 + i)
    (photos.root / "far").symlink_to(away.root)
    store = tmp_path / "x"
    photos.sync(store)
    before = latents_of(store)
    away.root.rename(tmp_path / "moved")
    (photos.root / "own/3.png").unlink()
    plan, report = photos.sync(store, delete=True)
    assert plan.gone == ["own/3"] and report is not None
    assert [failure.path for failure in report.failures] == ["far"]
    del before["own/3"]
    assert latents_of(store) == before


def test_a_recording_whose_header_cannot_be_read(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    folder, store = tmp_path / "songs", tmp_path / "x"
    folder.mkdir()
    for at, name in enumerate(("a", "b")):
        soundfile.write(folder / f"{name}.wav", np.random.default_rng(at).normal(0, 0.1, 24000), 8000)
    options: dict[str, Any] = {"codec": "mono-f32c32", "seconds": 1.0, "rate": 8000, "progress": False}
    sync_latents(folder, store, **options)
    before = latents_of(store)
    (folder / "a.wav").write_bytes(b"no recording")
    plan, report = sync_latents(folder, store, delete=True, progress=False)
    assert plan.gone == [] and report is not None and len(report.failures) == 1
    assert latents_of(store) == before and len(before) == 6
