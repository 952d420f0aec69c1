"""Trains under Lightning with and without interruptions; prints the path of a JSON file of what each run has read.

python lightning_runs.py FOLDER
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from memory_store import Memory

from latentstore.loaders import LatentLoader

EPOCHS, BATCHES = 3, 4


class Model(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 5)
        self.seen: list[list[str]] = []

    def training_step(self, batch: dict[str, Any], number: int) -> torch.Tensor:
        self.seen.append(batch["key"])
        return torch.nn.functional.cross_entropy(self.layer(batch["latent"].flatten(1).float()), batch["label"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


class Saves(lightning.pytorch.callbacks.Callback):
    """A checkpoint after every step and at the end of every epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"step{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        trainer.save_checkpoint(self.folder / f"end{trainer.global_step}.ckpt")


def train(limit: int | None, checkpoint: Path | None = None, saves: Path | None = None) -> list[list[str]]:
    model, loader = Model(), LatentLoader(Memory(30), 8, True, seed=3, output="latents")
    next(iter(loader))
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, limit_train_batches=limit, accelerator="cpu", devices=1, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        callbacks=[] if saves is None else [Saves(saves)],
    )  # fmt: skip
    trainer.fit(model, loader, ckpt_path=checkpoint)
    return model.seen


def main(folder: Path) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    found = {}
    for limit in (None, 2, 1):
        saves = folder / f"limit{limit}"
        saves.mkdir()
        each = BATCHES if limit is None else limit
        whole = train(limit, saves=saves)
        steps = [step for step in (1, 2, 4, 6, 7) if step < EPOCHS * each]
        ends = [each, 2 * each]
        found[str(limit)] = {
            "whole": whole,
            "steps": {step: train(limit, saves / f"step{step}.ckpt") for step in steps},
            "ends": {step: train(limit, saves / f"end{step}.ckpt") for step in ends},
        }
    (folder / "found.json").write_text(json.dumps(found))
    print(folder / "found.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
