"""What the tests of `latentstore sync` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from changing_photos import Photos

from latentstore.sources.signals.images import ImageSignals


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Photos:
    """80 images in two classes, which are three shards."""
    made = Photos(tmp_path / "photos")
    for i in range(80):
        made.put(f"{'cat' if i % 2 else 'dog'}/{i:02d}.png", i)
    decode = ImageSignals.read

    def counted(self: Any, item: Any) -> Any:
        made.read.append(item.path)
        return decode(self, item)

    monkeypatch.setattr(ImageSignals, "read", counted)
    return made
