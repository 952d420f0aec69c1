"""Caches the latents of an encoder of one's own, and trains on them.

    python docs/examples/cache_latents.py

A small autoencoder is trained on drawn images. Its latents go into a store, those of the mirrored images beside them. A
classifier learns from the store alone: of each image it sees one of the two latents at random. Then one image changes,
and the store is brought up to date.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from shapes import draw_folder
from torch import nn

import latentstore
from latentstore import Encoder, Tensor
from latentstore.loaders import LatentLoader

SIDE, CHANNELS, STEPS, EPOCHS = 64, 8, 80, 6
FIELDS = {
    "latent": Tensor("float16", "step", snr=32),
    "mirrored": Tensor("float16", "step", snr=32),
    "label": int,
}


class Autoencoder(nn.Module):
    """From images (b, 3, 64, 64) to latents (b, 8, 8, 8) and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1), nn.SiLU(), nn.Conv2d(16, 16, 4, 2, 1), nn.SiLU(),
            nn.Conv2d(16, CHANNELS, 4, 2, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(CHANNELS, 16, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(16, 16, 4, 2, 1), nn.SiLU(),
            nn.ConvTranspose2d(16, 3, 4, 2, 1),
        )  # fmt: skip


def read(paths: Sequence[Path]) -> torch.Tensor:
    """Images, float32 (b, 3, 64, 64), from -1 to 1."""
    images = [np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE))) for path in paths]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_autoencoder(model: Autoencoder, images: torch.Tensor) -> float:
    """The mean squared error in the end."""
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(STEPS):
        batch = images[torch.randint(len(images), (16,))]
        loss = nn.functional.mse_loss(model.decoder(model.encoder(batch)), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def train_classifier(loader: LatentLoader, classes: int) -> float:
    """The share of samples whose class is found in the last epoch."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 64, 64), nn.ReLU(), nn.Linear(64, classes))
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(EPOCHS):
        right = 0
        for batch in loader:
            scores = model(batch["latent"])
            loss = nn.functional.cross_entropy(scores, batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            right += int((scores.argmax(1) == batch["label"]).sum())
    return right / len(loader.ds)


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder, url = Path(scratch) / "images", Path(scratch) / "latents.store"
        draw_folder(folder, 64, seed=0)
        paths = sorted(folder.rglob("*.png"))
        classes = sorted({path.parent.name for path in paths})
        model = Autoencoder()
        print(f"the autoencoder's error: {train_autoencoder(model, read(paths)):.4f}")

        @torch.no_grad()
        def encode(some: Sequence[Path]) -> dict[str, Any]:
            images = read(some)
            return {
                "latent": model.encoder(images).half(),
                "mirrored": model.encoder(images.flip(3)).half(),
                "label": [classes.index(path.parent.name) for path in some],
            }

        with torch.no_grad():
            spread = float(model.encoder(read(paths)).std())
        weights = model.encoder.state_dict()
        encoder = Encoder.of_state_dict("shapes", weights, preprocessing={"size": SIDE}, scale=1 / spread)
        print(latentstore.sync(folder, url, FIELDS, encode, encoder=encoder))

        ds = latentstore.open(url, fields=list(FIELDS), encoder=encoder)
        stored = sum(shard["bytes"] for shard in ds.info["shards"])
        print(f"{len(ds)} samples, {stored / len(ds):.0f} bytes each; as float16 {2 * 2 * CHANNELS * 64} bytes")
        loader = LatentLoader(
            ds, 32, shuffle=True, seed=0, output="latents", dtype=torch.float32,
            variants={"latent": ["latent", "mirrored"]},
        )  # fmt: skip
        print(f"accuracy: {train_classifier(loader, len(classes)):.1%}")

        Image.open(paths[0]).rotate(90).save(paths[0])
        print(latentstore.sync(folder, url, FIELDS, encode, encoder=encoder))
        print(f"version {latentstore.open(url, fields=['label']).version}")


if __name__ == "__main__":
    sys.exit(main())
