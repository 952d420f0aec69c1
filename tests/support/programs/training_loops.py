"""Trains under Lightning with two processes of DistributedDataParallel, or under Accelerate.

Each process writes what it has read, and what it goes on with from a checkpoint, as JSON.

python training_loops.py lightning|accelerate FOLDER
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from memory_store import Memory, keys

from latentstore.loaders import LatentLoader, as_dataloader

SAMPLES, BATCH, STEP = 30, 4, 3


def make_loader() -> LatentLoader:
    return LatentLoader(Memory(SAMPLES), BATCH, True, seed=3)


def passes(kind: str) -> Any:
    """A loader as it is, or a DataLoader of it."""
    return make_loader() if kind == "loader" else as_dataloader(make_loader(), 1, multiprocessing_context="fork")


def run_lightning(folder: Path) -> None:
    import lightning
    from lightning_runs import Model

    class Saves(lightning.pytorch.callbacks.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == STEP:
                trainer.save_checkpoint(folder / "step.ckpt")

    def train(kind: str, limit: int | None = None, checkpoint: Path | None = None) -> list[list[str]]:
        model = Model()
        trainer = lightning.Trainer(
            max_epochs=2, limit_train_batches=limit, accelerator="cpu", devices=2, strategy="ddp", logger=False,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
            callbacks=[Saves()] if checkpoint is None else [],
        )  # fmt: skip
        trainer.fit(model, passes(kind), ckpt_path=checkpoint)
        return model.seen

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    found = {}
    for kind in ("loader", "dataloader"):
        found[kind] = {"whole": train(kind), "rest": train(kind, None, folder / "step.ckpt"), "limited": train(kind, 2)}
    rank = torch.distributed.get_rank()
    (folder / f"{rank}.json").write_text(json.dumps(found))


def run_accelerate(folder: Path) -> None:
    from accelerate import Accelerator

    def prepared(given: Any) -> tuple[Any, Any]:
        accelerator = Accelerator(cpu=True)
        model = torch.nn.Linear(12, 5)
        _, _, found = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 1e-3), given)
        return accelerator, found

    loader = make_loader()
    accelerator, given = prepared(loader)
    assert given is loader, "Accelerate takes a LatentLoader as it is"
    accelerator.register_for_checkpointing(loader)
    begun = iter(loader)
    seen = [next(begun)["key"] for _ in range(STEP)]
    accelerator.save_state(str(folder / "state"))
    other = make_loader()
    accelerator, _ = prepared(other)
    accelerator.register_for_checkpointing(other)
    accelerator.load_state(str(folder / "state"))
    rest = keys(other)
    _, given = prepared(passes("dataloader"))
    (folder / "0.json").write_text(json.dumps({"seen": seen, "rest": rest, "wrapped": [keys(given), keys(given)]}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"lightning": run_lightning, "accelerate": run_accelerate}[sys.argv[1]](Path(sys.argv[2]))
