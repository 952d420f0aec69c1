"""Do models learn better from latents than from reduced pixels? Photographs of ten classes, and of cats and dogs.

A small convolutional network tells the classes apart. Latents of `rgb-f8c48` are compared with pixels reduced (Lanczos)
to as many numbers an image: 3,072 and 12,288. Both sides have the same trunk, epochs and augmentation: what a network
sees is cut out at whole positions of the latent, and flipped or turned, which is exact in the latent.

- Step size, weight decay, flips alone or turns too, and the width of the stem are chosen for every row by itself, from
  one grid, on a fifth of the training images. Then five seeds are trained on all training images, and tested.
- An interval is of the mean over seeds (95 %, Student's). A difference is over the test images, of which each row's
  networks got the same ones: its interval says how much another 400 images might change it.
- "Magnitudes" are log(1 + 2 |x|) beside the values: the sign of a band turns with the phase of an edge.

`--device cuda` trains in bfloat16. Results are written as they come (`--json FILE`), and rows that the file holds
already are not measured again. `--pack FILE.zip` writes the squares of the images, for a machine that does not have the
images, and `--images FILE.zip` reads them.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import argparse
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.learning.inputs import Labelled, labelled, pack
from benchmarks.learning.settings import EQUAL, LATENTS, LOST, SETTINGS, Setting
from benchmarks.learning.training import Plan, tested, tuned
from benchmarks.learning.views import Views

TABLES = (
    ("classes", EQUAL), ("labelled", EQUAL), ("classes", LATENTS), ("classes", LOST), ("labelled", LATENTS),
)  # fmt: skip
"""Data sets and tables, the most important ones first."""
PACKED = {"classes": (160, 95), "labelled": (320, 85)}
"""Of each data set, the side and the quality of what `pack` writes."""
STUDENT = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""95 % of Student's distribution lie within so many deviations, by the number of seeds."""


def measured(folder: Path, name: str, data: Labelled, setting: Setting, plan: Plan, device: str) -> dict[str, Any]:
    """One row."""
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    begin = time.perf_counter()
    array = np.load(folder / array_name(name, setting))
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    views = Views(setting.input, array, data.training, setting.dressing, device, kind)

    def made(width: int) -> Any:
        return setting.networks(views, len(data.classes), width)

    choice, means = tuned(made, setting.begun(views), views, data, plan)
    right = tested(made, setting.begun(views), views, data, plan, choice)
    labels = data.labels[~data.training]
    return {
        "data": name,
        "table": setting.table,
        "name": setting.name,
        "numbers": setting.input.numbers,
        "weights": sum(made(choice.width).sizes),
        "choice": asdict(choice),
        "validation": {part: [round(100 * mean, 2) for mean in each] for part, each in means.items()},
        "accuracy": (100 * right.mean(1)).round(3).tolist(),
        "groups": {
            group: (100 * right[:, np.isin(labels, of)].mean(1)).round(3).tolist()
            for group, of in data.groups().items()
        },
        "right": right.mean(0).round(3).tolist(),
        "device": device_name(device),
        "seconds": round(time.perf_counter() - begin, 2),
    }


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} CPU cores"


def array_name(data: str, setting: Setting) -> str:
    one = setting.input
    return f"{data}-{one.side}-{one.channels}-{one.reduced}.npy"


def prepared(images: Path, folder: Path, chosen: Sequence[tuple[str, Setting]]) -> dict[str, Labelled]:
    """Writes the arrays of all inputs into the folder; gives the data sets without their files."""
    found = {}
    for name in dict.fromkeys(name for name, _ in chosen):
        data = labelled(images, name)
        settings = {setting.input: setting for of, setting in chosen if of == name}
        for one, array in data.arrays(settings, os.cpu_count() or 1).items():
            np.save(folder / array_name(name, settings[one]), array)
        found[name] = replace(data, files=())
    return found


