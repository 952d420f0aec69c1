"""What every benchmark here shares: one thread, the data, timing, tables, bars.

Import this before numpy (see `one_thread`).
Images come from the folder that LATENTSTORE_DATA names (default: ``../shared/data`` beside the repository).
"""

from __future__ import annotations

from benchmarks.support import one_thread  # noqa: F401  # isort: skip  (before numpy)

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
CODEC = "rgb-f8c48"


def data(*parts: str) -> Path:
    """A path under the benchmark data; ends the script with the reason where it is absent."""
    root = Path(os.environ.get("LATENTSTORE_DATA", REPOSITORY.parent / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        sys.exit(f"{path} is not there: set LATENTSTORE_DATA to the folder that holds {'/'.join(parts)}")
    return path


def kodak() -> list[np.ndarray]:
    """The 24 Kodak images, uint8 (512, 768, 3) or (768, 512, 3)."""
    return [np.asarray(Image.open(f).convert("RGB")) for f in sorted(data("images", "kodak").iterdir())]


def at_256(image: Image.Image) -> np.ndarray:
    """uint8 (256, 256, 3): shorter side to 256 with Pillow's bicubic filter, centre cropped; what training
    on 256 px images does to a JPEG."""
    width, height = image.size
    scale = 256 / min(width, height)
    size = max(256, round(width * scale)), max(256, round(height * scale))
    small = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - 256) // 2, (size[1] - 256) // 2
    return np.asarray(small.crop((left, top, left + 256, top + 256)))


def labelled(part: str = "train") -> list[Path]:
    """The labelled photographs, in the order of a store of them: JPEG files of about 375 by 500 pixels."""
    return sorted(data("images", "labelled", part).rglob("*.jpg"), key=Path.as_posix)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB between two uint8 arrays of one shape, over all values."""
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def race(
    entrants: Mapping[str, Callable[[], object]],
    rounds: int = 7,
    budget_s: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Seconds of the best of `rounds` calls of each entrant, taken in turn so that a busy moment of the
    machine hits all of them; one call of each goes before, unmeasured. Stops after `budget_s`, but not
    before three rounds. clock: what counts the seconds; `time.process_time` where all runs in one thread at a
    time and the machine has other work too."""
    for call in entrants.values():
        call()
    best = dict.fromkeys(entrants, float("inf"))
    begin = time.perf_counter()
    for number in range(rounds):
        if number >= 3 and time.perf_counter() - begin > budget_s:
            break
        for name, call in entrants.items():
            start = clock()
            call()
            best[name] = min(best[name], clock() - start)
    return best


def header(title: str, *packages: str) -> None:
    """Print the title, the machine and the versions of the peers."""
    print(f"# {title}")
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {metadata.version(name)}" for name in ("numpy", "pillow", *packages)]
    print(f"{_processor()}, {os.cpu_count()} cores; {', '.join(versions)}; latentstore kernel: {_kernel()}")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _kernel() -> str:
    from latentstore.codecs.native import kernel_path

    return kernel_path()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their columns, aligned; floats to three significant places."""
    text = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(columns), *text]) for i in range(len(columns))]
    for row in [list(columns), ["-" * w for w in widths], *text]:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


class Bars:
    """The bars of one script: prints each with its verdict, at once or `later`, at its end; `end` exits with
    1 if one does not hold."""

    def __init__(self, later: bool = False) -> None:
        self.failed = False
        self._later = later
        self._lines: list[str] = []

    def at_most(self, what: str, figure: float, limit: float) -> None:
        self._print(what, figure, "<=", limit, figure <= limit)

    def at_least(self, what: str, figure: float, limit: float) -> None:
        self._print(what, figure, ">=", limit, figure >= limit)

    def _print(self, what: str, figure: float, sense: str, limit: float, holds: bool) -> None:
        self.failed |= not holds
        line = f"{'holds' if holds else 'MISSED'}: {what}: {_cell(float(figure))} (bar {sense} {limit:g})"
        if self._later:
            self._lines.append(line)
        else:
            print(line)

    def end(self) -> None:
        for line in self._lines:
            print(line)
        sys.exit(self.failed)
