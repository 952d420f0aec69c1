"""Checkpoints of WaLLoC and LiVeAction with random weights, and what the authors' packages make with them.

`tests/data/checkpoints/make.py` asked those packages for the names and shapes of the weights and for the answers.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from paths import ROOT
from torch_or_skip import torch

FOLDER = ROOT / "tests" / "data" / "checkpoints"
CASES: dict[str, dict[str, Any]] = json.loads((FOLDER / "cases.json").read_text())
"""By name: package, configuration, size of the images, and the shapes of the weights."""
ANSWERS = FOLDER / "answers.npz"
"""NAME.latents: int8 (2, channels, h, w); NAME.pixels: uint8 (2, H, W, colours), decoded from them."""


def images(case: dict[str, Any]) -> np.ndarray:
    """uint8 (2, H, W, colours): waves and noise."""
    height, width, colours = case["size"]
    random = np.random.RandomState(7)
    y, x = np.mgrid[:height, :width]
    waves = [[np.sin(x / random.uniform(2, 20) + y / random.uniform(2, 20)) for _ in range(colours)] for _ in range(2)]
    smooth = np.moveaxis(np.array(waves), 1, -1)
    return np.clip(128 + 80 * smooth + random.uniform(-30, 30, smooth.shape), 0, 255).astype(np.uint8)


def weights(case: dict[str, Any]) -> dict[str, Any]:
    """A weight for every name, the same in every version of NumPy and torch."""
    found = {}
    for name, shape in case["weights"].items():
        random = np.random.RandomState(zlib.crc32(name.encode()))
        values = random.uniform(-1, 1, shape)
        last = name.rpartition(".")[2]
        if "filter" in case["kinds"].get(name, ""):
            values = np.array(case["filters"][last.partition("_")[0]]).reshape(shape)
        elif last == "sigma":
            values = 2 + values
        elif last == "weight" and len(shape) == 1:
            values = 1 + values / 10
        elif last == "bias":
            values = values / 10
        else:
            values = values * np.sqrt(3 / np.prod(shape[1:]))
        found[name] = torch.from_numpy((values * case["gains"].get(name, 1)).astype(np.float32))
    return found


def write(folder: Path, name: str, **changes: Any) -> str:
    """Writes the checkpoint of a case; returns what `load_codec` takes. changes: of its configuration."""
    case = CASES[name]
    config = case["config"] | changes
    path = folder / f"{name}.pth"
    log = [0.5, {"psnr": [30.25]}]
    if case["package"] == "walloc":
        torch.save({"model_state_dict": weights(case), "learning_rates": log}, path)
        path.with_suffix(".json").write_text(json.dumps(config))
    else:
        torch.save({"config": SimpleNamespace(**config), "state_dict": weights(case), "log": log}, path)
    return f"{case['package']}:{path}"
