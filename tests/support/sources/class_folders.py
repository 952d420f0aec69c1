"""Folders of small images and of other files, and the command line on them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

import latentstore
from latentstore.cli.main import main


def png(seed: int = 0, side: int = 8) -> bytes:
    """The bytes of a PNG of noise."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def fill(folder: Path, *images: str, **others: bytes) -> Path:
    """Writes an image under each name, and other files by name."""
    for i, name in enumerate(images):
        write(folder / name, png(i))
    for name, content in others.items():
        write(folder / name, content)
    return folder


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def converted(source: object, target: Path, *options: object, status: int = 0) -> dict[str, int]:
    """Converts by the command line, which must end with `status`; the label of each key, as the store has it.

    The numbers of its report must add up, and the store must pass `verify`.
    """
    assert main(["convert", str(source), str(target), "--size", "16", *map(str, options)]) == status
    assert main(["verify", str(target)]) == 0
    said = report(target)
    assert said["found"] == said["stored"] + said["left_out"] + sum(said["passed_over"].values())
    store = latentstore.open(target)
    assert said["stored"] == len(store)
    labels = store.fields().get("label", [None] * len(store))
    return dict(zip(store.keys(), list(labels), strict=True))


def report(target: Path) -> dict:
    """The report that a store keeps."""
    path = next(path for path in (target / "key" / "report.json", target / "report.json") if path.exists())
    return dict(json.loads(path.read_bytes()))


def classes(target: Path) -> list[str] | None:
    """The classes of a store."""
    return latentstore.open(target).classes


def told(target: Path) -> dict[str, int]:
    """The kinds of remarks in a store's report, with counts."""
    return {one["kind"]: one["count"] for one in report(target)["remarks"]}
