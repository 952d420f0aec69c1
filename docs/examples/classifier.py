"""Trains a classifier on the latents of images, with plain torch.

    python docs/examples/classifier.py [FOLDER]

FOLDER has the subfolders `train` and `test`, each with one subfolder of images per class. Without it, the example draws
images of three classes. A model sees 12 of 48 channels: a sixteenth of the numbers of the pixels.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from shapes import draw_folder
from torch import nn

import latentstore
from latentstore.loaders import LatentLoader

SIDE, CHANNELS, EPOCHS = 64, 12, 8


def make_model(classes: int) -> nn.Sequential:
    """From float32 (b, CHANNELS, SIDE / 8, SIDE / 8) to scores (b, classes)."""
    return nn.Sequential(
        nn.Conv2d(CHANNELS, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 64, classes),
    )


def train(model: nn.Module, loader: LatentLoader) -> None:
    """Every pass over the loader is one epoch, in another order."""
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    model.train()
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in loader:
            loss = nn.functional.cross_entropy(model(batch["latent"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.3f}")


@torch.no_grad()
def accuracy(model: nn.Module, loader: LatentLoader) -> float:
    """The share of samples whose class is found, 0 to 1."""
    model.eval()
    right = [(model(batch["latent"]).argmax(1) == batch["label"]) for batch in loader]
    return torch.cat(right).float().mean().item()


def main(folder: Path | None = None) -> float:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder = Path(scratch)
            draw_folder(folder / "train", 64, seed=0)
            draw_folder(folder / "test", 24, seed=1)
        for part in ("train", "test"):
            latentstore.convert(folder / part, f"{scratch}/{part}.zarr", size=SIDE, progress=False)
        seen, unseen = (latentstore.open(f"{scratch}/{part}.zarr", channels=CHANNELS) for part in ("train", "test"))
        print(f"{len(seen)} images to train on, {int(seen.group_bytes().sum()) / len(seen):.0f} bytes each")
        model = make_model(len(seen.classes))
        train(model, LatentLoader(seen, 32, shuffle=True, seed=0, num_workers=2, drop_last=True, output="latents"))
        found = accuracy(model, LatentLoader(unseen, 32, output="latents"))
    print(f"accuracy on {len(unseen)} other images: {found:.1%}")
    return found


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