def interval(accuracies: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean over seeds."""
    n = len(accuracies)
    return float(STUDENT[n] * np.std(accuracies, ddof=1) / n**0.5) if n in STUDENT else float("nan")


def difference(row: dict[str, Any], other: dict[str, Any]) -> str:
    """Of the accuracies in per cent, with its 95 % interval over test images."""
    each = 100 * (np.array(row["right"]) - np.array(other["right"]))
    return f"{each.mean():+.1f} ± {1.96 * each.std(ddof=1) / len(each) ** 0.5:.1f}"


def tables(rows: Sequence[dict[str, Any]]) -> None:
    """Print all rows, in the order of SETTINGS."""
    order = {setting.name: i for i, setting in enumerate(SETTINGS)}
    against = {setting.name: setting.against for setting in SETTINGS}
    for (data, table), each in itertools.groupby(
        sorted(rows, key=lambda row: (row["data"], row["table"], order[row["name"]])),
        key=lambda row: (row["data"], row["table"]),
    ):
        found = {row["name"]: row for row in rows if row["data"] == data}
        shown = list(each)
        groups = list(shown[0]["groups"])
        print(f"\n{data}: {table}")
        lines = []
        for row in shown:
            other = found.get(against[row["name"]])
            lines.append(
                [
                    row["name"],
                    row["numbers"],
                    f"{np.mean(row['accuracy']):.1f} ± {interval(row['accuracy']):.1f}",
                    *(f"{np.mean(row['groups'][group]):.1f}" for group in groups),
                    difference(row, other) if other else "",
                    ", ".join(f"{value:g}" for value in row["choice"].values()),
                    f"{validated(row):.1f}",
                ]
            )
        columns = [
            "",
            "inputs",
            "accuracy, %",
            *groups,
            "difference",
            "rate, decay, turns, width",
            "on validation images, %",
        ]
        common.table(columns, lines)


def validated(row: dict[str, Any]) -> float:
    """Accuracy on validation images in per cent, of what was chosen; 0 if nothing was tuned."""
    return float(np.mean([max(each) for each in row["validation"].values()])) if row["validation"] else 0.0


def bars(rows: Sequence[dict[str, Any]]) -> None:
    """Latents against pixels, of each the row that does best on validation images; no pixels that were decoded."""
    held = common.Bars()
    for data, numbers in itertools.product(PACKED, (3072, 12288)):
        each = [row for row in rows if row["data"] == data and row["table"] != LOST and row["numbers"] == numbers]
        sides = [[row for row in each if row["name"].startswith(side)] for side in ("latents", "pixels")]
        if all(sides):
            ours, theirs = (max(side, key=validated) for side in sides)
            what = f"{data}, {numbers} inputs: {ours['name']} over {theirs['name']}, accuracy, %"
            held.at_least(what, float(np.mean(ours["accuracy"])), float(np.mean(theirs["accuracy"])))
    held.end()


def chosen_rows(data: Sequence[str], words: Sequence[str]) -> list[tuple[str, Setting]]:
    """In the order of TABLES. words: a row is left out whose name holds none of them."""
    return [
        (name, setting)
        for name, table in TABLES
        for setting in SETTINGS
        if name in data and setting.table == table
        if not words or any(word in setting.name for word in words)
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="the folder, or the zip file that --pack wrote")
    parser.add_argument("--pack", type=Path, metavar="FILE.zip", help="write the images there, and do no more")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data", nargs="+", choices=tuple(PACKED), default=list(PACKED))
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="rows whose names hold one of these")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--folds", type=int, default=1, help="of validation images, 1 to 5; 0: nothing is tuned")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no row begins after so many")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="results, written as they come; its rows are not measured again"
    )
    return parser.parse_args()


def main() -> None:
    begin, given = time.perf_counter(), arguments()
    images = given.images or common.data("images")
    if given.pack:
        pack(images, given.pack, PACKED)
        return
    common.header("Learning from latents: photographs", "torch")
    chosen = chosen_rows(given.data, given.only)
    plan = Plan(given.epochs, given.folds, given.seeds)
    rows: list[dict[str, Any]] = json.loads(given.json.read_text()) if given.json and given.json.exists() else []
    done = {(row["data"], row["name"]) for row in rows}
    chosen = [(name, setting) for name, setting in chosen if (name, setting.name) not in done]
    broken: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data = prepared(images, folder, chosen)
        print(f"inputs: {time.perf_counter() - begin:.1f} s; {asdict(plan)}", flush=True)
        pool = ProcessPoolExecutor(given.processes, multiprocessing.get_context("spawn"))
        names = {
            pool.submit(measured, folder, name, data[name], setting, plan, given.device): f"{name}, {setting.name}"
            for name, setting in chosen
        }
        for run in as_completed(names):
            if run.cancelled():
                continue
            if run.exception() is not None:
                broken.append(f"{names[run]}: {run.exception()!r}")
                continue
            rows.append(run.result())
            print(
                f"{time.perf_counter() - begin:5.0f} s: {names[run]}: {np.mean(rows[-1]['accuracy']):.1f} %", flush=True
            )
            if given.json:
                given.json.write_text(json.dumps(rows))
            if time.perf_counter() - begin > given.seconds:
                for other in names:
                    other.cancel()
        pool.shutdown()
    on = ", ".join(sorted({row["device"] for row in rows}))
    print(f"{len(rows)} of {len(done) + len(chosen)} rows, on {on}; {time.perf_counter() - begin:.0f} s")
    tables(rows)
    if broken:
        sys.exit("\n".join(["broken:", *broken]))
    bars(rows)


if __name__ == "__main__":
    main()
