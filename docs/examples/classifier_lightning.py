"""Trains the same classifier as `classifier.py` under Lightning.

    pip install lightning
    python docs/examples/classifier_lightning.py [FOLDER]

Lightning takes a `LatentLoader` as it is. Every epoch has another order, because each pass over a loader is one epoch.
Its checkpoints hold the loader's state, so a run that was interrupted goes on with the next batch.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import lightning
import torch
from classifier import CHANNELS, EPOCHS, SIDE, make_model
from shapes import draw_folder
from torch import nn

import latentstore
from latentstore.loaders import LatentLoader


class Classifier(lightning.LightningModule):
    """From batches of a `LatentLoader` with output="latents" to classes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = make_model(classes)

    def training_step(self, batch: dict[str, Any], number: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.model(batch["latent"]), batch["label"])

    def test_step(self, batch: dict[str, Any], number: int) -> None:
        right = self.model(batch["latent"]).argmax(1) == batch["label"]
        self.log("accuracy", right.float().mean(), batch_size=len(right))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), 2e-3)


def main(folder: Path | None = None) -> float:
    lightning.seed_everything(0, verbose=False)
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder = Path(scratch)
            draw_folder(folder / "train", 64, seed=0)
            draw_folder(folder / "test", 24, seed=1)
        for part in ("train", "test"):
            latentstore.convert(folder / part, f"{scratch}/{part}.zarr", size=SIDE, progress=False)
        seen, unseen = (latentstore.open(f"{scratch}/{part}.zarr", channels=CHANNELS) for part in ("train", "test"))
        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            accelerator="auto",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        model = Classifier(len(seen.classes))
        trainer.fit(
            model, LatentLoader(seen, 32, shuffle=True, seed=0, num_workers=2, drop_last=True, output="latents")
        )
        (found,) = trainer.test(model, LatentLoader(unseen, 32, output="latents"), verbose=False)
    print(f"accuracy on {len(unseen)} other images: {found['accuracy']:.1%}")
    return float(found["accuracy"])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
