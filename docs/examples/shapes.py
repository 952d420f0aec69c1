"""Small images that the examples draw for themselves: discs, squares and stripes on a soft background, seeded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("disc", "square", "stripes")


def draw(kind: str, rng: np.random.Generator, side: int = 64) -> np.ndarray:
    """An image of one class, uint8 (side, side, 3)."""
    y, x = np.mgrid[:side, :side] / side
    slope, dark, light = rng.uniform(-40, 40, (2, 3)), rng.uniform(30, 90, 3), rng.uniform(150, 220, 3)
    low, high = (dark, light) if rng.random() < 0.5 else (light, dark)
    ground = low + slope[0] * x[..., None] + slope[1] * y[..., None]
    (cx, cy), radius = rng.uniform(0.35, 0.65, 2), rng.uniform(0.15, 0.3)
    if kind == "disc":
        inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
    elif kind == "square":
        inside = np.maximum(abs(x - cx), abs(y - cy)) < radius
    else:
        inside = np.sin(2 * np.pi * (x * rng.uniform(2, 4) + y * rng.uniform(-4, 4))) > 0.3
    image = np.where(inside[..., None], high, ground) + rng.normal(0, 4, (side, side, 3))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def draw_folder(folder: Path, each: int, seed: int) -> Path:
    """`each` images of every class as PNG files, in a subfolder per class; returns the folder."""
    rng = np.random.default_rng(seed)
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True)
        for i in range(each):
            Image.fromarray(draw(kind, rng)).save(folder / kind / f"{i:03d}.png")
    return folder
