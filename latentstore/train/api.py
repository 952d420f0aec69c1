"""Trains by a recipe: resumes, keeps checkpoints, a log and curves, and writes what was made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.codecs.neural.decoder import Decoder
from latentstore.foreign.load import load_codec
from latentstore.progress import Progress
from latentstore.train.curves import curves_png
from latentstore.train.recipe import Recipe, is_checkpoint, read_recipe

if TYPE_CHECKING:
    from latentstore.train.task import Made, Task
    from latentstore.train.training import Training

__all__ = ["train"]

CHECKPOINT, LOG, CURVES = "checkpoint.pt", "log.jsonl", "curves.png"
LOG_SECONDS = 20.0


def train(
    recipe: str | Path, *, say: Callable[[str], None] = lambda _: None, progress: bool | None = False
) -> Decoder | Any:
    """Trains what a recipe says, a TOML file (docs/learned/training.md), and writes it; returns the decoder.

    The stage "joint" makes and writes a codec too, to which the decoder belongs. Of a checkpoint of another package, a
    checkpoint with a trained decoder is made, and its codec is returned, a `ForeignCodec`. An interrupted training goes
    on from its last checkpoint when it is called again. say: called with every line of the log. progress: as in
    `convert`.

    ArgumentError if the recipe, its images or its checkpoint cannot be used, or torch is not installed; StoreError if
    the decoder cannot be written; LatentstoreError if the loss is not finite. The last good checkpoint is kept.
    """
    if find_spec("torch") is None:
        raise ArgumentError("Training needs torch, which is not installed: pip install 'latentstore[train]'.")
    made = _Run(read_recipe(recipe), say).run(progress)
    say(made.said)
    return made.trained


class _Run:
    def __init__(self, recipe: Recipe, say: Callable[[str], None]) -> None:
        codec = load_codec(recipe.artifact)
        given, asked = ("recordings", "images") if recipe.recordings else ("images", "recordings")
        if codec.modality.nouns.many != given:
            raise ArgumentError(
                f"{recipe.artifact} is a codec of {codec.modality.nouns.many}; the recipe lists folders of {given}, "
                f"not of {asked}."
            )
        for out in (recipe.out, recipe.codec):
            if out and not out.parent.is_dir():
                raise ArgumentError(f"{out.parent} is not a folder: make it first, {out.name} is written there.")
            if out and out.is_dir():
                raise ArgumentError(f"{out} is a folder: the recipe must name a file, which is written there.")
        self.recipe, self.say = recipe, say
        self.task = _task(recipe, codec, say)
        self.log: list[dict[str, Any]] = []
        self.seconds = 0.0

    def run(self, progress: bool | None) -> Made:
        import torch

        from latentstore.train.checkpoint import read_checkpoint
        from latentstore.train.joint.training import JointTraining
        from latentstore.train.training import Training

        recipe = self.recipe
        if recipe.device == "cuda" and not torch.cuda.is_available():
            raise ArgumentError("The recipe asks for cuda, and torch finds no such device here: use device = 'cpu'.")
        torch.set_num_threads(recipe.threads)
        found = read_checkpoint(recipe.work / CHECKPOINT, self.task.network_facts, self.task.sha256)
        self.read_said, cost = self.task.read()
        self.say(f"{self.read_said}; {cost}")
        training = {"decoder": Training, "joint": JointTraining}[recipe.stage](recipe, self.task)
        if found is not None:
            training.restore(found)
            self.seconds, self.log = float(found["seconds"]), json.loads(found["curve"])
            self.say(f"goes on from step {training.step} of {recipe.work / CHECKPOINT}")
        try:
            recipe.work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"The folder {recipe.work} cannot be made: {error.strerror or error}.") from error
        with Progress(progress) as shown:
            total = recipe.steps
            shown.begin("training", total=total, unit="steps", before=training.step)
            try:
                self._loop(training, shown)
            except KeyboardInterrupt:
                self._note_gain(training)
                self._save(training)
                raise
        return self._finish(training)

    def _loop(self, training: Training, shown: Progress) -> None:
        recipe, before = self.recipe, self.seconds
        began = logged = saved = time.monotonic()
        while True:
            now = time.monotonic()
            self.seconds = before + now - began
            done = training.step / recipe.steps if recipe.steps else self.seconds / (60 * (recipe.minutes or 1))
            if done >= 1 or now - logged >= LOG_SECONDS:
                self._note_gain(training)
                logged = now
            if done >= 1:
                return
            if now - saved >= 60 * recipe.save_minutes:
                self._note_gain(training)  # which raises if the weights are not worth saving
                self._watch(training)
                self._save(training)
                # neither watching nor writing is training
                spent = time.monotonic() - now
                began, logged, saved = began + spent, logged + spent, now + spent
            training.advance(done)
            shown.advance(1)

    def _note(self, training: Training, **figures: Any) -> None:
        """One line for the log, on the screen and in the file."""
        line = {"step": training.step, "minutes": round(self.seconds / 60, 2), **figures}
        self.log.append(line)
        self.say(json.dumps(line))

    def _note_gain(self, training: Training) -> None:
        gain = training.gain()
        if gain is not None:
            self._note(training, train_gain=round(gain, 4))

    def _watch(self, training: Training) -> None:
        """Measures what there is on what is watched."""
        if self.recipe.watch:
            found = self.task.gains(self._made(training))
            self._note(training, gain={str(kept): round(gain, 4) for kept, gain in found.items()})

    def _save(self, training: Training) -> bool:
        """Writes checkpoint, log and curves; says it if they cannot be written, and returns whether they were."""
        from latentstore.train.checkpoint import write_checkpoint

        work = self.recipe.work
        state = {**training.state(), "seconds": self.seconds, "curve": json.dumps(self.log)}
        try:
            write_checkpoint(work / CHECKPOINT, self.task.network_facts, self.task.sha256, state)
            _replace(work / LOG, "".join(json.dumps(line) + "\n" for line in self.log).encode())
            _replace(work / CURVES, curves_png(self.log, self.task.gain_is))
        except StoreError as error:
            self.say(str(error))
            return False
        return True

    def _made(self, training: Training, final: bool = False) -> Made:
        last = next((line["gain"] for line in reversed(self.log) if "gain" in line), None)
        said = {
            "trained on": f"{self.read_said}, for {training.step:,} steps in {self.seconds / 60:.0f} minutes",
            "licence": self.recipe.licence,
            "measured": "not measured" if last is None else f"{self.task.gain_is} by channels: {json.dumps(last)}",
            "recipe": {
                key: value
                for key, value in asdict(self.recipe).items()
                if isinstance(value, int | float | str) and key not in ("licence", "name", "artifact", "threads")
            },
        }
        return training.made(said, final)

    def _finish(self, training: Training) -> Made:
        self._watch(training)
        self._save(training)
        made = self._made(training, final=True)
        for place, content in made.files.items():
            _replace(place, content)
        return made


def _task(recipe: Recipe, codec: Any, say: Callable[[str], None]) -> Task:
    # they need torch
    from latentstore.train.audio.task import AudioTask
    from latentstore.train.foreign.task import ForeignTask
    from latentstore.train.images import ImageTask
    from latentstore.train.joint.task import JointTask

    if is_checkpoint(recipe.artifact):
        return ForeignTask(recipe, codec, say)
    tasks = {("decoder", "image"): ImageTask, ("decoder", "audio"): AudioTask, ("joint", "image"): JointTask}
    chosen: Any = tasks.get((recipe.stage, codec.modality.name))
    if chosen is None:
        raise ArgumentError(
            f"{codec.name} is a codec of {codec.modality.nouns.many}: the stage {recipe.stage!r} is for images only."
        )
    return chosen(recipe, codec, say)


def _replace(path: Path, content: bytes) -> None:
    """Writes a file beside the old one, and puts it in its place; StoreError."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"{path} could not be written: {error.strerror or error}.") from error
