"""Tensors that other people's encoders made, for the benchmarks of tensors: by name, arrays (n, ...).

The first half of each is to fit on, the second to measure. Latents are of TAESD's trained encoders; features are of a
small network whose weights are drawn by a fixed seed.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import ml_dtypes
import numpy as np
import torch
from PIL import Image

LATENTS = ("taef2-f8c32-256px", "taesana-f32c32-512px")
PHOTOS = 64
CODEBOOKS = {"4 books of 1024": (4, 1024), "8 books of 256": (8, 256)}
ROUNDS = 12


def latents() -> dict[str, np.ndarray]:
    """float16 (56, 32, 32, 32) and (56, 32, 16, 16)."""
    return {name: np.load(common.data("latents", f"{name}.npy")) for name in LATENTS}


def everything() -> dict[str, np.ndarray]:
    """The latents as float16 and bfloat16, and float32 features of photographs."""
    found: dict[str, np.ndarray] = {}
    for name, array in latents().items():
        found[f"{name} float16"] = array
        found[f"{name} bfloat16"] = array.astype(ml_dtypes.bfloat16)
    return found | features()


def features() -> dict[str, np.ndarray]:
    """float32 (64, 64, 16, 16) from 64 photographs of 128 px: what a convolution gives, and the same rectified."""
    files = sorted(common.data("images", "photos").glob("*.jpg"))
    chosen = files[:: max(1, len(files) // PHOTOS)][:PHOTOS]
    pixels = np.stack([common.at_256(Image.open(file)) for file in chosen])[:, ::2, ::2]
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 24), (24, 48), (48, 64))]
    with torch.no_grad():
        x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
        for layer in layers[:-1]:
            x = torch.nn.functional.gelu(torch.nn.functional.group_norm(layer(x), 8))
        last = layers[-1](x)
    return {
        "features float32": last.contiguous().numpy(),
        "rectified features float32": last.relu().contiguous().numpy(),
    }


def tokens() -> dict[str, np.ndarray]:
    """int16 (56, books, 32, 32): FLUX.2 latents by residual quantisers, of k-means on half of them."""
    array = latents()[LATENTS[0]].astype(np.float32)
    vectors = torch.from_numpy(np.ascontiguousarray(array.transpose(0, 2, 3, 1).reshape(-1, array.shape[1])))
    half = len(vectors) // 2
    found = {}
    for name, (books, size) in CODEBOOKS.items():
        left, codes = vectors.clone(), []
        for book in range(books):
            centres = _means(left[:half:2], size, book)
            codes.append(_nearest(left, centres))
            left -= centres[codes[-1]]
        shaped = torch.stack(codes).reshape(books, len(array), *array.shape[2:])
        found[name] = np.ascontiguousarray(shaped.permute(1, 0, 2, 3).numpy().astype(np.int16))
    return found


def _means(vectors: torch.Tensor, size: int, seed: int) -> torch.Tensor:
    order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed))
    centres = vectors[order[:size]].clone()
    for _ in range(ROUNDS):
        nearest = _nearest(vectors, centres)
        count = torch.bincount(nearest, minlength=size).clamp(min=1)
        centres = torch.zeros_like(centres).index_add_(0, nearest, vectors) / count[:, None]
    return centres


def _nearest(vectors: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    norms = centres.square().sum(1)
    return torch.cat([(norms - 2 * part @ centres.T).argmin(1) for part in vectors.split(8192)])
